//! Makes the frozen vectors of `tests/vectors/{page,value}` and the worked example of the format, and
//! holds the files against what it makes.
//!
//! With `COFFERDAM_WRITE_VECTORS=1` the test writes the files instead. A vector that was released is
//! never changed by that: then the format has changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_keys::{
    Algorithm, DataKeys, DekId, FileId, Layer, PageKeyContext, StoreId, Suite, UnixTime,
    ValueKeyContext, VectorLayer,
};

use crate::aead::Subkey;
use crate::epoch::{Epoch, LAYERS_MAX};
use crate::geometry::{PageNumber, PageSize, SLOT_LEN, SlotCount};
use crate::slot::{
    AAD_LEN, AadTemplate, CRC, HEAD, IV, IV_LEN, SALT, SALT_LEN, SECRETS, SECRETS_LEN, TAG,
    write_crc,
};
use crate::subkeys::Purpose;
use crate::{PageCipher, VALUE_OVERHEAD, ValueCipher};

#[test]
fn the_frozen_vectors_are_what_this_code_makes() {
    let write = writing();
    for (folder, vectors) in [("page", page_vectors()), ("value", value_vectors())] {
        let folder = root().join("tests/vectors").join(folder);
        let mut found = BTreeMap::new();
        for (name, text) in vectors {
            let path = folder.join(format!("{name}.txt"));
            if write {
                std::fs::write(&path, &text).expect("a vector is written");
            }
            assert!(found.insert(path, text).is_none(), "{name} is there twice");
        }
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a vector is text");
            assert_eq!(found.remove(&path), Some(text), "{}", path.display());
        }
        assert!(found.is_empty(), "not frozen: {:?}", found.keys());
    }
}

#[test]
fn the_worked_example_is_what_this_code_makes() {
    let path = root().join("docs/format.md");
    let document = std::fs::read_to_string(&path).expect("the format is there");
    let example = worked_example();
    let start = document.find("## 11 Worked example\n");
    if writing() {
        let before = &document[..start.unwrap_or(document.len())];
        let text = format!("{}\n\n{example}", before.trim_end());
        std::fs::write(&path, text).expect("the format is written");
        return;
    }
    let start = start.expect("the format has a section 11");
    assert_eq!(&document[start..], example);
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test says what it is for"
)]
fn writing() -> bool {
    std::env::var_os("COFFERDAM_WRITE_VECTORS").is_some()
}

type Named = Vec<(String, String)>;

/// Where a frame stands and under which policy.
#[derive(Clone)]
struct Place {
    suite: Suite,
    slots: SlotCount,
    size: PageSize,
    store: StoreId,
    file: FileId,
    page: u64,
    version: u64,
    deks: [[u8; 32]; 2],
}

