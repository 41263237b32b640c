//! Bytes that wait to be sealed: one run without gaps, so that neighbouring writes share their pages,
//! their random numbers and their way to the disk.

use zeroize::Zeroizing;

/// A run of logical bytes that is not on the disk yet.
pub(crate) struct Run {
    start: u64,
    bytes: Zeroizing<Vec<u8>>,
}

impl Run {
    /// Most bytes of a run.
    pub(crate) const MAX: usize = 256 * 1024;

    /// Least bytes that there is room for.
    const CAPACITY_MIN: usize = 16 * 1024;

    pub(crate) fn new() -> Run {
        Run {
            start: 0,
            bytes: Zeroizing::new(Vec::new()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn overlaps(&self, offset: u64, len: usize) -> bool {
        !self.is_empty() && offset < self.end() && self.start < offset.saturating_add(len as u64)
    }

    /// Takes bytes that lie within the run or continue it; `false` when they do not.
    #[must_use]
    pub(crate) fn take(&mut self, bytes: &[u8], offset: u64) -> bool {
        if self.is_empty() {
            self.start = offset;
        }
        let Some(at) = offset.checked_sub(self.start) else {
            return false;
        };
        if at > self.bytes.len() as u64 || at as usize + bytes.len() > Run::MAX {
            return false;
        }
        let at = at as usize;
        self.make_room(at + bytes.len());
        let within = bytes.len().min(self.bytes.len() - at);
        self.bytes[at..at + within].copy_from_slice(&bytes[..within]);
        self.bytes.extend_from_slice(&bytes[within..]);
        true
    }

    /// Grows, for most journals are small. A vector that grows by itself would leave copies of the bytes behind.
    fn make_room(&mut self, len: usize) {
        if len > self.bytes.capacity() {
            let capacity = len.next_power_of_two().clamp(Run::CAPACITY_MIN, Run::MAX);
            let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}
