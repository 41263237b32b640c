//! Why the log did not take an event.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a log could not be opened or appended to.
#[derive(Debug)]
#[non_exhaustive]
pub enum AuditError {
    /// A file of the log is missing or does not agree with the signed checkpoint. Nothing was
    /// appended; verify the log and restore it from a copy.
    Damaged {
        /// The file, relative to the log's directory.
        file: String,
    },
    /// The event's JSON is longer than [`crate::EVENT_LEN_MAX`].
    EventTooLarge {
        /// Length of the event in bytes.
        len: usize,
    },
    /// The log on disk is not a continuation of the log this process has appended to: another
    /// history was signed with the same key.
    Forked {
        /// Size of the checkpoint on disk.
        size: u64,
    },
    /// The disk refused. After a failed write this log refuses everything until it is opened again.
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The calling code broke a rule of the event, named here.
    Misuse(&'static str),
    /// The origin is empty, longer than 255 bytes, has a scheme, or has a space, a plus or a control character.
    Origin,
    /// The log belongs to another key or origin, so appending to it is refused.
    OtherKey,
    /// An earlier write failed; open the log again.
    Poisoned,
    /// The system's random generator failed.
    Random,
    /// The log on disk is shorter than this process has seen it: it was rolled back or truncated.
    RolledBack {
        /// Size this process had seen.
        known: u64,
        /// Size found on disk.
        found: u64,
    },
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuditError::Damaged { file } => {
                write!(
                    f,
                    "audit log is damaged at {file}; verify it and restore it from a copy"
                )
            }
            AuditError::EventTooLarge { len } => {
                write!(
                    f,
                    "audit event has {len} bytes, at most {} are allowed",
                    crate::EVENT_LEN_MAX
                )
            }
            AuditError::Forked { size } => {
                write!(
                    f,
                    "audit log was replaced by another history (now {size} events)"
                )
            }
            AuditError::Io {
                operation,
                path,
                source,
            } => {
                write!(
                    f,
                    "audit log: cannot {operation} {}: {source}",
                    path.display()
                )
            }
            AuditError::Misuse(rule) => write!(f, "audit event breaks a rule: {rule}"),
            AuditError::Origin => {
                f.write_str("audit log origin must be a URL without scheme, spaces and plus")
            }
            AuditError::OtherKey => f.write_str("audit log belongs to another key or origin"),
            AuditError::Poisoned => {
                f.write_str("audit log refuses after a failed write; open it again")
            }
            AuditError::Random => f.write_str("the system's random generator failed"),
            AuditError::RolledBack { known, found } => {
                write!(
                    f,
                    "audit log was rolled back: {known} events were seen, {found} are there"
                )
            }
        }
    }
}

impl std::error::Error for AuditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AuditError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
