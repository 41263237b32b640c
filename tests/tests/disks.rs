//! Every disk keeps the contract, and the ones for tests fail and crash as they are told.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_sealed_file::{Disk, FileDisk};
use cofferdam_tests::counting_disk::{CountingDisk, Counts};
use cofferdam_tests::crash_disk::CrashDisk;
use cofferdam_tests::disk_suite;
use cofferdam_tests::fault_disk::{DiskFault, DiskFaultKind, DiskOperation, FaultDisk};
use cofferdam_tests::memory_disk::MemoryDisk;
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, seed};

/// The suite on the disk that production uses.
#[test]
fn a_file_keeps_the_contract() {
    run_suite(&|| Box::new(file_disk()));
}

/// The suite on the disks that tests use, alone and stacked.
#[test]
fn disks_for_tests_keep_the_contract() {
    run_suite(&|| Box::new(MemoryDisk::new()));
    run_suite(&|| Box::new(CrashDisk::new()));
    run_suite(&|| Box::new(FaultDisk::new(CountingDisk::new(MemoryDisk::new()))));
    run_suite(&|| Box::new(CountingDisk::new(FaultDisk::new(file_disk()))));
}

/// Offsets beyond 4 GiB are not cut to 32 bits anywhere.
#[test]
fn a_file_has_more_than_four_gigabytes() {
    const FAR: u64 = (5 << 30) + 7;
    let disk = file_disk();
    disk.write_at(b"near", 7).expect("write");
    disk.write_at(b"far", FAR).expect("write to a sparse file");
    assert_eq!(disk.len().expect("len"), FAR + 3);
    let mut bytes = [0; 4];
    assert_eq!(disk.read_at(&mut bytes, FAR).expect("read"), 3);
    assert_eq!(&bytes[..3], b"far");
    assert_eq!(disk.read_at(&mut bytes, 7).expect("read"), 4);
    assert_eq!(&bytes, b"near");
}

/// Opening never creates, creating never replaces, a reader cannot write, a lock excludes.
#[test]
fn a_file_is_opened_as_asked() {
    let path = path();
    assert_eq!(kind(FileDisk::open(&path)), ErrorKind::NotFound);
    let disk = FileDisk::create_new(&path).expect("create");
    assert_eq!(kind(FileDisk::create_new(&path)), ErrorKind::AlreadyExists);
    disk.write_at(b"x", 0).expect("write");

    let reader = FileDisk::open_read_only(&path).expect("open");
    assert_eq!(reader.len().expect("len"), 1);
    assert!(reader.write_at(b"y", 0).is_err());
    assert!(reader.set_len(0).is_err());

    disk.lock().expect("the first lock");
    let other = FileDisk::open(&path).expect("open");
    assert_eq!(kind(other.lock()), ErrorKind::WouldBlock);
    drop(disk);
    other.lock().expect("the lock of a closed file is free");
    fs::remove_file(&path).expect("remove");
}

/// A fault strikes the chosen operation, once or for good, and only what it counts.
#[test]
fn a_fault_strikes_where_it_was_told() {
    let disk = FaultDisk::new(MemoryDisk::new());
    disk.inject(DiskFault {
        nth: 2,
        kind: DiskFaultKind::Io,
        persistent: false,
        counted: |operation| operation == DiskOperation::Write,
    });
    disk.write_at(b"1", 0).expect("the first write");
    disk.sync().expect("a sync is not counted");
    assert!(disk.write_at(b"2", 1).is_err());
    disk.write_at(b"3", 2).expect("the third write");
    assert_eq!(disk.disarm(), 1);
    assert_eq!(disk.inner().bytes(), b"1\x003");

    disk.inject(DiskFault {
        nth: 1,
        kind: DiskFaultKind::NoSpace,
        persistent: true,
        counted: |_| true,
    });
    assert_eq!(kind(disk.sync()), ErrorKind::StorageFull);
    assert_eq!(kind(disk.len()), ErrorKind::StorageFull);
    assert_eq!(kind(disk.set_len(0)), ErrorKind::StorageFull);
    assert_eq!(kind(disk.read_at(&mut [0], 0)), ErrorKind::StorageFull);
    assert_eq!(disk.disarm(), 4);
    assert_eq!(disk.len().expect("len"), 3);
}

/// A short write leaves the first half of its bytes and reports an error.
#[test]
fn a_short_write_writes_half() {
    let disk = FaultDisk::new(MemoryDisk::new());
    disk.inject(DiskFault {
        nth: 1,
        kind: DiskFaultKind::ShortWrite,
        persistent: false,
        counted: |operation| operation == DiskOperation::Write,
    });
    assert!(disk.write_at(b"halfhalf", 0).is_err());
    assert_eq!(disk.inner().bytes(), b"half");
    assert_eq!(disk.disarm(), 1);
}

