//! Which pages of a log or journal have their newest bytes in a frame that a power cut may take.

use std::collections::BTreeMap;

/// What a handle knows about the durability of the pages that it wrote in part.
///
/// A page has two homes. Replacing the older one is safe while the newer one is durable, or while nobody relies on
/// what the older one holds. Otherwise a sync must come first (format section 5.1).
///
/// What other handles wrote is durable before this one writes: it stores the record first, and before that it syncs
/// what it did not write itself.
#[derive(Default)]
pub(crate) struct Unsynced(BTreeMap<u64, Part>);

/// How a page was written in part since the last sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// From its first byte on: what its other home holds is given up.
    Opened,
    /// Behind bytes that were kept: its other home may hold the only durable copy of these.
    Kept,
}

impl Unsynced {
    /// Whether bytes that were synced could be lost, if the older home of the page were replaced without a sync.
    pub(crate) fn endangers(&self, page: u64) -> bool {
        self.0.get(&page) == Some(&Part::Kept)
    }

    /// A page was written in part. Once kept stays kept until the next sync.
    pub(crate) fn wrote(&mut self, page: u64, part: Part) {
        let known = self.0.entry(page).or_insert(part);
        if part == Part::Kept || *known == Part::Opened {
            *known = part;
        }
    }

    /// Everything written so far is durable.
    pub(crate) fn synced(&mut self) {
        self.0.clear();
    }
}
