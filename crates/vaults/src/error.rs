//! What a custodian is told.

use std::fmt;
use std::io;
use std::path::PathBuf;

use cofferdam_keys::{KeyVersion, Refusal};

use crate::{PASSPHRASE_LEN_MAX, VERSION_COUNT_MAX};

/// Why a custodian's action did not happen.
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultsError {
    /// There is a file already, and a key is never overwritten.
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The key has as many versions as it can have.
    Full,
    /// The key has no such version.
    NoSuchVersion {
        /// The version.
        version: KeyVersion,
    },
    /// The passphrase is empty or too long.
    PassphraseLength {
        /// Bytes found.
        len: usize,
    },
    /// The cryptographic module gave no random bytes.
    Random,
    /// The vault refused.
    Refused(Refusal),
    /// The file could not be written. What was there before is still there.
    Storage {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
}

impl fmt::Display for VaultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists { path } => {
                write!(
                    f,
                    "{} exists; a key is never overwritten, choose another path",
                    path.display()
                )
            }
            Self::Full => write!(
                f,
                "the key has {VERSION_COUNT_MAX} versions, the most that a key file holds"
            ),
            Self::NoSuchVersion { version } => write!(f, "the key has no version {version}"),
            Self::PassphraseLength { len } => {
                write!(
                    f,
                    "the passphrase has {len} bytes, where 1 to {PASSPHRASE_LEN_MAX} are allowed"
                )
            }
            Self::Random => f.write_str("the cryptographic module gave no random bytes"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Storage { path, error } => {
                write!(f, "{} cannot be written: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for VaultsError {}

impl From<Refusal> for VaultsError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
