//! What the tests of a log share.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_audit::{
    Action, Actor, ActorKind, AuditLog, Event, EventKey, KeyRole, KeyState, Object, Outcome,
    Source, UnixTime,
};

pub(crate) const ORIGIN: &str = "audit.example/tests";
pub(crate) const SEED: [u8; 32] = [9; 32];
pub(crate) const STORE: &str = "00112233445566778899aabbccddeeff";

/// Every reading is a millisecond after the one before.
pub(crate) fn clock() -> UnixTime {
    static TICKS: AtomicU64 = AtomicU64::new(0);
    let tick = TICKS.fetch_add(1, Ordering::Relaxed);
    UnixTime {
        seconds: 1_767_225_600 + tick / 1000,
        nanos: (tick % 1000) as u32 * 1_000_000,
    }
}

pub(crate) fn open(dir: &Path) -> AuditLog {
    AuditLog::open_or_create(dir, ORIGIN, &SEED, clock).expect("the log opens")
}

/// A typical event: a rewrap of a store's root.
pub(crate) fn event(number: u64) -> Event {
    Event::new(Action::KeyRewrap, Outcome::Success)
        .with_actor(Actor::new(ActorKind::User, "custodian@example.com"))
        .with_source(Source {
            host: Some("db1".into()),
            pid: Some(4711),
            ip: None,
        })
        .with_provider("file")
        .with_key(EventKey {
            uri: Some("file:/keys/orders.key".into()),
            version: Some(number.to_string()),
            role: Some(KeyRole::Kek),
            layer: Some(1),
            algorithm: Some("AES-256-KW".into()),
            bits: Some(256),
            state_after: Some(KeyState::Active),
            ..EventKey::default()
        })
        .with_object(
            Object::store(STORE)
                .with_keyring_sequence(number)
                .with_path("/data/orders.db"),
        )
}

pub(crate) fn log_of(count: u64) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path().join("log");
    let log = open(&dir);
    let events: Vec<Event> = (0..count).map(event).collect();
    log.record_all(&events).expect("recorded");
    (temporary, dir)
}

/// All files below a directory, relative to it, sorted.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path.strip_prefix(dir).expect("below").to_owned());
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(&file);
        std::fs::create_dir_all(target.parent().expect("a parent")).expect("created");
        std::fs::copy(from.join(&file), target).expect("copied");
    }
}
