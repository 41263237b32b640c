//! An Azure Key Vault of one's own, and a key in it.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cofferdam_keys::{
    KeyUri, KeyVersion, Layer, Refusal, Secret, StoreId, UnixTime, VaultSet, WRAPPED_ROOT_LEN,
    WrapContext, Wrapped,
};
use cofferdam_tests::vault_suite::VaultFixture;
use cofferdam_vaults::{AzureSettings, AzureVault, Vaults};
use keyvault_mock::access::{Assignment, Model, Policy, Role};
use keyvault_mock::faults::{Condition, Kind as Fault, Rule};
use keyvault_mock::material::{Kind, Material};
use keyvault_mock::server::{Config, Server};
use keyvault_mock::vault::{Attributes, Settings, Vault, Version};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// An emulator with one vault, one key with one version, and a client that may do what a database at rest may.
pub(crate) struct Mock {
    pub(crate) server: Server,
    pub(crate) vaults: Vaults,
    kind: Kind,
    material_count: Cell<usize>,
    directory: TempDir,
}

impl Mock {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::with(kind, |_| {})
    }

    pub(crate) fn with(kind: Kind, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(VAULT);
        settings.purge_protection = true;
        change(&mut settings);
        let server = Server::start(Config {
            vaults: vec![settings],
            default_vault: VAULT.to_owned(),
            ..Config::default()
        })
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, server.ca_pem()).unwrap();
        let settings = settings_of(&server, ca_file);
        let mock = Self {
            server,
            vaults: Vaults::without_passphrases()
                .with_azure(Arc::new(move |_| settings.clone()), now),
            kind,
            material_count: Cell::new(0),
            directory,
        };
        mock.unassign(Role::Administrator);
        mock.assign(Role::CryptoServiceEncryptionUser);
        mock.rotate();
        mock
    }

    pub(crate) fn uri(&self) -> KeyUri {
        format!("{}/keys/{KEY}", self.server.vault_url(VAULT))
            .parse()
            .unwrap()
    }

    pub(crate) fn settings(&self) -> AzureSettings {
        settings_of(&self.server, self.directory.path().join("ca.pem"))
    }

    /// The key as a program that starts now sees it: no connection, no token, nothing remembered.
    pub(crate) fn stranger(&self, change: impl FnOnce(&mut AzureSettings)) -> AzureVault {
        let mut settings = self.settings();
        change(&mut settings);
        AzureVault::new(&self.uri(), settings, now).unwrap()
    }

    /// The mock's clock.
    pub(crate) fn time(&self) -> i64 {
        self.server.emulator().clock.now()
    }

    /// Time passes, here and there.
    pub(crate) fn wait(&self, seconds: i64) {
        self.server.emulator().clock.advance(seconds);
        set_clock_ahead(CLOCK_AHEAD_S.get() + seconds);
    }

    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Vault) -> R) -> R {
        self.server
            .emulator()
            .store
            .change(|vaults| vaults.vault_mut(VAULT).map(change))
            .unwrap()
    }

    /// Edits the attributes of one version, or of all.
    pub(crate) fn set(&self, version: Option<&str>, edit: impl Fn(&mut Attributes)) {
        let time = self.time();
        self.change(|vault| {
            let key = vault.key_mut(KEY, time).unwrap();
            for it in &mut key.versions {
                if version.is_none_or(|version| version == it.id) {
                    edit(&mut it.attributes);
                }
            }
        });
    }

    pub(crate) fn permit_operations(&self, operations: &[&str]) {
        let time = self.time();
        self.change(|vault| {
            for version in &mut vault.key_mut(KEY, time).unwrap().versions {
                version.key_ops = operations.iter().map(|it| (*it).to_owned()).collect();
            }
        });
    }

    pub(crate) fn delete(&self) {
        let time = self.time();
        self.change(|vault| vault.delete(KEY, time).map(drop))
            .unwrap();
    }

    pub(crate) fn recover(&self) {
        let time = self.time();
        self.change(|vault| vault.recover(KEY, time).map(drop))
            .unwrap();
    }

    pub(crate) fn purge(&self) {
        let time = self.time();
        self.change(|vault| vault.purge(KEY, time)).unwrap();
    }

    pub(crate) fn assign(&self, role: Role) {
        let access = &self.server.emulator().access;
        access.assign(VAULT, self.assignment(role), self.time());
    }

    pub(crate) fn unassign(&self, role: Role) {
        let access = &self.server.emulator().access;
        assert!(access.unassign(VAULT, &self.assignment(role), self.time()));
    }

    /// Access policies in place of roles.
    pub(crate) fn permit(&self, permissions: &[&str]) {
        let access = &self.server.emulator().access;
        access.set_model(VAULT, Model::Policy);
        let policy = Policy {
            principal: self.principal(),
            permissions: permissions.iter().map(|it| (*it).to_owned()).collect(),
        };
        access.set_policy(VAULT, policy, self.time()).unwrap();
    }

    pub(crate) fn principal(&self) -> String {
        self.server.emulator().tokens.principals()[0].oid.clone()
    }

    fn assignment(&self, role: Role) -> Assignment {
        Assignment {
            principal: self.principal(),
            role,
            key: None,
        }
    }

    /// Strikes every request whose operation has this name, or every request.
    pub(crate) fn fault(&self, operation: Option<&str>, fault: Fault) {
        let rule = Rule {
            condition: Condition {
                operation: operation.map(ToOwned::to_owned),
                ..Condition::default()
            },
            fault,
            skip: 0,
            count: None,
        };
        self.server.emulator().faults.add(rule).unwrap();
    }

    pub(crate) fn clear_faults(&self) {
        self.server.emulator().faults.clear();
    }
}

