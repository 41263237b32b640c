//! Goal of all of these: what the admin API is told takes effect, and nobody without the token tells it anything.

use super::*;
use crate::access::{Assignment, Role};
use crate::server::{Config, Server};
use crate::vault::Settings;

const VAULT: &str = "default";

struct Admin(Server);

impl Admin {
    fn start() -> Admin {
        Admin(Server::start(Config::default()).unwrap())
    }

    fn emulator(&self) -> &Emulator {
        self.0.emulator()
    }

    fn send(&self, method: &str, target: &str, token: Option<&str>, body: &str) -> (u16, Value) {
        let headers = token
            .map(|token| ("authorization".to_owned(), format!("Bearer {token}")))
            .into_iter()
            .collect();
        let peer = ([127, 0, 0, 1], 1).into();
        let request = Request::new(method, target, headers, body.as_bytes().to_vec(), peer);
        let reply = route(self.emulator(), &request);
        let json = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        (reply.status, json)
    }

    fn asked(&self, method: &str, target: &str, body: Value) -> (u16, Value) {
        let token = self.emulator().tokens.admin_token();
        self.send(method, target, Some(token), &body.to_string())
    }

    fn told(&self, method: &str, target: &str, body: Value) -> Value {
        let (status, json) = self.asked(method, target, body);
        assert_eq!(status, 200, "{method} {target}: {json}");
        json
    }

    fn client(&self) -> String {
        self.emulator().config.tokens.object_id.clone()
    }
}

