//! A disk that is a vector of bytes.

use std::io::Result;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use cofferdam_sealed_file::Disk;

use crate::power_cut::{self, Change};

/// A disk in memory; every write is durable at once, as long as the process lives.
#[derive(Default)]
pub struct MemoryDisk(RwLock<Vec<u8>>);

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// A disk with these bytes on it.
    pub fn with(bytes: Vec<u8>) -> MemoryDisk {
        MemoryDisk(RwLock::new(bytes))
    }

    /// A copy of everything on the disk.
    pub fn bytes(&self) -> Vec<u8> {
        self.read().clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<u8>> {
        self.0.read().expect("no operation on the bytes panics")
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<u8>> {
        self.0.write().expect("no operation on the bytes panics")
    }
}

impl Disk for MemoryDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.read().len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        Ok(copy_from(&self.read(), bytes, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let change = Change::Write {
            offset,
            bytes: bytes.into(),
        };
        power_cut::apply(&mut self.write(), &change);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        power_cut::apply(&mut self.write(), &Change::SetLen(len));
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// Copies what there is from `offset` on and returns how many bytes that were.
pub(crate) fn copy_from(from: &[u8], into: &mut [u8], offset: u64) -> usize {
    let start = usize::try_from(offset).map_or(from.len(), |offset| offset.min(from.len()));
    let end = from.len().min(start.saturating_add(into.len()));
    into[..end - start].copy_from_slice(&from[start..end]);
    end - start
}
