//! The homes that are open: a few of many, so that a volume of many files does not run out of descriptors.

use std::collections::HashMap;
use std::io::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::directory::{Directory, Part};
use crate::disk::Disk;

/// Disks of files, those that were used last. A home that is written is held by the homing until it is synced, and so none is
/// closed here with anything on its way.
pub(crate) struct Homes {
    directory: Arc<dyn Directory>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    disks: HashMap<u64, (Arc<dyn Disk>, u64)>,
    /// Counts uses.
    used: u64,
}

impl Homes {
    pub(crate) fn new(directory: Arc<dyn Directory>) -> Homes {
        Homes {
            directory,
            open: Mutex::default(),
        }
    }

    /// A file's home; `None` when nothing of it came home yet.
    pub(crate) fn get(&self, number: u64) -> Result<Option<Arc<dyn Disk>>> {
        if let Some(disk) = self.known(number) {
            return Ok(Some(disk));
        }
        // Nobody else waits for the system to open it.
        let disk = self.with_descriptors(|| self.directory.open(Part::of_file(number)))?;
        Ok(disk.map(|disk| self.remember(number, disk)))
    }

    /// A file's home, made when there is none.
    pub(crate) fn get_or_make(&self, number: u64) -> Result<Arc<dyn Disk>> {
        match self.known(number) {
            Some(disk) => Ok(disk),
            None => {
                let disk =
                    self.with_descriptors(|| self.directory.create(Part::of_file(number)))?;
                Ok(self.remember(number, disk))
            }
        }
    }

    /// Removes a file that nobody uses any more.
    pub(crate) fn remove(&self, number: u64) -> Result<()> {
        self.open().disks.remove(&number);
        self.directory.remove(Part::File(number))
    }

    fn known(&self, number: u64) -> Option<Arc<dyn Disk>> {
        let mut open = self.open();
        open.used += 1;
        let now = open.used;
        let (disk, used) = open.disks.get_mut(&number)?;
        *used = now;
        Some(disk.clone())
    }

    /// Opens something; again without the homes that nobody uses now, should the process have no descriptor left.
    fn with_descriptors<R>(&self, open: impl Fn() -> Result<R>) -> Result<R> {
        let opened = open();
        let error = opened.as_ref().err().and_then(Errno::from_io_error);
        if !matches!(error, Some(Errno::MFILE | Errno::NFILE)) {
            return opened;
        }
        self.open().disks.clear();
        open()
    }

    fn remember(&self, number: u64, disk: Box<dyn Disk>) -> Arc<dyn Disk> {
        let disk: Arc<dyn Disk> = disk.into();
        let mut open = self.open();
        if open.disks.len() >= OPEN_MAX {
            let oldest = open.disks.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(number, _)| *number) {
                open.disks.remove(&oldest);
            }
        }
        let used = open.used;
        open.disks.insert(number, (disk.clone(), used));
        disk
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most homes that stay open: some of the 256 descriptors that a process has where it has fewest.
const OPEN_MAX: usize = 128;
