//! Two stores as an application leaves them, and what their bytes must be.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_audit::{Actor, ActorKind, Source};
use cofferdam_cipher::{PageNumber, PageSize, SlotCount};
use cofferdam_keys::{KeyUri, Pins, Suite, UnixTime};
use cofferdam_sealed_file::{
    AuditPlace, Error, FileDisk, FileKind, FileSetup, Geometry, NewStore, Opener, Recorded,
    SealedFile, Store,
};
use cofferdam_tests::leases::quiet_leases;
use cofferdam_tests::memory_disk::MemoryDisk;
use cofferdam_tests::random::Random;
use cofferdam_vaults::Vaults;

use crate::refused;

/// Two stores in one directory, under keys of their own in key files.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) suite: Suite,
    pub(crate) seed: u64,
    pub(crate) slots: usize,
    pub(crate) ours: Made,
    pub(crate) theirs: Made,
}

/// One store: what is on its disk, and what that means.
pub(crate) struct Made {
    pub(crate) path: PathBuf,
    pub(crate) opener: Opener,
    pub(crate) store: Store,
    /// The main file's disk.
    pub(crate) bytes: Vec<u8>,
    /// The main file's disk when its pages had other contents.
    pub(crate) stale: Vec<u8>,
    /// What the main file says.
    pub(crate) content: Vec<u8>,
    /// What it said when its disk was `stale`.
    pub(crate) stale_content: Vec<u8>,
}

/// What a page of a tampered file is.
pub(crate) type Page = Result<Vec<u8>, Error>;

impl Fixture {
    pub(crate) fn new(suite: Suite, room: bool, seed: u64) -> Fixture {
        let directory = tempfile::tempdir().expect("a directory");
        let make = |name: &str, seed| Made::new(directory.path().join(name), suite, room, seed);
        let (ours, theirs) = (make("ours", seed), make("theirs", seed + 1));
        Fixture {
            suite,
            seed,
            slots: if suite.layer_count() == 2 || room {
                2
            } else {
                1
            },
            ours,
            theirs,
            directory,
        }
    }

    pub(crate) fn random(&self, part: u64) -> Random {
        Random::part(self.seed, part)
    }

    pub(crate) fn stride(&self) -> usize {
        PAGE + 64 * self.slots
    }

    /// Where a page's frame is on the main file's disk.
    pub(crate) fn frame(&self, page: usize) -> Range<usize> {
        let start = FRAMES + page * self.stride();
        start..start + self.stride()
    }

    pub(crate) fn assert_untouched(&self) {
        let pages = self.ours.pages(self.ours.bytes.clone()).expect("opens");
        self.assert_pages(&pages, &[]);
        assert_eq!(
            self.frame(0).start as u64,
            geometry(self.slots).frames_offset()
        );
    }

    /// These pages of our main file are refused by name, and the others are what they were.
    pub(crate) fn refuses_pages(&self, bytes: Vec<u8>, bad: &[usize], what: &str) {
        let pages = self
            .ours
            .pages(bytes)
            .unwrap_or_else(|error| panic!("{what}: the whole file is refused: {error}"));
        for &page in bad {
            match &pages[page] {
                Ok(_) => panic!("{what}: page {page} is served"),
                Err(error) => {
                    let text = error.to_string();
                    let named =
                        text.starts_with(&format!("page {page} of the database was altered"));
                    assert!(named, "{what}: page {page} is refused as: {text}");
                    refused();
                }
            }
        }
        self.assert_pages(&pages, bad);
    }

    fn assert_pages(&self, pages: &[Page], but: &[usize]) {
        assert_eq!(pages.len(), self.ours.content.len() / PAGE);
        for (number, page) in pages.iter().enumerate() {
            if !but.contains(&number) {
                let page = page.as_ref().expect("the other pages open");
                assert_eq!(
                    page[..],
                    self.ours.content[number * PAGE..][..PAGE],
                    "page {number}"
                );
            }
        }
    }

    /// The whole file is refused with one of these beginnings.
    pub(crate) fn refuses_file(&self, bytes: Vec<u8>, starts: &[&str], what: &str) {
        match self.ours.pages(bytes) {
            Ok(_) => panic!("{what}: served"),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    starts.iter().any(|start| text.contains(start)),
                    "{what}: {text}"
                );
                refused();
            }
        }
    }
}

