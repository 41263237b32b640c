//! Backup and restore.

use keyvault_mock::vault::Settings;
use serde_json::json;

use crate::client::{Client, base64url, check, decoded, path_of, same, server};

pub(crate) fn run() {
    let server = server(vec![Settings::new("one"), Settings::new("two")]);
    let (one, two) = (Client::at(&server, "one"), Client::at(&server, "two"));
    let first = one
        .post("/keys/n/create", json!({ "kty": "RSA" }))
        .ok("create");
    let body = json!({ "kty": "oct", "tags": { "a": "b" }, "attributes": { "enabled": false } });
    let second = one.post("/keys/n/create", body).ok("a second version");
    let policy = json!({ "lifetimeActions": [{ "trigger": { "timeAfterCreate": "P90D" }, "action": { "type": "Rotate" } }] });
    one.call("PUT", "/keys/n/rotationpolicy", Some(policy))
        .ok("a policy");
    let wrap = json!({ "alg": "RSA-OAEP", "value": base64url(b"key") });
    let wrapped = one
        .post(&format!("{}/wrapkey", path_of(&first)), wrap)
        .ok("wrap")["value"]
        .clone();

    let backup = one.post("/keys/n/backup", json!({})).ok("backup");
    let blob = decoded(&backup["value"]);
    check(
        !blob.windows(12).any(|window| window == b"\"enabled\":fa"),
        "the backup is sealed",
    );
    one.post("/keys/none/backup", json!({}))
        .refused("no key", 404, "KeyNotFound", None);
    one.post("/keys/restore", backup.clone())
        .refused("the name is taken", 409, "Conflict", None);

    let restored = two
        .post("/keys/restore", backup.clone())
        .ok("restore elsewhere");
    same(
        path_of(&restored),
        path_of(&second),
        "name and version stay",
    );
    same(&restored["attributes"]["enabled"], false, "the state stays");
    same(&restored["tags"], &second["tags"], "tags stay");
    let unwrap = json!({ "alg": "RSA-OAEP", "value": wrapped });
    let unwrapped = two
        .post(&format!("{}/unwrapkey", path_of(&first)), unwrap)
        .ok("the old version works");
    same(decoded(&unwrapped["value"]), b"key", "the same secret");
    let policy = two.get("/keys/n/rotationpolicy").ok("the policy");
    same(
        &policy["lifetimeActions"][0]["action"]["type"],
        "Rotate",
        "it came along",
    );

    two.call("DELETE", "/keys/n", None).ok("delete");
    two.post("/keys/restore", backup.clone()).refused(
        "the name is a deleted key's",
        409,
        "Conflict",
        None,
    );
    two.call("DELETE", "/deletedkeys/n", None).ok("purge");
    two.post("/keys/restore", backup.clone())
        .ok("restore after a purge");

    for at in [0, 8, 20, blob.len() / 2, blob.len() - 1] {
        let mut altered = blob.clone();
        altered[at] ^= 1;
        one.post("/keys/restore", json!({ "value": base64url(&altered) }))
            .refused(&format!("byte {at} altered"), 400, "BadParameter", None);
    }
    for value in ["", "AAAA", "***", &base64url(&blob[..30])] {
        one.post("/keys/restore", json!({ "value": value }))
            .refused(value, 400, "BadParameter", None);
    }
    let other = crate::client::plain_server();
    Client::new(&other).post("/keys/restore", backup).refused(
        "another server's",
        400,
        "BadParameter",
        None,
    );
}
