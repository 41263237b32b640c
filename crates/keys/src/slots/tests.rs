//! What a crash, a thief and a custodian can leave in two slots.

use std::collections::BTreeMap;

use super::*;
use crate::test_vault::TestVaults;
use crate::{Layer, NewKeyring, Reason, Revocation, StoreId, Suite, UnixTime};

#[test]
fn the_newest_authentic_keyring_wins_and_the_next_goes_to_the_other_slot() {
    let (vaults, first) = new_store();
    let second = first.add_dek(NOW).unwrap();
    for (zero, one, slot) in [(&first, &second, Slot::One), (&second, &first, Slot::Zero)] {
        let unlocked = unlock(zero.encode(), one.encode(), &vaults).unwrap();
        assert_eq!(
            (unlocked.slot, unlocked.keyring.sequence().number()),
            (slot, 2)
        );
        assert_eq!(
            unlocked.other,
            OtherSlot::Older {
                claimed: Sequence::FIRST
            }
        );
    }
    let unlocked = unlock(first.encode(), &BLANK, &vaults).unwrap();
    assert_eq!(
        (unlocked.slot, unlocked.other),
        (Slot::Zero, OtherSlot::Blank)
    );
    let unlocked = unlock(first.encode(), first.encode(), &vaults).unwrap();
    assert_eq!(
        (unlocked.slot, unlocked.other),
        (Slot::Zero, OtherSlot::Same)
    );
    assert_eq!(
        unlock(&BLANK, &BLANK, &vaults).err(),
        Some(KeysError::NoKeyring)
    );
}

#[test]
fn however_a_write_is_torn_the_store_opens_with_the_old_keyring_or_the_new_one() {
    // Goal: sequence 3 goes over sequence 1 while 2 stays; any subset of the sectors that differ may arrive.
    // A rewrap to a name of the same length makes the worst of them: structure intact, key names mixed.
    let (vaults, first) = new_store();
    let (other, _) = vaults.key("customes");
    let second = first.add_dek(NOW).unwrap();
    let third = second
        .rewrap(Layer::Customer, &other, &vaults, NOW)
        .unwrap()
        .add_dek(NOW)
        .unwrap();
    let old = first.encode();
    let new = third.encode();
    let sectors: Vec<usize> = (0..KEYRING_LEN / 512)
        .filter(|sector| old[sector * 512..][..512] != new[sector * 512..][..512])
        .collect();
    assert!((2..=8).contains(&sectors.len()), "{sectors:?}");
    for arrived in 0..1u32 << sectors.len() {
        let mut torn = *old;
        for (bit, sector) in sectors
            .iter()
            .enumerate()
            .filter(|(bit, _)| arrived >> bit & 1 == 1)
        {
            assert!(bit < 32);
            torn[sector * 512..][..512].copy_from_slice(&new[sector * 512..][..512]);
        }
        let unlocked = unlock(&torn, second.encode(), &vaults).unwrap();
        let whole = arrived + 1 == 1 << sectors.len();
        assert_eq!(
            unlocked.keyring.sequence(),
            if whole {
                third.sequence()
            } else {
                second.sequence()
            }
        );
        assert_eq!(unlocked.slot, if whole { Slot::Zero } else { Slot::One });
    }
}

#[test]
fn a_torn_slot_that_names_a_key_which_refuses_does_not_lock_the_store() {
    let (vaults, first) = new_store();
    let second = first.add_dek(NOW).unwrap();
    for reason in [
        Reason::Revoked(Revocation::Version),
        Reason::Unreachable,
        Reason::Corrupt,
    ] {
        let (_, stranger) = vaults.key("customes");
        stranger.refuse(None, reason);
        let mut torn = *second.encode();
        let name = torn
            .windows(8)
            .position(|window| window == b"customer")
            .unwrap();
        torn[name + 7] = b's';
        let unlocked = unlock(first.encode(), &torn, &vaults).unwrap();
        assert_eq!(
            unlocked.other,
            OtherSlot::NotAuthentic {
                claimed: second.sequence()
            }
        );
        assert_eq!(
            (unlocked.slot, unlocked.keyring.sequence()),
            (Slot::Zero, Sequence::FIRST)
        );
    }
}

