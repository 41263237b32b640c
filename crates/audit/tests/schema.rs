//! The published schema and the code speak of the same events.

mod common;

use cofferdam_audit::{
    Action, ActorKind, Event, Filter, Fips, Justification, KeyRole, KeyState, LogReader,
    LoggedEvent, Object, ObjectKind, Outcome, Policy,
};
use common::{STORE, event, log_of, open};
use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../docs/audit-event.schema.json"))
        .expect("the schema is JSON")
}

/// As much of JSON Schema as ours uses. An unknown keyword is an error, so that none goes unchecked.
fn check(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Value::Object(keywords) = schema else {
        return Err(format!("{at}: not a schema"));
    };
    for (keyword, want) in keywords {
        let holds = match keyword.as_str() {
            "$schema" | "$id" | "title" | "description" | "then" => true,
            "type" => match want.as_str().expect("a name") {
                "object" => value.is_object(),
                "string" => value.is_string(),
                "integer" => value.is_u64(),
                "array" => value.is_array(),
                other => return Err(format!("{at}: type {other}")),
            },
            "const" => value == want,
            "enum" => want.as_array().expect("a list").contains(value),
            "minimum" => value.as_u64() >= want.as_u64(),
            "maximum" => value.as_u64() <= want.as_u64(),
            "pattern" => matches(want.as_str().expect("text"), value.as_str().unwrap_or("")),
            "required" => want
                .as_array()
                .expect("a list")
                .iter()
                .all(|name| value.get(name.as_str().expect("a name")).is_some()),
            "minProperties" => value
                .as_object()
                .is_some_and(|members| members.len() as u64 >= want.as_u64().expect("a number")),
            "minItems" => value
                .as_array()
                .is_some_and(|items| items.len() as u64 >= want.as_u64().expect("a number")),
            "items" => value
                .as_array()
                .into_iter()
                .flatten()
                .all(|item| check(want, item, at).is_ok()),
            "properties" => {
                for (name, inner) in want.as_object().expect("members") {
                    if let Some(member) = value.get(name) {
                        check(inner, member, &format!("{at}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => value
                .as_object()
                .into_iter()
                .flatten()
                .all(|(name, _)| schema["properties"].get(name).is_some()),
            "if" => check(want, value, at).is_err() || check(&schema["then"], value, at).is_ok(),
            other => return Err(format!("{at}: keyword {other}")),
        };
        if !holds {
            return Err(format!("{at}: {keyword}"));
        }
    }
    Ok(())
}

/// The patterns of the schema: classes with a count, and escaped or plain characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pattern = pattern
        .trim_start_matches('^')
        .trim_end_matches('$')
        .chars()
        .peekable();
    let mut text = text.chars();
    while let Some(next) = pattern.next() {
        let class: Vec<char> = match next {
            '[' => pattern.by_ref().take_while(|&c| c != ']').collect(),
            '\\' => vec![pattern.next().expect("an escaped character")],
            plain => vec![plain],
        };
        let mut count = 1;
        if pattern.peek() == Some(&'{') {
            pattern.next();
            count = pattern
                .by_ref()
                .take_while(|&c| c != '}')
                .collect::<String>()
                .parse()
                .expect("a count");
        }
        for _ in 0..count {
            let fits = |c: char| {
                class
                    .iter()
                    .enumerate()
                    .any(|(at, &first)| match class.get(at + 1..at + 3) {
                        Some(&['-', last]) => (first..=last).contains(&c),
                        _ => first == c,
                    })
            };
            if !text.next().is_some_and(fits) {
                return false;
            }
        }
    }
    text.next().is_none()
}

/// Events that together use every member and every name.
fn all_events() -> Vec<Event> {
    let mut full = event(1)
        .with_count(3)
        .with_request("r-1")
        .with_correlation("c-1")
        .with_reason("cryptoperiod");
    full.on_behalf_of = Some("tenant-7".into());
    full.cluster = Some("c".into());
    full.server = Some("s".into());
    full.tenant = Some("t".into());
    full.approvals = vec!["a".into(), "b".into()];
    let text = || Some("text".to_owned());
    full.justification = Some(Justification {
        code: text(),
        text: text(),
        ticket: text(),
    });
    full.policy = Some(Policy {
        id: text(),
        version: text(),
        decision: text(),
    });
    full.fips = Some(Fips {
        module: text(),
        version: text(),
        mode: text(),
    });
    if let (Some(source), Some(key), Some(object), Some(actor)) = (
        &mut full.source,
        &mut full.key,
        &mut full.object,
        &mut full.actor,
    ) {
        source.ip = text();
        key.thumbprint = text();
        object.pages = Some(5);
        object.bytes = Some((1 << 53) - 1);
        actor.auth_method = text();
        actor.session = text();
    }
    let mut events = vec![full];
    events.extend(
        Action::ALL
            .iter()
            .map(|&action| Event { action, ..event(2) }),
    );
    events.extend(
        Outcome::ALL
            .iter()
            .map(|&outcome| Event::new(Action::KeyCreate, outcome)),
    );
    events.extend(ObjectKind::ALL.iter().map(|&kind| {
        Event::new(Action::CustodyReport, Outcome::Success).with_object(Object::new(kind))
    }));
    for &role in KeyRole::ALL {
        for &state in KeyState::ALL {
            let mut event = event(3);
            if let Some(key) = &mut event.key {
                (key.role, key.state_before, key.state_after) =
                    (Some(role), Some(state), Some(state));
            }
            events.push(event);
        }
    }
    for &kind in ActorKind::ALL {
        let mut event = event(4);
        if let Some(actor) = &mut event.actor {
            actor.kind = kind;
        }
        events.push(event);
    }
    events
}

#[test]
fn everything_the_log_writes_is_what_the_schema_says() {
    let (_temporary, dir) = log_of(0);
    let log = open(&dir);
    log.record_all(&all_events()).expect("recorded");
    let mut reader = LogReader::open(&dir, log.verifier_key()).expect("opens");
    let (schema, mut members) = (schema(), std::collections::BTreeSet::new());
    for index in 0..reader.checkpoint().size() {
        let entry = reader.entry(index).expect("there");
        let value: Value = serde_json::from_slice(&entry).expect("JSON");
        check(&schema, &value, "event").expect("an event of the schema");
        members.extend(value.as_object().expect("members").keys().cloned());
    }
    let described = schema["properties"]
        .as_object()
        .expect("members")
        .keys()
        .cloned()
        .collect();
    assert_eq!(members, described);
    assert_eq!(reader.events(Filter::default()).count(), all_events().len());
}

#[test]
fn the_schema_lists_every_action_there_is() {
    let names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    assert!(names.len() >= 40);
    assert_eq!(schema()["properties"]["action"]["enum"], Value::from(names));
    for &action in Action::ALL {
        assert_eq!(Action::from_name(action.name()), Some(action));
    }
}

/// What the schema refuses, the parser refuses.
#[test]
fn schema_and_parser_refuse_the_same() {
    let (_temporary, dir) = log_of(1);
    let entry = LogReader::open(&dir, open(&dir).verifier_key())
        .expect("opens")
        .entry(0)
        .expect("there");
    let value: Value = serde_json::from_slice(&entry).expect("JSON");
    let changes: [(&str, Value); 9] = [
        ("/seq", Value::from("0")),
        ("/id", Value::from("8ZZZZZZZZZZZZZZZZZZZZZZZZZ")),
        ("/time", Value::from("2026-01-01T00:00:00Z")),
        ("/action", Value::from("key.sing")),
        ("/outcome", Value::from("maybe")),
        ("/actor/type", Value::from("ghost")),
        ("/key/role", Value::from("PAGE")),
        ("/key/layer", Value::from(256)),
        ("/object/id", Value::from(STORE.to_uppercase())),
    ];
    for (place, new) in changes {
        let mut changed = value.clone();
        *changed.pointer_mut(place).expect("there") = new;
        assert!(check(&schema(), &changed, "event").is_err(), "{place}");
        assert!(
            LoggedEvent::parse(changed.to_string().as_bytes()).is_err(),
            "{place}"
        );
    }
    check(&schema(), &value, "event").expect("unchanged it is an event");
}
