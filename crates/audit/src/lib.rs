//! Append-only Merkle log of key-lifecycle events.

mod action;
mod error;
mod event;
mod log;
mod names;
mod time;

pub use action::{Action, Outcome};
pub use error::AuditError;
pub use event::{
    Actor, ActorKind, Event, EventKey, Fips, Justification, KeyRole, KeyState, Object, ObjectKind,
    Policy, Source,
};
pub use log::{AuditLog, Recorded, Sink};
pub use time::{Clock, UnixTime};

/// Longest JSON of an event, in bytes. The entries of a log have room for 65,535.
pub const EVENT_LEN_MAX: usize = 16_384;
