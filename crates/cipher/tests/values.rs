//! What a value cipher must do with values of any kind.

use std::sync::Arc;

use cofferdam_cipher::{CONTEXT_LEN_MAX, OpenError, SealError, VALUE_OVERHEAD, ValueCipher};
use cofferdam_keys::{DataKeys, Suite, UnixTime};

#[test]
fn every_value_comes_back_and_is_longer_by_the_overhead() {
    for suite in Suite::ALL {
        let keys = Arc::new(DataKeys::ephemeral(suite).unwrap());
        let cipher = ValueCipher::new(keys.clone(), SCOPE, clock);
        let other = ValueCipher::new(keys, SCOPE, clock);
        assert_eq!(cipher.overhead(), suite.layer_count() * VALUE_OVERHEAD);
        for len in (0..200).chain([1000, 1023, 1024, 1025, 70_000]) {
            let value: Vec<u8> = (0..len).map(|index| (index % 253) as u8).collect();
            let context = &value[..len.min(CONTEXT_LEN_MAX)];
            let sealed = cipher.seal(context, &value).unwrap();
            assert_eq!(sealed.len(), len + cipher.overhead());
            assert!(other.open(context, &sealed).unwrap()[..] == value);
        }
    }
}

#[test]
fn every_bit_of_a_sealed_value_and_of_its_context_counts() {
    for suite in Suite::ALL {
        let cipher = cipher(suite);
        let mut context = *b"row 17, column 4";
        let mut sealed = cipher.seal(&context, b"value").unwrap();
        for bit in 0..sealed.len() * 8 {
            sealed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher.open(&context, &sealed).err(), REFUSED, "bit {bit}");
            sealed[bit / 8] ^= 1 << (bit % 8);
        }
        for bit in 0..context.len() * 8 {
            context[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher.open(&context, &sealed).err(), REFUSED, "bit {bit}");
            context[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..sealed.len() {
            assert_eq!(
                cipher.open(&context, &sealed[..len]).err(),
                REFUSED,
                "{len} bytes"
            );
        }
        assert!(cipher.open(&context, &sealed).is_ok());
    }
}

#[test]
fn equal_values_look_different() {
    let cipher = cipher(Suite::Two);
    let seal = || cipher.seal(b"row", b"value").unwrap();
    assert_ne!(seal(), seal());
}

#[test]
fn a_context_that_is_too_long_is_the_callers_mistake() {
    let cipher = cipher(Suite::One);
    let context = [0; CONTEXT_LEN_MAX + 1];
    let (expected, found) = (CONTEXT_LEN_MAX, context.len());
    let misuse = SealError::Misuse { expected, found };
    assert_eq!(cipher.seal(&context, b"value"), Err(misuse));
    let misuse = OpenError::Misuse { expected, found };
    assert_eq!(cipher.open(&context, &[0; 100]).err(), Some(misuse));
}

#[test]
fn after_two_to_the_sixteenth_failed_tags_no_value_is_opened() {
    let cipher = cipher(Suite::One);
    let sealed = cipher.seal(b"right", b"value").unwrap();
    for _ in 0..1 << 16 {
        assert_eq!(cipher.open(b"wrong", &sealed).err(), REFUSED);
    }
    assert_eq!(
        cipher.open(b"right", &sealed).err(),
        Some(OpenError::Quarantined)
    );
}

fn cipher(suite: Suite) -> ValueCipher {
    ValueCipher::new(Arc::new(DataKeys::ephemeral(suite).unwrap()), SCOPE, clock)
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}

const SCOPE: [u8; 16] = *b"customers.salary";
const REFUSED: Option<OpenError> = Some(OpenError::ValueRefused);
