//! Names of stores, files and data keys.

use std::fmt;
use std::str::FromStr;

use crate::{KeysError, random};

macro_rules! random_id {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A new name that nobody else has.
            ///
            /// # Errors
            ///
            /// [`KeysError::Random`] when the cryptographic module gives no random bytes.
            pub fn random() -> Result<Self, KeysError> {
                let mut bytes = [0; 16];
                random::fill(&mut bytes)?;
                Ok(Self(bytes))
            }

            /// The name that these bytes are.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes as they stand on disk.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                parse_hex(text).map(Self)
            }
        }
    };
}

random_id! {
    /// Name of a store: of everything that one keyring protects.
    StoreId
}

random_id! {
    /// Name of one sealed file within its store.
    FileId
}

/// Number of a data key within its store, from 1 upwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DekId(u32);

impl DekId {
    /// The first data key of a store.
    pub const FIRST: Self = Self(1);

    /// The data key with this number, or `None` for 0, which names no key.
    pub const fn new(number: u32) -> Option<Self> {
        if number == 0 {
            None
        } else {
            Some(Self(number))
        }
    }

    /// The number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The number as it stands on disk.
    pub const fn to_le_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    /// The number after this one, or `None` when the numbers are used up.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl fmt::Display for DekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for DekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DekId({})", self.0)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is 32 hexadecimal digits")
    }
}

impl std::error::Error for NotAnId {}

fn parse_hex(text: &str) -> Result<[u8; 16], NotAnId> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 16 || !rest.is_empty() {
        return Err(NotAnId);
    }
    let mut bytes = [0; 16];
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Ok(bytes)
}

fn digit(character: u8) -> Result<u8, NotAnId> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        b'A'..=b'F' => Ok(character - b'A' + 10),
        _ => Err(NotAnId),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_displays() {
        let id = StoreId::random().unwrap();
        assert_eq!(id.to_string().parse::<StoreId>(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse::<StoreId>(), Ok(id));
    }

    #[test]
    fn what_is_not_32_digits_is_not_an_id() {
        for text in [
            "",
            "00",
            &"0".repeat(31),
            &"0".repeat(33),
            &"g".repeat(32),
            &"é".repeat(16),
        ] {
            assert_eq!(text.parse::<FileId>(), Err(NotAnId), "{text:?}");
        }
    }

    #[test]
    fn zero_names_no_data_key_and_the_last_number_has_no_next() {
        assert_eq!(DekId::new(0), None);
        assert_eq!(DekId::FIRST.next(), DekId::new(2));
        assert_eq!(DekId::new(u32::MAX).unwrap().next(), None);
    }
}
