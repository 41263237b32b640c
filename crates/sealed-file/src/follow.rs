//! Following a key's rotation in its vault, for stores that are open.

use std::path::Path;

use cofferdam_keys::{KeyVersion, KeysError};

use crate::custodian::{Custodian, Rotated};
use crate::disk::Disk;
use crate::error::Error;
use crate::opener::{Opener, Store, WrappedBy};

impl Opener {
    /// Wraps the roots of an open store under the newest versions of their keys, where those are newer than the ones that wrap. The
    /// engine's own disk is used; no page is touched.
    ///
    /// `None` when the store is up to date. Otherwise the keyring has changed, here or by another process's hand, and the store should be
    /// opened again to be told of it; while another is at it, it may still be the old one.
    ///
    /// # Errors
    /// As [`Custodian::on`] and [`Custodian::rotate_kek`], but never [`Error::Busy`].
    pub fn follow_rotations(
        &self,
        disk: impl Disk,
        path: &Path,
        store: &Store,
    ) -> Result<Option<Vec<Rotated>>, Error> {
        let behind = self.behind(store)?;
        if behind.is_empty() {
            return Ok(None);
        }
        let mut custodian = match Custodian::on(self, path, disk) {
            Ok(custodian) => custodian,
            Err(Error::Busy) => return Ok(Some(Vec::new())),
            Err(error) => return Err(error),
        };
        let mut rotated = Vec::new();
        for wrap in behind {
            let current = custodian
                .keyring()
                .wraps()
                .iter()
                .find(|other| other.layer == wrap.layer);
            // It may have been done since the store was opened.
            if current.is_some_and(|current| current.wrapped.version == wrap.version) {
                rotated.push(custodian.rotate_kek(wrap.layer)?);
            }
        }
        Ok(Some(rotated))
    }

    /// The wraps whose key has a newer version. Asks the vaults.
    fn behind(&self, store: &Store) -> Result<Vec<WrappedBy>, Error> {
        let mut behind = Vec::new();
        for wrap in store.wraps.iter() {
            let vault = self.vaults.vault(&wrap.uri).map_err(KeysError::from)?;
            let latest = vault.describe().map_err(KeysError::from)?.latest;
            let versions = vault.versions().map_err(KeysError::from)?;
            // The newest usable version may be an older one, of a key whose newest was just disabled; that is not to be followed.
            let place =
                |version: &KeyVersion| versions.iter().position(|it| it.version == *version);
            let newer = latest.and_then(|latest| Some(place(&latest)? > place(&wrap.version)?));
            if newer == Some(true) {
                behind.push(wrap.clone());
            }
        }
        Ok(behind)
    }
}
