//! Rotation on demand and by itself, and the events that tell of it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use keyvault_mock::vault::Settings;
use keyvault_mock::{Config, Server};
use serde_json::{Value, json};

use crate::client::{Client, DAY, NOW, base64url, check, decoded, path_of, plain_server, same};

pub(crate) fn run() {
    on_demand();
    policies();
    by_itself();
    announcements();
    webhook();
}

fn on_demand() {
    let server = plain_server();
    let client = Client::new(&server);
    for body in [
        json!({ "kty": "RSA", "key_size": 3072 }),
        json!({ "kty": "EC-HSM", "crv": "P-384", "key_ops": ["sign"], "tags": { "a": "b" } }),
        json!({ "kty": "oct", "key_size": 192 }),
    ] {
        let what = body.to_string();
        let first = client.post("/keys/n/create", body).ok("create");
        let second = client.post("/keys/n/rotate", json!({})).ok(&what);
        check(
            first["key"]["kid"] != second["key"]["kid"],
            "another version",
        );
        for member in ["kty", "crv", "key_ops"] {
            same(&second["key"][member], &first["key"][member], member);
        }
        same(&second["tags"], &first["tags"], "tags");
        check(
            first["key"]["n"].is_null() || first["key"]["n"] != second["key"]["n"],
            "another secret",
        );
        same(client.get("/keys/n").ok("get"), second, "the latest");
        same(
            client.get(&path_of(&first)).ok("get"),
            first,
            "the old one stays",
        );
    }
    client
        .post("/keys/none/rotate", json!({}))
        .refused("no key", 404, "KeyNotFound", None);
    // A versionless unwrap uses the latest version, and fails on what an older one wrapped.
    let wrap = json!({ "alg": "A192KW", "value": base64url(&[5; 24]) });
    let wrapped = client.post("/keys/n/wrapkey", wrap).ok("wrap");
    let unwrap = json!({ "alg": "A192KW", "value": wrapped["value"] });
    client.post("/keys/n/rotate", json!({})).ok("rotate");
    client.post("/keys/n/unwrapkey", unwrap.clone()).refused(
        "the latest version",
        400,
        "BadParameter",
        None,
    );
    let kid = wrapped["kid"].as_str().expect("a kid");
    let path = &kid[kid.find("/keys/").expect("a path")..];
    let unwrapped = client
        .post(&format!("{path}/unwrapkey"), unwrap)
        .ok("the version that wrapped it");
    same(
        decoded(&unwrapped["value"]),
        [5; 24].to_vec(),
        "what was wrapped",
    );
}

fn policy(trigger: Value, expiry: Option<&str>) -> Value {
    let action = json!({ "trigger": trigger, "action": { "type": "Rotate" } });
    json!({ "lifetimeActions": [action], "attributes": { "expiryTime": expiry } })
}

fn policies() {
    let server = plain_server();
    let client = Client::new(&server);
    let put = |body| client.call("PUT", "/keys/n/rotationpolicy", Some(body));
    put(policy(json!({ "timeAfterCreate": "P90D" }), None)).refused(
        "no key",
        404,
        "KeyNotFound",
        None,
    );
    client
        .get("/keys/n/rotationpolicy")
        .refused("no key", 404, "KeyNotFound", None);
    client
        .post("/keys/n/create", json!({ "kty": "EC" }))
        .ok("create");
    let default = client
        .get("/keys/n/rotationpolicy")
        .ok("the default policy");
    same(
        &default["lifetimeActions"],
        &json!([{ "trigger": { "timeBeforeExpiry": "P30D" }, "action": { "type": "Notify" } }]),
        "to notify 30 days before",
    );
    let body = json!({
        "lifetimeActions": [
            { "trigger": { "timeAfterCreate": "P18M" }, "action": { "type": "rotate" } },
            { "trigger": { "timeBeforeExpiry": "P30D" }, "action": { "type": "Notify" } },
        ],
        "attributes": { "expiryTime": "P2Y" },
    });
    let set = put(body).ok("set");
    same(&set["attributes"]["expiryTime"], "P2Y", "as it was written");
    same(&set["attributes"]["created"], NOW, "created");
    check(
        set["id"]
            .as_str()
            .is_some_and(|id| id.ends_with("/keys/n/rotationpolicy")),
        "its address",
    );
    same(
        client.get("/keys/n/rotationpolicy").ok("get"),
        set,
        "as it was set",
    );
    server.emulator().clock.advance(5);
    let again = put(policy(json!({ "timeAfterCreate": "P7D" }), Some("P28D"))).ok("the shortest");
    same(&again["attributes"]["created"], NOW, "created stays");
    same(&again["attributes"]["updated"], NOW + 5, "updated does not");
    for body in [
        policy(json!({ "timeAfterCreate": "P6D" }), None),
        policy(json!({ "timeAfterCreate": "soon" }), None),
        policy(json!({ "timeAfterCreate": "PT500H" }), None),
        policy(json!({}), None),
        policy(json!({ "timeBeforeExpiry": "P30D" }), None),
        policy(json!({ "timeAfterCreate": "P90D" }), Some("P60D")),
        policy(json!({ "timeAfterCreate": "P7D" }), Some("P27D")),
        json!({ "lifetimeActions": [{ "trigger": { "timeAfterCreate": "P9D" }, "action": { "type": "Erase" } }] }),
        json!({ "lifetimeActions": 7 }),
    ] {
        let what = body.to_string();
        put(body).refused(&what, 400, "BadParameter", None);
    }
}