#[test]
fn a_revoked_version_is_not_got_around_by_the_older_slot() {
    // Goal: the older slot still opens with version 1, and the answer is still that of version 2.
    let (vaults, first) = new_store();
    let (uri, key) = vaults.key("customer");
    key.rotate();
    let second = first.rewrap(Layer::Customer, &uri, &vaults, NOW).unwrap();
    for reason in [
        Reason::Revoked(Revocation::Version),
        Reason::Unreachable,
        Reason::AuthBroken,
    ] {
        key.refuse(Some(2), reason);
        assert!(unlock(first.encode(), &BLANK, &vaults).is_ok());
        let Some(KeysError::Refused(refusal)) =
            unlock(first.encode(), second.encode(), &vaults).err()
        else {
            panic!("{reason:?} was got around")
        };
        assert_eq!(
            (refusal.reason, refusal.version.unwrap().as_str()),
            (reason, "2")
        );
    }
}

#[test]
fn one_sequence_with_two_contents_is_refused_when_both_are_authentic() {
    let (vaults, first) = new_store();
    let (one, other) = (first.add_dek(NOW).unwrap(), first.add_dek(NOW).unwrap());
    let refused = unlock(one.encode(), other.encode(), &vaults).err();
    assert_eq!(
        refused,
        Some(KeysError::TwoKeyrings {
            sequence: one.sequence()
        })
    );
    // A forgery of the same sequence is passed over, wherever it stands.
    let mut forged = *other.encode();
    forged[48] ^= 1;
    for (zero, second, slot) in [
        (one.encode(), &forged, Slot::Zero),
        (&forged, one.encode(), Slot::One),
    ] {
        let unlocked = unlock(zero, second, &vaults).unwrap();
        assert_eq!(unlocked.slot, slot);
        assert_eq!(
            unlocked.other,
            OtherSlot::NotAuthentic {
                claimed: one.sequence()
            }
        );
    }
}

#[test]
fn a_damaged_slot_is_reported_so_that_the_caller_can_ask_the_audit_log() {
    let (vaults, first) = new_store();
    let mut damaged = *first.add_dek(NOW).unwrap().encode();
    damaged[0] ^= 1;
    let unlocked = unlock(&damaged, first.encode(), &vaults).unwrap();
    assert_eq!(unlocked.slot, Slot::One);
    assert_eq!(
        unlocked.other,
        OtherSlot::Damaged(KeysError::Structure { field: "magic" })
    );
    assert_eq!(
        unlock(&damaged, &damaged, &vaults).err(),
        Some(KeysError::NoKeyring)
    );
}

fn new_store() -> (TestVaults, Keyring) {
    let vaults = TestVaults::default();
    let keys = BTreeMap::from([
        (Layer::Customer, vaults.key("customer").0),
        (Layer::Infrastructure, vaults.key("infrastructure").0),
    ]);
    let new = NewKeyring {
        store: StoreId::random().unwrap(),
        suite: Suite::Two,
        keys,
        now: NOW,
    };
    let (keyring, _) = Keyring::create(&new, &vaults).unwrap();
    (vaults, keyring)
}

fn unlock(
    zero: &[u8; KEYRING_LEN],
    one: &[u8; KEYRING_LEN],
    vaults: &TestVaults,
) -> Result<Unlocked, KeysError> {
    KeyringSlots::parse(zero, one).unlock(vaults, &Pins::none())
}

const BLANK: [u8; KEYRING_LEN] = [0; KEYRING_LEN];
const NOW: UnixTime = UnixTime {
    seconds: 1_800_000_000,
    nanos: 0,
};
