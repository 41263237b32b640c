//! A log does what its documentation says, as long as nobody tampers with it.

mod common;

use std::collections::BTreeMap;
use std::fs;

use cofferdam_audit::{
    Action, AuditError, AuditLog, Checkpoint, ConsistencyProof, Event, Filter, LogReader,
    LoggedEvent, Object, Outcome, Proof, Sink, UnixTime, VerifierKey, VerifyError, prove,
    prove_consistency, verify,
};
use common::{ORIGIN, SEED, STORE, clock, event, files, log_of, open};
use ct_merkle::mem_backed_tree::MemoryBackedTree;

#[test]
fn events_come_back_as_they_were_told() {
    let (_temporary, dir) = log_of(0);
    let log = open(&dir);
    for number in 0..300 {
        assert_eq!(log.record(&event(number)).expect("recorded").index, number);
    }
    let mut reader = LogReader::open(&dir, log.verifier_key()).expect("opens");
    for number in [0, 1, 255, 256, 299] {
        let logged = reader.event(number).expect("there");
        assert_eq!((logged.index, &logged.event), (number, &event(number)));
    }
    assert!(matches!(
        reader.event(300),
        Err(VerifyError::NoSuchEvent {
            index: 300,
            size: 300
        })
    ));
    let report = verify(&dir, log.verifier_key(), None).expect("verifies");
    assert_eq!(report.stores, BTreeMap::from([(STORE.to_owned(), 299)]));
    assert_eq!(report.clock_steps_back, Vec::<u64>::new());
    assert!(report.first_time < report.last_time);
}

#[test]
fn the_files_are_those_of_a_tiled_log() {
    let (_temporary, dir) = log_of(513);
    let names: Vec<String> = files(&dir)
        .iter()
        .map(|name| name.display().to_string())
        .collect();
    let anchor = format!("anchor/{STORE}");
    let expected = [
        anchor.as_str(),
        "checkpoint",
        "lock",
        "log.vkey",
        "tail",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/1",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/1",
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::read(dir.join("tile/0/000")).expect("there").len(), 8192);
}

/// A log that was appended to one by one keeps no more partial files than two checkpoints need.
#[test]
fn old_partial_files_go() {
    let (_temporary, dir) = log_of(0);
    let log = open(&dir);
    for number in 0..258 {
        log.record(&event(number)).expect("recorded");
    }
    let partial = files(&dir)
        .iter()
        .filter(|name| name.display().to_string().contains(".p/"))
        .count();
    assert!(partial <= 6, "{partial}: {:?}", files(&dir));
}

#[test]
fn another_seed_or_origin_is_refused() {
    let (_temporary, dir) = log_of(3);
    for (origin, seed) in [(ORIGIN, [1; 32]), ("audit.example/else", SEED)] {
        let refused = AuditLog::open_or_create(&dir, origin, &seed, clock);
        assert!(matches!(refused, Err(AuditError::OtherKey)));
        // Nor does it help to remove the key that is written there.
        let vkey = fs::read(dir.join("log.vkey")).expect("there");
        fs::remove_file(dir.join("log.vkey")).expect("removed");
        let refused = AuditLog::open_or_create(&dir, origin, &seed, clock);
        assert!(matches!(refused, Err(AuditError::OtherKey)));
        fs::write(dir.join("log.vkey"), vkey).expect("written");
    }
    assert_eq!(open(&dir).checkpoint().expect("open").size(), 3);
}

#[test]
fn several_writers_take_turns() {
    let (_temporary, dir) = log_of(0);
    let (one, two) = (open(&dir), open(&dir));
    std::thread::scope(|scope| {
        for log in [&one, &two] {
            scope.spawn(move || {
                for number in 0..150 {
                    log.record(&event(number)).expect("recorded");
                    log.record_all(&[event(number), event(number)])
                        .expect("recorded");
                }
            });
        }
    });
    assert_eq!(
        verify(&dir, one.verifier_key(), None)
            .expect("verifies")
            .checkpoint
            .size(),
        900
    );
    assert_eq!(two.record(&event(7)).expect("recorded").index, 900);
}

/// A reader needs no lock and never sees a log that does not verify.
#[test]
fn readers_beside_a_writer_see_a_whole_log() {
    let (_temporary, dir) = log_of(200);
    let log = open(&dir);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            (0..400).for_each(|number| {
                log.record(&event(number)).expect("recorded");
            })
        });
        let mut last = 0;
        while !writer.is_finished() {
            let size = verify(&dir, log.verifier_key(), None)
                .expect("verifies")
                .checkpoint
                .size();
            assert!(size >= last);
            last = size;
        }
    });
}

