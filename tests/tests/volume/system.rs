//! A volume on a system that gives few descriptors, and on a disk that is slow to read; how much it writes at a time.

use std::io::{Error as IoError, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cofferdam_keys::Suite;
use cofferdam_sealed_file::{
    Directory, DirectoryLock, Disk, Error, FileDirectory, Homing, Part, Volume, VolumeSetup,
};

use crate::{Place, all};

/// A directory of which only so many parts can be open at a time.
struct Limited {
    inner: FileDirectory,
    count: Arc<Count>,
}

struct Count {
    open: AtomicUsize,
    most: AtomicUsize,
    limit: AtomicUsize,
    /// Bytes of the greatest write.
    largest: AtomicUsize,
    /// Milliseconds that a read of a file takes.
    read_takes: AtomicUsize,
    reading: AtomicUsize,
    most_reading: AtomicUsize,
}

struct Counted {
    inner: Box<dyn Disk>,
    count: Arc<Count>,
}

impl Limited {
    fn take(&self) -> Result<()> {
        let open = self.count.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.count.most.fetch_max(open, Ordering::SeqCst);
        if open > self.count.limit.load(Ordering::SeqCst) {
            self.count.open.fetch_sub(1, Ordering::SeqCst);
            const EMFILE: i32 = 24;
            return Err(IoError::from_raw_os_error(EMFILE));
        }
        Ok(())
    }

    fn counted(&self, inner: Box<dyn Disk>) -> Box<dyn Disk> {
        let count = self.count.clone();
        Box::new(Counted { inner, count })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.count.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Disk for Counted {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let count = &self.count;
        let reading = count.reading.fetch_add(1, Ordering::SeqCst) + 1;
        count.most_reading.fetch_max(reading, Ordering::SeqCst);
        let takes = count.read_takes.load(Ordering::SeqCst) as u64;
        std::thread::sleep(Duration::from_millis(takes));
        let read = self.inner.read_at(bytes, offset);
        count.reading.fetch_sub(1, Ordering::SeqCst);
        read
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.count.largest.fetch_max(bytes.len(), Ordering::SeqCst);
        self.inner.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }
}

impl Directory for Limited {
    fn open(&self, part: Part) -> Result<Option<Box<dyn Disk>>> {
        self.take()?;
        let opened = self.inner.open(part);
        match opened {
            Ok(Some(disk)) => Ok(Some(self.counted(disk))),
            none => {
                self.count.open.fetch_sub(1, Ordering::SeqCst);
                none
            }
        }
    }

    fn create(&self, part: Part) -> Result<Box<dyn Disk>> {
        self.take()?;
        let disk = self.inner.create(part)?;
        Ok(self.counted(disk))
    }

    fn remove(&self, part: Part) -> Result<()> {
        self.inner.remove(part)
    }

    fn files(&self) -> Result<Vec<u64>> {
        self.inner.files()
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn lock(&self, holder: &str) -> Result<DirectoryLock> {
        self.inner.lock(holder)
    }
}

fn limited(place: &Place, limit: usize) -> (Arc<Count>, VolumeSetup) {
    let count = Arc::new(Count {
        open: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        limit: AtomicUsize::new(limit),
        largest: AtomicUsize::new(0),
        read_takes: AtomicUsize::new(0),
        reading: AtomicUsize::new(0),
        most_reading: AtomicUsize::new(0),
    });
    let directory = Limited {
        inner: FileDirectory::open(place.dir.path()).unwrap(),
        count: count.clone(),
    };
    let setup = VolumeSetup {
        directory: Arc::new(directory),
        journal_len: 64 << 20,
        homing: Homing::WhenFull,
        ..place.setup()
    };
    (count, setup)
}

/// Goal: neither a homing of many files nor reading one after another takes a descriptor for each.
#[test]
fn a_thousand_files_need_fewer_descriptors() {
    const FILES: u32 = 1000;
    let place = Place::new(Suite::One, 4096);
    let (count, setup) = limited(&place, 400);
    let volume = Volume::open(&setup).unwrap();
    let files: Vec<_> = (0..FILES)
        .map(|number| {
            let file = volume.create_file(number.to_string().as_bytes()).unwrap();
            file.write_at(&number.to_le_bytes(), 0).unwrap();
            file
        })
        .collect();
    volume.sync().unwrap();
    volume.bring_home().unwrap();
    for (number, file) in files.iter().enumerate() {
        assert_eq!(all(file), (number as u32).to_le_bytes());
    }
    drop(files);
    for name in volume.file_names().unwrap() {
        all(&volume.open_file(&name).unwrap());
    }
    let most = count.most.load(Ordering::SeqCst);
    assert!((100..200).contains(&most), "{most} descriptors");
    assert!(!volume.statistics().latched);
}

/// Goal: a homing that cannot open a file leaves everything as it was, and succeeds when it can.
#[test]
fn a_home_that_cannot_be_opened_latches_nothing() {
    let place = Place::new(Suite::One, 4096);
    let (count, setup) = limited(&place, 1000);
    let volume = Volume::open(&setup).unwrap();
    let file = volume.create_file(b"a").unwrap();
    file.write_at(b"first", 0).unwrap();
    volume.sync().unwrap();
    count.limit.store(0, Ordering::SeqCst);
    for _ in 0..2 {
        assert!(matches!(volume.bring_home(), Err(Error::Io { .. })));
        assert!(!volume.statistics().latched);
    }
    file.write_at(b"second", 0).unwrap();
    volume.sync().unwrap();
    count.limit.store(1000, Ordering::SeqCst);
    volume.bring_home().unwrap();
    volume.bring_home().unwrap();
    assert_eq!(volume.statistics().files_not_home, 0);
    assert_eq!(all(&file), b"second");
    drop((file, volume));
    let volume = Volume::open(&setup).unwrap();
    assert_eq!(volume.recovered().groups, 0);
    assert_eq!(all(&volume.open_file(b"a").unwrap()), b"second");
}

/// Goal: pages that were never written and must become zeros are not all in memory at a time.
#[test]
fn scattered_writes_are_committed_in_small_groups() {
    const APART: u64 = 48 << 20;
    let place = Place::new(Suite::One, 65536);
    let (count, mut setup) = limited(&place, 1000);
    setup.journal_len = 4 << 20;
    let volume = Volume::open(&setup).unwrap();
    let file = volume.create_file(b"sparse").unwrap();
    let other = volume.create_file(b"split").unwrap();
    // More holes than a record has room for: behind the end, and inside of one hole.
    for number in 1..=18 {
        file.write_at(&[number as u8], number * APART).unwrap();
    }
    other.set_len(20 * APART).unwrap();
    for number in 1..=18 {
        other.write_at(&[number as u8], number * APART).unwrap();
    }
    // A longer file has one hole more.
    file.write_at(&[99], 18 * APART + 65536).unwrap();
    file.set_len(19 * APART).unwrap();
    let largest = count.largest.load(Ordering::SeqCst);
    assert!(largest < 5 << 20, "a group of {largest} bytes");
    drop((file, other));
    volume.close().unwrap();
    let volume = Volume::open(&setup).unwrap();
    for name in [&b"sparse"[..], b"split"] {
        let file = volume.open_file(name).unwrap();
        for number in 1..=18 {
            let mut bytes = [1; 3];
            file.read_at(&mut bytes, number * APART - 1).unwrap();
            assert_eq!(bytes, [0, number as u8, 0]);
        }
    }
    assert_eq!(
        volume.open_file(b"sparse").unwrap().len().unwrap(),
        19 * APART
    );
}

/// Goal: who reads from a slow disk stops neither those who read the same file nor those who sync another.
#[test]
fn a_slow_read_stops_nobody() {
    let place = Place::new(Suite::One, 4096);
    let (count, mut setup) = limited(&place, 1000);
    setup.homing = Homing::InBackground;
    let volume = Volume::open(&setup).unwrap();
    let (slow, quick) = (
        volume.create_file(b"slow").unwrap(),
        volume.create_file(b"quick").unwrap(),
    );
    slow.write_at(&[5; 40_000], 0).unwrap();
    volume.sync().unwrap();
    volume.bring_home().unwrap();
    // Something of it is to be committed, which a commit has to look at.
    slow.write_at(&[6; 10], 30_000).unwrap();
    count.read_takes.store(700, Ordering::SeqCst);
    count.most_reading.store(0, Ordering::SeqCst);
    std::thread::scope(|scope| {
        for page in 0..3 {
            let slow = &slow;
            scope.spawn(move || {
                let mut bytes = [0; 4096];
                slow.read_at(&mut bytes, page * 4096).unwrap();
                assert!(bytes == [5; 4096]);
            });
        }
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        quick.write_at(b"synced", 0).unwrap();
        quick.sync().unwrap();
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(500), "a sync took {took:?}");
    });
    let most = count.most_reading.load(Ordering::SeqCst);
    assert!(most > 1, "the file was read by one at a time");
}
