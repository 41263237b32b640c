//! A sealed file is, to its owner, a vector of bytes: whatever is done to it, and by whichever of two handles.
//!
//! The seed is printed; `COFFERDAM_SEED` replays it.

use std::collections::BTreeMap;
use std::io::Result;
use std::sync::{Arc, RwLock};

use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::{DataKeys, Suite, UnixTime};
use cofferdam_sealed_file::{Disk, FileKind, FileSetup, SealedFile, scrub};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Goal: two handles that take turns, on a file of any kind, are one vector of bytes.
#[test]
fn every_kind_of_file_is_a_vector_of_bytes() {
    for kind in KINDS {
        check(kind, 96, |kind| {
            (
                any_setup(kind),
                prop::collection::vec(any_step(false), 1..60),
            )
                .boxed()
        });
    }
}

/// Goal: the same where everything meets the edges of pages, with few pages and many handovers.
#[test]
fn small_pages_and_many_handovers_change_nothing() {
    for kind in KINDS {
        check(kind, 160, |kind| {
            let setup = (Just(kind), 9u8..=10, 0u8..3, any::<bool>()).prop_map(
                |(kind, log2, suite, room)| Setup {
                    kind,
                    log2: Some(log2),
                    suite,
                    room,
                },
            );
            (setup, prop::collection::vec(any_step(true), 1..120)).boxed()
        });
    }
}

