use std::sync::Arc;

use super::key::Use;
use super::*;
use crate::material::{Curve, Kind, Material};

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;

fn version() -> Version {
    let kind = Kind::Oct { bits: 256 };
    Version::new(Arc::new(Material::generate(kind).unwrap()), NOW).unwrap()
}

fn vault(change: impl Fn(&mut Settings)) -> Vault {
    let mut settings = Settings::new("v");
    change(&mut settings);
    let mut vaults = Vaults::default();
    vaults.configure(settings);
    let mut vault = vaults.vault("v").unwrap().clone();
    vault.add_version("k", version(), NOW).unwrap();
    vault
}

/// Goal: the recovery level says what a vault was made with.
#[test]
fn recovery_levels() {
    let level = |soft_delete, purge_protection, protected_subscription, retention_days| {
        Settings {
            soft_delete,
            purge_protection,
            protected_subscription,
            retention_days,
            ..Settings::new("v")
        }
        .recovery_level()
    };
    assert_eq!(level(false, false, false, 90), "Purgeable");
    assert_eq!(level(true, false, false, 90), "Recoverable+Purgeable");
    assert_eq!(level(true, true, false, 90), "Recoverable");
    assert_eq!(
        level(true, true, true, 90),
        "Recoverable+ProtectedSubscription"
    );
    assert_eq!(
        level(true, false, false, 7),
        "CustomizedRecoverable+Purgeable"
    );
    assert_eq!(level(true, true, false, 7), "CustomizedRecoverable");
    assert_eq!(
        level(true, true, true, 7),
        "CustomizedRecoverable+ProtectedSubscription"
    );
}

/// Goal: while the lag lasts, a deleted key is nowhere, and its name says why.
#[test]
fn a_deletion_is_seen_after_the_lag() {
    let mut vault = vault(|settings| settings.delete_lag_s = 2);
    vault.delete("k", NOW).unwrap();
    assert_eq!(vault.key("k", NOW).err().unwrap().status, 404);
    assert_eq!(vault.deleted_key("k", NOW + 1).err().unwrap().status, 404);
    assert_eq!(
        vault.delete("k", NOW + 1).err().unwrap().inner,
        Some("ObjectIsBeingDeleted")
    );
    assert_eq!(
        vault
            .add_version("k", version(), NOW + 1)
            .err()
            .unwrap()
            .inner,
        Some("ObjectIsBeingDeleted")
    );
    assert_eq!(vault.deleted_key("k", NOW + 2).unwrap().name, "k");
    assert_eq!(
        vault
            .add_version("k", version(), NOW + 2)
            .err()
            .unwrap()
            .inner,
        Some("ObjectIsDeletedButRecoverable")
    );
    vault.recover("k", NOW + 2).unwrap();
    assert_eq!(vault.key("k", NOW + 3).err().unwrap().status, 404);
    assert_eq!(vault.key("k", NOW + 4).unwrap().versions.len(), 1);
}

/// Goal: purge protection refuses a purge, and the end of the retention does not ask.
#[test]
fn retention_ends_with_or_without_purge_protection() {
    let mut vault = vault(|settings| {
        settings.purge_protection = true;
        settings.retention_days = 7;
    });
    vault.delete("k", NOW).unwrap();
    assert_eq!(
        vault.purge("k", NOW).unwrap_err(),
        Refusal::purge_protected()
    );
    assert!(!vault.has_ended_retentions(NOW + 7 * DAY - 1));
    assert!(vault.deleted_key("k", NOW + 7 * DAY - 1).is_ok());
    assert!(vault.has_ended_retentions(NOW + 7 * DAY));
    assert_eq!(vault.recover("k", NOW + 7 * DAY).err().unwrap().status, 404);
    vault.end_retentions(NOW + 7 * DAY);
    assert!(vault.add_version("k", version(), NOW + 7 * DAY).is_ok());
}

