//! A file of a volume as redb's storage.
//!
//! # Why redb is safe on it
//!
//! redb's design document (`docs/design.md`, "Assumptions about underlying media", redb 4.6) assumes three things. V1 to V4 are
//! invariants of `crates/sealed-file/src/volume/mod.rs`.
//!
//! 1. *A byte is written completely or not at all*: redb commits by changing one byte of its header. Here that byte is in a sealed page, and
//!    the page with its tags is replaced as a whole. A [`VolumeFile::write_at`] of up to [`ATOMIC_LEN_MAX`] bytes is published to the
//!    journal as one operation, and what is durable is a prefix of the operations (V1): after a power cut the journal's group with the
//!    new frame and its record is there by its checksum, and is replayed, or is not, and the old frame is untouched at home (V2). A frame
//!    torn on its way home is written again by recovery, because the group outlives the homing (V3). So the byte, and the whole header with it,
//!    is the old or the new one, and never a page that does not open.
//! 2. *After a sync, writes are durable*: [`VolumeFile::sync`] returns when the group that holds them was written and synced. After a failed
//!    one every later write and sync fails (V4), so redb is never told that something is durable which is not.
//! 3. *Power-safe overwrite: a write changes no byte beside it*: a write of some bytes of a page does seal the rest of the page anew, which on a plain
//!    disk would put it at risk. By 1 the page is the old frame or the new one, and both have the same bytes beside the write. A write
//!    longer than [`ATOMIC_LEN_MAX`] is several operations, each with that property.
//!
//! The volume gives more than redb asks for: operations become durable in their order. redb's default commit (one phase, with checksums) must find out
//! after a crash whether the header overtook the pages it points to; here it cannot have. The checksums stay on nevertheless.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_sealed_file::{ATOMIC_LEN_MAX, Claim, FileClaim, VolumeFile};
use redb::{BackendError, StorageBackend};

/// A file of a volume as redb's storage; for [`redb::Builder`], where [`crate::open_with`] does not fit.
///
/// redb's modes for several processes are not for it: a volume has one process.
pub struct VolumeBackend {
    file: VolumeFile,
    claim: Mutex<Option<FileClaim>>,
}

impl VolumeBackend {
    /// The storage in this file.
    #[must_use]
    pub fn new(file: VolumeFile) -> VolumeBackend {
        VolumeBackend {
            file,
            claim: Mutex::new(None),
        }
    }

    fn claim(&self) -> MutexGuard<'_, Option<FileClaim>> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, claim: Claim, range: (Bound<u64>, Bound<u64>)) -> LockResult<bool> {
        if !is_everything(range) {
            return Err(BackendError::Unsupported);
        }
        let mut held = self.claim();
        let claimed = self.file.try_claim(claim);
        let done = claimed.is_some();
        // One that is refused leaves the one that is held.
        *held = claimed.or(held.take());
        Ok(done)
    }
}

impl StorageBackend for VolumeBackend {
    fn len(&self) -> Result<u64> {
        self.file.len().map_err(Error::other)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        match self.file.read_at(out, offset).map_err(Error::other)? {
            count if count == out.len() => Ok(()),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.file.set_len(len).map_err(Error::other)
    }

    fn sync_data(&self) -> Result<()> {
        self.file.sync().map_err(Error::other)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.file.write_at(data, offset).map_err(Error::other)
    }

    fn close(&self) -> Result<()> {
        *self.claim() = None;
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<bool> {
        self.lock(Claim::Alone, (start, end))
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<bool> {
        self.lock(Claim::Shared, (start, end))
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> LockResult<()> {
        match is_everything((start, end)) {
            true => *self.claim() = None,
            false => return Err(BackendError::Unsupported),
        }
        Ok(())
    }
}

impl fmt::Debug for VolumeBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VolumeBackend")
    }
}

/// redb asks for parts of the storage first, and for all of it where parts are not supported.
fn is_everything((start, end): (Bound<u64>, Bound<u64>)) -> bool {
    matches!(start, Bound::Unbounded | Bound::Included(0)) && end == Bound::Unbounded
}

type LockResult<T> = std::result::Result<T, BackendError>;

/// Proof step 1: redb's header lies in one write.
const _: () = assert!(ATOMIC_LEN_MAX >= 4096);
