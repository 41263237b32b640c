//! Disks that fail.

use std::io::Result;
use std::sync::Arc;

use cofferdam_keys::{DataKeys, Suite};
use cofferdam_sealed_file::{Disk, Error, FileKind, SealedFile};
use cofferdam_tests::fault_disk::{DiskFault, DiskFaultKind, DiskOperation, FaultDisk};
use cofferdam_tests::memory_disk::MemoryDisk;

use crate::{PAGE, open};

type TestDisk = Shared<FaultDisk<MemoryDisk>>;

/// Goal: the nth operation fails, for every n and every way to fail. The error is told, nothing panics, and after
/// reopening everything that was flushed before the failing call and not written by it is there.
#[test]
fn every_operation_may_fail() {
    let kinds = [
        DiskFaultKind::Io,
        DiskFaultKind::NoSpace,
        DiskFaultKind::ShortWrite,
    ];
    for file_kind in KINDS {
        for kind in kinds {
            for persistent in [false, true] {
                for nth in 1.. {
                    let fault = DiskFault {
                        nth,
                        kind,
                        persistent,
                        counted: |_| true,
                    };
                    if !fails_once(file_kind, fault) {
                        assert!(nth > 10, "the scenario has too few operations");
                        break;
                    }
                }
            }
        }
    }
}

/// Goal: a handle whose record could not be written goes on from what others wrote since, and does not put its own over it.
#[test]
fn what_could_not_be_written_is_not_written_later() {
    for file_kind in KINDS {
        for nth in 1..4 {
            let disk = disk();
            let keys = keys();
            let mut a = open(disk.clone(), &keys, file_kind).expect("a file opens");
            let mut b = open(disk.clone(), &keys, file_kind).expect("a file opens");
            write(&mut a, 0, 4, 1).expect("written");
            a.flush().expect("flushed");
            disk.0.inject(DiskFault {
                nth,
                kind: DiskFaultKind::Io,
                persistent: true,
                counted: |operation| operation == DiskOperation::Write,
            });
            let failed = write(&mut a, 9, 2, 2).and_then(|()| a.flush()).is_err();
            disk.0.disarm();
            if !failed {
                continue;
            }
            // It gives up, and the lock goes to another one, who writes more.
            a.abandon();
            let mut d = open(disk.clone(), &keys, file_kind).expect("a file opens");
            assert_eq!(a.len().expect("a length"), d.len().expect("a length"));
            b.forget();
            write(&mut b, 0, 12, 3).expect("written");
            b.sync().expect("synced");
            b.flush().expect("flushed");
            a.forget();
            expect(&mut a, 0, 12, 3);
            a.flush().expect("nothing to flush");
            let mut c = open(disk, &keys, file_kind).expect("a file opens");
            expect(&mut c, 0, 12, 3);
        }
    }
}

/// Goal: after a failed sync of a log, no later one is trusted, whoever asked for it: nobody writes again what it concerned.
#[test]
fn a_failed_sync_of_a_log_is_the_last() {
    let file_kind = FileKind::WriteAheadLog;
    let disk = disk();
    let keys = keys();
    let mut a = open(disk.clone(), &keys, file_kind).expect("a file opens");
    write(&mut a, 0, 4, 1).expect("written");
    a.sync().expect("synced");
    // A second handle syncs before it replaces a record that may not be durable.
    let mut b = open(disk.clone(), &keys, file_kind).expect("a file opens");
    disk.0.inject(DiskFault {
        nth: 1,
        kind: DiskFaultKind::Io,
        persistent: false,
        counted: |operation| operation == DiskOperation::Sync,
    });
    let failed = write(&mut b, 4, 4, 2).and_then(|()| b.flush());
    assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
    assert_eq!(disk.0.disarm(), 1);
    assert!(matches!(b.sync(), Err(Error::Latched)));
    assert!(matches!(write(&mut b, 4, 4, 2), Err(Error::Latched)));
    b.abandon();
    // It still reads.
    expect(&mut b, 0, 4, 1);
}

/// Whether the fault struck.
fn fails_once(file_kind: FileKind, fault: DiskFault) -> bool {
    let disk = disk();
    let keys = keys();
    let mut file = open(disk.clone(), &keys, file_kind).expect("a file opens");
    write(&mut file, 0, 6, 1).expect("written");
    file.sync().expect("synced");
    file.flush().expect("flushed");
    disk.0.inject(fault);
    let result = scenario(&disk, &keys, file_kind, &mut file);
    let struck = disk.0.disarm();
    if struck == 0 {
        result.expect("without a fault the scenario succeeds");
        return false;
    }
    // Reads that fail may have been repeated with success; everything else is told.
    let told = result.is_err();
    drop(file);
    let mut again = open(disk, &keys, file_kind).expect("the file opens after a fault");
    expect(&mut again, 0, 2, 1);
    if !told {
        expect(&mut again, 2, 2, 2);
    }
    true
}

fn scenario(
    disk: &TestDisk,
    keys: &Arc<DataKeys>,
    kind: FileKind,
    file: &mut SealedFile<TestDisk>,
) -> std::result::Result<(), Error> {
    write(file, 2, 2, 2)?;
    file.flush()?;
    let mut other = open(disk.clone(), keys, kind)?;
    let mut bytes = [0; 3 * PAGE];
    other.read_at(&mut bytes, PAGE as u64 / 2)?;
    // Behind a hole, and beyond the end in pieces.
    write(&mut other, 8, 1, 3)?;
    other.write_at(&[4; 100], 9 * PAGE as u64 + 7)?;
    other.sync()?;
    other.set_len(7 * PAGE as u64 + 100)?;
    other.flush()?;
    file.forget();
    file.len()?;
    file.read_at(&mut bytes, 0)?;
    write(file, 7, 1, 5)?;
    file.sync()?;
    file.flush()
}

fn write<D: Disk>(
    file: &mut SealedFile<D>,
    page: usize,
    count: usize,
    content: u8,
) -> std::result::Result<(), Error> {
    file.write_at(&vec![content; count * PAGE], (page * PAGE) as u64)
}

fn expect<D: Disk>(file: &mut SealedFile<D>, page: usize, count: usize, content: u8) {
    let mut bytes = vec![0xa5; count * PAGE];
    let read = file
        .read_at(&mut bytes, (page * PAGE) as u64)
        .expect("the pages open");
    assert_eq!(read, bytes.len());
    assert!(bytes.iter().all(|byte| *byte == content), "wrong bytes");
}

/// Several handles on one disk.
struct Shared<D>(Arc<D>);

impl<D> Clone for Shared<D> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<D: Disk> Disk for Shared<D> {
    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()
    }
}

fn disk() -> TestDisk {
    Shared(Arc::new(FaultDisk::new(MemoryDisk::new())))
}

fn keys() -> Arc<DataKeys> {
    Arc::new(DataKeys::ephemeral(Suite::Two).expect("random bytes"))
}

const KINDS: [FileKind; 4] = [
    FileKind::Main,
    FileKind::WriteAheadLog,
    FileKind::RollbackJournal,
    FileKind::SuperJournal,
];
