//! Every way in which a vault in Azure can fail, and what it is called.

use std::time::{Duration, Instant};

use cofferdam_keys::{KeyVault, Reason, Revocation, VaultSet};
use cofferdam_tests::vault_suite::VaultFixture;
use keyvault_mock::access::{Firewall, Role};
use keyvault_mock::faults::Kind as Fault;

use super::mock::{CONTEXT, KEY, Mock, RSA_2048, VAULT, root, set_clock_ahead, unwrap};

type Happening = fn(&Mock);

/// One thing that happens to a key which has two versions and has wrapped under the first.
struct Case {
    name: &'static str,
    happens: Happening,
    unwrap: Result<(), Reason>,
    wrap: Result<(), Reason>,
    /// A word of the refusal's detail.
    says: &'static str,
    /// How it is undone; the key must then unwrap again by itself.
    heals: Option<Happening>,
}

const PERMISSION: Reason = Reason::Revoked(Revocation::Permission);
const DISABLED: Reason = Reason::Revoked(Revocation::Disabled);
const DELETED: Reason = Reason::Revoked(Revocation::Deleted);
const EXPIRED: Reason = Reason::Revoked(Revocation::Expired);
const VERSION: Reason = Reason::Revoked(Revocation::Version);

fn cases() -> Vec<Case> {
    let case = |name, happens, unwrap, wrap, says, heals| Case {
        name,
        happens,
        unwrap,
        wrap,
        says,
        heals,
    };
    let both = |reason| (Err(reason), Err(reason));
    let (ok, no) = (Ok(()), Err(PERMISSION));
    let mut cases = vec![
        case("nothing", |_| {}, ok, ok, "", Some(|_| {})),
        case(
            "every version is disabled",
            |mock| mock.enable_key(false),
            Err(DISABLED),
            Err(DISABLED),
            "disabled",
            Some(|mock| mock.enable_key(true)),
        ),
        case(
            "the version is disabled, the newer one is not",
            |mock| mock.set(Some(&oldest(mock)), |it| it.enabled = false),
            Err(VERSION),
            ok,
            "disabled",
            Some(|mock| mock.enable_key(true)),
        ),
        case(
            "the newer version is disabled",
            |mock| mock.set(Some(&newest(mock)), |it| it.enabled = false),
            ok,
            ok,
            "",
            None,
        ),
        case(
            "deleted",
            Mock::delete,
            Err(DELETED),
            Err(DELETED),
            "KeyNotFound",
            Some(Mock::recover),
        ),
        case(
            "the role was taken away",
            |mock| mock.unassign(Role::CryptoServiceEncryptionUser),
            no,
            no,
            "ForbiddenByRbac",
            Some(|mock| mock.assign(Role::CryptoServiceEncryptionUser)),
        ),
        case(
            "only reading is left",
            |mock| {
                mock.assign(Role::Reader);
                mock.unassign(Role::CryptoServiceEncryptionUser);
            },
            no,
            no,
            "ForbiddenByRbac",
            Some(|mock| mock.assign(Role::CryptoServiceEncryptionUser)),
        ),
        case(
            "no policy permits anything",
            |mock| mock.permit(&[]),
            no,
            no,
            "ForbiddenByPolicy",
            Some(|mock| mock.permit(&["get", "list", "wrapKey", "unwrapKey"])),
        ),
        case(
            "a policy permits all but unwrapping",
            |mock| mock.permit(&["get", "list", "wrapKey"]),
            no,
            ok,
            "ForbiddenByPolicy",
            Some(|mock| mock.permit(&["get", "unwrapKey"])),
        ),
        case(
            "a policy permits unwrapping alone",
            |mock| mock.permit(&["unwrapKey"]),
            ok,
            no,
            "ForbiddenByPolicy",
            None,
        ),
        case(
            "the firewall closes",
            |mock| firewall(mock, false, true),
            no,
            no,
            "firewall",
            Some(|mock| firewall(mock, true, true)),
        ),
        case(
            "the vault leaves the public network",
            |mock| firewall(mock, true, false),
            no,
            no,
            "firewall",
            Some(|mock| firewall(mock, true, true)),
        ),
        case(
            "expired, though Azure would unwrap",
            |mock| {
                let end = mock.time() - 1;
                mock.set(None, |it| it.exp = Some(end));
            },
            Err(EXPIRED),
            Err(EXPIRED),
            "end",
            Some(|mock| mock.set(None, |it| it.exp = None)),
        ),
        case(
            "the old version expired",
            |mock| {
                let end = mock.time() - 1;
                mock.set(Some(&oldest(mock)), |it| it.exp = Some(end));
            },
            Err(EXPIRED),
            ok,
            "end",
            Some(|mock| mock.set(None, |it| it.exp = None)),
        ),
        case(
            "its time has not come",
            |mock| {
                let beginning = mock.time() + 100;
                mock.set(None, |it| it.nbf = Some(beginning));
            },
            Err(Reason::PolicyMismatch),
            Err(Reason::PolicyMismatch),
            "before",
            Some(|mock| mock.wait(101)),
        ),
        case(
            "expired, by a clock that is wrong",
            |mock| {
                let end = mock.time() + 1000;
                mock.set(None, |it| it.exp = Some(end));
                set_clock_ahead(2000);
            },
            ok,
            ok,
            "",
            None,
        ),
        case(
            "the key may not unwrap",
            |mock| mock.permit_operations(&["wrapKey"]),
            no,
            ok,
            "not permitted",
            Some(|mock| mock.permit_operations(&["wrapKey", "unwrapKey"])),
        ),
        case(
            "the token runs out",
            |mock| mock.wait(2 * 3600),
            ok,
            ok,
            "",
            None,
        ),
        case(
            "the token runs out by the vault's clock alone",
            |mock| mock.server.emulator().clock.advance(3601),
            ok,
            ok,
            "",
            None,
        ),
        case(
            "the token is revoked",
            |mock| assert!(mock.server.emulator().tokens.revoke(&mock.principal())),
            ok,
            ok,
            "",
            None,
        ),
        case(
            "the identity is disabled",
            |mock| {
                let tokens = &mock.server.emulator().tokens;
                assert!(tokens.set_enabled(&mock.principal(), false));
                assert!(tokens.revoke(&mock.principal()));
            },
            Err(Reason::AuthBroken),
            Err(Reason::AuthBroken),
            "the login answered",
            Some(|mock| {
                let tokens = &mock.server.emulator().tokens;
                assert!(tokens.set_enabled(&mock.principal(), true));
            }),
        ),
        case(
            "throttled",
            |mock| {
                let fault = Fault::Status {
                    status: 429,
                    retry_after_s: Some(7),
                };
                mock.fault(None, fault);
            },
            Err(Reason::Throttled),
            Err(Reason::Throttled),
            "429",
            Some(Mock::clear_faults),
        ),
        case(
            "the answer is late, and in time",
            |mock| mock.fault(None, Fault::Latency { ms: 50 }),
            ok,
            ok,
            "",
            None,
        ),
        case(
            "connections are reset",
            |mock| mock.fault(None, Fault::Reset),
            Err(Reason::Unreachable),
            Err(Reason::Unreachable),
            "",
            Some(Mock::clear_faults),
        ),
        case(
            "the vault is gone from the network",
            |mock| mock.server.stop(),
            Err(Reason::Unreachable),
            Err(Reason::Unreachable),
            "",
            None,
        ),
    ];
    // A number is no closure's capture, so each status has its own row by name.
    let statuses: [(&'static str, Happening); 6] = [
        ("408", |mock| status(mock, 408)),
        ("500", |mock| status(mock, 500)),
        ("502", |mock| status(mock, 502)),
        ("503", |mock| status(mock, 503)),
        ("504", |mock| status(mock, 504)),
        ("599", |mock| status(mock, 599)),
    ];
    for (name, happens) in statuses {
        let (unwrap, wrap) = both(Reason::Unreachable);
        cases.push(case(
            name,
            happens,
            unwrap,
            wrap,
            name,
            Some(Mock::clear_faults),
        ));
    }
    cases
}

/// Goal: each way to fail has the name that policies hang on, says what happened, and ends by itself.
#[test]
fn each_outcome_has_its_name_and_heals() {
    let cases = cases();
    for case in &cases {
        set_clock_ahead(0);
        let mock = Mock::new(RSA_2048);
        let vault = mock.vaults.vault(&mock.uri()).unwrap();
        let wrapped = vault.wrap(&root(), &CONTEXT).expect(case.name);
        mock.rotate();
        unwrap(&*vault, &wrapped).expect(case.name);
        (case.happens)(&mock);

        let unwrapped = unwrap(&*vault, &wrapped);
        let rewrapped = vault.wrap(&root(), &CONTEXT).map(drop);
        let mut details = String::new();
        for (found, expected) in [(&unwrapped, &case.unwrap), (&rewrapped, &case.wrap)] {
            let reason = found.as_ref().copied().map_err(|refusal| refusal.reason);
            assert_eq!(reason, *expected, "{}: {found:?}", case.name);
            if let Err(refusal) = found {
                details.push_str(&refusal.detail);
                let wait = (refusal.reason == Reason::Throttled).then(|| Duration::from_secs(7));
                assert_eq!(refusal.retry_after, wait, "{}", case.name);
                assert!(!refusal.to_string().contains(mock.server.client_secret()));
            }
        }
        assert!(details.contains(case.says), "{}: {details}", case.name);
        if let Some(heal) = case.heals {
            heal(&mock);
            unwrap(&*vault, &wrapped).unwrap_or_else(|refusal| panic!("{}: {refusal}", case.name));
        }
    }
    set_clock_ahead(0);
    println!("azure outcomes: {} cases", cases.len());
}

/// Goal: a network that swallows everything, and a server that thinks for too long, cost what was agreed and no more.
#[test]
fn silence_has_an_end() {
    for fault in [Fault::BlackHole, Fault::Latency { ms: 30_000 }] {
        let mock = Mock::new(RSA_2048);
        let vault = mock.stranger(|settings| settings.total_timeout = Duration::from_millis(1500));
        let wrapped = vault.wrap(&root(), &CONTEXT).unwrap();
        mock.fault(Some("KeyUnwrap"), fault);
        let began = Instant::now();
        let refusal = unwrap(&vault, &wrapped).unwrap_err();
        assert_eq!(refusal.reason, Reason::Unreachable, "{refusal}");
        let waited = began.elapsed();
        assert!(waited < Duration::from_secs(4), "{waited:?}");
        mock.clear_faults();
        unwrap(&vault, &wrapped).unwrap();
    }
}

/// Goal: a name that does not resolve and a certificate that ran out are outages, and say which they are.
#[test]
fn names_and_certificates_fail_as_outages() {
    let mock = Mock::new(RSA_2048);
    let elsewhere = "https://shop.vault.invalid/keys/customer".parse().unwrap();
    let vault = mock.vaults.vault(&elsewhere).unwrap();
    assert_eq!(vault.describe().unwrap_err().reason, Reason::Unreachable);

    let wrapped = mock.stranger(|_| {}).wrap(&root(), &CONTEXT).unwrap();
    mock.fault(None, Fault::TlsExpired);
    let refusal = unwrap(&mock.stranger(|_| {}), &wrapped).unwrap_err();
    assert_eq!(refusal.reason, Reason::Unreachable, "{refusal}");
    assert!(
        refusal.detail.contains("certificate is not accepted"),
        "{refusal}"
    );
}

/// Goal: what the vault cannot find for a moment is not deleted; what it does not find for longer is.
#[test]
fn the_service_is_given_its_moment_of_forgetfulness() {
    set_clock_ahead(0);
    let mock = Mock::with(RSA_2048, |settings| settings.delete_lag_s = 5);
    let vault = mock.vaults.vault(&mock.uri()).unwrap();
    let wrapped = vault.wrap(&root(), &CONTEXT).unwrap();
    let reason = || unwrap(&*vault, &wrapped).map_err(|refusal| refusal.reason);
    mock.delete();
    assert_eq!(reason(), Err(Reason::Unreachable), "deleted a moment ago");
    mock.wait(6);
    assert_eq!(reason(), Err(DELETED), "the deleted key is seen");
    mock.recover();
    assert_eq!(reason(), Err(Reason::Unreachable), "recovered a moment ago");
    mock.wait(6);
    assert_eq!(reason(), Ok(()), "it is back");
    set_clock_ahead(0);

    let mock = Mock::with(RSA_2048, |settings| settings.purge_protection = false);
    let vault = mock.vaults.vault(&mock.uri()).unwrap();
    let wrapped = vault.wrap(&root(), &CONTEXT).unwrap();
    mock.delete();
    mock.purge();
    let reason = || unwrap(&*vault, &wrapped).map_err(|refusal| refusal.reason);
    assert_eq!(reason(), Err(Reason::Unreachable), "nothing is known of it");
    mock.wait(11);
    assert_eq!(reason(), Err(DELETED), "and nothing comes");
    set_clock_ahead(0);
}

/// Goal: a right that was taken away counts when the vault says so, not before and not later.
#[test]
fn a_right_that_fades_slowly_counts_until_it_is_gone() {
    set_clock_ahead(0);
    let mock = Mock::new(RSA_2048);
    let vault = mock.vaults.vault(&mock.uri()).unwrap();
    let wrapped = vault.wrap(&root(), &CONTEXT).unwrap();
    mock.server.emulator().access.set_propagation_delay(120);
    mock.unassign(Role::CryptoServiceEncryptionUser);
    unwrap(&*vault, &wrapped).unwrap();
    mock.wait(121);
    assert_eq!(unwrap(&*vault, &wrapped).unwrap_err().reason, PERMISSION);
    set_clock_ahead(0);
}

/// Goal: a version that was chosen is the one that wraps, and nothing takes its place; unwrapping is not concerned.
#[test]
fn a_chosen_version_stays_chosen() {
    let mock = Mock::new(RSA_2048);
    let first = oldest(&mock);
    let pinned = mock.stranger(|settings| settings.version = Some(first.parse().unwrap()));
    let following = mock.stranger(|_| {});
    mock.rotate();
    let new = following.wrap(&root(), &CONTEXT).unwrap();
    assert_eq!(new.version.as_str(), newest(&mock));
    let old = pinned.wrap(&root(), &CONTEXT).unwrap();
    assert_eq!(old.version.as_str(), first);
    unwrap(&pinned, &new).unwrap();
    assert_eq!(pinned.describe().unwrap().latest, Some(old.version.clone()));
    mock.enable_version(&old.version, false);
    let refusal = pinned.wrap(&root(), &CONTEXT).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.version),
        (VERSION, Some(old.version))
    );
    unwrap(&pinned, &new).unwrap();
}

