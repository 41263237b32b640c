//! A key whose unwraps somebody takes part in: to count them, to time them, or to refuse them.

use std::sync::Arc;

use crate::{
    KeyDescription, KeyUri, KeyVault, Refusal, Secret, VaultRequest, VersionDescription,
    WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};

/// What takes part in unwraps.
pub trait UnwrapHook: Send + Sync {
    /// Answers an unwrap that `vault` was to answer: asks it, or does not.
    ///
    /// # Errors
    ///
    /// As [`KeyVault::unwrap`].
    fn unwrap(
        &self,
        vault: &dyn KeyVault,
        key: &KeyUri,
        wrapped: &Wrapped,
        context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal>;
}

/// A key in its vault. Unwraps go through the hook, all else straight to the vault.
pub struct HookedVault {
    vault: Arc<dyn KeyVault>,
    key: KeyUri,
    hook: Arc<dyn UnwrapHook>,
}

impl HookedVault {
    /// Puts a hook before the key of this name.
    pub fn new(vault: Arc<dyn KeyVault>, key: &KeyUri, hook: Arc<dyn UnwrapHook>) -> HookedVault {
        HookedVault {
            vault,
            key: key.clone(),
            hook,
        }
    }
}

impl KeyVault for HookedVault {
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
        self.hook.unwrap(&*self.vault, &self.key, wrapped, context)
    }

    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal> {
        self.vault.versions()
    }

    fn last_request(&self) -> Option<VaultRequest> {
        self.vault.last_request()
    }
}
