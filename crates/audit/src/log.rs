//! Appending to a log.

use std::path::Path;

use crate::error::AuditError;
use crate::event::Event;
use crate::time::Clock;

/// Where events go. The one seam of this crate.
///
/// `record` returns only when the event is durable and covered by a signed checkpoint. When it fails,
/// the event may or may not be in the log, and a custodian's action that it was to record MUST NOT
/// be carried out. Several threads may call it at once.
pub trait Sink: Send + Sync {
    /// Records one event.
    ///
    /// # Errors
    /// The event breaks a rule or is too large; the log was replaced, rolled back or damaged; or the
    /// disk refused.
    fn record(&self, event: &Event) -> Result<Recorded, AuditError>;
}

/// Where an event stands in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Number of the event, from 0.
    pub index: u64,
}

/// A log open for appending.
pub struct AuditLog {
    clock: Clock,
}

impl AuditLog {
    /// Opens the log in `dir`, or creates it.
    ///
    /// # Errors
    /// The origin is malformed; the log belongs to another key; it is damaged; or the disk refused.
    pub fn open_or_create(
        dir: &Path,
        origin: &str,
        seed: &[u8; 32],
        clock: Clock,
    ) -> Result<AuditLog, AuditError> {
        let _ = (dir, origin, seed);
        Ok(AuditLog { clock })
    }
}

impl Sink for AuditLog {
    fn record(&self, _event: &Event) -> Result<Recorded, AuditError> {
        let _ = self.clock;
        Err(AuditError::Poisoned)
    }
}
