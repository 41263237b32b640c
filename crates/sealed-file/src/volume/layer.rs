//! What has happened to a file since some moment, as one step.

use std::io::Result;

use super::extents::{Extents, Piece};
use crate::disk::Disk;

/// The net effect of writes and changes of length.
#[derive(Clone)]
pub(crate) struct Layer {
    /// How many bytes of the file beneath are still there at most; what is beyond reads as zero.
    pub(crate) cut: u64,
    /// The length of the file.
    pub(crate) len: u64,
    pub(crate) extents: Extents,
}

impl Layer {
    /// Nothing has happened to a file of this length.
    pub(crate) fn on(len: u64) -> Layer {
        Layer {
            cut: u64::MAX,
            len,
            extents: Extents::default(),
        }
    }

    pub(crate) fn write(&mut self, offset: u64, piece: Piece) {
        self.len = self.len.max(offset + piece.bytes().len() as u64);
        self.extents.insert(offset, piece);
    }

    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.cut = self.cut.min(len);
            self.extents.cut(len);
        }
        self.len = len;
    }

    /// Adds what happened after this.
    pub(crate) fn append(&mut self, later: &Layer) {
        if later.cut < u64::MAX {
            self.cut = self.cut.min(later.cut);
            self.extents.cut(later.cut);
        }
        for (offset, piece) in later.extents.iter() {
            self.extents.insert(offset, piece.clone());
        }
        self.len = later.len;
    }

    /// Bytes of all pieces.
    pub(crate) fn bytes(&self) -> u64 {
        let pieces = self.extents.iter();
        pieces.map(|(_, it)| it.bytes().len() as u64).sum()
    }

    /// What it says about `[offset, offset + len)`.
    pub(crate) fn window(&self, offset: u64, len: u64) -> Layer {
        Layer {
            cut: self.cut,
            len: self.len,
            extents: self.extents.window(offset, offset + len),
        }
    }

    /// Puts this layer over bytes that were read from beneath it.
    pub(crate) fn cover(&self, out: &mut [u8], offset: u64) {
        let kept = usize::try_from(self.cut.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Some(gone) = out.get_mut(kept..) {
            gone.fill(0);
        }
        self.extents.copy_to(out, offset);
    }

    /// Makes it so on a disk, in the order of the places. Doing it again changes nothing.
    pub(crate) fn apply(&self, disk: &dyn Disk) -> Result<()> {
        if disk.len()? > self.cut {
            disk.set_len(self.cut)?;
        }
        for (offset, piece) in self.extents.iter() {
            disk.write_at(piece.bytes(), offset)?;
        }
        if disk.len()? != self.len {
            disk.set_len(self.len)?;
        }
        Ok(())
    }
}
