//! Whatever parses as the name of a key is that key's one name.

#![no_main]

use std::path::Path;

use cofferdam_keys::KeyUri;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<KeyUri>() {
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
    }
    if let Ok((key, _)) = KeyUri::parse_typed(text, Path::new("/base")) {
        assert_eq!(key.as_str().parse(), Ok(key.clone()));
    }
});
