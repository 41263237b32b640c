//! What somebody who can write to the storage puts into a volume's directory.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Directory, Error, Part, Volume};
use cofferdam_tests::crash_directory::CrashDirectory;
use cofferdam_tests::power_cut::Loss;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::world::World;
use crate::{Place, all};

/// Goal: a new file has no bytes, whatever authentic bytes lie where it will.
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