fn check(
    kind: FileKind,
    cases: u32,
    strategy: impl Fn(FileKind) -> BoxedStrategy<(Setup, Vec<Step>)>,
) {
    let seed = seed();
    println!("seed {seed}, {kind}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4000,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    TestRunner::new_with_rng(config, rng)
        .run(&strategy(kind), |(setup, steps)| replay(setup, &steps))
        .unwrap_or_else(|error| panic!("seed {seed}, {kind}: {error}"));
}

fn replay(setup: Setup, steps: &[Step]) -> std::result::Result<(), TestCaseError> {
    let mut world = World::new(setup);
    for (index, step) in steps.iter().enumerate() {
        world
            .take(*step, index as u64)
            .map_err(|error| TestCaseError::fail(format!("step {index}, {step:?}: {error}")))?;
    }
    world
        .compare_everything()
        .map_err(|error| TestCaseError::fail(format!("at the end: {error}")))
}

#[derive(Debug, Clone, Copy)]
struct Setup {
    kind: FileKind,
    /// `None` lets the first write choose, where the kind allows that.
    log2: Option<u8>,
    suite: u8,
    room: bool,
}

/// What may happen. Places and lengths are shares of the file and of its pages, so that they shrink well.
#[derive(Debug, Clone, Copy)]
enum Step {
    Write { place: Place, len: Len },
    Read { place: Place, len: Len },
    SetLen { place: Place },
    Flush,
    WriteThrough,
    Sync,
    Forget,
    HandOver,
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Start,
    /// In the file, at this share of it.
    Within(u16),
    /// In the file, at the beginning of a page.
    Page(u16),
    End,
    /// So many bytes behind the end.
    Behind(u32),
    /// So many pages behind the end.
    PagesBehind(u16),
    /// More than 4 GiB behind the end.
    FarBehind(u16),
}

#[derive(Debug, Clone, Copy)]
enum Len {
    Bytes(u16),
    Pages(u8),
    ToPageEnd,
}

fn any_setup(kind: FileKind) -> impl Strategy<Value = Setup> {
    let log2 = match kind {
        FileKind::Main => prop_oneof![2 => Just(None), 5 => (9u8..=16).prop_map(Some)].boxed(),
        _ => (9u8..=16).prop_map(Some).boxed(),
    };
    (log2, 0u8..3, any::<bool>()).prop_map(move |(log2, suite, room)| Setup {
        kind,
        log2,
        suite,
        room,
    })
}

fn any_step(handovers: bool) -> impl Strategy<Value = Step> {
    let often = if handovers { 4 } else { 1 };
    prop_oneof![
        9 => (any_place(), any_len()).prop_map(|(place, len)| Step::Write { place, len }),
        4 => (any_place(), any_len()).prop_map(|(place, len)| Step::Read { place, len }),
        2 => any_place().prop_map(|place| Step::SetLen { place }),
        often => Just(Step::Flush),
        1 => Just(Step::WriteThrough),
        often => Just(Step::Sync),
        1 => Just(Step::Forget),
        often => Just(Step::HandOver),
        1 => Just(Step::Reopen),
    ]
}

fn any_place() -> impl Strategy<Value = Place> {
    prop_oneof![
        1 => Just(Place::Start),
        4 => any::<u16>().prop_map(Place::Within),
        3 => any::<u16>().prop_map(Place::Page),
        6 => Just(Place::End),
        1 => (0u32..200_000).prop_map(Place::Behind),
        2 => (0u16..40).prop_map(Place::PagesBehind),
        1 => any::<u16>().prop_map(Place::FarBehind),
    ]
}

fn any_len() -> impl Strategy<Value = Len> {
    prop_oneof![
        5 => (1u16..6000).prop_map(Len::Bytes),
        1 => (1u16..200).prop_map(Len::Bytes),
        2 => (1u8..5).prop_map(Len::Pages),
        1 => (60u8..70).prop_map(Len::Pages),
        2 => Just(Len::ToPageEnd),
    ]
}

/// A file, its two handles, and the vector that it should be.
struct World {
    setup: Setup,
    keys: Arc<DataKeys>,
    disk: SparseDisk,
    handles: [SealedFile<SparseDisk>; 2],
    active: usize,
    model: Sparse,
}

impl World {
    fn new(setup: Setup) -> World {
        let suite = [Suite::One, Suite::Two, Suite::Three][usize::from(setup.suite)];
        let keys = Arc::new(DataKeys::ephemeral(suite).expect("random bytes"));
        let disk = SparseDisk::default();
        let open = || open(setup, &keys, &disk);
        let handles = [open(), open()];
        World {
            setup,
            handles,
            keys,
            disk,
            active: 0,
            model: Sparse::default(),
        }
    }

    fn take(&mut self, step: Step, number: u64) -> std::result::Result<(), String> {
        match step {
            Step::Write { place, len } => {
                let offset = self.offset(place);
                let bytes = pattern(number, offset, self.len(len, offset));
                self.model.write(&bytes, offset);
                self.file().write_at(&bytes, offset).map_err(text)
            }
            Step::Read { place, len } => {
                let offset = self.offset(place);
                self.compare(offset, self.len(len, offset))
            }
            Step::SetLen { place } => {
                let len = self.offset(place);
                self.model.set_len(len);
                self.file().set_len(len).map_err(text)
            }
            Step::Flush => self.file().flush().map_err(text),
            Step::WriteThrough => self.file().flush().map_err(text),
            Step::Sync => self.file().sync().map_err(text),
            Step::Forget => {
                self.file().flush().map_err(text)?;
                self.file().forget();
                Ok(())
            }
            Step::HandOver => {
                self.file().flush().map_err(text)?;
                self.active = 1 - self.active;
                self.file().forget();
                Ok(())
            }
            Step::Reopen => {
                self.file().flush().map_err(text)?;
                self.handles[self.active] = open(self.setup, &self.keys, &self.disk);
                Ok(())
            }
        }
    }

    fn file(&mut self) -> &mut SealedFile<SparseDisk> {
        &mut self.handles[self.active]
    }

    fn page_bytes(&self) -> u64 {
        let size = self.handles[self.active].page_size();
        size.map_or(4096, |size| size.bytes() as u64)
    }

    fn offset(&self, place: Place) -> u64 {
        let (end, page) = (self.model.len, self.page_bytes());
        let share = |share: u16| (u128::from(end) * u128::from(share) / 65536) as u64;
        match place {
            Place::Start => 0,
            Place::Within(at) => share(at),
            Place::Page(at) => share(at) / page * page,
            Place::End => end,
            Place::Behind(by) => end + u64::from(by),
            Place::PagesBehind(by) => end.next_multiple_of(page) + u64::from(by) * page,
            // With all holes taken, the pages between are sealed zeros: not gigabytes of them in a test.
            Place::FarBehind(_) if self.handles[self.active].holes().count() > 8 => end,
            Place::FarBehind(_) if end > 64 << 30 => end,
            Place::FarBehind(by) => end + (4 << 30) + u64::from(by) * 1000,
        }
    }

    fn len(&self, len: Len, offset: u64) -> usize {
        let page = self.page_bytes();
        let bytes = match len {
            Len::Bytes(bytes) => u64::from(bytes),
            Len::Pages(pages) => (u64::from(pages) * page).min(600_000),
            Len::ToPageEnd => page - offset % page,
        };
        bytes as usize
    }

    fn compare(&mut self, offset: u64, len: usize) -> std::result::Result<(), String> {
        if self.setup.kind == FileKind::Main {
            // A cut inside of a page by the other handle is noticed here.
            self.file().len().map_err(text)?;
        }
        let mut found = vec![0xa5; len];
        let read = self.file().read_at(&mut found, offset).map_err(text)?;
        let reported = self.file().len().map_err(text)?;
        let expected = self.model.len;
        let most = match self.setup.kind {
            // Unwritten pages of a log read as zero, and its length may count them (format section 5.1).
            FileKind::WriteAheadLog => expected.next_multiple_of(64 * self.page_bytes()),
            _ => expected,
        };
        if !(expected..=most).contains(&reported) {
            return Err(format!(
                "length {reported}, should be {expected} (at most {most})"
            ));
        }
        let there = reported.saturating_sub(offset).min(len as u64) as usize;
        if read != there {
            return Err(format!("{read} bytes at {offset}, should be {there}"));
        }
        let mut should = vec![0; there];
        self.model.read(&mut should, offset);
        match (0..there).find(|&at| found[at] != should[at]) {
            None => Ok(()),
            Some(at) => Err(format!(
                "byte {} is {:#x}, should be {:#x}; page size {}, length {expected}",
                offset + at as u64,
                found[at],
                should[at],
                self.page_bytes(),
            )),
        }
    }

    /// Everything that was ever written, and what lies around it, through both handles and a third.
    fn compare_everything(&mut self) -> std::result::Result<(), String> {
        self.file().flush().map_err(text)?;
        let places: Vec<u64> = self.model.blocks.keys().copied().collect();
        for round in 0..3 {
            for place in &places {
                self.compare((place * BLOCK).saturating_sub(BLOCK), 3 * BLOCK as usize)?;
            }
            self.compare(self.model.len.saturating_sub(BLOCK), 2 * BLOCK as usize)?;
            self.active = 1 - self.active;
            if round == 1 {
                self.handles[self.active] = open(self.setup, &self.keys, &self.disk);
            } else {
                self.file().forget();
            }
        }
        if self.model.len < 64 << 20 {
            let scrubbed = scrub(self.file(), |_, _| ()).map_err(text)?;
            if !scrubbed.bad.is_empty() {
                return Err(format!("bad pages: {:?}", scrubbed.bad));
            }
        }
        Ok(())
    }
}

fn open(setup: Setup, keys: &Arc<DataKeys>, disk: &SparseDisk) -> SealedFile<SparseDisk> {
    let two = keys.suite().layer_count() == 2 || setup.room;
    let setup = FileSetup {
        keys: keys.clone(),
        kind: setup.kind,
        page_size: setup
            .log2
            .map(|log2| PageSize::from_log2(log2).expect("9 to 16")),
        slot_count: if two { SlotCount::Two } else { SlotCount::One },
        clock: || UnixTime {
            seconds: 1_800_000_000,
            nanos: 0,
        },
    };
    SealedFile::open(disk.clone(), setup).expect("a file opens")
}

fn pattern(number: u64, offset: u64, len: usize) -> Vec<u8> {
    let mix = |at: u64| (at ^ (at >> 8) ^ (number + 1).wrapping_mul(0x9e37_79b9)) as u8;
    (offset..offset + len as u64)
        .map(|at| mix(at) | 1)
        .collect()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Bytes of which most were never written.
#[derive(Default)]
struct Sparse {
    len: u64,
    blocks: BTreeMap<u64, Box<[u8; BLOCK as usize]>>,
}

impl Sparse {
    fn read(&self, out: &mut [u8], offset: u64) -> usize {
        let there = self.len.saturating_sub(offset).min(out.len() as u64) as usize;
        for (block, range, within) in pieces(offset, there) {
            match self.blocks.get(&block) {
                Some(bytes) => out[range.clone()].copy_from_slice(&bytes[within..][..range.len()]),
                None => out[range].fill(0),
            }
        }
        there
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        for (block, range, within) in pieces(offset, bytes.len()) {
            let place = self
                .blocks
                .entry(block)
                .or_insert_with(|| Box::new([0; BLOCK as usize]));
            place[within..][..range.len()].copy_from_slice(&bytes[range]);
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            drop(self.blocks.split_off(&len.div_ceil(BLOCK)));
            if let Some(last) = self.blocks.get_mut(&(len / BLOCK)) {
                last[(len % BLOCK) as usize..].fill(0);
            }
        }
        self.len = len;
    }
}

fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % BLOCK) as usize;
        let part = (BLOCK as usize - within).min(len - done);
        let range = done..done + part;
        done += part;
        (part > 0).then_some((at / BLOCK, range, within))
    })
}

/// A disk of any size that takes the memory of what was written to it.
#[derive(Clone, Default)]
struct SparseDisk(Arc<RwLock<Sparse>>);

impl Disk for SparseDisk {
    fn len(&self) -> Result<u64> {
        Ok(self.0.read().expect("reading does not panic").len)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        Ok(self
            .0
            .read()
            .expect("reading does not panic")
            .read(bytes, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.0
            .write()
            .expect("writing does not panic")
            .write(bytes, offset);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.write().expect("cutting does not panic").set_len(len);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test is replayed with a seed from outside"
)]
fn seed() -> u64 {
    match std::env::var("COFFERDAM_SEED") {
        Ok(seed) => seed.parse().expect("COFFERDAM_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("the clock stands after 1970").as_nanos() as u64
        }
    }
}

const KINDS: [FileKind; 5] = [
    FileKind::Main,
    FileKind::WriteAheadLog,
    FileKind::RollbackJournal,
    FileKind::SuperJournal,
    FileKind::Temporary,
];

const BLOCK: u64 = 4096;
