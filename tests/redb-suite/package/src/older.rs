//! The older redb, with which redb's tests write files of older formats.

use std::io::{Error, Result};
use std::path::Path;

use cofferdam_sealed_file::VolumeFile;
use redb2_6::{Builder, Database, DatabaseError, StorageBackend};

use crate::fs::OpenOptions;
use crate::open::{VolumeBuilder, VolumeDatabase};

struct OlderBackend(VolumeFile);

impl std::fmt::Debug for OlderBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OlderBackend")
    }
}

impl StorageBackend for OlderBackend {
    fn len(&self) -> Result<u64> {
        self.0.len().map_err(Error::other)
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let count = self.0.read_at(&mut bytes, offset).map_err(Error::other)?;
        match count == len {
            true => Ok(bytes),
            false => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.set_len(len).map_err(Error::other)
    }

    fn sync_data(&self, _: bool) -> Result<()> {
        self.0.sync().map_err(Error::other)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.0.write_at(data, offset).map_err(Error::other)
    }
}

impl VolumeDatabase for Database {
    type Error = DatabaseError;

    fn volume_open(path: impl AsRef<Path>) -> std::result::Result<Database, DatabaseError> {
        Builder::new().volume_open(path)
    }

    fn volume_create(path: impl AsRef<Path>) -> std::result::Result<Database, DatabaseError> {
        Builder::new().volume_create(path)
    }
}

impl VolumeBuilder for Builder {
    type Database = Database;
    type Reader = Database;

    fn volume_open(&self, path: impl AsRef<Path>) -> std::result::Result<Database, DatabaseError> {
        self.volume_create(path)
    }

    fn volume_create(
        &self,
        path: impl AsRef<Path>,
    ) -> std::result::Result<Database, DatabaseError> {
        let file = OpenOptions::new().volume_create(true).volume_open(path)?;
        self.create_with_backend(OlderBackend(file.file))
    }

    fn volume_open_read_only(
        &self,
        path: impl AsRef<Path>,
    ) -> std::result::Result<Database, DatabaseError> {
        self.volume_open(path)
    }
}
