//! What goes on record about stores: in their audit logs, or beside them while nobody can sign.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_audit::{
    Action, AuditLog, Event, EventKey, KeyRole, Object, Outcome, Refusals, Sink,
};
use cofferdam_keys::{
    KeyUri, Keyring, KeysError, Reason, RootWrap, Secret, StoreId, Unlocked, VaultRequest,
};

use super::{AuditPlace, Opener};
use crate::canaries::{Canaries, session_of};
use crate::disk::Disk;
use crate::error::Error;
use crate::probe::{HeadCopy, reason_code};

/// Which stores' unlocking a process has recorded: once each, however often they are opened.
#[derive(Default)]
pub struct Recorded {
    stores: Mutex<HashSet<StoreId>>,
    /// Commitments to the roots that this process made.
    made: Mutex<HashSet<[u8; 32]>>,
    /// Canary unwraps that are not on record yet.
    pub(crate) canaries: Canaries,
}

impl Recorded {
    pub(super) fn first(&self, store: StoreId) -> bool {
        lock(&self.stores).insert(store)
    }

    /// Whether this process has had the store open.
    pub(crate) fn knows(&self, store: StoreId) -> bool {
        lock(&self.stores).contains(&store)
    }

    pub(super) fn made(&self, keyring: &Keyring) {
        lock(&self.made).extend(keyring.wraps().iter().map(|wrap| wrap.commitment));
    }

    pub(super) fn has_made(&self, wrap: &RootWrap) -> bool {
        lock(&self.made).contains(&wrap.commitment)
    }
}

/// Who can put a store's events on record.
pub struct Witness {
    pub(crate) store: StoreId,
    pub(super) sequence: u64,
    pub(crate) audit_seed: Secret<32>,
}

impl Opener {
    /// The directory of a store's audit log; `None` when there is none by policy.
    #[must_use]
    pub fn log_dir(&self, path: &Path, store: StoreId) -> Option<PathBuf> {
        match &self.audit {
            AuditPlace::Beside => {
                let mut name = path.as_os_str().to_owned();
                name.push("-audit");
                Some(PathBuf::from(name))
            }
            AuditPlace::Below(dir) => Some(dir.join(store.to_string())),
            AuditPlace::Nowhere => None,
        }
    }

    /// The store's log, when it is there.
    pub(crate) fn open_log(
        &self,
        path: &Path,
        store: StoreId,
        seed: &Secret<32>,
    ) -> Result<Option<AuditLog>, Error> {
        match self.log_dir(path, store) {
            Some(dir) if AuditLog::exists(&dir) => Ok(Some(self.create_log(path, store, seed)?)),
            _ => Ok(None),
        }
    }

    pub(super) fn create_log(
        &self,
        path: &Path,
        store: StoreId,
        seed: &Secret<32>,
    ) -> Result<AuditLog, Error> {
        let dir = self.log_dir(path, store).ok_or(Error::Misuse {
            what: "this store has no audit log, so its keys cannot be changed",
        })?;
        Ok(AuditLog::open_or_create(
            &dir,
            &log_origin(store),
            seed.expose(),
            self.clock,
        )?)
    }

    /// The log of a store that was here before, removed or never finished, makes room; nothing of it is lost.
    pub(super) fn set_old_log_aside(&self, path: &Path, store: StoreId) -> Result<(), Error> {
        let Some(dir) = self.log_dir(path, store).filter(|dir| dir.exists()) else {
            return Ok(());
        };
        let mut aside = dir.clone().into_os_string();
        aside.push(format!(".before-{store}"));
        std::fs::rename(&dir, aside).map_err(Error::io("setting an old audit log aside"))
    }

    /// Puts an unlocking on record for the layers whose vaults have it on theirs, so that both sides agree. A record that cannot be
    /// written is left out.
    pub fn record_calls(&self, path: &Path, unlocked: &Unlocked) {
        let _ = self.record_unlock(path, unlocked, |wrap| self.last_call(&wrap.key).is_some());
    }

    pub(super) fn record_unlock(
        &self,
        path: &Path,
        unlocked: &Unlocked,
        which: impl Fn(&RootWrap) -> bool,
    ) -> Result<(), Error> {
        let wraps = unlocked.keyring.wraps().iter();
        let wraps: Vec<&RootWrap> = wraps.filter(|wrap| which(wrap)).collect();
        if wraps.is_empty() {
            return Ok(());
        }
        let Some(log) = self.open_log(
            path,
            unlocked.keyring.store_id(),
            &unlocked.data_keys.audit_seed(),
        )?
        else {
            return Ok(());
        };
        for wrap in wraps {
            let event = self.event(
                Action::UseUnwrap,
                path,
                &unlocked.keyring,
                Some(EventKey {
                    uri: Some(wrap.key.to_string()),
                    version: Some(wrap.wrapped.version.to_string()),
                    role: Some(KeyRole::Kek),
                    layer: Some(wrap.layer as u8),
                    ..EventKey::default()
                }),
            );
            log.record(&self.with_call(event, &wrap.key))?;
        }
        Ok(())
    }

