//! The challenge, the habits of clients, versions of the API, headers.

use keyvault_mock::vault::Settings;
use serde_json::json;

use crate::client::{API, Client, check, path_of, plain_server, same, server};

pub(crate) fn run() {
    challenge();
    habits();
    versions();
    headers();
    hosts();
}

/// Goal: whatever else is wrong with a request without a token, the challenge is the answer.
fn challenge() {
    let server = plain_server();
    let client = Client::new(&server);
    for (method, target) in [
        ("GET", format!("/keys/n?api-version={API}")),
        ("POST", format!("/keys/n/create?api-version={API}")),
        ("POST", "/keys/n/create".into()),
        ("GET", "/nothing/here".into()),
        ("PUT", "/keys".into()),
        ("GET", "/keys/not_a_name/".into()),
    ] {
        let answer = client.raw(method, &target, &[], b"").expect("an answer");
        let answer = answer.refused(&target, 401, "Unauthorized", None);
        let port = server.address().port();
        same(
            answer.header("www-authenticate"),
            Some(
                format!(
                    "Bearer authorization=\"https://localhost:{port}/{}\", resource=\"https://vault.localhost:{port}\"",
                    server.tenant()
                )
                .as_str(),
            ),
            &target,
        );
        same(
            answer.message(),
            "AKV10000: Request is missing a Bearer or PoP token.",
            &target,
        );
    }
    for token in ["x", "a.b.c", "e30.e30.e30"] {
        let bearer = format!("Bearer {token}");
        let answer = client
            .raw("GET", "/keys", &[("authorization", &bearer)], b"")
            .expect("an answer");
        check(
            answer.header("www-authenticate").is_some(),
            "a token that is none is challenged as well",
        );
        answer.refused(token, 401, "Unauthorized", None);
    }
    let token = client.fetch_token();
    server.emulator().clock.advance(3_601);
    let bearer = format!("Bearer {token}");
    let answer = client
        .raw("GET", "/keys", &[("authorization", &bearer)], b"")
        .expect("an answer");
    check(
        answer.message().contains("TokenExpired"),
        "an expired token",
    );
    answer.refused("an expired token", 401, "Unauthorized", None);
}

/// Goal: each client's way of writing a request comes to the same thing.
fn habits() {
    let server = plain_server();
    let client = Client::new(&server);
    let key = client
        .post("/keys/n/create", json!({ "kty": "oct", "key_size": 256 }))
        .ok("create");
    let path = path_of(&key);
    let wrap = json!({ "alg": "A256KW", "value": "AAECAwQFBgcICQoLDA0ODw" });
    for target in [
        format!("{path}/wrapkey?api-version={API}"),
        format!("{path}/wrapKey?api-version={API}"),
        format!("{path}/WRAPKEY/?api-version={API}"),
        format!("{path}/wrapkey?api%2Dversion={API}"),
        format!("{path}//wrapkey?API-Version={API}"),
        format!("/keys/n//wrapkey?api-version={API}"),
        format!("/keys/n/wrapkey?api-version={API}"),
        format!("//keys//n/wrapkey?&api-version={API}&"),
        format!("/Keys/n/wrapkey?api-version={API}"),
        format!("/%6beys/%6e/wrapkey?api-version={API}"),
    ] {
        let answer = client.post(&target, wrap.clone()).ok(&target);
        same(&answer["kid"], &key["key"]["kid"], &target);
    }
    client
        .get(&format!("/keys/n/?api-version={API}"))
        .ok("a trailing slash");
    let target = format!("/keys/n?api-version={API}");
    let method = [("x-http-method", "PATCH")];
    let body = br#"{"tags":{"by":"override"}}"#;
    let answer = client
        .send("POST", &target, &method, body)
        .expect("an answer");
    same(
        &answer.ok("X-HTTP-METHOD")["tags"]["by"],
        "override",
        "X-HTTP-METHOD is PATCH",
    );
    let answer = client.send("POST", &target, &[], body).expect("an answer");
    answer.refused("POST without it", 405, "MethodNotAllowed", None);
    client
        .get("/nothing")
        .refused("no path", 404, "NotFound", None);
    client
        .post("/keys/n/melt/now", json!({}))
        .refused("no operation", 404, "NotFound", None);
    client
        .get("/keys/under_score")
        .refused("no name", 400, "BadParameter", None);
    for body in [
        "",
        "{",
        "[]",
        r#"{"alg":1}"#,
        r#"{"alg":"A256KW"}"#,
        r#"{"alg":"A256KW","value":"*"}"#,
    ] {
        let target = format!("{path}/wrapkey?api-version={API}");
        let answer = client
            .send("POST", &target, &[], body.as_bytes())
            .expect("an answer");
        answer.refused(&format!("the body {body:?}"), 400, "BadParameter", None);
    }
}

