//! Vaults, with a note of when they said *no*.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use cofferdam_keys::{
    HookedVault, KeyUri, KeyVault, NoSuchVault, Refusal, Secret, UnwrapHook, VaultSet,
    WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};

use cofferdam_tests::memory::MASK;

#[derive(Clone)]
pub(crate) struct Watched {
    vaults: Arc<dyn VaultSet>,
    notes: Arc<Notes>,
}

impl Watched {
    pub(crate) fn over(vaults: Arc<dyn VaultSet>) -> Watched {
        Watched {
            vaults,
            notes: Arc::default(),
        }
    }

    pub(crate) fn reset(&self) {
        self.notes.noes.lock().unwrap().clear();
    }

    /// When the second *no* in a row was said.
    pub(crate) fn confirmed(&self) -> Option<Instant> {
        self.notes.noes.lock().unwrap().get(1).copied()
    }

    pub(crate) fn masked_roots(&self) -> Vec<[u8; 32]> {
        self.notes.roots.lock().unwrap().clone()
    }
}

impl VaultSet for Watched {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        let vault = self.vaults.vault(key)?;
        Ok(Arc::new(HookedVault::new(vault, key, self.notes.clone())))
    }
}

#[derive(Default)]
struct Notes {
    noes: Mutex<Vec<Instant>>,
    /// What was unwrapped, masked.
    roots: Mutex<Vec<[u8; 32]>>,
}

impl UnwrapHook for Notes {
    fn unwrap(
        &self,
        vault: &dyn KeyVault,
        _: &KeyUri,
        wrapped: &Wrapped,
        context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
        let answer = vault.unwrap(wrapped, context);
        match &answer {
            Ok(root) => self.note_root(root),
            Err(_) => self.noes.lock().unwrap().push(Instant::now()),
        }
        answer
    }
}

impl Notes {
    fn note_root(&self, root: &Secret<WRAPPED_ROOT_LEN>) {
        let (root, _) = root.expose().split_first_chunk::<32>().unwrap();
        let masked = root.map(|byte| byte ^ MASK);
        let mut roots = self.roots.lock().unwrap();
        if !roots.contains(&masked) {
            roots.push(masked);
        }
    }
}
