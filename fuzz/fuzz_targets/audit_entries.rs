//! A bundle of log entries, whatever the bytes.
#![no_main]

use cofferdam_audit::bundle_entries;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(entries) = bundle_entries(bytes) {
        let mut again = Vec::new();
        for entry in entries {
            let len = u16::try_from(entry.len()).expect("lengths are two bytes");
            again.extend_from_slice(&len.to_be_bytes());
            again.extend_from_slice(entry);
        }
        assert_eq!(again, bytes);
    }
});
