//! What can go wrong with keys.

use std::fmt;

/// Why there are no keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeysError {
    /// The cryptographic module gave no random bytes.
    Random,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("the cryptographic module gave no random bytes"),
        }
    }
}

impl std::error::Error for KeysError {}
