//! Keys in Azure, against an emulator of Azure Key Vault that shares no code with us.

#[path = "azure_vault/mock.rs"]
mod mock;
#[path = "azure_vault/outcomes.rs"]
mod outcomes;

use cofferdam_keys::{Reason, Severity, VaultSet, preflight};
use cofferdam_tests::vault_suite;
use keyvault_mock::material::{Curve, Kind};
use mock::{CONTEXT, KEY, Mock, RSA_2048, VAULT, now, root, set_clock_ahead, unwrap};

#[test]
fn an_rsa_2048_key_keeps_the_contract() {
    vault_suite::run(&|| Box::new(Mock::new(RSA_2048)));
}

#[test]
fn an_rsa_3072_key_keeps_the_contract() {
    vault_suite::run(&|| Box::new(Mock::new(Kind::Rsa { bits: 3072 })));
}

#[test]
fn an_rsa_4096_key_keeps_the_contract() {
    vault_suite::run(&|| Box::new(Mock::new(Kind::Rsa { bits: 4096 })));
}

#[test]
fn an_aes_key_keeps_the_contract() {
    vault_suite::run(&|| Box::new(Mock::new(Kind::Oct { bits: 256 })));
}

/// Goal: keys that wrap badly or not at all are refused before anything is under them.
#[test]
fn keys_that_wrap_badly_are_refused() {
    for kind in [Kind::Ec(Curve::P256), Kind::Oct { bits: 128 }] {
        let mock = Mock::new(kind);
        let vault = mock.vaults.vault(&mock.uri()).unwrap();
        let refusal = vault.wrap(&root(), &CONTEXT).unwrap_err();
        assert_eq!(refusal.reason, Reason::PolicyMismatch, "{refusal}");
    }
}

/// Goal: what is wrong with a key is known before anything hangs on it.
#[test]
fn a_preflight_tells_what_is_wrong() {
    let codes = |mock: &Mock| -> Vec<(&str, Severity)> {
        let described = mock.vaults.vault(&mock.uri()).unwrap().describe().unwrap();
        let findings = preflight(&described, now());
        findings.iter().map(|it| (it.code, it.severity)).collect()
    };
    let weaker = ("weaker-than-data-keys", Severity::Warning);
    let mock = Mock::new(RSA_2048);
    assert_eq!(codes(&mock), [weaker]);
    assert_eq!(codes(&Mock::new(Kind::Oct { bits: 256 })), []);
    let end = mock.time() + 1000;
    mock.set(None, |it| it.exp = Some(end));
    mock.permit_operations(&["wrapKey"]);
    let expected = [
        ("expires-soon", Severity::Warning),
        ("operation-missing", Severity::Error),
        weaker,
    ];
    assert_eq!(codes(&mock), expected);
    set_clock_ahead(400);
    assert_eq!(codes(&mock)[0], ("clock-skew", Severity::Error));
    set_clock_ahead(0);
    let mock = Mock::with(RSA_2048, |settings| {
        settings.purge_protection = false;
        settings.retention_days = 7;
    });
    let expected = [
        ("no-purge-protection", Severity::Error),
        ("retention-short", Severity::Warning),
        weaker,
    ];
    assert_eq!(codes(&mock), expected);
}

/// Goal: the vault's own log and ours can be laid side by side, and nothing was wrapped past it.
#[test]
fn the_vaults_log_has_each_of_our_calls() {
    let mock = Mock::new(RSA_2048);
    let vault = mock.vaults.vault(&mock.uri()).unwrap();
    let wrapped = vault.wrap(&root(), &CONTEXT).unwrap();
    let wrap = vault.last_request().unwrap();
    unwrap(&*vault, &wrapped).unwrap();
    let unwrap = vault.last_request().unwrap();
    assert!(wrap.request_id.is_some() && unwrap.request_id.is_some());
    let records = mock.server.emulator().audit.recent();
    for (operation, request) in [("KeyWrap", wrap), ("KeyUnwrap", unwrap)] {
        let found = records.iter().any(|record| {
            record.operation_name == operation && record.correlation_id == request.correlation_id
        });
        assert!(found, "{operation} {}", request.correlation_id);
    }
    let key = format!(
        "{}/keys/{KEY}/{}",
        mock.server.vault_url(VAULT),
        wrapped.version
    );
    assert!(
        records
            .iter()
            .all(|it| !it.operation_name.contains("Wrap") || it.properties.id == key)
    );
}
