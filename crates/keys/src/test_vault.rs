//! Vaults in memory, for the tests of this crate.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap};

use crate::{
    KeyDescription, KeyUri, KeyVault, NoSuchVault, Reason, Refusal, Secret, VaultSet,
    VersionDescription, WRAPPED_ROOT_LEN, WrapAlgorithm, WrapContext, Wrapped,
};

/// Some keys, each of which may be told to refuse.
#[derive(Default)]
pub(crate) struct TestVaults(Mutex<BTreeMap<KeyUri, Arc<TestKey>>>);

#[derive(Default)]
pub(crate) struct TestKey {
    uri: Option<KeyUri>,
    versions: Mutex<Vec<[u8; 32]>>,
    refusal: Mutex<Option<(Option<usize>, Reason)>>,
    pub(crate) calls: AtomicUsize,
}

impl TestVaults {
    /// The key of this name, made with one version when it is new.
    pub(crate) fn key(&self, name: &str) -> (KeyUri, Arc<TestKey>) {
        let uri: KeyUri = format!("kmip://test/{name}").parse().unwrap();
        let mut keys = self.0.lock().unwrap();
        let key = keys.entry(uri.clone()).or_insert_with(|| {
            let key = TestKey {
                uri: Some(uri.clone()),
                ..TestKey::default()
            };
            key.rotate();
            Arc::new(key)
        });
        (uri, Arc::clone(key))
    }
}

impl VaultSet for TestVaults {
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault> {
        let keys = self.0.lock().unwrap();
        let found = keys
            .get(key)
            .ok_or_else(|| NoSuchVault { key: key.clone() })?;
        Ok(Arc::clone(found) as Arc<dyn KeyVault>)
    }
}

impl TestKey {
    pub(crate) fn rotate(&self) {
        let mut versions = self.versions.lock().unwrap();
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).unwrap();
        versions.push(key);
    }

    /// From here on refuses calls that concern the version with this number, or every call.
    pub(crate) fn refuse(&self, version: Option<usize>, reason: Reason) {
        *self.refusal.lock().unwrap() = Some((version, reason));
    }

    pub(crate) fn call_count(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn answer(&self, number: usize) -> Result<AesKek, Refusal> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let refuse = |reason| Refusal {
            reason,
            key: self.uri.clone().unwrap(),
            version: Some(number.to_string().parse().unwrap()),
            detail: "as the test said".to_owned(),
            retry_after: None,
        };
        match *self.refusal.lock().unwrap() {
            Some((None, reason)) => return Err(refuse(reason)),
            Some((Some(refused), reason)) if refused == number => return Err(refuse(reason)),
            _ => {}
        }
        let versions = self.versions.lock().unwrap();
        let key = number
            .checked_sub(1)
            .and_then(|index| versions.get(index))
            .ok_or_else(|| refuse(Reason::Corrupt))?;
        Ok(AesKek::new(&AES_256, key).unwrap())
    }
}

impl KeyVault for TestKey {
    fn describe(&self) -> Result<KeyDescription, Refusal> {
        unreachable!("the keyring asks for no description")
    }

    fn wrap(
        &self,
        root: &Secret<WRAPPED_ROOT_LEN>,
        _context: &WrapContext,
    ) -> Result<Wrapped, Refusal> {
        let number = self.versions.lock().unwrap().len();
        let mut blob = vec![0; WRAPPED_ROOT_LEN + 8];
        self.answer(number)?.wrap(root.expose(), &mut blob).unwrap();
        Ok(Wrapped {
            version: number.to_string().parse().unwrap(),
            algorithm: WrapAlgorithm::Aes256Kw,
            blob,
        })
    }

    fn unwrap(
        &self,
        wrapped: &Wrapped,
        _context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
        let corrupt = |_| Refusal {
            reason: Reason::Corrupt,
            key: self.uri.clone().unwrap(),
            version: Some(wrapped.version.clone()),
            detail: String::new(),
            retry_after: None,
        };
        let kek = self.answer(wrapped.version.as_str().parse().unwrap_or(0))?;
        let mut room = [0; WRAPPED_ROOT_LEN + 8];
        let root = kek
            .unwrap(
                &wrapped.blob,
                room.get_mut(..wrapped.blob.len()).unwrap_or_default(),
            )
            .map_err(corrupt)?;
        let root: &[u8; WRAPPED_ROOT_LEN] = (&*root)
            .try_into()
            .map_err(|_| corrupt(aws_lc_rs::error::Unspecified))?;
        Ok(Secret::fill_with(|place| place.copy_from_slice(root)))
    }

    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal> {
        unreachable!("the keyring asks for no versions")
    }
}
