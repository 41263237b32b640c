//! Why a database was not copied into or out of its seal.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::OpenError;

/// Why a copy was not made. The source is as it was, and there is nothing at the target that was not there before.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransferError {
    /// The source is sealed already.
    AlreadySealed {
        /// The file.
        path: PathBuf,
    },
    /// What was read back is not what was written: the disk or the memory cannot be trusted.
    Differs,
    /// The database has not a single page: nothing was ever written to it, or its file was cut off.
    Empty {
        /// The database.
        path: PathBuf,
    },
    /// There is something at the target.
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// A crash left a transaction unfinished, and it can only be rolled back by writing to the source.
    HotJournal {
        /// The database.
        path: PathBuf,
    },
    /// The progress function asked to stop.
    Interrupted,
    /// The system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The sealed source did not give a page.
    Layer {
        /// Why, in words.
        text: String,
        /// What SQLite made of it.
        error: rusqlite::Error,
    },
    /// The SQLite in this program was built without its table of raw pages.
    NoPageTable,
    /// The source is no SQLite database.
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The sealed source does not open.
    Open(OpenError),
    /// The sealed pages would be larger than the database's, or no page size at all.
    PageSize {
        /// Bytes asked for.
        asked: usize,
        /// Bytes of the database's pages.
        database: usize,
    },
    /// SQLite skipped a page.
    PagesOutOfOrder {
        /// The page that was expected.
        page: u64,
    },
    /// The sealed copy could not be made.
    Sealed(cofferdam_sealed_file::Error),
    /// SQLite refused.
    Sqlite {
        /// The database.
        path: PathBuf,
        /// What it said.
        error: rusqlite::Error,
    },
}

impl TransferError {
    pub(crate) fn io(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> TransferError + use<> {
        let path = path.to_owned();
        move |source| TransferError::Io {
            doing,
            path,
            source,
        }
    }

    pub(crate) fn sqlite(path: &Path, error: rusqlite::Error) -> TransferError {
        TransferError::Sqlite {
            path: path.to_owned(),
            error,
        }
    }
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferError::AlreadySealed { path } => {
                write!(f, "{} is sealed already; there is nothing to do", path.display())
            }
            TransferError::Differs => f.write_str(
                "what was read back is not what was written; check the disk and the memory of this machine",
            ),
            TransferError::Empty { path } => write!(
                f,
                "{} has no pages: nothing was ever written to it, or it was cut off",
                path.display()
            ),
            TransferError::Exists { path } => write!(
                f,
                "{} is there already, and nothing is ever replaced; choose another name or move it away",
                path.display()
            ),
            TransferError::HotJournal { path } => write!(
                f,
                "{0} has a transaction that a crash left unfinished; only a program that may write can roll it back: \
                 run `sqlite3 {0} 'PRAGMA integrity_check'` and try again",
                path.display()
            ),
            TransferError::Interrupted => f.write_str("interrupted; nothing was left behind"),
            TransferError::Io {
                doing,
                path,
                source,
            } => write!(f, "{doing} {}: {source}", path.display()),
            TransferError::Layer { text, .. } => f.write_str(text),
            TransferError::NoPageTable => f.write_str(
                "the SQLite in this program was built without sqlite_dbpage; build it in the project's own directory, \
                 or set LIBSQLITE3_FLAGS=-DSQLITE_ENABLE_DBPAGE_VTAB",
            ),
            TransferError::NotADatabase { path } => {
                write!(f, "{} is no SQLite database", path.display())
            }
            TransferError::Open(error) => error.fmt(f),
            TransferError::PageSize { asked, database } => write!(
                f,
                "sealed pages of {asked} bytes do not fit a database with pages of {database}; choose a power of two \
                 from 512 to {database}"
            ),
            TransferError::PagesOutOfOrder { page } => {
                write!(f, "SQLite did not give page {page}; check the database with PRAGMA integrity_check")
            }
            TransferError::Sealed(error) => error.fmt(f),
            TransferError::Sqlite { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for TransferError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TransferError::Io { source, .. } => Some(source),
            TransferError::Layer { error, .. } | TransferError::Sqlite { error, .. } => Some(error),
            TransferError::Open(error) => Some(error),
            TransferError::Sealed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<cofferdam_sealed_file::Error> for TransferError {
    fn from(error: cofferdam_sealed_file::Error) -> TransferError {
        TransferError::Sealed(error)
    }
}
