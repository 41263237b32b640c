//! Which unwraps were really made, whatever a head on the disk claims.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_keys::{
    KeyDescription, KeyUri, KeyVault, KeyVersion, NoSuchVault, Refusal, Secret, VaultRequest,
    VaultSet, VersionDescription, WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};

/// Vaults that take note of what they are asked.
pub(crate) struct Calls<'a> {
    vaults: &'a dyn VaultSet,
    made: Arc<Mutex<Vec<Call>>>,
}

/// An unwrap.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) key: KeyUri,
    pub(crate) version: KeyVersion,
    pub(crate) allowed: bool,
    /// Its name in the vault's own log, if there is one.
    pub(crate) request: Option<VaultRequest>,
}

impl<'a> Calls<'a> {
    pub(crate) fn of(vaults: &'a dyn VaultSet) -> Calls<'a> {
        Calls {
            vaults,
            made: Arc::default(),
        }
    }

    pub(crate) fn made(&self) -> Vec<Call> {
        lock(&self.made).clone()
    }
}

impl VaultSet for Calls<'_> {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        Ok(Arc::new(Noting {
            vault: self.vaults.vault(key)?,
            key: key.clone(),
            made: Arc::clone(&self.made),
        }))
    }
}

struct Noting {
    vault: Arc<dyn KeyVault>,
    key: KeyUri,
    made: Arc<Mutex<Vec<Call>>>,
}

impl KeyVault for Noting {
    fn describe(&self) -> Result<KeyDescription, Refusal> {
        self.vault.describe()
    }

    fn wrap(
        &self,
        root: &Secret<WRAPPED_ROOT_LEN>,
        context: &WrapContext,
    ) -> Result<Wrapped, Refusal> {
        self.vault.wrap(root, context)
    }

    fn unwrap(
        &self,
        wrapped: &Wrapped,
        context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
        let before = self.vault.last_request();
        let answer = self.vault.unwrap(wrapped, context);
        let request = self.vault.last_request();
        // Refused without asking: nobody else has that on record.
        let asked = request.is_none() || request != before;
        if asked {
            lock(&self.made).push(Call {
                key: self.key.clone(),
                version: wrapped.version.clone(),
                allowed: answer.is_ok(),
                request,
            });
        }
        answer
    }

    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal> {
        self.vault.versions()
    }

    fn last_request(&self) -> Option<VaultRequest> {
        self.vault.last_request()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
