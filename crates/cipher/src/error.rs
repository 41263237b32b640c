//! What can go wrong, by whose fault it is.

use core::fmt;

use cofferdam_keys::{DekId, Layer};

use crate::geometry::PageNumber;

/// Why a page or a value was not opened. Its output buffer is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The process was forked after this cipher was made, and its keys were wiped in the child. Make
    /// a new cipher from keys unlocked in this process.
    Forked,
    /// The calling code passed buffers whose lengths do not fit each other or the page size.
    Misuse {
        /// Length that is needed, in bytes.
        expected: usize,
        /// Length that was passed, in bytes.
        found: usize,
    },
    /// Too many tags failed under this cipher (2^16). It opens nothing any more: somebody is trying
    /// frames, or the disk is failing. Build a new cipher after finding out which.
    Quarantined,
    /// The frame was altered, belongs elsewhere, or was sealed with another key: one answer for all
    /// of them.
    Refused {
        /// The page that was asked for.
        page: PageNumber,
    },
    /// The value was altered, belongs elsewhere, or was sealed with another key.
    ValueRefused,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Forked => {
                f.write_str("the process was forked; its keys stayed with the parent")
            }
            OpenError::Misuse { expected, found } => {
                write!(f, "buffer of {found} bytes where {expected} are needed")
            }
            OpenError::Quarantined => f.write_str(
                "too many pages failed to open; opening is refused until the file is opened again",
            ),
            OpenError::Refused { page } => {
                write!(f, "page {page} was altered or sealed with another key")
            }
            OpenError::ValueRefused => {
                f.write_str("the value was altered or sealed with another key")
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// Why nothing was sealed. The output buffer must not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The process was forked after this cipher was made. A copy of its state exists in the other
    /// process, so this one seals nothing; make a new cipher.
    Forked,
    /// The active data key is missing for a layer of the policy, or was destroyed.
    KeyMissing {
        /// The layer without a key.
        layer: Layer,
        /// The key that is missing.
        dek: DekId,
    },
    /// The calling code passed buffers whose lengths do not fit each other or the page size.
    Misuse {
        /// Length that fits the other argument, or the largest that is allowed, in bytes.
        expected: usize,
        /// Length that was passed, in bytes.
        found: usize,
    },
    /// The page number, or the last one of the run, is 2^49 or more.
    PageNumber,
    /// The cryptographic module's generator failed.
    Random,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::Forked => f.write_str(
                "the process was forked; a forked child seals nothing with its parent's keys",
            ),
            SealError::KeyMissing { layer, dek } => {
                write!(f, "data key {dek} of layer {} is not there", *layer as u8)
            }
            SealError::Misuse { expected, found } => {
                write!(f, "buffer of {found} bytes where {expected} are needed")
            }
            SealError::PageNumber => f.write_str("page number beyond 2^49 - 1"),
            SealError::Random => f.write_str("the random generator failed"),
        }
    }
}

impl std::error::Error for SealError {}

/// Why a cipher could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// The fork guard's page of memory could not be had.
    ForkGuard,
    /// The policy has more layers than the file has slots.
    SlotCount {
        /// Layers of the policy.
        layers: usize,
        /// Slots per frame.
        slots: usize,
    },
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::ForkGuard => f.write_str("no memory for the fork guard"),
            SetupError::SlotCount { layers, slots } => {
                write!(f, "{layers} layers do not fit in {slots} slot(s)")
            }
        }
    }
}

impl std::error::Error for SetupError {}
