//! Which home of a page holds its current bytes, as far as a handle knows without looking.

use cofferdam_cipher::PageNumber;

use crate::pages::Current;

/// What a handle remembers of a log or journal that it wrote itself.
///
/// It may be used while the record on the disk is the one that this handle stored last: whoever else writes stores
/// another one first.
#[derive(Default)]
pub(crate) struct Homes(Vec<Option<Current>>);

impl Homes {
    /// Most pages that are remembered, at 24 bytes each.
    const MAX: usize = 1 << 16;

    pub(crate) fn of(&self, page: PageNumber) -> Option<Current> {
        let index = usize::try_from(page.as_u64()).ok()?;
        *self.0.get(index)?
    }

    pub(crate) fn note(&mut self, page: PageNumber, current: Option<Current>) {
        let Ok(index) = usize::try_from(page.as_u64()) else {
            return;
        };
        if index >= Homes::MAX {
            return;
        }
        if index >= self.0.len() {
            self.0.resize(index + 1, None);
        }
        self.0[index] = current;
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
