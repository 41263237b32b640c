//! No bytes make the keyring's parser panic, and whatever parses in one slot does not confuse the choice of two.

#![no_main]

use cofferdam_keys::{KEYRING_LEN, KeyringSlots, UncheckedKeyring};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut slot = [0; KEYRING_LEN];
    let len = bytes.len().min(KEYRING_LEN);
    slot[..len].copy_from_slice(&bytes[..len]);
    let parses = UncheckedKeyring::parse(&slot).is_ok();
    let slots = KeyringSlots::parse(&slot, &[0; KEYRING_LEN]);
    assert_eq!(slots.candidates().len(), usize::from(parses));
});
