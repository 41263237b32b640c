//! The seam to what bytes rest on.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A byte store of one file: what a [`crate::SealedFile`] puts its frames on.
///
/// # Contract
///
/// 1. Bytes written by `write_at` are returned by every later `read_at`, whoever holds the disk.
/// 2. A write past the end extends the disk; bytes that were never written read as zero.
/// 3. After `sync` returns `Ok`, everything written before it was called survives a power cut. Until
///    then each write may survive wholly, partly or not at all, in any order, at a granularity
///    of 512-byte sectors that are aligned to the start of the disk. A change of length may be lost while a
///    later write survives, too.
/// 4. After an error of `write_at` the bytes in its range are unknown, no others are.
/// 5. An error of `sync` is reported once at least; a later `Ok` says nothing about what was written
///    before the error.
///
/// Every implementation passes the suite in `tests/src/disk_suite.rs`.
pub trait Disk: Send + Sync {
    /// The number of bytes on the disk.
    ///
    /// # Errors
    /// What the system reports.
    fn len(&self) -> Result<u64>;

    /// Whether there is not a byte on the disk.
    ///
    /// # Errors
    /// As [`Disk::len`].
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads from `offset` on and returns how many bytes there were; fewer than asked only at the end.
    ///
    /// # Errors
    /// What the system reports.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system reports; see point 4 of the contract.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Cuts off or extends with zeros.
    ///
    /// # Errors
    /// What the system reports.
    fn set_len(&self, len: u64) -> Result<()>;

    /// Makes everything written so far durable, the length included.
    ///
    /// # Errors
    /// What the system reports; see point 5 of the contract.
    fn sync(&self) -> Result<()>;
}

/// A disk that writes through to one file of the operating system.
///
/// Two `FileDisk`s on one path see each other's writes at once. Closing one drops the POSIX locks that
/// the same process holds on that file, so never open one on a database that the same process has open
/// through SQLite.
pub struct FileDisk {
    file: File,
}

impl FileDisk {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open(path: &Path) -> Result<FileDisk> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(FileDisk { file })
    }

    /// Opens an existing file for reading; every write is refused by the system.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open_read_only(path: &Path) -> Result<FileDisk> {
        Ok(FileDisk {
            file: File::open(path)?,
        })
    }

    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], or what the system reports.
    pub fn create_new(path: &Path) -> Result<FileDisk> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(FileDisk { file })
    }

    /// The same as [`Disk::sync`] without the file's times.
    pub(crate) fn sync_data(&self) -> Result<()> {
        self.file.sync_data()
    }

    /// Takes the exclusive advisory lock of the file (flock) without waiting. It is released when the
    /// disk is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when another holds it.
    pub fn lock(&self) -> Result<()> {
        self.file.try_lock().map_err(Error::from)
    }
}

/// A file that was opened for reading and writing, such as one that has no name yet.
impl From<File> for FileDisk {
    fn from(file: File) -> FileDisk {
        FileDisk { file }
    }
}

impl Disk for FileDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let mut read = 0;
        while read < bytes.len() {
            match self.file.read_at(&mut bytes[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_all()
    }
}