/// Goal: every version that a client names is taken, none is an error, and operations come with their version.
fn versions() {
    let server = plain_server();
    let client = Client::new(&server);
    client
        .post("/keys/n/create", json!({ "kty": "EC" }))
        .ok("create");
    for version in [
        "2016-10-01",
        "7.0",
        "7.1",
        "7.2",
        "7.3",
        "7.4",
        "7.5",
        "7.6",
        "7.6-preview.2",
        "2025-06-01-preview",
        "2025-07-01",
        "2026-01-01-preview",
        "2026-03-01-preview",
        "2026-05-01-preview",
    ] {
        client
            .get(&format!("/keys/n?api-version={version}"))
            .ok(version);
    }
    for query in [
        "x=y",
        "api-version=",
        "api-version=8.0",
        "api-version=2015-06-01",
    ] {
        client
            .get(&format!("/keys/n?{query}"))
            .refused(query, 400, "BadParameter", None);
    }
    for (target, old, new) in [
        ("/keys/n/rotationpolicy", "7.1", "7.3"),
        ("/keys/n/rotationpolicy", "2016-10-01", "7.4"),
    ] {
        client
            .get(&format!("{target}?api-version={old}"))
            .refused(old, 400, "BadParameter", None);
        client.get(&format!("{target}?api-version={new}")).ok(new);
    }
    let create = json!({ "kty": "AKP", "alg": "ML-DSA-44" });
    client
        .post(
            &format!("/keys/pq/create?api-version={API}"),
            create.clone(),
        )
        .refused("ML-DSA before its preview", 400, "BadParameter", None);
    client
        .post("/keys/pq/create?api-version=2026-05-01-preview", create)
        .ok("ML-DSA in its preview");
}

/// Goal: the headers that clients and people look for are there, in grants and refusals.
fn headers() {
    let server = plain_server();
    let client = Client::new(&server);
    for target in [
        format!("/keys?api-version={API}"),
        format!("/keys/none?api-version={API}"),
    ] {
        let id = [("x-ms-client-request-id", "6f1d-id")];
        let answer = client.send("GET", &target, &id, b"").expect("an answer");
        same(
            answer.header("x-ms-client-request-id"),
            Some("6f1d-id"),
            "the client's id comes back",
        );
        same(
            answer.header("cache-control"),
            Some("no-cache"),
            "no caching",
        );
        for name in [
            "x-ms-keyvault-region",
            "x-ms-keyvault-service-version",
            "x-ms-keyvault-network-info",
            "x-ms-request-id",
            "strict-transport-security",
        ] {
            check(
                answer.header(name).is_some_and(|value| !value.is_empty()),
                name,
            );
        }
        same(
            answer.header("content-type"),
            Some("application/json; charset=utf-8"),
            "the body's type",
        );
    }
    let long = vec![b' '; (1 << 20) + 1];
    let target = format!("/keys/n/create?api-version={API}");
    // The server may close before all of it is written; then there is no answer at all.
    if let Ok(answer) = client.send("POST", &target, &[], &long) {
        same(answer.status, 413, "a body beyond the limit");
    }
}

/// Goal: the host chooses the vault, and vaults know nothing of each other.
fn hosts() {
    let server = server(vec![Settings::new("one"), Settings::new("two")]);
    let (one, two, default) = (
        Client::at(&server, "one"),
        Client::at(&server, "two"),
        Client::new(&server),
    );
    let key = one
        .post("/keys/n/create", json!({ "kty": "EC" }))
        .ok("create in one");
    let kid = key["key"]["kid"].as_str().unwrap_or_default();
    check(
        kid.starts_with(&server.vault_url("one")),
        "the kid has the vault's host",
    );
    default.get("/keys/n").ok("localhost is the first vault");
    two.get("/keys/n")
        .refused("not in two", 404, "KeyNotFound", None);
    Client::at(&server, "three")
        .get("/keys")
        .refused("no vault", 404, "VaultNotFound", None);
}
