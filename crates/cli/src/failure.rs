//! Why a command did not do what was asked, and the exit code that says so to a script.

use std::fmt;
use std::io;
use std::path::Path;

use cofferdam_audit::{AuditError, VerifyError};
use cofferdam_keys::{KeysError, NoSuchVault, Refusal};
use cofferdam_sealed_file::Error;
use cofferdam_sqlite::{OpenError, TransferError};
use cofferdam_vaults::VaultsError;
use cofferdam_wiring::SettingError;

/// What the exit code says. The numbers are in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Something does not authenticate.
    Integrity = 1,
    /// The command line is not understood.
    Usage = 2,
    /// A key is refused or cannot be reached.
    Key = 3,
    /// Everything else.
    Refused = 4,
    /// Two logs do not agree.
    Unmatched = 5,
    /// Ctrl-C.
    Interrupted = 130,
}

/// A failure with its text for a person.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened and what to do.
    pub(crate) text: String,
}

impl Failure {
    /// A failure of one kind.
    pub(crate) fn new(exit: Exit, text: impl fmt::Display) -> Failure {
        Failure {
            exit,
            text: text.to_string(),
        }
    }

    /// The same failure in the words of the layer under SQLite, which carries numbers only.
    pub(crate) fn saying(self, text: String) -> Failure {
        let text = text
            .strip_prefix("cofferdam: ")
            .map_or(text.clone(), str::to_owned);
        Failure { text, ..self }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(text: impl fmt::Display) -> Failure {
        Failure::new(Exit::Usage, text)
    }

    /// Something is in the way.
    pub(crate) fn refused(text: impl fmt::Display) -> Failure {
        Failure::new(Exit::Refused, text)
    }

    /// The same failure, saying which file it is about.
    pub(crate) fn about(self, path: &Path) -> Failure {
        let path = path.display().to_string();
        if self.text.contains(&path) {
            return self;
        }
        Failure {
            text: format!("{path}: {}", self.text),
            ..self
        }
    }

    /// What the system says about a file.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Failure {
        move |error| Failure::refused(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::new(Exit::Key, refusal)
    }
}

impl From<NoSuchVault> for Failure {
    fn from(error: NoSuchVault) -> Failure {
        Failure::new(Exit::Key, error)
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Failure {
        let exit = match &error {
            KeysError::Refused(_)
            | KeysError::NoSuchVault(_)
            | KeysError::Unpinned { .. }
            | KeysError::Pinned { .. } => Exit::Key,
            KeysError::NotAuthentic
            | KeysError::Structure { .. }
            | KeysError::NoKeyring
            | KeysError::TwoKeyrings { .. } => Exit::Integrity,
            KeysError::SameKeyTwice { .. } | KeysError::SuiteHasNoLayer { .. } => Exit::Usage,
            _ => Exit::Refused,
        };
        Failure::new(exit, error)
    }
}

impl From<VaultsError> for Failure {
    fn from(error: VaultsError) -> Failure {
        match error {
            VaultsError::Refused(refusal) => refusal.into(),
            VaultsError::NoSuchVersion { .. } | VaultsError::PassphraseLength { .. } => {
                Failure::usage(error)
            }
            _ => Failure::refused(error),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Failure {
        let exit = match error {
            AuditError::Damaged { .. }
            | AuditError::Forked { .. }
            | AuditError::OtherKey
            | AuditError::RolledBack { .. } => Exit::Integrity,
            _ => Exit::Refused,
        };
        Failure::new(exit, error)
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Failure {
        let exit = match error {
            VerifyError::Io { .. } => Exit::Refused,
            VerifyError::NoSuchEvent { .. } => Exit::Usage,
            _ => Exit::Integrity,
        };
        Failure::new(exit, error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Keys(error) => error.into(),
            Error::PageAltered { .. }
            | Error::RecordAltered { .. }
            | Error::CatalogueAltered
            | Error::JournalDamaged(_)
            | Error::JournalOld { .. }
            | Error::CatalogueOld { .. }
            | Error::OtherStore { .. }
            | Error::Quarantined
            | Error::RolledBack { .. } => Failure::new(Exit::Integrity, error),
            Error::Misuse { what } => Failure::usage(what),
            Error::Audit(inner) => Failure {
                text: Error::Audit(AuditError::Poisoned)
                    .to_string()
                    .replace(&AuditError::Poisoned.to_string(), &inner.to_string()),
                ..inner.into()
            },
            _ => Failure::refused(error),
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::new(exit_of(&error), error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let exit = error.sqlite().map_or(Exit::Refused, exit_of);
        Failure::new(exit, "").saying(error.to_string())
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Failure {
        match error {
            TransferError::Sealed(error) => error.into(),
            TransferError::Open(error) => error.into(),
            TransferError::Layer { text, error } => Failure::new(exit_of(&error), "").saying(text),
            TransferError::Interrupted => Failure::new(Exit::Interrupted, error),
            TransferError::Differs | TransferError::PagesOutOfOrder { .. } => {
                Failure::new(Exit::Integrity, error)
            }
            TransferError::PageSize { .. } => Failure::usage(error),
            _ => Failure::refused(error),
        }
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Failure {
        Failure::usage(error)
    }
}

/// The layer under SQLite answers with codes; these two are ours to give.
fn exit_of(error: &rusqlite::Error) -> Exit {
    use rusqlite::ffi;
    match error.sqlite_error().map(|error| error.extended_code) {
        Some(ffi::SQLITE_AUTH) => Exit::Key,
        Some(IOERR_DATA) | Some(ffi::SQLITE_CORRUPT) => Exit::Integrity,
        _ => Exit::Refused,
    }
}

/// SQLITE_IOERR_DATA: a page did not authenticate.
const IOERR_DATA: i32 = 10 | (32 << 8);
