//! `tempfile` on the volume.

use std::io::{Result, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fs::{self, File};

/// A file of the volume that is removed in the end.
pub struct NamedTempFile {
    path: PathBuf,
    file: File,
}

impl NamedTempFile {
    pub fn new() -> Result<NamedTempFile> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/nowhere/but/in/the/volume/{number}"));
        let file = File::create_new(&path)?;
        Ok(NamedTempFile { path, file })
    }

    pub fn new_in(_: impl AsRef<Path>) -> Result<NamedTempFile> {
        NamedTempFile::new()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn as_file(&self) -> &File {
        &self.file
    }

    pub fn reopen(&self) -> Result<File> {
        File::open(&self.path)
    }

    /// The file without its name, which goes at once.
    pub fn into_file(self) -> File {
        self.file.clone()
    }
}

impl Write for NamedTempFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

impl Drop for NamedTempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
