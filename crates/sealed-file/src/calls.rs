//! Which unwraps were really made, whatever a head on the disk claims.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_keys::{
    HookedVault, KeyUri, KeyVault, KeyVersion, NoSuchVault, Refusal, Secret, UnwrapHook,
    VaultRequest, VaultSet, WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};

/// Vaults that take note of what they are asked.
pub(crate) struct Calls<'a> {
    vaults: &'a dyn VaultSet,
    made: Arc<Made>,
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
        self.made.lock().clone()
    }
}

impl VaultSet for Calls<'_> {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        let vault = self.vaults.vault(key)?;
        Ok(Arc::new(HookedVault::new(vault, key, self.made.clone())))
    }
}

#[derive(Default)]
struct Made(Mutex<Vec<Call>>);

impl Made {
    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnwrapHook for Made {
    fn unwrap(
        &self,
        vault: &dyn KeyVault,
        key: &KeyUri,
        wrapped: &Wrapped,
        context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
        let before = vault.last_request();
        let answer = vault.unwrap(wrapped, context);
        let request = vault.last_request();
        // Refused without asking: nobody else has that on record.
        let asked = request.is_none() || request != before;
        if asked {
            self.lock().push(Call {
                key: key.clone(),
                version: wrapped.version.clone(),
                allowed: answer.is_ok(),
                request,
            });
        }
        answer
    }
}
