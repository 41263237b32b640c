//! File operations of a log: the place where tests make a disk fail and crash.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a log asks of its directory. Paths are relative to it and use `/`.
///
/// What was written is durable after `write` with `durable`; what was created, renamed or removed is
/// durable after `sync_dir` of its directory. Until then a crash may undo it or leave part of it.
pub(crate) trait Files: Send + Sync {
    /// The whole file, or as much of it as one byte more than [`FILE_LEN_MAX`].
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Writes `bytes` at `offset` and ends the file after them; creates it when there is none.
    fn write(&self, path: &str, offset: u64, bytes: &[u8], durable: bool) -> io::Result<()>;

    /// Puts a file in the place of another, at once.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, or a directory with everything in it.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Creates a directory and those above it, unless they are there.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &str) -> io::Result<()>;
}

/// The directory of a log on a real disk.
pub(crate) struct DiskFiles {
    dir: PathBuf,
}

impl DiskFiles {
    pub(crate) fn new(dir: &Path) -> DiskFiles {
        DiskFiles {
            dir: dir.to_owned(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            self.dir.clone()
        } else {
            self.dir.join(path)
        }
    }
}

impl Files for DiskFiles {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(path))?
            .take(FILE_LEN_MAX + 1)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, path: &str, offset: u64, bytes: &[u8], durable: bool) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path(path))?;
        let end = offset + bytes.len() as u64;
        file.write_all_at(bytes, offset)?;
        if file.metadata()?.len() > end {
            file.set_len(end)?;
        }
        if durable { file.sync_data() } else { Ok(()) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }
}

/// Longer than any file of a log: a bundle has 256 entries of at most 16,386 bytes.
pub(crate) const FILE_LEN_MAX: u64 = 8 << 20;
