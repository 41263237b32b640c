//! No subkey and IV seal two pages: not in copies of a volume that go on side by side, not after a backup was restored, not after a fork (V5).
//!
//! Every frame that is written is taken apart. A subkey is its DEK and salt; under two layers only the outer slot can be read without keys.

#[path = "volume/frames.rs"]
mod frames;
#[path = "volume/world.rs"]
mod world;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_cipher::PageSize;
use cofferdam_keys::Suite;
use cofferdam_sealed_file::{Error, FileDirectory, Volume, VolumeSetup};
use frames::{Frames, Watched};
use world::World;

/// Goal: two that write the same pages of the same files share no subkey, be it in one process or under openers of their own.
#[test]
fn copies_of_a_volume_that_are_both_written_to_repeat_no_nonce() {
    for suite in [Suite::One, Suite::Two] {
        let place = Place::new(suite);
        let volume = place.open("original");
        rewrite(&volume, 20);
        volume.close().unwrap();
        place.copy("original", "copy");
        let before = place.frames.salts();

        let (one, other) = (place.open("original"), place.open("copy"));
        for _ in 0..20 {
            rewrite(&one, 1);
            rewrite(&other, 1);
        }
        one.close().unwrap();
        other.close().unwrap();
        let after = place.frames.salts();
        // Two volumes with the catalogue and a file each, and a fresh salt for each opening.
        assert!(after.len() >= before.len() + 4, "{} salts", after.len());
        place.no_nonce_was_repeated(20 * PAGES as usize * 3);
    }
}

#[test]
fn an_older_backup_that_is_restored_repeats_no_nonce() {
    for suite in [Suite::One, Suite::Two] {
        let place = Place::new(suite);
        let volume = place.open("volume");
        rewrite(&volume, 5);
        volume.close().unwrap();
        place.copy("volume", "backup");
        for _ in 0..3 {
            let volume = place.open("volume");
            rewrite(&volume, 10);
            // A crash: what is in the journal is replayed by the next opening, or is lost with the restoring.
            drop(volume);
            fs::remove_dir_all(place.path("volume")).unwrap();
            place.copy("backup", "volume");
        }
        let volume = place.open("volume");
        rewrite(&volume, 10);
        volume.close().unwrap();
        place.no_nonce_was_repeated(40 * PAGES as usize);
    }
}

#[test]
fn a_forked_child_seals_nothing_and_its_parent_repeats_no_nonce() {
    for suite in [Suite::One, Suite::Two] {
        let place = Place::new(suite);
        let volume = place.open("volume");
        rewrite(&volume, 5);
        let file = volume.open_file(NAME).unwrap();
        let journal = || fs::read(place.path("volume").join("journal-0")).unwrap();
        let before = journal();
        assert!(in_child(|| {
            let error = |result: Result<(), Error>| matches!(result, Err(Error::Misuse { .. }));
            error(file.write_at(&[1; 4096], 0))
                && error(file.sync())
                && error(volume.create_file(b"child").map(drop))
                && refused(|| file.read_at(&mut [0; 4096], 0))
        }));
        assert!(journal() == before, "the child wrote to the journal");
        rewrite(&volume, 5);
        volume.close().unwrap();
        drop(file);
        let volume = place.open("volume");
        let file = volume.open_file(NAME).unwrap();
        assert_eq!(file.scrub(|_, _| ()).unwrap().bad, []);
        assert!(matches!(volume.open_file(b"child"), Err(Error::NoSuchFile)));
        place.no_nonce_was_repeated(10 * PAGES as usize);
    }
}

/// Goal: the instrument shows what it is there for.
#[test]
fn a_repeated_nonce_is_noticed() {
    let frames = Frames::new(4096, 1);
    let mut frame = vec![7; frames.stride()];
    frame[4096] = 1;
    frames.note(&frame);
    frames.note(&frame);
    assert!(frames.repeated().is_empty());
    frame[0] ^= 1;
    frames.note(&frame);
    assert_eq!(frames.repeated().len(), 1);
}

/// Writes all pages of the one file over, with bytes that are the same each time, and syncs.
fn rewrite(volume: &Volume, times: u32) {
    let file = match volume.create_file(NAME) {
        Err(Error::NameTaken) => volume.open_file(NAME).unwrap(),
        result => result.unwrap(),
    };
    for _ in 0..times {
        for page in 0..PAGES {
            file.write_at(&[page as u8; 4096], page * 4096).unwrap();
        }
        file.sync().unwrap();
    }
}

/// A forked child has the locks of all volumes of its process as long as it lives, so these tests take turns.
static TURN: Mutex<()> = Mutex::new(());

struct Place {
    _turn: MutexGuard<'static, ()>,
    world: World,
    dir: tempfile::TempDir,
    frames: Arc<Frames>,
}

impl Place {
    fn new(suite: Suite) -> Place {
        Place {
            _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
            world: World::new(suite),
            dir: tempfile::tempdir().unwrap(),
            frames: Frames::new(4096, suite.layer_count()),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Opens a volume, and makes one that is not there.
    fn open(&self, name: &str) -> Volume {
        let path = self.path(name);
        let is_new = !path.exists();
        if is_new {
            FileDirectory::create(&path).unwrap();
        }
        let directory = Watched {
            inner: FileDirectory::open(&path).unwrap(),
            frames: self.frames.clone(),
        };
        let setup = VolumeSetup {
            path: path.join("keyring"),
            ..self.world.setup(Arc::new(directory))
        };
        if is_new {
            Volume::init(&setup, PageSize::try_from(4096).unwrap()).unwrap();
        }
        Volume::open(&setup).unwrap()
    }

    fn copy(&self, from: &str, to: &str) {
        copy(&self.path(from), &self.path(to));
    }

    fn no_nonce_was_repeated(&self, frames_min: usize) {
        assert_eq!(self.frames.repeated(), []);
        let count = self.frames.count();
        println!("{count} frames, {} salts", self.frames.salts().len());
        assert!(count >= frames_min, "only {count} frames were seen");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Whether an operation of a forked child ends with an error or a panic: the secrets that it inherited are wiped.
fn refused<T>(operation: impl FnOnce() -> Result<T, Error>) -> bool {
    !matches!(
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(operation)),
        Ok(Ok(_))
    )
}

/// Whether `work` is true in a forked child.
fn in_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the volume has no thread of its own and no other thread uses it, so no lock that the child takes is held for ever; the
    // child leaves with `_exit`, and runs neither the test harness nor exit handlers.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork failed");
    if pid == 0 {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // SAFETY: it ends the child at once.
        unsafe { libc::_exit(i32::from(!matches!(result, Ok(true)))) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writing, and `pid` is a child that nobody else waits for.
    let waited = unsafe { libc::waitpid(pid, &mut status, 0) };
    assert_eq!(waited, pid);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

const NAME: &[u8] = b"file";
const PAGES: u64 = 32;
