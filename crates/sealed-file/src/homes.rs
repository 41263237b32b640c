//! Which home of a page holds its current bytes, as far as a handle knows without looking.

use std::ops::Range;

use cofferdam_cipher::PageNumber;

use crate::pages::Current;

/// What a handle remembers of a log or journal that it wrote itself.
///
/// It may be used while the record on the disk is the one that this handle stored last: whoever else writes stores
/// another one first.
#[derive(Default)]
pub(crate) struct Homes {
    list: Vec<Option<Current>>,
    /// This handle made the file: a page that is not listed was never written.
    complete: bool,
}

impl Homes {
    /// Most pages that are remembered, at 24 bytes each.
    const MAX: usize = 1 << 16;

    pub(crate) fn of(&self, page: PageNumber) -> Option<Current> {
        let index = usize::try_from(page.as_u64()).ok()?;
        *self.list.get(index)?
    }

    pub(crate) fn note(&mut self, page: PageNumber, current: Option<Current>) {
        let Ok(index) = usize::try_from(page.as_u64()) else {
            return;
        };
        if index >= Homes::MAX {
            return;
        }
        if index >= self.list.len() {
            self.list.resize(index + 1, None);
        }
        self.list[index] = current;
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.complete = false;
    }

    /// The file has just been made, and has no page.
    pub(crate) fn begin(&mut self) {
        self.clear();
        self.complete = true;
    }

    /// Pages are about to be written: until that has succeeded, nothing is known of them, nor that others are all that
    /// there are. Answers what [`Homes::written`] wants.
    pub(crate) fn writing(&mut self, pages: Range<u64>) -> bool {
        for page in pages.filter_map(PageNumber::new) {
            self.note(page, None);
        }
        std::mem::take(&mut self.complete)
    }

    /// All that was begun with [`Homes::writing`] is noted.
    pub(crate) fn written(&mut self, was_complete: bool) {
        self.complete = was_complete;
    }

    /// Whether a page was certainly never written.
    pub(crate) fn lack(&self, page: PageNumber) -> bool {
        self.complete && page.as_u64() < Homes::MAX as u64 && self.of(page).is_none()
    }
}
