//! Canary unwraps on record: in tallies, because one an hour says as much as sixty.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_audit::{Action, EventKey, KeyRole, Outcome, Sink};
use cofferdam_keys::{KeyUri, KeyVersion, KeysError, Refusal, RootWrap, StoreId, VaultRequest};

use crate::disk::Disk;
use crate::error::Error;
use crate::opener::{Opener, Witness};
use crate::probe::HeadCopy;

/// What was asked of the vaults since it was last put on record.
#[derive(Default)]
pub(crate) struct Canaries(Mutex<BTreeMap<Name, Tally>>);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    store: StoreId,
    key: KeyUri,
    version: Option<String>,
    allowed: bool,
}

struct Tally {
    count: u64,
    last: Option<VaultRequest>,
}

impl Canaries {
    fn book(&self) -> MutexGuard<'_, BTreeMap<Name, Tally>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, name: Name, last: Option<VaultRequest>) {
        let mut book = self.book();
        let tally = book.entry(name).or_insert(Tally {
            count: 0,
            last: None,
        });
        tally.count += 1;
        tally.last = later(tally.last.take(), last);
    }

    fn are_due(&self, store: StoreId) -> bool {
        let book = self.book();
        book.iter()
            .any(|(name, tally)| name.store == store && tally.count >= TALLY_MAX)
    }

    fn take(&self, store: StoreId) -> Vec<(Name, Tally)> {
        let mut book = self.book();
        let (taken, kept) = std::mem::take(&mut *book)
            .into_iter()
            .partition(|(name, _)| name.store == store);
        *book = kept;
        let taken: BTreeMap<Name, Tally> = taken;
        taken.into_iter().collect()
    }
}

impl Opener {
    /// Each wrap of a keyring has just been unwrapped.
    pub(crate) fn count_allowed(&self, store: StoreId, wraps: &[RootWrap]) {
        for wrap in wraps {
            let version = &wrap.wrapped.version;
            self.count(store, &wrap.key, Some(version), true);
        }
    }

    /// The same, leaving out what no vault has on record.
    pub(crate) fn count_known(&self, store: StoreId, wraps: &[RootWrap]) {
        for wrap in wraps {
            if self.last_call(&wrap.key).is_some() {
                self.count(store, &wrap.key, Some(&wrap.wrapped.version), true);
            }
        }
    }

    /// The calls of an opening that a vault refused. They go on record with the others when this opener has the store open, now or later.
    pub(crate) fn count_calls_of_refused(&self, error: &Error, disk: &impl Disk) {
        let Error::Keys(KeysError::Refused(refusal)) = error else {
            return;
        };
        if let Ok(head) = HeadCopy::of(disk) {
            self.count_refusal(&head, refusal);
        }
    }

    /// A vault has refused a wrap, after others were unwrapped.
    pub(crate) fn count_refusal(&self, head: &HeadCopy, refusal: &Refusal) {
        self.count_allowed(head.store_id(), head.asked_before(refusal));
        self.count_refused(head.store_id(), refusal);
    }

    fn count_refused(&self, store: StoreId, refusal: &Refusal) {
        self.count(store, &refusal.key, refusal.version.as_ref(), false);
    }

    fn count(&self, store: StoreId, key: &KeyUri, version: Option<&KeyVersion>, allowed: bool) {
        let name = Name {
            store,
            key: key.clone(),
            version: version.map(ToString::to_string),
            allowed,
        };
        self.recorded.canaries.add(name, self.last_call(key));
    }

    /// Puts the tallies of an open store on record: all of them, or only when there is something worth a line.
    ///
    /// # Errors
    /// [`Error::Audit`].
    pub fn record_canaries(&self, path: &Path, witness: &Witness, all: bool) -> Result<(), Error> {
        let id = witness.store;
        if !all && !self.recorded.canaries.are_due(id) {
            return Ok(());
        }
        let Some(log) = self.open_log(path, id, &witness.audit_seed)? else {
            return Ok(());
        };
        let tallies = self.recorded.canaries.take(id);
        for (name, tally) in tallies {
            let (action, outcome) = match name.allowed {
                true => (Action::UseCanaryOk, Outcome::Success),
                false => (Action::UseCanaryFail, Outcome::Denied),
            };
            let mut event = self
                .store_event(action, path, witness)
                .with_count(tally.count)
                .with_key(EventKey {
                    uri: Some(name.key.to_string()),
                    version: name.version,
                    role: Some(KeyRole::Kek),
                    ..EventKey::default()
                });
            event.outcome = outcome;
            if let Some(last) = tally.last {
                event = event
                    .with_correlation(session_of(&last))
                    .with_request(last.correlation_id);
            }
            log.record(&event)?;
        }
        Ok(())
    }
}

/// Of two calls the one that no other call of the tally comes after. Threads put theirs on record in any order, and the ids of a
/// session rise as text, too.
fn later(before: Option<VaultRequest>, last: Option<VaultRequest>) -> Option<VaultRequest> {
    match (before, last) {
        (Some(before), Some(last))
            if session_of(&before) == session_of(&last)
                && before.correlation_id > last.correlation_id =>
        {
            Some(before)
        }
        (before, last) => last.or(before),
    }
}

/// The calls of one session share the first half of their ids (format section 9.7).
pub(crate) fn session_of(call: &VaultRequest) -> String {
    let digits = call.correlation_id.chars().filter(|&c| c != '-');
    digits.take(16).collect()
}

/// At one question a minute, half an hour.
const TALLY_MAX: u64 = 30;
