//! Almost all of these are about refusal: most of what can happen to a keyring must not open it.

mod encoding;

use super::*;
use crate::test_vault::TestVaults;
use crate::{
    BLOB_LEN_MAX, PageKeyContext, Reason, Refusal, Revocation, WRAPPED_ROOT_LEN, WrapContext,
    Wrapped,
};

#[test]
fn what_was_created_unlocks_with_one_unwrap_for_each_layer_and_gives_the_same_keys() {
    for suite in Suite::ALL {
        let (vaults, keyring, keys) = new_store(suite);
        let calls = call_count(&vaults);
        let (again, keys_again) = unlock(keyring.encode(), &vaults).unwrap();
        assert_eq!(call_count(&vaults) - calls, suite.layer_count());
        assert_eq!(again.contents, keyring.contents);
        assert_eq!(page_keys(&keys), page_keys(&keys_again));
        assert_eq!(keys.audit_seed().expose(), keys_again.audit_seed().expose());
        assert_eq!(
            keys.record_macs(&[3; 448]),
            keys_again.record_macs(&[3; 448])
        );
    }
}

#[test]
fn no_byte_of_a_keyring_can_be_changed() {
    let (vaults, keyring, _) = new_store(Suite::Two);
    let keyring = keyring.add_dek(NOW).unwrap();
    // The rest of the slot has one rule, zero; a few of its bytes stand for all.
    let used = KEYRING_LEN
        - keyring
            .encode()
            .iter()
            .rev()
            .take_while(|&&byte| byte == 0)
            .count();
    for index in (0..used + 8).chain([KEYRING_LEN - 1]) {
        for bit in [0x01, 0x80] {
            let mut slot = *keyring.encode();
            slot[index] ^= bit;
            assert!(
                unlock(&slot, &vaults).is_err(),
                "byte {index}, bit {bit:#x}"
            );
        }
    }
}

#[test]
fn a_keyring_cut_at_any_sector_or_field_is_refused() {
    let (vaults, keyring, _) = new_store(Suite::Two);
    let used = KEYRING_LEN
        - keyring
            .encode()
            .iter()
            .rev()
            .take_while(|&&byte| byte == 0)
            .count();
    for len in 0..used {
        let mut slot = [0; KEYRING_LEN];
        slot[..len].copy_from_slice(&keyring.encode()[..len]);
        assert!(unlock(&slot, &vaults).is_err(), "cut at {len}");
    }
}

#[test]
fn one_broken_mac_is_enough_whichever_layer_it_belongs_to() {
    let (vaults, keyring, _) = new_store(Suite::Three);
    let parsed = UncheckedKeyring::parse(keyring.encode()).unwrap();
    for layer_index in 0..2 {
        let mut slot = *keyring.encode();
        slot[parsed.body_len + layer_index * MAC_LEN + 31] ^= 1;
        assert_eq!(unlock(&slot, &vaults).err(), Some(KeysError::NotAuthentic));
    }
}

#[test]
fn neither_authority_alone_can_change_the_policy() {
    // Goal: whoever holds one root re-authenticates its own layer's MAC, and it does not help.
    let (vaults, keyring, _) = new_store(Suite::Two);
    for &forger in keyring.suite().layers() {
        let mut contents = keyring.contents.clone();
        contents.suite = Suite::Three;
        let roots = keyring.suite().layers().iter().zip(&keyring.roots);
        let roots = roots.map(|(&layer, root)| {
            if layer == forger {
                root.duplicate()
            } else {
                Secret::random().unwrap()
            }
        });
        let forged = Keyring::new(contents, roots.collect()).unwrap();
        assert_eq!(
            unlock(forged.encode(), &vaults).err(),
            Some(KeysError::NotAuthentic),
            "{forger}"
        );
    }
}

