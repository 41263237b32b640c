//! What can go wrong with keys.

use std::fmt;

use crate::{DekId, KeyUri, Layer, NoSuchVault, Refusal, Sequence, UnknownSuite};

/// Why there are no keys, or no new keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeysError {
    /// The data key is the active one, or was destroyed before.
    DekNotRetiring {
        /// The data key.
        id: DekId,
    },
    /// The keyring has no room left: 64 data keys that are not destroyed, or 16384 bytes.
    Full,
    /// Neither slot holds anything that reads as a keyring.
    NoKeyring,
    /// This program has no vault for a key that the keyring names.
    NoSuchVault(NoSuchVault),
    /// The keyring was altered, or was not made with this key. There is no telling which.
    NotAuthentic,
    /// The keyring names another key for a layer than the caller expects, or has no such layer.
    Pinned {
        /// The layer.
        layer: Layer,
        /// The key that the caller expects.
        expected: KeyUri,
        /// The key that the keyring names, when it has the layer.
        found: Option<KeyUri>,
    },
    /// The cryptographic module gave no random bytes.
    Random,
    /// A vault refused.
    Refused(Refusal),
    /// Both layers would be under one key: two walls with one door.
    SameKeyTwice {
        /// The key.
        key: KeyUri,
    },
    /// The sequence cannot grow any further.
    SequenceExhausted,
    /// The bytes are no keyring: a field has a value that the format does not allow.
    Structure {
        /// The field.
        field: &'static str,
    },
    /// The suite has no such layer.
    SuiteHasNoLayer {
        /// The layer.
        layer: Layer,
    },
    /// Both slots are authentic and differ, though they have one sequence.
    TwoKeyrings {
        /// The sequence.
        sequence: Sequence,
    },
    /// The keyring has no such data key.
    UnknownDek {
        /// The data key.
        id: DekId,
    },
    /// The root of a layer is wrapped by an algorithm that does not authenticate, and nobody said that it is the right one.
    Unpinned {
        /// The layer.
        layer: Layer,
        /// The commitment to the root that was found.
        commitment: [u8; 32],
    },
    /// The keyring is of a suite that this build does not have.
    UnknownSuite(UnknownSuite),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DekNotRetiring { id } => {
                write!(
                    f,
                    "data key {id} is active or destroyed; only a retiring one can be destroyed"
                )
            }
            Self::Full => f.write_str(
                "the keyring is full; destroy data keys that nothing is sealed under any more",
            ),
            Self::NoKeyring => {
                f.write_str("there is no keyring here: both slots are empty or damaged")
            }
            Self::NoSuchVault(error) => error.fmt(f),
            Self::Unpinned { layer, commitment } => {
                write!(
                    f,
                    "the root of the {layer} layer is wrapped with RSA, which anyone can do who has the public key, so this could be another \
                     database put in place of yours. Compare with the pin that was noted when yours was sealed, and give it: \
                     COFFERDAM_PIN="
                )?;
                commitment
                    .iter()
                    .try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(
                    "; or keep the audit log apart from the database, with COFFERDAM_AUDIT=DIR",
                )
            }
            Self::NotAuthentic => f.write_str(
                "the keyring does not authenticate: it was altered, or this is not its key",
            ),
            Self::Pinned {
                layer,
                expected,
                found: Some(found),
            } => {
                write!(
                    f,
                    "the {layer} layer is under key {found}, where {expected} is expected"
                )
            }
            Self::Pinned {
                layer,
                expected,
                found: None,
            } => {
                write!(
                    f,
                    "there is no {layer} layer, where one under key {expected} is expected"
                )
            }
            Self::Random => f.write_str("the cryptographic module gave no random bytes"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::SameKeyTwice { key } => {
                write!(
                    f,
                    "both layers would be under key {key}; the second wall needs a key of its own"
                )
            }
            Self::SequenceExhausted => {
                f.write_str("the keyring's sequence cannot grow any further")
            }
            Self::Structure { field } => write!(f, "these bytes are no keyring: {field}"),
            Self::SuiteHasNoLayer { layer } => write!(
                f,
                "the suite and the keys do not fit together at the {layer} layer"
            ),
            Self::TwoKeyrings { sequence } => {
                write!(
                    f,
                    "two different keyrings have the sequence {sequence}; one of them is from another history"
                )
            }
            Self::UnknownDek { id } => write!(f, "the keyring has no data key {id}"),
            Self::UnknownSuite(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeysError {}

impl From<NoSuchVault> for KeysError {
    fn from(error: NoSuchVault) -> Self {
        Self::NoSuchVault(error)
    }
}

impl From<Refusal> for KeysError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<UnknownSuite> for KeysError {
    fn from(error: UnknownSuite) -> Self {
        Self::UnknownSuite(error)
    }
}
