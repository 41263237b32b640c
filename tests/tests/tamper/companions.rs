//! Logs and journals (format section 5.1).

use cofferdam_sealed_file::{Error, FileKind, SealedFile};
use cofferdam_tests::memory_disk::MemoryDisk;

use crate::fixture::{Fixture, Made, PAGE, Page, flipped, read_pages};
use crate::{in_parallel, refused};

/// A companion of our store.
pub(crate) struct Companion {
    pub(crate) kind: FileKind,
    pub(crate) bytes: Vec<u8>,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn run(fixture: &Fixture) {
    let stride = fixture.stride();
    for (kind, companion) in all(fixture) {
        let random = &mut fixture.random(6);
        let mut jobs = Vec::new();
        for page in 1..SYNCED {
            let start = FRAMES + page * stride;
            let sample: Vec<usize> = (0..20).map(|_| random.index(PAGE)).collect();
            for at in (PAGE..stride).chain(sample) {
                if !is_checksum(fixture, at) {
                    let bytes = flipped(&companion.bytes, start + at, random.below(8));
                    jobs.push((page, format!("byte {at}"), bytes));
                }
            }
            let mut zeroed = companion.bytes.clone();
            zeroed[start..start + stride].fill(0);
            jobs.push((page, "zeroed".to_owned(), zeroed));
            let mut moved = companion.bytes.clone();
            let other = FRAMES + (page % (SYNCED - 1) + 1) * stride;
            moved.copy_within(other..other + stride, start);
            jobs.push((page, "another page's frame".to_owned(), moved));
            let mut main = companion.bytes.clone();
            let frame = fixture.frame(page);
            main[start..start + stride].copy_from_slice(&fixture.ours.bytes[frame]);
            jobs.push((page, "the main file's frame".to_owned(), main));
        }
        in_parallel(&jobs, |(page, what, bytes)| {
            let pages = open(&fixture.ours, fixture, kind, bytes.clone()).expect("the file opens");
            companion.refuses_page(&pages, *page, what);
        });
        cut(fixture, &companion);
        foreign(fixture, &companion);
    }
}

/// One of each kind. Their first pages are synced and recorded as such.
pub(crate) fn all(fixture: &Fixture) -> Vec<(FileKind, Companion)> {
    let kinds = [
        FileKind::WriteAheadLog,
        FileKind::RollbackJournal,
        FileKind::SuperJournal,
    ];
    let make = |kind| (kind, Companion::new(&fixture.ours, fixture, kind));
    kinds.into_iter().map(make).collect()
}

impl Companion {
    pub(crate) fn new(made: &Made, fixture: &Fixture, kind: FileKind) -> Companion {
        let content = fixture.random(7 + kind as u64).bytes(SYNCED * PAGE + 100);
        let setup = made.companion(kind, fixture.slots);
        let mut file = SealedFile::open(MemoryDisk::new(), setup).expect("a companion opens");
        file.write_at(&content, 0).expect("written");
        file.sync().expect("synced");
        file.flush().expect("flushed");
        Companion {
            kind,
            bytes: file.disk().bytes(),
            content,
        }
    }

    fn refuses_page(&self, pages: &[Page], bad: usize, what: &str) {
        for (number, content) in self.content.chunks(PAGE).enumerate() {
            match &pages[number] {
                Ok(page) if number != bad => assert_eq!(page[..content.len()], *content, "{what}"),
                Ok(_) => panic!("{what}: page {number} of the {} is served", self.kind),
                Err(error) => {
                    assert_eq!(number, bad, "{what}: {error}");
                    let expected = format!("page {number} of the {} was altered", self.kind);
                    let text = error.to_string();
                    assert!(text.starts_with(&expected), "{what}: {text}");
                    refused();
                }
            }
        }
    }
}

/// What was synced and is cut off is an error, not the end of the log.
fn cut(fixture: &Fixture, companion: &Companion) {
    let jobs: Vec<usize> = (1..SYNCED).collect();
    in_parallel(&jobs, |&page| {
        for at in [0, 1, PAGE] {
            let end = FRAMES + page * fixture.stride() + at;
            let bytes = companion.bytes[..end].to_vec();
            let pages = open(&fixture.ours, fixture, companion.kind, bytes).expect("it opens");
            for gone in &pages[page..SYNCED] {
                assert!(matches!(gone, Err(Error::PageAltered { .. })));
                refused();
            }
        }
    });
}

/// A companion of another store next to our database.
fn foreign(fixture: &Fixture, companion: &Companion) {
    let theirs = Companion::new(&fixture.theirs, fixture, companion.kind);
    let refusal = open(&fixture.ours, fixture, companion.kind, theirs.bytes);
    let text = refusal
        .expect_err("another store's file is refused")
        .to_string();
    let expected = format!("the {} belongs to another database", companion.kind);
    assert!(text.starts_with(&expected), "{text}");
    refused();
}

pub(crate) fn open(
    made: &Made,
    fixture: &Fixture,
    kind: FileKind,
    bytes: Vec<u8>,
) -> Result<Vec<Page>, Error> {
    let setup = made.companion(kind, fixture.slots);
    let mut file = SealedFile::open(MemoryDisk::with(bytes), setup)?;
    read_pages(&mut file)
}

fn is_checksum(fixture: &Fixture, at: usize) -> bool {
    let slot = PAGE + 64 * (fixture.suite.layer_count() - 1);
    (slot + 60..slot + 64).contains(&at)
}

/// Pages that are synced.
pub(crate) const SYNCED: usize = 6;
pub(crate) const FRAMES: usize = 8192;
