//! The seam to the directory that a volume's parts lie in.

use std::any::Any;
use std::io::Result;

use crate::disk::Disk;

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
            Part::File(number) => format!("files/{number:016x}"),
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

    /// Brings a part to `len` bytes at least, with zeros behind what it has, so that writing there later finds its place taken; where that
    /// is of no use, it does nothing.
    ///
    /// # Errors
    /// What the system reports, [`std::io::ErrorKind::StorageFull`] above all.
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
    /// [`std::io::ErrorKind::WouldBlock`], with the line of the one who holds it; or what the system reports.
    fn lock(&self, holder: &str) -> Result<DirectoryLock>;
}