#[test]
fn stripping_the_second_layer_is_refused() {
    let (vaults, keyring, _) = new_store(Suite::Two);
    let mut contents = keyring.contents.clone();
    contents.suite = Suite::One;
    contents.wraps.pop();
    contents.deks.iter_mut().for_each(|dek| {
        dek.layers.pop();
    });
    let forged = Keyring::new(contents, vec![Secret::random().unwrap()]).unwrap();
    assert_eq!(
        unlock(forged.encode(), &vaults).err(),
        Some(KeysError::NotAuthentic)
    );
    // The customer's authority could make the MAC, and a caller that expects two layers still refuses.
    let forged = Keyring::new(forged.contents, vec![keyring.roots[0].duplicate()]).unwrap();
    let (infrastructure, _) = vaults.key("infrastructure");
    let pins = Pins::none().with(Layer::Infrastructure, infrastructure.clone());
    let refused = UncheckedKeyring::parse(forged.encode())
        .unwrap()
        .unlock(&vaults, &pins)
        .err();
    let layer = Layer::Infrastructure;
    assert_eq!(
        refused,
        Some(KeysError::Pinned {
            layer,
            expected: infrastructure,
            found: None
        })
    );
}

#[test]
fn a_root_moved_to_another_store_is_refused_even_with_valid_macs() {
    let (vaults, keyring, _) = new_store(Suite::One);
    let mut contents = keyring.contents.clone();
    contents.store = StoreId::random().unwrap();
    // The commitment and the MACs are made for the new store; only the wrapped bytes still say the old one.
    contents.wraps[0].commitment =
        derive::root_commitment(&keyring.roots[0], Layer::Customer, contents.store);
    contents.deks = vec![
        new_dek(
            DekId::FIRST,
            &[Layer::Customer],
            contents.store,
            &keyring.roots,
            NOW,
        )
        .unwrap(),
    ];
    let moved = Keyring::new(contents, vec![keyring.roots[0].duplicate()]).unwrap();
    assert!(moved.data_keys().is_ok());
    assert_eq!(
        unlock(moved.encode(), &vaults).err(),
        Some(KeysError::NotAuthentic)
    );
}

#[test]
fn a_root_moved_to_the_other_layer_is_refused() {
    let (vaults, keyring, _) = new_store(Suite::Two);
    let mut contents = keyring.contents.clone();
    let inner = contents.wraps[0].clone();
    let root = &keyring.roots[0];
    let commitment = derive::root_commitment(root, Layer::Infrastructure, contents.store);
    contents.wraps[1] = RootWrap {
        layer: Layer::Infrastructure,
        commitment,
        ..inner
    };
    let roots = vec![root.duplicate(), root.duplicate()];
    contents.deks = vec![
        new_dek(
            DekId::FIRST,
            contents.suite.layers(),
            contents.store,
            &roots,
            NOW,
        )
        .unwrap(),
    ];
    let moved = Keyring::new(contents, roots).unwrap();
    assert!(moved.data_keys().is_ok());
    assert_eq!(
        unlock(moved.encode(), &vaults).err(),
        Some(KeysError::NotAuthentic)
    );
}

#[test]
fn a_false_commitment_to_a_root_is_refused_even_with_valid_macs() {
    let (vaults, keyring, _) = new_store(Suite::One);
    let mut contents = keyring.contents.clone();
    contents.wraps[0].commitment[7] ^= 1;
    let forged = Keyring::new(contents, vec![keyring.roots[0].duplicate()]).unwrap();
    assert_eq!(
        unlock(forged.encode(), &vaults).err(),
        Some(KeysError::NotAuthentic)
    );
}

#[test]
fn data_keys_that_were_swapped_are_refused_even_with_valid_macs() {
    let (_, keyring, _) = new_store(Suite::Two);
    let keyring = keyring.add_dek(NOW).unwrap();
    // Between ids, wraps alone and wraps with their commitments; then between layers.
    let swaps: [fn(&mut Vec<DekRecord>); 3] = [
        |deks| {
            let (one, two) = deks.split_at_mut(1);
            std::mem::swap(&mut one[0].layers[0].wrapped, &mut two[0].layers[0].wrapped);
        },
        |deks| {
            let (one, two) = deks.split_at_mut(1);
            std::mem::swap(&mut one[0].layers, &mut two[0].layers);
        },
        |deks| deks[0].layers.swap(0, 1),
    ];
    for swap in swaps {
        let mut contents = keyring.contents.clone();
        swap(&mut contents.deks);
        let forged = Keyring::new(
            contents,
            keyring.roots.iter().map(Secret::duplicate).collect(),
        )
        .unwrap();
        assert_eq!(forged.data_keys().err(), Some(KeysError::NotAuthentic));
    }
}

