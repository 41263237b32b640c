//! Refusals that nobody could sign for stay few, and become events.

mod common;

use std::fs;

use cofferdam_audit::{Action, Event, Filter, LogReader, Outcome, Refusals, UnixTime};
use common::{log_of, open};

fn refused(who: &str) -> Event {
    Event::new(Action::AccessDenied, Outcome::Denied)
        .with_reason("disabled")
        .with_provider(who)
}

fn at(seconds: u64) -> UnixTime {
    UnixTime { seconds, nanos: 0 }
}

#[test]
fn equal_refusals_become_one_event_with_their_count_and_times() {
    let (_temporary, dir) = log_of(1);
    let (log, refusals) = (open(&dir), Refusals::of(&dir));
    assert!(!refusals.any());
    for second in [5, 3, 9] {
        refusals.observe(&refused("a"), at(second)).expect("left");
    }
    refusals.observe(&refused("b"), at(4)).expect("left");
    assert!(refusals.any());
    assert_eq!(refusals.adopt(&log).expect("adopted"), 4);
    assert!(!refusals.any());
    let mut reader = LogReader::open(&dir, log.verifier_key()).expect("opens");
    let events: Vec<Event> = reader
        .events(Filter::default())
        .skip(1)
        .map(|event| event.expect("an event").event)
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!((events[0].count, events[1].count), (Some(3), None));
    let justification = events[0].justification.clone().expect("marked");
    assert_eq!(justification.code.as_deref(), Some("unsigned"));
    let text = justification.text.expect("said");
    assert!(
        text.contains("00:00:03.") && text.contains("00:00:09."),
        "{text}"
    );
    assert_eq!(refusals.adopt(&log).expect("adopted"), 0);
}

/// Goal: whoever is refused for ever fills neither the disk nor the log.
#[test]
fn the_side_file_is_bounded_and_so_is_what_comes_of_it() {
    let (_temporary, dir) = log_of(1);
    let (log, refusals) = (open(&dir), Refusals::of(&dir));
    for number in 0..12_000 {
        let who = format!("{}-{number}", "x".repeat(200));
        refusals.observe(&refused(&who), at(number)).expect("left");
    }
    let len = |name: &str| fs::metadata(dir.join(name)).expect("there").len();
    assert!(len("refused.jsonl") <= 1 << 20 && len("refused.jsonl.old") <= 1 << 20);
    assert!(len("refused.jsonl") + len("refused.jsonl.old") > 1 << 20);
    assert_eq!(refusals.adopt(&log).expect("adopted"), 256);
    let mut reader = LogReader::open(&dir, log.verifier_key()).expect("opens");
    assert_eq!(reader.checkpoint().size(), 1 + 256 + 1);
    let gap = reader.event(257).expect("there").event;
    assert_eq!(gap.action, Action::AuditGap);
    assert!(gap.count > Some(2000), "{gap:?}");
    assert!(!refusals.any());
}

#[test]
fn lines_that_are_too_long_torn_or_of_another_kind_are_counted_and_not_believed() {
    let (_temporary, dir) = log_of(1);
    let (log, refusals) = (open(&dir), Refusals::of(&dir));
    assert!(
        refusals
            .observe(&refused(&"x".repeat(9000)), at(1))
            .is_err()
    );
    // An event of another kind is made a refusal on the way in; one put into the file is refused.
    refusals
        .observe(&Event::new(Action::KeyCreate, Outcome::Success), at(1))
        .expect("left");
    let path = dir.join("refused.jsonl");
    let mut lines = fs::read_to_string(&path).expect("there");
    let forged = lines.replace(r#""outcome":"denied""#, r#""outcome":"success""#);
    lines.push_str(&forged);
    lines.push_str("torn");
    fs::write(&path, lines).expect("written");
    assert_eq!(refusals.adopt(&log).expect("adopted"), 1);
    let mut reader = LogReader::open(&dir, log.verifier_key()).expect("opens");
    let of = |reader: &mut LogReader, index| reader.event(index).expect("there").event;
    assert_eq!(of(&mut reader, 1).action, Action::AccessDenied);
    assert_eq!(of(&mut reader, 2).count, Some(2));
}
