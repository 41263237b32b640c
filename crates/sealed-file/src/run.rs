//! Bytes that wait to be sealed: one run without gaps, so that neighbouring writes share their pages,
//! their random numbers and their way to the disk.

use crate::plaintext::Plaintext;

/// A run of logical bytes that is not on the disk yet.
///
/// They lie in memory as they lie in pages, so that whole pages can be sealed from where they are.
#[derive(Default)]
pub(crate) struct Run {
    /// Where the first page begins: the offset of the first byte in memory.
    base: u64,
    start: u64,
    end: u64,
    /// What is not between start and end means nothing until [`Run::keep`] has put it there.
    memory: Plaintext,
}

impl Run {
    /// Most bytes of a run, from the beginning of its first page on.
    pub(crate) const MAX: usize = 256 * 1024;

    /// Least bytes that there is room for.
    const CAPACITY_MIN: usize = 16 * 1024;

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn overlaps(&self, offset: u64, len: usize) -> bool {
        !self.is_empty() && offset < self.end && self.start < offset.saturating_add(len as u64)
    }

    /// Takes bytes that lie within the run or continue it; `false` when they do not.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: &[u8], offset: u64, page_size: usize) -> bool {
        if self.is_empty() {
            self.base = offset - offset % page_size as u64;
            (self.start, self.end) = (offset, offset);
        }
        if offset < self.start || offset > self.end {
            return false;
        }
        let at = (offset - self.base) as usize;
        let stop = at + bytes.len();
        if stop > Run::MAX {
            return false;
        }
        self.make_room(stop);
        self.memory[at..stop].copy_from_slice(bytes);
        self.end = self.end.max(offset + bytes.len() as u64);
        true
    }

    /// Makes the memory whole pages of this size, whatever size it was taken for.
    pub(crate) fn align(&mut self, page_size: usize) {
        let base = self.start - self.start % page_size as u64;
        let bytes = (self.start - self.base) as usize..(self.end - self.base) as usize;
        let stop = (self.end - base) as usize;
        if base != self.base {
            let mut memory = Plaintext::default();
            memory.resize(stop);
            memory[stop - bytes.len()..stop].copy_from_slice(&self.memory[bytes]);
            self.memory = memory;
            self.base = base;
        }
        self.make_room(stop.next_multiple_of(page_size));
    }

    /// Puts a page around the run as it is in the file. Comes after [`Run::align`].
    pub(crate) fn keep(&mut self, page_start: u64, page: &[u8]) {
        let at = (page_start - self.base) as usize;
        let whole = &mut self.memory[at..][..page.len()];
        let within = |offset: u64| (offset.saturating_sub(page_start) as usize).min(page.len());
        let (start, end) = (within(self.start), within(self.end));
        whole[..start].copy_from_slice(&page[..start]);
        whole[end..].copy_from_slice(&page[end..]);
    }

    /// The whole pages. Comes after [`Run::align`] and [`Run::keep`].
    pub(crate) fn pages(&self, page_size: usize) -> &[u8] {
        let len = (self.end - self.base) as usize;
        &self.memory[..len.next_multiple_of(page_size)]
    }

    /// Forgets the bytes and keeps the memory, which the next ones overwrite.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Room for so many bytes; small at first, for most journals are small.
    fn make_room(&mut self, len: usize) {
        if len > self.memory.len() {
            let room = len.next_power_of_two().max(Run::CAPACITY_MIN);
            self.memory.resize(room);
        }
    }
}
