//! The keyring at the head of a main file (format section 6), and old ones put back.

use std::fs;

use cofferdam_keys::Layer;
use cofferdam_sealed_file::{Custodian, Error};

use crate::fixture::{Fixture, SLOT, flipped};
use crate::records::ALTERED;
use crate::{in_parallel, refused};

pub(crate) fn run(fixture: &Fixture) {
    flip_bits(fixture);
    claim_absurdities(fixture);
    swap(fixture);
}

/// Every byte of it, and a sample of the zeros behind.
fn flip_bits(fixture: &Fixture) {
    let random = &mut fixture.random(4);
    let bytes = &fixture.ours.bytes;
    let end = keyring_len(bytes);
    let sample: Vec<usize> = (0..40).map(|_| end + random.index(SLOT - end)).collect();
    let jobs: Vec<(usize, u64)> = (0..end)
        .chain(sample)
        .map(|at| (at, random.below(8)))
        .collect();
    in_parallel(&jobs, |&(at, bit)| {
        let what = format!("byte {at} of the keyring, bit {bit}");
        refuses(fixture, flipped(bytes, at, bit), &what);
    });
}

/// Lengths, counts and numbers that would break a reader who believed them.
fn claim_absurdities(fixture: &Fixture) {
    const VALUES: [u64; 12] = [0, 1, 2, 3, 4, 17, 65, 255, 65535, 16385, 1 << 31, u64::MAX];
    let fields = [
        (8, 2),
        (10, 1),
        (11, 1),
        (12, 4),
        (32, 8),
        (40, 8),
        (56, 2),
        (58, 2),
        (60, 4),
    ];
    let lengths_of_the_first_wrap = [(68, 2), (70, 2), (72, 2)];
    let mut jobs = Vec::new();
    for (at, len) in fields.into_iter().chain(lengths_of_the_first_wrap) {
        for value in VALUES {
            let mut bytes = fixture.ours.bytes.clone();
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
            if bytes != fixture.ours.bytes {
                jobs.push((at, value, bytes));
            }
        }
    }
    in_parallel(&jobs, |(at, value, bytes)| {
        refuses(
            fixture,
            bytes.clone(),
            &format!("{value} at {at} of the keyring"),
        );
    });
    if fixture.suite.layer_count() == 2 {
        let mut downgraded = fixture.ours.bytes.clone();
        downgraded[10] = 1;
        downgraded[11] = 1;
        refuses(fixture, downgraded, "a suite without the second layer");
    }
}

fn swap(fixture: &Fixture) {
    let ours = &fixture.ours.bytes;
    let mut foreign = ours.clone();
    foreign[..SLOT].copy_from_slice(&fixture.theirs.bytes[..SLOT]);
    // The log beside our store is not the log of theirs.
    let starts = ["the database belongs to another database", "audit log"];
    fixture.refuses_file(foreign, &starts, "the keyring of another store");
    let mut none = ours.clone();
    none[..SLOT].fill(0);
    refuses(fixture, none, "no keyring");
    let mut plain = ours.clone();
    plain[..16].copy_from_slice(b"SQLite format 3\0");
    fixture.refuses_file(
        plain,
        &["a plain SQLite database"],
        "a plain database's head",
    );
    refuses(fixture, vec![7; ours.len()], "something else");
    for end in [SLOT / 2, SLOT, 2 * SLOT] {
        let what = format!("nothing after byte {end} of the keyrings");
        fixture.refuses_file(ours[..end].to_vec(), &[ALTERED], &what);
    }
}

fn keyring_len(slot: &[u8]) -> usize {
    u32::from_le_bytes(slot[12..16].try_into().expect("4 bytes")) as usize
}

/// The keyring is what the error is about.
fn refuses(fixture: &Fixture, bytes: Vec<u8>, what: &str) {
    match fixture.ours.pages(bytes) {
        Err(Error::Keys(error)) => assert!(!error.to_string().is_empty(), "{what}"),
        Err(
            error @ Error::NotSealed {
                plain_sqlite: false,
            },
        ) => {
            assert!(
                error.to_string().contains("no keyring at its head"),
                "{what}"
            );
        }
        Err(error) => panic!("{what}: {error}"),
        Ok(_) => panic!("{what}: served"),
    }
    refused();
}

