//! The case that breaks encryption below a database: a log whose last page is written again and again, with more records in it, and torn.

use std::path::Path;
use std::sync::Arc;

use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{
    Directory, Disk, Error, FileKind, FileSetup, Part, SealedFile, Volume,
};
use cofferdam_tests::crash_directory::{CrashDirectory, DirectorySnapshot, Mark};
use cofferdam_tests::power_cut::Loss;
use cofferdam_tests::random::{Random, seed};

use crate::world::{World, clock};

/// Goal (V1): records that were synced are there, whatever becomes of the write that puts others behind them in the same page. The same cuts
/// lose records when the sealed file lies on the disk itself.
#[test]
fn records_before_a_torn_page_are_there() {
    let random = &mut Random::new(seed());
    let log = Log::new(random);
    let world = World::new(Suite::Two);
    let on_volume = log.lost(random, record_on_volume(&world, &log), |directory| {
        let volume = Volume::open(&world.setup(Arc::new(directory)))?;
        let file = volume.open_file(NAME)?;
        read(file.len()?, |bytes| file.read_at(bytes, 0))
    });
    assert_eq!(on_volume.wrong, 0, "of {}", on_volume.cuts);
    assert!(on_volume.cuts > 1000);

    let on_disk = log.lost(random, record_on_disk(&world, &log), |directory| {
        let mut file = sealed_on_disk(&world, &directory)?;
        read(file.len()?, |bytes| file.read_at(bytes, 0))
    });
    assert!(on_disk.wrong > 0, "no cut of {} was torn", on_disk.cuts);
}

/// What becomes of the log in the end, and where its records end.
struct Log {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

struct Cuts {
    cuts: u32,
    wrong: u32,
}

impl Log {
    fn new(random: &mut Random) -> Log {
        let mut log = Log {
            bytes: Vec::new(),
            ends: Vec::new(),
        };
        for _ in 0..RECORDS {
            let len = 100 + random.index(900);
            log.bytes.extend(random.bytes(len));
            log.ends.push(log.bytes.len());
        }
        log
    }

    /// What is written for a record: the last page from its beginning, with zeros behind the record.
    fn write(&self, record: usize) -> (u64, Vec<u8>) {
        let begin = record.checked_sub(1).map_or(0, |it| self.ends[it]);
        let (from, end) = (begin / PAGE * PAGE, self.ends[record]);
        let mut bytes = self.bytes[from..end].to_vec();
        bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
        (from as u64, bytes)
    }

    /// Writes and syncs all records, and answers the directory at every moment.
    fn perform(
        &self,
        directory: &CrashDirectory,
        mut write_and_sync: impl FnMut(u64, &[u8]),
    ) -> Vec<DirectorySnapshot> {
        directory.record();
        for record in 0..RECORDS {
            let (offset, bytes) = self.write(record);
            write_and_sync(offset, &bytes);
            directory.mark(Mark {
                begun: record + 1,
                synced: record + 1,
            });
        }
        directory.recorded()
    }

    /// Cuts the power at every moment, several times, and counts how often a record is missing that was synced.
    fn lost(
        &self,
        random: &mut Random,
        moments: Vec<DirectorySnapshot>,
        read: impl Fn(CrashDirectory) -> Result<Vec<u8>, Error>,
    ) -> Cuts {
        let mut counted = Cuts { cuts: 0, wrong: 0 };
        for moment in &moments {
            let synced = moment.mark.synced.checked_sub(1);
            let synced = &self.bytes[..synced.map_or(0, |record| self.ends[record])];
            for _ in 0..20 {
                let after = CrashDirectory::after(moment, Loss::random(random), random.next());
                let there = read(after).is_ok_and(|found| found.starts_with(synced));
                counted.cuts += 1;
                counted.wrong += u32::from(!there);
            }
        }
        counted
    }
}

fn record_on_volume(world: &World, log: &Log) -> Vec<DirectorySnapshot> {
    let directory = CrashDirectory::new();
    let setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, page_size()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    let file = volume.create_file(NAME).unwrap();
    file.sync().unwrap();
    log.perform(&directory, |offset, bytes| {
        file.write_at(bytes, offset).unwrap();
        file.sync().unwrap();
    })
}

fn record_on_disk(world: &World, log: &Log) -> Vec<DirectorySnapshot> {
    let directory = CrashDirectory::new();
    // The keys are made once: every opening needs the same.
    let keyring: Arc<dyn Disk> = directory.create(Part::Keyring).unwrap().into();
    world
        .opener
        .create_store(&keyring, Path::new("keyring"), None)
        .unwrap();
    keyring.sync().unwrap();
    let mut file = sealed_on_disk(world, &directory).unwrap();
    file.sync().unwrap();
    log.perform(&directory, |offset, bytes| {
        file.write_at(bytes, offset).unwrap();
        file.sync().unwrap();
    })
}

fn sealed_on_disk(
    world: &World,
    directory: &CrashDirectory,
) -> Result<SealedFile<Arc<dyn Disk>>, Error> {
    let keyring: Arc<dyn Disk> = directory.create(Part::Keyring).unwrap().into();
    let store = world.opener.open_store(&keyring, Path::new("keyring"))?;
    let disk: Arc<dyn Disk> = directory.create(Part::File(1)).unwrap().into();
    directory.sync().unwrap();
    let setup = FileSetup {
        keys: store.expect("it has a keyring").keys,
        kind: FileKind::Volume,
        page_size: Some(page_size()),
        slot_count: SlotCount::Two,
        clock,
    };
    SealedFile::open(disk, setup)
}

fn read(
    len: u64,
    read_all: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; len as usize];
    let read = read_all(&mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn page_size() -> PageSize {
    PageSize::try_from(PAGE).unwrap()
}

const NAME: &[u8] = b"pg_wal/000000010000000000000001";
/// PostgreSQL's block.
const PAGE: usize = 8192;
const RECORDS: usize = 60;
