//! What somebody who can write to the storage puts into a volume's directory.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Directory, Error, FileDirectory, LENGTH_MAX, Part, Volume};
use cofferdam_tests::crash_directory::CrashDirectory;
use cofferdam_tests::power_cut::Loss;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::world::World;
use crate::{Place, all};

/// Goal (V5): a new file has no bytes, whatever authentic bytes lie where it will.
#[test]
fn a_new_file_takes_nothing_over_that_lies_in_its_place() {
    for homed in [false, true] {
        let place = Place::new(Suite::One, 4096);
        let volume = place.open();
        let first = volume.create_file(b"first").unwrap();
        first.write_at(&[7; 9000], 0).unwrap();
        volume.sync().unwrap();
        volume.bring_home().unwrap();
        let of = |number| place.dir.path().join(Part::File(number).file_name());
        std::fs::copy(of(1), of(2)).unwrap();
        let second = volume.create_file(b"second").unwrap();
        assert!(all(&second).is_empty(), "the bytes of the first file");
        second.write_at(b"own", 5000).unwrap();
        volume.sync().unwrap();
        if homed {
            volume.bring_home().unwrap();
        }
        drop((first, second, volume));
        let volume = place.open();
        let second = all(&volume.open_file(b"second").unwrap());
        assert_eq!(second, [&[0; 5000][..], b"own"].concat());
        assert_eq!(all(&volume.open_file(b"first").unwrap()), [7; 9000]);
    }
}

/// Goal: the keyring file alone, put back from a backup, costs no file that was made since.
#[test]
fn files_that_an_old_catalogue_does_not_know_are_not_removed() {
    let world = World::new(Suite::One);
    let directory = CrashDirectory::new();
    let mut setup = world.setup(Arc::new(directory.clone()));
    Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
    let volume = Volume::open(&setup).unwrap();
    let write = |name: &[u8]| volume.create_file(name).unwrap().write_at(name, 0).unwrap();
    write(b"old");
    volume.sync().unwrap();
    volume.bring_home().unwrap();
    let mut keyring = Vec::new();
    directory.alter(Part::Keyring, |bytes| {
        keyring = bytes.clone();
        true
    });
    write(b"new");
    write(b"newer");
    volume.close().unwrap();
    let now = directory.snapshot();
    directory.alter(Part::Keyring, |bytes| {
        *bytes = keyring;
        true
    });
    match Volume::open(&setup) {
        Err(Error::CatalogueOld { newest: 3, next: 2 }) => {}
        other => panic!("{:?}", other.map(|_| ()).err()),
    }
    assert_eq!(directory.files().unwrap(), [1, 2, 3], "nothing was removed");

    // With the user's consent the volume is what the old one says, and the files stay where they are.
    setup.accept_damage = true;
    let volume = Volume::open(&setup).unwrap();
    assert_eq!(volume.recovered().unknown_files, 2);
    assert_eq!(volume.file_names().unwrap(), [b"old"]);
    volume.create_file(b"another").unwrap();
    volume.close().unwrap();
    assert_eq!(directory.files().unwrap(), [1, 2, 3, 4]);
    setup.accept_damage = false;
    assert_eq!(Volume::open(&setup).unwrap().recovered().unknown_files, 2);

    // The keyring of that day put back, all is there.
    let directory = CrashDirectory::after(&now, Loss::Nothing, 0);
    let volume = Volume::open(&world.setup(Arc::new(directory))).unwrap();
    assert_eq!(volume.file_names().unwrap().len(), 3);
}

/// Goal (V3): an opening that is refused for an old keyring file costs nothing that was synced, once the right one is back.
#[test]
fn an_old_keyring_does_not_use_the_journal_up() {
    let place = Place::new(Suite::One, 4096);
    let path = place.dir.path().join(Part::Keyring.file_name());
    let make = |volume: &Volume, numbers: std::ops::Range<u32>| {
        for number in numbers {
            let name = format!("a file with a name, {number:04}");
            let file = volume.create_file(name.as_bytes()).unwrap();
            file.write_at(name.as_bytes(), 0).unwrap();
        }
    };
    let volume = place.open();
    make(&volume, 0..100);
    volume.close().unwrap();
    let old = std::fs::read(&path).unwrap();
    for homed in [100, 400] {
        // As a kill leaves it: the last ten are in the journal alone.
        let volume = place.open();
        make(&volume, volume.file_names().unwrap().len() as u32..homed);
        volume.bring_home().unwrap();
        make(&volume, homed..homed + 10);
        volume.sync().unwrap();
        drop(volume);
        let good = std::fs::read(&path).unwrap();
        for _ in 0..2 {
            std::fs::write(&path, &old).unwrap();
            if homed > 100 {
                assert!(Volume::open(&place.setup()).is_err());
            }
        }
        std::fs::write(&path, &good).unwrap();
        let volume = place.open();
        let names = volume.file_names().unwrap();
        assert_eq!(names.len() as u32, homed + 10);
        for name in names {
            assert_eq!(all(&volume.open_file(&name).unwrap()), name);
        }
        volume.close().unwrap();
    }
}

