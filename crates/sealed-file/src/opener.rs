//! From a path to keys: what an engine is handed to open stores with.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_audit::{
    Action, Actor, AuditLog, Clock, Event, EventKey, KeyRole, Object, Outcome, Refusals, Sink,
    Source, VerifierKey,
};
use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::{
    DataKeys, KeyUri, KeyVersion, Keyring, KeyringSlots, KeysError, Layer, Lease, Leases,
    NewKeyring, Pins, Reason, RootWrap, Secret, StoreId, Suite, Unlocked, VaultRequest, VaultSet,
};

use crate::calls::Calls;
use crate::canaries::{Canaries, session_of};
use crate::disk::{Disk, FileDisk};
use crate::error::Error;
use crate::file::{FileSetup, SealedFile};
use crate::head::Head;
use crate::probe::{HeadCopy, reason_code};
use crate::record::FileKind;

/// Where the audit log of a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditPlace {
    /// In the directory `STORE-audit`, beside the store.
    Beside,
    /// In a directory named by the store id, below this one.
    Below(PathBuf),
    /// Nowhere: for throwaway stores. An old copy put back is not noticed, and custodians' actions
    /// are refused.
    Nowhere,
}

/// The policy of stores that are made.
#[derive(Debug, Clone)]
pub struct NewStore {
    /// The suite.
    pub suite: Suite,
    /// The customer's key.
    pub customer: KeyUri,
    /// The infrastructure's key, for suites with two layers.
    pub infrastructure: Option<KeyUri>,
    /// Whether frames have room for the second layer when the suite has one only. It costs 64 bytes a page, and
    /// the layer can then be added without moving anything.
    pub room_for_second_layer: bool,
}

/// Opens and makes stores: it knows the vaults, the policy and the audit logs, so that engines need not.
pub struct Opener {
    /// The vaults that wrapped roots are taken to.
    pub vaults: Arc<dyn VaultSet>,
    /// Keys that stores must be under.
    pub pins: Pins,
    /// How new stores are made; `None` refuses to make any.
    pub new_store: Option<NewStore>,
    /// Where audit logs are.
    pub audit: AuditPlace,
    /// Whether a store whose audit log is missing is refused. Without its log, an old copy put back is not noticed.
    pub audit_required: bool,
    /// Who is acting, for the audit log.
    pub actor: Actor,
    /// Where, for the audit log.
    pub source: Source,
    /// The time.
    pub clock: Clock,
    /// The leases of the stores that are open.
    pub leases: Leases,
    /// Stores whose unlocking this process has recorded.
    pub recorded: Recorded,
}

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
    fn first(&self, store: StoreId) -> bool {
        lock(&self.stores).insert(store)
    }

    /// Whether this process has had the store open.
    pub(crate) fn knows(&self, store: StoreId) -> bool {
        lock(&self.stores).contains(&store)
    }

    fn made(&self, keyring: &Keyring) {
        lock(&self.made).extend(keyring.wraps().iter().map(|wrap| wrap.commitment));
    }

    fn has_made(&self, wrap: &RootWrap) -> bool {
        lock(&self.made).contains(&wrap.commitment)
    }
}

/// An unlocked store, as engines need it.
#[derive(Clone)]
pub struct Store {
    /// Its keys.
    pub keys: Arc<DataKeys>,
    /// The sequence of its keyring.
    pub keyring_sequence: u64,
    /// What its roots are wrapped with, layer by layer.
    pub wraps: Arc<[WrappedBy]>,
    /// Permission to hold the keys. An engine asks it before it serves, and joins it to be told when it ends.
    pub lease: Arc<Lease>,
}

impl Store {
    /// What it takes to put the store's events on record: no data key.
    #[must_use]
    pub fn witness(&self) -> Witness {
        Witness {
            store: self.keys.store_id(),
            sequence: self.keyring_sequence,
            audit_seed: self.keys.audit_seed(),
        }
    }
}

/// Who can put a store's events on record.
pub struct Witness {
    pub(crate) store: StoreId,
    sequence: u64,
    pub(crate) audit_seed: Secret<32>,
}

/// The key that wraps the root of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedBy {
    /// The layer.
    pub layer: Layer,
    /// The key.
    pub uri: KeyUri,
    /// Its version.
    pub version: KeyVersion,
}

impl Opener {
    /// Unlocks the store whose main file is on `disk`; `None` when there is none yet.
    ///
    /// One vault call per layer. The keyring's sequence is compared with what the store's audit log has seen.
    ///
    /// # Errors
    /// [`Error::NotSealed`], [`Error::Keys`] with the vault's reason, [`Error::RolledBack`], [`Error::Io`], and
    /// [`Error::Audit`] when the log does not authenticate.
    pub fn open_store(&self, disk: &impl Disk, path: &Path) -> Result<Option<Store>, Error> {
        let Some(unlocked) = self.unlock_observed(disk, path)? else {
            return Ok(None);
        };
        let store = unlocked.keyring.store_id();
        if self.recorded.first(store) {
            // Serving data does not wait for the log: an application whose disk is full or whose log belongs to another
            // user still reads its database. Custodians' actions do wait.
            let _ = self.record_unlock(path, &unlocked, |_| true);
        } else {
            self.count_known(store, unlocked.keyring.wraps());
        }
        // Nor does it wait for what others left unsigned.
        let _ = self.adopt_refusals(path, &unlocked);
        Ok(Some(self.lend(&unlocked.keyring, unlocked.data_keys)))
    }

