//! Frames of a main file (format section 3).

use cofferdam_sealed_file::scrub_without_keys;
use cofferdam_tests::memory_disk::MemoryDisk;

use crate::fixture::{FRAMES, Fixture, HOLE, PAGE, PAGES, flipped, number};
use crate::in_parallel;

pub(crate) fn run(fixture: &Fixture) {
    flip_bits(fixture);
    move_frames(fixture);
    zero_frames(fixture);
    cut_and_extend(fixture);
    strip_layers(fixture);
}

/// Every byte of the slots of some pages, and a sample of the bytes before them.
fn flip_bits(fixture: &Fixture) {
    let random = &mut fixture.random(1);
    let checksum = fixture.stride() - 4;
    // One active layer and two slots: the checksum is in the first one, and the second must be empty.
    let checksum = match (fixture.suite.layer_count(), fixture.slots) {
        (1, 2) => checksum - 64,
        _ => checksum,
    };
    let mut jobs = Vec::new();
    for page in [0, 5, PAGES - 1] {
        let frame = fixture.frame(page);
        let sample = (0..40).map(|_| random.index(PAGE)).collect::<Vec<_>>();
        for at in sample.into_iter().chain(PAGE..fixture.stride()) {
            jobs.push((page, at, frame.start + at, random.below(8)));
        }
    }
    in_parallel(&jobs, |&(page, at, offset, bit)| {
        let bytes = flipped(&fixture.ours.bytes, offset, bit);
        let what = format!("byte {at} of frame {page}, bit {bit}");
        if (checksum..checksum + 4).contains(&at) {
            // The checksum serves a scrub that has no keys; the reader relies on the tags (section 3.1).
            fixture.refuses_pages(bytes.clone(), &[], &what);
        } else {
            fixture.refuses_pages(bytes.clone(), &[page], &what);
        }
        // A room for a second layer is covered by the checksum, as everything else.
        let scrubbed = scrub_without_keys(&MemoryDisk::with(bytes), |_, _| ()).expect("scrubbed");
        assert_eq!(scrubbed.bad, [number(page)], "{what}");
    });
}

/// Frames at the place of others: in the same file, of another file of the store, of another store.
fn move_frames(fixture: &Fixture) {
    let written: Vec<usize> = (0..PAGES).filter(|page| !HOLE.contains(page)).collect();
    let mut jobs = Vec::new();
    for &from in &written {
        for &to in &written {
            if from != to {
                jobs.push((from, to));
            }
        }
    }
    in_parallel(&jobs, |&(from, to)| {
        let (source, place) = (fixture.frame(from), fixture.frame(to));
        let mut copied = fixture.ours.bytes.clone();
        copied.copy_within(source.clone(), place.start);
        fixture.refuses_pages(copied, &[to], &format!("frame {from} at the place of {to}"));
        if from < to {
            let mut swapped = fixture.ours.bytes.clone();
            let (low, high) = swapped.split_at_mut(place.start);
            low[source.clone()].swap_with_slice(&mut high[..source.len()]);
            fixture.refuses_pages(
                swapped,
                &[from, to],
                &format!("frames {from} and {to} swapped"),
            );
        }
    });
    in_parallel(&written, |&page| {
        let place = fixture.frame(page);
        let mut foreign = fixture.ours.bytes.clone();
        foreign[place.clone()].copy_from_slice(&fixture.theirs.bytes[place.clone()]);
        fixture.refuses_pages(foreign, &[page], &format!("frame {page} of another store"));
        // Only the sealed bytes, only the slots.
        for part in [
            place.start..place.start + PAGE,
            place.start + PAGE..place.end,
        ] {
            let mut mixed = fixture.ours.bytes.clone();
            mixed[part.clone()].copy_from_slice(&fixture.ours.stale[part.clone()]);
            fixture.refuses_pages(mixed, &[page], &format!("frame {page}, half of it stale"));
        }
    });
}

fn zero_frames(fixture: &Fixture) {
    let mut all = fixture.ours.bytes.clone();
    all[FRAMES..].fill(0);
    let written: Vec<usize> = (0..PAGES).filter(|page| !HOLE.contains(page)).collect();
    fixture.refuses_pages(all, &written, "all frames zeroed");
    in_parallel(&written, |&page| {
        for part in [0..fixture.stride(), 0..PAGE, PAGE..fixture.stride()] {
            let mut bytes = fixture.ours.bytes.clone();
            let start = fixture.frame(page).start;
            bytes[start + part.start..start + part.end].fill(0);
            fixture.refuses_pages(bytes, &[page], &format!("frame {page}, {part:?} zeroed"));
        }
    });
}

/// Cut at every boundary of a frame and inside of each; longer than it was.
fn cut_and_extend(fixture: &Fixture) {
    let random = &mut fixture.random(2);
    let mut jobs = Vec::new();
    for page in 0..PAGES {
        let frame = fixture.frame(page);
        jobs.push((page, frame.start));
        jobs.push((page, frame.start + 1 + random.index(frame.len() - 1)));
        jobs.push((page, frame.end - 1));
    }
    in_parallel(&jobs, |&(page, at)| {
        let bytes = fixture.ours.bytes[..at].to_vec();
        let gone: Vec<usize> = (page..PAGES).filter(|page| !HOLE.contains(page)).collect();
        // A checksum is not looked at, and a room for a second layer is zero with or without its bytes.
        let room = 64 * (fixture.slots - fixture.suite.layer_count());
        let harmless = at + 4 + room >= fixture.frame(page).end;
        let gone = if harmless { later(&gone, page) } else { gone };
        fixture.refuses_pages(bytes, &gone, &format!("cut at {at}, in frame {page}"));
    });
    let mut longer = fixture.ours.bytes.clone();
    longer.extend(random.bytes(3 * fixture.stride() + 17));
    fixture.refuses_pages(longer, &[], "bytes after the last frame belong to nobody");
}

fn later(pages: &[usize], than: usize) -> Vec<usize> {
    pages.iter().copied().filter(|page| *page > than).collect()
}

/// The second layer taken away, or one that the policy does not have put on.
fn strip_layers(fixture: &Fixture) {
    if fixture.slots == 1 {
        return;
    }
    let start = fixture.frame(3).start;
    let (first, second) = (start + PAGE, start + PAGE + 64);
    let double = fixture.suite.layer_count() == 2;
    if double {
        let mut stripped = fixture.ours.bytes.clone();
        stripped[second..second + 64].fill(0);
        fixture.refuses_pages(stripped, &[3], "the second layer's slot emptied");
    } else {
        let mut added = fixture.ours.bytes.clone();
        added.copy_within(first..first + 64, second);
        fixture.refuses_pages(added, &[3], "a second layer that is not in the policy");
    }
    for (slot, name) in [(first, "first"), (second, "second")] {
        for algorithm in 0..=5 {
            let mut bytes = fixture.ours.bytes.clone();
            if bytes[slot + 1] != algorithm {
                bytes[slot + 1] = algorithm;
                let what = format!("algorithm {algorithm} in the {name} slot");
                fixture.refuses_pages(bytes, &[3], &what);
            }
        }
    }
}
