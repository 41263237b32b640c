//! What is written reads back, and reads back as one thing only.

use proptest::prelude::*;

use super::*;
use crate::encoding::WrappedDek;

proptest! {
    #[test]
    fn any_contents_read_back_as_they_were_written(contents in any_contents()) {
        let roots = contents.suite.layers().iter().map(|_| Secret::random().unwrap()).collect();
        let keyring = Keyring::new(contents, roots).unwrap();
        let parsed = UncheckedKeyring::parse(keyring.encode()).unwrap();
        prop_assert_eq!(&parsed.contents, &keyring.contents);
        prop_assert!(parsed.is_vouched_for_by(&keyring));
    }

    #[test]
    fn whatever_parses_is_the_one_encoding_of_what_it_says(
        contents in any_contents(),
        damage in prop::collection::vec((0..2048usize, any::<u8>()), 0..4),
    ) {
        // The equivalent of the fuzz target `keyring`: no bytes make the parser panic, or mean two things.
        let roots = contents.suite.layers().iter().map(|_| Secret::random().unwrap()).collect();
        let mut slot = *Keyring::new(contents, roots).unwrap().encode();
        for (index, byte) in damage {
            slot[index] = byte;
        }
        if let Ok(parsed) = UncheckedKeyring::parse(&slot) {
            let encoded = parsed.contents.encode().unwrap();
            prop_assert_eq!(&encoded, &slot[..parsed.body_len]);
        }
    }
}

fn any_contents() -> impl Strategy<Value = Contents> {
    let head = (
        prop::sample::select(Suite::ALL.to_vec()),
        any::<[u8; 16]>(),
        1..=u64::MAX,
        1..=u64::MAX,
        any::<u64>(),
    );
    (
        head,
        1..4usize,
        1..6usize,
        any::<prop::sample::Index>(),
        any::<u8>(),
    )
        .prop_map(
            |(
                (suite, store, sequence, incarnation, created_at),
                wrap_count,
                dek_count,
                active,
                byte,
            )| {
                let active = active.index(dek_count);
                let wraps = suite.layers().iter().flat_map(|&layer| {
                    (0..wrap_count).map(move |index| any_wrap(layer, index, byte))
                });
                let deks = (0..dek_count).map(|index| any_dek(suite, index, active, byte));
                Contents {
                    suite,
                    store: StoreId::from_bytes(store),
                    sequence: Sequence::new(sequence).unwrap(),
                    incarnation,
                    created_at,
                    active_dek: DekId::new(u32::try_from(active).unwrap() * 3 + 1).unwrap(),
                    wraps: wraps.collect(),
                    deks: deks.collect(),
                }
            },
        )
}

fn any_wrap(layer: Layer, index: usize, byte: u8) -> RootWrap {
    let version = "7".repeat(1 + usize::from(byte)).parse().unwrap();
    let (algorithm, blob_len) = match byte % 4 {
        0 => (crate::WrapAlgorithm::RsaOaep256, 256),
        1 => (crate::WrapAlgorithm::RsaOaep256, 384),
        _ => (crate::WrapAlgorithm::Aes256Kw, 1 + usize::from(byte) * 4),
    };
    RootWrap {
        layer,
        key: format!("file:/keys/{index} é").parse().unwrap(),
        wrapped: Wrapped {
            version,
            algorithm,
            blob: vec![byte; blob_len],
        },
        wrapped_at: u64::from(byte) << 40,
        commitment: [byte; 32],
    }
}

fn any_dek(suite: Suite, index: usize, active: usize, byte: u8) -> DekRecord {
    let state = match (index == active, (index + usize::from(byte)) % 2) {
        (true, _) => DekState::Active,
        (false, 0) => DekState::Retiring,
        (false, _) => DekState::Destroyed,
    };
    let wrapped = if state == DekState::Destroyed {
        [0; 40]
    } else {
        [byte | 1; 40]
    };
    DekRecord {
        id: DekId::new(u32::try_from(index).unwrap() * 3 + 1).unwrap(),
        state,
        created_at: u64::from(byte),
        retired_at: if state == DekState::Active { 0 } else { 7 },
        destroyed_at: if state == DekState::Destroyed {
            u64::MAX
        } else {
            0
        },
        layers: suite
            .layers()
            .iter()
            .map(|_| WrappedDek {
                wrapped,
                commitment: [byte; 32],
            })
            .collect(),
    }
}
