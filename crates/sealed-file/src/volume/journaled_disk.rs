//! What a sealed file rests on in a volume.

use std::io::Result;
use std::sync::Arc;

use super::layers::{Layers, Stage};
use crate::disk::Disk;

/// The disk of one file of a volume, as its [`crate::SealedFile`] sees it.
///
/// What is written waits in memory, as the part of an operation that is not complete. The volume makes the operation a part of
/// the next commit as a whole, together with what it does to other files, and so a power cut leaves all of it or nothing.
pub(crate) struct JournaledDisk(Arc<Layers>);

impl JournaledDisk {
    pub(crate) fn new(layers: Arc<Layers>) -> JournaledDisk {
        JournaledDisk(layers)
    }
}

impl Disk for JournaledDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.0.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if !bytes.is_empty() {
            self.0.write(Stage::Staged, bytes, offset);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.set_len(Stage::Staged, len);
        Ok(())
    }

    /// Nothing is to be done: a sealed file syncs in the middle of an operation so that what comes before is not lost while what
    /// comes after is kept, and here what comes before is never lost alone. Durability is the volume's own `sync`.
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// A disk that several hold.
impl Disk for Arc<dyn Disk> {
    fn len(&self) -> Result<u64> {
        (**self).len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        (**self).read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        (**self).write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        (**self).set_len(len)
    }

    fn sync(&self) -> Result<()> {
        (**self).sync()
    }
}