#[test]
fn a_destroyed_data_key_is_gone_and_the_others_stay() {
    let (vaults, keyring, keys) = new_store(Suite::Two);
    let first = keyring.active_dek();
    let keyring = keyring.add_dek(NOW).unwrap();
    let both = keyring.data_keys().unwrap();
    assert_eq!(page_key(&keys, first), page_key(&both, first));
    assert_eq!(
        keyring.destroy_dek(keyring.active_dek(), NOW).err(),
        Some(KeysError::DekNotRetiring {
            id: DekId::new(2).unwrap()
        })
    );
    let keyring = keyring.destroy_dek(first, NOW).unwrap();
    let (keyring, keys) = unlock(keyring.encode(), &vaults).unwrap();
    assert!(keys.dek(Layer::Customer, first).is_none());
    assert!(keys.dek(Layer::Infrastructure, first).is_none());
    assert_eq!(
        page_key(&keys, keys.active_dek()),
        page_key(&both, both.active_dek())
    );
    assert_eq!(keyring.deks()[0].state, DekState::Destroyed);
    assert_eq!(
        keyring.destroy_dek(first, NOW).err(),
        Some(KeysError::DekNotRetiring { id: first })
    );
    let unknown = DekId::new(9).unwrap();
    assert_eq!(
        keyring.destroy_dek(unknown, NOW).err(),
        Some(KeysError::UnknownDek { id: unknown })
    );
}

#[test]
fn a_full_keyring_refuses_another_data_key_until_one_is_destroyed_and_ids_are_never_used_twice() {
    let (_, mut keyring, _) = new_store(Suite::Two);
    while keyring.deks().len() < DEK_COUNT_MAX {
        keyring = keyring.add_dek(NOW).unwrap();
    }
    assert_eq!(keyring.add_dek(NOW).err(), Some(KeysError::Full));
    let keyring = keyring
        .destroy_dek(DekId::new(5).unwrap(), NOW)
        .unwrap()
        .add_dek(NOW)
        .unwrap();
    assert_eq!(keyring.active_dek(), DekId::new(65).unwrap());
    assert!(keyring.deks().iter().all(|dek| dek.id.number() != 5));
    assert!(keyring.data_keys().is_ok());
}

#[test]
fn two_wraps_of_the_greatest_length_and_64_data_keys_fit() {
    let (_, mut keyring, _) = new_store(Suite::Two);
    while keyring.deks().len() < DEK_COUNT_MAX {
        keyring = keyring.add_dek(NOW).unwrap();
    }
    let mut contents = keyring.contents.clone();
    for wrap in &mut contents.wraps {
        wrap.key = format!("file:/{}", "k".repeat(crate::KEY_URI_LEN_MAX - 6))
            .parse()
            .unwrap();
        wrap.wrapped.version = "v".repeat(crate::KEY_VERSION_LEN_MAX).parse().unwrap();
        wrap.wrapped.blob = vec![1; BLOB_LEN_MAX];
    }
    assert_eq!(contents.encode().unwrap().len() + 2 * MAC_LEN, 16104);
    contents.wraps.insert(0, contents.wraps[0].clone());
    assert_eq!(contents.encode().err(), Some(KeysError::Full));
}

