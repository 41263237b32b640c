//! Create, get, list, update.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{API, Client, NOW, check, path_of, plain_server, same};

pub(crate) fn run() {
    create_every_kind();
    create_refusals();
    update();
    paging();
    version_paging();
    version_list_lag();
}

fn create_every_kind() {
    let server = plain_server();
    let client = Client::new(&server);
    let (pairs, signs, symmetric) = (
        json!([
            "encrypt",
            "decrypt",
            "sign",
            "verify",
            "wrapKey",
            "unwrapKey"
        ]),
        json!(["sign", "verify"]),
        json!(["encrypt", "decrypt", "wrapKey", "unwrapKey"]),
    );
    for (number, (body, ops, member, length)) in [
        (json!({ "kty": "RSA" }), &pairs, "n", 256),
        (json!({ "kty": "RSA", "key_size": 3072 }), &pairs, "n", 384),
        (
            json!({ "kty": "RSA-HSM", "key_size": 4096, "public_exponent": 65537 }),
            &pairs,
            "n",
            512,
        ),
        (json!({ "kty": "EC" }), &signs, "x", 32),
        (json!({ "kty": "EC", "crv": "P-256" }), &signs, "y", 32),
        (json!({ "kty": "EC-HSM", "crv": "P-256K" }), &signs, "x", 32),
        (json!({ "kty": "EC", "crv": "P-384" }), &signs, "x", 48),
        (json!({ "kty": "EC", "crv": "P-521" }), &signs, "y", 66),
        (json!({ "kty": "oct", "key_size": 128 }), &symmetric, "", 0),
        (json!({ "kty": "oct", "key_size": 192 }), &symmetric, "", 0),
        (json!({ "kty": "oct-HSM" }), &symmetric, "", 0),
        (
            json!({ "kty": "AKP", "alg": "ML-DSA-44" }),
            &signs,
            "pub",
            1312,
        ),
        (
            json!({ "kty": "AKP", "alg": "ML-DSA-65" }),
            &signs,
            "pub",
            1952,
        ),
        (
            json!({ "kty": "AKP-HSM", "alg": "ML-DSA-87" }),
            &signs,
            "pub",
            2592,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let what = body.to_string();
        let target = format!("/keys/kind-{number}/create?api-version=2026-05-01-preview");
        let bundle = client.post(&target, body.clone()).ok(&what);
        same(&bundle["key"]["kty"], &body["kty"], &what);
        same(&bundle["key"]["key_ops"], ops, &what);
        if !member.is_empty() {
            same(
                crate::client::decoded(&bundle["key"][member]).len(),
                length,
                &what,
            );
        }
        for secret in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            check(
                bundle["key"][secret].is_null(),
                &format!("{what}: {secret} is not shown"),
            );
        }
        let path = path_of(&bundle);
        let version = path.rsplit('/').next().unwrap_or_default();
        check(
            version.len() == 32 && version.bytes().all(|byte| byte.is_ascii_hexdigit()),
            &path,
        );
        let attributes = &bundle["attributes"];
        same(&attributes["enabled"], true, &what);
        same(&attributes["created"], NOW, &what);
        same(&attributes["updated"], NOW, &what);
        same(&attributes["recoveryLevel"], "Recoverable+Purgeable", &what);
        same(&attributes["recoverableDays"], 90, &what);
        same(client.get(&path).ok("get by version"), bundle, &what);
    }
    let body = json!({
        "kty": "EC",
        "key_ops": ["sign"],
        "attributes": { "enabled": false, "nbf": NOW + 1, "exp": NOW + 2 },
        "tags": { "a": "b" },
    });
    let first = client
        .post("/keys/kind-3/create", body)
        .ok("a second version");
    same(
        &first["key"]["key_ops"],
        &json!(["sign"]),
        "operations as asked",
    );
    same(&first["attributes"]["enabled"], false, "disabled as asked");
    same(&first["attributes"]["nbf"], NOW + 1, "nbf as asked");
    same(&first["attributes"]["exp"], NOW + 2, "exp as asked");
    same(&first["tags"], &json!({ "a": "b" }), "tags as asked");
    same(
        client.get("/keys/kind-3").ok("get"),
        first,
        "the latest version",
    );
}

