//! Seals and opens pages (format section 3).

use core::num::NonZeroUsize;
use core::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_keys::{Algorithm, Clock, DataKeys, FileId, Layer};
use zeroize::{Zeroize, Zeroizing};

use crate::aead::wash_after_use;
use crate::epoch::{BATCH_MAX, Epoch, Epochs, SealingLayer};
use crate::error::{OpenError, SealError, SetupError};
use crate::geometry::{PageNumber, PageSize, SLOT_LEN, SlotCount};
use crate::slot::{
    AadTemplate, CRC, EMPTY_SLOT, HEAD, IV, IV_LEN, SALT, SECRETS, SECRETS_IV, SECRETS_LEN,
    SECRETS_TAG, TAG, array, claimed_version, head, parse_head, write_crc,
};
use crate::subkeys::{CAPACITY_DEFAULT, Purpose, SubkeyName, Subkeys};

/// Seals and opens the pages of one file.
///
/// It may be shared between threads, which neither wait for each other while they seal nor while
/// they open. It holds keys and therefore has no `Debug`.
pub struct PageCipher {
    page_size: PageSize,
    slot_count: SlotCount,
    layers: Vec<PageLayer>,
    epochs: Epochs,
    subkeys: Subkeys,
    scratch: Scratch,
}

/// What the policy says about one layer of every page.
struct PageLayer {
    layer: Layer,
    algorithm: Algorithm,
    aad: AadTemplate,
}

impl PageCipher {
    /// A cipher for one file. It draws its first salts when it seals for the first time.
    ///
    /// # Errors
    ///
    /// [`SetupError::SlotCount`] when the policy of the keys has more layers than a frame has slots.
    pub fn new(
        keys: Arc<DataKeys>,
        file: FileId,
        page_size: PageSize,
        slot_count: SlotCount,
        clock: Clock,
    ) -> Result<PageCipher, SetupError> {
        let capacity = CAPACITY_DEFAULT;
        PageCipher::with_cache(keys, file, page_size, slot_count, clock, capacity)
    }

    /// The same with another bound on the derived keys it keeps, at about 600 bytes each.
    ///
    /// # Errors
    ///
    /// See [`PageCipher::new`].
    pub fn with_cache(
        keys: Arc<DataKeys>,
        file: FileId,
        page_size: PageSize,
        slot_count: SlotCount,
        clock: Clock,
        subkey_count_max: NonZeroUsize,
    ) -> Result<PageCipher, SetupError> {
        let suite = keys.suite();
        if suite.layer_count() > slot_count.count() {
            return Err(SetupError::SlotCount {
                layers: suite.layer_count(),
                slots: slot_count.count(),
            });
        }
        let layers = suite.layers().iter().map(|&layer| {
            let algorithm = suite
                .algorithm(layer)
                .expect("a suite has an algorithm for each of its layers");
            let aad = AadTemplate::new(layer, algorithm, page_size, keys.store_id(), file);
            PageLayer {
                layer,
                algorithm,
                aad,
            }
        });
        Ok(PageCipher {
            page_size,
            slot_count,
            layers: layers.collect(),
            epochs: Epochs::new(keys, Purpose::Page(file), clock),
            subkeys: Subkeys::new(subkey_count_max),
            scratch: Scratch::new(page_size.bytes() + SECRETS_LEN),
        })
    }

    /// Bytes of one page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Slots of one frame.
    #[must_use]
    pub fn slot_count(&self) -> SlotCount {
        self.slot_count
    }

