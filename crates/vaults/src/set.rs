//! All vaults of one program.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_keys::{Clock, KeyScheme, KeyUri, KeyVault, NoSuchVault, VaultSet};

use crate::{AzureSource, AzureVault, FileVault, PassphraseSource};

/// Finds the vault for every key that this build can use: key files, and keys in Azure.
///
/// A key that was found once is the same object ever after, with what it remembers of a passphrase or a login.
pub struct Vaults {
    passphrases: PassphraseSource,
    files: Mutex<HashMap<KeyUri, Arc<FileVault>>>,
    azure: Option<Azure>,
}

struct Azure {
    source: AzureSource,
    clock: Clock,
    keys: Mutex<HashMap<KeyUri, Arc<AzureVault>>>,
}

impl Vaults {
    /// Vaults that ask this source for passphrases.
    pub fn new(passphrases: PassphraseSource) -> Self {
        Self {
            passphrases,
            files: Mutex::default(),
            azure: None,
        }
    }

    /// The same vaults, with Azure beside them. Without, keys in Azure are not found.
    #[must_use]
    pub fn with_azure(mut self, source: AzureSource, clock: Clock) -> Self {
        self.azure = Some(Azure {
            source,
            clock,
            keys: Mutex::default(),
        });
        self
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
        match (key.scheme(), &self.azure) {
            (KeyScheme::AzureKeyVault, Some(azure)) => Ok(azure.key(key)?),
            _ => Ok(self.file(key)?),
        }
    }
}

impl Azure {
    fn key(&self, key: &KeyUri) -> Result<Arc<AzureVault>, NoSuchVault> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(vault) = keys.get(key) {
            return Ok(Arc::clone(vault));
        }
        let vault = Arc::new(AzureVault::new(key, (self.source)(key), self.clock)?);
        keys.insert(key.clone(), Arc::clone(&vault));
        Ok(vault)
    }
}
