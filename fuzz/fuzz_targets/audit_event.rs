//! An event of an audit log: what is accepted has exactly one encoding.
#![no_main]

use cofferdam_audit::LoggedEvent;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(event) = LoggedEvent::parse(bytes) {
        assert_eq!(event.to_json(), bytes);
    }
});
