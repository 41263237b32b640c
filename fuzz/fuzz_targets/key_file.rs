//! No bytes make the key file's parser panic. A file without a passphrase is opened as well.

#![no_main]

use cofferdam_vaults::{UncheckedKeyFile, VERSION_COUNT_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = UncheckedKeyFile::parse(bytes)
        && let Ok(version_count) = file.check_unprotected()
    {
        assert!((1..=VERSION_COUNT_MAX).contains(&version_count));
        assert!(file.protection().is_none());
    }
});
