//! Append-only Merkle log of key-lifecycle events.
//!
//! Whoever does something to a key says so in an [`Event`] and hands it to a [`Sink`]. [`AuditLog`] is
//! the sink that writes a tiled Merkle log (C2SP tlog-tiles, `docs/format.md` section 9): every event
//! is a leaf, every append ends in a signed [`Checkpoint`]. [`verify()`] reads it back offline and
//! notices every edit, deletion, insertion and reordering; with a checkpoint from an earlier time also
//! truncation and rewriting.
//!
//! ```
//! use cofferdam_audit::{Action, AuditLog, Event, Outcome, Sink, UnixTime, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("cofferdam-audit-doc-{}", std::process::id()));
//! # let seed = [7; 32];
//! let clock = || UnixTime { seconds: 1_767_225_600, nanos: 0 };
//! let log = AuditLog::open_or_create(&dir, "audit.example.com/orders", &seed, clock)?;
//! log.record(&Event::new(Action::AuditStarted, Outcome::Success))?;
//!
//! let report = verify(&dir, log.verifier_key(), None)?;
//! assert_eq!(report.checkpoint.size(), 1);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(())
//! # }
//! ```

mod action;
mod anchor;
mod append;
mod base64;
mod checkpoint;
#[cfg(test)]
mod crash_tests;
mod edge;
mod entry;
mod error;
mod event;
mod export;
mod files;
mod json;
mod load;
mod lock;
mod log;
mod merkle;
mod names;
mod note;
mod proof;
mod reader;
mod reconcile;
mod refused;
mod tile;
mod time;
mod verify;
mod verify_error;

pub use action::{Action, Outcome};
pub use checkpoint::Checkpoint;
pub use entry::{EventId, LoggedEvent};
pub use error::AuditError;
pub use event::{
    Actor, ActorKind, Event, EventKey, Fips, Justification, KeyRole, KeyState, Object, ObjectKind,
    Policy, Source,
};
pub use export::Format;
pub use log::{AuditLog, Recorded, Sink};
pub use note::VerifierKey;
pub use proof::{ConsistencyProof, Proof, prove, prove_consistency};
pub use reader::{Events, Filter, LogReader};
pub use reconcile::{
    Caller, Disagreement, OurCall, OurCalls, Period, Reconciliation, Unmatched, VaultCall,
    VaultLog, VaultLogError, VaultOperation, reconcile,
};
pub use refused::Refusals;
pub use tile::bundle_entries;
pub use time::{Clock, UnixTime};
pub use verify::{VerifyReport, verify};
pub use verify_error::VerifyError;

/// Longest JSON of an event, in bytes. The entries of a log have room for 65,535.
pub const EVENT_LEN_MAX: usize = 16_384;
