//! A key in Azure, from the command line: against an emulator of Azure Key Vault.

mod common;

use std::cell::RefCell;
use std::process::Command;

use common::{MARKER, World, finished};
use keyvault_mock::access::{Assignment, Role};
use keyvault_mock::server::{Config, Server};
use keyvault_mock::tokens::{ClientSecret, Principal};
use keyvault_mock::vault::Settings;

/// Goal: sealed, read, rotated, revoked and given back under a key that never leaves its vault.
#[test]
fn a_database_lives_and_rests_with_its_key_in_azure() {
    let azure = Azure::new(&["customer"]);
    let (world, key) = (&azure.world, azure.key("customer"));
    world.plain("plain.db", 300);
    let before = world.bytes("plain.db");
    azure.seal(&key);
    let sealed = world.bytes("sealed.db");
    assert!(
        !sealed
            .windows(8)
            .any(|bytes| bytes == &MARKER.as_bytes()[..8])
    );
    assert_eq!(
        azure.ok(&["sqlite", "shell", "sealed.db", "SELECT count(*) FROM t"]),
        "300\n"
    );

    let status = azure.json(&["status", "sealed.db"]);
    let layer = &status["layers"][0];
    assert_eq!(
        (&layer["key"], &layer["vault"]["kind"]),
        (&key.clone().into(), &"RSA-2048".into())
    );
    assert_eq!(layer["vault"]["strength_bits"], 112);
    let first = layer["version"].as_str().unwrap().to_owned();

    azure.rotate("customer");
    let rotated = azure.json(&["rotate", "kek", "sealed.db"]);
    let second = rotated["rotated"][0]["to"].as_str().unwrap().to_owned();
    assert_eq!(rotated["rotated"][0]["from"], first.as_str());
    assert_ne!(first, second);
    azure.enable("customer", Some(&first), false);
    azure.ok(&["sqlite", "shell", "sealed.db", "SELECT 1"]);

    azure.enable("customer", None, false);
    azure.refused(&["sqlite", "shell", "sealed.db", "SELECT 1"], 3, "disabled");
    azure.refused(&["status", "sealed.db"], 3, "disabled, request");
    azure.enable("customer", None, true);
    azure.ok(&["sqlite", "unseal", "sealed.db", "back.db", "--yes"]);
    assert_eq!(world.bytes("back.db"), before);

    // Each of our unlockings names the call by which the vault's own log knows it.
    let text = azure.ok(&[
        "audit",
        "show",
        "sealed.db",
        "--action",
        "use.unwrap",
        "--json",
    ]);
    // To show the log is a call as well.
    let records = azure.server.emulator().audit.recent();
    let known = |id: &str| records.iter().any(|record| record.correlation_id == id);
    let events = text.matches("\"correlation_id\"").count();
    assert!(events >= 1, "{text}");
    for id in text.split("\"correlation_id\":\"").skip(1) {
        let id = id.split('"').next().unwrap();
        assert!(known(id), "{id}");
    }
}