/// Goal: a list of versions that lags behind holds up neither a rotation nor a revocation.
#[test]
fn a_list_that_lags_holds_nothing_up() {
    set_clock_ahead(0);
    let mock = Mock::new(RSA_2048);
    let vault = mock.vaults.vault(&mock.uri()).unwrap();
    mock.wait(100);
    mock.change(|vault| vault.settings.version_list_lag_s = 60);
    mock.rotate();
    let wrapped = vault.wrap(&root(), &CONTEXT).unwrap();
    assert_eq!(wrapped.version.as_str(), newest(&mock));
    assert_eq!(vault.versions().unwrap().len(), 1);
    mock.enable_version(&wrapped.version, false);
    assert_eq!(unwrap(&*vault, &wrapped).unwrap_err().reason, VERSION);
    let again = vault.wrap(&root(), &CONTEXT).unwrap();
    assert_eq!(again.version.as_str(), oldest(&mock));
    mock.wait(61);
    assert_eq!(vault.versions().unwrap().len(), 2);
    set_clock_ahead(0);
}

fn status(mock: &Mock, status: u16) {
    let fault = Fault::Status {
        status,
        retry_after_s: None,
    };
    mock.fault(None, fault);
}

fn firewall(mock: &Mock, default_allow: bool, public_network_access: bool) {
    let firewall = Firewall {
        default_allow,
        public_network_access,
        ..Firewall::default()
    };
    mock.server.emulator().access.set_firewall(VAULT, firewall);
}

fn versions(mock: &Mock) -> Vec<String> {
    let time = mock.time();
    mock.change(|vault| {
        let key = vault.key(KEY, time).unwrap();
        key.versions.iter().map(|it| it.id.clone()).collect()
    })
}

fn oldest(mock: &Mock) -> String {
    versions(mock).remove(0)
}

fn newest(mock: &Mock) -> String {
    versions(mock).pop().unwrap()
}
