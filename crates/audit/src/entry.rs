//! An event as it stands in the log: the bytes of a leaf.

use std::fmt;

use crate::EVENT_LEN_MAX;
use crate::action::{Action, Outcome};
use crate::error::AuditError;
use crate::event::{
    Actor, ActorKind, Event, EventKey, Fips, Justification, KeyRole, KeyState, Object, ObjectKind,
    Policy, Source,
};
use crate::json::{Members, NUMBER_MAX, Taken, Unfit};
use crate::time::UnixTime;
use crate::verify_error::VerifyError;

/// An event with what the log added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedEvent {
    /// Its number in the log, from 0; `seq` in JSON.
    pub index: u64,
    /// Its id, unique among all logs.
    pub id: EventId,
    /// When it was recorded, by the clock the log was opened with.
    pub time: UnixTime,
    /// What its author told.
    pub event: Event,
}

impl LoggedEvent {
    pub(crate) fn new(index: u64, id: EventId, time: UnixTime, event: Event) -> LoggedEvent {
        LoggedEvent {
            index,
            id,
            time: time.clamped(),
            event,
        }
    }

    /// The bytes of the leaf, after checking the rules that types cannot hold.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, AuditError> {
        check(&self.event)?;
        let bytes = members(self).encode();
        if bytes.len() > EVENT_LEN_MAX {
            return Err(AuditError::EventTooLarge { len: bytes.len() });
        }
        Ok(bytes)
    }

    /// The canonical JSON: the very bytes the log holds.
    pub fn to_json(&self) -> Vec<u8> {
        members(self).encode()
    }

    /// Reads the bytes of a leaf.
    ///
    /// # Errors
    /// [`VerifyError::Event`] for anything but the one encoding of an event.
    pub fn parse(bytes: &[u8]) -> Result<LoggedEvent, VerifyError> {
        let refused = |Unfit(reason)| VerifyError::Event {
            index: None,
            reason,
        };
        if bytes.len() > EVENT_LEN_MAX {
            return Err(refused(Unfit("too long")));
        }
        let logged = read(bytes).map_err(refused)?;
        if logged.to_json() != bytes {
            return Err(refused(Unfit("not the canonical encoding")));
        }
        check(&logged.event).map_err(|_| refused(Unfit("object")))?;
        Ok(logged)
    }
}

/// ULID: 48 bits of milliseconds and 80 random bits, written as 26 characters of Crockford's base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u128);

impl EventId {
    pub(crate) fn random(time: UnixTime) -> Result<EventId, AuditError> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| AuditError::Random)?;
        let random = u128::from_be_bytes(bytes) & ((1 << 80) - 1);
        Ok(EventId((u128::from(time.milliseconds()) << 80) | random))
    }

    /// Reads the one form that [`fmt::Display`] writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<EventId> {
        if text.len() != 26 || text.as_bytes()[0] > b'7' {
            return None;
        }
        text.bytes()
            .try_fold(0_u128, |id, byte| {
                let digit = CROCKFORD.iter().position(|&known| known == byte)?;
                Some((id << 5) | digit as u128)
            })
            .map(EventId)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..26).rev().try_for_each(|place| {
            let digit = (self.0 >> (5 * place)) & 31;
            fmt::Write::write_char(f, char::from(CROCKFORD[digit as usize]))
        })
    }
}

/// Rules that an event keeps when it is written and when it is read.
fn check(event: &Event) -> Result<(), AuditError> {
    if let Some(object) = &event.object
        && object.keyring_sequence.is_some()
    {
        let id = object.id.as_deref().unwrap_or_default();
        if object.kind != ObjectKind::Store || !is_store_id(id) {
            return Err(AuditError::Misuse(
                "a keyring sequence belongs to a store named by 32 lower-case hex digits",
            ));
        }
    }
    let object = event.object.as_ref();
    let numbers = [
        event.count,
        object.and_then(|o| o.keyring_sequence),
        object.and_then(|o| o.pages),
        object.and_then(|o| o.bytes),
    ];
    if numbers
        .into_iter()
        .flatten()
        .any(|number| number > NUMBER_MAX)
    {
        return Err(AuditError::Misuse("numbers are below 2^53"));
    }
    Ok(())
}

