//! Goal of all of these: a right holds exactly where and when it was given, and its absence is told in Azure's words.

use super::*;

const NOW: i64 = 1_700_000_000;
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn caller(oid: &str) -> Caller {
    Caller {
        oid: oid.into(),
        appid: "app".into(),
        tenant: "t".into(),
        issuer: "https://sts.windows.net/t/".into(),
        name: "n".into(),
        roles: Vec::new(),
    }
}

fn role(principal: &str, role: Role, key: Option<&str>) -> Assignment {
    Assignment {
        principal: principal.into(),
        role,
        key: key.map(str::to_owned),
    }
}

fn access() -> Access {
    Access::new(ResourceNames::default())
}

impl Access {
    fn asks(&self, oid: &str, key: Option<&str>, action: Action, now: i64) -> Option<&'static str> {
        self.allowed(&caller(oid), "v", key, action, HERE, now)
            .err()
            .map(|denied| denied.inner_code)
    }
}

#[test]
fn nobody_may_do_anything_before_somebody_says_so() {
    for action in Action::ALL {
        assert_eq!(
            access().asks("a", Some("k"), action, NOW),
            Some("ForbiddenByRbac")
        );
    }
}

#[test]
fn a_role_holds_for_its_principal_vault_and_actions() {
    let access = access();
    access.assign("V", role("a", Role::CryptoServiceEncryptionUser, None), NOW);
    assert_eq!(access.asks("a", Some("k"), Action::UnwrapKey, NOW), None);
    assert_eq!(access.asks("a", None, Action::List, NOW), None);
    assert!(access.asks("a", Some("k"), Action::Delete, NOW).is_some());
    assert!(
        access
            .asks("b", Some("k"), Action::UnwrapKey, NOW)
            .is_some()
    );
    let elsewhere = access.allowed(&caller("a"), "w", Some("k"), Action::UnwrapKey, HERE, NOW);
    assert!(elsewhere.is_err());
}

#[test]
fn a_role_on_one_key_ends_at_that_key() {
    let access = access();
    access.assign("v", role("a", Role::CryptoOfficer, Some("K")), NOW);
    assert_eq!(access.asks("a", Some("k"), Action::Delete, NOW), None);
    assert!(access.asks("a", Some("k2"), Action::Delete, NOW).is_some());
    assert!(access.asks("a", None, Action::List, NOW).is_some());
}

#[test]
fn changes_take_as_long_as_they_are_told_to() {
    let access = access();
    access.set_propagation_delay(300);
    let reader = role("a", Role::Reader, None);
    access.assign("v", reader.clone(), NOW);
    assert!(access.asks("a", None, Action::List, NOW + 299).is_some());
    assert_eq!(access.asks("a", None, Action::List, NOW + 300), None);
    assert!(access.unassign("v", &reader, NOW + 400));
    assert_eq!(access.asks("a", None, Action::List, NOW + 699), None);
    assert!(access.asks("a", None, Action::List, NOW + 700).is_some());
    assert!(!access.unassign("v", &reader, NOW + 400));
    // Taken away before it was ever seen.
    access.assign("v", reader.clone(), NOW + 1000);
    access.set_propagation_delay(0);
    assert!(access.unassign("v", &reader, NOW + 1001));
    assert!(access.asks("a", None, Action::List, NOW + 2000).is_some());
}

#[test]
fn giving_a_role_twice_is_giving_it_once() {
    let access = access();
    let reader = role("a", Role::Reader, None);
    access.assign("v", reader.clone(), NOW);
    access.assign("v", reader.clone(), NOW);
    assert!(access.unassign("v", &reader, NOW));
    assert!(access.asks("a", None, Action::List, NOW).is_some());
}

#[test]
fn policies_grant_what_they_list() {
    let access = access();
    access.set_model("v", Model::Policy);
    let policy = |permissions: &[&str]| Policy {
        principal: "a".into(),
        permissions: permissions.iter().map(|p| p.to_string()).collect(),
    };
    access
        .set_policy("v", policy(&["get", "UNWRAPKEY"]), NOW)
        .unwrap();
    assert_eq!(access.asks("a", Some("k"), Action::UnwrapKey, NOW), None);
    assert_eq!(
        access.asks("a", None, Action::List, NOW),
        Some("ForbiddenByPolicy")
    );
    // Roles do not count under this model.
    access.assign("v", role("a", Role::Administrator, None), NOW);
    assert!(access.asks("a", None, Action::List, NOW).is_some());
    access.set_policy("v", policy(&["all"]), NOW).unwrap();
    for action in Action::ALL {
        assert_eq!(access.asks("a", Some("k"), action, NOW), None);
    }
    access.set_policy("v", policy(&[]), NOW + 1).unwrap();
    assert!(access.asks("a", Some("k"), Action::Get, NOW + 1).is_some());
    let refused = access
        .set_policy("v", policy(&["get", "fly"]), NOW)
        .unwrap_err();
    assert!(refused.contains("`fly`") && refused.contains("wrapKey"));
}

