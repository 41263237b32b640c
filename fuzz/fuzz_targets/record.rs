//! Whatever an authentic file record says, it is one that the encoder writes and a reader can live with.

#![no_main]

use std::sync::OnceLock;

use cofferdam_keys::DataKeys;
use cofferdam_sealed_file::fuzzing::{KINDS, keys, record, record_seed};
use libfuzzer_sys::fuzz_target;

static KEYS: OnceLock<[DataKeys; 2]> = OnceLock::new();

// The first byte chooses kind and layers, the others go over a record that is sound.
fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    let both = KEYS.get_or_init(|| [keys(false), keys(true)]);
    let keys = &both[usize::from(choice & 1)];
    let kind = KINDS[usize::from(choice >> 1) % KINDS.len()];
    let mut body = record_seed(keys, kind);
    // The names of store and file are random: the fuzzer cannot guess them.
    for (at, byte) in (8..16).chain(48..448).zip(bytes) {
        body[at] = *byte;
    }
    let _ = record(keys, kind, &body);
});
