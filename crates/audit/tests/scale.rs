//! How the log behaves when it is long. Run in release: `cargo test --release -p cofferdam-audit --test scale -- --nocapture`.

#![allow(clippy::disallowed_methods, reason = "it measures time")]

mod common;

use std::fs;
use std::time::Instant;

use cofferdam_audit::{
    AuditLog, Checkpoint, Event, LogReader, Sink, VerifyError, prove, prove_consistency, verify,
};
use sha2::{Digest, Sha256};

use common::{STORE, event, log_of, open};

/// 100,000 events: two levels of whole tiles, proofs across them, and opening stays quick.
#[test]
#[cfg_attr(debug_assertions, ignore = "for the release build")]
fn a_long_log_verifies_in_one_pass() {
    let (_temporary, dir) = log_of(0);
    let log = open(&dir);
    let started = Instant::now();
    let mut middle: Option<Checkpoint> = None;
    for first in (0..100_000).step_by(1000) {
        let events: Vec<Event> = (first..first + 1000).map(event).collect();
        log.record_all(&events).expect("recorded");
        if first == 66_000 {
            middle = Some(log.checkpoint().expect("open"));
        }
    }
    println!("100,000 events in batches of 1000: {:?}", started.elapsed());
    let key = log.verifier_key().clone();
    let started = Instant::now();
    let report = verify(&dir, &key, middle.as_ref()).expect("verifies");
    println!("verify 100,000 events: {:?}", started.elapsed());
    assert_eq!(report.stores[STORE], 99_999);

    let started = Instant::now();
    let reopened = open(&dir);
    println!("open for appending: {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(
        AuditLog::anchored_sequence(&dir, STORE, &key).expect("there"),
        Some(99_999)
    );
    println!("anchored sequence: {:?}", started.elapsed());
    let mut reader = LogReader::open(&dir, &key).expect("opens");
    for index in [0, 255, 65_535, 65_536, 70_000, 99_999] {
        let entry = reader.entry(index).expect("there");
        prove(&dir, &key, index)
            .expect("proved")
            .verify(&key, &entry)
            .expect("holds");
    }
    let middle = middle.expect("kept");
    prove_consistency(&dir, &key, middle.size())
        .expect("proved")
        .verify(&key, &middle)
        .expect("holds");
    drop(reopened);

    // An entry and its hash changed together: the tile above, which is whole, gives it away.
    let (bundle, tile) = (dir.join("tile/entries/000"), dir.join("tile/0/000"));
    let (mut entries, mut hashes) = (
        fs::read(&bundle).expect("there"),
        fs::read(&tile).expect("there"),
    );
    let len = usize::from(u16::from_be_bytes([entries[0], entries[1]]));
    let entry = &mut entries[2..2 + len];
    let place = entry
        .windows(7)
        .position(|part| part == b"success")
        .expect("it was one");
    entry[place..place + 7].copy_from_slice(b"refused");
    hashes[..32].copy_from_slice(
        &Sha256::new()
            .chain_update([0])
            .chain_update(entry)
            .finalize(),
    );
    fs::write(&bundle, &entries).expect("written");
    fs::write(&tile, &hashes).expect("written");
    let found = verify(&dir, &key, None);
    assert!(
        matches!(found, Err(VerifyError::Tile { level: 0, index: 0 })),
        "{found:?}"
    );
}

/// What one append costs, with and without an anchor to move, and beside another writer.
#[test]
#[cfg_attr(debug_assertions, ignore = "for the release build")]
fn one_append() {
    let (_temporary, dir) = log_of(0);
    let (log, other) = (open(&dir), open(&dir));
    let plain = Event {
        object: None,
        ..event(0)
    };
    let report = |name: &str, mut times: Vec<u128>| {
        times.sort_unstable();
        println!(
            "{name}: median {} µs, 99th of a hundred {} µs",
            times[times.len() / 2],
            times[times.len() * 99 / 100]
        );
    };
    let measure = |append: &mut dyn FnMut(u64)| {
        (0..1000)
            .map(|number| {
                let started = Instant::now();
                append(number);
                started.elapsed().as_micros()
            })
            .collect()
    };
    report(
        "append",
        measure(&mut |_| {
            log.record(&plain).expect("recorded");
        }),
    );
    report(
        "append that moves an anchor",
        measure(&mut |number| {
            log.record(&event(number)).expect("recorded");
        }),
    );
    report(
        "append, two writers in turn",
        measure(&mut |number| {
            let log = if number % 2 == 0 { &log } else { &other };
            log.record(&plain).expect("recorded");
        }),
    );
}