fn create_refusals() {
    let server = plain_server();
    let client = Client::new(&server);
    let many_tags: Value = (0..16)
        .map(|n| (n.to_string(), json!("x")))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for body in [
        json!({}),
        json!({ "kty": "DSA" }),
        json!({ "kty": "RSA", "key_size": 1024 }),
        json!({ "kty": "RSA", "key_size": 2049 }),
        json!({ "kty": "RSA", "key_size": -1 }),
        json!({ "kty": "RSA", "public_exponent": 3 }),
        json!({ "kty": "EC", "crv": "P-224" }),
        json!({ "kty": "oct", "key_size": 64 }),
        json!({ "kty": "EC", "key_ops": ["dance"] }),
        json!({ "kty": "RSA-HSM", "key_ops": ["import", "sign"] }),
        json!({ "kty": "EC", "attributes": { "nbf": 5, "exp": 5 } }),
        json!({ "kty": "EC", "attributes": { "exp": "soon" } }),
        json!({ "kty": "EC", "attributes": { "exp": -1 } }),
        json!({ "kty": "EC", "attributes": { "enabled": 1 } }),
        json!({ "kty": "EC", "attributes": [] }),
        json!({ "kty": "EC", "attributes": { "exportable": true } }),
        json!({ "kty": "EC", "tags": many_tags }),
        json!({ "kty": "EC", "tags": { "long": "x".repeat(257) } }),
        json!({ "kty": "EC", "release_policy": { "data": "bm90IGpzb24" } }),
    ] {
        let what = body.to_string();
        client
            .post("/keys/n/create", body)
            .refused(&what, 400, "BadParameter", None);
    }
    for name in ["under_score", "dot.ted", "caf%C3%A9", &"n".repeat(128)] {
        client
            .post(&format!("/keys/{name}/create"), json!({ "kty": "EC" }))
            .refused(name, 400, "BadParameter", None);
    }
    client
        .get("/keys/n")
        .refused("nothing was made", 404, "KeyNotFound", None);
    let missing = client.get(&format!("/keys/n/{}", "0".repeat(32)));
    check(
        missing.message().contains("n/0000"),
        "the message names the version",
    );
    missing.refused("no version", 404, "KeyNotFound", None);
}

fn update() {
    let server = plain_server();
    let client = Client::new(&server);
    let first = client
        .post("/keys/n/create", json!({ "kty": "RSA" }))
        .ok("create");
    let second = client
        .post("/keys/n/create", json!({ "kty": "EC" }))
        .ok("create again");
    server.emulator().clock.advance(10);
    let patch = |target: &str, body| client.call("PATCH", target, Some(body));
    let changed = patch(
        &path_of(&first),
        json!({ "attributes": { "enabled": false }, "key_ops": ["unwrapKey"] }),
    )
    .ok("update the first version");
    same(&changed["attributes"]["enabled"], false, "it is disabled");
    same(
        &changed["attributes"]["updated"],
        NOW + 10,
        "it was updated",
    );
    same(&changed["attributes"]["created"], NOW, "its creation stays");
    same(
        &changed["key"]["key_ops"],
        &json!(["unwrapKey"]),
        "its operations",
    );
    same(
        client.get("/keys/n").ok("the latest"),
        second,
        "the latest is untouched",
    );
    let latest = patch(
        "/keys/n",
        json!({ "attributes": { "exp": NOW + 500, "nbf": NOW }, "tags": { "x": "y" } }),
    )
    .ok("update the latest");
    same(&latest["attributes"]["exp"], NOW + 500, "its end");
    let kept =
        patch("/keys/n", json!({ "attributes": { "enabled": true } })).ok("update something else");
    same(
        &kept["attributes"]["exp"],
        NOW + 500,
        "what is not named stays",
    );
    same(&kept["tags"], &json!({ "x": "y" }), "tags stay");
    let cleared =
        patch("/keys/n", json!({ "attributes": { "exp": null } })).ok("take the end away");
    check(cleared["attributes"]["exp"].is_null(), "no end");
    for body in [
        json!({ "attributes": { "exp": NOW } }),
        json!({ "attributes": { "exportable": true } }),
        json!({ "key_ops": ["dance"] }),
    ] {
        let what = body.to_string();
        patch("/keys/n", body).refused(&what, 400, "BadParameter", None);
    }
    patch("/keys/none", json!({})).refused("no key", 404, "KeyNotFound", None);
    patch(&format!("/keys/n/{}", "f".repeat(32)), json!({})).refused(
        "no version",
        404,
        "KeyNotFound",
        None,
    );
}

