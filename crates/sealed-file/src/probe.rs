//! What an engine's holder of keys does for its lease: asking the vaults about an open store, and putting changes on record.

use std::path::Path;

use cofferdam_audit::{Action, EventKey, KeyRole, Outcome, Sink};
use cofferdam_keys::{
    Change, KeyringSlots, KeysError, Pins, Reason, Refusal, Revocation, Standing, StoreId,
    UncheckedKeyring, Wiped,
};

use crate::calls::Calls;
use crate::disk::Disk;
use crate::error::Error;
use crate::head::Head;
use crate::opener::{Opener, Store, Witness};

/// The keyrings at the head of a store's main file, as they stood when they were copied. Asking vaults takes time, during which
/// the file is left to its owner.
pub struct HeadCopy(Box<KeyringSlots>);

impl HeadCopy {
    /// Copies the head of a main file.
    ///
    /// # Errors
    /// [`Error::NotSealed`], [`Error::Io`].
    pub fn of(disk: &impl Disk) -> Result<HeadCopy, Error> {
        match Head::read(disk)? {
            Head::Slots(slots) => Ok(HeadCopy(slots)),
            Head::Empty => Err(Error::NotSealed {
                plain_sqlite: false,
            }),
        }
    }

    /// The newest keyring, with nothing of it authenticated.
    fn claimed(&self) -> Option<&UncheckedKeyring> {
        let (_, keyring) = self.0.candidates().into_iter().next()?;
        Some(keyring)
    }

    /// The store that the newest keyring claims to be of.
    pub(crate) fn store_id(&self) -> StoreId {
        let keyring = self.claimed();
        keyring
            .expect("a head that was copied has a keyring")
            .store_id()
    }
}

impl Opener {
    /// Has every layer's vault unwrap what the newest keyring says, and throws it away.
    ///
    /// For a store that is open, the keyring must come from the same roots: whoever can write to the disk could otherwise keep a lease
    /// alive with a key of their own.
    ///
    /// # Errors
    /// The vault's [`Refusal`]; what is wrong with the keyring itself is [`Reason::Corrupt`].
    pub fn probe(&self, head: &HeadCopy, open: Option<&Store>) -> Result<(), Refusal> {
        let corrupt = |detail: String| self.refusal(head, Reason::Corrupt, detail);
        // Pins are for openings: a store that is open is known by its roots, also when a custodian puts it under another key.
        let none = Pins::none();
        let pins = match open {
            Some(_) => &none,
            None => &self.pins,
        };
        let calls = Calls::of(&*self.vaults);
        let unlocked = head.0.unlock(&calls, pins);
        self.count(head.store_id(), calls.made());
        let unlocked = match unlocked {
            Ok(unlocked) => unlocked,
            Err(KeysError::Refused(refusal)) => return Err(refusal),
            Err(error) => return Err(corrupt(error.to_string())),
        };
        match open {
            Some(store) if !store.keys.have_the_roots_of(&unlocked.data_keys) => {
                Err(corrupt("the keyring is another store's".to_owned()))
            }
            // An older keyring may be wrapped under a version that is still enabled, when the newer one's is not.
            Some(store) if unlocked.keyring.sequence().number() < store.keyring_sequence => {
                Err(corrupt("an older keyring was put back".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// That a store's keyring could not be read, as an answer for its lease.
    #[must_use]
    pub fn unreadable(&self, store: Option<&Store>, error: &Error) -> Option<Refusal> {
        let key = store?.wraps.first()?;
        Some(Refusal {
            reason: Reason::Unreachable,
            key: key.uri.clone(),
            version: None,
            detail: error.to_string(),
            retry_after: None,
        })
    }

    fn refusal(&self, head: &HeadCopy, reason: Reason, detail: String) -> Refusal {
        let candidates = head.0.candidates();
        let wrap = candidates
            .first()
            .and_then(|(_, keyring)| keyring.wraps().first())
            .expect("a head that was copied has a keyring, and a keyring has a wrap");
        Refusal {
            reason,
            key: wrap.key.clone(),
            version: Some(wrap.wrapped.version.clone()),
            detail,
            retry_after: None,
        }
    }

    /// Records that a store's lease came to stand otherwise.
    ///
    /// # Errors
    /// [`Error::Audit`].
    pub fn record_change(
        &self,
        path: &Path,
        witness: &Witness,
        change: &Change,
        wiped: Option<Wiped>,
    ) -> Result<(), Error> {
        self.record_canaries(path, witness, true)?;
        let Some(log) = self.open_log(path, witness.store, &witness.audit_seed)? else {
            return Ok(());
        };
        let (action, outcome, refusal) = match (&change.to, &change.from) {
            (Standing::Inaccessible { refusal, .. }, _) => {
                (Action::StateInaccessible, Outcome::Denied, Some(refusal))
            }
            (Standing::Degraded { refusal, .. }, _) => {
                (Action::StateDegraded, Outcome::Error, Some(refusal))
            }
            (Standing::Ready, from) => (Action::StateReady, Outcome::Success, reason_of(from)),
        };
        let mut event = self.store_event(action, path, witness);
        event.outcome = outcome;
        if let Some(refusal) = refusal {
            event = event
                .with_reason(reason_code(refusal.reason))
                .with_key(EventKey {
                    uri: Some(refusal.key.to_string()),
                    version: refusal.version.as_ref().map(ToString::to_string),
                    role: Some(KeyRole::Kek),
                    ..EventKey::default()
                });
        }
        log.record(&event)?;
        if let Some(wiped) = wiped {
            log.record(
                &self
                    .store_event(Action::StateZeroised, path, witness)
                    .with_reason(match wiped.complete {
                        true => format!("keys_wiped_in_{}_ms", wiped.after.as_millis()),
                        false => "keys_still_held".to_owned(),
                    }),
            )?;
        }
        Ok(())
    }
}

fn reason_of(standing: &Standing) -> Option<&Refusal> {
    match standing {
        Standing::Ready => None,
        Standing::Degraded { refusal, .. } | Standing::Inaccessible { refusal, .. } => {
            Some(refusal)
        }
    }
}

/// A refusal's class as the audit log writes it.
#[must_use]
pub fn reason_code(reason: Reason) -> &'static str {
    match reason {
        Reason::AuthBroken => "auth_broken",
        Reason::Corrupt => "corrupt",
        Reason::PolicyMismatch => "policy_mismatch",
        Reason::Revoked(Revocation::Deleted) => "revoked_deleted",
        Reason::Revoked(Revocation::Disabled) => "revoked_disabled",
        Reason::Revoked(Revocation::Expired) => "revoked_expired",
        Reason::Revoked(Revocation::Permission) => "revoked_permission",
        Reason::Revoked(Revocation::Version) => "revoked_version",
        Reason::Throttled => "throttled",
        Reason::Unreachable => "unreachable",
    }
}