impl VaultFixture for Mock {
    fn vaults(&self) -> &dyn VaultSet {
        &self.vaults
    }

    fn key(&self) -> KeyUri {
        self.uri()
    }

    fn rotate(&self) {
        let material = material(self.kind, self.material_count.get());
        self.material_count.set(self.material_count.get() + 1);
        let time = self.time();
        let version = Version::new(material, time).unwrap();
        self.change(|vault| vault.add_version(KEY, version, time).map(drop))
            .unwrap();
    }

    /// Azure has no such switch for a key: each of its versions has one.
    fn enable_key(&self, enabled: bool) {
        self.set(None, |attributes| attributes.enabled = enabled);
    }

    fn enable_version(&self, version: &KeyVersion, enabled: bool) {
        self.set(Some(version.as_str()), |attributes| {
            attributes.enabled = enabled;
        });
    }

    fn plug_in(&self, reachable: bool) {
        if reachable {
            self.clear_faults();
        } else {
            self.fault(None, Fault::Reset);
        }
    }
}

fn settings_of(server: &Server, ca_file: PathBuf) -> AzureSettings {
    AzureSettings {
        tenant_id: Some(server.tenant().to_owned()),
        client_id: Some(server.client_id().to_owned()),
        client_secret: Some(Zeroizing::new(server.client_secret().to_owned())),
        authority_host: Some(server.url()),
        extra_ca_file: Some(ca_file),
        connect_timeout: Duration::from_secs(5),
        // Two cores may be busy with other tests.
        total_timeout: Duration::from_secs(20),
        ..AzureSettings::default()
    }
}

/// The keys of all tests, made once: an RSA-4096 key takes seconds.
fn material(kind: Kind, index: usize) -> Arc<Material> {
    static MADE: OnceLock<Mutex<Vec<Arc<Material>>>> = OnceLock::new();
    let mut made = MADE.get_or_init(Mutex::default).lock().unwrap();
    let found = made
        .iter()
        .filter(|material| material.kind() == kind)
        .nth(index);
    if let Some(material) = found {
        return Arc::clone(material);
    }
    let new = Arc::new(Material::generate(kind).unwrap());
    made.push(Arc::clone(&new));
    new
}

thread_local! {
    static CLOCK_AHEAD_S: Cell<i64> = const { Cell::new(0) };
}

/// How far this thread's clock is ahead of the system's.
pub(crate) fn set_clock_ahead(seconds: i64) {
    CLOCK_AHEAD_S.set(seconds);
}

/// Our own clock.
pub(crate) fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixTime {
        seconds: since.as_secs().saturating_add_signed(CLOCK_AHEAD_S.get()),
        nanos: since.subsec_nanos(),
    }
}

pub(crate) fn root() -> Secret<WRAPPED_ROOT_LEN> {
    Secret::fill_with(|place| place.fill(7))
}

/// Unwraps, and looks at what comes out.
pub(crate) fn unwrap(
    vault: &dyn cofferdam_keys::KeyVault,
    wrapped: &Wrapped,
) -> Result<(), Refusal> {
    let root = vault.unwrap(wrapped, &CONTEXT)?;
    assert_eq!(*root.expose(), [7; WRAPPED_ROOT_LEN]);
    Ok(())
}

pub(crate) const VAULT: &str = "shop";
pub(crate) const KEY: &str = "customer";
pub(crate) const RSA_2048: Kind = Kind::Rsa { bits: 2048 };
pub(crate) const CONTEXT: WrapContext = WrapContext {
    store: StoreId::from_bytes([5; 16]),
    layer: Layer::Customer,
};