#[test]
fn a_rewrap_needs_no_old_key_afterwards_and_changes_no_data_key() {
    let (vaults, keyring, keys) = new_store(Suite::Two);
    let (customer, key) = vaults.key("customer");
    key.rotate();
    let calls = call_count(&vaults);
    let rewrapped = keyring
        .rewrap(Layer::Customer, &customer, &vaults, NOW)
        .unwrap();
    assert_eq!(
        call_count(&vaults) - calls,
        2,
        "one wrap, one unwrap that proves it"
    );
    assert_eq!(
        rewrapped.sequence().number(),
        keyring.sequence().number() + 1
    );
    assert_eq!(rewrapped.wraps()[0].wrapped.version.as_str(), "2");
    assert_eq!(rewrapped.wraps()[1], keyring.wraps()[1]);
    key.refuse(Some(1), Reason::Revoked(Revocation::Version));
    let (_, again) = unlock(rewrapped.encode(), &vaults).unwrap();
    assert_eq!(page_keys(&keys), page_keys(&again));
    assert!(matches!(
        unlock(keyring.encode(), &vaults).err(),
        Some(KeysError::Refused(_))
    ));
}

#[test]
fn a_rewrap_to_another_key_is_a_migration_but_never_to_the_other_layers_key() {
    let (vaults, keyring, _) = new_store(Suite::Two);
    let (other, _) = vaults.key("other");
    let moved = keyring
        .rewrap(Layer::Infrastructure, &other, &vaults, NOW)
        .unwrap();
    assert!(unlock(moved.encode(), &vaults).is_ok());
    let (customer, _) = vaults.key("customer");
    let refused = keyring
        .rewrap(Layer::Infrastructure, &customer, &vaults, NOW)
        .err();
    assert_eq!(refused, Some(KeysError::SameKeyTwice { key: customer }));
}

#[test]
fn a_vault_that_does_not_give_back_what_it_wrapped_is_not_trusted_with_a_root() {
    struct Forgetful;
    impl VaultSet for Forgetful {
        fn vault(
            &self,
            _: &KeyUri,
        ) -> Result<std::sync::Arc<dyn crate::KeyVault>, crate::NoSuchVault> {
            Ok(std::sync::Arc::new(Self))
        }
    }
    impl crate::KeyVault for Forgetful {
        fn describe(&self) -> Result<crate::KeyDescription, Refusal> {
            unreachable!()
        }
        fn wrap(&self, _: &Secret<WRAPPED_ROOT_LEN>, _: &WrapContext) -> Result<Wrapped, Refusal> {
            let version = "1".parse().unwrap();
            Ok(Wrapped {
                version,
                algorithm: crate::WrapAlgorithm::Aes256Kw,
                blob: vec![1; 88],
            })
        }
        fn unwrap(
            &self,
            _: &Wrapped,
            _: &WrapContext,
        ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
            Ok(Secret::random().unwrap())
        }
        fn versions(&self) -> Result<Vec<crate::VersionDescription>, Refusal> {
            unreachable!()
        }
    }
    let (_, keyring, _) = new_store(Suite::One);
    let key = keyring.wraps()[0].key.clone();
    let refused = keyring.rewrap(Layer::Customer, &key, &Forgetful, NOW).err();
    assert!(matches!(
        refused,
        Some(KeysError::Refused(Refusal {
            reason: Reason::Corrupt,
            ..
        }))
    ));
}

#[test]
fn a_vault_that_says_no_is_named_with_key_version_and_reason() {
    let (vaults, keyring, _) = new_store(Suite::Two);
    let (uri, key) = vaults.key("infrastructure");
    key.refuse(None, Reason::Revoked(Revocation::Disabled));
    let Some(KeysError::Refused(refusal)) = unlock(keyring.encode(), &vaults).err() else {
        panic!("a refusal")
    };
    assert_eq!(
        (refusal.reason, refusal.key),
        (Reason::Revoked(Revocation::Disabled), uri)
    );
    assert_eq!(refusal.version.unwrap().as_str(), "1");
}