impl Made {
    fn new(path: PathBuf, suite: Suite, room: bool, seed: u64) -> Made {
        let vaults = Vaults::without_passphrases();
        let key = |layer: &str| {
            let key = KeyUri::from_file_path(&path.with_extension(layer)).expect("a path");
            let vault = vaults.file(&key).expect("a file vault");
            vault.create(None, clock()).expect("a key");
            key
        };
        let new_store = NewStore {
            suite,
            customer: key("customer"),
            infrastructure: (suite.layer_count() == 2).then(|| key("infrastructure")),
            room_for_second_layer: room,
        };
        let opener = Opener {
            vaults: Arc::new(vaults),
            pins: Pins::none(),
            new_store: Some(new_store),
            audit: AuditPlace::Beside,
            audit_required: true,
            actor: Actor::new(ActorKind::User, "tamper"),
            source: Source::default(),
            clock,
            leases: quiet_leases(clock),
            recorded: Recorded::default(),
        };
        let disk = FileDisk::create_new(&path).expect("a new file");
        let store = opener
            .create_store(&disk, &path, Some(page_size()))
            .expect("a new store");
        let mut file = SealedFile::open(disk, opener.main_setup(&store)).expect("it opens");
        let random = &mut Random::new(seed);
        let write = |file: &mut SealedFile<FileDisk>, content: &[u8]| {
            file.write_at(&content[..HOLE.start * PAGE], 0)
                .expect("written");
            let behind = HOLE.end * PAGE;
            file.write_at(&content[behind..], behind as u64)
                .expect("written");
            file.sync().expect("synced");
        };
        let content = |random: &mut Random| {
            let mut content = random.bytes(PAGES * PAGE);
            content[HOLE.start * PAGE..HOLE.end * PAGE].fill(0);
            content
        };
        let stale_content = content(random);
        write(&mut file, &stale_content);
        let stale = fs::read(&path).expect("read");
        let content = content(random);
        write(&mut file, &content);
        Made {
            bytes: fs::read(&path).expect("read"),
            path,
            opener,
            store,
            stale,
            content,
            stale_content,
        }
    }

    /// Unlocks a disk with these bytes and reads every page of its main file.
    pub(crate) fn pages(&self, bytes: Vec<u8>) -> Result<Vec<Page>, Error> {
        let disk = MemoryDisk::with(bytes);
        let store = self
            .opener
            .open_store(&disk, &self.path)?
            .ok_or(Error::NotSealed {
                plain_sqlite: false,
            })?;
        let mut file = SealedFile::open(disk, self.opener.main_setup(&store))?;
        read_pages(&mut file)
    }

    /// What a companion of this store is set up with.
    pub(crate) fn companion(&self, kind: FileKind, slots: usize) -> FileSetup {
        FileSetup {
            kind,
            page_size: Some(page_size()),
            slot_count: slot_count(slots),
            ..self.opener.main_setup(&self.store)
        }
    }
}

/// Every page of a file, each by itself.
pub(crate) fn read_pages(file: &mut SealedFile<MemoryDisk>) -> Result<Vec<Page>, Error> {
    let length = file.len()? as usize;
    let page = |number: usize| {
        let mut bytes = vec![0xa5; PAGE];
        match file.read_at(&mut bytes, (number * PAGE) as u64) {
            Ok(read) => {
                bytes.truncate(read);
                Ok(bytes)
            }
            Err(error) => {
                assert_eq!(bytes, [0; PAGE], "a refused page leaves bytes behind");
                Err(error)
            }
        }
    };
    Ok((0..length.div_ceil(PAGE)).map(page).collect())
}

pub(crate) fn geometry(slots: usize) -> Geometry {
    Geometry::new(FileKind::Main, page_size(), slot_count(slots))
}

pub(crate) fn number(page: usize) -> PageNumber {
    PageNumber::new(page as u64).expect("a small number")
}

/// The same bytes with one bit flipped.
pub(crate) fn flipped(bytes: &[u8], at: usize, bit: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << bit;
    bytes
}

fn page_size() -> PageSize {
    PageSize::try_from(PAGE).expect("512 is a page size")
}

fn slot_count(slots: usize) -> SlotCount {
    if slots == 2 {
        SlotCount::Two
    } else {
        SlotCount::One
    }
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_800_000_000,
        nanos: 0,
    }
}

pub(crate) const PAGE: usize = 512;
/// Pages of a main file, some of them never written.
pub(crate) const PAGES: usize = 14;
pub(crate) const HOLE: Range<usize> = 9..12;
pub(crate) const SLOT: usize = 16384;
/// The two copies of the file record.
pub(crate) const RECORDS: [usize; 2] = [32768, 36864];
pub(crate) const RECORD: usize = 512;
pub(crate) const FRAMES: usize = 40960;
