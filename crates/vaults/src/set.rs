//! All vaults of one program.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_keys::{KeyUri, KeyVault, NoSuchVault, VaultSet};

use crate::{FileVault, PassphraseSource};

/// Finds the vault for every key that this build can use: key files.
///
/// A key that was found once is the same object ever after, with what it remembers of a passphrase.
pub struct Vaults {
    passphrases: PassphraseSource,
    files: Mutex<HashMap<KeyUri, Arc<FileVault>>>,
}

impl Vaults {
    /// Vaults that ask this source for passphrases.
    pub fn new(passphrases: PassphraseSource) -> Self {
        Self {
            passphrases,
            files: Mutex::default(),
        }
    }

    /// Vaults that have no passphrase to give.
    pub fn without_passphrases() -> Self {
        Self::new(Arc::new(|_| None))
    }

    /// A key file, with the actions of its custodian.
    ///
    /// # Errors
    ///
    /// [`NoSuchVault`] for a key that is not in a file.
    pub fn file(&self, key: &KeyUri) -> Result<Arc<FileVault>, NoSuchVault> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vault) = files.get(key) {
            return Ok(Arc::clone(vault));
        }
        let vault = Arc::new(FileVault::new(key, Arc::clone(&self.passphrases))?);
        files.insert(key.clone(), Arc::clone(&vault));
        Ok(vault)
    }
}

impl VaultSet for Vaults {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        self.file(key).map(|vault| vault as Arc<dyn KeyVault>)
    }
}