/// Counts are exact.
#[test]
fn every_operation_is_counted() {
    let disk = CountingDisk::new(MemoryDisk::new());
    disk.write_at(&[1; 10], 0).expect("write");
    disk.write_at(&[1; 5], 10).expect("write");
    disk.read_at(&mut [0; 100], 5).expect("read");
    disk.sync().expect("sync");
    disk.set_len(1).expect("set_len");
    disk.len().expect("len");
    let expected = Counts {
        lens: 1,
        reads: 1,
        bytes_read: 10,
        writes: 2,
        bytes_written: 15,
        set_lens: 1,
        syncs: 1,
    };
    assert_eq!(disk.counts(), expected);
}

/// After a power cut every sector of what was synced is there, every other one is old or new; each of
/// the possible fates is seen.
#[test]
fn a_power_cut_takes_only_what_was_not_synced() {
    let seed = printed_seed();
    let mut seen = [false; 3];
    for round in 0..300 {
        let mut random = Random::part(seed, round);
        let disk = CrashDisk::new();
        disk.write_at(&[1; 4096], 0).expect("write");
        disk.sync().expect("sync");
        disk.write_at(&[2; 2048], 1024).expect("write");
        disk.crash();
        assert!(disk.len().is_err());
        assert!(disk.write_at(&[3], 0).is_err());
        assert!(disk.sync().is_err());
        disk.power_cycle(Loss::random(&mut random), random.next());

        let mut bytes = [0; 5000];
        assert_eq!(disk.read_at(&mut bytes, 0).expect("read"), 4096);
        assert_eq!(bytes[..1024], [1; 1024]);
        assert_eq!(bytes[3072..4096], [1; 1024]);
        let sectors: Vec<&[u8]> = bytes[1024..3072].chunks(512).collect();
        for sector in &sectors {
            assert!(*sector == [1; 512] || *sector == [2; 512], "a sector tore");
        }
        let new = sectors.iter().filter(|sector| sector[0] == 2).count();
        seen[match new {
            0 => 0,
            4 => 2,
            _ => 1,
        }] = true;
    }
    assert_eq!(seen, [true; 3], "lost, torn and kept must all happen");
}

/// A later write may survive an earlier one, and a cut may be lost.
#[test]
fn a_power_cut_keeps_no_order() {
    let seed = printed_seed();
    let (mut overtaken, mut uncut) = (false, false);
    for round in 0..300 {
        let mut random = Random::part(seed, round);
        let disk = CrashDisk::with(vec![0; 1024]);
        disk.write_at(&[1; 512], 0).expect("write");
        disk.write_at(&[2; 512], 512).expect("write");
        disk.set_len(1000).expect("set_len");
        let snapshot = disk.snapshot();
        let disk = CrashDisk::after(&snapshot, Loss::random(&mut random), random.next());
        let mut bytes = [0; 1024];
        let len = disk.read_at(&mut bytes, 0).expect("read");
        overtaken |= bytes[0] == 0 && bytes[512] == 2;
        uncut |= len == 1024 && bytes[512] == 2;
    }
    assert!(overtaken, "no write overtook another one");
    assert!(uncut, "no change of length was lost");
}

/// The chosen operation is the last one: issued, but not durable, not even a sync.
#[test]
fn power_goes_at_the_chosen_operation() {
    let disk = CrashDisk::new();
    disk.crash_at(2);
    disk.write_at(b"lost", 0).expect("the first change");
    assert!(disk.sync().is_err(), "power goes during the sync");
    assert!(disk.crashed());
    assert!(disk.read_at(&mut [0], 0).is_err());
    disk.power_cycle(Loss::Everything, 0);
    assert!(disk.is_empty().expect("power is back"));
    assert_eq!(disk.changes(), 0);

    disk.write_at(b"kept", 0).expect("write");
    disk.sync().expect("sync");
    disk.power_cycle(Loss::Everything, 0);
    assert_eq!(disk.len().expect("len"), 4);
}

/// A disk that lies about syncs loses everything, so a test that uses it can fail.
#[test]
fn an_ignored_sync_keeps_nothing() {
    let disk = CrashDisk::ignoring_sync();
    disk.write_at(b"lost", 0).expect("write");
    disk.sync().expect("sync");
    disk.power_cycle(Loss::Everything, 0);
    assert!(disk.is_empty().expect("is_empty"));
}

fn run_suite(empty: &dyn Fn() -> Box<dyn Disk>) {
    disk_suite::run(empty, printed_seed());
}

fn printed_seed() -> u64 {
    let seed = seed();
    println!("COFFERDAM_SEED={seed}");
    seed
}

/// A new file that has no name any more, so that nobody needs to clean up.
fn file_disk() -> FileDisk {
    let path = path();
    let disk = FileDisk::create_new(&path).expect("create a file");
    fs::remove_file(&path).expect("remove its name");
    disk
}

fn path() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("disk-{}-{number}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(error) => error.kind(),
    }
}
