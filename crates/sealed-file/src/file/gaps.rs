//! Zeros that must be sealed because a record has room for so many holes only, before they become too many for one operation.

use super::SealedFile;
use crate::disk::Disk;
use crate::holes::{Hole, Holes};

impl<D: Disk> SealedFile<D> {
    /// Zeros to write before `len` bytes at `offset`, as their offset and how many; `None` when the write itself seals no more than
    /// `max` bytes of them. To be asked again when they are written: each time a hole has become smaller.
    #[must_use]
    pub fn zeros_first(&self, offset: u64, len: u64, max: u64) -> Option<(u64, u64)> {
        let size = self.record.page_size?.bytes() as u64;
        let holes = self.record.holes.list();
        if holes.len() < Holes::MAX || len == 0 {
            return None;
        }
        let (first, end) = (offset / size, offset.checked_add(len)?.div_ceil(size));
        let pages = self.record.length.div_ceil(size);
        let smallest = |holes: &[Hole]| holes.iter().copied().min_by_key(|hole| hole.count);
        if first > pages {
            // The gap is a hole of its own, unless it makes the last one longer.
            let longer = holes.last().is_some_and(|last| last.end() == pages);
            let hole = smallest(holes).filter(|_| !longer)?;
            return Some(self.zeros(hole, false, size, max));
        }
        let split = holes
            .iter()
            .find(|hole| hole.first < first && end < hole.end())?;
        let before = Hole {
            first: split.first,
            count: first - split.first,
        };
        let behind = Hole {
            first: end,
            count: split.end() - end,
        };
        let mut parts: Vec<Hole> = holes.iter().copied().filter(|it| it != split).collect();
        parts.extend([before, behind]);
        let hole = smallest(&parts).filter(|hole| hole.count * size > max)?;
        Some(self.zeros(hole, hole == behind, size, max))
    }

    /// A piece at an end of a hole, which splits nothing.
    fn zeros(&self, hole: Hole, from_behind: bool, size: u64, max: u64) -> (u64, u64) {
        let count = hole.count.min((max / size).max(1));
        let first = match from_behind {
            true => hole.end() - count,
            false => hole.first,
        };
        let end = ((first + count) * size).min(self.record.length);
        (first * size, end - first * size)
    }
}
