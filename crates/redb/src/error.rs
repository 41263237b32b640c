//! Why a database was not opened.

use core::fmt;

use redb::DatabaseError;

/// Why a database was not opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The volume did not give the file.
    Volume(cofferdam_sealed_file::Error),
    /// redb did not open what is in it, or somebody has it open.
    Database(DatabaseError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Volume(error) => error.fmt(f),
            OpenError::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Volume(error) => error.source(),
            OpenError::Database(error) => Some(error),
        }
    }
}

impl From<cofferdam_sealed_file::Error> for OpenError {
    fn from(error: cofferdam_sealed_file::Error) -> OpenError {
        OpenError::Volume(error)
    }
}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> OpenError {
        OpenError::Database(error)
    }
}
