//! A disk that counts what is asked of it.

use std::io::Result;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_sealed_file::Disk;

/// Counts operations and bytes, and hands everything on.
pub struct CountingDisk<D> {
    disk: D,
    counters: Counters,
}

/// How much was asked of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `len`.
    pub lens: u64,
    /// Calls of `read_at`.
    pub reads: u64,
    /// Bytes that `read_at` returned.
    pub bytes_read: u64,
    /// Calls of `write_at`.
    pub writes: u64,
    /// Bytes that `write_at` was given.
    pub bytes_written: u64,
    /// Calls of `set_len`.
    pub set_lens: u64,
    /// Calls of `sync`.
    pub syncs: u64,
}

#[derive(Default)]
struct Counters {
    lens: AtomicU64,
    reads: AtomicU64,
    bytes_read: AtomicU64,
    writes: AtomicU64,
    bytes_written: AtomicU64,
    set_lens: AtomicU64,
    syncs: AtomicU64,
}

impl<D: Disk> CountingDisk<D> {
    /// Counts what is asked of `disk` from here on.
    pub fn new(disk: D) -> CountingDisk<D> {
        CountingDisk {
            disk,
            counters: Counters::default(),
        }
    }

    /// The counts so far. Failed operations count too.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            lens: read(&self.counters.lens),
            reads: read(&self.counters.reads),
            bytes_read: read(&self.counters.bytes_read),
            writes: read(&self.counters.writes),
            bytes_written: read(&self.counters.bytes_written),
            set_lens: read(&self.counters.set_lens),
            syncs: read(&self.counters.syncs),
        }
    }
}

impl<D: Disk> Disk for CountingDisk<D> {
    fn len(&self) -> Result<u64> {
        add(&self.counters.lens, 1);
        self.disk.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        add(&self.counters.reads, 1);
        let read = self.disk.read_at(bytes, offset)?;
        add(&self.counters.bytes_read, read);
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        add(&self.counters.writes, 1);
        add(&self.counters.bytes_written, bytes.len());
        self.disk.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        add(&self.counters.set_lens, 1);
        self.disk.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        add(&self.counters.syncs, 1);
        self.disk.sync()
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