#[test]
fn the_firewall_is_judged_before_the_roles() {
    let access = access();
    access.assign("v", role("a", Role::Administrator, None), NOW);
    access.set_firewall(
        "v",
        Firewall {
            default_allow: false,
            ip_rules: vec![IpRule::try_from("10.0.0.0/8".to_owned()).unwrap()],
            public_network_access: true,
        },
    );
    let from = |address: &str, who: &str| {
        access
            .allowed(
                &caller(who),
                "v",
                None,
                Action::List,
                address.parse().unwrap(),
                NOW,
            )
            .err()
            .map(|denied| denied.inner_code)
    };
    assert_eq!(from("10.9.9.9", "a"), None);
    assert_eq!(from("127.0.0.1", "a"), Some("ForbiddenByFirewall"));
    assert_eq!(from("127.0.0.1", "stranger"), Some("ForbiddenByFirewall"));
    access.set_firewall(
        "v",
        Firewall {
            public_network_access: false,
            ..Firewall::default()
        },
    );
    assert_eq!(from("10.9.9.9", "a"), Some("ForbiddenByConnection"));
}

#[test]
fn denials_are_in_azures_words() {
    let access = access();
    let denied = access
        .allowed(
            &caller("o"),
            "Vault1",
            Some("KEK"),
            Action::UnwrapKey,
            HERE,
            NOW,
        )
        .unwrap_err();
    assert_eq!(
        denied.message,
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
         definitions were changed recently, please observe propagation time.\r\nCaller: \
         appid=app;oid=o;iss=https://sts.windows.net/t/\r\nAction: \
         'Microsoft.KeyVault/vaults/keys/unwrap/action'\r\nResource: \
         '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/keyvault-mock/providers/\
         microsoft.keyvault/vaults/vault1/keys/kek'\r\nAssignment: (not found)\r\nDenyAssignmentId: \
         null\r\nDecisionReason: 'DeniedWithNoValidRBAC' \r\nVault: Vault1;location=localhost\r\n"
    );
    access.set_model("v", Model::Policy);
    let denied = access
        .allowed(&caller("o"), "v", Some("k"), Action::UnwrapKey, HERE, NOW)
        .unwrap_err();
    assert_eq!(
        denied.message,
        "The user, group or application 'appid=app;oid=o;numgroups=0;iss=https://sts.windows.net/t/' does not have \
         keys unwrapkey permission on key vault 'v;location=localhost'. For help resolving this issue, please see \
         https://go.microsoft.com/fwlink/?linkid=2125287"
    );
    access.set_firewall(
        "v",
        Firewall {
            default_allow: false,
            ..Firewall::default()
        },
    );
    let denied = access
        .allowed(&caller("o"), "v", None, Action::List, HERE, NOW)
        .unwrap_err();
    assert!(denied.message.starts_with(
        "Client address is not authorized and caller is not a trusted service.\r\nClient address: 127.0.0.1\r\n"
    ));
}

#[test]
fn a_purge_operator_purges_vaults_and_touches_no_key() {
    let access = access();
    access.assign("v", role("a", Role::PurgeOperator, None), NOW);
    access.assign("v", role("b", Role::Administrator, None), NOW);
    assert!(access.may_purge_vault("a", "v", NOW));
    assert!(!access.may_purge_vault("b", "v", NOW));
    assert!(access.asks("a", Some("k"), Action::Purge, NOW).is_some());
}

#[test]
fn rules_survive_a_restart() {
    let access = access();
    access.set_propagation_delay(7);
    access.assign("v", role("a", Role::Reader, Some("k")), NOW);
    access
        .set_policy(
            "w",
            Policy {
                principal: "p".into(),
                permissions: vec!["all".into()],
            },
            NOW,
        )
        .unwrap();
    let text = serde_json::to_string(&access.rules()).unwrap();
    let read: AccessRules = serde_json::from_str(&text).unwrap();
    assert_eq!(read, access.rules());
    let again = Access::with_rules(ResourceNames::default(), read);
    assert_eq!(again.asks("a", Some("k"), Action::Get, NOW + 7), None);
    again.forget("v");
    assert!(again.asks("a", Some("k"), Action::Get, NOW + 7).is_some());
}
