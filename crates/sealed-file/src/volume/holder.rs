//! How a volume answers to its lease: it asks the vaults, follows rotations, and gives up its keys.

use std::sync::{Mutex, TryLockError, Weak};

use cofferdam_keys::{Holder, Recorder, Refusal};

use super::shared::{Shared, lock};
use crate::probe::HeadCopy;

impl Holder for Shared {
    fn probe(&self) -> Option<Result<(), Refusal>> {
        let store = lock(&self.store).clone();
        match HeadCopy::of(&self.keyring) {
            Ok(head) => Some(self.opener.probe(&head, store.as_ref())),
            Err(error) => self.opener.unreadable(store.as_ref(), &error).map(Err),
        }
    }

    fn follow(&self) {
        let Some(store) = lock(&self.store).clone() else {
            return;
        };
        // Serving does not wait for the log.
        let witness = store.witness();
        let _ = self.opener.record_canaries(&self.path, &witness, false);
        let keyring = self.keyring.clone();
        let followed = self.opener.follow_rotations(keyring, &self.path, &store);
        // A rotation that cannot be followed changes nothing: the old version still serves, and the next *yes* tries again.
        if let Ok(Some(_)) = followed
            && let Ok(Some(store)) = self.opener.open_store(&self.keyring, &self.path)
        {
            let mut held = lock(&self.store);
            // A fence closes the gate first and takes the keys afterwards, under this lock.
            if self.admit().is_ok() {
                *held = Some(store);
            }
        }
    }

    fn fence(&self) -> bool {
        // Whoever is at it ends within moments, and then the gate comes again.
        let mut all = try_wipe(&self.catalogue);
        let open: Vec<_> = lock(&self.open)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for opened in open {
            all &= opened.try_wipe();
        }
        *lock(&self.store) = None;
        // All that waits is sealed. Should the disk fail, whoever syncs next is told.
        self.journal.commit_soon();
        all
    }

    fn recorder(&self) -> Option<Recorder> {
        // After a fence, opening the store again is what makes it recordable.
        let held = lock(&self.store).clone();
        let store = held.or_else(|| self.store_without_asking().ok())?;
        let (opener, path, witness) = (self.opener.clone(), self.path.clone(), store.witness());
        Some(Box::new(move |change, wiped| {
            // A record that cannot be written must not keep a store closed or open: what happens is the vault's decision.
            let _ = opener.record_change(&path, &witness, change, wiped);
        }))
    }
}

/// Gives up what a lock protects, unless somebody is at it.
fn try_wipe<T>(mutex: &Mutex<Option<T>>) -> bool {
    match mutex.try_lock() {
        Ok(mut held) => *held = None,
        Err(TryLockError::Poisoned(poisoned)) => *poisoned.into_inner() = None,
        Err(TryLockError::WouldBlock) => return false,
    }
    true
}
