//! Frames of any place, well and badly made.

use super::*;

/// Where a frame stands and under which policy.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) suite: Suite,
    pub(super) slots: SlotCount,
    pub(super) size: PageSize,
    pub(super) store: StoreId,
    pub(super) file: FileId,
    pub(super) page: u64,
    pub(super) version: u64,
    pub(super) deks: [[u8; 32]; 2],
}

impl Place {
    pub(super) fn new(suite: Suite) -> Place {
        Place {
            suite,
            slots: SlotCount::from_number(suite.layer_count() as u8).expect("one or two"),
            size: PageSize::from_log2(9).expect("the smallest"),
            store: StoreId::from_bytes(counting(0x10)),
            file: FileId::from_bytes(counting(0x20)),
            page: 7,
            version: 0,
            deks: [counting(0x40), counting(0x80)],
        }
    }

    pub(super) fn keys(&self) -> Arc<DataKeys> {
        let layers = self.deks.iter().take(self.suite.layer_count());
        let layers: Vec<VectorLayer> = layers
            .map(|&key| VectorLayer {
                root: [0; 32],
                deks: vec![(DekId::FIRST, key)],
            })
            .collect();
        Arc::new(DataKeys::from_vectors(
            self.store,
            self.suite,
            DekId::FIRST,
            &layers,
        ))
    }

    pub(super) fn cipher(&self) -> PageCipher {
        PageCipher::new(self.keys(), self.file, self.size, self.slots, clock).expect("layers fit")
    }

    /// The frame of this place, with the given salts and IVs.
    pub(super) fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        let cipher = self.cipher();
        let epoch =
            Epoch::with_salts(&self.keys(), Purpose::Page(self.file), &SALTS).expect("keys");
        let mut frame = vec![0; cipher.stride()];
        let ivs = &IVS[..self.suite.layer_count()];
        let page = PageNumber::new(self.page).expect("small");
        cipher.seal_one(&epoch, ivs, page, self.version, plaintext, &mut frame);
        frame
    }

    pub(super) fn subkey(
        &self,
        layer: Layer,
        algorithm: Algorithm,
        salt: [u8; SALT_LEN],
    ) -> Subkey {
        Subkey::new(algorithm, &self.secret(layer, algorithm, salt))
    }

    pub(super) fn secret(
        &self,
        layer: Layer,
        algorithm: Algorithm,
        salt: [u8; SALT_LEN],
    ) -> cofferdam_keys::Secret<32> {
        let keys = self.keys();
        let dek = keys.dek(layer, DekId::FIRST).expect("it is there");
        dek.page_key(&PageKeyContext {
            layer,
            algorithm,
            store: self.store,
            file: self.file,
            dek_id: DekId::FIRST,
            salt,
        })
    }

    pub(super) fn aad(&self, layer: Layer, algorithm: Algorithm) -> [u8; AAD_LEN] {
        AadTemplate::new(layer, algorithm, self.size, self.store, self.file).of(
            PageNumber::new(self.page).expect("small"),
            self.version,
            DekId::FIRST,
        )
    }

    /// Seals page and inner secrets of a frame again, under an outer layer that was changed somehow.
    pub(super) fn reseal_outer(
        &self,
        inner: &[u8],
        algorithm: Algorithm,
        aad: &[u8],
        iv: &[u8; 12],
    ) -> Vec<u8> {
        let size = self.size.bytes();
        let mut message = inner[..size].to_vec();
        message.extend_from_slice(&inner[size..][SECRETS]);
        let key = self.subkey(Layer::Infrastructure, algorithm, SALTS[1]);
        let tag = key.seal_in_place(iv, aad, &mut message);
        let mut frame = inner[..size + SLOT_LEN].to_vec();
        frame[..size].copy_from_slice(&message[..size]);
        frame[size..][SECRETS].copy_from_slice(&message[size..]);
        frame[size..][CRC].fill(0);
        let mut slot = [0; SLOT_LEN];
        slot[HEAD].copy_from_slice(&inner[size..][HEAD]);
        slot[1] = algorithm.number();
        slot[SALT].copy_from_slice(&SALTS[1]);
        slot[IV].copy_from_slice(iv);
        slot[TAG].copy_from_slice(&tag);
        frame.extend_from_slice(&slot);
        self.with_crc(frame)
    }

    /// The frame with a checksum that fits, so that nobody refuses it for that.
    pub(super) fn with_crc(&self, mut frame: Vec<u8>) -> Vec<u8> {
        let end = self.size.bytes() + self.suite.layer_count() * SLOT_LEN;
        frame[end - 4..end].fill(0);
        write_crc(&mut frame, end - 4..end);
        frame
    }

    pub(super) fn text(
        &self,
        expect: &str,
        section: &str,
        comment: &str,
        frame: &[u8],
        page: &[u8],
    ) -> String {
        let mut text = head(expect, section, comment);
        let _ = writeln!(text, "suite: {}", self.suite.number());
        let _ = writeln!(text, "page_size: {}", self.size.bytes());
        let _ = writeln!(text, "slot_count: {}", self.slots.count());
        let _ = writeln!(text, "store_id: {}", self.store);
        let _ = writeln!(text, "file_id: {}", self.file);
        let _ = writeln!(text, "page: {}", self.page);
        let _ = writeln!(text, "version: {}", self.version);
        deks(&mut text, self.suite, &self.deks);
        field(&mut text, "plaintext", page);
        field(&mut text, "frame", frame);
        text
    }

    pub(super) fn rejected(&self, section: &str, comment: &str, frame: &[u8]) -> String {
        self.text("rejected", section, comment, frame, &[])
    }
}