pub(crate) fn is_store_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn members(logged: &LoggedEvent) -> Members {
    let event = &logged.event;
    let mut out = Members::default();
    out.number("schema_version", Some(SCHEMA_VERSION));
    out.number("seq", Some(logged.index));
    out.text("id", Some(logged.id));
    out.text("time", Some(logged.time));
    out.text("action", Some(event.action));
    out.text("category", Some(event.action.category()));
    out.text("outcome", Some(event.outcome));
    out.text("reason_code", event.reason_code.as_ref());
    out.object("actor", event.actor.as_ref().map(actor_members));
    out.text("on_behalf_of", event.on_behalf_of.as_ref());
    out.object("source", event.source.as_ref().map(source_members));
    out.text("provider", event.provider.as_ref());
    out.object("key", event.key.as_ref().map(key_members));
    out.object("object", event.object.as_ref().map(object_members));
    out.text("cluster", event.cluster.as_ref());
    out.text("server", event.server.as_ref());
    out.text("tenant", event.tenant.as_ref());
    out.number("count", event.count);
    out.text("request_id", event.request_id.as_ref());
    out.text("correlation_id", event.correlation_id.as_ref());
    let justification = event.justification.as_ref();
    out.object("justification", justification.map(justification_members));
    out.texts("approvals", &event.approvals);
    out.object("policy", event.policy.as_ref().map(policy_members));
    out.object("fips", event.fips.as_ref().map(fips_members));
    out
}

