//! Sealed files on disks that fail, lose power, and lose the process that writes them.
//!
//! Invariants that hold at every operation of every scenario:
//!
//! 1. Bytes of a log or journal that were synced, through whatever handle, are there after a power cut, however
//!    much was appended, rolled back and handed over since.
//! 2. Bytes of a log or journal that were flushed are there after the process was killed inside of a write.
//! 3. A page of a main file that was synced and not written since opens, with its content.
//! 4. A file opens after every crash: one authentic record is always durable. Its length is an old or a new one.
//! 5. An error concerns what it says, and no handle goes on with what it could not write.

#[path = "sealed_file/faults.rs"]
mod faults;
#[path = "sealed_file/journal_lives.rs"]
mod journal_lives;
#[path = "sealed_file/kill_disk.rs"]
mod kill_disk;
#[path = "sealed_file/log.rs"]
mod log;
#[path = "sealed_file/log_crash.rs"]
mod log_crash;
#[path = "sealed_file/main_crash.rs"]
mod main_crash;
#[path = "sealed_file/named.rs"]
mod named;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::{DataKeys, UnixTime};
use cofferdam_sealed_file::{Disk, Error, FileKind, FileSetup, SealedFile};
use cofferdam_tests::random::number;

/// Pages of 512 bytes: each scenario crosses many.
const PAGE: usize = 512;

fn open<D: Disk>(disk: D, keys: &Arc<DataKeys>, kind: FileKind) -> Result<SealedFile<D>, Error> {
    let two = keys.suite().layer_count() == 2;
    let setup = FileSetup {
        keys: keys.clone(),
        kind,
        page_size: PageSize::try_from(PAGE).ok(),
        slot_count: if two { SlotCount::Two } else { SlotCount::One },
        clock,
    };
    SealedFile::open(disk, setup)
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}

/// Runs jobs on many threads: most of their time they wait for another process to finish a frame that is torn.
fn in_parallel(count: usize, job: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    job(index);
                }
            });
        }
    });
}

/// How many times the usual number of scenarios: `COFFERDAM_TIMES`.
fn times() -> usize {
    number("COFFERDAM_TIMES").map_or(1, |times| times as usize)
}
