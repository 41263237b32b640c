//! Key files on a disk: read with care, replaced as a whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::key_file::KEY_FILE_LEN_MAX;

/// Why a key file could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file is there, and this user may not read it.
    Forbidden(io::Error),
    /// The file is not there, or the medium does not give it.
    NotThere(io::Error),
    /// Others than the owner may read or write the file.
    Open { mode: u32 },
    /// The file is longer than any key file, or is no file.
    NotAKeyFile,
}

/// A key file that was opened and looked at.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// Reads a key file that nobody but its owner can reach.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadError> {
    open(path).map(|opened| opened.bytes)
}

/// Opens a key file for a change: nobody else changes it until the result is dropped.
pub(crate) fn open_exclusively(path: &Path) -> Result<Opened, ReadError> {
    loop {
        let opened = open(path)?;
        opened.file.lock().map_err(ReadError::NotThere)?;
        // Whoever held the lock before may have put another file in this place.
        let current = open(path)?;
        if is_same_file(&opened.file, &current.file) {
            return Ok(Opened {
                file: opened.file,
                bytes: current.bytes,
            });
        }
    }
}

/// Writes a file that was not there before.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_new(path, bytes)?;
    sync_directory_of(path)
}

/// Puts a whole new file in the place of an old one: after a crash there is one or the other.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link keeps pointing to the file that it points to.
    let path = fs::canonicalize(path)?;
    let temporary = temporary_name(&path)?;
    write_new(&temporary, bytes)?;
    if let Err(error) = fs::rename(&temporary, &path) {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory_of(&path)
}

fn open(path: &Path) -> Result<Opened, ReadError> {
    // Opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(ReadError::NotThere)?;
    if !metadata.is_file() {
        return Err(ReadError::NotAKeyFile);
    }
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ReadError::Forbidden(error),
        _ => ReadError::NotThere(error),
    })?;
    let metadata = file.metadata().map_err(ReadError::NotThere)?;
    if !metadata.is_file() || metadata.len() > LEN_MAX {
        return Err(ReadError::NotAKeyFile);
    }
    check_mode(&metadata)?;
    // Room for all of it at once: a vector that grows leaves bytes behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_LEN_MAX + 1));
    (&file)
        .take(LEN_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(ReadError::NotThere)?;
    Ok(Opened { file, bytes })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // A half-written key has protected nothing, and would stand in the way of the next attempt.
        let _ = fs::remove_file(path);
    }
    written
}

/// A name of its own next to the file, so that the rename stays within one file system.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
    let mut name = OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidFilename)?);
    name.push(format!(".{:016x}", u64::from_le_bytes(random)));
    Ok(path.with_file_name(name))
}

#[cfg(unix)]
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory_of(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn check_mode(metadata: &fs::Metadata) -> Result<(), ReadError> {
    let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(ReadError::Open { mode })
    }
}

#[cfg(not(unix))]
fn check_mode(_metadata: &fs::Metadata) -> Result<(), ReadError> {
    Ok(())
}

#[cfg(unix)]
fn is_same_file(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_same_file(_one: &File, _other: &File) -> bool {
    true
}

const LEN_MAX: u64 = KEY_FILE_LEN_MAX as u64;
