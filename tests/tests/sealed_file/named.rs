//! Single stories, each of which once ended badly or could.

use std::io::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cofferdam_keys::{DataKeys, Suite};
use cofferdam_sealed_file::{Disk, FileKind, SealedFile};
use cofferdam_tests::crash_disk::CrashDisk;
use cofferdam_tests::memory_disk::MemoryDisk;
use cofferdam_tests::power_cut::{Change, Loss, apply};
use cofferdam_tests::random::{Random, seed};

use crate::{PAGE, open};

/// A process appends a little, the power goes, and of its changes only some frames are left: not the record with their
/// generation. The next process writes whole pages there, in one run; its pages count.
#[test]
fn frames_of_a_lost_time_never_outrank_new_ones() {
    for kind in LOGS {
        let (disk, keys) = (CrashDisk::new(), keys());
        let mut file = open(disk.clone(), &keys, kind).expect("opens");
        put(&mut file, 0, &[1; PAGE]);
        file.sync().expect("synced");
        let mut lost = open(disk.clone(), &keys, kind).expect("opens");
        for piece in 0..20 {
            put(&mut lost, PAGE + piece * 100, &[2; 100]);
        }
        for pages in 1..6 {
            put(&mut lost, 0, &vec![2; pages * PAGE + 100]);
        }
        let snapshot = disk.snapshot();
        for_each_seed(|random| {
            let disk = CrashDisk::after(&snapshot, Loss::Any, random.next());
            let mut next = open(disk.clone(), &keys, kind).expect("opens");
            put(&mut next, PAGE, &[3; 6 * PAGE]);
            next.sync().expect("synced");
            let mut reader = open(disk, &keys, kind).expect("opens");
            assert_eq!(read(&mut reader, PAGE, 6 * PAGE), [3; 6 * PAGE], "{kind}");
        });
    }
}

/// The same when the lost time was so long that its generations reached those which the next process would claim.
#[test]
fn a_long_lost_time_outranks_nothing_either() {
    let kind = FileKind::WriteAheadLog;
    let (disk, keys) = (CrashDisk::new(), keys());
    let mut lost = open(disk.clone(), &keys, kind).expect("opens");
    put(&mut lost, 0, &[1; PAGE]);
    lost.sync().expect("synced");
    // Each new beginning has a generation of its own.
    for _ in 0..(1 << 16) + 10 {
        put(&mut lost, 0, &[2; 10]);
    }
    put(&mut lost, 0, &[2; 3 * PAGE + 100]);
    let snapshot = disk.snapshot();
    let seed = seed();
    println!("seed {seed}");
    for part in 0..20 {
        let random = &mut Random::part(seed, part);
        let disk = CrashDisk::after(&snapshot, Loss::Any, random.next());
        let mut next = open(disk.clone(), &keys, kind).expect("opens");
        put(&mut next, PAGE, &[3; 6 * PAGE]);
        let mut reader = open(disk, &keys, kind).expect("opens");
        assert_eq!(read(&mut reader, PAGE, 6 * PAGE), [3; 6 * PAGE]);
    }
}

/// A log that was synced begins anew, and the power goes before the new beginning is synced. Whatever is left of
/// both: no page is reported as altered.
#[test]
fn a_log_that_begins_anew_may_be_torn() {
    for kind in LOGS {
        let (disk, keys) = (CrashDisk::new(), keys());
        let mut file = open(disk.clone(), &keys, kind).expect("opens");
        put(&mut file, 0, &[1; 6 * PAGE]);
        file.sync().expect("synced");
        // The record learns of the sync, and is synced itself.
        file.flush().expect("flushed");
        file.sync().expect("synced");
        put(&mut file, 0, &[2; 4 * PAGE]);
        let snapshot = disk.snapshot();
        for_each_seed(|random| {
            let loss = Loss::random(random);
            let disk = CrashDisk::after(&snapshot, loss, random.next());
            let mut reader = open(disk, &keys, kind).expect("opens");
            let bytes = read(&mut reader, 0, 6 * PAGE);
            assert_eq!(bytes[4 * PAGE..], [1; 2 * PAGE], "{kind}, {loss:?}");
        });
    }
}

