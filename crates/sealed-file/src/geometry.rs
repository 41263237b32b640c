//! Where the bytes of a file lie on its disk (format section 5).

use cofferdam_cipher::{PageNumber, PageSize, SlotCount};

use crate::record::FileKind;

/// Bytes before the file records of a main database: the two slots of the keyring.
pub(crate) const KEYRING_AREA_LEN: u64 = 2 * cofferdam_keys::KEYRING_LEN as u64;

/// Largest logical length of a file: 2^53 bytes.
pub const LENGTH_MAX: u64 = 1 << 53;

/// Pages of one group of a file whose pages have two homes.
const GROUP: u64 = 64;

/// The two places of a page in a log or a journal; files of other kinds have the whole home only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// Where a page goes that was filled to its end.
    Whole,
    /// Where a page goes in which a run of bytes ends.
    Tail,
}

impl Home {
    /// The other one.
    pub(crate) fn other(self) -> Home {
        match self {
            Home::Whole => Home::Tail,
            Home::Tail => Home::Whole,
        }
    }
}

/// Turns page numbers into places on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    page_size: PageSize,
    slot_count: SlotCount,
    frames: u64,
    two_homes: bool,
}

impl Geometry {
    /// The geometry of a file of one kind.
    #[must_use]
    pub fn new(kind: FileKind, page_size: PageSize, slot_count: SlotCount) -> Geometry {
        Geometry {
            page_size,
            slot_count,
            frames: record_area(kind) + 2 * RECORD_BLOCK,
            two_homes: kind.has_two_homes(),
        }
    }

    /// Size of a page.
    #[must_use]
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// Slots of each frame.
    #[must_use]
    pub fn slot_count(&self) -> SlotCount {
        self.slot_count
    }

    /// Bytes of one frame.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.slot_count.stride(self.page_size)
    }

    /// Whether each page has two homes.
    #[must_use]
    pub fn has_two_homes(&self) -> bool {
        self.two_homes
    }

    /// The disk offset at which the frames begin.
    #[must_use]
    pub fn frames_offset(&self) -> u64 {
        self.frames
    }

    /// The disk offset of a page's frame in its whole home.
    #[must_use]
    pub fn frame_offset(&self, page: PageNumber) -> u64 {
        self.home_offset(page, Home::Whole)
    }

    pub(crate) fn home_offset(&self, page: PageNumber, home: Home) -> u64 {
        let n = page.as_u64();
        let frame = match (self.two_homes, home) {
            (false, _) => n,
            (true, Home::Whole) => n / GROUP * 2 * GROUP + n % GROUP,
            (true, Home::Tail) => n / GROUP * 2 * GROUP + GROUP + n % GROUP,
        };
        self.frames + frame * self.stride() as u64
    }

    /// The page whose whole home begins at a disk offset; the inverse of [`Geometry::frame_offset`].
    #[must_use]
    pub fn page_at(&self, disk_offset: u64) -> Option<PageNumber> {
        let past = disk_offset.checked_sub(self.frames)?;
        if !past.is_multiple_of(self.stride() as u64) {
            return None;
        }
        let frame = past / self.stride() as u64;
        match (self.two_homes, frame % (2 * GROUP)) {
            (false, _) => PageNumber::new(frame),
            (true, place) if place < GROUP => PageNumber::new(frame / (2 * GROUP) * GROUP + place),
            (true, _) => None,
        }
    }

    /// How many pages from `page` on have whole homes without a gap between them, at most `count`.
    #[must_use]
    pub(crate) fn contiguous(&self, page: PageNumber, count: u64) -> u64 {
        if self.two_homes {
            count.min(GROUP - page.as_u64() % GROUP)
        } else {
            count
        }
    }

    /// The page that holds a logical byte offset, and the place within it.
    #[must_use]
    pub fn locate(&self, offset: u64) -> (PageNumber, usize) {
        let page = PageNumber::new(offset >> self.page_size.log2())
            .expect("offsets are checked against LENGTH_MAX, which is below page 2^49");
        (
            page,
            (offset & (self.page_size.bytes() as u64 - 1)) as usize,
        )
    }

    /// The logical offset of a page's first byte; the inverse of [`Geometry::locate`].
    #[must_use]
    pub fn page_offset(&self, page: PageNumber) -> u64 {
        page.as_u64() << self.page_size.log2()
    }

    /// How many pages a logical length needs.
    #[must_use]
    pub fn page_count(&self, length: u64) -> u64 {
        length.div_ceil(self.page_size.bytes() as u64)
    }

    /// Whether a page is the first of a group of pages that have their homes together.
    pub(crate) fn starts_group(&self, page: PageNumber) -> bool {
        page.as_u64().is_multiple_of(GROUP)
    }

    /// Where a disk is cut that held more than this logical length: behind the last home of a page that stays.
    pub(crate) fn cut_len(&self, length: u64) -> u64 {
        match self.page_count(length).checked_sub(1).map(PageNumber::new) {
            Some(Some(last)) => self.home_offset(last, Home::Tail) + self.stride() as u64,
            _ => self.frames,
        }
    }

    /// The number of bytes a disk needs for a logical length.
    #[must_use]
    pub fn disk_len(&self, length: u64) -> u64 {
        let pages = self.page_count(length);
        let frames = if self.two_homes {
            pages.div_ceil(GROUP) * 2 * GROUP
        } else {
            pages
        };
        self.frames + frames * self.stride() as u64
    }
}

