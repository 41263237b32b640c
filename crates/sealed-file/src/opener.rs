//! From a path to keys: what an engine is handed to open stores with.

mod records;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_audit::{
    Action, Actor, AuditLog, Clock, EventKey, KeyRole, Sink, Source, VerifierKey,
};
use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::{
    DataKeys, KeyUri, KeyVersion, Keyring, KeyringSlots, KeysError, Layer, Lease, Leases,
    NewKeyring, Pins, StoreId, Suite, Unlocked, VaultSet,
};

use crate::calls::Calls;
use crate::disk::{Disk, FileDisk};
use crate::error::Error;
use crate::file::{FileSetup, SealedFile};
use crate::head::Head;
use crate::record::FileKind;

pub use records::{Recorded, Witness, log_origin};

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
}
