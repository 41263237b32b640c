//! A file of a volume, to its users a file of bytes.

use std::io;
use std::sync::Arc;

use super::opened::{Opened, Sealed};
use super::shared::Shared;
use crate::disk::Disk;
use crate::error::Error;
use crate::file::SealedFile;
use crate::geometry::LENGTH_MAX;
use crate::scrub::{Extent, Scrubbed, scrub_batches};

/// A file of a volume. Any number of threads may use it, and open it as often as they like.
///
/// A write is seen by every later read at once, and is durable after the next [`VolumeFile::sync`] of any file of the volume. Each
/// call is atomic up to [`ATOMIC_LEN_MAX`] bytes: a power cut leaves all of it or nothing.
#[derive(Clone)]
pub struct VolumeFile {
    pub(super) volume: Arc<Shared>,
    pub(super) opened: Arc<Opened>,
}

impl VolumeFile {
    /// The length in bytes.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Io`], [`Error::RecordAltered`].
    pub fn len(&self) -> Result<u64, Error> {
        self.read(SealedFile::len)
    }

    /// Whether there is not a byte in it.
    ///
    /// # Errors
    /// As [`VolumeFile::len`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Reads from `offset` on, and answers how many bytes there were; fewer than asked only at the end. Up to [`ATOMIC_LEN_MAX`] bytes
    /// are of one moment.
    ///
    /// # Errors
    /// [`Error::PageAltered`] for these pages alone; otherwise as [`VolumeFile::len`].
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Error> {
        let result = self.read_pieces(bytes, offset);
        // What was read before the gate closed may have been on its way here when it did.
        let result = self.volume.admit().and(result);
        if result.is_err() {
            bytes.fill(0);
        }
        result
    }

    /// Lets a fence pass between two pieces.
    fn read_pieces(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Error> {
        let mut done = 0;
        for part in bytes.chunks_mut(ATOMIC_LEN_MAX) {
            let read = self.read(|file| file.read_at(part, offset.saturating_add(done as u64)))?;
            done += read;
            if read < part.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`Error::Latched`], [`Error::TooLong`]; otherwise as [`VolumeFile::read_at`]. Nothing was written then of the part that failed.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let mut at = offset;
        for part in bytes.chunks(ATOMIC_LEN_MAX) {
            self.change_with_zeros(at, part.len() as u64, |file| file.write_at(part, at))?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// A change that puts `len` bytes at `offset`. What the file cannot say of pages that were never written becomes zeros first, an
    /// operation at a time: all of them in one would be in memory together.
    fn change_with_zeros(
        &self,
        offset: u64,
        len: u64,
        change: impl Fn(&mut Sealed) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Nothing is sealed for a write that cannot be.
        if offset.checked_add(len).is_none_or(|end| end > LENGTH_MAX) {
            return Err(Error::TooLong);
        }
        let mut done = false;
        while !done {
            self.change(
                |file| match file.zeros_first(offset, len, ATOMIC_LEN_MAX as u64) {
                    Some((at, count)) => file.write_at(&vec![0; count as usize], at),
                    None => {
                        done = true;
                        change(file)
                    }
                },
            )?;
        }
        Ok(())
    }

    /// Cuts the file off, or lets it grow by bytes that read as zero.
    ///
    /// # Errors
    /// As [`VolumeFile::write_at`].
    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        match len {
            0 => self.volume.empty(&self.opened),
            // A file that grows has a gap in front of the byte behind its end; one that is cut has none.
            len if len > self.len()? => self.change_with_zeros(len, 1, |file| file.set_len(len)),
            len => self.change(|file| file.set_len(len)),
        }
    }

    /// Makes durable everything that was written so far, to whatever file of the volume. Goes on working while the volume is
    /// fenced: what was written is sealed already.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Latched`]: the volume must be opened again, and has what was synced before.
    pub fn sync(&self) -> Result<(), Error> {
        self.volume.journal.commit()
    }

    /// Opens every page, a batch at a time: others use the file meanwhile, and a fence does not wait for the end. `progress` hears of
    /// the pages done and of all.
    ///
    /// # Errors
    /// As [`VolumeFile::read_at`], but a page that does not open is a finding.
    pub fn scrub(&self, progress: impl FnMut(u64, u64)) -> Result<Scrubbed, Error> {
        let extent = self.read(Extent::of)?;
        scrub_batches(&extent, progress, |bytes, offset| {
            self.read(|file| file.read_at(bytes, offset))
        })
    }

    fn read<R>(&self, look: impl FnOnce(&mut Sealed) -> Result<R, Error>) -> Result<R, Error> {
        self.opened.read(&self.volume, look)
    }

    fn change(&self, change: impl FnOnce(&mut Sealed) -> Result<(), Error>) -> Result<(), Error> {
        self.volume.journal.make_way()?;
        let store = self.volume.store()?;
        let mut staging = self.opened.staging();
        self.volume.admit()?;
        let file = staging.sealed(&store)?;
        change(file)?;
        file.flush()?;
        self.volume.journal.publish(&[&self.opened.layers], &[])?;
        staging.keep();
        Ok(())
    }
}

/// The bytes of a file are a disk for whatever is to rest on them.
impl Disk for VolumeFile {
    fn len(&self) -> io::Result<u64> {
        VolumeFile::len(self).map_err(io::Error::other)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        VolumeFile::read_at(self, bytes, offset).map_err(io::Error::other)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        VolumeFile::write_at(self, bytes, offset).map_err(io::Error::other)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        VolumeFile::set_len(self, len).map_err(io::Error::other)
    }

    fn sync(&self) -> io::Result<()> {
        VolumeFile::sync(self).map_err(io::Error::other)
    }
}

/// Most bytes of a write that is atomic as a whole: 1 MiB. A longer one is several.
pub const ATOMIC_LEN_MAX: usize = 1 << 20;
