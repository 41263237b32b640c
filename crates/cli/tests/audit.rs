//! What an auditor does with logs: exports them, and compares them with the vault's own.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cofferdam_audit::{Action, AuditLog, Event, EventKey, LoggedEvent, Outcome, Sink, UnixTime};
use common::{World, finished, names};
use serde_json::{Value, json};

const KEY: &str = "https://prod.vault.azure.net/keys/orders";
const VERSION: &str = "6c9a4d3f0b7e4a7d8f2e1c5b9a8d7e6f";
const ID: &str = "6f1f6c0e-5b1e-4a6b-9a51-4b8f7f0d2c01";

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_767_225_600,
        nanos: 0,
    }
}

/// A log with one unwrap by the vault, as a server writes it.
fn log_with_a_call(dir: &Path) {
    let log = AuditLog::open_or_create(dir, "audit.example/orders", &[7; 32], clock).unwrap();
    let event = Event::new(Action::UseUnwrap, Outcome::Success)
        .with_key(EventKey {
            uri: Some(KEY.into()),
            version: Some(VERSION.into()),
            ..EventKey::default()
        })
        .with_correlation(ID);
    log.record(&Event::new(Action::AuditStarted, Outcome::Success))
        .unwrap();
    log.record(&event).unwrap();
}

fn record(id: &str, status: u16) -> Value {
    json!({
        "time": "2026-01-01T00:00:00.1234567Z",
        "operationName": "KeyUnwrap",
        "category": "AuditEvent",
        "resultType": "Success",
        "resultSignature": if status == 200 { "OK" } else { "Forbidden" },
        "callerIpAddress": "198.51.100.66",
        "correlationId": id,
        "identity": { "claim": { "appid": "1950a258-227b-4e31-a9cf-717495945fc2" } },
        "properties": { "id": format!("{KEY}/{VERSION}"), "httpStatusCode": status },
    })
}

