//! The locks of a simulated world: SQLite's five file locks, and the eight of its shared memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rusqlite::ffi;

/// Names one open file handle.
pub(crate) type HandleId = u64;

/// Somebody else holds a lock that excludes the wanted one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// The locks on one file, as SQLite's `unixLock` grants them.
#[derive(Default)]
pub(crate) struct FileLocks(BTreeMap<HandleId, i32>);

impl FileLocks {
    /// Raises the lock of a handle. When only readers stand in the way of EXCLUSIVE it is left with
    /// PENDING, which keeps new readers out.
    pub(crate) fn lock(&mut self, handle: HandleId, wanted: i32) -> Result<(), Busy> {
        let held = self.level(handle);
        if held >= wanted {
            return Ok(());
        }
        let highest_other = self.highest_other(handle);
        if wanted == ffi::SQLITE_LOCK_SHARED {
            if highest_other >= ffi::SQLITE_LOCK_PENDING {
                return Err(Busy);
            }
        } else if highest_other >= ffi::SQLITE_LOCK_RESERVED {
            return Err(Busy);
        } else if wanted == ffi::SQLITE_LOCK_EXCLUSIVE && highest_other >= ffi::SQLITE_LOCK_SHARED {
            self.0.insert(handle, ffi::SQLITE_LOCK_PENDING);
            return Err(Busy);
        }
        self.0.insert(handle, wanted);
        Ok(())
    }

    pub(crate) fn unlock(&mut self, handle: HandleId, wanted: i32) {
        if self.level(handle) <= wanted {
            return;
        }
        if wanted == ffi::SQLITE_LOCK_NONE {
            self.0.remove(&handle);
        } else {
            self.0.insert(handle, wanted);
        }
    }

    pub(crate) fn reserved(&self) -> bool {
        self.0
            .values()
            .any(|level| *level >= ffi::SQLITE_LOCK_RESERVED)
    }

    fn level(&self, handle: HandleId) -> i32 {
        self.0.get(&handle).copied().unwrap_or(0)
    }

    fn highest_other(&self, handle: HandleId) -> i32 {
        let others = self.0.iter().filter(|(other, _)| **other != handle);
        others.map(|(_, level)| *level).max().unwrap_or(0)
    }
}

/// One region of shared memory. The words are atomic because connections of several threads read
/// and write them through bare pointers.
pub(crate) type Region = Arc<[AtomicU64]>;

/// The shared memory of one database: a cache of its write-ahead log's index and who uses it.
#[derive(Default)]
pub(crate) struct SharedMemory {
    pub(crate) regions: Vec<Region>,
    users: BTreeMap<HandleId, Masks>,
}

#[derive(Clone, Copy, Default)]
struct Masks {
    shared: u32,
    exclusive: u32,
}

impl SharedMemory {
    /// The region with this number; none when it does not exist and `extend` is false.
    pub(crate) fn map(
        &mut self,
        handle: HandleId,
        index: usize,
        len: usize,
        extend: bool,
    ) -> Option<Region> {
        self.users.entry(handle).or_default();
        while extend && self.regions.len() <= index {
            let words = (0..len.div_ceil(8)).map(|_| AtomicU64::new(0));
            self.regions.push(words.collect());
        }
        self.regions.get(index).cloned()
    }

    pub(crate) fn lock(
        &mut self,
        handle: HandleId,
        mask: u32,
        exclusive: bool,
    ) -> Result<(), Busy> {
        for (other, held) in &self.users {
            let conflicting = held.exclusive | if exclusive { held.shared } else { 0 };
            if *other != handle && conflicting & mask != 0 {
                return Err(Busy);
            }
        }
        let own = self.users.entry(handle).or_default();
        if exclusive {
            own.exclusive |= mask;
        } else {
            own.shared |= mask;
        }
        Ok(())
    }

    pub(crate) fn unlock(&mut self, handle: HandleId, mask: u32) {
        if let Some(own) = self.users.get_mut(&handle) {
            own.exclusive &= !mask;
            own.shared &= !mask;
        }
    }

    /// The handle is done with the memory, which is gone with its last user: like SQLite's unix VFS,
    /// whose first user empties the file it finds.
    pub(crate) fn unmap(&mut self, handle: HandleId) {
        self.users.remove(&handle);
        if self.users.is_empty() {
            self.regions.clear();
        }
    }
}
