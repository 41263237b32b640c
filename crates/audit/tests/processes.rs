//! Several processes append to one log and are killed at any moment.

#![allow(
    clippy::disallowed_methods,
    reason = "a test may read clock and environment"
)]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cofferdam_audit::{LogReader, Sink, VerifierKey, verify};
use common::{ORIGIN, SEED, event, log_of, open};

const DIRECTORY: &str = "COFFERDAM_AUDIT_TEST_DIRECTORY";

/// Not a test: the process that [`killed_processes_lose_no_acknowledged_event`] starts and kills.
#[test]
#[ignore = "started by another test"]
fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIRECTORY).map(PathBuf::from) else {
        return;
    };
    let log = open(&dir);
    for number in 0_u64.. {
        let name = format!("{}-{number}", std::process::id());
        let index = if number % 5 == 4 {
            let batch: Vec<_> = (0..40)
                .map(|_| event(number).with_correlation(&name))
                .collect();
            log.record_all(&batch).expect("recorded").start
        } else {
            log.record(&event(number).with_correlation(&name))
                .expect("recorded")
                .index
        };
        // The parent takes a line for an acknowledgement only when it is whole.
        writeln!(std::io::stdout(), "\nacknowledged {index} {name}").expect("printed");
    }
}

fn start(dir: &PathBuf) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "child_that_appends_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started")
}

#[test]
fn killed_processes_lose_no_acknowledged_event() {
    let (_temporary, dir) = log_of(0);
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    let mut kept = None;
    for round in 0..12_u64 {
        let mut children: Vec<Child> = (0..3).map(|_| start(&dir)).collect();
        let (sender, lines) = mpsc::channel();
        for child in &mut children {
            let (output, sender) = (child.stdout.take().expect("piped"), sender.clone());
            std::thread::spawn(move || {
                BufReader::new(output)
                    .lines()
                    .map_while(Result::ok)
                    .for_each(|line| drop(sender.send(line)));
            });
        }
        drop(sender);
        // Killed at an arbitrary step of whatever follows this acknowledgement.
        let (mut count, enough) = (0, 5 + round * 3);
        for line in lines {
            if let ["acknowledged", index, name] = line.split(' ').collect::<Vec<_>>()[..] {
                acknowledged.push((index.parse().expect("a number"), name.to_owned()));
                count += 1;
            }
            if count == enough {
                std::thread::sleep(Duration::from_micros(round * 137));
                for child in &mut children {
                    child.kill().expect("killed");
                    child.wait().expect("gone");
                }
            }
        }
        let key = VerifierKey::from_seed(ORIGIN, &SEED).expect("a key");
        let report = verify(&dir, &key, kept.as_ref())
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        kept = Some(report.checkpoint);
    }
    let mut reader = LogReader::open(&dir, open(&dir).verifier_key()).expect("opens");
    assert!(acknowledged.len() >= 12 * 5, "{}", acknowledged.len());
    for (index, name) in acknowledged {
        let event = reader
            .event(index)
            .expect("acknowledged events are there")
            .event;
        assert_eq!(event.correlation_id, Some(name));
    }
}
