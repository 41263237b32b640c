//! Notices that the process was forked. The only `unsafe` of this crate.
//!
//! One page of memory carries a number that the kernel wipes in a forked child (`MADV_WIPEONFORK`).
//! Every cipher remembers the number it saw when it was made. In the child the number is zero until
//! somebody makes a new cipher there, and then it is one that no ancestor had: the counter it comes
//! from is inherited. Either way the old cipher sees another number than its own.
//!
//! Where the kernel cannot wipe on fork, the process id stands in.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The process in which a cipher was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ForkMark(u64);

impl ForkMark {
    /// The mark of this process.
    pub(crate) fn here() -> ForkMark {
        match page() {
            Some(word) => ForkMark(current_or_next(word)),
            None => ForkMark(u64::from(std::process::id())),
        }
    }

    /// Whether this process is the one that the mark was taken in.
    pub(crate) fn is_here(self) -> bool {
        match page() {
            // Relaxed: the only writer that matters is the kernel, during the fork, and the child's
            // one thread starts after it.
            Some(word) => word.load(Ordering::Relaxed) == self.0,
            None => u64::from(std::process::id()) == self.0,
        }
    }
}

/// The number on the page, after writing a fresh one if the page was wiped.
fn current_or_next(word: &AtomicU64) -> u64 {
    let found = word.load(Ordering::Acquire);
    if found != WIPED {
        return found;
    }
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    match word.compare_exchange(WIPED, next, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => next,
        Err(other_threads) => other_threads,
    }
}

/// The word on the page that is wiped, or `None` where the kernel cannot wipe.
fn page() -> Option<&'static AtomicU64> {
    static PAGE: OnceLock<Option<&'static AtomicU64>> = OnceLock::new();
    *PAGE.get_or_init(map_page)
}

#[cfg(target_os = "linux")]
fn map_page() -> Option<&'static AtomicU64> {
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

    let len = rustix::param::page_size();
    // SAFETY: a null hint lets the kernel choose, so no mapping that exists is replaced.
    let address = unsafe {
        mmap_anonymous(
            core::ptr::null_mut(),
            len,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    }
    .ok()?;
    // SAFETY: the range is the private anonymous mapping made above; nothing else refers to it yet.
    // On an old kernel that refuses, one page stays mapped and unused.
    unsafe { madvise(address, len, Advice::LinuxWipeOnFork) }.ok()?;
    // SAFETY: the mapping is page-aligned, zeroed, larger than the word, and never unmapped. Only
    // atomic operations reach it, and the kernel's wipe happens before the child's first
    // instruction.
    Some(unsafe { &*address.cast::<AtomicU64>() })
}

#[cfg(not(target_os = "linux"))]
fn map_page() -> Option<&'static AtomicU64> {
    None
}

/// Source of the numbers; a child inherits where its parent stood.
static NEXT: AtomicU64 = AtomicU64::new(1);
const WIPED: u64 = 0;