#[test]
fn an_event_that_breaks_a_rule_is_not_recorded_and_the_next_one_is() {
    let (_temporary, dir) = log_of(1);
    let log = open(&dir);
    let misuse = [
        event(0).with_object(Object::store("short").with_keyring_sequence(1)),
        event(0).with_object(Object::store(STORE.to_uppercase()).with_keyring_sequence(1)),
        event(1 << 53),
    ];
    for event in misuse {
        assert!(matches!(log.record(&event), Err(AuditError::Misuse(_))));
    }
    let large = event(0).with_reason("x".repeat(20_000));
    assert!(matches!(
        log.record(&large),
        Err(AuditError::EventTooLarge { .. })
    ));
    assert!(matches!(
        log.record_all(&[event(1), large]),
        Err(AuditError::EventTooLarge { .. })
    ));
    assert_eq!(log.record(&event(1)).expect("recorded").index, 1);
}

#[test]
fn every_character_survives() {
    let (_temporary, dir) = log_of(0);
    let text: String = (0..0x250_u32)
        .chain([0x2028, 0xfffd, 0xffff, 0x1f512])
        .filter_map(char::from_u32)
        .collect();
    let told = event(1).with_reason(text);
    open(&dir).record(&told).expect("recorded");
    let mut reader = LogReader::open(&dir, open(&dir).verifier_key()).expect("opens");
    assert_eq!(reader.event(0).expect("there").event, told);
    let entry = reader.entry(0).expect("there");
    assert_eq!(
        LoggedEvent::parse(&entry).expect("an event").to_json(),
        entry
    );
}

#[test]
fn filters_choose_by_action_key_store_and_time() {
    let (_temporary, dir) = log_of(0);
    let log = open(&dir);
    let denied = Event::new(Action::AccessDenied, Outcome::Denied).with_reason("permission");
    for number in 0..400 {
        log.record(&if number % 4 == 0 {
            denied.clone()
        } else {
            event(number)
        })
        .expect("recorded");
    }
    let mut reader = LogReader::open(&dir, log.verifier_key()).expect("opens");
    let mut numbers = |filter: Filter| -> Vec<u64> {
        reader
            .events(filter)
            .map(|event| event.expect("readable").index)
            .collect()
    };
    assert_eq!(numbers(Filter::default()), (0..400).collect::<Vec<_>>());
    let by_action = Filter {
        action: Some(Action::AccessDenied),
        ..Filter::default()
    };
    assert_eq!(numbers(by_action), (0..400).step_by(4).collect::<Vec<_>>());
    let by_key = Filter {
        key_uri: Some("file:/keys/orders.key".into()),
        ..Filter::default()
    };
    let by_store = Filter {
        object_id: Some(STORE.into()),
        ..Filter::default()
    };
    assert_eq!(numbers(by_key).len(), 300);
    assert_eq!(numbers(by_store).len(), 300);
    let times: Vec<UnixTime> = reader
        .events(Filter::default())
        .map(|e| e.expect("readable").time)
        .collect();
    let by_time = Filter {
        from: Some(times[10]),
        until: Some(times[20]),
        ..Filter::default()
    };
    let found: Vec<u64> = reader
        .events(by_time)
        .map(|event| event.expect("readable").index)
        .collect();
    assert_eq!(found, (10..20).collect::<Vec<_>>());
}

#[test]
fn actor_and_source_of_the_log_fill_what_an_event_leaves_out() {
    let (_temporary, dir) = log_of(0);
    let (actor, source) = (event(0).actor.expect("set"), event(0).source.expect("set"));
    let log = open(&dir)
        .with_actor(actor.clone())
        .with_source(source.clone());
    log.record(&Event::new(Action::AuditStarted, Outcome::Success))
        .expect("recorded");
    let mut reader = LogReader::open(&dir, log.verifier_key()).expect("opens");
    let event = reader.event(0).expect("there").event;
    assert_eq!((event.actor, event.source), (Some(actor), Some(source)));
}

#[test]
fn a_clock_that_was_set_back_is_reported() {
    let (_temporary, dir) = log_of(3);
    let early = || UnixTime {
        seconds: 1_000,
        nanos: 0,
    };
    let log = AuditLog::open_or_create(&dir, ORIGIN, &SEED, early).expect("opens");
    log.record_all(&[event(3), event(4)]).expect("recorded");
    assert_eq!(
        verify(&dir, log.verifier_key(), None)
            .expect("verifies")
            .clock_steps_back,
        [3]
    );
}

