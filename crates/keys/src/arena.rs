//! Where the bytes of secrets lie: the only file of this crate with `unsafe`.
//!
//! Invariants:
//!
//! 1. A cell of a chunk belongs to at most one [`Cell`]: the bit in `Chunk::taken` is set by the one
//!    that takes it and cleared only by its drop.
//! 2. A chunk, once published, is never unmapped or moved; its address is valid for the life of the process.
//! 3. A free cell holds zeros.
//! 4. The first cell of a chunk is its canary. It is not zero in the process that mapped the chunk, and
//!    zero in every forked child, because the system wipes the chunk there (`MADV_WIPEONFORK`).
//!
//! There are no locks: a child forked while another thread held one could never drop a secret.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use zeroize::Zeroize;

/// The size of every cell, and so the longest secret.
pub(crate) const CELL_LEN: usize = 128;

/// `CELL_LEN` bytes of their own, zero at first, zeroed on drop.
pub(crate) struct Cell {
    bytes: NonNull<[u8; CELL_LEN]>,
    place: Place,
}

enum Place {
    /// A cell of a locked chunk.
    Chunk(&'static Chunk, u32),
    /// Ordinary memory: the system granted no more locked memory.
    Heap,
}

// SAFETY: a `Cell` owns its bytes (invariant 1), and shared references only read them.
unsafe impl Send for Cell {}
// SAFETY: as above; writing needs `&mut`.
unsafe impl Sync for Cell {}

impl Cell {
    pub(crate) fn new() -> Self {
        take_from_chunks().unwrap_or_else(|| {
            let bytes = NonNull::from(Box::leak(Box::new([0; CELL_LEN])));
            Self {
                bytes,
                place: Place::Heap,
            }
        })
    }

    pub(crate) fn bytes(&self) -> &[u8; CELL_LEN] {
        // SAFETY: the pointer is valid (invariant 2, or a leaked box) and this cell's own (invariant 1).
        unsafe { self.bytes.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; CELL_LEN] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { self.bytes.as_mut() }
    }

    /// Whether the system has wiped the cell because this process is a forked child.
    pub(crate) fn is_wiped(&self) -> bool {
        match &self.place {
            Place::Chunk(chunk, _) => chunk.is_wiped(),
            Place::Heap => false,
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        match self.place {
            Place::Chunk(chunk, index) => chunk.give_back(index),
            // SAFETY: a heap cell is a leaked box, and this is its one owner.
            Place::Heap => drop(unsafe { Box::from_raw(self.bytes.as_ptr()) }),
        }
    }
}

/// Locked memory for `CELL_COUNT` cells, of which the first is the canary.
struct Chunk {
    base: NonNull<u8>,
    taken: [AtomicU64; WORD_COUNT],
}

// SAFETY: the address is fixed (invariant 2) and the bits are atomic.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn take(&'static self) -> Option<Cell> {
        if self.is_wiped() {
            return None;
        }
        for (word_index, word) in self.taken.iter().enumerate() {
            let mut seen = word.load(Ordering::Relaxed);
            while seen != u64::MAX {
                let bit = seen.trailing_ones();
                let before = word.fetch_or(1 << bit, Ordering::Acquire);
                if before & (1 << bit) == 0 {
                    let index = u32::try_from(word_index * 64).expect("two words") + bit;
                    return Some(Cell {
                        bytes: self.cell(index),
                        place: Place::Chunk(self, index),
                    });
                }
                seen = before;
            }
        }
        None
    }

    fn give_back(&self, index: u32) {
        let (word, bit) = (index as usize / 64, index % 64);
        let before = self.taken[word].fetch_and(!(1 << bit), Ordering::Release);
        assert!(before & (1 << bit) != 0, "a cell is given back once");
    }

    fn cell(&self, index: u32) -> NonNull<[u8; CELL_LEN]> {
        assert!((index as usize) < CELL_COUNT);
        // SAFETY: the index is within the chunk, which is CELL_COUNT cells long.
        unsafe { self.base.cast::<[u8; CELL_LEN]>().add(index as usize) }
    }

    fn canary(&self) -> &AtomicU32 {
        // SAFETY: the first cell is page-aligned, lives for ever (invariant 2) and is only used as this atomic.
        unsafe { self.base.cast::<AtomicU32>().as_ref() }
    }

    fn is_wiped(&self) -> bool {
        self.canary().load(Ordering::Relaxed) == 0
    }
}

fn take_from_chunks() -> Option<Cell> {
    for published in &CHUNKS {
        let mut chunk = published.load(Ordering::Acquire);
        if chunk.is_null() {
            let fresh = system::locked_memory(CHUNK_LEN)?;
            chunk = publish(published, fresh);
        }
        // SAFETY: what is published is a leaked box (invariant 2).
        let chunk: &'static Chunk = unsafe { &*chunk };
        if let Some(cell) = chunk.take() {
            return Some(cell);
        }
    }
    None
}