#[test]
fn an_export_is_whole_recorded_and_the_same_to_a_file() {
    let world = World::sealed();
    let shown = world.ok(&["audit", "show", "sealed.db", "--json"]);
    let count = shown.lines().count();
    let answer = world.json(&[
        "audit",
        "export",
        "sealed.db",
        "--format",
        "jsonl",
        "--output",
        "events.jsonl",
    ]);
    let exported = String::from_utf8(world.bytes("events.jsonl")).unwrap();
    assert_eq!(exported, shown);
    assert_eq!(answer["events"], count);
    assert_eq!(answer["first"], 0);
    assert_eq!(answer["recorded"], count);
    assert_eq!(answer["bytes"], exported.len());
    let mode = fs::metadata(world.path("events.jsonl"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o77, 0, "readable by its owner alone");

    // What was recorded says what was done.
    let last = world.ok(&["audit", "show", "sealed.db", "--json", "--limit", "1"]);
    let last = LoggedEvent::parse(last.trim_end().as_bytes()).unwrap();
    assert_eq!(last.event.action, Action::AuditExport);
    assert_eq!(last.event.reason_code.as_deref(), Some("jsonl"));
    let path = last.event.object.and_then(|object| object.path).unwrap();
    assert!(path.ends_with("/events.jsonl"), "{path}");
    world.ok(&["audit", "verify", "sealed.db"]);

    // A file is never replaced, and nothing is recorded for one that is not written.
    let again = [
        "audit",
        "export",
        "sealed.db",
        "--format",
        "cef",
        "--output",
        "events.jsonl",
    ];
    world.refused(&again, 4, "exists");
    assert_eq!(
        world.ok(&["audit", "show", "sealed.db"]).lines().count(),
        count + 1
    );
    assert!(!world.names().iter().any(|name| name.contains("partial")));
}

#[test]
fn every_format_goes_to_the_standard_output() {
    let world = World::sealed();
    let key = |arguments: &[&str]| {
        let all = [&["audit", "export", "customer.key", "--format"], arguments].concat();
        world.ok(&all)
    };
    let cef = key(&["cef"]);
    assert!(cef.starts_with("CEF:0|Cofferdam|Cofferdam|"), "{cef}");
    assert!(cef.contains("|key.create|KeyCreate|"), "{cef}");
    for (format, at, expected) in [
        ("jsonl", "/action", json!("key.create")),
        ("ocsf", "/class_uid", json!(6003)),
        ("azure", "/operationName", json!("KeyCreate")),
        ("ecs", "/event/action", json!("key.create")),
    ] {
        let out = key(&[format]);
        let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
        assert_eq!(first.pointer(at), Some(&expected), "{format}");
    }
    // Five exports before are on record, each before it was made.
    let since = key(&["jsonl", "--since", "1"]);
    assert_eq!(since.lines().count(), 5, "{since}");
    assert!(since.contains(r#""reason_code":"ecs""#) && !since.contains("key.create"));
    assert_eq!(key(&["jsonl", "--since", "2999-01-01"]), "");
    assert_eq!(
        key(&["jsonl", "--since", "2001-01-01T00:00:00Z"])
            .lines()
            .count(),
        8
    );
    world.refused(
        &["audit", "export", "customer.key", "--format", "leef"],
        2,
        "leef",
    );
    world.refused(
        &[
            "audit",
            "export",
            "customer.key",
            "--format",
            "cef",
            "--since",
            "yesterday",
        ],
        2,
        "--since",
    );
}

/// Goal: somebody who has nothing but the public key exports all the same, changes nothing, and is told so.
#[test]
fn an_auditor_leaves_no_trace_and_hears_of_it() {
    let world = World::new();
    log_with_a_call(&world.path("log"));
    let before = world.bytes("log/checkpoint");
    let ran = world.run(&["audit", "export", "log", "--format", "ocsf"]);
    assert_eq!((ran.code, ran.out.lines().count()), (0, 2), "{}", ran.err);
    assert!(ran.err.contains("not recorded"), "{}", ran.err);
    let answer = world.json(&[
        "audit", "export", "log", "--format", "cef", "--output", "out.cef",
    ]);
    assert_eq!(answer["recorded"], Value::Null);
    assert_eq!(answer["events"], 2);
    assert_eq!(world.bytes("log/checkpoint"), before);
}

#[test]
fn an_altered_log_is_not_exported() {
    let world = World::sealed();
    let log = "sealed.db-audit/tile/entries";
    let bundle = format!("{log}/{}", names(&world.path(log)).remove(0));
    for partial in names(&world.path(&bundle)) {
        world.flip(&format!("{bundle}/{partial}"), 20);
    }
    world.flip("sealed.db-audit/tail", 40);
    let before = world.names();
    for to in [&[][..], &["--output", "out.jsonl"]] {
        let all = [
            &["audit", "export", "sealed.db-audit", "--format", "jsonl"],
            to,
        ]
        .concat();
        let ran = world.run(&all);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    }
    assert_eq!(world.names(), before);
}

/// Goal: a full disk leaves nothing that looks like an export.
#[test]
fn an_export_that_cannot_be_written_is_none() {
    let world = World::new();
    log_with_a_call(&world.path("log"));
    let nowhere = [
        "audit",
        "export",
        "log",
        "--format",
        "cef",
        "--output",
        "no/such/dir/out",
    ];
    world.refused(&nowhere, 4, "no/such/dir/out");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut command = world.command(&["audit", "export", "log", "--format", "cef"]);
    let ran = finished(command.stdout(full).output().unwrap());
    assert_eq!(ran.code, 4, "{}", ran.err);
}

#[test]
fn a_stolen_credential_shows_beside_the_vaults_log() {
    let world = World::new();
    log_with_a_call(&world.path("log"));
    let write = |records: &[Value]| {
        let text = json!({ "records": records }).to_string();
        fs::write(world.path("kms.json"), text).unwrap();
    };
    let reconcile = ["audit", "reconcile", "log", "--kms-log", "kms.json"];

    write(&[record(ID, 200), record(ID, 200)]);
    let agrees = world.json(&reconcile);
    assert_eq!(agrees["agrees"], true);
    assert_eq!(
        (&agrees["matched"], &agrees["duplicates"]),
        (&json!(1), &json!(1))
    );

    write(&[record(ID, 200), record("deadbeef", 200)]);
    let ran = world.run(&[&reconcile[..], &["--json"]].concat());
    assert_eq!(ran.code, 5, "{}", ran.err);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["not_ours"][0]["ip"], "198.51.100.66");
    assert_eq!(
        found["not_ours"][0]["application"],
        "1950a258-227b-4e31-a9cf-717495945fc2"
    );
    assert_eq!(
        found["not_ours"][0]["time"],
        "2026-01-01T00:00:00.123456700Z"
    );
    let ran = world.run(&reconcile);
    assert_eq!(ran.code, 5);
    assert!(
        ran.out.contains("not ours") && ran.out.contains("198.51.100.66"),
        "{}",
        ran.out
    );

    write(&[record("deadbeef\u{1b}[2J\u{7}", 200), record(ID, 403)]);
    let ran = world.run(&reconcile);
    assert_eq!(ran.code, 5);
    assert!(
        !ran.out.contains('\u{1b}') && ran.out.contains("disagreement"),
        "{}",
        ran.out
    );

    write(&[]);
    let ran = world.run(&reconcile);
    assert_eq!(ran.code, 5);
    assert!(ran.out.contains("missing there"), "{}", ran.out);
    // A period that the call is not in says nothing about it.
    world.ok(&[
        &reconcile[..],
        &["--from", "2026-02-01", "--to", "2026-03-01"],
    ]
    .concat());
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let world = World::sealed();
    log_with_a_call(&world.path("log"));
    fs::write(world.path("kms.json"), record(ID, 200).to_string()).unwrap();
    fs::write(world.path("cut.json"), &record(ID, 200).to_string()[..99]).unwrap();
    fs::write(world.path("other.json"), "{\"action\":\"use.unwrap\"}").unwrap();
    let reconcile = |logs: &[&str], more: &[&str]| {
        let all = [&["audit", "reconcile"], logs, more].concat();
        all.iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<String>>()
    };
    let cases: [(Vec<String>, i32, &str); 8] = [
        (
            reconcile(&["log"], &["--kms-log", "cut.json"]),
            4,
            "cut off",
        ),
        (
            reconcile(&["log"], &["--kms-log", "other.json"]),
            2,
            "record 1",
        ),
        (
            reconcile(&["log"], &["--kms-log", "absent.json"]),
            4,
            "absent.json",
        ),
        (reconcile(&["log"], &[]), 2, "--kms-log"),
        (
            reconcile(&["sealed.db"], &["--kms-log", "kms.json"]),
            2,
            "nothing to compare",
        ),
        (
            reconcile(&["log", "log"], &["--kms-log", "kms.json"]),
            2,
            "named twice",
        ),
        (
            reconcile(
                &["log"],
                &[
                    "--kms-log",
                    "kms.json",
                    "--from",
                    "2026-01-02",
                    "--to",
                    "2026-01-01",
                ],
            ),
            2,
            "--from",
        ),
        (
            reconcile(
                &["log", "sealed.db"],
                &["--kms-log", "kms.json", "--vkey", "log/log.vkey"],
            ),
            2,
            "one for each",
        ),
    ];
    for (arguments, code, says) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        world.refused(&arguments, code, says);
    }
    // Several logs: the one that has the call, and one that knows nothing of the vault.
    let vkey = "log/log.vkey";
    let other = "sealed.db-audit/log.vkey";
    world.ok(&[
        "audit",
        "reconcile",
        "log",
        "sealed.db",
        "--kms-log",
        "kms.json",
        "--vkey",
        vkey,
        "--vkey",
        other,
    ]);
    world.flip("log/tail", 40);
    let ran = world.run(&["audit", "reconcile", "log", "--kms-log", "kms.json"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
}

/// Goal: who was refused is on record, once somebody can sign for it, and nobody can use that to forge anything else.
#[test]
fn refused_openings_are_adopted_by_the_next_that_succeeds() {
    let world = World::sealed();
    let open = ["sqlite", "shell", "sealed.db", "SELECT 1"];
    world.ok(&["key", "disable", "file:customer.key"]);
    for _ in 0..3 {
        world.refused(&open, 3, "disabled");
    }
    let side = world.path("sealed.db-audit/refused.jsonl");
    let lines = fs::read_to_string(&side).unwrap();
    assert_eq!(lines.lines().count(), 3);
    // Of lines that strangers add, none says more than that somebody was refused.
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let mut success = first.clone();
    success["outcome"] = "success".into();
    let mut sequence = first.clone();
    sequence["object"]["keyring_sequence"] = 999.into();
    let mut strangers = lines.clone();
    for forged in [success, sequence, json!({ "x": 1 })] {
        // Sorted by name, as an event is.
        let sorted: std::collections::BTreeMap<String, Value> =
            serde_json::from_value(forged).unwrap();
        strangers.push_str(&serde_json::to_string(&sorted).unwrap());
        strangers.push('\n');
    }
    fs::write(&side, strangers).unwrap();

    world.ok(&["key", "enable", "file:customer.key"]);
    world.ok(&open);
    assert_eq!(fs::metadata(&side).unwrap().len(), 0);
    let shown = world.ok(&[
        "audit",
        "show",
        "sealed.db",
        "--json",
        "--action",
        "access.denied",
    ]);
    let denied: Vec<Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(denied[0]["count"].as_u64() >= Some(3), "{shown}");
    for event in &denied {
        assert_eq!(event["outcome"], "denied");
        assert_eq!(event["justification"]["code"], "unsigned");
        assert!(event["object"]["keyring_sequence"].is_null());
    }
    let gaps = world.ok(&[
        "audit",
        "show",
        "sealed.db",
        "--json",
        "--action",
        "audit.gap",
    ]);
    assert!(gaps.contains("refusals"), "{gaps}");
    world.ok(&["audit", "verify", "sealed.db"]);
    world.ok(&open);
    let again = world.ok(&[
        "audit",
        "show",
        "sealed.db",
        "--json",
        "--action",
        "access.denied",
    ]);
    assert_eq!(again, shown, "nothing is adopted twice");
}