#[test]
fn an_outage_turns_to_the_next_wrap_and_a_no_does_not() {
    let (vaults, keyring, _) = new_store(Suite::One);
    let (second, _) = vaults.key("second");
    let root = &keyring.roots[0];
    let mut contents = keyring.contents.clone();
    contents
        .wraps
        .push(wrap_root(root, Layer::Customer, contents.store, &second, &vaults, NOW).unwrap());
    let keyring = Keyring::new(contents, vec![root.duplicate()]).unwrap();
    let (_, first) = vaults.key("customer");
    for reason in [Reason::Unreachable, Reason::Throttled] {
        first.refuse(None, reason);
        assert!(unlock(keyring.encode(), &vaults).is_ok());
    }
    for reason in [
        Reason::Revoked(Revocation::Deleted),
        Reason::AuthBroken,
        Reason::Corrupt,
        Reason::PolicyMismatch,
    ] {
        first.refuse(None, reason);
        assert!(unlock(keyring.encode(), &vaults).is_err(), "{reason:?}");
    }
}

#[test]
fn a_refused_layer_is_not_got_around_by_an_older_keyring_without_that_layer() {
    // Goal: the older slot is of suite 1 and opens; its root vouches for the customer's MAC of the newer one.
    let (vaults, newer, _) = new_store(Suite::Two);
    let newer = newer.add_dek(NOW).unwrap();
    let mut contents = newer.contents.clone();
    contents.suite = Suite::One;
    contents.sequence = Sequence::FIRST;
    contents.wraps.pop();
    contents
        .deks
        .iter_mut()
        .for_each(|dek| dek.layers.truncate(1));
    let older = Keyring::new(contents, vec![newer.roots[0].duplicate()]).unwrap();
    assert!(unlock(older.encode(), &vaults).is_ok());
    let (_, key) = vaults.key("infrastructure");
    key.refuse(None, Reason::Revoked(Revocation::Disabled));
    let slots = crate::KeyringSlots::parse(older.encode(), newer.encode());
    assert!(matches!(
        slots.unlock(&vaults, &Pins::none()).err(),
        Some(KeysError::Refused(_))
    ));
}

#[test]
fn a_keyring_that_names_another_key_than_expected_is_refused_before_any_call() {
    let (vaults, keyring, _) = new_store(Suite::Two);
    let (customer, _) = vaults.key("customer");
    let (other, _) = vaults.key("other");
    let calls = call_count(&vaults);
    let unchecked = UncheckedKeyring::parse(keyring.encode()).unwrap();
    let refused = unchecked
        .unlock(&vaults, &Pins::none().with(Layer::Customer, other.clone()))
        .err();
    let layer = Layer::Customer;
    assert_eq!(
        refused,
        Some(KeysError::Pinned {
            layer,
            expected: other,
            found: Some(customer.clone())
        })
    );
    assert_eq!(call_count(&vaults), calls);
    assert!(
        unchecked
            .unlock(&vaults, &Pins::none().with(Layer::Customer, customer))
            .is_ok()
    );
}

#[test]
fn keys_and_layers_have_to_fit_together() {
    let vaults = TestVaults::default();
    let (customer, _) = vaults.key("customer");
    let new = |suite, keys| NewKeyring {
        store: StoreId::random().unwrap(),
        suite,
        keys,
        now: NOW,
    };
    for (suite, keys, expected) in [
        (
            Suite::One,
            BTreeMap::new(),
            KeysError::SuiteHasNoLayer {
                layer: Layer::Customer,
            },
        ),
        (
            Suite::One,
            BTreeMap::from([
                (Layer::Customer, customer.clone()),
                (Layer::Infrastructure, customer.clone()),
            ]),
            KeysError::SuiteHasNoLayer {
                layer: Layer::Infrastructure,
            },
        ),
        (
            Suite::Two,
            BTreeMap::from([(Layer::Customer, customer.clone())]),
            KeysError::SuiteHasNoLayer {
                layer: Layer::Infrastructure,
            },
        ),
        (
            Suite::Two,
            BTreeMap::from([
                (Layer::Customer, customer.clone()),
                (Layer::Infrastructure, customer.clone()),
            ]),
            KeysError::SameKeyTwice {
                key: customer.clone(),
            },
        ),
    ] {
        assert_eq!(
            Keyring::create(&new(suite, keys), &vaults).err(),
            Some(expected)
        );
    }
}