/// Publishes fresh memory as a chunk, unless another thread was quicker; returns the published one.
fn publish(place: &AtomicPtr<Chunk>, base: NonNull<u8>) -> *mut Chunk {
    let chunk = Chunk {
        base,
        taken: std::array::from_fn(|_| AtomicU64::new(0)),
    };
    chunk.canary().store(CANARY, Ordering::Relaxed);
    chunk.taken[0].store(1, Ordering::Relaxed);
    let fresh = Box::into_raw(Box::new(chunk));
    match place.compare_exchange(
        std::ptr::null_mut(),
        fresh,
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => fresh,
        Err(winner) => {
            // SAFETY: the box was made above and nobody else has seen it.
            drop(unsafe { Box::from_raw(fresh) });
            system::release(base, CHUNK_LEN);
            winner
        }
    }
}

#[cfg(unix)]
mod system {
    use std::ptr::NonNull;

    /// Zeroed memory that is locked and, on Linux, neither dumped nor inherited by a fork. `None` when
    /// the system refuses any of it: half a protection would look like a whole one.
    pub(super) fn locked_memory(len: usize) -> Option<NonNull<u8>> {
        // SAFETY: a new anonymous mapping; no existing memory is concerned.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return None;
        }
        let base = NonNull::new(base.cast::<u8>())?;
        if protect(base, len) {
            return Some(base);
        }
        release(base, len);
        None
    }

    fn protect(base: NonNull<u8>, len: usize) -> bool {
        // SAFETY: the range is exactly the mapping made by `locked_memory`.
        let locked = unsafe { libc::mlock(base.as_ptr().cast(), len) } == 0;
        #[cfg(target_os = "linux")]
        let locked = locked
            && [libc::MADV_DONTDUMP, libc::MADV_WIPEONFORK]
                .into_iter()
                // SAFETY: as above; both advices leave this process's bytes alone.
                .all(|advice| unsafe { libc::madvise(base.as_ptr().cast(), len, advice) } == 0);
        locked
    }

    pub(super) fn release(base: NonNull<u8>, len: usize) {
        // SAFETY: the caller gives up a mapping that it made and that nobody else refers to.
        unsafe { libc::munmap(base.as_ptr().cast(), len) };
    }
}

#[cfg(not(unix))]
mod system {
    use std::ptr::NonNull;

    pub(super) fn locked_memory(_len: usize) -> Option<NonNull<u8>> {
        None
    }

    pub(super) fn release(_base: NonNull<u8>, _len: usize) {}
}

/// At most one mebibyte is locked; common limits are eight, and 64 KiB on old systems.
static CHUNKS: [AtomicPtr<Chunk>; 64] = [const { AtomicPtr::new(std::ptr::null_mut()) }; 64];

const CANARY: u32 = 0x6364_616d;
const WORD_COUNT: usize = 2;
const CELL_COUNT: usize = 64 * WORD_COUNT;
/// A multiple of every usual page size up to 16 KiB.
const CHUNK_LEN: usize = CELL_COUNT * CELL_LEN;
const _: () = assert!(CHUNK_LEN == 16384);

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_forked_child_finds_its_parents_secrets_wiped() {
        let mut cell = Cell::new();
        cell.bytes_mut().fill(7);
        if matches!(cell.place, Place::Heap) {
            return; // This system grants no locked memory.
        }
        // SAFETY: the child touches only this cell and atomics, and leaves through `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let wiped = cell.is_wiped() && cell.bytes().iter().all(|&byte| byte == 0);
            // SAFETY: ends the child at once, without running anything of the test harness.
            unsafe { libc::_exit(if wiped { 0 } else { 1 }) };
        }
        let mut status = -1;
        // SAFETY: waits for the child made above.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0, "the child saw the secret");
        assert!(!cell.is_wiped());
    }

    #[test]
    fn a_dropped_cell_is_zeroed_before_it_is_reused() {
        for _ in 0..2 * CELL_COUNT {
            let mut cell = Cell::new();
            assert_eq!(cell.bytes(), &[0; CELL_LEN]);
            cell.bytes_mut().fill(9);
        }
    }

    #[test]
    fn locked_memory_is_locked_and_not_dumped() {
        let Some(base) = system::locked_memory(CHUNK_LEN) else {
            return;
        };
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let start = format!("{:x}-", base.as_ptr().addr());
        let flags = maps
            .lines()
            .skip_while(|line| !line.starts_with(&start))
            .find_map(|line| line.strip_prefix("VmFlags:"))
            .expect("the mapping starts at its own address: other advice keeps it apart");
        for flag in ["lo", "dd", "wf"] {
            assert!(
                flags.split(' ').any(|found| found == flag),
                "{flag} in {flags}"
            );
        }
        system::release(base, CHUNK_LEN);
    }
}
