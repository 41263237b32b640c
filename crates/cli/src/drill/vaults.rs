//! Vaults that can be made to say *no*, in this program and nowhere else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cofferdam_keys::{
    HookedVault, KeyUri, KeyVault, NoSuchVault, Reason, Refusal, Revocation, Secret, UnwrapHook,
    VaultSet, WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};

/// The true vaults, behind a switch.
#[derive(Clone)]
pub(crate) struct DrillVaults {
    true_vaults: Arc<dyn VaultSet>,
    switch: Arc<Switch>,
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
        self.switch.lock().denies = true;
    }

    /// From now on the true vaults answer again; says when that was.
    pub(crate) fn allow(&self) -> Instant {
        self.switch.lock().denies = false;
        Instant::now()
    }

    /// When the first and the second *no* were said.
    pub(crate) fn denials(&self) -> Option<(Instant, Instant)> {
        let state = self.switch.lock();
        Some((state.first?, state.second?))
    }
}

impl VaultSet for DrillVaults {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        let vault = self.true_vaults.vault(key)?;
        Ok(Arc::new(HookedVault::new(vault, key, self.switch.clone())))
    }
}

#[derive(Default)]
struct Switch(Mutex<State>);

#[derive(Default)]
struct State {
    denies: bool,
    first: Option<Instant>,
    second: Option<Instant>,
}

impl Switch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether unwraps are refused. When they are, that was one more *no*.
    fn denies(&self) -> bool {
        let mut state = self.lock();
        if state.denies {
            let now = Instant::now();
            match state.first {
                None => state.first = Some(now),
                Some(_) => _ = state.second.get_or_insert(now),
            }
        }
        state.denies
    }
}

impl UnwrapHook for Switch {
    fn unwrap(
        &self,
        vault: &dyn KeyVault,
        key: &KeyUri,
        wrapped: &Wrapped,
        context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
        if !self.denies() {
            return vault.unwrap(wrapped, context);
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