/// Goal: with the clock, new versions come about, each with the end that the policy gives it.
fn by_itself() {
    let server = plain_server();
    let client = Client::new(&server);
    let clock = &server.emulator().clock;
    let first = client
        .post("/keys/n/create", json!({ "kty": "oct" }))
        .ok("create");
    client
        .call(
            "PUT",
            "/keys/n/rotationpolicy",
            Some(policy(json!({ "timeAfterCreate": "P30D" }), Some("P60D"))),
        )
        .ok("a policy");
    clock.advance(30 * DAY - 1);
    same(client.get("/keys/n").ok("get"), first.clone(), "not yet");
    clock.advance(1);
    let second = client.get("/keys/n").ok("get");
    check(second["key"]["kid"] != first["key"]["kid"], "a new version");
    same(
        &second["attributes"]["created"],
        NOW + 30 * DAY,
        "made when it was due",
    );
    same(
        &second["attributes"]["exp"],
        NOW + 90 * DAY,
        "it ends as the policy says",
    );
    client.get(&path_of(&first)).ok("the old version stays");
    clock.advance(300 * DAY);
    client.get("/keys/n").ok("get");
    let versions = client.get("/keys/n/versions").ok("versions");
    same(
        versions["value"].as_array().map(Vec::len),
        Some(3),
        "one version after a long leap",
    );
    let rotations = |name: &str| {
        let events = server.emulator().audit.recent();
        events
            .iter()
            .filter(|event| event.operation_name == name)
            .count()
    };
    same(
        rotations("KeyRotateIfDue"),
        2,
        "rotations are in the audit log",
    );
    client.call("DELETE", "/keys/n", None).ok("delete");
    clock.advance(60 * DAY);
    client.get("/deletedkeys/n").ok("a deleted key");
    same(rotations("KeyRotateIfDue"), 2, "is not rotated");

    let body = json!({ "kty": "oct", "attributes": { "exp": clock.now() + 40 * DAY } });
    let first = client.post("/keys/m/create", body).ok("create with an end");
    client
        .call(
            "PUT",
            "/keys/m/rotationpolicy",
            Some(policy(json!({ "timeBeforeExpiry": "P10D" }), Some("P40D"))),
        )
        .ok("a policy before the end");
    clock.advance(30 * DAY - 1);
    same(client.get("/keys/m").ok("get"), first.clone(), "not yet");
    clock.advance(1);
    check(
        client.get("/keys/m").ok("get")["key"]["kid"] != first["key"]["kid"],
        "before the end",
    );
}

fn kinds(server: &Server) -> Vec<String> {
    let events = server.emulator().events.since(0);
    events
        .into_iter()
        .map(|(_, event)| format!("{:?} {}", event.kind, event.key))
        .collect()
}

/// Goal: a near end and an end are told once for each end that a key has.
fn announcements() {
    let server = plain_server();
    let client = Client::new(&server);
    let clock = &server.emulator().clock;
    let body = json!({ "kty": "oct", "attributes": { "exp": NOW + 100 * DAY } });
    client.post("/keys/n/create", body).ok("create");
    same(kinds(&server), ["KeyNewVersionCreated n"], "a new version");
    clock.advance(70 * DAY - 1);
    client.get("/keys/n").ok("get");
    same(kinds(&server).len(), 1, "not near");
    clock.advance(1);
    client.get("/keys/n").ok("get");
    client.get("/keys/n").ok("get");
    same(
        kinds(&server)[1..].to_vec(),
        ["KeyNearExpiry n"],
        "near, once",
    );
    clock.advance(30 * DAY);
    client.get("/keys/n").ok("get");
    client.get("/keys/n").ok("get");
    same(
        kinds(&server)[2..].to_vec(),
        ["KeyExpired n"],
        "expired, once",
    );
    client
        .call(
            "PATCH",
            "/keys/n",
            Some(json!({ "attributes": { "exp": NOW + 200 * DAY } })),
        )
        .ok("extend");
    clock.advance(75 * DAY);
    client.get("/keys/n").ok("get");
    same(
        kinds(&server)[3..].to_vec(),
        ["KeyNearExpiry n"],
        "near again",
    );
    let (number, event) = server.emulator().events.since(3).remove(0);
    let json = event.to_json(number, "/vaults/tests", "https://tests.vault.localhost");
    same(
        &json["eventType"],
        "Microsoft.KeyVault.KeyNearExpiry",
        "the schema of Event Grid",
    );
    same(&json["data"]["EXP"], NOW + 200 * DAY, "its data");
    same(&json["data"]["ObjectName"], "n", "its data");
}

/// Goal: events reach a webhook, also when it was down at first.
fn webhook() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let server = Server::start(Config {
        vaults: vec![Settings::new("default")],
        webhook: Some(format!("http://{address}/hook")),
        ..Config::default()
    })
    .expect("the server starts");
    Client::new(&server)
        .post("/keys/n/create", json!({ "kty": "EC" }))
        .ok("create");
    let receive = |status: &str| {
        let (mut stream, _) = listener.accept().expect("a delivery");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        let body = loop {
            let length = stream.read(&mut buffer).expect("bytes");
            bytes.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str::<Value>(body)
            {
                check(text.starts_with("POST /hook HTTP/1.1\r\n"), "the path");
                break body;
            }
        };
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(reply.as_bytes()).expect("a reply");
        body
    };
    let first = receive("503 Service Unavailable");
    same(
        &first[0]["eventType"],
        "Microsoft.KeyVault.KeyNewVersionCreated",
        "the event",
    );
    same(receive("200 OK"), first, "what was not taken comes again");
}
