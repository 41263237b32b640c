//! A disk whose process is killed.

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard};

use cofferdam_sealed_file::Disk;
use cofferdam_tests::memory_disk::MemoryDisk;
use cofferdam_tests::random::Random;

/// What was written stays, as in the cache of a system whose process is killed; the last write may have come to any
/// of the page boundaries of that cache. Clones are handles on the same disk.
#[derive(Clone)]
pub(crate) struct KillDisk {
    disk: Arc<MemoryDisk>,
    fate: Arc<Mutex<Fate>>,
}

struct Fate {
    changes_left: u64,
    random: Random,
}

impl KillDisk {
    /// A disk with these bytes, whose nth change (from 1) is the last.
    pub(crate) fn new(bytes: Vec<u8>, nth: u64, seed: u64) -> KillDisk {
        KillDisk {
            disk: Arc::new(MemoryDisk::with(bytes)),
            fate: Arc::new(Mutex::new(Fate {
                changes_left: nth,
                random: Random::new(seed),
            })),
        }
    }

    /// What is left.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.disk.bytes()
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().expect("fate does not panic")
    }

    fn alive(&self) -> Result<()> {
        match self.fate().changes_left {
            0 => Err(Error::other("killed")),
            _ => Ok(()),
        }
    }

    /// Whether this change is the last.
    fn last(&self) -> Result<bool> {
        self.alive()?;
        let mut fate = self.fate();
        fate.changes_left -= 1;
        Ok(fate.changes_left == 0)
    }
}

impl Disk for KillDisk {
    fn len(&self) -> Result<u64> {
        self.alive()?;
        self.disk.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.alive()?;
        self.disk.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if !self.last()? {
            return self.disk.write_at(bytes, offset);
        }
        let end = offset + bytes.len() as u64;
        let mut boundaries = vec![offset, end];
        boundaries.extend((offset + 1..end).filter(|at| at.is_multiple_of(CACHE_PAGE)));
        let stop = *self.fate().random.pick(&boundaries);
        self.disk
            .write_at(&bytes[..(stop - offset) as usize], offset)?;
        Err(Error::other("killed"))
    }

    fn set_len(&self, len: u64) -> Result<()> {
        if self.last()? {
            return Err(Error::other("killed"));
        }
        self.disk.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        self.last().map(|_| ())
    }
}

const CACHE_PAGE: u64 = 4096;
