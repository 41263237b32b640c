//! Sizes and numbers of pages (format sections 1 and 3).

use core::fmt;

/// Bytes of one slot.
pub const SLOT_LEN: usize = 64;

/// Size of a page: a power of two from 2^9 to 2^16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageSize {
    log2: u8,
}

impl PageSize {
    /// 4096 bytes, SQLite's and most systems' choice.
    pub const DEFAULT: PageSize = PageSize { log2: 12 };

    /// The size whose base-2 logarithm is `log2`, as a file record states it; `None` outside 9…16.
    #[must_use]
    pub const fn from_log2(log2: u8) -> Option<PageSize> {
        if log2 >= LOG2_MIN && log2 <= LOG2_MAX {
            Some(PageSize { log2 })
        } else {
            None
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        1 << self.log2
    }

    /// Base-2 logarithm of the size.
    #[must_use]
    pub const fn log2(self) -> u8 {
        self.log2
    }
}

impl TryFrom<usize> for PageSize {
    type Error = InvalidPageSize;

    fn try_from(bytes: usize) -> Result<PageSize, InvalidPageSize> {
        bytes
            .is_power_of_two()
            .then(|| PageSize::from_log2(bytes.trailing_zeros() as u8))
            .flatten()
            .ok_or(InvalidPageSize { bytes })
    }
}

/// A number of bytes that is no page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPageSize {
    /// The number.
    pub bytes: usize,
}

impl fmt::Display for InvalidPageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is no page size; it must be a power of two from 512 to 65536",
            self.bytes
        )
    }
}

impl std::error::Error for InvalidPageSize {}

/// Number of a page within its file, from 0, below 2^49.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageNumber(u64);

impl PageNumber {
    /// The first page of a file.
    pub const ZERO: PageNumber = PageNumber(0);

    /// The largest page number.
    pub const MAX: PageNumber = PageNumber((1 << 49) - 1);

    /// The page with this number; `None` from 2^49 upwards.
    #[must_use]
    pub const fn new(number: u64) -> Option<PageNumber> {
        if number <= PageNumber::MAX.0 {
            Some(PageNumber(number))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The page `count` pages further; `None` from 2^49 upwards.
    #[must_use]
    pub const fn checked_add(self, count: u64) -> Option<PageNumber> {
        match self.0.checked_add(count) {
            Some(number) => PageNumber::new(number),
            None => None,
        }
    }
}

impl fmt::Display for PageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many slots go with each page of a file. A file may have room for a layer that the policy does
/// not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotCount {
    /// One slot of 64 bytes.
    One = 1,
    /// Two slots, 128 bytes.
    Two = 2,
}

impl SlotCount {
    /// The slot count a file record states; `None` unless it is 1 or 2.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<SlotCount> {
        match number {
            1 => Some(SlotCount::One),
            2 => Some(SlotCount::Two),
            _ => None,
        }
    }

    /// The number of slots.
    #[must_use]
    pub const fn count(self) -> usize {
        self as usize
    }

    /// Bytes of all slots of one frame.
    #[must_use]
    pub const fn bytes(self) -> usize {
        self.count() * SLOT_LEN
    }

    /// Bytes of one frame: the page and its slots.
    #[must_use]
    pub const fn stride(self, page_size: PageSize) -> usize {
        page_size.bytes() + self.bytes()
    }
}

const LOG2_MIN: u8 = 9;
const LOG2_MAX: u8 = 16;
