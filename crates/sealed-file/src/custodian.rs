//! What a custodian does to a store's keys. Nothing here touches a page, and nothing happens without a record.

use std::path::{Path, PathBuf};

use cofferdam_audit::{Action, AuditLog, EventKey, KeyRole, Sink};
use cofferdam_keys::{KeyUri, KeyVersion, Keyring, Layer, Sequence, Unlocked};

use crate::custody_lock::CustodyLock;
use crate::disk::{Disk, FileDisk};
use crate::error::Error;
use crate::head::Head;
use crate::opener::Opener;

/// A store under a custodian's hand: unlocked, and locked against other custodians.
///
/// Applications may go on using the store meanwhile, also while its keyring is replaced.
pub struct Custodian<'a, D = FileDisk> {
    opener: &'a Opener,
    path: PathBuf,
    disk: D,
    unlocked: Unlocked,
    _lock: Option<CustodyLock>,
}

/// A rotation that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The layer.
    pub layer: Layer,
    /// The version that wrapped before.
    pub from: KeyVersion,
    /// The version that wraps now.
    pub to: KeyVersion,
    /// The keyring's sequence now.
    pub keyring_sequence: u64,
}

impl<'a> Custodian<'a, FileDisk> {
    /// Takes a store in hand. The old key must still unwrap: nobody changes a key without proof of the one before.
    ///
    /// # Errors
    /// As [`Opener::open_store`], and [`Error::Busy`] when another custodian has the store in hand.
    pub fn open(opener: &'a Opener, path: &Path) -> Result<Custodian<'a>, Error> {
        let disk = open_locked(path)?;
        Custodian::on(opener, path, disk)
    }

    /// The same for an old copy that was put back: the only thing to do with it is
    /// [`Custodian::accept_rollback`].
    ///
    /// # Errors
    /// As [`Custodian::open`], but never [`Error::RolledBack`].
    pub fn open_rolled_back(opener: &'a Opener, path: &Path) -> Result<Custodian<'a>, Error> {
        let disk = open_locked(path)?;
        Custodian::take(opener, path, disk, |disk| match Head::read(disk)? {
            Head::Empty => Err(not_sealed()),
            Head::Slots(slots) => {
                let unlocked = slots.unlock(&*opener.vaults, &opener.pins)?;
                opener.check_pinned(path, &unlocked)?;
                Ok(unlocked)
            }
        })
    }
}

impl<'a, D: Disk> Custodian<'a, D> {
    /// The same for a store whose main file is open already: an engine's own, which would lose its locks if the file was opened
    /// once more.
    ///
    /// # Errors
    /// As [`Custodian::open`].
    pub fn on(opener: &'a Opener, path: &Path, disk: D) -> Result<Custodian<'a, D>, Error> {
        Custodian::take(opener, path, disk, |disk| {
            opener.unlock(disk, path)?.ok_or_else(not_sealed)
        })
    }

    /// What was unlocked before the lock was held may have been changed by whoever held it.
    fn take(
        opener: &'a Opener,
        path: &Path,
        disk: D,
        unlock: impl Fn(&D) -> Result<Unlocked, Error>,
    ) -> Result<Custodian<'a, D>, Error> {
        let before = Head::bytes(&disk)?;
        let mut unlocked = unlock(&disk)?;
        let lock = match opener.log_dir(path, unlocked.keyring.store_id()) {
            Some(dir) if AuditLog::exists(&dir) => Some(CustodyLock::take(&dir)?),
            // Without a log nothing will be done.
            _ => None,
        };
        opener.record_calls(path, &unlocked);
        if Head::bytes(&disk)? != before {
            unlocked = unlock(&disk)?;
            opener.record_calls(path, &unlocked);
        }
        Ok(Custodian {
            opener,
            path: path.to_owned(),
            disk,
            unlocked,
            _lock: lock,
        })
    }

    /// The keyring.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.unlocked.keyring
    }

    /// Wraps one layer's root under the newest version of its key. No page is touched.
    ///
    /// # Errors
    /// [`Error::Keys`] with the vault's reason, [`Error::Audit`] when the intention cannot be recorded: the keyring is
    /// then as it was. [`Error::Io`] when the keyring cannot be written: the old slot still stands.
    pub fn rotate_kek(&mut self, layer: Layer) -> Result<Rotated, Error> {
        let (key, _) = self.wrapped_by(layer)?;
        self.rewrap(layer, &key, Action::KeyRewrap)
    }

    /// Puts one layer under another key, of the same vault or of another. The key before must still unwrap; afterwards this store does
    /// not need it any more, but older copies of the store do.
    ///
    /// # Errors
    /// As [`Custodian::rotate_kek`].
    pub fn rekey(&mut self, layer: Layer, key: &KeyUri) -> Result<Rotated, Error> {
        let (before, _) = self.wrapped_by(layer)?;
        let action = match before.scheme() == key.scheme() {
            true => Action::ConfigKekChanged,
            false => Action::ConfigProviderChanged,
        };
        self.rewrap(layer, key, action)
    }

    fn rewrap(&mut self, layer: Layer, key: &KeyUri, action: Action) -> Result<Rotated, Error> {
        let log = self.log()?;
        let (before, from) = self.wrapped_by(layer)?;
        let described = |key: &KeyUri, version: &KeyVersion| EventKey {
            uri: Some(key.to_string()),
            version: Some(version.to_string()),
            role: Some(KeyRole::Kek),
            layer: Some(layer as u8),
            ..EventKey::default()
        };
        self.record(
            &log,
            Action::ApprovalRequested,
            Some(described(&before, &from)),
        )?;
        let now = (self.opener.clock)();
        let next = self
            .keyring()
            .rewrap(layer, key, &*self.opener.vaults, now)?;
        self.put(next)?;
        let (_, to) = self.wrapped_by(layer)?;
        let event = self.opener.event(
            action,
            &self.path,
            self.keyring(),
            Some(described(key, &to)),
        );
        log.record(&self.opener.with_call(event, key))?;
        if let Some(wrap) = self.keyring().wraps().iter().find(|it| it.layer == layer) {
            let _ = self
                .opener
                .record_wrap(&log, &self.path, self.keyring(), wrap);
        }
        self.erase_old()?;
        Ok(Rotated {
            layer,
            from,
            to,
            keyring_sequence: self.keyring().sequence().number(),
        })
    }

    /// The key and the version that wrap a layer's root.
    fn wrapped_by(&self, layer: Layer) -> Result<(KeyUri, KeyVersion), Error> {
        self.keyring()
            .wraps()
            .iter()
            .find(|wrap| wrap.layer == layer)
            .map(|wrap| (wrap.key.clone(), wrap.wrapped.version.clone()))
            .ok_or(Error::Misuse {
                what: "the store has no such layer",
            })
    }

    /// Puts on record that the keys were checked again by hand: the store has just been unlocked. Ends a rotation that was
    /// cut short before it had erased what the key before wraps.
    ///
    /// # Errors
    /// [`Error::Audit`], [`Error::Io`].
    pub fn revalidate(&self) -> Result<(), Error> {
        self.record(&self.log()?, Action::StateRevalidated, None)?;
        let slots = Head::bytes(&self.disk)?;
        let (one, other) = slots.split_at(slots.len() / 2);
        if one != other {
            self.erase_old()?;
        }
        Ok(())
    }

    /// Declares that this old copy is the store from now on. Its keyring outranks every one that was seen before.
    ///
    /// # Errors
    /// As [`Custodian::rotate_kek`].
    pub fn accept_rollback(&mut self) -> Result<u64, Error> {
        let log = self.log()?;
        let anchored = self.opener.anchored(&self.path, &self.unlocked)?;
        self.record(&log, Action::ApprovalRequested, None)?;
        let seen = anchored
            .and_then(Sequence::new)
            .unwrap_or(self.keyring().sequence());
        let next = self.keyring().accept_rollback(seen)?;
        self.put(next)?;
        self.record(&log, Action::BackupRestored, None)?;
        Ok(self.keyring().sequence().number())
    }

    /// Puts the new keyring into the other slot as well: what the old one wrapped must not stay behind.
    fn erase_old(&self) -> Result<(), Error> {
        let slot = self.unlocked.slot.other();
        Head::replace(&self.disk, slot, &self.unlocked.keyring)
    }

    fn log(&self) -> Result<AuditLog, Error> {
        let store = self.keyring().store_id();
        self.opener
            .open_log(&self.path, store, &self.unlocked.data_keys.audit_seed())?
            .ok_or_else(|| match self.opener.log_dir(&self.path, store) {
                Some(dir) => Error::AuditMissing { dir },
                None => Error::Misuse {
                    what: "without an audit log nothing is done to a store's keys",
                },
            })
    }

    fn record(&self, log: &AuditLog, action: Action, key: Option<EventKey>) -> Result<(), Error> {
        let event = self.opener.event(action, &self.path, self.keyring(), key);
        log.record(&event)?;
        Ok(())
    }

    /// Puts a newer keyring in place of the slot that does not hold the current one.
    fn put(&mut self, next: Keyring) -> Result<(), Error> {
        let slot = self.unlocked.slot.other();
        Head::replace(&self.disk, slot, &next)?;
        self.unlocked.keyring = next;
        self.unlocked.slot = slot;
        Ok(())
    }
}

fn not_sealed() -> Error {
    Error::NotSealed {
        plain_sqlite: false,
    }
}

/// Of a file nobody else has open in this process, the lock of the system keeps other programs' custodians away from the start.
fn open_locked(path: &Path) -> Result<FileDisk, Error> {
    let disk = FileDisk::open(path).map_err(Error::io("opening the database"))?;
    disk.lock().map_err(|_| Error::Busy)?;
    Ok(disk)
}
