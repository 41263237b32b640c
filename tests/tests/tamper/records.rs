//! The file record of a main file (format section 4).

use crate::fixture::{Fixture, RECORD, RECORDS, flipped};
use crate::in_parallel;

pub(crate) fn run(fixture: &Fixture) {
    let alone = with_one_copy(fixture);
    flip_bits(fixture, &alone);
    claim_absurdities(fixture, &alone);
    put_others_in(fixture, &alone);
}

/// The newest copy of the record, and no other.
fn with_one_copy(fixture: &Fixture) -> Vec<u8> {
    let mut bytes = fixture.ours.bytes.clone();
    let sequence = |copy: usize| {
        let at = RECORDS[copy] + 48;
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
    };
    let (newest, older) = if sequence(0) > sequence(1) {
        (0, 1)
    } else {
        (1, 0)
    };
    let record = bytes[RECORDS[newest]..][..RECORD].to_vec();
    bytes[RECORDS[0]..][..RECORD].copy_from_slice(&record);
    bytes[RECORDS[1]..][..RECORD].fill(0);
    let _ = older;
    fixture.refuses_pages(bytes.clone(), &[], "one copy of the record is enough");
    bytes
}

/// Every byte of it.
fn flip_bits(fixture: &Fixture, alone: &[u8]) {
    let random = &mut fixture.random(3);
    let jobs: Vec<(usize, u64)> = (0..RECORD).map(|at| (at, random.below(8))).collect();
    in_parallel(&jobs, |&(at, bit)| {
        let bytes = flipped(alone, RECORDS[0] + at, bit);
        let expected = if STORE.contains(&at) {
            OTHER_STORE
        } else {
            ALTERED
        };
        fixture.refuses_file(
            bytes,
            &[expected],
            &format!("byte {at} of the record, bit {bit}"),
        );
    });
}

/// Lengths, counts and numbers that would break a reader who believed them.
fn claim_absurdities(fixture: &Fixture, alone: &[u8]) {
    let mut jobs = Vec::new();
    for (at, len) in [
        (8, 2),
        (10, 1),
        (11, 1),
        (12, 1),
        (13, 1),
        (14, 2),
        (48, 8),
        (56, 8),
        (64, 8),
        (72, 8),
        (80, 8),
        (88, 8),
    ] {
        for value in [0u64, 1, 17, 255, 65535, 1 << 53, u64::MAX / 2, u64::MAX] {
            let mut bytes = alone.to_vec();
            bytes[RECORDS[0] + at..][..len].copy_from_slice(&value.to_le_bytes()[..len]);
            if bytes != alone {
                jobs.push((at, value, bytes));
            }
        }
    }
    in_parallel(&jobs, |(at, value, bytes)| {
        fixture.refuses_file(
            bytes.clone(),
            &[ALTERED],
            &format!("{value} at {at} of the record"),
        );
    });
    let mut none = alone.to_vec();
    none[RECORDS[0]..][..RECORD].fill(0);
    fixture.refuses_file(none, &[ALTERED], "no record");
    let cut = alone[..RECORDS[0] + RECORD - 64].to_vec();
    fixture.refuses_file(cut, &[ALTERED], "a record without its MACs");
}

/// Records of other files and stores, and two that contradict each other.
fn put_others_in(fixture: &Fixture, alone: &[u8]) {
    let mut foreign = alone.to_vec();
    foreign[RECORDS[0]..][..RECORD].copy_from_slice(&fixture.theirs.bytes[RECORDS[0]..][..RECORD]);
    fixture.refuses_file(foreign, &[OTHER_STORE], "the record of another store");
    // Authentic, of the same store, and of another file.
    for (kind, companion) in crate::companions::all(fixture) {
        let mut other = alone.to_vec();
        other[RECORDS[0]..][..RECORD].copy_from_slice(&companion.bytes[..RECORD]);
        fixture.refuses_file(other, &[ALTERED], &format!("the record of a {kind}"));
    }
}

const STORE: std::ops::Range<usize> = 16..32;
pub(crate) const ALTERED: &str = "the record at the head of the database was altered";
pub(crate) const OTHER_STORE: &str = "the database belongs to another database";