/// Two handles append to one page by turns, and the record has nothing new to say in between. Each notices that the other
/// one wrote, and does not replace the only durable copy.
#[test]
fn a_handle_notices_what_changed_no_number() {
    for kind in LOGS {
        let (disk, keys) = (CrashDisk::new(), keys());
        let mut a = open(disk.clone(), &keys, kind).expect("opens");
        let mut b = open(disk.clone(), &keys, kind).expect("opens");
        let mut end = 0;
        let append = |file: &mut SealedFile<CrashDisk>, end: &mut usize, len: usize| {
            file.forget();
            put(file, *end, &vec![1; len]);
            *end += len;
        };
        append(&mut a, &mut end, PAGE + 20);
        append(&mut b, &mut end, 20);
        for round in 0..8 {
            append(&mut a, &mut end, 5);
            append(&mut b, &mut end, 5);
            if round % 2 == 0 {
                append(&mut b, &mut end, 5);
            }
            b.sync().expect("synced");
            let synced = end;
            append(&mut a, &mut end, 5);
            append(&mut b, &mut end, 5);
            let snapshot = disk.snapshot();
            for_each_seed(|random| {
                let loss = Loss::random(random);
                let disk = CrashDisk::after(&snapshot, loss, random.next());
                let mut reader = open(disk, &keys, kind).expect("opens");
                assert_eq!(
                    read(&mut reader, 0, synced),
                    vec![1; synced],
                    "{kind}, {loss:?}"
                );
            });
        }
    }
}

/// A companion that one handle cut to nothing gets another name, also when it is another handle that writes it again.
#[test]
fn a_companion_that_was_removed_is_another_file() {
    for kind in [
        FileKind::WriteAheadLog,
        FileKind::RollbackJournal,
        FileKind::SuperJournal,
    ] {
        let (disk, keys) = (CrashDisk::new(), keys());
        let mut a = open(disk.clone(), &keys, kind).expect("opens");
        put(&mut a, 0, &[1; 3 * PAGE]);
        let name = a.file_id();
        let mut b = open(disk.clone(), &keys, kind).expect("opens");
        assert_eq!(b.file_id(), name);
        b.set_len(0).expect("cut");
        a.forget();
        put(&mut a, 0, &[2; 100]);
        assert_ne!(a.file_id(), name, "{kind}");
        b.forget();
        assert_eq!(read(&mut b, 0, 100), [2; 100]);
        assert_eq!(b.file_id(), a.file_id());
    }
}

/// A write waits behind the end of a file that another handle has cut since: the bytes between are zero.
#[test]
fn what_lies_before_a_waiting_write_can_be_read() {
    for kind in [FileKind::Main, FileKind::Temporary, FileKind::WriteAheadLog] {
        let (disk, keys) = (CrashDisk::new(), keys());
        let mut a = open(disk.clone(), &keys, kind).expect("opens");
        put(&mut a, 0, &[1; 60 * PAGE]);
        let mut b = open(disk.clone(), &keys, kind).expect("opens");
        b.set_len(PAGE as u64).expect("cut");
        a.forget();
        a.write_at(&[2; 10], 6500).expect("taken");
        let mut expected = vec![0; 6510];
        expected[..PAGE].fill(1);
        expected[6500..].fill(2);
        assert_eq!(read(&mut a, 0, 6000), expected[..6000], "{kind}");
        assert_eq!(read(&mut a, 0, 6510), expected, "{kind}");
    }
}

/// A reader looks at the record while another process is writing it, and waits until it is whole: the other copy is
/// older than what has been published.
#[test]
fn a_record_that_is_being_written_is_waited_for() {
    for kind in [FileKind::Main, FileKind::WriteAheadLog] {
        let keys = keys();
        let disk = HalfWritten::default();
        let mut writer = open(&disk, &keys, kind).expect("opens");
        put(&mut writer, 0, &[1; 100 * PAGE]);
        writer.sync().expect("synced");
        // From here on one copy is durable, and the other is replaced again and again.
        let mut reader = open(&disk, &keys, kind).expect("opens");
        for more in 1..4 {
            put(&mut writer, more * 100 * PAGE, &[1; 100 * PAGE]);
            let published = writer.len().expect("a length");
            reader.forget();
            disk.torn_reads.store(2, Ordering::Relaxed);
            assert_eq!(reader.len().expect("a length"), published, "{kind}");
        }
    }
}