impl Place {
    fn new(suite: Suite) -> Place {
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

    fn keys(&self) -> Arc<DataKeys> {
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

    fn cipher(&self) -> PageCipher {
        PageCipher::new(self.keys(), self.file, self.size, self.slots, clock).expect("layers fit")
    }

    /// The frame of this place, with the given salts and IVs.
    fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        let cipher = self.cipher();
        let epoch =
            Epoch::with_salts(&self.keys(), Purpose::Page(self.file), &SALTS).expect("keys");
        let mut frame = vec![0; cipher.stride()];
        let ivs = &IVS[..self.suite.layer_count()];
        let page = PageNumber::new(self.page).expect("small");
        cipher.seal_one(&epoch, ivs, page, self.version, plaintext, &mut frame);
        frame
    }

    fn subkey(&self, layer: Layer, algorithm: Algorithm, salt: [u8; SALT_LEN]) -> Subkey {
        Subkey::new(algorithm, &self.secret(layer, algorithm, salt))
    }

    fn secret(
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

    fn aad(&self, layer: Layer, algorithm: Algorithm) -> [u8; AAD_LEN] {
        AadTemplate::new(layer, algorithm, self.size, self.store, self.file).of(
            PageNumber::new(self.page).expect("small"),
            self.version,
            DekId::FIRST,
        )
    }

    /// Seals page and inner secrets of a frame again, under an outer layer that was changed somehow.
    fn reseal_outer(
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
    fn with_crc(&self, mut frame: Vec<u8>) -> Vec<u8> {
        let end = self.size.bytes() + self.suite.layer_count() * SLOT_LEN;
        frame[end - 4..end].fill(0);
        write_crc(&mut frame, end - 4..end);
        frame
    }

    fn text(
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

    fn rejected(&self, section: &str, comment: &str, frame: &[u8]) -> String {
        self.text("rejected", section, comment, frame, &[])
    }
}

fn page_vectors() -> Named {
    let mut vectors = Named::new();
    for suite in Suite::ALL {
        let place = Place::new(suite);
        let mut add = |name: &str, text: String| {
            vectors.push((format!("suite{}-{name}", suite.number()), text));
        };
        opened_pages(&place, &mut add);
        altered_bits(&place, &mut add);
        moved_pages(&place, &mut add);
        whole_frames(&place, &mut add);
        versions(&place, &mut add);
        if suite != Suite::One {
            two_layers(&place, &mut add);
        }
    }
    let mut add = |name: &str, text| vectors.push((name.into(), text));
    policies(&mut add);
    vectors
}

fn opened_pages(place: &Place, add: &mut impl FnMut(&str, String)) {
    let page = plaintext(place.size);
    let text = place.text("opened", "3.3", "a page", &place.seal(&page), &page);
    add("opened", text);

    let zero = vec![0; page.len()];
    let text = place.text(
        "opened",
        "3.3",
        "a page of zeros",
        &place.seal(&zero),
        &zero,
    );
    add("opened-zeros", text);

    let mut far = place.clone();
    far.page = PageNumber::MAX.as_u64();
    let text = far.text(
        "opened",
        "3.2",
        "the last page number",
        &far.seal(&page),
        &page,
    );
    add("opened-last-page", text);

    let mut large = place.clone();
    large.size = PageSize::from_log2(12).expect("4096");
    let page = plaintext(large.size);
    let text = large.text(
        "opened",
        "3",
        "a page of 4096 bytes",
        &large.seal(&page),
        &page,
    );
    add("opened-4096", text);
}

fn altered_bits(place: &Place, add: &mut impl FnMut(&str, String)) {
    let size = place.size.bytes();
    let sealed = place.seal(&plaintext(place.size));
    for index in 0..place.suite.layer_count() {
        let slot = size + index * SLOT_LEN;
        let layer = index + 1;
        for (name, offset, bit, section, what) in [
            ("format-0", 0, 0, "3.1", "format 0"),
            ("format-3", 0, 1, "3.1", "format 3"),
            (
                "algorithm",
                1,
                2,
                "3.3",
                "an algorithm that is not the policy's",
            ),
            ("flags-first", 2, 0, "3.3", "the first flag is set"),
            ("flags-last", 3, 7, "3.3", "the last flag is set"),
            ("dek-zero", 4, 0, "1", "DEK id 0, which names no key"),
            (
                "dek-unknown",
                4,
                1,
                "3.3",
                "DEK id 3, which the keyring does not have",
            ),
            (
                "dek-high",
                7,
                7,
                "3.3",
                "the last byte of the DEK id is altered",
            ),
            (
                "version-first",
                8,
                0,
                "3.1",
                "version 1 in a page with one home",
            ),
            (
                "version-last",
                15,
                7,
                "3.1",
                "version 2^63 in a page with one home",
            ),
            (
                "salt-first",
                16,
                0,
                "3.3",
                "the first bit of the salt is altered",
            ),
            (
                "salt-last",
                31,
                7,
                "3.3",
                "the last bit of the salt is altered",
            ),
            (
                "iv-first",
                32,
                0,
                "3.3",
                "the first bit of the IV is altered",
            ),
            ("iv-last", 43, 7, "3.3", "the last bit of the IV is altered"),
            (
                "tag-first",
                44,
                0,
                "3.3",
                "the first bit of the tag is altered",
            ),
            (
                "tag-last",
                59,
                7,
                "3.3",
                "the last bit of the tag is altered",
            ),
        ] {
            let mut frame = sealed.clone();
            frame[slot + offset] ^= 1 << bit;
            let comment = format!("layer {layer}: {what}");
            let text = place.rejected(section, &comment, &place.with_crc(frame));
            add(&format!("layer{layer}-{name}"), text);
        }
    }
    for (name, offset) in [("first", 0), ("middle", size / 2), ("last", size - 1)] {
        let mut frame = sealed.clone();
        frame[offset] ^= 0x10;
        let comment = format!("byte {offset} of the page is altered");
        let text = place.rejected("3.3", &comment, &place.with_crc(frame));
        add(&format!("page-{name}"), text);
    }
}

fn moved_pages(place: &Place, add: &mut impl FnMut(&str, String)) {
    let frame = place.seal(&plaintext(place.size));
    let mut moved = |name: &str, comment: &str, change: &dyn Fn(&mut Place)| {
        let mut elsewhere = place.clone();
        change(&mut elsewhere);
        add(name, elsewhere.rejected("3.2", comment, &frame));
    };
    moved(
        "moved-page",
        "page 7 in the place of page 8, otherwise intact",
        &|place| {
            place.page = 8;
        },
    );
    moved(
        "moved-page-high",
        "page 7 in the place of page 2^48 + 7",
        &|place| {
            place.page += 1 << 48;
        },
    );
    moved(
        "moved-file",
        "the page of another file of the store",
        &|place| {
            place.file = FileId::from_bytes(counting(0x21));
        },
    );
    moved(
        "moved-store",
        "the page of another store that has the same keys",
        &|place| {
            place.store = StoreId::from_bytes(counting(0x11));
        },
    );
    moved(
        "key-1",
        "layer 1: another key under the same DEK id",
        &|place| {
            place.deks[0][31] ^= 1;
        },
    );
    if place.suite != Suite::One {
        moved(
            "key-2",
            "layer 2: another key under the same DEK id",
            &|place| {
                place.deks[1][0] ^= 0x80;
            },
        );
        moved(
            "keys-swapped",
            "the keys of the layers are swapped",
            &|place| {
                place.deks.swap(0, 1);
            },
        );
    }
}

fn whole_frames(place: &Place, add: &mut impl FnMut(&str, String)) {
    let size = place.size.bytes();
    let sealed = place.seal(&plaintext(place.size));

    let zero = vec![0; sealed.len()];
    add(
        "zeroed",
        place.rejected("4", "a frame of zeros is not a page of zeros", &zero),
    );
    add(
        "ones",
        place.rejected("3.3", "a frame of 0xff", &vec![0xff; sealed.len()]),
    );

    let mut page_zeroed = sealed.clone();
    page_zeroed[..size].fill(0);
    let text = place.rejected(
        "3.3",
        "the page is zero, the slots are intact",
        &place.with_crc(page_zeroed),
    );
    add("page-zeroed", text);

    let mut slots_zeroed = sealed.clone();
    slots_zeroed[size..].fill(0);
    add(
        "slots-zeroed",
        place.rejected(
            "3.3",
            "the slots are zero, the page is intact",
            &slots_zeroed,
        ),
    );

    let mut other = place.clone();
    other.page = 8;
    let mut mixed = sealed.clone();
    mixed[..size].copy_from_slice(&other.seal(&vec![1; size])[..size]);
    let text = place.rejected(
        "3.3",
        "the page of frame 8 with the slots of frame 7",
        &place.with_crc(mixed),
    );
    add("slots-of-another-page", text);

    let mut torn = sealed.clone();
    torn[..size / 2].copy_from_slice(&place.seal(&vec![1; size])[..size / 2]);
    let text = place.rejected(
        "3.3",
        "the first half is another version of the page",
        &place.with_crc(torn),
    );
    add("torn", text);

    // What a writer that misread section 3.2 would make.
    for (name, comment, range, bytes) in [
        (
            "aad-page-number",
            "the AAD has the page number with the most significant byte first",
            40..48,
            7u64.to_be_bytes().to_vec(),
        ),
        (
            "aad-page-size",
            "the AAD names pages of 1024 bytes",
            6..7,
            vec![10],
        ),
        ("aad-layer", "the AAD names layer 3", 4..5, vec![3]),
        (
            "aad-magic",
            "the AAD begins with CDV1",
            0..4,
            b"CDV1".to_vec(),
        ),
    ] {
        let mut aad = place.aad(Layer::Customer, Algorithm::Aes256Gcm);
        aad[range].copy_from_slice(&bytes);
        let mut inner = Place::new(Suite::One).seal(&plaintext(place.size));
        let key = place.subkey(Layer::Customer, Algorithm::Aes256Gcm, SALTS[0]);
        let mut page = plaintext(place.size);
        let tag = key.seal_in_place(&IVS[0], &aad, &mut page);
        inner[..size].copy_from_slice(&page);
        inner[size..][TAG].copy_from_slice(&tag);
        let frame = match place.suite.algorithm(Layer::Infrastructure) {
            None => place.with_crc(inner),
            Some(outer) => {
                let aad = place.aad(Layer::Infrastructure, outer);
                place.reseal_outer(&inner, outer, &aad, &IVS[1])
            }
        };
        add(
            name,
            place.rejected("3.2", &format!("layer 1: {comment}"), &frame),
        );
    }
}

/// Pages with two homes, whose version is taken from the slot and then authenticated.
fn versions(place: &Place, add: &mut impl FnMut(&str, String)) {
    let mut place = place.clone();
    place.version = (41 << 1) | 1;
    let size = place.size.bytes();
    let page = plaintext(place.size);
    let sealed = place.seal(&page);
    let text = place.text(
        "opened",
        "5.1",
        "version 83 of a page with two homes",
        &sealed,
        &page,
    );
    add("version-opened", text);
    let mut highest = place.clone();
    highest.version = (1 << 63) - 1;
    let text = highest.text(
        "opened",
        "5.1",
        "the highest version",
        &highest.seal(&page),
        &page,
    );
    add("version-opened-highest", text);

    let mut raised = sealed.clone();
    for slot in raised[size..].chunks_exact_mut(SLOT_LEN) {
        slot[8] += 2;
    }
    let comment = "every slot claims a higher version than was sealed";
    add(
        "version-raised",
        place.rejected("3.2", comment, &place.with_crc(raised)),
    );
    for index in 0..place.suite.layer_count() {
        let mut raised = sealed.clone();
        raised[size + index * SLOT_LEN + 8] += 2;
        let comment = format!("the slot of layer {} claims a higher version", index + 1);
        let text = place.rejected("3.2", &comment, &place.with_crc(raised));
        add(&format!("version-raised-layer{}", index + 1), text);
    }
    let mut single = place.clone();
    single.version = 0;
    let comment = "a page with two homes in the place of a page with one";
    add(
        "version-unexpected",
        single.rejected("3.1", comment, &sealed),
    );
}

fn two_layers(place: &Place, add: &mut impl FnMut(&str, String)) {
    let size = place.size.bytes();
    let page = plaintext(place.size);
    let sealed = place.seal(&page);
    let outer = place
        .suite
        .algorithm(Layer::Infrastructure)
        .expect("two layers");

    let mut single = Place::new(Suite::One);
    single.slots = SlotCount::Two;
    let inner = single.seal(&page);
    let text = place.rejected(
        "3.3",
        "layer 2 was taken off: what is left is a whole frame of suite 1",
        &inner,
    );
    add("layer2-stripped", text);

    let mut kept = inner.clone();
    kept[size + SLOT_LEN..].copy_from_slice(&sealed[size + SLOT_LEN..]);
    let text = place.rejected(
        "3.3",
        "layer 2 was taken off, its slot left in place",
        &place.with_crc(kept),
    );
    add("layer2-stripped-slot-kept", text);

    let mut swapped = sealed.clone();
    let (first, second) = swapped[size..].split_at_mut(SLOT_LEN);
    first.swap_with_slice(second);
    add(
        "slots-swapped",
        place.rejected("3.3", "the slots are swapped", &place.with_crc(swapped)),
    );

    let mut checksum = sealed.clone();
    checksum[size + 60] = 1;
    let text = place.rejected(
        "3.1",
        "the inner slot has a checksum",
        &place.with_crc(checksum),
    );
    add("layer1-checksum", text);

    let aad = place.aad(Layer::Infrastructure, outer);
    let same = place.reseal_outer(&inner, outer, &aad, &IVS[1]);
    assert!(same == sealed, "the long way round gives the same frame");

    let aad_1 = place.aad(Layer::Customer, outer);
    let text = place.rejected(
        "3.2",
        "layer 2 is bound as layer 1",
        &place.reseal_outer(&inner, outer, &aad_1, &IVS[1]),
    );
    add("layer2-aad-layer", text);

    // The outer layer over the page alone, the inner secrets in clear.
    let mut clear = inner[..size].to_vec();
    let key = place.subkey(Layer::Infrastructure, outer, SALTS[1]);
    let tag = key.seal_in_place(&IVS[1], &aad, &mut clear);
    let mut frame = inner.clone();
    frame[..size].copy_from_slice(&clear);
    frame[size..][CRC].fill(0);
    frame[size + SLOT_LEN..].copy_from_slice(&sealed[size + SLOT_LEN..]);
    frame[size + SLOT_LEN..][TAG].copy_from_slice(&tag);
    let text = place.rejected(
        "3.3",
        "layer 2 covers the page alone",
        &place.with_crc(frame),
    );
    add("layer2-page-alone", text);

    for other in [
        Algorithm::Aes256Gcm,
        Algorithm::ChaCha20Poly1305,
        Algorithm::Aegis256X2,
    ] {
        if other != outer {
            let aad = place.aad(Layer::Infrastructure, other);
            let comment = format!("layer 2 is {other}, correctly sealed, but not the policy's");
            let frame = place.reseal_outer(&inner, other, &aad, &IVS[1]);
            let text = place.rejected("3.3", &comment, &frame);
            add(&format!("layer2-algorithm-{}", other.number()), text);

            let mut named = frame;
            named[size + SLOT_LEN + 1] = outer.number();
            let comment = format!("layer 2 is {other}, but its slot names the policy's algorithm");
            let text = place.rejected("3.3", &comment, &place.with_crc(named));
            add(
                &format!("layer2-algorithm-{}-disguised", other.number()),
                text,
            );
        }
    }

    // An altered inner layer below an intact outer one: who holds only the outer key gains nothing.
    for (name, offset, what) in [
        ("page", 0, "page"),
        ("salt", size + SALT.start, "salt"),
        ("iv", size + IV.start, "IV"),
        ("tag", size + TAG.start, "tag"),
    ] {
        let mut altered = inner.clone();
        altered[offset] ^= 1;
        let comment = format!("the inner {what} was altered below an intact layer 2");
        let frame = place.reseal_outer(&altered, outer, &aad, &IVS[1]);
        add(
            &format!("inner-{name}-altered"),
            place.rejected("3.3", &comment, &frame),
        );
    }
}

/// Frames that are whole under one policy and read under another.
fn policies(add: &mut impl FnMut(&str, String)) {
    let page = plaintext(PageSize::from_log2(9).expect("the smallest"));
    for sealed_as in [Suite::Two, Suite::Three] {
        let frame = Place::new(sealed_as).seal(&page);
        for read_as in Suite::ALL {
            if read_as != sealed_as {
                let mut place = Place::new(read_as);
                place.slots = SlotCount::Two;
                let (from, to) = (sealed_as.number(), read_as.number());
                let comment = format!("a frame of suite {from} under the policy of suite {to}");
                let text = place.rejected("1", &comment, &frame);
                add(&format!("policy-{to}-frame-{from}"), text);
            }
        }
    }

    let mut roomy = Place::new(Suite::One);
    roomy.slots = SlotCount::Two;
    let frame = roomy.seal(&page);
    let text = roomy.text(
        "opened",
        "3",
        "one layer with room for the second",
        &frame,
        &page,
    );
    add("room-opened", text);
    for offset in [0, 16, 63] {
        let mut used = frame.clone();
        used[roomy.size.bytes() + SLOT_LEN + offset] = 1;
        let comment = format!("byte {offset} of the slot of a layer that is not in the policy");
        let text = roomy.rejected("3.3", &comment, &roomy.with_crc(used));
        add(&format!("room-byte-{offset}"), text);
    }
}

/// Where a value stands.
#[derive(Clone)]
struct ValuePlace {
    suite: Suite,
    store: StoreId,
    scope: [u8; 16],
    context: Vec<u8>,
    deks: [[u8; 32]; 2],
}

impl ValuePlace {
    fn new(suite: Suite) -> ValuePlace {
        ValuePlace {
            suite,
            store: StoreId::from_bytes(counting(0x10)),
            scope: counting(0x30),
            context: b"row 17".to_vec(),
            deks: [counting(0x40), counting(0x80)],
        }
    }

    fn keys(&self) -> Arc<DataKeys> {
        let mut place = Place::new(self.suite);
        place.store = self.store;
        place.deks = self.deks;
        place.keys()
    }

    fn seal(&self, value: &[u8]) -> Vec<u8> {
        let keys = self.keys();
        let epoch = Epoch::with_salts(&keys, Purpose::Value(self.scope), &SALTS).expect("keys");
        let cipher = ValueCipher::new(keys, self.scope, clock);
        cipher.seal_one(
            &epoch,
            &IVS[..self.suite.layer_count()],
            &self.context,
            value,
        )
    }

    fn text(&self, expect: &str, comment: &str, sealed: &[u8], value: &[u8]) -> String {
        let mut text = head(expect, "7", comment);
        let _ = writeln!(text, "suite: {}", self.suite.number());
        let _ = writeln!(text, "store_id: {}", self.store);
        let _ = writeln!(text, "scope_id: {}", hex(&self.scope));
        field(&mut text, "context", &self.context);
        deks(&mut text, self.suite, &self.deks);
        field(&mut text, "plaintext", value);
        field(&mut text, "sealed", sealed);
        text
    }
}

fn value_vectors() -> Named {
    let mut vectors = Named::new();
    for suite in Suite::ALL {
        let place = ValuePlace::new(suite);
        let mut add = |name: &str, text: String| {
            vectors.push((format!("suite{}-{name}", suite.number()), text));
        };
        opened_values(&place, &mut add);
        refused_values(&place, &mut add);
    }
    vectors
}

fn opened_values(place: &ValuePlace, add: &mut impl FnMut(&str, String)) {
    let value = b"A cofferdam is a wall built twice.";
    add(
        "opened",
        place.text("opened", "a value", &place.seal(value), value),
    );
    add(
        "opened-empty",
        place.text("opened", "the empty value", &place.seal(b""), b""),
    );
    let mut bare = place.clone();
    bare.context.clear();
    let text = bare.text(
        "opened",
        "a value without a context",
        &bare.seal(value),
        value,
    );
    add("opened-no-context", text);
    let mut long = place.clone();
    long.context = vec![0x5a; 1024];
    let text = long.text("opened", "the longest context", &long.seal(value), value);
    add("opened-long-context", text);
}

fn refused_values(place: &ValuePlace, add: &mut impl FnMut(&str, String)) {
    let value = b"A cofferdam is a wall built twice.";
    let sealed = place.seal(value);
    for (name, offset, bit, what) in [
        ("format", 0, 1, "format 3"),
        ("algorithm", 1, 2, "an algorithm that is not the policy's"),
        ("flags-first", 2, 0, "the first flag is set"),
        ("flags-last", 3, 7, "the last flag is set"),
        ("dek-zero", 4, 0, "DEK id 0"),
        (
            "dek-unknown",
            4,
            1,
            "DEK id 3, which the keyring does not have",
        ),
        ("salt", 8, 0, "the salt is altered"),
        ("iv", 24, 0, "the IV is altered"),
        (
            "value",
            36,
            0,
            "the first byte of the ciphertext is altered",
        ),
        (
            "tag",
            sealed.len() - 1,
            7,
            "the last bit of the tag is altered",
        ),
    ] {
        let mut altered = sealed.clone();
        altered[offset] ^= 1 << bit;
        add(name, place.text("rejected", what, &altered, b""));
    }
    for (name, len, what) in [
        ("empty", 0, "no bytes at all"),
        (
            "short",
            VALUE_OVERHEAD - 1,
            "one byte too short to be a value",
        ),
        ("truncated", sealed.len() - 1, "the last byte is missing"),
    ] {
        add(name, place.text("rejected", what, &sealed[..len], b""));
    }
    let mut longer = sealed.clone();
    longer.push(0);
    add(
        "trailing",
        place.text("rejected", "one byte follows", &longer, b""),
    );

    let mut moved = |name: &str, what: &str, change: &dyn Fn(&mut ValuePlace)| {
        let mut elsewhere = place.clone();
        change(&mut elsewhere);
        add(name, elsewhere.text("rejected", what, &sealed, b""));
    };
    moved("moved-row", "the value of another row", &|place| {
        place.context = b"row 18".to_vec();
    });
    moved(
        "moved-context-longer",
        "a context that begins like the value's",
        &|place| {
            place.context.push(0);
        },
    );
    moved("moved-scope", "the value of another column", &|place| {
        place.scope[0] ^= 1
    });
    moved(
        "moved-store",
        "the value of another store that has the same keys",
        &|place| {
            place.store = StoreId::from_bytes(counting(0x11));
        },
    );
    moved(
        "key-1",
        "layer 1: another key under the same DEK id",
        &|place| place.deks[0][0] ^= 1,
    );
    if place.suite != Suite::One {
        moved(
            "key-2",
            "layer 2: another key under the same DEK id",
            &|place| place.deks[1][0] ^= 1,
        );
        let inner = ValuePlace::new(Suite::One).seal(value);
        add(
            "layer2-stripped",
            place.text("rejected", "layer 2 was taken off", &inner, b""),
        );
    } else {
        let outer = ValuePlace::new(Suite::Two).seal(value);
        add(
            "layer2-added",
            place.text(
                "rejected",
                "two layers under the policy of one",
                &outer,
                b"",
            ),
        );
        page_subkey(place, value, add);
    }
}

/// A value sealed with a page's key: the two never share one.
fn page_subkey(place: &ValuePlace, value: &[u8], add: &mut impl FnMut(&str, String)) {
    let keys = place.keys();
    let dek = keys
        .dek(Layer::Customer, DekId::FIRST)
        .expect("it is there");
    let right = dek.value_key(&ValueKeyContext {
        layer: Layer::Customer,
        algorithm: Algorithm::Aes256Gcm,
        store: place.store,
        scope: place.scope,
        dek_id: DekId::FIRST,
        salt: SALTS[0],
    });
    let wrong = dek.page_key(&PageKeyContext {
        layer: Layer::Customer,
        algorithm: Algorithm::Aes256Gcm,
        store: place.store,
        file: FileId::from_bytes(place.scope),
        dek_id: DekId::FIRST,
        salt: SALTS[0],
    });
    let mut aad = b"CDV1\x01\x01\x00\x01".to_vec();
    aad.extend_from_slice(place.store.as_bytes());
    aad.extend_from_slice(&place.scope);
    aad.extend_from_slice(&1u32.to_le_bytes());
    aad.extend_from_slice(&(place.context.len() as u32).to_le_bytes());
    aad.extend_from_slice(&place.context);
    let sealed = place.seal(value);
    let rebuild = |key| {
        let mut message = value.to_vec();
        let key = Subkey::new(Algorithm::Aes256Gcm, key);
        let tag = key.seal_in_place(&IVS[0], &aad, &mut message);
        [&sealed[..36], &message, &tag].concat()
    };
    assert!(
        rebuild(&right) == sealed,
        "the long way round gives the same value"
    );
    add(
        "page-key",
        place.text(
            "rejected",
            "sealed with a page's key",
            &rebuild(&wrong),
            b"",
        ),
    );
}

fn worked_example() -> String {
    let place = Place::new(Suite::Two);
    let size = place.size.bytes();
    let page = plaintext(place.size);
    let inner = Place::new(Suite::One).seal(&page);
    let frame = place.seal(&page);
    let mut text = String::from(EXAMPLE_HEAD);
    let mut line = |name: &str, bytes: &[u8]| field(&mut text, name, bytes);
    line("store_id", place.store.as_bytes());
    line("file_id", place.file.as_bytes());
    line("page", &page);
    for (index, layer) in [Layer::Customer, Layer::Infrastructure]
        .into_iter()
        .enumerate()
    {
        let algorithm = place.suite.algorithm(layer).expect("two layers");
        let number = layer.number();
        let mut info = b"cofferdam page\0\0".to_vec();
        info.extend_from_slice(&[number, algorithm.number()]);
        info.extend_from_slice(place.store.as_bytes());
        info.extend_from_slice(place.file.as_bytes());
        info.extend_from_slice(&1u32.to_le_bytes());
        info.extend_from_slice(&SALTS[index]);
        line(&format!("DEK_1,{number}"), &place.deks[index]);
        line(&format!("salt_{number}"), &SALTS[index]);
        line(&format!("info_{number}"), &info);
        let key = place.secret(layer, algorithm, SALTS[index]);
        line(&format!("PAGE_{number}"), key.expose());
        line(&format!("IV_{number}"), &IVS[index]);
        line(&format!("AAD_{number}"), &place.aad(layer, algorithm));
        if layer == Layer::Customer {
            line("ct", &inner[..size]);
            line("tag_1", &inner[size..][TAG]);
        } else {
            let sealed = [&inner[..size], &inner[size..][SECRETS]].concat();
            line("ct ‖ salt_1 ‖ IV_1 ‖ tag_1", &sealed[size..]);
            let after = [&frame[..size], &frame[size..][SECRETS]].concat();
            line("the same, sealed", &after[after.len() - SECRETS_LEN..]);
            line("tag_2", &frame[size + SLOT_LEN..][TAG]);
        }
    }
    line("CRC-32C", &frame[size + SLOT_LEN..][CRC]);
    line("frame page", &frame[..size]);
    line("frame slot 1", &frame[size..size + SLOT_LEN]);
    line("frame slot 2", &frame[size + SLOT_LEN..]);
    text.push_str("```\n");
    text
}

fn head(expect: &str, section: &str, comment: &str) -> String {
    format!("expect: {expect}\nsection: {section}\ncomment: {comment}\n")
}

fn deks(text: &mut String, suite: Suite, deks: &[[u8; 32]; 2]) {
    for (index, key) in deks.iter().enumerate().take(suite.layer_count()) {
        let _ = writeln!(text, "dek.{}.1: {}", index + 1, hex(key));
    }
}

/// A field in hex: on its line when it is short, below it in lines of 32 bytes otherwise.
fn field(text: &mut String, name: &str, bytes: &[u8]) {
    if bytes.len() <= 32 {
        let _ = writeln!(text, "{}", format!("{name}: {}", hex(bytes)).trim_end());
    } else {
        let _ = writeln!(text, "{name}:");
        for row in bytes.chunks(32) {
            let _ = writeln!(text, "  {}", hex(row));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A page that is neither constant nor periodic in anything that is a power of two.
fn plaintext(size: PageSize) -> Vec<u8> {
    (0..size.bytes()).map(|index| (index % 251) as u8).collect()
}

const fn counting<const N: usize>(start: u8) -> [u8; N] {
    let mut bytes = [0; N];
    let mut index = 0;
    while index < N {
        bytes[index] = start.wrapping_add(index as u8);
        index += 1;
    }
    bytes
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const SALTS: [[u8; SALT_LEN]; LAYERS_MAX] = [counting(0xa0), counting(0xb0)];
const IVS: [[u8; IV_LEN]; LAYERS_MAX] = [counting(0xc0), counting(0xd0)];

const EXAMPLE_HEAD: &str = "\
## 11 Worked example

Page 7 of a file, 512 bytes under suite 2. Salts and IVs are random in life. A test makes this section
from the code, `tests/crosscheck/frames.py` recomputes it from this text alone, and more examples,
most of them of frames to refuse, are in `tests/vectors`. What follows a name is hexadecimal, in the
order of the bytes.

```text
";
