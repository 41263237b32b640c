//! What is not noticed. `SECURITY.md` says so; here is exactly how much it is.

use cofferdam_sealed_file::{FileKind, SealedFile};
use cofferdam_tests::memory_disk::MemoryDisk;

use crate::companions::{Companion, FRAMES as LOG_FRAMES, SYNCED, open};
use crate::fixture::{Fixture, HOLE, PAGE, PAGES, RECORD, RECORDS, flipped};
use crate::{in_parallel, refused};

pub(crate) fn run(fixture: &Fixture) {
    stale_frames(fixture);
    unused_bytes(fixture);
    companions_without_a_record(fixture);
    tails_that_were_never_synced(fixture);
    older_homes(fixture);
}

/// An old frame at its own place is what it once was: the page's old content, and of that page only.
fn stale_frames(fixture: &Fixture) {
    let written: Vec<usize> = (0..PAGES).filter(|page| !HOLE.contains(page)).collect();
    in_parallel(&written, |&stale| {
        let mut bytes = fixture.ours.bytes.clone();
        let place = fixture.frame(stale);
        bytes[place.clone()].copy_from_slice(&fixture.ours.stale[place]);
        let pages = fixture.ours.pages(bytes).expect("it opens");
        for (number, page) in pages.iter().enumerate() {
            let page = page.as_ref().expect("every page opens");
            let content = if number == stale {
                &fixture.ours.stale_content
            } else {
                &fixture.ours.content
            };
            assert_eq!(page[..], content[number * PAGE..][..PAGE]);
        }
    });
}

/// Between the records, in holes, and after the last frame nothing is looked at.
fn unused_bytes(fixture: &Fixture) {
    let mut bytes = fixture.ours.bytes.clone();
    for record in RECORDS {
        bytes[record + RECORD..record + 4096].fill(0xa5);
    }
    for page in HOLE {
        let place = fixture.frame(page);
        bytes[place].fill(0xa5);
    }
    bytes.extend([0xa5; 1000]);
    fixture.refuses_pages(bytes, &[], "unused bytes");
}

/// Whoever could damage both copies of a companion's record could have removed the file.
fn companions_without_a_record(fixture: &Fixture) {
    for kind in [FileKind::WriteAheadLog, FileKind::RollbackJournal] {
        let mut bytes = Companion::new(&fixture.ours, fixture, kind).bytes;
        bytes[100] ^= 1;
        bytes[4096 + 100] ^= 1;
        let pages = open(&fixture.ours, fixture, kind, bytes).expect("an empty file");
        assert!(pages.is_empty());
    }
}

/// What was written after the last sync reads as it was written or as zero.
fn tails_that_were_never_synced(fixture: &Fixture) {
    for kind in [FileKind::WriteAheadLog, FileKind::RollbackJournal] {
        let companion = Companion::new(&fixture.ours, fixture, kind);
        let mut bytes = companion.bytes.clone();
        let tail = LOG_FRAMES + (64 + SYNCED) * fixture.stride();
        bytes[tail + 9] ^= 1;
        let pages = open(&fixture.ours, fixture, kind, bytes).expect("it opens");
        let last = pages[SYNCED].as_ref().expect("a torn tail is no error");
        assert!(last.iter().all(|byte| *byte == 0), "{kind}");
    }
}

/// A page of a log that was filled in three runs is in its tail home, and its whole home holds what it was after two: a
/// stale frame of the same page. Damage is noticed; only to remove the newer frame, or to make it claim an
/// older version, is to put the stale one back.
fn older_homes(fixture: &Fixture) {
    let setup = fixture
        .ours
        .companion(FileKind::WriteAheadLog, fixture.slots);
    let mut file = SealedFile::open(MemoryDisk::new(), setup).expect("a log opens");
    let content = fixture.random(20).bytes(3 * PAGE);
    let runs = [0, PAGE + 100, PAGE + 200, 2 * PAGE, 3 * PAGE];
    for run in runs.windows(2) {
        file.write_at(&content[run[0]..run[1]], run[0] as u64)
            .expect("written");
        file.flush().expect("flushed");
    }
    file.sync().expect("synced");
    file.flush().expect("flushed");
    let bytes = file.disk().bytes();
    let tail = LOG_FRAMES + (64 + 1) * fixture.stride();
    let page = |bytes: Vec<u8>| {
        let mut pages =
            open(&fixture.ours, fixture, FileKind::WriteAheadLog, bytes).expect("it opens");
        pages.swap_remove(1)
    };
    assert_eq!(page(bytes.clone()).expect("opens"), content[PAGE..2 * PAGE]);
    for at in [0, 300, PAGE, PAGE + 4, PAGE + 20, PAGE + 33, PAGE + 50] {
        let refusal = page(flipped(&bytes, tail + at, 3)).expect_err("damage is noticed");
        let text = refusal.to_string();
        assert!(
            text.starts_with("page 1 of the write-ahead log was altered"),
            "{text}"
        );
        refused();
    }
    let mut removed = bytes;
    removed[tail..tail + fixture.stride()].fill(0);
    let older = page(removed).expect("the older home opens");
    assert_eq!(older[..200], content[PAGE..PAGE + 200]);
    assert_eq!(older[200..], [0; PAGE - 200]);
}
