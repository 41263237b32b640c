//! The seam to the directory that a volume's parts lie in.

use std::any::Any;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::disk::{Disk, FileDisk};

/// One of the files that a volume consists of (format section 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The keyring and the catalogue: file number 0.
    Keyring,
    /// A segment of the journal, 0 or 1.
    Segment(usize),
    /// A file, by its number, from 1.
    File(u64),
}

impl Part {
    pub(crate) fn of_file(number: u64) -> Part {
        match number {
            0 => Part::Keyring,
            number => Part::File(number),
        }
    }

    /// The name relative to the volume's directory.
    #[must_use]
    pub fn file_name(self) -> String {
        match self {
            Part::Keyring => "keyring".to_owned(),
            Part::Segment(index) => format!("journal-{index}"),
            Part::File(number) => format!("{FILES}/{number:016x}"),
        }
    }
}

/// What a lock of a volume is held by; dropping it releases the lock.
pub type DirectoryLock = Box<dyn Any + Send + Sync>;

/// The parts of one volume.
///
/// # Contract
///
/// 1. A part that `create` made, or that `remove` removed, is there or not after a power cut, until `sync` has returned `Ok`.
/// 2. The disks keep the contract of [`Disk`]; two disks of one part see each other's writes.
/// 3. `lock` excludes every other holder, in this process and others, until what it gave is dropped.
pub trait Directory: Send + Sync {
    /// A part that is there; `None` when it is not.
    ///
    /// # Errors
    /// What the system reports.
    fn open(&self, part: Part) -> Result<Option<Box<dyn Disk>>>;

    /// A part, made when it is not there.
    ///
    /// # Errors
    /// What the system reports.
    fn create(&self, part: Part) -> Result<Box<dyn Disk>>;

    /// Removes a part; one that is not there is removed already.
    ///
    /// # Errors
    /// What the system reports.
    fn remove(&self, part: Part) -> Result<()>;

    /// Sets space aside for the first `len` bytes of a part, whose length stays as it is; where that cannot be, it does nothing.
    ///
    /// # Errors
    /// What the system reports, [`ErrorKind::StorageFull`] above all.
    fn reserve(&self, _part: Part, _len: u64) -> Result<()> {
        Ok(())
    }

    /// The numbers of all the files.
    ///
    /// # Errors
    /// What the system reports.
    fn files(&self) -> Result<Vec<u64>>;

    /// Makes durable which parts there are.
    ///
    /// # Errors
    /// What the system reports.
    fn sync(&self) -> Result<()>;

    /// Takes the volume for this `holder`, a line for people.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`], with the line of the one who holds it; or what the system reports.
    fn lock(&self, holder: &str) -> Result<DirectoryLock>;
}

/// A directory of the operating system.
pub struct FileDirectory {
    path: PathBuf,
}

impl FileDirectory {
    /// The directory at a path, which must be there.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open(path: &Path) -> Result<FileDirectory> {
        fs::read_dir(path.join(FILES))?;
        Ok(FileDirectory { path: path.into() })
    }

    /// Makes the directory; one that is there must be empty, or have been left by an attempt that ended early.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when something else is in it, or what the system reports.
    pub fn create(path: &Path) -> Result<FileDirectory> {
        fs::create_dir_all(path)?;
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            let ours = [
                "keyring",
                "keyring-audit",
                "journal-0",
                "journal-1",
                LOCK,
                FILES,
            ];
            if !ours.iter().any(|our| name == **our) {
                return Err(ErrorKind::AlreadyExists.into());
            }
        }
        fs::create_dir_all(path.join(FILES))?;
        if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(FileDirectory { path: path.into() })
    }

    /// Who has the volume open, in their own words; `None` when nobody has. It has to try the lock for that: whoever opens the
    /// volume at that very moment finds it taken.
    ///
    /// # Errors
    /// What the system reports.
    pub fn holder(&self) -> Result<Option<String>> {
        let file = match File::open(self.path.join(LOCK)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            result => result?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(who(file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Directory for FileDirectory {
    fn open(&self, part: Part) -> Result<Option<Box<dyn Disk>>> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(self.path.join(part.file_name()));
        match file {
            Ok(file) => Ok(Some(Box::new(DataDisk::new(file)?))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, part: Part) -> Result<Box<dyn Disk>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path.join(part.file_name()))?;
        Ok(Box::new(DataDisk::new(file)?))
    }

    fn remove(&self, part: Part) -> Result<()> {
        match fs::remove_file(self.path.join(part.file_name())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn files(&self) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.path.join(FILES))? {
            let name = entry?.file_name();
            let number = name
                .to_str()
                .and_then(|it| u64::from_str_radix(it, 16).ok());
            numbers.extend(number.filter(|it| {
                Part::File(*it)
                    .file_name()
                    .ends_with(&*name.to_string_lossy())
            }));
        }
        Ok(numbers)
    }

    fn sync(&self) -> Result<()> {
        File::open(self.path.join(FILES))?.sync_all()?;
        File::open(&self.path)?.sync_all()
    }

    fn lock(&self, holder: &str) -> Result<DirectoryLock> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.path.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(std::io::Error::new(ErrorKind::WouldBlock, who(file)));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // For people only: the lock is the system's, and ends with the process whatever the file says.
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{holder}")?;
        Ok(Box::new(file))
    }
}

fn who(lock: File) -> String {
    let mut who = String::new();
    let _ = lock.take(HOLDER_LEN_MAX).read_to_string(&mut who);
    who.trim().to_owned()
}

/// A file whose sync leaves out what is not needed to read it again: its times.
struct DataDisk {
    file: File,
    disk: FileDisk,
}

impl DataDisk {
    fn new(file: File) -> Result<DataDisk> {
        let disk = FileDisk::from(file.try_clone()?);
        Ok(DataDisk { file, disk })
    }
}

impl Disk for DataDisk {
    fn len(&self) -> Result<u64> {
        self.disk.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.disk.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.disk.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.disk.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data()
    }
}

const FILES: &str = "files";
const LOCK: &str = "lock";
const HOLDER_LEN_MAX: u64 = 1024;
