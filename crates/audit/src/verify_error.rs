//! Why a log, a checkpoint, a proof or an event was not believed.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a log, a checkpoint, a proof or an event was not believed.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// A signed anchor says something about its store that the log does not.
    Anchor {
        /// The store.
        store_id: String,
    },
    /// An entry does not hash to its leaf, or a bundle of entries is malformed.
    Entries {
        /// Number of the bundle of 256 entries.
        bundle: u64,
    },
    /// The bytes of an event are not what an event looks like.
    Event {
        /// Its number, when it is known.
        index: Option<u64>,
        /// What shows it.
        reason: &'static str,
    },
    /// Two checkpoints signed by the same key cannot both be true: history was rewritten.
    Forked {
        /// Size of the remembered checkpoint.
        size: u64,
    },
    /// The disk refused.
    Io {
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `log.vkey` is not the key the caller trusts.
    Key,
    /// The text is not a checkpoint, a verifier key or a proof.
    Malformed,
    /// A file of the log is missing.
    Missing {
        /// The file, relative to the log's directory.
        file: String,
    },
    /// There is no such event in a log of this size.
    NoSuchEvent {
        /// Number of the event.
        index: u64,
        /// Size of the log.
        size: u64,
    },
    /// The proof does not lead to the checkpoint.
    Proof,
    /// The note carries no signature of the key, or one that does not verify.
    Signature,
    /// The file of unfinished entries does not agree with the log.
    Tail,
    /// A tile does not lead to the checkpoint's root.
    Tile {
        /// Level of the tile.
        level: u8,
        /// Number of the tile.
        index: u64,
    },
    /// The log is shorter than a checkpoint it has signed: truncated or rolled back.
    Truncated {
        /// Size of the remembered checkpoint.
        remembered: u64,
        /// Size of the log.
        found: u64,
    },
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Anchor { store_id } => {
                write!(f, "the anchor of store {store_id} is not what the log says")
            }
            VerifyError::Entries { bundle } => {
                let first = bundle.saturating_mul(256);
                write!(
                    f,
                    "entries {first} to {} were altered",
                    first.saturating_add(255)
                )
            }
            VerifyError::Event {
                index: Some(index),
                reason,
            } => {
                write!(f, "entry {index} is not an event: {reason}")
            }
            VerifyError::Event {
                index: None,
                reason,
            } => write!(f, "not an event: {reason}"),
            VerifyError::Forked { size } => {
                write!(
                    f,
                    "history was rewritten: the first {size} events are not those remembered"
                )
            }
            VerifyError::Io { path, source } => {
                write!(f, "cannot read {}: {source}", path.display())
            }
            VerifyError::Key => f.write_str("log.vkey is not the trusted key"),
            VerifyError::Malformed => f.write_str("malformed note, key or proof"),
            VerifyError::Missing { file } => write!(f, "{file} is missing"),
            VerifyError::NoSuchEvent { index, size } => {
                write!(f, "there is no event {index} in a log of {size}")
            }
            VerifyError::Proof => f.write_str("the proof does not lead to the checkpoint"),
            VerifyError::Signature => f.write_str("not signed by the trusted key"),
            VerifyError::Tail => f.write_str("the file tail does not agree with the log"),
            VerifyError::Tile { level, index } => {
                write!(
                    f,
                    "tile {index} of level {level} does not lead to the signed root"
                )
            }
            VerifyError::Truncated { remembered, found } => {
                write!(
                    f,
                    "{remembered} events were signed, {found} are there: truncated or rolled back"
                )
            }
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            VerifyError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