#[test]
fn nothing_but_the_certificate_is_had_without_the_token() {
    let admin = Admin::start();
    for (method, target) in [
        ("GET", "/clock"),
        ("POST", "/clock"),
        ("GET", "/principals"),
        ("PUT", "/vaults/default/firewall"),
        ("DELETE", "/vaults/default"),
        ("GET", "/nowhere"),
    ] {
        for token in [None, Some("guess"), Some("")] {
            assert_eq!(
                admin.send(method, target, token, "{}").0,
                401,
                "{method} {target}"
            );
        }
    }
    let request = Request::new(
        "GET",
        "/ca.pem",
        Vec::new(),
        Vec::new(),
        ([127, 0, 0, 1], 1).into(),
    );
    let reply = route(admin.emulator(), &request);
    assert_eq!(reply.body, admin.0.ca_pem().as_bytes());
    // The managed identity has a rule of its own and no admin token.
    assert_eq!(admin.send("GET", "/msi/token", None, "").0, 401);
    assert_eq!(
        admin
            .send("GET", "/metadata/identity/oauth2/token", None, "")
            .0,
        400
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let admin = Admin::start();
    for (method, target, body, status) in [
        ("POST", "/clock", json!({ "advance": 5 }), 400),
        (
            "POST",
            "/faults",
            json!({ "fault": { "kind": "explode" } }),
            400,
        ),
        ("DELETE", "/faults/7", json!({}), 404),
        (
            "PUT",
            "/vaults/default",
            json!({ "purge_protectoin": true }),
            400,
        ),
        ("PUT", "/vaults/default", json!({ "name": "other" }), 400),
        (
            "PUT",
            "/vaults/default",
            json!({ "retention_days": 5 }),
            400,
        ),
        (
            "PUT",
            "/vaults/nowhere/model",
            json!({ "model": "rbac" }),
            404,
        ),
        (
            "POST",
            "/vaults/default/roles",
            json!({ "principal": "nobody", "role": "Reader" }),
            404,
        ),
        (
            "PATCH",
            "/vaults/default/keys/nokey",
            json!({ "enabled": false }),
            404,
        ),
        (
            "PATCH",
            "/principals/nobody",
            json!({ "enabled": false }),
            404,
        ),
        ("GET", "/events?from=x", json!({}), 400),
        ("GET", "/nowhere", json!({}), 404),
    ] {
        let (found, json) = admin.asked(method, target, body);
        assert_eq!(found, status, "{method} {target}: {json}");
        assert!(
            json["error"]["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    let role = json!({ "principal": admin.client(), "role": "Owner" });
    let (status, json) = admin.asked("POST", "/vaults/default/roles", role);
    assert_eq!(status, 400);
    assert!(
        json["error"]["message"]
            .as_str()
            .unwrap()
            .contains("Key Vault Crypto User")
    );
}

#[test]
fn the_clock_moves_in_the_order_that_is_written_down() {
    let admin = Admin::start();
    let clock = admin.told(
        "POST",
        "/clock",
        json!({ "set": 1_000, "advance_s": 10, "frozen": true }),
    );
    assert_eq!(clock["frozen"], true);
    assert!(
        (1_010..1_020).contains(&clock["now"].as_i64().unwrap()),
        "{clock}"
    );
    assert_eq!(admin.told("GET", "/clock", json!({}))["now"], clock["now"]);
    let reset = admin.told("POST", "/clock", json!({ "reset": true }));
    assert_eq!(reset["frozen"], false);
    assert!((reset["now"].as_i64().unwrap() - crate::clock::system_now()).abs() <= 5);
}

#[test]
fn faults_are_added_listed_and_removed() {
    let admin = Admin::start();
    let rule = json!({ "match": { "key": "kek" }, "fault": { "kind": "status", "status": 503 }, "count": 2 });
    let id = admin.told("POST", "/faults", rule)["id"].clone();
    let listed = admin.told("GET", "/faults", json!({}));
    assert_eq!(listed["rules"][0]["id"], id);
    assert_eq!(listed["rules"][0]["match"]["key"], "kek");
    admin.told("DELETE", &format!("/faults/{id}"), json!({}));
    assert_eq!(admin.told("GET", "/faults", json!({}))["rules"], json!([]));
    assert!(!admin.emulator().faults.throttle.is_on());
    admin.told("PUT", "/throttle", json!({ "on": true }));
    assert!(admin.emulator().faults.throttle.is_on());
}

#[test]
fn principals_come_and_go_and_their_secrets_are_not_shown() {
    let admin = Admin::start();
    let principal =
        json!({ "name": "db", "oid": "o", "appid": "a", "secrets": [{ "value": "hidden-one" }] });
    admin.told("PUT", "/principals", principal);
    let listed = admin.told("GET", "/principals", json!({}));
    assert!(!listed.to_string().contains("hidden-one"));
    let known = || admin.emulator().tokens.principals();
    assert!(known().iter().any(|one| {
        one.secrets
            .iter()
            .any(|secret| secret.value == "hidden-one")
    }));
    for who in ["db", "a", "o"] {
        admin.told("POST", &format!("/principals/{who}/revoke"), json!({}));
    }
    admin.told("PATCH", "/principals/db", json!({ "enabled": false }));
    let db = known().into_iter().find(|one| one.name == "db").unwrap();
    assert_eq!((db.enabled, db.revocation_count), (false, 3));
    admin.told("DELETE", "/principals/db", json!({}));
    assert!(known().iter().all(|one| one.name != "db"));
}

#[test]
fn roles_policies_and_firewalls_take_effect() {
    let admin = Admin::start();
    admin.told("PUT", "/access", json!({ "propagation_delay_s": 60 }));
    let role = json!({ "principal": admin.client(), "role": "Reader", "key": "k" });
    admin.told("POST", "/vaults/default/roles", role.clone());
    admin.told("DELETE", "/vaults/default/roles", role.clone());
    assert_eq!(admin.asked("DELETE", "/vaults/default/roles", role).0, 404);
    admin.told("PUT", "/vaults/default/model", json!({ "model": "policy" }));
    let policy = json!({ "principal": admin.client(), "permissions": ["get", "unwrapKey"] });
    admin.told("PUT", "/vaults/default/policies", policy);
    admin.told(
        "PUT",
        "/vaults/default/firewall",
        json!({ "default_allow": false, "ip_rules": ["10.0.0.0/8"] }),
    );
    let rules = admin.told("GET", "/access", json!({}));
    assert_eq!(rules["propagation_delay_s"], 60);
    let vault = &rules["vaults"][VAULT];
    assert_eq!(vault["model"], "policy");
    assert_eq!(
        vault["policies"][0]["permissions"],
        json!(["get", "unwrapKey"])
    );
    assert_eq!(vault["firewall"]["ip_rules"], json!(["10.0.0.0/8"]));
}

#[test]
fn a_vault_is_made_changed_deleted_recovered_and_purged() {
    let admin = Admin::start();
    let made = admin.told("PUT", "/vaults/second", json!({ "retention_days": 7 }));
    assert_eq!(made["recovery_level"], "CustomizedRecoverable+Purgeable");
    let changed = admin.told("PUT", "/vaults/second", json!({ "delete_lag_s": 2 }));
    assert_eq!(
        (&changed["retention_days"], &changed["delete_lag_s"]),
        (&json!(7), &json!(2))
    );
    admin.told("DELETE", "/vaults/second", json!({}));
    assert_eq!(admin.asked("GET", "/vaults/second", json!({})).0, 404);
    admin.told("POST", "/vaults/second/recover", json!({}));
    admin.told("GET", "/vaults/second", json!({}));
    admin.told("DELETE", "/vaults/second", json!({}));
    // Every right on keys is none on deleted vaults.
    let purger = json!({ "principal": admin.client() });
    assert_eq!(
        admin
            .asked("POST", "/vaults/second/purge", purger.clone())
            .0,
        403
    );
    let role = Assignment {
        principal: admin.client(),
        role: Role::PurgeOperator,
        key: None,
    };
    admin.emulator().access.assign("second", role, 0);
    admin.told("POST", "/vaults/second/purge", purger);
    assert_eq!(
        admin.asked("POST", "/vaults/second/recover", json!({})).0,
        404
    );
}

#[test]
fn purge_protection_binds_the_admin_too() {
    let admin = Admin::start();
    let mut settings = Settings::new("kept");
    settings.purge_protection = true;
    admin.emulator().configure_vault(settings).unwrap();
    admin.told("DELETE", "/vaults/kept", json!({}));
    assert_eq!(admin.asked("POST", "/vaults/kept/purge", json!({})).0, 403);
    admin.told("POST", "/vaults/kept/recover", json!({}));
}

#[test]
fn an_assertion_says_who_it_is_about() {
    let admin = Admin::start();
    let made = admin.told("POST", "/assertions", json!({ "subject": "sa:db" }));
    assert_eq!(made["issuer"], crate::tokens::WORKLOAD_ISSUER);
    assert_eq!(made["assertion"].as_str().unwrap().split('.').count(), 3);
}