    /// The same for tools, which look into the keyring and serve nobody. Each of their unlockings is on record that a vault has on its.
    ///
    /// # Errors
    /// As [`Opener::open_store`].
    pub fn unlock_store(&self, disk: &impl Disk, path: &Path) -> Result<Option<Unlocked>, Error> {
        let Some(unlocked) = self.unlock_observed(disk, path)? else {
            return Ok(None);
        };
        if self.recorded.first(unlocked.keyring.store_id()) {
            let _ = self.record_unlock(path, &unlocked, |_| true);
        } else {
            self.record_calls(path, &unlocked);
        }
        let _ = self.adopt_refusals(path, &unlocked);
        Ok(Some(unlocked))
    }

    /// Puts an unlocking on record for the layers whose vaults have it on theirs, so that both sides agree. A record that cannot be
    /// written is left out.
    pub fn record_calls(&self, path: &Path, unlocked: &Unlocked) {
        let _ = self.record_unlock(path, unlocked, |wrap| self.last_call(&wrap.key).is_some());
    }

    fn unlock_observed(&self, disk: &impl Disk, path: &Path) -> Result<Option<Unlocked>, Error> {
        self.unlock(disk, path)
            .inspect_err(|error| self.observe(error, disk, path))
    }

    /// Gives out a store's keys, under its lease.
    fn lend(&self, keyring: &Keyring, keys: DataKeys) -> Store {
        let keys = Arc::new(keys);
        let lease = self.leases.take(keyring.store_id());
        lease.watch(&keys);
        let wraps = keyring.wraps().iter().map(|wrap| WrappedBy {
            layer: wrap.layer,
            uri: wrap.key.clone(),
            version: wrap.wrapped.version.clone(),
        });
        Store {
            keys,
            keyring_sequence: keyring.sequence().number(),
            wraps: wraps.collect(),
            lease,
        }
    }

    /// Makes a store on an empty disk: a keyring, an audit log, and a main file of no bytes.
    ///
    /// # Errors
    /// [`Error::Misuse`] when this opener makes no stores, [`Error::Keys`], [`Error::Audit`], [`Error::Io`].
    pub fn create_store(
        &self,
        disk: &impl Disk,
        path: &Path,
        page_size: Option<PageSize>,
    ) -> Result<Store, Error> {
        let new = self.new_store.as_ref().ok_or(Error::Misuse {
            what: "no customer key was given, so no new database can be made",
        })?;
        let mut keys = BTreeMap::from([(Layer::Customer, new.customer.clone())]);
        if let Some(key) = &new.infrastructure {
            keys.insert(Layer::Infrastructure, key.clone());
        }
        let (keyring, data_keys) = Keyring::create(
            &NewKeyring {
                store: StoreId::random()?,
                suite: new.suite,
                keys,
                now: (self.clock)(),
            },
            &*self.vaults,
        )?;
        // The record first: a key that nobody knows of must not protect anything.
        if self.audit != AuditPlace::Nowhere {
            self.set_old_log_aside(path, keyring.store_id())?;
            let log = self.create_log(path, keyring.store_id(), &data_keys.audit_seed())?;
            for wrap in keyring.wraps() {
                let event = self.event(
                    Action::KeyCreate,
                    path,
                    &keyring,
                    Some(EventKey {
                        uri: Some(wrap.key.to_string()),
                        version: Some(wrap.wrapped.version.to_string()),
                        role: Some(KeyRole::Root),
                        layer: Some(wrap.layer as u8),
                        ..EventKey::default()
                    }),
                );
                log.record(&self.with_call(event, &wrap.key))?;
                self.record_wrap(&log, path, &keyring, wrap)?;
            }
        }
        self.recorded.first(keyring.store_id());
        self.recorded.made(&keyring);
        let layers = new.suite.layer_count();
        let slots = if layers == 2 || new.room_for_second_layer {
            SlotCount::Two
        } else {
            SlotCount::One
        };
        Head::create(disk, &keyring, &data_keys, page_size, slots)?;
        Ok(self.lend(&keyring, data_keys))
    }

    /// Opens the main file of a store on a file of the system, for tools: nobody may have it open in this
    /// process through SQLite.
    ///
    /// # Errors
    /// As [`Opener::open_store`]; [`Error::NotSealed`] for a file that is no store yet.
    pub fn open_main(&self, path: &Path) -> Result<(Store, SealedFile<FileDisk>), Error> {
        let disk = FileDisk::open_read_only(path).map_err(Error::io("opening the database"))?;
        let store = self.open_store(&disk, path)?.ok_or(Error::NotSealed {
            plain_sqlite: false,
        })?;
        let file = SealedFile::open(disk, self.main_setup(&store))?;
        Ok((store, file))
    }

