//! The frozen vectors in `tests/vectors`, most of which must be refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_cipher::{
    OpenError, PageCipher, PageNumber, PageSize, SlotCount, ValueCipher, crc_matches,
};
use cofferdam_keys::{DataKeys, DekId, FileId, StoreId, Suite, UnixTime, VectorLayer};

#[test]
fn every_page_vector_gets_the_answer_it_expects() {
    let refused = check("page", |vector| {
        let size = PageSize::try_from(vector.number::<usize>("page_size")).expect("a page size");
        let slots = SlotCount::from_number(vector.number("slot_count")).expect("a slot count");
        let file = vector.text("file_id").parse::<FileId>().expect("an id");
        let cipher = PageCipher::new(vector.keys(), file, size, slots, clock).expect("layers fit");
        let page = PageNumber::new(vector.number("page")).expect("a page number");
        let frame = vector.bytes("frame");
        let before = frame.clone();
        let mut plaintext = vec![0xee; size.bytes()];
        let result = match vector.number("version") {
            0 => cipher.open(page, &frame, &mut plaintext),
            version => cipher
                .open_versioned(page, &frame, &mut plaintext)
                .map(|found| assert_eq!(found, version)),
        };
        assert!(frame == before, "a frame that is opened stays as it is");
        match result {
            Ok(()) => {
                assert!(crc_matches(&frame, slots));
                Some(plaintext)
            }
            Err(error) => {
                assert_eq!(error, OpenError::Refused { page });
                assert!(
                    plaintext.iter().all(|&byte| byte == 0),
                    "nothing is released"
                );
                None
            }
        }
    });
    assert!(refused > 150, "most vectors are refusals");
}

#[test]
fn every_value_vector_gets_the_answer_it_expects() {
    let refused = check("value", |vector| {
        let scope = vector.bytes("scope_id").try_into().expect("16 bytes");
        let cipher = ValueCipher::new(vector.keys(), scope, clock);
        match cipher.open(&vector.bytes("context"), &vector.bytes("sealed")) {
            Ok(value) => Some(value.to_vec()),
            Err(error) => {
                assert_eq!(error, OpenError::ValueRefused);
                None
            }
        }
    });
    assert!(refused > 50, "most vectors are refusals");
}

/// Opens every vector of a folder; returns how many were refused, as they should be.
fn check(folder: &str, open: impl Fn(&Vector) -> Option<Vec<u8>>) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(folder);
    let mut refused = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let vector = Vector::read(entry.expect("an entry").path());
        let opened = open(&vector);
        match vector.text("expect") {
            "opened" => assert!(
                opened == Some(vector.bytes("plaintext")),
                "{}",
                vector.name()
            ),
            "rejected" => {
                assert!(opened.is_none(), "{}", vector.name());
                refused += 1;
            }
            other => panic!("{}: expects {other}", vector.name()),
        }
    }
    refused
}

/// A vector: `name: value` lines, continued by indented ones.
struct Vector {
    path: PathBuf,
    fields: BTreeMap<String, String>,
}

impl Vector {
    fn read(path: PathBuf) -> Vector {
        let text = std::fs::read_to_string(&path).expect("a vector is text");
        let mut fields = BTreeMap::<String, String>::new();
        let mut last = String::new();
        for line in text.lines() {
            if line.starts_with("  ") {
                let value = fields.get_mut(&last).expect("a line to continue");
                value.push_str(line.trim());
            } else {
                let (name, value) = line.split_once(':').expect("a name and a value");
                last = name.into();
                let before = fields.insert(name.into(), value.trim().into());
                assert!(before.is_none(), "{name} is there twice");
            }
        }
        Vector { path, fields }
    }

    fn name(&self) -> String {
        format!("{}: {}", self.path.display(), self.text("comment"))
    }

    fn text(&self, name: &str) -> &str {
        self.fields
            .get(name)
            .unwrap_or_else(|| panic!("{}: no {name}", self.path.display()))
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> N {
        let number = self.text(name).parse().ok();
        number.unwrap_or_else(|| panic!("{}: {name} is no number", self.path.display()))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let text = self.text(name).as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
        let (pairs, rest) = text.as_chunks::<2>();
        assert!(
            rest.is_empty(),
            "{}: {name} has an odd length",
            self.path.display()
        );
        pairs
            .iter()
            .map(|&[high, low]| digit(high) << 4 | digit(low))
            .collect()
    }

    fn keys(&self) -> Arc<DataKeys> {
        let suite = Suite::from_number(self.number("suite")).expect("a suite");
        let layers = suite.layers().iter().map(|layer| VectorLayer {
            root: [0; 32],
            deks: vec![(DekId::FIRST, self.dek(layer.number()))],
        });
        let layers: Vec<_> = layers.collect();
        let store = self.text("store_id").parse::<StoreId>().expect("an id");
        Arc::new(DataKeys::from_vectors(store, suite, DekId::FIRST, &layers))
    }

    fn dek(&self, layer: u8) -> [u8; 32] {
        self.bytes(&format!("dek.{layer}.1"))
            .try_into()
            .expect("32 bytes")
    }
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}
