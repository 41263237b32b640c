//! Our log beside a vault's: each test says what happened, and what the comparison must make of it.

#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::time::Instant;

use cofferdam_audit::{
    LoggedEvent, OurCalls, Period, Reconciliation, UnixTime, VaultLog, VaultLogError, reconcile,
};
use serde_json::{Value, json};

const KEY: &str = "https://prod-keys.vault.azure.net/keys/orders";
const V1: &str = "6c9a4d3f0b7e4a7d8f2e1c5b9a8d7e6f";
const V2: &str = "aa9a4d3f0b7e4a7d8f2e1c5b9a8d7e00";
const SESSION: u64 = 0x0f1e_2d3c_4b5a_6978;

fn at(second: u64) -> UnixTime {
    UnixTime {
        seconds: 1_767_225_600 + second,
        nanos: 0,
    }
}

/// A log of ours.
#[derive(Default)]
struct Ours(Vec<Value>);

impl Ours {
    /// One call under an id.
    fn call(self, second: u64, action: &str, id: Option<&str>) -> Ours {
        self.event(second, action, "success", |event| {
            if let Some(id) = id {
                event["correlation_id"] = id.into();
                event["request_id"] = "5f0c1a52-vault".into();
            }
        })
    }

    /// Calls of a session.
    fn calls(self, second: u64, action: &str, last: u64, count: u64) -> Ours {
        let outcome = if action == "use.canary_fail" {
            "denied"
        } else {
            "success"
        };
        self.event(second, action, outcome, |event| {
            event["correlation_id"] = format!("{SESSION:016x}").into();
            event["request_id"] = uuid(last).into();
            event["count"] = count.into();
        })
    }

    fn event(
        mut self,
        second: u64,
        action: &str,
        outcome: &str,
        edit: impl Fn(&mut Value),
    ) -> Ours {
        let mut event = json!({
            "schema_version": 1,
            "seq": self.0.len(),
            "id": "01KDVDNA0004106105GR3GG28A",
            "time": at(second).to_string(),
            "action": action,
            "category": action.split('.').next(),
            "outcome": outcome,
            "key": { "uri": KEY, "version": V1, "role": "KEK", "layer": 1 },
        });
        edit(&mut event);
        self.0.push(event);
        self
    }

    fn read(&self) -> OurCalls {
        let mut calls = OurCalls::default();
        for event in &self.0 {
            let text = canonical(event);
            let event = LoggedEvent::parse(text.as_bytes()).expect("an event");
            calls.add("cofferdam/store/00", &event);
        }
        calls
    }
}

/// Members sorted by name, in whatever order `serde_json` was built to keep them.
fn canonical(value: &Value) -> String {
    let Value::Object(members) = value else {
        return value.to_string();
    };
    let mut members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{}", canonical(value)))
        .collect();
    members.sort_unstable();
    format!("{{{}}}", members.join(","))
}

