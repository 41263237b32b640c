//! Proofs of inclusion and of consistency, whatever the bytes.
#![no_main]

use std::sync::LazyLock;

use cofferdam_audit::{ConsistencyProof, Proof, VerifierKey};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<VerifierKey> =
    LazyLock::new(|| VerifierKey::from_seed("audit.example/orders", &[7; 32]).expect("a good origin"));

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proof) = Proof::parse(bytes) {
        assert_eq!(proof.to_text(), bytes);
        let _ = proof.verify(&KEY, bytes);
    }
    if let Ok(proof) = ConsistencyProof::parse(bytes) {
        assert_eq!(proof.to_text(), bytes);
    }
});
