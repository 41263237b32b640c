//! Canary unwraps on record: in tallies, because one an hour says as much as sixty.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_audit::{Action, Event, EventKey, KeyRole, Outcome, Sink};
use cofferdam_keys::{KeyUri, RootWrap, StoreId, VaultRequest};

use crate::calls::Call;
use crate::error::Error;
use crate::opener::{Opener, Witness};

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
        self.put((name, Tally { count: 1, last }));
    }

    fn put(&self, (name, more): (Name, Tally)) {
        let mut book = self.book();
        if book.len() >= NAMES_MAX && !book.contains_key(&name) {
            return;
        }
        let tally = book.entry(name).or_insert(Tally {
            count: 0,
            last: None,
        });
        tally.count = tally.count.saturating_add(more.count);
        tally.last = later(tally.last.take(), more.last);
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
    /// Takes note of unwraps that were made for what claims to be this store. Only of stores that this opener has had open: others
    /// have no log that could ever take them.
    pub(crate) fn count(&self, claimed: StoreId, calls: Vec<Call>) {
        if !self.recorded.knows(claimed) {
            return;
        }
        for call in calls {
            let name = Name {
                store: claimed,
                key: call.key,
                version: Some(call.version.to_string()),
                allowed: call.allowed,
            };
            self.recorded.canaries.add(name, call.request);
        }
    }

    /// Each wrap of an authentic keyring has just been unwrapped. What no vault has on record is left out.
    pub(crate) fn count_known(&self, store: StoreId, wraps: &[RootWrap]) {
        let calls = wraps.iter().filter_map(|wrap| {
            Some(Call {
                key: wrap.key.clone(),
                version: wrap.wrapped.version.clone(),
                allowed: true,
                request: Some(self.last_call(&wrap.key)?),
            })
        });
        self.count(store, calls.collect());
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
        let mut tallies = self.recorded.canaries.take(id).into_iter();
        while let Some((name, tally)) = tallies.next() {
            let event = self.tally_event(path, witness, &name, &tally);
            if let Err(error) = log.record(&event) {
                // What is not on record goes on waiting.
                self.recorded.canaries.put((name, tally));
                tallies.for_each(|tally| self.recorded.canaries.put(tally));
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn tally_event(&self, path: &Path, witness: &Witness, name: &Name, tally: &Tally) -> Event {
        let (action, outcome) = match name.allowed {
            true => (Action::UseCanaryOk, Outcome::Success),
            false => (Action::UseCanaryFail, Outcome::Denied),
        };
        let mut event = self
            .store_event(action, path, witness)
            .with_count(tally.count)
            .with_key(EventKey {
                uri: Some(name.key.to_string()),
                version: name.version.clone(),
                role: Some(KeyRole::Kek),
                ..EventKey::default()
            });
        event.outcome = outcome;
        match &tally.last {
            Some(last) => event
                .with_correlation(session_of(last))
                .with_request(last.correlation_id.clone()),
            None => event,
        }
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

/// Most tallies that wait. Who writes many names into a head on the disk fills no memory.
const NAMES_MAX: usize = 1024;

/// At one question a minute, half an hour.
const TALLY_MAX: u64 = 30;