/// Goal: keyrings that were valid once are noticed through the audit log, and can be accepted on purpose.
pub(crate) fn rollback(fixture: &Fixture) {
    let ours = &fixture.ours;
    let work = fixture.directory.path().join("ours");
    let first = ours.bytes.clone();
    fs::write(&work, &first).expect("written");
    let rotate = || {
        let mut custodian = Custodian::open(&ours.opener, &work).expect("in hand");
        custodian.rotate_kek(Layer::Customer).expect("rotated");
        fs::read(&work).expect("read")
    };
    let second = rotate();
    let third = rotate();
    fixture.refuses_pages(third.clone(), &[], "a rotated keyring");
    // After a rotation both slots hold the new keyring, so that either may be lost.
    for at in [0, 100, SLOT, SLOT + 100] {
        fixture.refuses_pages(flipped(&third, at, 1), &[], "one of two copies");
    }
    // A rotation that was cut short: the newest one stands in slot 0, the second in slot 1.
    let mut third = third;
    third[SLOT..2 * SLOT].copy_from_slice(&second[SLOT..2 * SLOT]);
    fs::write(&work, &third).expect("written");
    let custodian = Custodian::open(&ours.opener, &work).expect("in hand");
    custodian.revalidate().expect("the keys are there");
    drop(custodian);
    let ended = fs::read(&work).expect("read");
    assert_eq!(ended[..SLOT], third[..SLOT]);
    assert_eq!(
        ended[SLOT..2 * SLOT],
        third[..SLOT],
        "what was rewrapped is still there"
    );
    let mut random = fixture.random(5);
    let end = keyring_len(&third);
    let mut jobs: Vec<Vec<u8>> = (0..end)
        .map(|at| flipped(&third, at, random.below(8)))
        .collect();
    for torn in (0..end).step_by(512) {
        // A slot that was torn at a sector: the rest is the first keyring's.
        let mut bytes = third.clone();
        bytes[torn..SLOT].copy_from_slice(&first[torn..SLOT]);
        jobs.push(bytes);
    }
    let mut zeroed = third.clone();
    zeroed[..SLOT].fill(0);
    jobs.extend([first.clone(), second.clone(), zeroed]);
    in_parallel(&jobs, |bytes| {
        refuse_rolled_back(fixture, bytes.clone(), "an old keyring")
    });
    for at in 0..64 {
        // What is in the older slot is nobody's.
        fixture.refuses_pages(flipped(&third, SLOT + at, 1), &[], "the older slot");
    }
    for (name, copy) in [("first", &first), ("second", &second)] {
        accept(fixture, name, copy);
    }
}

fn refuse_rolled_back(fixture: &Fixture, bytes: Vec<u8>, what: &str) {
    match fixture.ours.pages(bytes) {
        Err(error @ Error::RolledBack { found, anchored }) => {
            assert!(found < anchored, "{what}");
            let text = error.to_string();
            assert!(text.contains("this is an old copy"), "{what}: {text}");
            refused();
        }
        Err(error @ Error::Keys(_)) => {
            // The newest keyring still authenticates itself as one that does not unlock.
            assert!(!error.to_string().is_empty());
            refused();
        }
        Err(error) => panic!("{what}: {error}"),
        Ok(_) => panic!("{what}: served"),
    }
}

/// An old copy that was restored on purpose, with the old contents of its pages.
fn accept(fixture: &Fixture, name: &str, copy: &[u8]) {
    let ours = &fixture.ours;
    let work = fixture.directory.path().join("ours");
    fs::write(&work, copy).expect("written");
    let open = || ours.opener.open_main(&work).map(|_| ());
    let refusal = open().expect_err("an old copy is refused");
    assert!(
        matches!(refusal, Error::RolledBack { .. }),
        "{name}: {refusal}"
    );
    refused();
    let refusal = Custodian::open(&ours.opener, &work).map(|_| ());
    assert!(matches!(refusal, Err(Error::RolledBack { .. })), "{name}");
    refused();
    let mut custodian = Custodian::open_rolled_back(&ours.opener, &work).expect("in hand");
    let busy = Custodian::open_rolled_back(&ours.opener, &work).map(|_| ());
    assert!(matches!(busy, Err(Error::Busy)), "{name}");
    custodian.accept_rollback().expect("accepted");
    drop(custodian);
    open().expect("an accepted copy opens");
    let pages = ours.pages(fs::read(&work).expect("read")).expect("opens");
    for (number, page) in pages.iter().enumerate() {
        let page = page.as_ref().expect("every page opens");
        assert_eq!(page[..], ours.content[number * page.len()..][..page.len()]);
    }
}