    /// Bytes of one frame.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.slot_count.stride(self.page_size)
    }

    /// Seals consecutive pages, the first of which has the number `first`, into as many frames.
    ///
    /// Every call draws fresh randomness, so the same pages never give the same frames. Pages are
    /// cheaper together than one by one, up to 64 of them.
    ///
    /// # Errors
    ///
    /// [`SealError`]; `frames` then holds nothing that may be used.
    pub fn seal(
        &self,
        first: PageNumber,
        plaintext: &[u8],
        frames: &mut [u8],
    ) -> Result<(), SealError> {
        self.seal_versioned(first, 0, plaintext, frames)
    }

    /// The same for pages that have two homes, of which the higher version counts (format section 5.1).
    ///
    /// # Errors
    ///
    /// See [`PageCipher::seal`].
    pub fn seal_versioned(
        &self,
        first: PageNumber,
        version: u64,
        plaintext: &[u8],
        frames: &mut [u8],
    ) -> Result<(), SealError> {
        let (size, stride) = (self.page_size.bytes(), self.stride());
        let count = plaintext.len() / size;
        expect_len(plaintext.len(), count * size)?;
        expect_len(frames.len(), count * stride)?;
        first
            .checked_add(count.saturating_sub(1) as u64)
            .ok_or(SealError::PageNumber)?;

        let batches = plaintext.chunks(BATCH_MAX * size);
        let mut page = first.as_u64();
        for (pages, frames) in batches.zip(frames.chunks_mut(BATCH_MAX * stride)) {
            let count = pages.len() / size;
            let (epoch, ivs) = self.epochs.batch(count)?;
            ivs.for_each(|index, ivs| {
                let number = PageNumber::new(page + index as u64)
                    .expect("the last number of the run was checked");
                let page = &pages[index * size..][..size];
                let frame = &mut frames[index * stride..][..stride];
                self.seal_one(&epoch, ivs, number, version, page, frame);
            });
            page += count as u64;
        }
        self.wash();
        Ok(())
    }

    /// Opens one frame into `plaintext`, which it fills with the page or, on any error, with zeros.
    ///
    /// The checksum is not looked at: the tags say more.
    ///
    /// # Errors
    ///
    /// [`OpenError::Refused`] for every frame that was not sealed as this page of this file under
    /// this policy.
    pub fn open(
        &self,
        page: PageNumber,
        frame: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), OpenError> {
        self.open_as(page, 0, frame, plaintext)
    }

    /// The same for a page that has two homes: opens it as the version it claims.
    ///
    /// # Errors
    ///
    /// See [`PageCipher::open`].
    pub fn open_versioned(
        &self,
        page: PageNumber,
        frame: &[u8],
        plaintext: &mut [u8],
    ) -> Result<u64, OpenError> {
        let version = self.claimed_version(frame);
        self.open_as(page, version, frame, plaintext)?;
        Ok(version)
    }

    /// The version that a frame claims. Nothing has checked it; 0 for a frame of another length.
    #[must_use]
    pub fn claimed_version(&self, frame: &[u8]) -> u64 {
        frame
            .get(self.page_size.bytes()..)
            .and_then(|slots| slots.first_chunk())
            .map_or(0, claimed_version)
    }

    fn open_as(
        &self,
        page: PageNumber,
        version: u64,
        frame: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), OpenError> {
        let result = self.try_open(page, version, frame, plaintext);
        self.wash();
        if result.is_err() {
            plaintext.zeroize();
        }
        result
    }

    fn wash(&self) {
        wash_after_use(self.layers.iter().map(|layer| layer.algorithm));
    }

    /// The subkeys that opened something.
    #[cfg(test)]
    pub(crate) fn subkeys(&self) -> &Subkeys {
        &self.subkeys
    }

    /// Seals one page with given IVs, one per layer.
    pub(crate) fn seal_one(
        &self,
        epoch: &Epoch,
        ivs: &[[u8; IV_LEN]],
        page: PageNumber,
        version: u64,
        plaintext: &[u8],
        frame: &mut [u8],
    ) {
        let size = self.page_size.bytes();
        let aad = |index: usize| self.layers[index].aad.of(page, version, epoch.dek);
        match (&epoch.layers[..], ivs) {
            ([layer], [iv]) => {
                let (body, slots) = frame.split_at_mut(size);
                slots[SLOT_LEN..].fill(0);
                self.write_slot(0, version, epoch, layer, iv, slots);
                layer
                    .key
                    .seal(iv, &aad(0), plaintext, body, &mut slots[TAG]);
                write_crc(frame, shifted(CRC, size));
            }
            ([inner, outer], [inner_iv, outer_iv]) => {
                // What the outer layer seals must lie in one piece: the inner secrets stand right
                // behind the page first and move to their place behind the clear head afterwards.
                let message = size + SECRETS_LEN;
                let (body, slots) = frame.split_at_mut(size);
                let (secrets, _) = slots.split_at_mut(SECRETS_LEN);
                secrets[..SECRETS_IV.start].copy_from_slice(&inner.salt);
                secrets[SECRETS_IV].copy_from_slice(inner_iv);
                let tag = &mut secrets[SECRETS_TAG];
                inner.key.seal(inner_iv, &aad(0), plaintext, body, tag);
                let tag = outer
                    .key
                    .seal_in_place(outer_iv, &aad(1), &mut frame[..message]);

                frame.copy_within(size..message, size + SECRETS.start);
                let (inner_slot, outer_slot) = frame[size..].split_at_mut(SLOT_LEN);
                inner_slot[HEAD].copy_from_slice(&head(
                    self.layers[0].algorithm,
                    epoch.dek,
                    version,
                ));
                inner_slot[CRC].fill(0);
                self.write_slot(1, version, epoch, outer, outer_iv, outer_slot);
                outer_slot[TAG].copy_from_slice(&tag);
                write_crc(frame, shifted(CRC, size + SLOT_LEN));
            }
            _ => unreachable!("an epoch and its IVs have one or two layers, the same number"),
        }
    }

    /// Writes a slot except for the tag; the checksum is zero.
    fn write_slot(
        &self,
        index: usize,
        version: u64,
        epoch: &Epoch,
        layer: &SealingLayer,
        iv: &[u8; IV_LEN],
        slot: &mut [u8],
    ) {
        slot[HEAD].copy_from_slice(&head(self.layers[index].algorithm, epoch.dek, version));
        slot[SALT].copy_from_slice(&layer.salt);
        slot[IV].copy_from_slice(iv);
        slot[CRC].fill(0);
    }

    /// Opens a frame; on error `plaintext` holds anything.
    fn try_open(
        &self,
        page: PageNumber,
        version: u64,
        frame: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), OpenError> {
        let misuse = |expected, found| OpenError::Misuse { expected, found };
        let size = self.page_size.bytes();
        if frame.len() != self.stride() {
            return Err(misuse(self.stride(), frame.len()));
        }
        if plaintext.len() != size {
            return Err(misuse(size, plaintext.len()));
        }
        if self.epochs.forked() {
            return Err(OpenError::Forked);
        }
        if self.subkeys.quarantined() {
            return Err(OpenError::Quarantined);
        }
        let (body, slots) = frame.split_at(size);
        let (slots, _) = slots.as_chunks::<SLOT_LEN>();
        let opened = match (&self.layers[..], slots) {
            ([layer], [slot]) => self.open_single(layer, (page, version), body, slot, plaintext),
            ([layer], [slot, empty]) if empty == EMPTY_SLOT => {
                self.open_single(layer, (page, version), body, slot, plaintext)
            }
            ([inner, outer], [inner_slot, outer_slot]) => self.open_double(
                [inner, outer],
                (page, version),
                body,
                [inner_slot, outer_slot],
                plaintext,
            ),
            _ => None,
        };
        opened.ok_or(OpenError::Refused { page })
    }

    fn open_single(
        &self,
        layer: &PageLayer,
        place: Place,
        body: &[u8],
        slot: &[u8; SLOT_LEN],
        plaintext: &mut [u8],
    ) -> Option<()> {
        let head = slot[HEAD].first_chunk()?;
        self.open_layer(layer, place, head, [body, &[]], &slot[SECRETS], plaintext)
    }

    fn open_double(
        &self,
        [inner, outer]: [&PageLayer; 2],
        place: Place,
        body: &[u8],
        [inner_slot, outer_slot]: [&[u8; SLOT_LEN]; 2],
        plaintext: &mut [u8],
    ) -> Option<()> {
        if inner_slot[CRC] != [0; 4] {
            return None;
        }
        let outer_head = outer_slot[HEAD].first_chunk()?;
        let inner_head = inner_slot[HEAD].first_chunk()?;
        let sealed = [body, &inner_slot[SECRETS]];
        self.scratch.with(|message| {
            self.open_layer(
                outer,
                place,
                outer_head,
                sealed,
                &outer_slot[SECRETS],
                message,
            )?;
            let (body, secrets) = message.split_at(body.len());
            self.open_layer(inner, place, inner_head, [body, &[]], secrets, plaintext)
        })
    }

    /// Opens one layer of a page. `secrets` are the salt, IV and tag of its slot.
    fn open_layer(
        &self,
        layer: &PageLayer,
        (page, version): Place,
        head: &[u8; HEAD.end],
        sealed: [&[u8]; 2],
        secrets: &[u8],
        message: &mut [u8],
    ) -> Option<()> {
        let dek = parse_head(head, layer.algorithm, version)?;
        let name = SubkeyName {
            layer: layer.layer,
            dek,
            salt: array(&secrets[..SECRETS_IV.start]),
        };
        let found = self
            .subkeys
            .find(self.epochs.keys(), self.epochs.purpose(), name)?;
        let iv = array(&secrets[SECRETS_IV]);
        let tag = array(&secrets[SECRETS_TAG]);
        let aad = layer.aad.of(page, version, dek);
        match found.key().open(&iv, &aad, sealed, &tag, message) {
            Ok(()) => {
                self.subkeys.verified(found);
                Some(())
            }
            Err(_) => {
                self.subkeys.failed();
                None
            }
        }
    }
}

/// Buffers for what lies between two layers: sealed by the inner one, never plaintext. They are
/// reused, and wiped when the cipher goes.
struct Scratch {
    len: usize,
    idle: Mutex<Vec<Zeroizing<Vec<u8>>>>,
}

impl Scratch {
    fn new(len: usize) -> Scratch {
        Scratch {
            len,
            idle: Mutex::new(Vec::new()),
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut [u8]) -> R) -> R {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut buffer = taken.unwrap_or_else(|| Zeroizing::new(vec![0; self.len]));
        let result = work(&mut buffer);
        let mut idle = idle();
        if idle.len() < SCRATCH_IDLE_MAX {
            idle.push(buffer);
        }
        result
    }
}

/// Which version of which page.
type Place = (PageNumber, u64);

fn expect_len(found: usize, expected: usize) -> Result<(), SealError> {
    if found == expected {
        Ok(())
    } else {
        Err(SealError::Misuse { expected, found })
    }
}

fn shifted(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

const SCRATCH_IDLE_MAX: usize = 16;
