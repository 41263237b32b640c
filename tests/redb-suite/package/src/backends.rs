//! redb's backends, of which the one on a file is the product's.

use std::io::Result;
use std::ops::Bound;

use cofferdam_redb::VolumeBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

use crate::fs::File;

pub use redb::backends::InMemoryBackend;

/// The product's backend under redb's name.
#[derive(Debug)]
pub struct FileBackend(VolumeBackend);

impl FileBackend {
    pub fn new(file: File) -> std::result::Result<FileBackend, DatabaseError> {
        Ok(FileBackend(VolumeBackend::new(file.file)))
    }
}

impl StorageBackend for FileBackend {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<()> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Locked<bool> {
        self.0.query_lock_range(start, end)
    }
}

type Locked<T> = std::result::Result<T, BackendError>;
