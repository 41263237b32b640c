//! Who may do what, as it is refused on the wire, and what the audit log says of it.

use keyvault_mock::access::{Assignment, Firewall, Model, Policy, Role};
use keyvault_mock::tokens::{ClientSecret, Principal};
use serde_json::json;

use crate::client::{Client, base64url, check, path_of, plain_server, same};

pub(crate) fn run() {
    let server = plain_server();
    let emulator = server.emulator();
    let admin = Client::new(&server);
    let path = path_of(
        &admin
            .post("/keys/n/create", json!({ "kty": "oct" }))
            .ok("create"),
    );
    let wrap = json!({ "alg": "A256KW", "value": base64url(&[1; 16]) });
    let wrapped = admin
        .post(&format!("{path}/wrapkey"), wrap.clone())
        .ok("wrap")["value"]
        .clone();
    let unwrap = json!({ "alg": "A256KW", "value": wrapped });
    let database = Principal {
        name: "database".into(),
        oid: "0d000000-0000-4000-8000-000000000001".into(),
        appid: "ad000000-0000-4000-8000-000000000001".into(),
        managed_identity: false,
        secrets: vec![ClientSecret {
            value: "hush".into(),
            expires: None,
        }],
        federated: Vec::new(),
        roles: Vec::new(),
        enabled: true,
        revocation_count: 0,
    };
    let oid = database.oid.clone();
    emulator
        .tokens
        .put_principal(database.clone())
        .expect("a principal");
    let client = Client::new(&server).with_credentials(&database.appid, "hush");
    let now = emulator.clock.now();
    let unwrapped = || client.post(&format!("{path}/unwrapkey"), unwrap.clone());

    let answer = unwrapped();
    check(
        answer
            .message()
            .starts_with("Caller is not authorized to perform action on resource."),
        "the message",
    );
    check(
        answer
            .message()
            .contains("Microsoft.KeyVault/vaults/keys/unwrap/action"),
        "the action",
    );
    answer.refused("no role", 403, "Forbidden", Some("ForbiddenByRbac"));
    let assignment = Assignment {
        principal: oid.clone(),
        role: Role::CryptoServiceEncryptionUser,
        key: None,
    };
    emulator.access.assign("tests", assignment.clone(), now);
    unwrapped().ok("with the role");
    client
        .post(&format!("{path}/wrapkey"), wrap.clone())
        .ok("with the role");
    client.get("/keys/n").ok("with the role");
    for (method, target, body) in [
        ("POST", format!("{path}/encrypt"), wrap.clone()),
        ("POST", format!("{path}/sign"), json!({})),
        ("POST", "/keys/m/create".into(), json!({ "kty": "oct" })),
        ("DELETE", "/keys/n".into(), json!({})),
        ("PATCH", "/keys/n".into(), json!({})),
        ("POST", "/keys/n/backup".into(), json!({})),
        ("POST", "/keys/n/rotate".into(), json!({})),
        ("POST", "/deletedkeys/n/recover".into(), json!({})),
        ("DELETE", "/deletedkeys/n".into(), json!({})),
        ("PUT", "/keys/n/rotationpolicy".into(), json!({})),
    ] {
        client.call(method, &target, Some(body)).refused(
            &format!("{method} {target} is beyond the role"),
            403,
            "Forbidden",
            Some("ForbiddenByRbac"),
        );
    }
    // Revocation: the same token, and no right any more.
    check(
        emulator.access.unassign("tests", &assignment, now),
        "it was there",
    );
    unwrapped().refused(
        "the role was taken away",
        403,
        "Forbidden",
        Some("ForbiddenByRbac"),
    );
    emulator.access.set_propagation_delay(60);
    emulator.access.assign("tests", assignment.clone(), now);
    unwrapped().refused(
        "not propagated yet",
        403,
        "Forbidden",
        Some("ForbiddenByRbac"),
    );
    emulator.clock.advance(60);
    unwrapped().ok("propagated");
    emulator.access.set_propagation_delay(0);

    emulator.access.set_model("tests", Model::Policy);
    let answer = unwrapped();
    check(
        answer
            .message()
            .contains("does not have keys unwrapkey permission"),
        "the permission",
    );
    answer.refused("no policy", 403, "Forbidden", Some("ForbiddenByPolicy"));
    let policy = Policy {
        principal: oid.clone(),
        permissions: vec!["get".into(), "unwrapKey".into()],
    };
    emulator
        .access
        .set_policy("tests", policy, emulator.clock.now())
        .expect("a policy");
    unwrapped().ok("by policy");
    client.post(&format!("{path}/wrapkey"), wrap).refused(
        "not in the policy",
        403,
        "Forbidden",
        Some("ForbiddenByPolicy"),
    );

    let mut firewall = Firewall {
        default_allow: false,
        ..Firewall::default()
    };
    emulator.access.set_firewall("tests", firewall.clone());
    let answer = unwrapped();
    check(
        answer
            .message()
            .contains("is not authorized and caller is not a trusted service"),
        "the message",
    );
    answer.refused(
        "outside of the firewall",
        403,
        "Forbidden",
        Some("ForbiddenByFirewall"),
    );
    firewall.public_network_access = false;
    emulator.access.set_firewall("tests", firewall);
    unwrapped().refused(
        "no public access",
        403,
        "Forbidden",
        Some("ForbiddenByConnection"),
    );
    emulator.access.set_firewall("tests", Firewall::default());
    unwrapped().ok("the firewall is open");

    let token = client.fetch_token();
    let bearer = format!("Bearer {token}");
    check(emulator.tokens.revoke(&oid), "revoke the sessions");
    let target = "/keys/n?api-version=7.4";
    let answer = client
        .raw("GET", target, &[("authorization", &bearer)], b"")
        .expect("an answer");
    check(
        answer
            .header("www-authenticate")
            .is_some_and(|challenge| challenge.contains("claims=")),
        "a claims challenge",
    );
    answer.refused("a revoked token", 401, "Unauthorized", None);
    client.get("/keys/n").ok("a new token");
    let token = format!("Bearer {}", client.fetch_token());
    check(
        emulator.tokens.remove_principal(&oid),
        "remove the principal",
    );
    let answer = client
        .raw("GET", target, &[("authorization", &token)], b"")
        .expect("an answer");
    answer.refused("a principal that is gone", 401, "Unauthorized", None);

    audit(&server, &oid);
}

