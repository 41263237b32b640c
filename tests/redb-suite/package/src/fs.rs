//! `std::fs` on the volume, as far as redb's tests use it. What is not here is the system's, and about other files.

use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cofferdam_sealed_file::VolumeFile;

use crate::volume::volume;

pub use std::fs::{read_dir, read_to_string};

/// A file of the volume with a position.
#[derive(Clone)]
pub struct File {
    pub(crate) file: VolumeFile,
    position: u64,
}

impl File {
    pub(crate) fn from_start(file: VolumeFile) -> File {
        File { file, position: 0 }
    }

    pub fn open(path: impl AsRef<Path>) -> Result<File> {
        let file = volume().open_file(name(path.as_ref()));
        file.map(File::from_start).map_err(in_words_of_the_system)
    }

    pub fn create_new(path: impl AsRef<Path>) -> Result<File> {
        let file = volume().create_file(name(path.as_ref()));
        file.map(File::from_start).map_err(in_words_of_the_system)
    }

    pub fn metadata(&self) -> Result<Metadata> {
        let len = self.file.len().map_err(in_words_of_the_system)?;
        Ok(Metadata { len })
    }

    pub fn try_clone(&self) -> Result<File> {
        Ok(self.clone())
    }

    pub fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(in_words_of_the_system)
    }

    pub fn sync_all(&self) -> Result<()> {
        self.file.sync().map_err(in_words_of_the_system)
    }
}

impl Read for File {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let count = self.file.read_at(bytes, self.position);
        let count = count.map_err(in_words_of_the_system)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = self.file.write_at(bytes, self.position);
        written.map_err(in_words_of_the_system)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.metadata()?.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = place.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The length of a file.
pub struct Metadata {
    len: u64,
}

impl Metadata {
    #[expect(clippy::len_without_is_empty, reason = "as the system's")]
    pub fn len(&self) -> u64 {
        self.len
    }
}

/// How to open a file: the volume does not ask what for.
#[derive(Default)]
pub struct OpenOptions {
    create: bool,
}

impl OpenOptions {
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    pub fn read(&mut self, _: bool) -> &mut OpenOptions {
        self
    }

    pub fn write(&mut self, _: bool) -> &mut OpenOptions {
        self
    }

    pub fn volume_create(&mut self, create: bool) -> &mut OpenOptions {
        self.create = create;
        self
    }

    pub fn volume_open(&self, path: impl AsRef<Path>) -> Result<File> {
        match File::open(&path) {
            Err(error) if self.create && error.kind() == ErrorKind::NotFound => {
                File::create_new(path)
            }
            result => result,
        }
    }
}

pub fn metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    File::open(path)?.metadata()
}

pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    let mut file = OpenOptions::new().volume_create(true).volume_open(path)?;
    file.set_len(0)?;
    file.write_all(bytes.as_ref())
}

pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64> {
    let bytes = read(from)?;
    write(to, &bytes)?;
    Ok(bytes.len() as u64)
}

pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let renamed = volume().rename_file(name(from.as_ref()), name(to.as_ref()));
    renamed.map_err(in_words_of_the_system)
}

pub fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    let removed = volume().remove_file(name(path.as_ref()));
    removed.map_err(in_words_of_the_system)
}

pub(crate) fn name(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

pub(crate) fn in_words_of_the_system(error: cofferdam_sealed_file::Error) -> Error {
    match error {
        cofferdam_sealed_file::Error::NoSuchFile => ErrorKind::NotFound.into(),
        error => Error::other(error),
    }
}