    /// What the main file of a store needs to be opened.
    #[must_use]
    pub fn main_setup(&self, store: &Store) -> FileSetup {
        FileSetup {
            keys: store.keys.clone(),
            kind: FileKind::Main,
            page_size: None,
            slot_count: SlotCount::Two,
            clock: self.clock,
        }
    }

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

    /// Unlocks the keyring and compares it with the audit log.
    pub(crate) fn unlock(&self, disk: &impl Disk, path: &Path) -> Result<Option<Unlocked>, Error> {
        let mut seen = 0;
        loop {
            let unlocked = match Head::read(disk)? {
                Head::Empty => return Ok(None),
                Head::Slots(slots) => self.unlock_slots(&slots)?,
            };
            let sequence = unlocked.keyring.sequence().number();
            let checked = self
                .check_anchor(path, &unlocked)
                .and_then(|()| self.check_pinned(path, &unlocked));
            let Err(error) = checked else {
                return Ok(Some(unlocked));
            };
            // The vaults have it on record, whatever becomes of it here.
            self.record_calls(path, &unlocked);
            match error {
                // A custodian may have replaced the keyring while the vault was thinking.
                Error::RolledBack { .. } if sequence > seen => seen = sequence,
                error => return Err(error),
            }
        }
    }

    /// What a failed unlocking asked of the vaults goes on record with the probes.
    fn unlock_slots(&self, slots: &KeyringSlots) -> Result<Unlocked, KeysError> {
        let calls = Calls::of(&*self.vaults);
        slots.unlock(&calls, &self.pins).inspect_err(|_| {
            if let Some((_, claimed)) = slots.candidates().first() {
                self.count(claimed.store_id(), calls.made());
            }
        })
    }

    /// Refuses roots that anybody could have wrapped. Besides pins, an audit log that is kept apart from its store tells the right root: the
    /// log's key comes from the customer's, whose MAC covers the whole keyring.
    pub(crate) fn check_pinned(&self, path: &Path, unlocked: &Unlocked) -> Result<(), Error> {
        let stranger = unlocked
            .keyring
            .wraps()
            .iter()
            .find(|wrap| !self.pins.vouch_for(wrap) && !self.recorded.has_made(wrap));
        let Some(wrap) = stranger else {
            return Ok(());
        };
        let apart = matches!(self.audit, AuditPlace::Below(_));
        if apart && self.anchored(path, unlocked)?.is_some() {
            return Ok(());
        }
        Err(Error::Keys(KeysError::Unpinned {
            layer: wrap.layer,
            commitment: wrap.commitment,
        }))
    }

    fn check_anchor(&self, path: &Path, unlocked: &Unlocked) -> Result<(), Error> {
        let found = unlocked.keyring.sequence().number();
        match self.anchored(path, unlocked)? {
            Some(anchored) if anchored > found => Err(Error::RolledBack { found, anchored }),
            _ => Ok(()),
        }
    }

    /// The newest keyring sequence that the store's audit log has seen.
    pub(crate) fn anchored(&self, path: &Path, unlocked: &Unlocked) -> Result<Option<u64>, Error> {
        let store = unlocked.keyring.store_id();
        let Some(dir) = self.log_dir(path, store) else {
            return Ok(None);
        };
        let missing = |dir| match self.audit_required {
            true => Err(Error::AuditMissing { dir }),
            false => Ok(None),
        };
        if !AuditLog::exists(&dir) {
            return missing(dir);
        }
        let seed = unlocked.data_keys.audit_seed();
        let verifier = VerifierKey::from_seed(&log_origin(store), seed.expose())?;
        match AuditLog::anchored_sequence(&dir, &store.to_string(), &verifier)? {
            // The making of a store is the first event of its log.
            None => missing(dir),
            anchored => Ok(anchored),
        }
    }

    fn record_unlock(
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

    /// Whoever is refused cannot sign for it, so it is written beside the log. A refusal is one all the same when that fails.
    fn observe(&self, error: &Error, disk: &impl Disk, path: &Path) {
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

    fn adopt_refusals(&self, path: &Path, unlocked: &Unlocked) -> Result<(), Error> {
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

    /// The log of a store that was here before, removed or never finished, makes room; nothing of it is lost.
    fn set_old_log_aside(&self, path: &Path, store: StoreId) -> Result<(), Error> {
        let Some(dir) = self.log_dir(path, store).filter(|dir| dir.exists()) else {
            return Ok(());
        };
        let mut aside = dir.clone().into_os_string();
        aside.push(format!(".before-{store}"));
        std::fs::rename(&dir, aside).map_err(Error::io("setting an old audit log aside"))
    }

    fn create_log(
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