/// The anchor is the highest sequence of a success; a lost, stale or forged file does not change it.
#[test]
fn anchors_follow_the_log() {
    let (_temporary, dir) = log_of(0);
    let log = open(&dir);
    let key = log.verifier_key().clone();
    let anchored = || AuditLog::anchored_sequence(&dir, STORE, &key).expect("readable");
    let file = dir.join("anchor").join(STORE);
    assert_eq!(anchored(), None);
    log.record(&event(5)).expect("recorded");
    assert_eq!(anchored(), Some(5));
    let stale = fs::read(&file).expect("there");
    log.record(&Event {
        outcome: Outcome::Error,
        ..event(9)
    })
    .expect("recorded");
    log.record(&event(6)).expect("recorded");
    log.record(&event(4)).expect("recorded");
    assert_eq!(anchored(), Some(6));
    for content in [Some(stale.clone()), Some(b"forged".to_vec()), None] {
        match content {
            Some(content) => fs::write(&file, content).expect("written"),
            None => fs::remove_file(&file).expect("removed"),
        }
        assert_eq!(anchored(), Some(6));
    }
    log.record(&event(7)).expect("recorded");
    assert!(file.exists());
    assert_eq!(anchored(), Some(7));
    // The anchor of one store is not that of another, and a log that was cut does not pass.
    let other = "ffffffffffffffffffffffffffffffff";
    fs::copy(&file, dir.join("anchor").join(other)).expect("copied");
    assert_eq!(
        AuditLog::anchored_sequence(&dir, other, &key).expect("readable"),
        None
    );
    assert!(AuditLog::anchored_sequence(&dir, "../../../etc/passwd", &key).is_err());
    let gone = dir.join("nowhere");
    assert_eq!(
        AuditLog::anchored_sequence(&gone, STORE, &key).expect("no log"),
        None
    );
    let strange = VerifierKey::from_seed(ORIGIN, &[1; 32]).expect("a key");
    assert!(AuditLog::anchored_sequence(&dir, STORE, &strange).is_err());
}

/// Roots, inclusion proofs and consistency proofs are those of another implementation.
#[test]
fn trees_and_proofs_agree_with_ct_merkle() {
    let (_temporary, dir) = log_of(0);
    let log = open(&dir);
    let key = log.verifier_key().clone();
    let mut tree = MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    let mut checkpoints: Vec<Checkpoint> = vec![log.checkpoint().expect("open")];
    for number in 0..530_u64 {
        log.record(&event(number)).expect("recorded");
        let checkpoint = log.checkpoint().expect("open");
        let mut reader = LogReader::open(&dir, &key).expect("opens");
        tree.push(reader.entry(number).expect("there"));
        assert_eq!(tree.root().as_bytes().as_slice(), checkpoint.root());
        checkpoints.push(checkpoint);
    }
    let lines = |text: &[u8]| -> Vec<u8> {
        let text = String::from_utf8(text.to_vec()).expect("text");
        let head = text.split("\n\n").next().expect("a head").to_owned();
        head.lines()
            .filter(|line| line.len() == 44)
            .flat_map(from_base64)
            .collect()
    };
    let mut reader = LogReader::open(&dir, &key).expect("opens");
    for index in (0..530).step_by(13).chain([255, 256, 511, 512, 529]) {
        let proof = prove(&dir, &key, index).expect("proved");
        assert_eq!(
            lines(&proof.to_text()),
            tree.prove_inclusion(index as usize).as_bytes()
        );
        let entry = reader.entry(index).expect("there");
        let read = Proof::parse(&proof.to_text()).expect("reads back");
        assert_eq!(read.verify(&key, &entry).expect("holds").size(), 530);
        assert!(matches!(read.verify(&key, b"{}"), Err(VerifyError::Proof)));
    }
    for old in (1..530_usize).step_by(17).chain([255, 256, 257, 512, 529]) {
        let proof = prove_consistency(&dir, &key, old as u64).expect("proved");
        assert_eq!(
            lines(&proof.to_text()),
            tree.prove_consistency(530 - old).as_bytes()
        );
        let read = ConsistencyProof::parse(&proof.to_text()).expect("reads back");
        assert_eq!(
            read.verify(&key, &checkpoints[old]).expect("holds").size(),
            530
        );
        assert!(matches!(
            read.verify(&key, &checkpoints[old - 1]),
            Err(VerifyError::Proof)
        ));
    }
    assert!(matches!(
        prove(&dir, &key, 530),
        Err(VerifyError::NoSuchEvent { .. })
    ));
    assert!(matches!(
        prove_consistency(&dir, &key, 531),
        Err(VerifyError::Truncated { .. })
    ));
    for checkpoint in &checkpoints {
        verify(&dir, &key, Some(checkpoint)).expect("every checkpoint ever given is continued");
    }
}

fn from_base64(line: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: u8| {
        alphabet
            .iter()
            .position(|&known| known == byte)
            .unwrap_or(0) as u32
    };
    let bits = |group: &[u8]| group.iter().fold(0, |bits, &byte| bits << 6 | digit(byte));
    let mut out: Vec<u8> = line
        .as_bytes()
        .chunks(4)
        .flat_map(|group| bits(group).to_be_bytes()[1..].to_vec())
        .collect();
    out.truncate(32);
    out
}
