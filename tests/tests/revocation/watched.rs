//! Vaults, with a note of when they said *no*.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use cofferdam_keys::{
    KeyDescription, KeyUri, KeyVault, NoSuchVault, Refusal, Secret, VaultRequest, VaultSet,
    VersionDescription, WRAPPED_ROOT_LEN, WrapContext, Wrapped,
};

use cofferdam_tests::memory::MASK;

#[derive(Clone)]
pub(crate) struct Watched {
    vaults: Arc<dyn VaultSet>,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    noes: Vec<Instant>,
    /// What was unwrapped, masked.
    roots: Vec<[u8; 32]>,
}

impl Watched {
    pub(crate) fn over(vaults: Arc<dyn VaultSet>) -> Watched {
        Watched {
            vaults,
            notes: Arc::default(),
        }
    }

    pub(crate) fn reset(&self) {
        self.notes.lock().unwrap().noes.clear();
    }

    /// When the second *no* in a row was said.
    pub(crate) fn confirmed(&self) -> Option<Instant> {
        self.notes.lock().unwrap().noes.get(1).copied()
    }

    pub(crate) fn masked_roots(&self) -> Vec<[u8; 32]> {
        self.notes.lock().unwrap().roots.clone()
    }

    fn note(&self, answer: &Result<Secret<WRAPPED_ROOT_LEN>, Refusal>) {
        let mut notes = self.notes.lock().unwrap();
        match answer {
            Ok(root) => {
                let (root, _) = root.expose().split_first_chunk::<32>().unwrap();
                let masked = root.map(|byte| byte ^ MASK);
                if !notes.roots.contains(&masked) {
                    notes.roots.push(masked);
                }
            }
            Err(_) => notes.noes.push(Instant::now()),
        }
    }
}

impl VaultSet for Watched {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        Ok(Arc::new(WatchedVault {
            watched: self.clone(),
            vault: self.vaults.vault(key)?,
        }))
    }
}

struct WatchedVault {
    watched: Watched,
    vault: Arc<dyn KeyVault>,
}

impl KeyVault for WatchedVault {
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
        let answer = self.vault.unwrap(wrapped, context);
        self.watched.note(&answer);
        answer
    }

    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal> {
        self.vault.versions()
    }

    fn last_request(&self) -> Option<VaultRequest> {
        self.vault.last_request()
    }
}
