//! Events in the schema of Event Grid, in the order they came about.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock::iso8601;
use crate::vault::Version;

/// What came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventKind {
    /// `exp` has passed.
    KeyExpired,
    /// `exp` is near.
    KeyNearExpiry,
    /// There is a new version.
    KeyNewVersionCreated,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What came about.
    pub kind: EventKind,
    /// When.
    pub at: i64,
    /// The vault's name.
    pub vault: String,
    /// The key's name.
    pub key: String,
    /// The version's id.
    pub version: String,
    /// The version's `nbf`.
    pub nbf: Option<i64>,
    /// The version's `exp`.
    pub exp: Option<i64>,
}

impl Event {
    /// An event about `version`.
    pub fn new(kind: EventKind, vault: &str, key: &str, version: &Version, at: i64) -> Event {
        Event {
            kind,
            at,
            vault: vault.to_owned(),
            key: key.to_owned(),
            version: version.id.clone(),
            nbf: version.attributes.nbf,
            exp: version.attributes.exp,
        }
    }

    /// The event as Event Grid delivers it. `number` is its place in the list, `topic` the vault's resource id and
    /// `base_url` the address that key ids begin with.
    pub fn to_json(&self, number: u64, topic: &str, base_url: &str) -> Value {
        json!({
            "id": format!("{number:08x}-0000-4000-8000-{:012x}", self.at),
            "topic": topic,
            "subject": self.key,
            "eventType": format!("Microsoft.KeyVault.{:?}", self.kind),
            "data": {
                "Id": format!("{base_url}/keys/{}/{}", self.key, self.version),
                "VaultName": self.vault,
                "ObjectType": "Key",
                "ObjectName": self.key,
                "Version": self.version,
                "NBF": self.nbf,
                "EXP": self.exp,
            },
            "dataVersion": "1",
            "metadataVersion": "1",
            "eventTime": iso8601(self.at),
        })
    }
}

/// The latest events, numbered from zero; older ones than the last 10,000 are forgotten.
#[derive(Default)]
pub struct Events(Mutex<List>);

#[derive(Default)]
struct List {
    first: u64,
    events: VecDeque<Event>,
}

const EVENT_COUNT_MAX: usize = 10_000;

impl Events {
    /// Adds events at the end.
    pub fn extend(&self, events: impl IntoIterator<Item = Event>) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.events.extend(events);
        while list.events.len() > EVENT_COUNT_MAX {
            list.events.pop_front();
            list.first += 1;
        }
    }

    /// The events from number `from` on, with their numbers.
    pub fn since(&self, from: u64) -> Vec<(u64, Event)> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (list.first..)
            .zip(list.events.iter().cloned())
            .filter(|(number, _)| *number >= from)
            .collect()
    }
}
