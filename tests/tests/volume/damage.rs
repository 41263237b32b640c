//! What somebody did to a volume that is closed is noticed.

use std::sync::Arc;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Directory, Error, Part, Volume, VolumeSetup};
use cofferdam_tests::crash_directory::{CrashDirectory, DirectoryFault, DirectoryFaultKind};
use cofferdam_tests::power_cut::Loss;

use crate::world::World;

/// A volume with this many groups in its journal, of which the nth adds a byte to a file.
fn volume(world: &World, groups: u8) -> (CrashDirectory, VolumeSetup) {
    let directory = CrashDirectory::new();
    let setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    let file = volume.create_file(b"a").unwrap();
    for group in 1..=groups {
        file.write_at(&[group], u64::from(group) - 1).unwrap();
        file.sync().unwrap();
    }
    drop(file);
    (directory, setup)
}

fn found(volume: &Volume) -> Vec<u8> {
    let file = volume.open_file(b"a").unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Where the groups of a segment begin.
fn groups(directory: &CrashDirectory) -> Vec<usize> {
    let mut places = Vec::new();
    directory.alter(Part::Segment(0), |bytes| {
        let block = |at: &usize| bytes[*at..].starts_with(b"CDAMGRUP");
        places = (4096..bytes.len()).step_by(4096).filter(block).collect();
        true
    });
    places
}

#[test]
fn a_damaged_group_before_others_is_refused_and_the_prefix_can_be_had() {
    let world = World::new(Suite::One);
    for damaged in 0..5 {
        let (directory, mut setup) = volume(&world, 5);
        let at = groups(&directory)[damaged];
        assert!(directory.flip(Part::Segment(0), at + 200, 3));
        let last = damaged == 4;
        match Volume::open(&setup) {
            // Nobody can tell the last group from one that was torn before anybody was told of it.
            Ok(volume) if last => assert_eq!(found(&volume), [1, 2, 3, 4]),
            Err(Error::JournalDamaged(damage)) if !last => {
                assert_eq!(damage.first_missing, damaged as u64 + 1);
                assert_eq!(damage.last_seen, 5);
            }
            other => panic!("group {damaged}: {:?}", other.err()),
        }
        if last || damaged == 0 {
            continue;
        }
        setup.accept_damage = true;
        let volume = Volume::open(&setup).unwrap();
        assert!(volume.recovered().damage.is_some());
        assert_eq!(found(&volume), (1..=damaged as u8).collect::<Vec<_>>());
        drop(volume);
        // It is over with that, and the groups behind never come back.
        setup.accept_damage = false;
        assert_eq!(found(&Volume::open(&setup).unwrap()).len(), damaged);
    }
}

#[test]
fn a_torn_tail_is_no_damage_wherever_it_ends() {
    let world = World::new(Suite::Two);
    let (directory, _) = volume(&world, 3);
    let last = groups(&directory)[2];
    let snapshot = directory.snapshot();
    for cut in 0..40 {
        let directory = CrashDirectory::after(&snapshot, Loss::Nothing, 0);
        directory.alter(Part::Segment(0), |bytes| {
            bytes.truncate(last + cut * 200);
            true
        });
        let setup = world.setup(Arc::new(directory));
        let found = found(&Volume::open(&setup).unwrap());
        assert!(
            found == [1, 2] || found == [1, 2, 3],
            "cut {cut}: {found:?}"
        );
    }
}

#[test]
fn a_journal_that_is_not_there_or_another_volumes_is_refused() {
    let world = World::new(Suite::One);
    let (directory, setup) = volume(&world, 3);
    let (other, _) = volume(&world, 3);
    let mut strange = Vec::new();
    other.alter(Part::Segment(0), |bytes| {
        strange = bytes.clone();
        true
    });
    let snapshot = directory.snapshot();
    for bytes in [Vec::new(), strange] {
        let directory = CrashDirectory::after(&snapshot, Loss::Nothing, 0);
        directory.alter(Part::Segment(0), |segment| {
            *segment = bytes.clone();
            true
        });
        let setup = world.setup(Arc::new(directory));
        match Volume::open(&setup) {
            Err(Error::JournalDamaged(damage)) => assert_eq!(damage.segment, Some(0)),
            // It may as well be a making that ended early.
            Err(Error::Misuse { .. }) if bytes.is_empty() => {}
            other => panic!("{:?}", other.err()),
        }
    }
    assert_eq!(found(&Volume::open(&setup).unwrap()), [1, 2, 3]);
}

/// Goal: a journal of last week, put back, changes nothing.
#[test]
fn an_old_journal_is_not_replayed() {
    let world = World::new(Suite::One);
    let (directory, setup) = volume(&world, 3);
    let mut old = Vec::new();
    directory.alter(Part::Segment(0), |bytes| {
        old = bytes.clone();
        true
    });
    let volume = Volume::open(&setup).unwrap();
    volume.open_file(b"a").unwrap().write_at(b"xyz", 0).unwrap();
    volume.close().unwrap();
    directory.alter(Part::Segment(0), |bytes| {
        *bytes = old;
        true
    });
    let found = match Volume::open(&setup) {
        Ok(volume) => found(&volume),
        Err(Error::JournalDamaged(_)) => return,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(found, b"xyz");
}

/// Goal: a journal of last week, all of it put back, takes no file back to last week.
#[test]
fn an_old_journal_that_is_whole_is_refused() {
    let world = World::new(Suite::One);
    let (directory, mut setup) = volume(&world, 3);
    let segments = [Part::Segment(0), Part::Segment(1)];
    let old = segments.map(|segment| {
        let mut old = Vec::new();
        directory.alter(segment, |bytes| {
            old = bytes.clone();
            true
        });
        old
    });
    let volume = Volume::open(&setup).unwrap();
    volume
        .open_file(b"a")
        .unwrap()
        .write_at(b"longer", 0)
        .unwrap();
    volume.close().unwrap();
    let now = directory.snapshot();
    for (segment, old) in segments.into_iter().zip(old) {
        directory.alter(segment, |bytes| {
            *bytes = old;
            true
        });
    }
    match Volume::open(&setup) {
        Err(Error::JournalOld { .. }) => {}
        other => panic!("{:?}", other.map(|volume| found(&volume))),
    }
    // Nothing was changed by that: with its own journal it is what it was.
    let mut segments_of_now = Vec::new();
    let of_now = CrashDirectory::after(&now, Loss::Nothing, 0);
    for segment in segments {
        of_now.alter(segment, |bytes| {
            segments_of_now.push((segment, bytes.clone()));
            true
        });
    }
    for (segment, now) in segments_of_now {
        directory.alter(segment, |bytes| {
            *bytes = now;
            true
        });
    }
    setup.accept_damage = false;
    assert_eq!(found(&Volume::open(&setup).unwrap()), b"longer");
}

#[test]
fn a_tail_that_is_ignored_is_reported() {
    let world = World::new(Suite::One);
    let (directory, setup) = volume(&world, 3);
    let last = groups(&directory)[2];
    let snapshot = directory.snapshot();
    assert!(directory.flip(Part::Segment(0), last + 200, 3));
    let opened = Volume::open(&setup).unwrap();
    let tail = opened.recovered().ignored.unwrap();
    assert_eq!((tail.segment, tail.offset), (0, last as u64));
    assert!(tail.len > 4096);
    drop(opened);
    // Of one that nothing is wrong with, nothing is said; nor of what is left of a former life.
    let directory = CrashDirectory::after(&snapshot, Loss::Nothing, 0);
    let setup = world.setup(Arc::new(directory));
    for _ in 0..2 {
        let volume = Volume::open(&setup).unwrap();
        assert_eq!(volume.recovered().ignored, None);
        assert_eq!(found(&volume), [1, 2, 3]);
    }
}

/// Goal: a sector that does not read closes the volume only where something may have been in it.
#[test]
fn a_sector_that_does_not_read_counts_where_a_group_may_be() {
    let world = World::new(Suite::One);
    let (directory, _) = volume(&world, 5);
    let places = groups(&directory);
    // What is left of a former life is behind the groups of this one.
    let setup = world.setup(Arc::new(directory.clone()));
    let opened = Volume::open(&setup).unwrap();
    let file = opened.open_file(b"a").unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync().unwrap();
    drop((file, opened));
    let snapshot = directory.snapshot();
    // The one group of this life begins where the first one of the former life did.
    let mut behind = places[0];
    directory.alter(Part::Segment(0), |bytes| {
        let len = &bytes[places[0] + 8..places[0] + 16];
        behind += u64::from_le_bytes(len.try_into().unwrap()).next_multiple_of(4096) as usize;
        true
    });
    let further = *places.last().unwrap();
    assert!(further > behind);
    for (what, at, refused) in [
        ("the head", 100, true),
        ("a group", places[0], true),
        ("behind the last group", behind, true),
        ("further on", further, false),
    ] {
        let directory = CrashDirectory::after(&snapshot, Loss::Nothing, 0);
        directory.bad_sector(Part::Segment(0), at as u64);
        let mut setup = world.setup(Arc::new(directory));
        match Volume::open(&setup) {
            Ok(volume) if !refused => assert_eq!(found(&volume), [b'x', 2, 3, 4, 5], "{what}"),
            Err(Error::JournalDamaged(_)) if refused => {
                setup.accept_damage = true;
                let volume = Volume::open(&setup).unwrap();
                assert!(volume.recovered().damage.is_some());
                assert_eq!(found(&volume)[1..], [2, 3, 4, 5], "{what}");
            }
            other => panic!("{what}: {:?}", other.map(|volume| found(&volume))),
        }
    }
}

#[test]
fn a_disk_that_is_still_full_loses_nothing_and_says_how_much_to_free() {
    let world = World::new(Suite::One);
    let (directory, setup) = volume(&world, 3);
    let full = DirectoryFault {
        nth: 3,
        kind: DirectoryFaultKind::Full,
    };
    directory.inject(full);
    match Volume::open(&setup) {
        Err(error @ Error::DiskFull { needed: 8192.. }) => println!("{error}"),
        other => panic!("{:?}", other.map(|volume| found(&volume))),
    }
    directory.disarm();
    assert_eq!(found(&Volume::open(&setup).unwrap()), [1, 2, 3]);
}

/// Goal: a disk that is full for a while closes nothing, as long as the journal has room.
#[test]
fn a_homing_without_room_is_tried_again() {
    let world = World::new(Suite::One);
    let directory = CrashDirectory::new();
    let setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    let file = volume.create_file(b"a").unwrap();
    file.write_at(&[1; 9000], 0).unwrap();
    volume.sync().unwrap();
    for nth in 1..4 {
        directory.inject(DirectoryFault {
            nth,
            kind: DirectoryFaultKind::Full,
        });
        assert!(matches!(volume.bring_home(), Err(Error::Io { .. })));
        assert!(directory.disarm());
        assert!(!volume.statistics().latched);
        file.write_at(&[2; 5000], 4000).unwrap();
        volume.sync().unwrap();
    }
    volume.bring_home().unwrap();
    volume.bring_home().unwrap();
    drop((file, volume));
    directory.power_cycle(Loss::Everything, 0);
    let volume = Volume::open(&setup).unwrap();
    assert_eq!(volume.recovered().groups, 0);
    assert!(found(&volume) == [&[1; 4000][..], &[2; 5000]].concat());
}

#[test]
fn a_file_that_was_emptied_swapped_or_altered_is_an_error_of_that_file_alone() {
    let world = World::new(Suite::One);
    let directory = CrashDirectory::new();
    let setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    for name in [b"a", b"b", b"c"] {
        volume
            .create_file(name)
            .unwrap()
            .write_at(&[name[0]; 9000], 0)
            .unwrap();
    }
    volume.close().unwrap();
    let snapshot = directory.snapshot();
    let mut second = Vec::new();
    directory.alter(Part::File(2), |bytes| {
        second = bytes.clone();
        true
    });
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: Vec<(&str, Change)> = vec![
        ("emptied", Box::new(|bytes| bytes.clear())),
        ("zeroed", Box::new(|bytes| bytes.fill(0))),
        (
            "another file's",
            Box::new(move |bytes| *bytes = second.clone()),
        ),
        ("one bit of a page", Box::new(|bytes| bytes[9000] ^= 1)),
        ("cut off", Box::new(|bytes| bytes.truncate(13_000))),
    ];
    for (what, change) in changes {
        let directory = CrashDirectory::after(&snapshot, Loss::Nothing, 0);
        directory.alter(Part::File(1), |bytes| {
            change(bytes);
            true
        });
        let setup = world.setup(Arc::new(directory));
        let volume = Volume::open(&setup).unwrap();
        let mut bytes = [1; 9000];
        let read = volume
            .open_file(b"a")
            .and_then(|file| file.read_at(&mut bytes, 0));
        assert!(
            matches!(
                read,
                Err(Error::RecordAltered { .. } | Error::PageAltered { .. })
            ),
            "{what}: {read:?}"
        );
        assert!(
            volume
                .open_file(b"c")
                .unwrap()
                .read_at(&mut bytes, 0)
                .is_ok()
        );
        assert_eq!(bytes, [b'c'; 9000]);
    }
}

/// Goal: the making of a volume that lost power at any moment can be done again.
#[test]
fn a_volume_whose_making_was_cut_short_is_made_again() {
    let world = World::new(Suite::One);
    let directory = CrashDirectory::new();
    let setup = world.setup(Arc::new(directory.clone()));
    directory.record();
    let init = |setup: &VolumeSetup| Volume::init(setup, PageSize::try_from(4096).unwrap());
    init(&setup).unwrap();
    let mut unfinished = 0;
    for (point, snapshot) in directory.recorded().iter().enumerate() {
        for (seed, loss) in Loss::ALL.into_iter().enumerate() {
            let directory = CrashDirectory::after(snapshot, loss, seed as u64);
            let setup = world.setup(Arc::new(directory.clone()));
            let whole = match init(&setup) {
                Ok(()) => true,
                Err(Error::Misuse { .. }) => Volume::open(&setup).is_ok(),
                Err(error) => panic!("point {point}, {loss:?}: {error}"),
            };
            if !whole {
                // Whose keyring it is that has no journal, nobody can tell: a person removes it.
                let refused = Volume::open(&setup).err();
                assert!(
                    matches!(refused, Some(Error::Misuse { .. })),
                    "point {point}, {loss:?}: {refused:?}"
                );
                unfinished += 1;
                directory.remove(Part::Keyring).unwrap();
                init(&setup).unwrap();
            }
            let opened = Volume::open(&setup);
            assert!(
                opened.is_ok(),
                "point {point}, {loss:?}: {:?}",
                opened.err()
            );
        }
    }
    assert!(unfinished > 0);
}
