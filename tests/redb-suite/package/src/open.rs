//! redb's ways to open a path.

use std::io::{Error, ErrorKind};
use std::path::Path;

use cofferdam_redb::{OpenError, VolumeBackend, open_with};
use redb::{Builder, Database, DatabaseError, ReadOnlyDatabase, StorageError};

use crate::fs::{File, in_words_of_the_system, name};
use crate::volume::volume;

/// Functions of redb's database types that take a path.
pub trait VolumeDatabase: Sized {
    /// Why it does not open.
    type Error;

    fn volume_open(path: impl AsRef<Path>) -> Result<Self, Self::Error>;

    fn volume_create(path: impl AsRef<Path>) -> Result<Self, Self::Error>;
}

impl VolumeDatabase for Database {
    type Error = DatabaseError;

    fn volume_open(path: impl AsRef<Path>) -> Result<Database, DatabaseError> {
        Builder::new().volume_open(path)
    }

    fn volume_create(path: impl AsRef<Path>) -> Result<Database, DatabaseError> {
        Builder::new().volume_create(path)
    }
}

impl VolumeDatabase for ReadOnlyDatabase {
    type Error = DatabaseError;

    fn volume_open(path: impl AsRef<Path>) -> Result<ReadOnlyDatabase, DatabaseError> {
        Builder::new().volume_open_read_only(path)
    }

    fn volume_create(_: impl AsRef<Path>) -> Result<ReadOnlyDatabase, DatabaseError> {
        unreachable!("redb has no such function")
    }
}

/// Functions of redb's builders that take a path.
pub trait VolumeBuilder {
    /// What is opened.
    type Database: VolumeDatabase;
    /// What reads only.
    type Reader;

    fn volume_open(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Self::Database, <Self::Database as VolumeDatabase>::Error>;

    fn volume_create(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Self::Database, <Self::Database as VolumeDatabase>::Error>;

    fn volume_open_read_only(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Self::Reader, <Self::Database as VolumeDatabase>::Error>;
}

impl VolumeBuilder for Builder {
    type Database = Database;
    type Reader = ReadOnlyDatabase;

    fn volume_open(&self, path: impl AsRef<Path>) -> Result<Database, DatabaseError> {
        let file = File::open(path)?;
        // redb has no opening of a backend that does not make a database where there is none.
        if file.metadata()?.len() == 0 {
            return Err(StorageError::Io(ErrorKind::InvalidData.into()).into());
        }
        self.create_with_backend(VolumeBackend::new(file.file))
    }

    fn volume_create(&self, path: impl AsRef<Path>) -> Result<Database, DatabaseError> {
        open_with(self, volume(), name(path.as_ref())).map_err(|error| match error {
            OpenError::Database(error) => error,
            OpenError::Volume(error) => in_words_of_the_system(error).into(),
            error => Error::other(error).into(),
        })
    }

    fn volume_open_read_only(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<ReadOnlyDatabase, DatabaseError> {
        let file = File::open(path)?;
        self.open_read_only_with_backend(VolumeBackend::new(file.file))
    }
}
