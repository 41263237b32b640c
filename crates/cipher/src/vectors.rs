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

mod example;
mod pages;
mod place;
mod values;

#[test]
fn the_frozen_vectors_are_what_this_code_makes() {
    let write = writing();
    for (folder, vectors) in [
        ("page", pages::page_vectors()),
        ("value", values::value_vectors()),
    ] {
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
    let example = example::worked_example();
    let start = document.find("## 11 Worked example\n");
    let start = start.expect("the format has a section 11");
    let end = document
        .find("\n## 12 ")
        .expect("the format has a section 12");
    if writing() {
        let text = format!("{}{example}{}", &document[..start], &document[end..]);
        std::fs::write(&path, text).expect("the format is written");
        return;
    }
    assert_eq!(&document[start..end], example);
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever runs the test says what it is for"
)]
fn writing() -> bool {
    std::env::var_os("COFFERDAM_WRITE_VECTORS").is_some()
}

type Named = Vec<(String, String)>;

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