/// Goal: a purged key is gone, and its name is free after the lag.
#[test]
fn a_purge_is_final() {
    let mut vault = vault(|settings| settings.delete_lag_s = 0);
    vault.delete("k", NOW).unwrap();
    vault.purge("k", NOW).unwrap();
    assert_eq!(vault.deleted_key("k", NOW).err().unwrap().status, 404);
    assert_eq!(vault.purge("k", NOW).unwrap_err().status, 404);
    assert_eq!(
        vault
            .add_version("k", version(), NOW)
            .unwrap()
            .versions
            .len(),
        1
    );
}

/// Goal: a vault that is deleted keeps its keys and gives none of them.
#[test]
fn a_deleted_vault_answers_nothing_until_it_is_recovered() {
    let mut vaults = Vaults::default();
    vaults.configure(Settings::new("v"));
    vaults
        .vault_mut("v")
        .unwrap()
        .add_version("k", version(), NOW)
        .unwrap();
    vaults.delete_vault("v", NOW).unwrap();
    assert_eq!(vaults.vault("v").err().unwrap().code, "VaultNotFound");
    vaults.recover_vault("v").unwrap();
    assert!(vaults.vault("v").unwrap().key("k", NOW).is_ok());
    assert!(vaults.purge_vault("v").is_err());
    vaults.delete_vault("v", NOW).unwrap();
    vaults.purge_vault("v").unwrap();
    assert!(vaults.recover_vault("v").is_err());
}

/// Goal: the matrix of states and uses, all of it.
#[test]
fn every_use_in_every_state() {
    let uses = [
        Use::Decrypt,
        Use::Encrypt,
        Use::Release,
        Use::Sign,
        Use::UnwrapKey,
        Use::Verify,
        Use::WrapKey,
    ];
    for what in uses {
        let makes_new = matches!(what, Use::Encrypt | Use::Sign | Use::WrapKey);
        let mut version = version();
        version.key_ops = uses.iter().map(|what| what.name().to_owned()).collect();
        let inner = |version: &Version, now| {
            version
                .permit(what, now, false)
                .err()
                .and_then(|refusal| refusal.inner)
        };

        assert_eq!(inner(&version, NOW), None, "{what:?}");
        version.attributes.exp = Some(NOW);
        assert_eq!(inner(&version, NOW - 1), None);
        assert_eq!(
            inner(&version, NOW),
            makes_new.then_some("KeyExpired"),
            "{what:?}"
        );
        version.attributes.exp = None;
        version.attributes.nbf = Some(NOW);
        assert_eq!(inner(&version, NOW), None);
        assert_eq!(
            inner(&version, NOW - 1),
            makes_new.then_some("KeyNotYetValid"),
            "{what:?}"
        );
        version.attributes.enabled = false;
        assert_eq!(inner(&version, NOW - 1), Some("KeyDisabled"), "{what:?}");
        version.attributes.enabled = true;
        version.key_ops.clear();
        let forbidden = (what != Use::Release).then_some("KeyOperationForbidden");
        assert_eq!(inner(&version, NOW), forbidden, "{what:?}");
    }
}

/// Goal: the lenient setting lets a disabled key wrap and encrypt, and nothing else.
#[test]
fn wrapping_with_a_disabled_key_is_a_setting() {
    let mut version = version();
    version.attributes.enabled = false;
    assert!(version.permit(Use::WrapKey, NOW, true).is_ok());
    assert!(version.permit(Use::Encrypt, NOW, true).is_ok());
    assert!(version.permit(Use::UnwrapKey, NOW, true).is_err());
    assert!(version.permit(Use::WrapKey, NOW, false).is_err());
}

/// Goal: default operations go with the type.
#[test]
fn default_operations() {
    assert_eq!(
        Version::default_ops(Kind::Ec(Curve::P384)),
        ["sign", "verify"]
    );
    assert_eq!(Version::default_ops(Kind::Rsa { bits: 2048 }).len(), 6);
}