/// Goal: a version that was named stays, until another is named.
#[test]
fn a_named_version_does_not_move_on() {
    let azure = Azure::new(&["customer"]);
    let key = azure.key("customer");
    azure.world.plain("plain.db", 10);
    let first = azure.versions("customer").remove(0);
    azure.rotate("customer");
    let pinned = format!("{key}/{first}");
    azure.seal(&pinned);
    let version = |arguments: &[&str]| {
        let rotated = azure.json(arguments);
        rotated["rotated"][0]["to"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        version(&["rotate", "kek", "sealed.db", "--customer", &pinned]),
        first
    );
    let second = azure.versions("customer").remove(1);
    assert_eq!(
        version(&["rotate", "kek", "sealed.db", "--customer", &key]),
        second
    );
    azure.refused(&["key", "versions", &pinned], 2, "names a version");
}

/// Goal: two walls under two authorities. Neither identity opens the database without the other.
#[test]
fn two_walls_have_two_identities() {
    let azure = Azure::new(&["customer", "infrastructure"]);
    let emulator = azure.server.emulator();
    let now = emulator.clock.now();
    let tokens = &emulator.tokens;
    let other = Principal {
        name: "infrastructure".to_owned(),
        oid: "55555555-5555-4555-8555-555555555555".to_owned(),
        appid: "66666666-6666-4666-8666-666666666666".to_owned(),
        secrets: vec![ClientSecret {
            value: "other secret".to_owned(),
            expires: None,
        }],
        ..tokens.principals().remove(0)
    };
    tokens.put_principal(other.clone()).unwrap();
    let assignment = |principal: &str, key: Option<&str>, role| Assignment {
        principal: principal.to_owned(),
        role,
        key: key.map(ToOwned::to_owned),
    };
    let first = tokens.principals()[0].oid.clone();
    let user = Role::CryptoServiceEncryptionUser;
    for (principal, key) in [(&first, "customer"), (&other.oid, "infrastructure")] {
        emulator
            .access
            .assign(VAULT, assignment(principal, Some(key), user), now);
    }
    let first = tokens
        .principals()
        .iter()
        .find(|it| it.oid != other.oid)
        .unwrap()
        .oid
        .clone();
    emulator
        .access
        .unassign(VAULT, &assignment(&first, None, Role::Administrator), now);

    azure.world.plain("plain.db", 10);
    let (customer, infrastructure) = (azure.key("customer"), azure.key("infrastructure"));
    let seal = [
        "sqlite",
        "seal",
        "plain.db",
        "sealed.db",
        "--customer",
        &customer,
        "--infrastructure",
        &infrastructure,
    ];
    azure.refused(&seal, 3, "ForbiddenByRbac");
    let with_both = |arguments: &[&str]| {
        let mut command = azure.command(arguments);
        command
            .env("COFFERDAM_INFRASTRUCTURE_AZURE_CLIENT_ID", &other.appid)
            .env(
                "COFFERDAM_INFRASTRUCTURE_AZURE_CLIENT_SECRET",
                "other secret",
            )
            .env("COFFERDAM_INFRASTRUCTURE", &infrastructure);
        finished(command.output().unwrap())
    };
    let ran = with_both(&[&seal[..], &["--json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    // Both keys are of RSA.
    assert_eq!(azure.note_pins(&ran.out), 2);
    let ran = with_both(&["sqlite", "shell", "sealed.db", "SELECT count(*) FROM t"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "10\n"), "{}", ran.err);
    azure.refused(
        &["sqlite", "shell", "sealed.db", "SELECT 1"],
        3,
        "ForbiddenByRbac",
    );
}

/// Goal: a vault that is not there is not a vault that says no, and the command tells which.
#[test]
fn an_outage_is_told_as_one() {
    let azure = Azure::new(&["customer"]);
    azure.world.plain("plain.db", 10);
    let key = azure.key("customer");
    azure.seal(&key);
    azure.server.stop();
    let arguments = ["sqlite", "shell", "sealed.db", "SELECT 1"];
    azure.refused(&arguments, 3, "the vault did not answer");
}

/// Goal: under a key of RSA, whose public half anyone may have, a database is not opened on the disk's word alone.
#[test]
fn without_its_pin_a_database_under_rsa_is_refused() {
    let azure = Azure::new(&["customer"]);
    azure.world.plain("plain.db", 10);
    azure.seal(&azure.key("customer"));
    let pin = azure.pins.take();
    let shell = ["sqlite", "shell", "sealed.db", "SELECT count(*) FROM t"];
    azure.refused(&shell, 3, &format!("COFFERDAM_PIN={pin}"));
    azure.refused(&["status", "sealed.db"], 3, "COFFERDAM_PIN");
    let other = "0".repeat(64);
    azure.refused(
        &[&shell[..], &["--pin", &other]].concat(),
        3,
        "COFFERDAM_PIN",
    );
    assert_eq!(azure.ok(&[&shell[..], &["--pin", &pin]].concat()), "10\n");
    assert_eq!(azure.ok(&[&shell[..], &["--pin", "none"]].concat()), "10\n");
}

/// Goal: what the vault has on record is on ours too, whichever command asked it.
#[test]
fn no_call_of_ours_is_taken_for_a_strangers() {
    let azure = Azure::new(&["customer"]);
    azure.world.plain("plain.db", 10);
    azure.seal(&azure.key("customer"));
    azure.ok(&["sqlite", "shell", "sealed.db", "SELECT 1"]);
    azure.ok(&["status", "sealed.db"]);
    azure.rotate("customer");
    azure.ok(&["rotate", "kek", "sealed.db"]);
    azure.ok(&["audit", "verify", "sealed.db"]);
    azure.ok(&["scrub", "sealed.db"]);
    azure.ok(&["revalidate", "sealed.db"]);
    azure.ok(&["sqlite", "unseal", "sealed.db", "back.db", "--yes"]);
    let vkey = azure.json(&["status", "sealed.db"])["audit"]["vkey"].clone();
    let records = azure.server.emulator().audit.recent();
    let log = serde_json::to_vec(&records).unwrap();
    std::fs::write(azure.world.path("vault.json"), log).unwrap();
    let report = azure.json(&[
        "audit",
        "reconcile",
        "sealed.db",
        "--kms-log",
        "vault.json",
        "--vkey",
        vkey.as_str().unwrap(),
    ]);
    assert!(report["matched"].as_u64().unwrap() >= 12, "{report}");
}

struct Azure {
    server: Server,
    world: World,
    /// The pins of what was sealed, as `COFFERDAM_PIN` has them.
    pins: RefCell<String>,
}

impl Azure {
    /// A vault with these keys, RSA-2048, and a client that may do everything.
    fn new(keys: &[&str]) -> Self {
        let server = Server::start(Config {
            vaults: vec![Settings::new(VAULT)],
            default_vault: VAULT.to_owned(),
            ..Config::default()
        })
        .unwrap();
        let world = World::new();
        std::fs::write(world.path("ca.pem"), server.ca_pem()).unwrap();
        let azure = Self {
            server,
            world,
            pins: RefCell::default(),
        };
        keys.iter().for_each(|key| azure.rotate(key));
        azure
    }

    fn key(&self, name: &str) -> String {
        format!("{}/keys/{name}", self.server.vault_url(VAULT))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.command(arguments);
        command
            .env("AZURE_TENANT_ID", self.server.tenant())
            .env("AZURE_CLIENT_ID", self.server.client_id())
            .env("AZURE_CLIENT_SECRET", self.server.client_secret())
            .env("AZURE_AUTHORITY_HOST", self.server.url())
            .env("SSL_CERT_FILE", self.world.path("ca.pem"));
        if !self.pins.borrow().is_empty() {
            command.env("COFFERDAM_PIN", &*self.pins.borrow());
        }
        command
    }

    /// Seals `plain.db` as `sealed.db`, and notes its pin.
    #[track_caller]
    fn seal(&self, key: &str) {
        let told = self.ok(&[
            "sqlite",
            "seal",
            "plain.db",
            "sealed.db",
            "--customer",
            key,
            "--json",
        ]);
        assert_eq!(self.note_pins(&told), 1);
    }

    /// Says how many there are.
    fn note_pins(&self, told: &str) -> usize {
        let told: serde_json::Value = serde_json::from_str(told).unwrap();
        let pins = told["pins"].as_array().unwrap().iter();
        let pins: Vec<&str> = pins.map(|pin| pin.as_str().unwrap()).collect();
        self.pins.replace(pins.join(","));
        pins.len()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let ran = finished(self.command(arguments).output().unwrap());
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32, says: &str) {
        let ran = finished(self.command(arguments).output().unwrap());
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
        assert!(
            ran.err.contains(says),
            "{arguments:?}: {} lacks {says:?}",
            ran.err
        );
        assert!(!ran.err.contains(self.server.client_secret()));
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).unwrap()
    }

    fn rotate(&self, name: &str) {
        use keyvault_mock::material::{Kind, Material};
        use keyvault_mock::vault::Version;
        let kind = Kind::Rsa { bits: 2048 };
        let time = self.server.emulator().clock.now();
        let version = Version::new(Material::generate(kind).unwrap().into(), time).unwrap();
        let store = &self.server.emulator().store;
        store
            .change(|vaults| {
                vaults
                    .vault_mut(VAULT)?
                    .add_version(name, version, time)
                    .map(drop)
            })
            .unwrap();
    }

    fn enable(&self, name: &str, version: Option<&str>, enabled: bool) {
        let time = self.server.emulator().clock.now();
        let store = &self.server.emulator().store;
        store
            .change(|vaults| {
                for it in &mut vaults.vault_mut(VAULT)?.key_mut(name, time)?.versions {
                    if version.is_none_or(|version| version == it.id) {
                        it.attributes.enabled = enabled;
                    }
                }
                Ok(())
            })
            .unwrap();
    }

    /// Oldest first.
    fn versions(&self, name: &str) -> Vec<String> {
        let time = self.server.emulator().clock.now();
        let store = &self.server.emulator().store;
        store.read(|vaults| {
            let key = vaults.vault(VAULT).unwrap().key(name, time).unwrap();
            key.versions.iter().map(|it| it.id.clone()).collect()
        })
    }
}

const VAULT: &str = "shop";
