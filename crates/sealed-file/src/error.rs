//! What can go wrong with a sealed file.

use core::fmt;

use cofferdam_cipher::{OpenError, PageNumber, SealError, SetupError};
use cofferdam_keys::KeysError;

use crate::record::FileKind;

/// Why a sealed file or a store did not do what was asked. Nothing was served, and nothing was lost.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The audit log does not take the record of what is about to happen, so it does not happen.
    Audit(cofferdam_audit::AuditError),
    /// The store's audit log is not where it should be.
    AuditMissing {
        /// Its directory.
        dir: std::path::PathBuf,
    },
    /// Another custodian is changing the store's keys.
    Busy,
    /// The list of a volume's files is none.
    CatalogueAltered,
    /// The list of a volume's files is older than the files.
    CatalogueOld {
        /// The highest number of a file that is there.
        newest: u64,
        /// The lowest one that the list knows nothing of.
        next: u64,
    },
    /// The disk of a volume has no room for what its journal says.
    DiskFull {
        /// Bytes that this takes at most.
        needed: u64,
    },
    /// The store is closed because of one of its keys.
    Fenced(std::sync::Arc<cofferdam_keys::Fenced>),
    /// Somebody has the volume open.
    Held {
        /// Who, in their own words.
        by: String,
    },
    /// The disk failed.
    Io {
        /// What was being done, as a verb phrase.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something that was durable in a volume's journal is gone.
    JournalDamaged(crate::volume::JournalDamage),
    /// A volume's journal is older than its files.
    JournalOld {
        /// The number of a file that is newer.
        file: u64,
    },
    /// The keyring or the vault does not give the keys.
    Keys(KeysError),
    /// An earlier write or sync of this file failed. It takes no writes until it is opened again.
    Latched,
    /// The calling code asked for something that cannot be.
    Misuse {
        /// What, as a sentence.
        what: &'static str,
    },
    /// A directory of the volume would be moved into itself.
    IntoItself,
    /// It is a directory of the volume, and should be a file.
    IsDirectory,
    /// A file of the volume has this name already.
    NameTaken,
    /// The volume has no file of this name.
    NoSuchFile,
    /// A name of a file has 1 to 4096 bytes, of which none is zero.
    NotAName,
    /// It should be a directory of the volume, and is none.
    NotDirectory,
    /// There is something in the directory of the volume.
    NotEmpty,
    /// The bytes are not a sealed file: there is no keyring at their head.
    NotSealed {
        /// They are a plain SQLite database.
        plain_sqlite: bool,
    },
    /// A page was altered, moved, cut off or sealed with another key.
    PageAltered {
        /// What the file is for.
        kind: FileKind,
        /// The page.
        page: PageNumber,
    },
    /// Too many pages of the file did not open; see `cofferdam_cipher::OpenError::Quarantined`.
    Quarantined,
    /// What the file says about itself was altered, or made with another key.
    RecordAltered {
        /// What the file should be for.
        kind: FileKind,
    },
    /// The file belongs to another store: it was put next to a database that did not make it.
    OtherStore {
        /// What the file should be for.
        kind: FileKind,
    },
    /// The keyring is older than one that the audit log has seen: somebody put an old copy back.
    RolledBack {
        /// The sequence of the keyring that was found.
        found: u64,
        /// The sequence that the audit log saw.
        anchored: u64,
    },
    /// Sealing failed.
    Seal(SealError),
    /// The cipher could not be set up.
    Setup(SetupError),
    /// The file would grow beyond 2^53 bytes.
    TooLong,
}

