//! Seals and opens one page or one value.
//!
//! ```
//! use std::sync::Arc;
//!
//! use cofferdam_cipher::{PageCipher, PageNumber, PageSize, SlotCount};
//! use cofferdam_keys::{DataKeys, FileId, Suite, UnixTime};
//!
//! # fn clock() -> UnixTime { UnixTime { seconds: 1_800_000_000, nanos: 0 } }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = Arc::new(DataKeys::ephemeral(Suite::Two)?);
//! let file = FileId::random()?;
//! let cipher = PageCipher::new(keys, file, PageSize::DEFAULT, SlotCount::Two, clock)?;
//!
//! let page = vec![7; 4096];
//! let mut frame = vec![0; cipher.stride()];
//! cipher.seal(PageNumber::ZERO, &page, &mut frame)?;
//!
//! let mut opened = vec![0; 4096];
//! cipher.open(PageNumber::ZERO, &frame, &mut opened)?;
//! assert_eq!(opened, page);
//!
//! frame[100] ^= 1;
//! assert!(cipher.open(PageNumber::ZERO, &frame, &mut opened).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! The bytes are those of `docs/format.md`, sections 1, 2, 3 and 7. This crate has never heard of
//! files: it takes keys from `cofferdam-keys`, and frames and values from whoever stores them.

mod aead;
mod epoch;
mod error;
mod fork;
mod geometry;
mod page;
mod slot;
mod stack;
mod subkeys;
mod value;
#[cfg(test)]
mod vectors;

pub use error::{OpenError, SealError, SetupError};
pub use geometry::{InvalidPageSize, PageNumber, PageSize, SLOT_LEN, SlotCount};
pub use page::PageCipher;
pub use slot::crc_matches;
pub use value::{CONTEXT_LEN_MAX, VALUE_LEN_MAX, VALUE_OVERHEAD, ValueCipher};
