//! Volumes as their users see them, on the file system.

#[path = "volume/damage.rs"]
mod damage;
#[path = "volume/directories.rs"]
mod directories;
#[path = "volume/fence.rs"]
mod fence;
#[path = "volume/log_tail.rs"]
mod log_tail;
#[path = "volume/planted.rs"]
mod planted;
#[path = "volume/system.rs"]
mod system;
#[path = "volume/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Disk, Error, FileDirectory, Homing, Volume, VolumeFile, VolumeSetup};
use cofferdam_tests::disk_suite;
use cofferdam_tests::random::{Random, seed};
use world::World;

/// A volume in a directory of its own.
struct Place {
    world: World,
    dir: tempfile::TempDir,
}

impl Place {
    fn new(suite: Suite, page_size: usize) -> Place {
        Place::on(World::new(suite), page_size)
    }

    fn on(world: World, page_size: usize) -> Place {
        let place = Place {
            world,
            dir: tempfile::tempdir().unwrap(),
        };
        FileDirectory::create(place.dir.path()).unwrap();
        Volume::init(&place.setup(), PageSize::try_from(page_size).unwrap()).unwrap();
        place
    }

    fn setup(&self) -> VolumeSetup {
        let directory = FileDirectory::open(self.dir.path()).unwrap();
        VolumeSetup {
            path: self.dir.path().join("keyring"),
            homing: Homing::InBackground,
            journal_len: 1 << 20,
            ..self.world.setup(Arc::new(directory))
        }
    }

    fn open(&self) -> Volume {
        Volume::open(&self.setup()).unwrap()
    }
}

#[test]
fn a_file_of_a_volume_keeps_the_contract_of_a_disk() {
    let seed = seed();
    println!("COFFERDAM_SEED={seed}");
    for (suite, page_size) in [
        (Suite::One, 4096),
        (Suite::Two, 8192),
        (Suite::Three, 65536),
    ] {
        let place = Place::new(suite, page_size);
        let volume = place.open();
        let next = AtomicU64::new(0);
        let empty = || -> Box<dyn Disk> {
            let name = next.fetch_add(1, Ordering::Relaxed).to_string();
            Box::new(volume.create_file(name.as_bytes()).unwrap())
        };
        disk_suite::run(&empty, seed);
    }
}

#[test]
fn what_was_synced_is_there_when_the_volume_is_opened_again_and_the_rest_is_not() {
    let place = Place::new(Suite::Two, 8192);
    let volume = place.open();
    let file = volume.create_file(b"table").unwrap();
    file.write_at(&[7; 20_000], 100).unwrap();
    file.sync().unwrap();
    file.write_at(&[8; 20_000], 100).unwrap();
    drop((file, volume));

    let volume = place.open();
    assert_eq!(volume.recovered().groups, 1);
    assert_eq!(
        all(&volume.open_file(b"table").unwrap()),
        [vec![0; 100], vec![7; 20_000]].concat()
    );
    volume.create_file(b"other").unwrap();
    volume.close().unwrap();

    let volume = place.open();
    assert_eq!(
        volume.recovered().groups,
        0,
        "a volume that was closed has nothing to recover"
    );
    assert_eq!(
        volume.file_names().unwrap(),
        [b"other".to_vec(), b"table".to_vec()]
    );
}

#[test]
fn a_volume_is_opened_once_and_says_who_has_it() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    match Volume::open(&place.setup()) {
        Err(Error::Held { by }) => assert_eq!(by, "a test"),
        _ => panic!("opened twice"),
    }
    assert!(matches!(
        Volume::init(&place.setup(), PageSize::DEFAULT),
        Err(Error::Held { .. })
    ));
    drop(volume);
    place.open();
    assert!(matches!(
        Volume::init(&place.setup(), PageSize::DEFAULT),
        Err(Error::Misuse { .. })
    ));
}

#[test]
fn names_are_any_bytes_and_are_sealed() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let deep = [&b"directory"[..]; 300].join(&b'/');
    let odd: Vec<u8> = (1..=255).collect();
    let marker = b"a-name-to-look-for".to_vec();
    for name in [&deep, &odd, &marker] {
        volume.create_file(name).unwrap().write_at(name, 0).unwrap();
        assert!(matches!(volume.create_file(name), Err(Error::NameTaken)));
    }
    for bad in [vec![], vec![b'a'; 4097], b"a\0b".to_vec()] {
        assert!(matches!(volume.create_file(&bad), Err(Error::NotAName)));
        assert!(matches!(
            volume.rename_file(&odd, &bad),
            Err(Error::NotAName)
        ));
    }
    assert!(matches!(volume.open_file(b"none"), Err(Error::NoSuchFile)));
    assert!(matches!(
        volume.remove_file(b"none"),
        Err(Error::NoSuchFile)
    ));
    volume.close().unwrap();
    assert!(
        !on_disk(place.dir.path())
            .windows(marker.len())
            .any(|it| it == marker)
    );
    let volume = place.open();
    for name in [&deep, &odd, &marker] {
        assert_eq!(&all(&volume.open_file(name).unwrap()), name);
    }
}

