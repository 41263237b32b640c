//! A signed head of an audit log, whatever the bytes.
#![no_main]

use std::sync::LazyLock;

use cofferdam_audit::{Checkpoint, VerifierKey};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<VerifierKey> =
    LazyLock::new(|| VerifierKey::from_seed("audit.example/orders", &[7; 32]).expect("a good origin"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::open(bytes, &KEY) {
        assert_eq!(checkpoint.note(), bytes);
        assert_eq!(checkpoint.origin(), KEY.origin());
    }
});