pub(crate) fn texts<const N: usize>(fields: [(&'static str, &Option<String>); N]) -> Members {
    let mut out = Members::default();
    for (name, value) in fields {
        out.text(name, value.as_ref());
    }
    out
}

pub(crate) fn justification_members(justification: &Justification) -> Members {
    texts([
        ("code", &justification.code),
        ("text", &justification.text),
        ("ticket", &justification.ticket),
    ])
}

pub(crate) fn policy_members(policy: &Policy) -> Members {
    texts([
        ("id", &policy.id),
        ("version", &policy.version),
        ("decision", &policy.decision),
    ])
}

pub(crate) fn fips_members(fips: &Fips) -> Members {
    texts([
        ("module", &fips.module),
        ("version", &fips.version),
        ("mode", &fips.mode),
    ])
}

fn actor_members(actor: &Actor) -> Members {
    let mut out = texts([
        ("auth_method", &actor.auth_method),
        ("session", &actor.session),
    ]);
    out.text("type", Some(actor.kind));
    out.text("id", Some(&actor.id));
    out
}

fn source_members(source: &Source) -> Members {
    let mut out = texts([("host", &source.host), ("ip", &source.ip)]);
    out.number("pid", source.pid.map(u64::from));
    out
}

pub(crate) fn key_members(key: &EventKey) -> Members {
    let mut out = texts([
        ("uri", &key.uri),
        ("version", &key.version),
        ("thumbprint", &key.thumbprint),
        ("alg", &key.algorithm),
    ]);
    out.text("role", key.role);
    out.number("layer", key.layer.map(u64::from));
    out.number("bits", key.bits.map(u64::from));
    out.text("state_before", key.state_before);
    out.text("state_after", key.state_after);
    out
}

pub(crate) fn object_members(object: &Object) -> Members {
    let mut out = texts([("id", &object.id), ("path", &object.path)]);
    out.text("type", Some(object.kind));
    out.number("keyring_sequence", object.keyring_sequence);
    out.number("pages", object.pages);
    out.number("bytes", object.bytes);
    out
}

fn read(bytes: &[u8]) -> Result<LoggedEvent, Unfit> {
    let mut taken = Taken::parse(bytes)?;
    if taken.number("schema_version")? != Some(SCHEMA_VERSION) {
        return Err(Unfit("schema_version"));
    }
    let index = taken.number("seq")?.ok_or(Unfit("seq"))?;
    let id = taken.named("id", EventId::parse)?.ok_or(Unfit("id"))?;
    let time = taken.named("time", UnixTime::parse)?.ok_or(Unfit("time"))?;
    let event = read_event(&mut taken)?;
    // The category follows from the action; that it is the right one shows when the event is written again.
    taken.text("category")?;
    taken.finish()?;
    Ok(LoggedEvent {
        index,
        id,
        time,
        event,
    })
}

fn read_event(taken: &mut Taken) -> Result<Event, Unfit> {
    Ok(Event {
        action: taken
            .named("action", Action::from_name)?
            .ok_or(Unfit("action"))?,
        outcome: taken
            .named("outcome", Outcome::from_name)?
            .ok_or(Unfit("outcome"))?,
        reason_code: taken.text("reason_code")?,
        actor: taken.object("actor", read_actor)?,
        on_behalf_of: taken.text("on_behalf_of")?,
        source: taken.object("source", read_source)?,
        provider: taken.text("provider")?,
        key: taken.object("key", read_key)?,
        object: taken.object("object", read_object)?,
        cluster: taken.text("cluster")?,
        server: taken.text("server")?,
        tenant: taken.text("tenant")?,
        count: taken.number("count")?,
        request_id: taken.text("request_id")?,
        correlation_id: taken.text("correlation_id")?,
        justification: taken.object("justification", |t| {
            Ok(Justification {
                code: t.text("code")?,
                text: t.text("text")?,
                ticket: t.text("ticket")?,
            })
        })?,
        approvals: taken.texts("approvals")?,
        policy: taken.object("policy", |t| {
            Ok(Policy {
                id: t.text("id")?,
                version: t.text("version")?,
                decision: t.text("decision")?,
            })
        })?,
        fips: taken.object("fips", |t| {
            Ok(Fips {
                module: t.text("module")?,
                version: t.text("version")?,
                mode: t.text("mode")?,
            })
        })?,
    })
}

fn read_actor(taken: &mut Taken) -> Result<Actor, Unfit> {
    Ok(Actor {
        kind: taken
            .named("type", ActorKind::from_name)?
            .ok_or(Unfit("actor.type"))?,
        id: taken.text("id")?.ok_or(Unfit("actor.id"))?,
        auth_method: taken.text("auth_method")?,
        session: taken.text("session")?,
    })
}

fn read_source(taken: &mut Taken) -> Result<Source, Unfit> {
    Ok(Source {
        host: taken.text("host")?,
        ip: taken.text("ip")?,
        pid: taken.small("pid")?,
    })
}

fn read_key(taken: &mut Taken) -> Result<EventKey, Unfit> {
    Ok(EventKey {
        uri: taken.text("uri")?,
        version: taken.text("version")?,
        thumbprint: taken.text("thumbprint")?,
        role: taken.named("role", KeyRole::from_name)?,
        layer: taken.small("layer")?,
        algorithm: taken.text("alg")?,
        bits: taken.small("bits")?,
        state_before: taken.named("state_before", KeyState::from_name)?,
        state_after: taken.named("state_after", KeyState::from_name)?,
    })
}

fn read_object(taken: &mut Taken) -> Result<Object, Unfit> {
    Ok(Object {
        kind: taken
            .named("type", ObjectKind::from_name)?
            .ok_or(Unfit("object.type"))?,
        id: taken.text("id")?,
        path: taken.text("path")?,
        keyring_sequence: taken.number("keyring_sequence")?,
        pages: taken.number("pages")?,
        bytes: taken.number("bytes")?,
    })
}

/// Version of the event's schema, `docs/audit-event.schema.json`.
const SCHEMA_VERSION: u64 = 1;

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::merkle::leaf;
    use crate::note::Signer;

    /// The example of `docs/format.md` section 9.6, made again and looked up there.
    #[test]
    fn the_documented_example_is_what_the_code_writes() {
        let event = Event::new(Action::KeyRotate, Outcome::Success)
            .with_actor(Actor::new(ActorKind::User, "custodian@example.com"))
            .with_key(EventKey {
                uri: Some("file:/keys/orders.key".into()),
                version: Some("2".into()),
                role: Some(KeyRole::Kek),
                layer: Some(1),
                algorithm: Some("AES-256-KW".into()),
                bits: Some(256),
                ..EventKey::default()
            })
            .with_object(
                Object::store("000102030405060708090a0b0c0d0e0f").with_keyring_sequence(2),
            );
        let id = EventId::parse("01KDVDNA0004106105GR3GG28A").expect("an id");
        let time = UnixTime {
            seconds: 1_767_225_600,
            nanos: 0,
        };
        let entry = LoggedEvent::new(0, id, time, event)
            .encode()
            .expect("a good event");
        let mut seed = [0; 32];
        for (number, byte) in (0..).zip(&mut seed) {
            *byte = number;
        }
        let signer = Signer::new("audit.example/orders", &seed).expect("a good origin");
        let root = leaf(&entry);
        let checkpoint = Checkpoint::sign(1, root, &signer);
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let parts = [
            format!("One event, {} bytes:", entry.len()),
            String::from_utf8(entry.clone()).expect("text"),
            format!("`{}`", hex(&root)),
            format!("`{}`", hex(&(entry.len() as u16).to_be_bytes())),
            signer.key.to_string(),
            String::from_utf8(checkpoint.note().to_vec()).expect("text"),
        ];
        let document = include_str!("../../../docs/format.md");
        for part in parts {
            assert!(document.contains(&part), "docs/format.md lacks:\n{part}");
        }
    }

    #[test]
    fn ids_read_back_and_sort_by_time() {
        let early = EventId::random(UnixTime {
            seconds: 1,
            nanos: 0,
        })
        .expect("random");
        let late = EventId::random(UnixTime {
            seconds: 2,
            nanos: 0,
        })
        .expect("random");
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
        assert_eq!(EventId::parse(&late.to_string()), Some(late));
        for wrong in [
            "",
            "81KDVDNA0004106105GR3GG28A",
            "01KDVDNA0004106105GR3GG28U",
            "01kdvdna0004106105gr3gg28a",
        ] {
            assert_eq!(EventId::parse(wrong), None, "{wrong}");
        }
    }
}