/// Goal: every key is listed once, whatever the length of the pages, and keys that come and go do not upset it.
fn paging() {
    let server = plain_server();
    let client = Client::new(&server);
    for number in 0..30 {
        client
            .post(
                &format!("/keys/key-{number:02}/create"),
                json!({ "kty": "oct" }),
            )
            .ok("create");
    }
    for length in [1, 7, 25] {
        let mut seen = Vec::new();
        let mut next = format!("/keys?api-version={API}&maxresults={length}");
        loop {
            let page = client.get(&next).ok("a page");
            let keys = page["value"].as_array().expect("a list").clone();
            check((1..=length).contains(&keys.len()), "the page's length");
            for key in &keys {
                let kid = key["kid"].as_str().unwrap_or_default();
                check(
                    key["attributes"]["enabled"] == true && key["key"].is_null(),
                    kid,
                );
                seen.push(kid.rsplit('/').next().unwrap_or_default().to_owned());
            }
            let Some(link) = page["nextLink"].as_str() else {
                break;
            };
            let (base, target) = link.split_at(client.host.len() + "https://".len());
            same(
                base,
                format!("https://{}", client.host),
                "the link is a whole address",
            );
            check(target.contains("$skiptoken="), target);
            next = target.to_owned();
        }
        same(seen.len(), 30, "all keys");
        same(seen.iter().collect::<BTreeSet<_>>().len(), 30, "each once");
    }
    let first = client
        .get(&format!("/keys?api-version={API}"))
        .ok("the first page");
    same(
        first["value"].as_array().map(Vec::len),
        Some(25),
        "25 unless asked otherwise",
    );
    for length in ["0", "26", "-1", "all", ""] {
        client
            .get(&format!("/keys?api-version={API}&maxresults={length}"))
            .refused(length, 400, "BadParameter", None);
    }
    client
        .get(&format!("/keys?api-version={API}&$skiptoken=***"))
        .refused("a token that is none", 400, "BadParameter", None);
}

fn version_paging() {
    let server = plain_server();
    let client = Client::new(&server);
    let mut made = BTreeSet::new();
    for _ in 0..4 {
        let bundle = client
            .post("/keys/n/create", json!({ "kty": "oct" }))
            .ok("create");
        made.insert(bundle["key"]["kid"].as_str().unwrap_or_default().to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut next = format!("/keys/n/versions?api-version={API}&maxresults=3");
    loop {
        let page = client.get(&next).ok("a page of versions");
        for version in page["value"].as_array().expect("a list") {
            seen.insert(version["kid"].as_str().unwrap_or_default().to_owned());
        }
        let Some(link) = page["nextLink"].as_str() else {
            break;
        };
        next = link[client.host.len() + "https://".len()..].to_owned();
    }
    same(seen, made, "every version by its address");
    let none = client.get("/keys/none/versions").ok("versions of no key");
    same(&none["value"], &json!([]), "none");
}

/// Goal: a list that lags behind does not show a new version, which can be used already.
fn version_list_lag() {
    let mut settings = keyvault_mock::vault::Settings::new("tests");
    settings.version_list_lag_s = 60;
    let server = crate::client::server(vec![settings]);
    let client = Client::new(&server);
    client
        .post("/keys/n/create", json!({ "kty": "oct" }))
        .ok("create");
    let count = || {
        let list = client.get("/keys/n/versions").ok("versions");
        list["value"].as_array().map(Vec::len)
    };
    same(count(), Some(0), "not listed yet");
    client.get("/keys/n").ok("used already");
    server.emulator().clock.advance(60);
    same(count(), Some(1), "listed");
}