/// Goal: a volume whose keyring file is not there is not made anew over its journal.
#[test]
fn a_volume_without_its_keyring_is_not_made_again() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    volume
        .create_file(b"a")
        .unwrap()
        .write_at(b"synced", 0)
        .unwrap();
    volume.sync().unwrap();
    drop(volume);
    let path = place.dir.path().join(Part::Keyring.file_name());
    let away = std::fs::read(&path).unwrap();
    for empty in [false, true] {
        std::fs::remove_file(&path).unwrap();
        if empty {
            std::fs::write(&path, b"").unwrap();
        }
        let made = Volume::init(&place.setup(), PageSize::try_from(4096).unwrap());
        assert!(matches!(made, Err(Error::Misuse { .. })), "{made:?}");
        std::fs::write(&path, &away).unwrap();
    }
    assert_eq!(all(&place.open().open_file(b"a").unwrap()), b"synced");
}

/// Goal: nobody's keyring but the one that is made becomes a new volume's, also when it lies there already.
#[test]
fn a_keyring_that_lies_there_is_not_taken_over() {
    let planted = Place::new(Suite::One, 4096);
    let dir = tempfile::tempdir().unwrap();
    FileDirectory::create(dir.path()).unwrap();
    let name = Part::Keyring.file_name();
    std::fs::copy(planted.dir.path().join(&name), dir.path().join(&name)).unwrap();
    let world = World::new(Suite::Two);
    let directory = FileDirectory::open(dir.path()).unwrap();
    let setup = world.setup(Arc::new(directory));
    let page_size = PageSize::try_from(16384).unwrap();
    let made = Volume::init(&setup, page_size);
    assert!(matches!(made, Err(Error::Misuse { .. })), "{made:?}");
    std::fs::remove_file(dir.path().join(&name)).unwrap();
    Volume::init(&setup, page_size).unwrap();
}

/// Goal: what lies among the files and is none of them changes nothing, and a number that no file gets is not counted from.
#[test]
fn strange_files_change_nothing() {
    let place = Place::new(Suite::One, 4096);
    place.open().close().unwrap();
    let files = place.dir.path().join("files");
    for name in ["f", "0000000000000F00", "000000000000000000001", "readme"] {
        std::fs::write(files.join(name), b"").unwrap();
    }
    assert_eq!(place.open().recovered().unknown_files, 0);
    for number in [u64::MAX, u64::MAX - 1, 1 << 62, 1 << 61] {
        let path = place.dir.path().join(Part::File(number).file_name());
        std::fs::write(&path, b"").unwrap();
        let mut setup = place.setup();
        setup.accept_damage = true;
        let opened = Volume::open(&setup).err();
        assert!(
            matches!(opened, Some(Error::CatalogueOld { .. })),
            "{opened:?}"
        );
        std::fs::remove_file(path).unwrap();
    }
    place.open().create_file(b"a").unwrap();
}

/// Goal: a write that ends beyond the longest file changes nothing at all.
#[test]
fn a_write_that_is_too_long_seals_nothing() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let file = volume.create_file(b"a").unwrap();
    for hole in 0..40 {
        file.write_at(b"x", hole * (64 << 20)).unwrap();
        volume.sync().unwrap();
    }
    volume.bring_home().unwrap();
    let before = (file.len().unwrap(), volume.statistics().bytes_homed);
    for end in [u64::MAX, LENGTH_MAX + 1] {
        assert!(matches!(file.write_at(b"x", end - 1), Err(Error::TooLong)));
        assert!(matches!(file.set_len(end), Err(Error::TooLong)));
    }
    volume.sync().unwrap();
    volume.bring_home().unwrap();
    assert_eq!(
        (file.len().unwrap(), volume.statistics().bytes_homed),
        before
    );
}

