//! Whole pages that wait to be sealed, wherever they lie: SQLite writes a database in any order, and in turns with its journal.

use std::collections::BTreeMap;

use crate::plaintext::Plaintext;

/// Whole pages of a file whose pages have one home each.
#[derive(Default)]
pub(crate) struct Queue {
    page_size: usize,
    /// Where in memory each page lies, by its number.
    places: BTreeMap<u64, usize>,
    /// Up to here memory was given to pages since the queue was empty.
    used: usize,
    memory: Plaintext,
}

impl Queue {
    /// Most bytes that wait.
    const MAX: usize = 256 * 1024;

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Where the last page ends.
    pub(crate) fn end(&self) -> u64 {
        let last = self.places.last_key_value();
        last.map_or(0, |(page, _)| (page + 1) * self.page_size as u64)
    }

    pub(crate) fn overlaps(&self, offset: u64, len: usize) -> bool {
        if self.is_empty() || len == 0 {
            return false;
        }
        let size = self.page_size as u64;
        let last = offset.saturating_add(len as u64 - 1) / size;
        self.places.range(offset / size..=last).next().is_some()
    }

    /// Whether these bytes are whole pages and there is room for them.
    pub(crate) fn has_room(&self, offset: u64, len: usize, page_size: usize) -> bool {
        let whole = len.is_multiple_of(page_size) && offset.is_multiple_of(page_size as u64);
        let same_size = self.is_empty() || self.page_size == page_size;
        whole && same_size && self.used() + len <= Queue::MAX
    }

    /// Takes whole pages. A page that waits already is replaced.
    ///
    /// # Panics
    /// When there is no room.
    pub(crate) fn put(&mut self, bytes: &[u8], offset: u64, page_size: usize) {
        assert!(self.has_room(offset, bytes.len(), page_size));
        self.page_size = page_size;
        self.used = self.used();
        for (number, page) in (offset / page_size as u64..).zip(bytes.chunks_exact(page_size)) {
            let place = *self.places.entry(number).or_insert(self.used);
            self.used = self.used.max(place + page_size);
            if self.memory.len() < place + page_size {
                self.memory
                    .resize((2 * place).max(place + page_size).min(Queue::MAX));
            }
            self.memory[place..][..page_size].copy_from_slice(page);
        }
    }

    fn used(&self) -> usize {
        if self.is_empty() { 0 } else { self.used }
    }

    /// The first page, with the offset where it belongs.
    pub(crate) fn first(&self) -> Option<(u64, &[u8])> {
        let (page, place) = self.places.first_key_value()?;
        let bytes = &self.memory[*place..][..self.page_size];
        Some((page * self.page_size as u64, bytes))
    }

    /// Gives up the first page, which is somewhere else by now.
    pub(crate) fn remove_first(&mut self) {
        self.places.pop_first();
    }

    pub(crate) fn clear(&mut self) {
        self.places.clear();
    }
}