/// A sync fails, and the system forgets what it should have written. The owner writes its pages again, and syncs: then
/// the record is durable too, which the owner knows nothing of.
#[test]
fn a_record_outlives_a_failed_sync() {
    for kind in [FileKind::Main, FileKind::RollbackJournal] {
        let (disk, keys) = (Forgetful::default(), keys());
        let mut file = open(&disk, &keys, kind).expect("opens");
        put(&mut file, 0, &[1; PAGE]);
        file.sync().expect("synced");
        put(&mut file, 0, &[2; 9 * PAGE]);
        disk.failures.store(1, Ordering::Relaxed);
        file.sync().expect_err("the sync fails");
        put(&mut file, 0, &[2; 9 * PAGE]);
        file.sync().expect("synced");
        let durable = disk.durable.lock().expect("no panics").clone();
        let mut left = open(MemoryDisk::with(durable), &keys, kind).expect("opens");
        assert_eq!(read(&mut left, 0, 9 * PAGE), [2; 9 * PAGE], "{kind}");
    }
}

/// A disk of a system that reports a failed sync once, and takes for written what was not.
#[derive(Default)]
struct Forgetful {
    disk: MemoryDisk,
    durable: Mutex<Vec<u8>>,
    pending: Mutex<Vec<Change>>,
    failures: AtomicU64,
}

impl Forgetful {
    fn change(&self, change: Change) {
        self.pending.lock().expect("no panics").push(change);
    }
}

impl Disk for &Forgetful {
    fn len(&self) -> Result<u64> {
        self.disk.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.disk.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.change(Change::Write {
            offset,
            bytes: bytes.into(),
        });
        self.disk.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.change(Change::SetLen(len));
        self.disk.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        let pending = std::mem::take(&mut *self.pending.lock().expect("no panics"));
        if self.failures.swap(0, Ordering::Relaxed) > 0 {
            return Err(std::io::Error::other("an injected EIO"));
        }
        let mut durable = self.durable.lock().expect("no panics");
        pending
            .iter()
            .for_each(|change| apply(&mut durable, change));
        Ok(())
    }
}

/// A disk whose reads of a record see, for a while, that a write is under way.
#[derive(Default)]
struct HalfWritten {
    disk: MemoryDisk,
    torn_reads: AtomicU64,
}

impl Disk for &HalfWritten {
    fn len(&self) -> Result<u64> {
        self.disk.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let read = self.disk.read_at(bytes, offset)?;
        let torn = self
            .torn_reads
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if torn.is_ok() {
            // The copy with the higher sequence.
            let sequence =
                |at: usize| u64::from_le_bytes(bytes[at + 48..][..8].try_into().expect("8 bytes"));
            let newest = if sequence(0) > sequence(4096) {
                0
            } else {
                4096
            };
            bytes[newest + 100..newest + 300].fill(0x5a);
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.disk.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.disk.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

fn put<D: Disk>(file: &mut SealedFile<D>, offset: usize, bytes: &[u8]) {
    file.write_at(bytes, offset as u64).expect("written");
    file.flush().expect("flushed");
}

fn read<D: Disk>(file: &mut SealedFile<D>, offset: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xa5; len];
    let read = file.read_at(&mut bytes, offset as u64).expect("readable");
    bytes.truncate(read);
    bytes
}

fn for_each_seed(story: impl Fn(&mut Random)) {
    let seed = seed();
    for part in 0..200 {
        let random = &mut Random::part(seed, part);
        println!("seed {seed}, part {part}");
        story(random);
    }
}

fn keys() -> Arc<DataKeys> {
    Arc::new(DataKeys::ephemeral(Suite::One).expect("random bytes"))
}

const LOGS: [FileKind; 2] = [FileKind::WriteAheadLog, FileKind::RollbackJournal];
