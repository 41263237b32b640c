//! What a key may do when it is disabled, not yet valid, expired, or not made for it: the whole matrix.

use keyvault_mock::vault::Settings;
use serde_json::{Value, json};

use crate::client::{Client, NOW, base64url, path_of, plain_server, same, server};

/// Operations of an RSA key, with a request that succeeds when the state lets it.
struct Uses {
    requests: Vec<(&'static str, &'static str, Value)>,
}

/// The state of a key, and the inner code that refuses what makes something new, and what opens something old.
type State = (
    &'static str,
    Value,
    Option<&'static str>,
    Option<&'static str>,
);

pub(crate) fn run() {
    matrix();
    operations();
    lenient_vault();
    in_time();
}

fn uses(client: &Client, path: &str) -> Uses {
    let value = base64url(&[7; 32]);
    let made = |operation: &str, body: Value, member: &str| {
        client
            .post(&format!("{path}/{operation}"), body)
            .ok(operation)[member]
            .clone()
    };
    let sealed = made(
        "wrapkey",
        json!({ "alg": "RSA-OAEP-256", "value": value }),
        "value",
    );
    let signature = made("sign", json!({ "alg": "PS256", "value": value }), "value");
    Uses {
        requests: vec![
            (
                "wrapkey",
                "wrapKey",
                json!({ "alg": "RSA-OAEP-256", "value": value }),
            ),
            (
                "encrypt",
                "encrypt",
                json!({ "alg": "RSA-OAEP", "value": value }),
            ),
            ("sign", "sign", json!({ "alg": "RS256", "value": value })),
            (
                "unwrapkey",
                "unwrapKey",
                json!({ "alg": "RSA-OAEP-256", "value": sealed }),
            ),
            (
                "decrypt",
                "decrypt",
                json!({ "alg": "RSA-OAEP-256", "value": sealed }),
            ),
            (
                "verify",
                "verify",
                json!({ "alg": "PS256", "digest": value, "value": signature }),
            ),
        ],
    }
}

fn makes_new(operation: &str) -> bool {
    matches!(operation, "wrapkey" | "encrypt" | "sign")
}

fn matrix() {
    let server = plain_server();
    let client = Client::new(&server);
    let path = path_of(
        &client
            .post("/keys/n/create", json!({ "kty": "RSA" }))
            .ok("create"),
    );
    let uses = uses(&client, &path);
    let states: [State; 8] = [
        ("enabled", json!({ "enabled": true }), None, None),
        (
            "disabled",
            json!({ "enabled": false }),
            Some("KeyDisabled"),
            Some("KeyDisabled"),
        ),
        (
            "expired",
            json!({ "enabled": true, "exp": NOW }),
            Some("KeyExpired"),
            None,
        ),
        ("about to expire", json!({ "exp": NOW + 1 }), None, None),
        (
            "not yet valid",
            json!({ "nbf": NOW + 1, "exp": null }),
            Some("KeyNotYetValid"),
            None,
        ),
        ("just valid", json!({ "nbf": NOW }), None, None),
        (
            "disabled and expired",
            json!({ "enabled": false, "exp": NOW, "nbf": null }),
            Some("KeyDisabled"),
            Some("KeyDisabled"),
        ),
        (
            "restored",
            json!({ "enabled": true, "exp": null }),
            None,
            None,
        ),
    ];
    for (state, attributes, new, old) in states {
        client
            .call("PATCH", &path, Some(json!({ "attributes": attributes })))
            .ok(state);
        client.get(&path).ok("a key can be read in every state");
        for (operation, name, body) in &uses.requests {
            let what = format!("{operation}, {state}");
            let answer = client.post(&format!("{path}/{operation}"), body.clone());
            match if makes_new(operation) { new } else { old } {
                None => {
                    answer.ok(&what);
                }
                Some(inner) => {
                    let answer = answer.refused(&what, 403, "Forbidden", Some(inner));
                    let reason = match inner {
                        "KeyDisabled" => "on a disabled key.",
                        "KeyExpired" => "on an expired key.",
                        _ => "on a key that is not yet valid.",
                    };
                    same(
                        answer.message(),
                        format!("Operation {name} is not allowed {reason}"),
                        &what,
                    );
                }
            }
        }
    }
}

/// Goal: each operation needs its own word in `key_ops`, and no other.
fn operations() {
    let server = plain_server();
    let client = Client::new(&server);
    let path = path_of(
        &client
            .post("/keys/n/create", json!({ "kty": "RSA" }))
            .ok("create"),
    );
    let uses = uses(&client, &path);
    for (_, held, _) in &uses.requests {
        client
            .call("PATCH", &path, Some(json!({ "key_ops": [held] })))
            .ok("one operation");
        for (operation, name, body) in &uses.requests {
            let answer = client.post(&format!("{path}/{operation}"), body.clone());
            let what = format!("{operation} with key_ops [{held}]");
            if name == held {
                answer.ok(&what);
            } else {
                answer.refused(&what, 403, "Forbidden", Some("KeyOperationForbidden"));
            }
        }
    }
}

/// Goal: where it is not known what the service does, a setting says what this one does.
fn lenient_vault() {
    let mut settings = Settings::new("tests");
    settings.wrap_when_disabled = true;
    let server = server(vec![settings]);
    let client = Client::new(&server);
    let path = path_of(
        &client
            .post("/keys/n/create", json!({ "kty": "RSA" }))
            .ok("create"),
    );
    let uses = uses(&client, &path);
    client
        .call(
            "PATCH",
            &path,
            Some(json!({ "attributes": { "enabled": false } })),
        )
        .ok("disable");
    for (operation, _, body) in uses.requests {
        let answer = client.post(&format!("{path}/{operation}"), body);
        match operation {
            "wrapkey" | "encrypt" => {
                answer.ok(operation);
            }
            _ => {
                answer.refused(operation, 403, "Forbidden", Some("KeyDisabled"));
            }
        }
    }
}

/// Goal: dates come and go with the clock, to the second.
fn in_time() {
    let server = plain_server();
    let client = Client::new(&server);
    let body = json!({ "kty": "oct", "attributes": { "nbf": NOW + 100, "exp": NOW + 200 } });
    let path = path_of(&client.post("/keys/n/create", body).ok("create"));
    let wrap = || {
        client.post(
            &format!("{path}/wrapkey"),
            json!({ "alg": "A256KW", "value": base64url(&[1; 16]) }),
        )
    };
    let clock = &server.emulator().clock;
    for (at, inner) in [
        (NOW + 99, Some("KeyNotYetValid")),
        (NOW + 100, None),
        (NOW + 199, None),
        (NOW + 200, Some("KeyExpired")),
        (NOW + 150, None),
    ] {
        clock.set(at);
        clock.freeze();
        let what = format!("at {}", at - NOW);
        match inner {
            None => {
                wrap().ok(&what);
            }
            Some(inner) => {
                wrap().refused(&what, 403, "Forbidden", Some(inner));
            }
        }
    }
}