/// Goal: a file that is put in the place of another while both are open is never read as that one, by any of those who read at a time.
#[test]
fn another_files_bytes_are_not_read_in_an_open_volume() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let a = volume.create_file(b"a").unwrap();
    let b = volume.create_file(b"b").unwrap();
    a.write_at(&[b'a'; 64 * 4096], 0).unwrap();
    b.write_at(&[b'b'; 64 * 4096], 0).unwrap();
    volume.sync().unwrap();
    volume.bring_home().unwrap();
    let read_by_many = || {
        let (good, bad) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut bytes = vec![0; 64 * 4096];
                        match a.read_at(&mut bytes, 0) {
                            Ok(_) if bytes.iter().all(|byte| *byte == b'a') => &good,
                            Ok(_) => panic!("the bytes of the other file"),
                            Err(_) => &bad,
                        }
                        .fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        (good.into_inner(), bad.into_inner())
    };
    assert_eq!(read_by_many(), (800, 0));
    // All who read look at the record again.
    a.write_at(&[b'a'; 4096], 4096).unwrap();
    volume.bring_home().unwrap();
    let of = |number| place.dir.path().join(Part::File(number).file_name());
    std::fs::write(of(1), std::fs::read(of(2)).unwrap()).unwrap();
    assert_eq!(read_by_many(), (0, 800));
}

/// Goal: a file that was open when it was removed goes at the next opening, however often the catalogue was rewritten since.
#[test]
fn what_was_removed_while_it_was_open_goes_after_a_crash() {
    let place = Place::new(Suite::One, 4096);
    let volume = place.open();
    let removed = volume.create_file(b"removed").unwrap();
    let replaced = volume.create_file(b"replaced").unwrap();
    for file in [&removed, &replaced] {
        file.write_at(b"bytes", 0).unwrap();
    }
    volume.create_file(b"new").unwrap();
    volume.sync().unwrap();
    volume.bring_home().unwrap();
    volume.remove_file(b"removed").unwrap();
    volume.rename_file(b"new", b"replaced").unwrap();
    // The catalogue has 64 KiB and more of entries, and two that count.
    for number in 0..2000u32 {
        let name = format!("a file of many, {number}").into_bytes();
        volume.create_file(&name).unwrap();
        volume.remove_file(&name).unwrap();
    }
    volume.sync().unwrap();
    drop(volume);
    // The process ends without another sync.
    drop((removed, replaced));
    let volume = place.open();
    assert_eq!(volume.recovered().unknown_files, 0);
    assert_eq!(volume.file_names().unwrap(), [b"replaced"]);
    assert_eq!(crate::files(&place), 1);
}

/// Goal: nothing is written where a link points to, and nothing waits for a pipe.
#[test]
fn links_and_pipes_are_refused() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    std::fs::write(&victim, b"somebody's").unwrap();
    for part in [
        Part::Keyring,
        Part::Segment(0),
        Part::Segment(1),
        Part::File(1),
    ] {
        let place = Place::new(Suite::One, 4096);
        let volume = place.open();
        let file = volume.create_file(b"a").unwrap();
        file.write_at(b"home", 0).unwrap();
        volume.sync().unwrap();
        volume.bring_home().unwrap();
        // This one is in the journal.
        file.write_at(b"away", 0).unwrap();
        volume.sync().unwrap();
        drop((file, volume));
        let path = place.dir.path().join(part.file_name());
        let kept = outside.path().join("kept");
        std::fs::rename(&path, &kept).unwrap();
        let refused = |what: &str| match Volume::open(&place.setup()) {
            Err(Error::Io { source, .. }) => {
                assert!(source.to_string().contains(what), "{source}");
            }
            other => panic!("{part:?}, {what}: {:?}", other.map(|_| ()).err()),
        };
        symlink(&victim, &path).unwrap();
        refused("a symbolic link");
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&victim, &path).unwrap();
        refused("hard links");
        std::fs::remove_file(&path).unwrap();
        // Not with a command: its process would have this one's volumes locked until it begins.
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
        refused("no regular file");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"somebody's");
        std::fs::rename(&kept, &path).unwrap();
        let volume = place.open();
        assert_eq!(all(&volume.open_file(b"a").unwrap()), b"away");
    }
}