/// Goal: each request is one event, grants and refusals alike, with who, what and where.
fn audit(server: &keyvault_mock::Server, oid: &str) {
    let events = server.emulator().audit.recent();
    let denied = events
        .iter()
        .filter(|event| {
            event.operation_name == "KeyUnwrap" && event.properties.http_status_code == 403
        })
        .count();
    same(denied, 6, "unwraps that were denied");
    let last = events
        .iter()
        .rev()
        .find(|event| event.operation_name == "KeyUnwrap")
        .expect("an event");
    same(last.identity.claim.oid.as_deref(), Some(oid), "who");
    check(
        last.properties
            .request_uri
            .contains("/unwrapkey?api-version="),
        "what",
    );
    same(last.caller_ip_address.as_str(), "127.0.0.1", "from where");
    check(last.resource_id.ends_with("/VAULTS/TESTS"), "on what");
    let challenges = events
        .iter()
        .filter(|event| event.properties.http_status_code == 401)
        .count();
    check(challenges >= 2, "tokens that were refused");
    for name in [
        "KeyCreate",
        "KeyWrap",
        "KeyUnwrap",
        "KeyGet",
        "KeyEncrypt",
        "KeySign",
        "KeyDelete",
        "KeyPurge",
    ] {
        check(
            events.iter().any(|event| event.operation_name == name),
            name,
        );
    }
}
