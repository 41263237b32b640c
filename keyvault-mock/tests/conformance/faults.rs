//! Faults on order, as a client feels them.

use std::time::{Duration, Instant};

use keyvault_mock::faults::Rule;
use serde_json::{Value, json};

use crate::client::{API, Client, base64url, check, path_of, plain_server, same};

pub(crate) fn run() {
    let server = plain_server();
    let client = Client::new(&server);
    let faults = &server.emulator().faults;
    let order = |rule: Value| {
        let rule: Rule = serde_json::from_value(rule).expect("a rule");
        faults.add(rule).expect("a rule that can be")
    };
    let path = path_of(
        &client
            .post("/keys/n/create", json!({ "kty": "oct" }))
            .ok("create"),
    );
    let wrap = || {
        client.post(
            &format!("{path}/wrapkey"),
            json!({ "alg": "A256KW", "value": base64url(&[1; 16]) }),
        )
    };

    order(
        json!({ "match": { "operation": "KeyWrap", "key": "n" }, "skip": 1, "count": 1,
        "fault": { "kind": "status", "status": 429, "retry_after_s": 7 } }),
    );
    wrap().ok("the first passes");
    let answer = wrap();
    same(answer.header("retry-after"), Some("7"), "Retry-After");
    check(
        answer.message().contains("VaultRequestTypeLimitReached"),
        "the message",
    );
    answer.refused("the second is throttled", 429, "Throttled", None);
    wrap().ok("the third passes");
    for (status, code) in [(500, "InternalServerError"), (503, "ServiceUnavailable")] {
        order(json!({ "count": 1, "fault": { "kind": "status", "status": status } }));
        let challenge = client
            .raw("GET", &format!("/keys?api-version={API}"), &[], b"")
            .expect("an answer");
        same(challenge.status, 401, "the challenge is not touched");
        client.get("/keys").refused(code, status, code, None);
        client.get("/keys").ok("and then it works");
    }
    order(json!({ "count": 1, "fault": { "kind": "latency", "ms": 300 } }));
    let begun = Instant::now();
    client.get("/keys").ok("late");
    check(begun.elapsed() >= Duration::from_millis(300), "it was late");

    order(json!({ "count": 1, "match": { "operation": "KeyList" }, "fault": { "kind": "reset" } }));
    let target = format!("/keys?api-version={API}");
    let error = client.send("GET", &target, &[], b"").expect_err("no reply");
    same(
        error.kind(),
        std::io::ErrorKind::ConnectionReset,
        "a reset, not an end",
    );
    client.get("/keys").ok("and then it works");

    let id =
        order(json!({ "match": { "operation": "KeyList" }, "fault": { "kind": "black_hole" } }));
    let begun = Instant::now();
    let (done, waited) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = done.send(
                client_elsewhere(&server)
                    .send("GET", &target, &[], b"")
                    .is_err(),
            );
        });
        check(
            waited.recv_timeout(Duration::from_millis(700)).is_err()
                && begun.elapsed() >= Duration::from_millis(700),
            "nothing comes back",
        );
        check(faults.remove(id), "the rule is gone");
        client.get("/keys").ok("others get through");
        // The connection that hangs ends with the server.
        server.stop();
        check(waited.recv().expect("an end"), "no reply");
    });
    expired_certificate();
    throttle();
}

fn client_elsewhere(server: &keyvault_mock::Server) -> Client {
    let client = Client::new(server);
    client.fetch_token();
    client
}

fn expired_certificate() {
    let server = plain_server();
    let client = Client::new(&server);
    let rule = json!({ "count": 1, "fault": { "kind": "tls_expired" } });
    let rule: Rule = serde_json::from_value(rule).expect("a rule");
    server
        .emulator()
        .faults
        .add(rule)
        .expect("a rule that can be");
    let error = client
        .raw("GET", "/keys", &[], b"")
        .expect_err("no handshake");
    check(
        error.to_string().contains("xpired"),
        &format!("the certificate: {error}"),
    );
    client.get("/keys").ok("and then it works");
}

/// Goal: with the service's limits on, 20 keys are made in ten seconds, and the next one is told when.
fn throttle() {
    let server = plain_server();
    let client = Client::new(&server);
    server.emulator().faults.throttle.set_on(true);
    let create = || client.post("/keys/n/create", json!({ "kty": "oct" }));
    for _ in 0..20 {
        create().ok("within the limit");
    }
    let answer = create();
    check(answer.header("retry-after").is_some(), "Retry-After");
    answer.refused("beyond the limit", 429, "Throttled", None);
    client
        .get("/keys/n")
        .ok("other requests have their own limit");
    server.emulator().clock.advance(10);
    create().ok("ten seconds later");
}
