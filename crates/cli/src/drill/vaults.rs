//! Vaults that can be made to say *no*, in this program and nowhere else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cofferdam_keys::{
    KeyDescription, KeyUri, KeyVault, NoSuchVault, Reason, Refusal, Revocation, Secret, VaultSet,
    VersionDescription, WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};

/// The true vaults, behind a switch.
#[derive(Clone)]
pub(crate) struct DrillVaults {
    true_vaults: Arc<dyn VaultSet>,
    switch: Arc<Mutex<Switch>>,
}

#[derive(Default)]
struct Switch {
    denies: bool,
    first: Option<Instant>,
    second: Option<Instant>,
}

impl DrillVaults {
    pub(crate) fn over(true_vaults: Arc<dyn VaultSet>) -> DrillVaults {
        DrillVaults {
            true_vaults,
            switch: Arc::default(),
        }
    }

    /// From now on every unwrap is refused.
    pub(crate) fn deny(&self) {
        self.switch().denies = true;
    }

    /// From now on the true vaults answer again; says when that was.
    pub(crate) fn allow(&self) -> Instant {
        self.switch().denies = false;
        Instant::now()
    }

    /// When the first and the second *no* were said.
    pub(crate) fn denials(&self) -> Option<(Instant, Instant)> {
        let switch = self.switch();
        Some((switch.first?, switch.second?))
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, wrapped: &Wrapped, key: &KeyUri) -> Result<(), Refusal> {
        let mut switch = self.switch();
        if !switch.denies {
            return Ok(());
        }
        let now = Instant::now();
        match switch.first {
            None => switch.first = Some(now),
            Some(_) => _ = switch.second.get_or_insert(now),
        }
        Err(Refusal {
            reason: Reason::Revoked(Revocation::Disabled),
            key: key.clone(),
            version: Some(wrapped.version.clone()),
            detail: "this is a drill; the key itself was not touched".to_owned(),
            retry_after: None,
        })
    }
}

impl VaultSet for DrillVaults {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        Ok(Arc::new(DrillVault {
            vaults: self.clone(),
            key: key.clone(),
            vault: self.true_vaults.vault(key)?,
        }))
    }
}

struct DrillVault {
    vaults: DrillVaults,
    key: KeyUri,
    vault: Arc<dyn KeyVault>,
}

impl KeyVault for DrillVault {
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
        self.vaults.check(wrapped, &self.key)?;
        self.vault.unwrap(wrapped, context)
    }

    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal> {
        self.vault.versions()
    }
}
