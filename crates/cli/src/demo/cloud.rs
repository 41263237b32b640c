//! The vaults of the story: an emulator of Azure Key Vault, in this process and on loopback. It is no HSM.
//!
//! What is done here is what two custodians do in their own vaults, in Azure's portal or with its tools. The database and its openers reach the vaults
//! over HTTPS alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cofferdam_keys::KeyUri;
use cofferdam_vaults::AzureSettings;
use keyvault_mock::access::{Assignment, Role};
use keyvault_mock::error::Refusal;
use keyvault_mock::faults::{Condition, Kind as Fault, Rule};
use keyvault_mock::material::{Kind, Material};
use keyvault_mock::tokens::{ClientSecret, Principal};
use keyvault_mock::vault::{Settings, Vault, Version};
use keyvault_mock::{Config, Server};
use zeroize::Zeroizing;

use crate::failure::{Exit, Failure};

/// The emulator, and who may do what in it.
pub(super) struct Cloud {
    server: Server,
    ca_file: PathBuf,
    /// The customer.
    pub(super) customer: Authority,
    /// Whoever runs the infrastructure.
    pub(super) infrastructure: Authority,
}

/// One vault with one key, and the one identity that may use it.
pub(super) struct Authority {
    vault: &'static str,
    kind: Kind,
    identity: Principal,
}

impl Cloud {
    /// Starts the emulator. It stops when this is dropped.
    pub(super) fn start(dir: &Path) -> Result<Cloud, Failure> {
        let vault = |name| Settings {
            purge_protection: true,
            ..Settings::new(name)
        };
        let failed = |what: String| Failure::refused(format!("the emulator: {what}"));
        let server = Server::start(Config {
            vaults: vec![vault(CUSTOMER), vault(INFRASTRUCTURE)],
            default_vault: CUSTOMER.to_owned(),
            ..Config::default()
        })
        .map_err(|error| failed(error.to_string()))?;
        let ca_file = dir.join("ca.pem");
        std::fs::write(&ca_file, server.ca_pem()).map_err(Failure::io(&ca_file))?;
        let tokens = &server.emulator().tokens;
        let first = tokens.principals().into_iter().next();
        let first = first.ok_or_else(|| failed("it knows nobody".to_owned()))?;
        let second = Principal {
            name: "infrastructure".to_owned(),
            oid: "55555555-5555-4555-8555-555555555555".to_owned(),
            appid: "66666666-6666-4666-8666-666666666666".to_owned(),
            secrets: vec![ClientSecret {
                value: "the infrastructure's secret in the demonstration".to_owned(),
                expires: None,
            }],
            ..first.clone()
        };
        tokens.put_principal(second.clone()).map_err(failed)?;
        let cloud = Cloud {
            server,
            ca_file,
            customer: Authority {
                vault: CUSTOMER,
                kind: Kind::Rsa { bits: 3072 },
                identity: first,
            },
            infrastructure: Authority {
                vault: INFRASTRUCTURE,
                kind: Kind::Oct { bits: 256 },
                identity: second,
            },
        };
        cloud.dismiss_the_administrator();
        cloud.permit(&cloud.customer, true);
        cloud.permit(&cloud.infrastructure, true);
        Ok(cloud)
    }

    /// The emulator gives its first client every right.
    fn dismiss_the_administrator(&self) {
        let emulator = self.server.emulator();
        for vault in [CUSTOMER, INFRASTRUCTURE] {
            let assignment = Assignment {
                principal: self.customer.identity.oid.clone(),
                role: Role::Administrator,
                key: None,
            };
            let now = emulator.clock.now();
            emulator.access.unassign(vault, &assignment, now);
        }
    }

    /// The key, as Azure names it.
    pub(super) fn key(&self, whose: &Authority) -> Result<KeyUri, Failure> {
        let text = format!("{}/keys/{KEY}", self.server.vault_url(whose.vault));
        text.parse().map_err(Failure::usage)
    }

    /// Who an identity is to its vault.
    pub(super) fn login(&self, who: &Authority) -> AzureSettings {
        let secret = who.identity.secrets.first();
        AzureSettings {
            tenant_id: Some(self.server.tenant().to_owned()),
            client_id: Some(who.identity.appid.clone()),
            client_secret: secret.map(|secret| Zeroizing::new(secret.value.clone())),
            authority_host: Some(self.server.url()),
            extra_ca_file: Some(self.ca_file.clone()),
            // A busy machine is no outage.
            total_timeout: Duration::from_secs(20),
            ..AzureSettings::default()
        }
    }

    /// Makes a version of the key, the first or the next; says which.
    pub(super) fn add_version(&self, whose: &Authority) -> Result<String, Failure> {
        let time = self.now();
        let material = Material::generate(whose.kind).map_err(refused)?.into();
        let version = Version::new(material, time).map_err(refused)?;
        let id = version.id.clone();
        self.change(whose, |vault| {
            vault.add_version(KEY, version, time).map(drop)
        })?;
        Ok(id)
    }

    /// Disables or enables one version of the key, or all.
    pub(super) fn enable(
        &self,
        whose: &Authority,
        version: Option<&str>,
        enabled: bool,
    ) -> Result<(), Failure> {
        let time = self.now();
        self.change(whose, |vault| {
            for it in &mut vault.key_mut(KEY, time)?.versions {
                if version.is_none_or(|version| version == it.id) {
                    it.attributes.enabled = enabled;
                }
            }
            Ok(())
        })
    }

    /// Gives the identity the role that a database at rest needs, or takes it away.
    pub(super) fn permit(&self, who: &Authority, permitted: bool) {
        let access = &self.server.emulator().access;
        let assignment = Assignment {
            principal: who.identity.oid.clone(),
            role: Role::CryptoServiceEncryptionUser,
            key: None,
        };
        match permitted {
            true => access.assign(who.vault, assignment, self.now()),
            false => _ = access.unassign(who.vault, &assignment, self.now()),
        }
    }

    /// From now on every connection is reset, or none any more.
    pub(super) fn cut_off(&self, cut: bool) -> Result<(), Failure> {
        let faults = &self.server.emulator().faults;
        if !cut {
            faults.clear();
            return Ok(());
        }
        let rule = Rule {
            condition: Condition::default(),
            fault: Fault::Reset,
            skip: 0,
            count: None,
        };
        faults.add(rule).map(drop).map_err(Failure::refused)
    }

    /// What both vaults have on record: AuditEvent, a line for each.
    pub(super) fn audit_log(&self) -> Result<Vec<u8>, Failure> {
        let mut lines = Vec::new();
        for event in self.server.emulator().audit.recent() {
            serde_json::to_writer(&mut lines, &event).map_err(Failure::refused)?;
            lines.push(b'\n');
        }
        Ok(lines)
    }

    fn change<R>(
        &self,
        whose: &Authority,
        change: impl FnOnce(&mut Vault) -> Result<R, Refusal>,
    ) -> Result<R, Failure> {
        let store = &self.server.emulator().store;
        store
            .change(|vaults| change(vaults.vault_mut(whose.vault)?))
            .map_err(refused)
    }

    fn now(&self) -> i64 {
        self.server.emulator().clock.now()
    }
}

fn refused(refusal: Refusal) -> Failure {
    Failure::new(Exit::Key, format!("the emulator: {}", refusal.message))
}

const CUSTOMER: &str = "customer";
const INFRASTRUCTURE: &str = "infrastructure";
const KEY: &str = "database";
