//! A volume's directory on the operating system.

use std::fs::{self, File, TryLockError};
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, fallocate, fsync, openat, unlinkat};
use rustix::io::Errno;

use super::directory::{Directory, DirectoryLock, Part};
use crate::disk::{Disk, FileDisk};

/// A directory of the operating system.
///
/// Whoever can write to it could put a link to another place where a part should be, and have the journal's bytes written there with the
/// rights of this process. So no link is followed below the directory, and a part is a regular file with no other name.
pub struct FileDirectory {
    path: PathBuf,
    dir: OwnedFd,
    files: OwnedFd,
}

impl FileDirectory {
    /// The directory at a path, which must be there.
    ///
    /// # Errors
    /// What the system reports.
    pub fn open(path: &Path) -> Result<FileDirectory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty())?;
        let files = openat(&dir, FILES, flags | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(FileDirectory {
            path: path.into(),
            dir,
            files,
        })
    }

    /// Makes the directory; one that is there must be empty, or have been left by an attempt that ended early.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when something else is in it, or what the system reports.
    pub fn create(path: &Path) -> Result<FileDirectory> {
        let missing = path.ancestors().take_while(|it| !it.exists()).count();
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
            // A file system of its own begins with a directory for what it may find again.
            if !ours.iter().any(|our| name == **our) && name != "lost+found" {
                return Err(ErrorKind::AlreadyExists.into());
            }
        }
        fs::create_dir_all(path.join(FILES))?;
        // Each directory that was made is an entry of the one above it; at least the last is synced, which an earlier attempt may
        // have made.
        for made in path.ancestors().take(missing.max(1)) {
            match made.parent() {
                Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all()?,
                Some(parent) => File::open(parent)?.sync_all()?,
                None => {}
            }
        }
        FileDirectory::open(path)
    }

    /// Who has the volume open, in their own words; `None` when nobody has. It has to try the lock for that: whoever opens the
    /// volume at that very moment finds it taken.
    ///
    /// # Errors
    /// What the system reports.
    pub fn holder(&self) -> Result<Option<String>> {
        let file = match self.open_at(&self.dir, LOCK, OFlags::RDONLY) {
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

    fn open_part(&self, part: Part, flags: OFlags) -> Result<File> {
        let name = part.file_name();
        let flags = flags | OFlags::RDWR;
        match part {
            Part::File(_) => self.open_at(&self.files, in_files(&name), flags),
            _ => self.open_at(&self.dir, &name, flags),
        }
    }

    fn open_at(&self, dir: &OwnedFd, name: &str, flags: OFlags) -> Result<File> {
        // Without waiting: whoever opens a pipe waits for its other end.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let strange = |what: &str| {
            let path = self.path.display();
            let why = format!(
                "{name} in {path} is {what}, and no part of a volume; put back the file that was there"
            );
            Error::new(ErrorKind::InvalidInput, why)
        };
        let file = match openat(dir, name, flags, Mode::from_raw_mode(0o666)) {
            Err(Errno::LOOP) => return Err(strange("a symbolic link")),
            opened => File::from(opened?),
        };
        let metadata = file.metadata()?;
        match metadata.nlink() {
            _ if !metadata.is_file() => Err(strange("no regular file")),
            2.. => Err(strange("a file with other names (hard links)")),
            _ => Ok(file),
        }
    }
}

impl Directory for FileDirectory {
    fn open(&self, part: Part) -> Result<Option<Box<dyn Disk>>> {
        match self.open_part(part, OFlags::empty()) {
            Ok(file) => Ok(Some(Box::new(DataDisk(file.into())))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, part: Part) -> Result<Box<dyn Disk>> {
        let file = self.open_part(part, OFlags::CREATE)?;
        Ok(Box::new(DataDisk(file.into())))
    }

    fn remove(&self, part: Part) -> Result<()> {
        let name = part.file_name();
        let removed = match part {
            Part::File(_) => unlinkat(&self.files, in_files(&name), AtFlags::empty()),
            _ => unlinkat(&self.dir, &name, AtFlags::empty()),
        };
        match removed {
            Err(error) if error != Errno::NOENT => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn reserve(&self, part: Part, len: u64) -> Result<()> {
        let file = self.open_part(part, OFlags::empty())?;
        let mut at = file.metadata()?.len();
        if at >= len {
            return Ok(());
        }
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, len) {
            // Not every file system can.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        // Space that was set aside and never written costs a file system an entry in its own journal at the first write, and so does a
        // longer file: a sync then takes half as long again.
        let zeros = vec![0; FILL_LEN];
        while at < len {
            let count = FILL_LEN.min(usize::try_from(len - at).unwrap_or(FILL_LEN));
            file.write_all_at(&zeros[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.path.join(FILES))? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let number = u64::from_str_radix(&name, 16).ok();
            // Nothing but the one way to write it.
            numbers.extend(number.filter(|it| in_files(&Part::File(*it).file_name()) == name));
        }
        Ok(numbers)
    }

    fn sync(&self) -> Result<()> {
        fsync(&self.files)?;
        Ok(fsync(&self.dir)?)
    }

    fn lock(&self, holder: &str) -> Result<DirectoryLock> {
        let mut file = self.open_at(&self.dir, LOCK, OFlags::CREATE | OFlags::RDWR)?;
        // Somebody may only be looking who has it open.
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(ErrorKind::WouldBlock, who(file)));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        // For people only: the lock is the system's, and ends with the process whatever the file says.
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{holder}")?;
        Ok(Box::new(file))
    }
}

/// The name of a file's part in the directory of files.
fn in_files(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn who(lock: File) -> String {
    let mut who = String::new();
    let _ = lock.take(HOLDER_LEN_MAX).read_to_string(&mut who);
    who.trim().to_owned()
}

/// A file whose sync leaves out what is not needed to read it again: its times.
struct DataDisk(FileDisk);

impl Disk for DataDisk {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync_data()
    }
}

const FILES: &str = "files";
const LOCK: &str = "lock";
const FILL_LEN: usize = 1 << 20;
const HOLDER_LEN_MAX: u64 = 1024;
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