/// Where the first file record stands.
pub(crate) fn record_area(kind: FileKind) -> u64 {
    match kind {
        FileKind::Main => KEYRING_AREA_LEN,
        _ => 0,
    }
}

/// The two records lie in different blocks, so that no sector of any disk holds both.
pub(crate) const RECORD_BLOCK: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [FileKind; 5] = [
        FileKind::Main,
        FileKind::WriteAheadLog,
        FileKind::RollbackJournal,
        FileKind::SuperJournal,
        FileKind::Temporary,
    ];

    fn any_geometry() -> impl Strategy<Value = Geometry> {
        (0..KINDS.len(), 9u8..=16, prop::bool::ANY).prop_map(|(kind, log2, two)| {
            let slots = if two { SlotCount::Two } else { SlotCount::One };
            Geometry::new(KINDS[kind], PageSize::from_log2(log2).unwrap(), slots)
        })
    }

    proptest! {
        #[test]
        fn a_page_is_where_its_frame_says(geometry in any_geometry(), n in 0u64..1 << 37) {
            let page = PageNumber::new(n).unwrap();
            prop_assert_eq!(geometry.page_at(geometry.frame_offset(page)), Some(page));
            prop_assert_eq!(geometry.page_at(geometry.frame_offset(page) + 1), None);
        }

        #[test]
        fn an_offset_is_where_its_page_says(geometry in any_geometry(), offset in 0..LENGTH_MAX) {
            let (page, within) = geometry.locate(offset);
            prop_assert_eq!(geometry.page_offset(page) + within as u64, offset);
            prop_assert!(within < geometry.page_size().bytes());
        }

        #[test]
        fn no_two_homes_overlap(geometry in any_geometry(), a in 0u64..300, b in 0u64..300) {
            let homes = |n| {
                let page = PageNumber::new(n).unwrap();
                let whole = geometry.home_offset(page, Home::Whole);
                let tail = geometry.home_offset(page, Home::Tail);
                if geometry.has_two_homes() { vec![whole, tail] } else { vec![whole] }
            };
            let stride = geometry.stride() as u64;
            for (i, x) in homes(a).into_iter().enumerate() {
                for (j, y) in homes(b).into_iter().enumerate() {
                    prop_assert!((a, i) == (b, j) || x.abs_diff(y) >= stride);
                }
            }
        }

        #[test]
        fn the_disk_ends_after_the_last_home(geometry in any_geometry(), length in 1u64..1 << 40) {
            let last = PageNumber::new(geometry.page_count(length) - 1).unwrap();
            let end = geometry.home_offset(last, Home::Tail) + geometry.stride() as u64;
            prop_assert!(end <= geometry.disk_len(length));
        }
    }
}