impl Error {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { doing, source }
    }

    pub(crate) fn open(kind: FileKind, error: OpenError) -> Error {
        match error {
            OpenError::Quarantined => Error::Quarantined,
            OpenError::Refused { page } => Error::PageAltered { kind, page },
            _ => Error::Misuse {
                what: "a buffer has another length than the page",
            },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Audit(error) => write!(f, "the audit log cannot be written, so nothing was done: {error}"),
            Error::CatalogueAltered => f.write_str(
                "the volume's list of files does not read as one; restore the volume from a backup",
            ),
            Error::CatalogueOld { newest, next } => write!(
                f,
                "the volume's keyring file is older than its files: it knows of none from files/{next:016x} on, and files/{newest:016x} \
                 is there; the journal is kept. Put back the keyring that belongs to these files, or restore the whole volume from one backup"
            ),
            Error::DiskFull { needed } => write!(
                f,
                "the disk is full, and {needed} bytes of the volume's journal have still to come to their files; nothing is lost: \
                 free that much outside of the volume, and open it again"
            ),
            Error::Fenced(fenced) => fenced.fmt(f),
            Error::Held { by } => write!(f, "the volume is open already, by {by}"),
            Error::JournalDamaged(damage) => damage.fmt(f),
            Error::JournalOld { file } => write!(
                f,
                "the volume's journal is older than its files (file {file:016x} is newer): somebody put back an old one; nothing was \
                 changed. Put back the journal that belongs to these files, or restore the whole volume from one backup"
            ),
            Error::IntoItself => f.write_str("a directory cannot be moved into itself"),
            Error::IsDirectory => f.write_str("it is a directory of the volume, and no file"),
            Error::NotDirectory => f.write_str("it is no directory of the volume"),
            Error::NotEmpty => f.write_str("the directory of the volume is not empty"),
            Error::NameTaken => f.write_str("the volume has a file of this name already"),
            Error::NoSuchFile => f.write_str("the volume has no file of this name"),
            Error::NotAName => f.write_str("a name has 1 to 4096 bytes, and none of them is zero"),
            Error::Io { doing, source } => write!(f, "{doing}: {source}"),
            Error::Keys(error) => error.fmt(f),
            Error::Latched => f.write_str(
                "an earlier write of this file failed; close it and open it again to go on from the last durable state",
            ),
            Error::Misuse { what } => write!(f, "misuse: {what}"),
            Error::AuditMissing { dir } => write!(
                f,
                "the audit log {} is missing; put it back where it was, or say where it is",
                dir.display()
            ),
            Error::Busy => f.write_str("another custodian is changing this store's keys; try again when they are done"),
            Error::NotSealed { plain_sqlite: true } => f.write_str(
                "a plain SQLite database, not a sealed one; `cofferdam sqlite seal` makes a sealed copy",
            ),
            Error::NotSealed { .. } => f.write_str("not a sealed database: no keyring at its head"),
            Error::PageAltered { kind, page } => write!(
                f,
                "page {page} of the {kind} was altered or sealed with another key; the other pages are not affected"
            ),
            Error::Quarantined => {
                f.write_str("more than 65,536 pages failed to open; the file is quarantined until it is opened again")
            }
            Error::RecordAltered { kind } => write!(
                f,
                "the record at the head of the {kind} was altered or made with another key"
            ),
            Error::OtherStore { kind } => write!(
                f,
                "the {kind} belongs to another database; move it away if it does not belong here"
            ),
            Error::RolledBack { found, anchored } => write!(
                f,
                "this is an old copy: its keyring has sequence {found}, the audit log has seen {anchored}; \
                 if you restored a backup on purpose, run `cofferdam restore --accept-rollback`"
            ),
            Error::Seal(error) => error.fmt(f),
            Error::Setup(error) => error.fmt(f),
            Error::TooLong => f.write_str("a sealed file holds at most 2^53 bytes"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Audit(error) => Some(error),
            Error::Fenced(fenced) => Some(&**fenced),
            Error::Io { source, .. } => Some(source),
            Error::Keys(error) => Some(error),
            Error::Seal(error) => Some(error),
            Error::Setup(error) => Some(error),
            _ => None,
        }
    }
}

impl From<std::sync::Arc<cofferdam_keys::Fenced>> for Error {
    fn from(fenced: std::sync::Arc<cofferdam_keys::Fenced>) -> Error {
        Error::Fenced(fenced)
    }
}

impl From<KeysError> for Error {
    fn from(error: KeysError) -> Error {
        Error::Keys(error)
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Error {
        Error::Seal(error)
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Error {
        Error::Setup(error)
    }
}

impl From<cofferdam_audit::AuditError> for Error {
    fn from(error: cofferdam_audit::AuditError) -> Error {
        Error::Audit(error)
    }
}
