//! Volumes under more than is usual: 64 threads that sync, 100,000 files with few descriptors, files of many gigabytes, odd names.
//!
//! `COFFERDAM_SEED` replays a run as far as threads let it, `COFFERDAM_STORM_FILES` and
//! `COFFERDAM_STORM_DESCRIPTORS` set how many files there are, and how many descriptors for them.

#[path = "volume/world.rs"]
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Error, FileDirectory, Homing, Volume, VolumeFile, VolumeSetup};
use cofferdam_tests::random::{Random, number, seed};
use rustix::process::{Resource, Rlimit, setrlimit};
use world::World;

fn main() -> ExitCode {
    // Test runners ask every binary for its tests; this one is run as a whole, by its suite.
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let descriptors = number("COFFERDAM_STORM_DESCRIPTORS").unwrap_or(DESCRIPTORS);
    let limit = Rlimit {
        current: Some(descriptors),
        maximum: Some(descriptors),
    };
    setrlimit(Resource::Nofile, limit).expect("a limit may be lowered");
    let seed = seed();
    let files = number("COFFERDAM_STORM_FILES").unwrap_or(FILES);
    println!("COFFERDAM_SEED={seed} COFFERDAM_STORM_FILES={files}");
    let begun = Instant::now();
    let syncs = threads_that_sync(seed);
    let names = odd_names();
    let far = files_beyond_four_gigabytes();
    many_files(files);
    println!(
        "volume-storm: {syncs} syncs of {THREADS} threads, {files} files with {descriptors} descriptors, {names} odd names, \
         {far} files beyond 4 GiB, {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    ExitCode::SUCCESS
}

/// Goal: what each of many threads wrote and synced is there, in files of their own and in one that they share, and again when the
/// volume is opened after a crash.
fn threads_that_sync(seed: u64) -> u64 {
    let place = Place::new(Suite::Two, 8192);
    let volume = place.open();
    let shared = volume.create_file(b"shared").unwrap();
    let models: Vec<Vec<u8>> = thread::scope(|scope| {
        let work = |thread: u64| {
            let (volume, shared) = (&volume, &shared);
            scope.spawn(move || storm(volume, shared, thread, seed))
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let statistics = volume.statistics();
    println!("{statistics:?}");
    assert_eq!(statistics.syncs, THREADS * ROUNDS);
    assert!(
        statistics.commits < statistics.syncs,
        "nobody shared a commit"
    );
    assert!(statistics.homings > 0, "the journal never went home");
    let check = |volume: &Volume| {
        let shared = all(&volume.open_file(b"shared").unwrap());
        for (thread, model) in models.iter().enumerate() {
            assert!(&all(&volume.open_file(&own_name(thread as u64)).unwrap()) == model);
            let own = &shared[thread * SLOT_LEN..][..SLOT_LEN];
            assert_eq!(own, slot(thread as u64, ROUNDS - 1));
        }
    };
    check(&volume);
    drop((shared, volume));
    let volume = place.open();
    check(&volume);
    statistics.syncs
}

/// One thread's writes: to the end and the middle of its own file, and to its place in the shared one; a sync after each round.
fn storm(volume: &Volume, shared: &VolumeFile, thread: u64, seed: u64) -> Vec<u8> {
    let random = &mut Random::part(seed, thread);
    let file = volume.create_file(&own_name(thread)).unwrap();
    let mut model = Vec::new();
    for round in 0..ROUNDS {
        let len = 1 + random.index(3000);
        let offset = random.index(model.len() + 1);
        let bytes = random.bytes(len);
        file.write_at(&bytes, offset as u64).unwrap();
        if model.len() < offset + len {
            model.resize(offset + len, 0);
        }
        model[offset..offset + len].copy_from_slice(&bytes);
        let place = thread * SLOT_LEN as u64;
        shared.write_at(&slot(thread, round), place).unwrap();
        // Everything before it is durable with it, whichever file it is called on.
        match round % 2 {
            0 => file.sync().unwrap(),
            _ => volume.sync().unwrap(),
        }
    }
    assert!(all(&file) == model);
    model
}

/// Goal: a volume of many files needs few descriptors, and what happens to its names is as durable as its bytes.
fn many_files(count: u64) {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let name = |number: u64| format!("base/{}/{number}", number % 1000).into_bytes();
    let renamed = |number: u64| format!("elsewhere/{number}").into_bytes();
    let content = |number: u64| [number.to_le_bytes(); 5].concat();
    for number in 0..count {
        let file = volume.create_file(&name(number)).unwrap();
        file.write_at(&content(number), 0).unwrap();
        if number % 1000 == 999 {
            volume.sync().unwrap();
        }
    }
    volume.sync().unwrap();
    let mut expected: Vec<Vec<u8>> = (0..count).map(name).collect();
    expected.sort();
    assert!(volume.file_names().unwrap() == expected);
    drop(volume);

    let volume = place.open();
    assert!(volume.file_names().unwrap() == expected);
    for number in 0..count {
        match number % 10 {
            3 => volume.remove_file(&name(number)).unwrap(),
            7 => volume.rename_file(&name(number), &renamed(number)).unwrap(),
            _ => {}
        }
    }
    volume.sync().unwrap();
    drop(volume);

    let volume = place.open();
    let mut left = 0;
    for number in 0..count {
        let opened = match number % 10 {
            7 => volume.open_file(&renamed(number)),
            _ => volume.open_file(&name(number)),
        };
        if number % 10 == 3 {
            assert!(matches!(opened, Err(Error::NoSuchFile)));
            continue;
        }
        assert_eq!(all(&opened.unwrap()), content(number));
        left += 1;
    }
    assert_eq!(volume.file_names().unwrap().len(), left);
    volume.bring_home().unwrap();
    let homes = std::fs::read_dir(place.path.join("files")).unwrap().count();
    assert_eq!(homes, left);
}

/// Goal: a name is bytes. Nothing in it is a path, and no part of it means anything.
fn odd_names() -> usize {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let mut names: Vec<Vec<u8>> = (1..=255).map(|byte| vec![byte]).collect();
    names.push(vec![b'd'; 4096]);
    names.push([&b"deep"[..]; 800].join(&b'/'));
    names.push(vec![b'/'; 4096]);
    for name in [
        &b".."[..],
        b"../../etc/passwd",
        b"/absolute",
        b"a//b",
        b"a/b",
        b"a/b/",
        b"./a/b",
        b"keyring",
        b"journal-0",
        b"files/0000000000000001",
        b"\xff\xfe\xc3\x28",
        b"new\nline\r\ttab",
        "e\u{301}".as_bytes(),
        "\u{e9}".as_bytes(),
    ] {
        names.push(name.to_vec());
    }
    for name in &names {
        volume.create_file(name).unwrap().write_at(name, 0).unwrap();
    }
    drop(volume.sync());
    drop(volume);
    let volume = place.open();
    for name in &names {
        assert_eq!(&all(&volume.open_file(name).unwrap()), name);
    }
    names.sort();
    assert_eq!(volume.file_names().unwrap(), names);
    let beside = std::fs::read_dir(place.dir.path()).unwrap().count();
    assert_eq!(beside, 1, "something was made outside of the volume");
    names.len()
}

/// Goal: offsets have more than 32 bits everywhere, and what was never written takes no room.
fn files_beyond_four_gigabytes() -> usize {
    let places = [(1u64 << 32) - 3, (1 << 32) + 4095, (9 << 30) + 1, 3 << 40];
    for (suite, page_size) in [(Suite::One, 4096), (Suite::Two, 8192)] {
        let place = Place::new(suite, page_size);
        let volume = place.open();
        for (number, at) in places.iter().enumerate() {
            let file = volume.create_file(&[b'a' + number as u8]).unwrap();
            file.write_at(b"near", 5).unwrap();
            file.write_at(b"faraway", *at).unwrap();
            file.sync().unwrap();
        }
        volume.close().unwrap();
        let volume = place.open();
        for (number, at) in places.iter().enumerate() {
            let file = volume.open_file(&[b'a' + number as u8]).unwrap();
            assert_eq!(file.len().unwrap(), at + 7);
            let mut bytes = [1; 12];
            assert_eq!(file.read_at(&mut bytes, at - 5).unwrap(), 12);
            assert_eq!(&bytes, b"\0\0\0\0\0faraway");
            file.read_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"\0\0\0\0\0near\0\0\0");
            file.set_len(1 << 32).unwrap();
            assert_eq!(file.read_at(&mut bytes, (1 << 32) - 3).unwrap(), 3);
            assert_eq!(&bytes[..3], if number == 0 { b"far" } else { b"\0\0\0" });
        }
        volume.close().unwrap();
    }
    places.len() * 2
}

/// A volume in a directory of its own, in memory where there is such a file system: what is tested is not the disk.
struct Place {
    world: World,
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new(suite: Suite, page_size: usize) -> Place {
        let dir = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let path = dir.path().join("volume");
        FileDirectory::create(&path).unwrap();
        let world = World::new(suite);
        let place = Place { world, dir, path };
        Volume::init(&place.setup(), PageSize::try_from(page_size).unwrap()).unwrap();
        place
    }

    fn setup(&self) -> VolumeSetup {
        let directory = FileDirectory::open(&self.path).unwrap();
        VolumeSetup {
            path: self.path.join("keyring"),
            homing: Homing::InBackground,
            journal_len: 4 << 20,
            ..self.world.setup(Arc::new(directory))
        }
    }

    fn open(&self) -> Volume {
        Volume::open(&self.setup()).unwrap()
    }
}

/// What a thread writes to the file that all share.
fn slot(thread: u64, round: u64) -> [u8; SLOT_LEN] {
    let mut bytes = [thread as u8; SLOT_LEN];
    bytes[..8].copy_from_slice(&round.to_le_bytes());
    bytes
}

fn own_name(thread: u64) -> Vec<u8> {
    format!("thread {thread}").into_bytes()
}

fn all(file: &VolumeFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

const DESCRIPTORS: u64 = 256;
const FILES: u64 = 100_000;
const THREADS: u64 = 64;
const ROUNDS: u64 = 150;
/// Not a divisor of a page: some of them lie across two.
const SLOT_LEN: usize = 100;