fn uuid(number: u64) -> String {
    let digits = format!("{SESSION:016x}{number:016x}");
    let (a, b, c) = (&digits[..8], &digits[8..12], &digits[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &digits[16..20], &digits[20..])
}

/// A record as a vault writes it.
fn record(second: u64, operation: &str, id: &str, status: u16) -> Value {
    let signature = match status {
        200 => "OK",
        401 => "Unauthorized",
        403 => "Forbidden",
        _ => "Too Many Requests",
    };
    let time = at(second).to_string();
    json!({
        "time": format!("{}Z", &time[..27]),
        "resourceId": "/SUBSCRIPTIONS/0B1F6471-1BF0-4DDA-AEC3-CB9272F09590/RESOURCEGROUPS/PROD/PROVIDERS/MICROSOFT.KEYVAULT/VAULTS/PROD-KEYS",
        "operationName": operation,
        "operationVersion": "7.4",
        "category": "AuditEvent",
        "resultType": "Success",
        "resultSignature": signature,
        "resultDescription": "",
        "durationMs": "21",
        "callerIpAddress": "20.50.2.17",
        "correlationId": id,
        "identity": { "claim": {
            "http://schemas.microsoft.com/identity/claims/objectidentifier": "d9da5048-2737-4770-bd64-0123456789ab",
            "appid": "1950a258-227b-4e31-a9cf-717495945fc2",
        } },
        "properties": {
            "clientInfo": "cofferdam/0.1.0",
            "requestUri": format!("{KEY}/{V1}/unwrapkey?api-version=7.4"),
            "id": format!("{KEY}/{V1}"),
            "httpStatusCode": status,
        },
    })
}

fn with(mut record: Value, place: &str, value: &str) -> Value {
    *record.pointer_mut(place).expect("there") = value.into();
    record
}

fn read(records: &[Value]) -> VaultLog {
    let mut log = VaultLog::default();
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    log.add(lines.join("\n").as_bytes()).expect("a vault's log");
    log
}

fn compare(ours: Ours, theirs: &[Value]) -> Reconciliation {
    reconcile(&ours.read(), &read(theirs), &Period::default())
}

fn unwrap(second: u64, id: &str) -> Value {
    record(second, "KeyUnwrap", id, 200)
}

fn failed(second: u64, id: &str, status: u16) -> Value {
    record(second, "KeyUnwrap", id, status)
}

/// matched, not ours, missing, disagreements, never arrived, retries
fn counts(report: &Reconciliation) -> [u64; 6] {
    let sum = |list: &[cofferdam_audit::Unmatched]| list.iter().map(|one| one.count).sum();
    [
        report.matched,
        report.not_ours.len() as u64,
        sum(&report.missing),
        report.disagreements.len() as u64,
        sum(&report.never_arrived),
        report.retries,
    ]
}

const A: &str = "6f1f6c0e-5b1e-4a6b-9a51-4b8f7f0d2c01";
const B: &str = "6f1f6c0e-5b1e-4a6b-9a51-4b8f7f0d2c02";
const THIEF: &str = "deadbeef-0000-4000-8000-000000000001";

#[test]
fn what_happened_and_what_the_comparison_says() {
    let ours = Ours::default;
    type Case = (&'static str, Ours, Vec<Value>, [u64; 6]);
    let cases: Vec<Case> = vec![
        (
            "nothing at all",
            ours().call(5, "key.create", None),
            vec![],
            [0; 6],
        ),
        (
            "the same calls in another order, ids in capitals",
            ours()
                .call(5, "use.unwrap", Some(A))
                .call(9, "use.wrap", Some(B)),
            vec![record(8, "KeyWrap", &B.to_uppercase(), 200), unwrap(4, A)],
            [2, 0, 0, 0, 0, 0],
        ),
        (
            "a call of a stranger among ours, at the very same time",
            ours().call(5, "use.unwrap", Some(A)),
            vec![unwrap(5, THIEF), unwrap(5, A)],
            [1, 1, 0, 0, 0, 0],
        ),
        (
            "a stranger who was refused is told of, too",
            ours().call(5, "use.unwrap", Some(A)),
            vec![unwrap(5, A), failed(6, THIEF, 403)],
            [1, 1, 0, 0, 0, 0],
        ),
        (
            "a gap in the vault's log",
            ours()
                .call(5, "use.unwrap", Some(A))
                .call(6, "use.unwrap", Some(B)),
            vec![unwrap(5, A)],
            [1, 0, 1, 0, 0, 0],
        ),
        (
            "a record that was delivered twice",
            ours().call(5, "use.unwrap", Some(A)),
            vec![unwrap(5, A), unwrap(5, A)],
            [1, 0, 0, 0, 0, 0],
        ),
        (
            "the id of a call of ours, used a second time",
            ours().call(5, "use.unwrap", Some(A)),
            vec![unwrap(5, A), unwrap(900, A)],
            [1, 1, 0, 0, 0, 0],
        ),
        (
            "the id of a call of ours, used days later, when our own record is gone",
            ours().call(5, "use.unwrap", Some(A)),
            vec![unwrap(400_000, A)],
            [0, 1, 1, 0, 0, 0],
        ),
        (
            "challenged, throttled, and then answered: one call",
            ours().call(5, "use.unwrap", Some(A)),
            vec![failed(4, A, 401), failed(4, A, 429), unwrap(5, A)],
            [1, 0, 0, 0, 0, 2],
        ),
        (
            "the id on another key or for another operation",
            ours()
                .call(5, "use.unwrap", Some(A))
                .call(6, "use.unwrap", Some(B)),
            vec![
                record(5, "KeyWrap", A, 200),
                with(unwrap(6, B), "/properties/id", &format!("{KEY}/{V2}")),
            ],
            [0, 2, 2, 0, 0, 0],
        ),
        (
            "success here, refusal there",
            ours().call(5, "use.unwrap", Some(A)),
            vec![failed(5, A, 403)],
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "refused on both sides; failed here and refused there",
            ours()
                .event(5, "use.unwrap", "denied", |e| {
                    e["correlation_id"] = A.into()
                })
                .event(6, "use.unwrap", "error", |e| e["correlation_id"] = B.into()),
            vec![failed(5, A, 403), failed(6, B, 403)],
            [2, 0, 0, 0, 0, 0],
        ),
        (
            "an outage: our failures need not be there, our refusals must",
            ours()
                .event(5, "use.unwrap", "error", |e| e["correlation_id"] = A.into())
                .event(6, "use.unwrap", "denied", |e| {
                    e["correlation_id"] = B.into()
                }),
            vec![],
            [0, 0, 1, 0, 1, 0],
        ),
        (
            "an answer that was lost on the way: the key was used",
            ours().event(5, "use.unwrap", "error", |e| e["correlation_id"] = A.into()),
            vec![unwrap(5, A)],
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "without ids of ours the time decides, one to one",
            ours()
                .call(100, "use.unwrap", None)
                .call(130, "use.unwrap", None),
            vec![unwrap(99, THIEF), unwrap(128, A), unwrap(129, B)],
            [2, 1, 0, 0, 0, 0],
        ),
        (
            "without ids and beyond the skew",
            ours().call(1000, "use.unwrap", None),
            vec![unwrap(879, A), unwrap(1121, B)],
            [0, 2, 1, 0, 0, 0],
        ),
        (
            "a record without id or version",
            ours().call(100, "use.unwrap", Some(A)),
            vec![with(unwrap(99, ""), "/properties/id", KEY)],
            [1, 0, 0, 0, 0, 0],
        ),
        (
            "windows that overlap are matched so that all are",
            ours()
                .call(240, "use.unwrap", None)
                .call(10, "use.unwrap", None),
            vec![unwrap(125, A), unwrap(130, B)],
            [2, 0, 0, 0, 0, 0],
        ),
        (
            "a rotation names its call, once for each operation",
            ours().call(5, "key.rewrap", Some(A)),
            vec![record(4, "KeyWrap", A, 200), unwrap(5, A), unwrap(6, A)],
            [2, 1, 0, 0, 0, 0],
        ),
        (
            "other keys and other operations are nobody's business",
            ours().call(5, "use.unwrap", Some(A)),
            vec![
                unwrap(5, A),
                record(5, "KeyGet", THIEF, 200),
                with(
                    unwrap(5, THIEF),
                    "/properties/id",
                    "https://prod-keys.vault.azure.net/keys/mail/1",
                ),
            ],
            [1, 0, 0, 0, 0, 0],
        ),
        (
            "sixty canaries of a session, out of order",
            ours().calls(60, "use.canary_ok", 60, 60),
            (1..=60).rev().map(|n| unwrap(n, &uuid(n))).collect(),
            [60, 0, 0, 0, 0, 0],
        ),
        (
            "a session whose calls are counted across keys: gaps between numbers are none",
            ours()
                .calls(60, "use.canary_ok", 119, 60)
                .calls(120, "use.canary_ok", 239, 60),
            (0..120).map(|n| unwrap(n, &uuid(2 * n + 1))).collect(),
            [120, 0, 0, 0, 0, 0],
        ),
        (
            "one canary is missing there, and one there carries our session",
            ours().calls(60, "use.canary_ok", 10, 10),
            (2..=11).map(|n| unwrap(n, &uuid(n))).collect(),
            [9, 1, 1, 0, 0, 0],
        ),
        (
            "canaries that failed and canaries that did not, mixed and tried again",
            ours()
                .calls(60, "use.canary_ok", 9, 5)
                .calls(61, "use.canary_fail", 10, 5),
            (1..=10)
                .flat_map(|n| match n % 2 {
                    0 => vec![failed(n, &uuid(n), 403), failed(n + 1, &uuid(n), 403)],
                    _ => vec![failed(n, &uuid(n), 429), unwrap(n + 1, &uuid(n))],
                })
                .collect(),
            [10, 0, 0, 0, 0, 10],
        ),
        (
            "canaries that failed in an outage need not have arrived",
            ours().calls(60, "use.canary_fail", 3, 3),
            vec![failed(1, &uuid(1), 403)],
            [1, 0, 0, 0, 2, 0],
        ),
        (
            "a canary that we say succeeded was refused",
            ours().calls(60, "use.canary_ok", 3, 3),
            vec![
                unwrap(1, &uuid(1)),
                failed(2, &uuid(2), 403),
                unwrap(3, &uuid(3)),
            ],
            [3, 0, 0, 1, 0, 0],
        ),
        (
            "an aggregate without ids",
            ours().event(70, "use.canary_ok", "success", |e| e["count"] = 3.into()),
            vec![
                unwrap(10, A),
                unwrap(30, B),
                unwrap(50, THIEF),
                unwrap(51, "x"),
            ],
            [3, 1, 0, 0, 0, 0],
        ),
        (
            "a count that no log can hold",
            ours().calls(60, "use.canary_ok", u64::MAX, (1 << 53) - 1),
            vec![unwrap(1, &uuid(u64::MAX)), unwrap(1, &uuid(0))],
            [2, 0, (1 << 53) - 3, 0, 0, 0],
        ),
    ];
    for (what, ours, theirs, expected) in cases {
        assert_eq!(counts(&compare(ours, &theirs)), expected, "{what}");
    }
}

/// Goal: whoever reads the list knows whom to ask.
#[test]
fn a_stranger_is_named() {
    let mut stolen = record(5, "KeyUnwrap", THIEF, 200);
    stolen["callerIpAddress"] = "198.51.100.66".into();
    stolen["identity"]["claim"]["upn"] = "mallory@example.com".into();
    let report = compare(Ours::default().call(900, "use.unwrap", Some(A)), &[stolen]);
    let call = &report.not_ours[0];
    assert_eq!(call.time, at(5));
    assert_eq!(call.key, KEY);
    assert_eq!(call.version.as_deref(), Some(V1));
    assert_eq!(call.caller.ip.as_deref(), Some("198.51.100.66"));
    assert_eq!(call.caller.user.as_deref(), Some("mallory@example.com"));
    assert_eq!(
        call.caller.application.as_deref(),
        Some("1950a258-227b-4e31-a9cf-717495945fc2")
    );
    assert!(call.caller.object.is_some() && !report.agrees());
}

/// Goal: the log of a day is compared with that day, and the calls at its ends are held against nobody.
#[test]
fn a_period_is_compared_and_its_edges_are_not() {
    let ours = || {
        Ours::default()
            .call(10, "use.unwrap", Some(A))
            .call(1010, "use.unwrap", None)
            .call(5000, "use.unwrap", Some(B))
            .call(8990, "use.unwrap", None)
            .calls(9500, "use.canary_ok", 3, 3)
    };
    let theirs = [
        record(2000, "KeyUnwrap", THIEF, 200),
        record(9400, "KeyUnwrap", THIEF, 200),
    ];
    let period = Period {
        from: Some(at(1000)),
        to: Some(at(9000)),
        skew_seconds: 120,
    };
    let report = reconcile(&ours().read(), &read(&theirs), &period);
    assert_eq!(counts(&report), [0, 1, 1, 0, 0, 0]);
    assert_eq!(report.missing[0].call.time, at(5000));
    assert_eq!(report.at_the_edges, 2);
    let all = reconcile(&ours().read(), &read(&theirs), &Period::default());
    assert_eq!(counts(&all), [0, 2, 7, 0, 0, 0]);
}

/// Goal: every way in which Azure hands out the log is read, and the same is read.
#[test]
fn all_forms_of_the_log_are_the_same() {
    let records: Vec<Value> = (0..3).map(|n| record(n, "KeyUnwrap", A, 200)).collect();
    let list = Value::from(records.clone());
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let blob = json!({ "records": list });
    let forms = [
        lines.join("\n"),
        lines.join("\r\n\r\n") + "\r\n",
        list.to_string(),
        serde_json::to_string_pretty(&blob).expect("JSON"),
        format!("\u{feff}{blob}"),
        format!(
            "{}\n{}",
            json!({ "records": &records[..1] }),
            json!({ "records": &records[1..] })
        ),
    ];
    for form in forms {
        let mut log = VaultLog::default();
        log.add(form.as_bytes()).expect("a vault's log");
        assert_eq!(log.calls(), read(&records).calls(), "{form}");
    }
}

#[test]
fn what_is_no_log_of_a_vault_is_refused() {
    let whole = record(1, "KeyUnwrap", A, 200).to_string();
    for (text, line) in [
        (&whole[..whole.len() - 5], 1),
        (&format!("{whole}\n{}", &whole[..40]), 2),
        (&format!("{whole}\nnot JSON"), 2),
        ("{\"records\":[", 1),
    ] {
        match VaultLog::default().add(text.as_bytes()) {
            Err(VaultLogError::Json { line: found, .. }) => assert_eq!(found, line, "{text}"),
            other => panic!("{other:?}"),
        }
    }
    let without = |member: &str| {
        let mut record = record(1, "KeyUnwrap", A, 200);
        record.as_object_mut().expect("members").remove(member);
        record
    };
    for strange in [
        json!({ "action": "use.unwrap" }),
        json!({ "records": 7 }),
        json!(["a"]),
        json!(7),
        without("time"),
        without("properties"),
        with(record(1, "KeyUnwrap", A, 200), "/time", "yesterday"),
        with(record(1, "KeyUnwrap", A, 200), "/properties/id", "orders"),
    ] {
        let text = format!("{whole}\n{strange}");
        match VaultLog::default().add(text.as_bytes()) {
            Err(VaultLogError::Record { number: 2 }) => {}
            other => panic!("{strange}: {other:?}"),
        }
    }
}

/// Goal: a month of canaries of a few servers is compared in seconds, shuffled, with every kind of fault in it.
#[test]
fn a_hundred_thousand_records_are_compared_quickly() {
    let mut ours = Ours::default();
    let mut theirs = Vec::new();
    for minute in 0..1600_u64 {
        let end = minute * 60 + 59;
        ours = ours.calls(end, "use.canary_ok", end, 60);
        theirs.extend((end - 59..=end).map(|n| record(n, "KeyUnwrap", &uuid(n), 200)));
    }
    for second in 0..4000 {
        ours = ours.call(second * 20, "use.wrap", None);
        theirs.push(record(
            second * 20 + 1,
            "KeyWrap",
            &format!("made-up-{second}"),
            200,
        ));
    }
    let strangers = 5;
    theirs.extend((0..strangers).map(|n| record(n * 777, "KeyUnwrap", &format!("thief-{n}"), 200)));
    theirs.retain(|record| record["correlationId"] != uuid(4242));
    // The same order in every run, and not the order of time.
    let count = theirs.len();
    let shuffled: Vec<Value> = (0..count)
        .map(|n| theirs[n * 7919 % count].clone())
        .collect();
    assert!(count > 100_000 && count % 7919 != 0);

    let started = Instant::now();
    let report = reconcile(&ours.read(), &read(&shuffled), &Period::default());
    let took = started.elapsed();
    assert_eq!(counts(&report), [99_999, strangers, 1, 0, 0, 0]);
    assert!(took.as_secs() < 30, "{took:?}");
    println!("{count} records in {took:?}");
}
