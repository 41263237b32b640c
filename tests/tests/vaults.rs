//! Every vault runs the shared suite.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_keys::{KeyUri, KeyVersion, UnixTime, VaultSet};
use cofferdam_tests::vault_suite::{self, VaultFixture};
use cofferdam_vaults::{FileVault, Vaults, Which};
use tempfile::TempDir;
use zeroize::Zeroizing;

#[test]
fn a_key_file_keeps_the_contract() {
    vault_suite::run(&|| Box::new(KeyFile::new(None)));
}

#[test]
fn a_key_file_with_a_passphrase_keeps_the_contract() {
    vault_suite::run(&|| Box::new(KeyFile::new(Some("correct horse battery staple"))));
}

/// A key file on a stick: the directory that comes and goes.
struct KeyFile {
    directory: TempDir,
    vaults: Vaults,
    key: KeyUri,
}

impl KeyFile {
    fn new(passphrase: Option<&'static str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("stick")).unwrap();
        let key = KeyUri::from_file_path(&directory.path().join("stick/customer.key")).unwrap();
        let vaults = Vaults::new(Arc::new(move |_| {
            passphrase.map(|text| Zeroizing::new(text.to_owned()))
        }));
        vaults.file(&key).unwrap().create(passphrase, NOW).unwrap();
        Self {
            directory,
            vaults,
            key,
        }
    }

    fn file(&self) -> Arc<FileVault> {
        self.vaults.file(&self.key).unwrap()
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl VaultFixture for KeyFile {
    fn vaults(&self) -> &dyn VaultSet {
        &self.vaults
    }

    fn key(&self) -> KeyUri {
        self.key.clone()
    }

    fn rotate(&self) {
        self.file().rotate(NOW).unwrap();
    }

    fn enable_key(&self, enabled: bool) {
        self.file().set_enabled(&Which::Key, enabled).unwrap();
    }

    fn enable_version(&self, version: &KeyVersion, enabled: bool) {
        self.file()
            .set_enabled(&Which::Version(version.clone()), enabled)
            .unwrap();
    }

    fn plug_in(&self, reachable: bool) {
        let (from, to) = if reachable {
            ("drawer", "stick")
        } else {
            ("stick", "drawer")
        };
        fs::rename(self.place(from), self.place(to)).unwrap();
    }
}

const NOW: UnixTime = UnixTime {
    seconds: 1_800_000_000,
    nanos: 0,
};