#[test]
fn accepting_a_rollback_goes_past_everything_seen() {
    let (vaults, keyring, _) = new_store(Suite::One);
    let seen = Sequence::new(41).unwrap();
    let accepted = keyring.accept_rollback(seen).unwrap();
    assert_eq!(
        (accepted.sequence().number(), accepted.incarnation()),
        (42, 2)
    );
    let (accepted, _) = unlock(accepted.encode(), &vaults).unwrap();
    let again = accepted.accept_rollback(Sequence::FIRST).unwrap();
    assert_eq!((again.sequence().number(), again.incarnation()), (43, 3));
    let last = accepted
        .accept_rollback(Sequence::new(u64::MAX).unwrap())
        .err();
    assert_eq!(last, Some(KeysError::SequenceExhausted));
}

#[test]
fn the_reserved_suite_is_refused_by_name() {
    let (_, keyring, _) = new_store(Suite::One);
    let mut slot = *keyring.encode();
    slot[10] = 4;
    let refused = UncheckedKeyring::parse(&slot).err();
    assert_eq!(
        refused,
        Some(KeysError::UnknownSuite(
            crate::UnknownSuite::ReservedForFips
        ))
    );
}

#[test]
fn a_blob_of_rsa_has_the_length_of_its_key() {
    let (_, keyring, _) = new_store(Suite::One);
    let parses = |len: usize| {
        let mut contents = keyring.contents.clone();
        contents.wraps[0].wrapped.algorithm = crate::WrapAlgorithm::RsaOaep256;
        contents.wraps[0].wrapped.blob = vec![7; len];
        let body = contents.encode().unwrap();
        let mut slot = [0; KEYRING_LEN];
        slot[..body.len()].copy_from_slice(&body);
        UncheckedKeyring::parse(&slot)
            .map(|parsed| parsed.wraps()[0].wrapped.algorithm.authenticates())
    };
    for len in [256, 384, 512] {
        assert_eq!(parses(len), Ok(false), "{len}");
    }
    for len in [1, 88, 255, 257, 383, 511, 513, 1024] {
        assert_eq!(
            parses(len),
            Err(KeysError::Structure { field: "blob_len" }),
            "{len}"
        );
    }
}

fn new_store(suite: Suite) -> (TestVaults, Keyring, DataKeys) {
    let vaults = TestVaults::default();
    let keys = suite
        .layers()
        .iter()
        .map(|layer| (*layer, vaults.key(&layer.to_string()).0))
        .collect();
    let new = NewKeyring {
        store: StoreId::random().unwrap(),
        suite,
        keys,
        now: NOW,
    };
    let (keyring, data_keys) = Keyring::create(&new, &vaults).unwrap();
    (vaults, keyring, data_keys)
}

fn unlock(slot: &[u8; KEYRING_LEN], vaults: &TestVaults) -> Result<(Keyring, DataKeys), KeysError> {
    UncheckedKeyring::parse(slot)?.unlock(vaults, &Pins::none())
}

fn call_count(vaults: &TestVaults) -> usize {
    ["customer", "infrastructure"]
        .map(|name| vaults.key(name).1.call_count())
        .iter()
        .sum()
}

fn page_keys(keys: &DataKeys) -> Vec<[u8; 32]> {
    page_key(keys, keys.active_dek())
}

fn page_key(keys: &DataKeys, dek_id: DekId) -> Vec<[u8; 32]> {
    let suite = keys.suite();
    let file = crate::FileId::from_bytes([6; 16]);
    let key = |&layer: &Layer| {
        let algorithm = suite.algorithm(layer).unwrap();
        let context = PageKeyContext {
            layer,
            algorithm,
            store: keys.store_id(),
            file,
            dek_id,
            salt: [8; 16],
        };
        *keys.dek(layer, dek_id).unwrap().page_key(&context).expose()
    };
    suite.layers().iter().map(key).collect()
}

const NOW: UnixTime = UnixTime {
    seconds: 1_800_000_000,
    nanos: 0,
};