#[test]
fn a_file_that_was_removed_lives_until_it_is_closed() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let (old, new) = (
        volume.create_file(b"a").unwrap(),
        volume.create_file(b"b").unwrap(),
    );
    old.write_at(b"old", 0).unwrap();
    new.write_at(b"new", 0).unwrap();
    volume.rename_file(b"b", b"a").unwrap();
    volume.sync().unwrap();
    volume.bring_home().unwrap();
    assert_eq!(all(&old), b"old");
    old.write_at(b"er", 3).unwrap();
    assert_eq!(all(&old), b"older");
    assert_eq!(all(&volume.open_file(b"a").unwrap()), b"new");
    assert_eq!(files(&place), 2);
    drop(old);
    volume.sync().unwrap();
    volume.bring_home().unwrap();
    assert_eq!(files(&place), 1);

    // One that was still open at a crash goes at the next opening.
    volume.remove_file(b"a").unwrap();
    volume.sync().unwrap();
    drop(volume);
    drop(new);
    let volume = place.open();
    assert_eq!(volume.file_names().unwrap().len(), 0);
    assert_eq!(files(&place), 0);
}

#[test]
fn threads_that_sync_share_their_commits() {
    const THREADS: u64 = 16;
    const ROUNDS: u64 = 50;
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let volume = &volume;
            scope.spawn(move || {
                let file = volume
                    .create_file(&thread.to_le_bytes().map(|it| it + 1))
                    .unwrap();
                let mut random = Random::new(thread);
                let mut model = Vec::new();
                for _ in 0..ROUNDS {
                    let bytes = random.bytes(1 + random.clone().index(9000));
                    file.write_at(&bytes, model.len() as u64).unwrap();
                    model.extend(bytes);
                    file.sync().unwrap();
                }
                assert_eq!(all(&file), model);
            });
        }
    });
    let statistics = volume.statistics();
    println!("{statistics:?}");
    assert_eq!(statistics.syncs, THREADS * ROUNDS);
    assert!(statistics.commits < statistics.syncs, "{statistics:?}");
    assert!(
        statistics.homings > 0,
        "the journal never went home: {statistics:?}"
    );
    drop(volume);
    let volume = place.open();
    assert_eq!(volume.file_names().unwrap().len(), THREADS as usize);
    for name in volume.file_names().unwrap() {
        let file = volume.open_file(&name).unwrap();
        assert_eq!(file.scrub(|_, _| ()).unwrap().bad, []);
    }
}

/// Goal: a catalogue that is written over and over is rewritten, and loses nothing by that.
#[test]
fn a_thousand_names_come_and_go() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let mut names = BTreeSet::new();
    for round in 0..4u32 {
        for number in 0..500u32 {
            let name = format!("round {round}, file {number}").into_bytes();
            volume.create_file(&name).unwrap();
            if number % 50 == 0 {
                names.insert(name);
            } else {
                volume.remove_file(&name).unwrap();
            }
        }
    }
    volume.sync().unwrap();
    drop(volume);
    let volume = place.open();
    assert!(volume.file_names().unwrap().iter().eq(&names));
    volume.bring_home().unwrap();
    assert_eq!(files(&place), names.len());
}

#[test]
fn a_file_has_more_than_four_gigabytes() {
    const FAR: u64 = (5 << 30) + 7;
    let place = Place::new(Suite::One, 8192);
    let volume = place.open();
    let file = volume.create_file(b"sparse").unwrap();
    file.write_at(b"near", 7).unwrap();
    file.write_at(b"far", FAR).unwrap();
    volume.close().unwrap();
    drop(file);
    let volume = place.open();
    let file = volume.open_file(b"sparse").unwrap();
    assert_eq!(file.len().unwrap(), FAR + 3);
    let mut bytes = [1; 5];
    assert_eq!(file.read_at(&mut bytes, FAR - 2).unwrap(), 5);
    assert_eq!(&bytes, b"\0\0far");
}

fn all(file: &VolumeFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn files(place: &Place) -> usize {
    std::fs::read_dir(place.dir.path().join("files"))
        .unwrap()
        .count()
}

fn on_disk(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
        match path.is_dir() {
            true => bytes.extend(on_disk(&path)),
            false => bytes.extend(std::fs::read(&path).unwrap()),
        }
    }
    bytes
}