    /// Puts the call on record that made a wrap. The last call is the unwrap that proved it, so the record names the session, and the wrap is
    /// the newest one in it up to there (format section 9.7).
    pub(crate) fn record_wrap(
        &self,
        log: &AuditLog,
        path: &Path,
        keyring: &Keyring,
        wrap: &RootWrap,
    ) -> Result<(), Error> {
        let Some(last) = self.last_call(&wrap.key) else {
            return Ok(());
        };
        let key = EventKey {
            uri: Some(wrap.key.to_string()),
            version: Some(wrap.wrapped.version.to_string()),
            role: Some(KeyRole::Kek),
            layer: Some(wrap.layer as u8),
            ..EventKey::default()
        };
        let event = self.event(Action::UseWrap, path, keyring, Some(key));
        let event = event.with_correlation(session_of(&last));
        log.record(&event.with_request(last.correlation_id))?;
        Ok(())
    }

    /// Whoever is refused cannot sign for it, so it is written beside the log. A refusal is one all the same when that fails.
    pub(super) fn observe(&self, error: &Error, disk: &impl Disk, path: &Path) {
        let Error::Keys(KeysError::Refused(refusal)) = error else {
            return;
        };
        if matches!(refusal.reason, Reason::Throttled | Reason::Unreachable) {
            return;
        }
        // Nothing of the keyring is authenticated here: it says which log to write beside, and no more.
        let Ok(store) = HeadCopy::of(disk).map(|head| head.store_id()) else {
            return;
        };
        let Some(dir) = self
            .log_dir(path, store)
            .filter(|dir| AuditLog::exists(dir))
        else {
            return;
        };
        let event = Event::new(Action::AccessDenied, Outcome::Denied)
            .with_reason(reason_code(refusal.reason))
            .with_actor(self.actor.clone())
            .with_source(self.source.clone())
            .with_key(EventKey {
                uri: Some(refusal.key.to_string()),
                version: refusal.version.as_ref().map(ToString::to_string),
                role: Some(KeyRole::Kek),
                ..EventKey::default()
            })
            .with_object(Object::store(store.to_string()).with_path(path.display().to_string()));
        let _ = Refusals::of(&dir).observe(&event, (self.clock)());
    }

    pub(super) fn adopt_refusals(&self, path: &Path, unlocked: &Unlocked) -> Result<(), Error> {
        let store = unlocked.keyring.store_id();
        let Some(refusals) = self.log_dir(path, store).map(|dir| Refusals::of(&dir)) else {
            return Ok(());
        };
        if refusals.any()
            && let Some(log) = self.open_log(path, store, &unlocked.data_keys.audit_seed())?
        {
            refusals.adopt(&log)?;
        }
        Ok(())
    }

    /// The same event with the ids of the call that was just made for a key, by which the vault's own log knows it.
    pub(crate) fn with_call(&self, event: Event, key: &KeyUri) -> Event {
        let Some(request) = self.last_call(key) else {
            return event;
        };
        let event = event.with_correlation(request.correlation_id);
        match request.request_id {
            Some(id) => event.with_request(id),
            None => event,
        }
    }

    /// The last call that was made for a key; `None` where the vault keeps no log.
    pub(crate) fn last_call(&self, key: &KeyUri) -> Option<VaultRequest> {
        self.vaults.vault(key).ok()?.last_request()
    }

    /// A success that concerns a store under a custodian's hand.
    pub(crate) fn event(
        &self,
        action: Action,
        path: &Path,
        keyring: &Keyring,
        key: Option<EventKey>,
    ) -> Event {
        let event = self.success(
            action,
            path,
            keyring.store_id(),
            keyring.sequence().number(),
        );
        match key {
            Some(key) => event.with_key(key),
            None => event,
        }
    }

    /// A success that concerns an open store.
    pub(crate) fn store_event(&self, action: Action, path: &Path, witness: &Witness) -> Event {
        self.success(action, path, witness.store, witness.sequence)
    }

    fn success(&self, action: Action, path: &Path, store: StoreId, sequence: u64) -> Event {
        let object = Object::store(store.to_string())
            .with_keyring_sequence(sequence)
            .with_path(path.display().to_string());
        Event::new(action, Outcome::Success)
            .with_actor(self.actor.clone())
            .with_source(self.source.clone())
            .with_object(object)
    }
}

/// The name of a store's audit log.
#[must_use]
pub fn log_origin(store: StoreId) -> String {
    format!("cofferdam/store/{store}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
