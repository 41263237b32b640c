//! The text of a log's public key, whatever the bytes.
#![no_main]

use cofferdam_audit::VerifierKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text.strip_suffix('\n').unwrap_or(text));
    }
});
