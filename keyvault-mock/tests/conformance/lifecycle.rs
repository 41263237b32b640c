//! Delete, recover, purge; the retention; whole vaults.

use keyvault_mock::vault::Settings;
use serde_json::{Value, json};

use crate::client::{API, Client, DAY, NOW, base64url, check, path_of, plain_server, same, server};

pub(crate) fn run() {
    delete_and_recover();
    purge();
    purge_protection();
    lag();
    retention();
    without_soft_delete();
    deleted_list();
    whole_vaults();
}

fn oct() -> Value {
    json!({ "kty": "oct" })
}

fn delete_and_recover() {
    let server = plain_server();
    let client = Client::new(&server);
    let first = client.post("/keys/n/create", oct()).ok("create");
    let second = client.post("/keys/n/create", oct()).ok("create again");
    let wrap = json!({ "alg": "A256KW", "value": base64url(&[1; 16]) });
    let wrapped = client
        .post(&format!("{}/wrapkey", path_of(&first)), wrap)
        .ok("wrap")["value"]
        .clone();
    let unwrap = json!({ "alg": "A256KW", "value": wrapped });

    let deleted = client.call("DELETE", "/keys/n", None).ok("delete");
    same(
        &deleted["recoveryId"],
        &json!(format!("https://{}/deletedkeys/n", client.host)),
        "where it can be recovered",
    );
    same(&deleted["deletedDate"], NOW, "when");
    same(&deleted["scheduledPurgeDate"], NOW + 90 * DAY, "until when");
    same(&deleted["key"], &second["key"], "the latest version");
    same(
        client.get("/deletedkeys/n").ok("get deleted"),
        deleted,
        "the same",
    );

    for path in ["/keys/n".to_owned(), path_of(&first), path_of(&second)] {
        let answer = client
            .get(&path)
            .refused("all versions are gone", 404, "KeyNotFound", None);
        check(
            answer
                .message()
                .contains("If you recently deleted this key"),
            "it says what to do",
        );
    }
    client
        .post(&format!("{}/unwrapkey", path_of(&first)), unwrap.clone())
        .refused("unwrap with a deleted key", 404, "KeyNotFound", None);
    client
        .call("DELETE", "/keys/n", None)
        .refused("delete again", 404, "KeyNotFound", None);
    client
        .call("PATCH", "/keys/n", Some(json!({})))
        .refused("update", 404, "KeyNotFound", None);
    client
        .post("/keys/n/rotate", json!({}))
        .refused("rotate", 404, "KeyNotFound", None);
    client
        .post("/keys/n/backup", json!({}))
        .refused("back up", 404, "KeyNotFound", None);
    let answer = client.post("/keys/n/create", oct());
    check(
        answer
            .message()
            .starts_with("Key n is currently in a deleted but recoverable state"),
        "the name is taken",
    );
    answer.refused(
        "the name is taken",
        409,
        "Conflict",
        Some("ObjectIsDeletedButRecoverable"),
    );

    let recovered = client
        .post("/deletedkeys/n/recover", json!({}))
        .ok("recover");
    same(recovered, second.clone(), "as it was");
    same(
        client.get(&path_of(&first)).ok("all versions"),
        first.clone(),
        "as it was",
    );
    client
        .post(&format!("{}/unwrapkey", path_of(&first)), unwrap)
        .ok("what was wrapped is unwrapped");
    for (method, target) in [
        ("GET", "/deletedkeys/n"),
        ("DELETE", "/deletedkeys/n"),
        ("POST", "/deletedkeys/n/recover"),
    ] {
        let answer = client.call(method, target, None);
        same(answer.message(), "Deleted Key not found: n", target);
        answer.refused(target, 404, "KeyNotFound", None);
    }
}

fn purge() {
    let server = plain_server();
    let client = Client::new(&server);
    let first = client.post("/keys/n/create", oct()).ok("create");
    client
        .call("DELETE", "/deletedkeys/n", None)
        .refused("not deleted", 404, "KeyNotFound", None);
    client.call("DELETE", "/keys/n", None).ok("delete");
    let purged = client.call("DELETE", "/deletedkeys/n", None);
    same((purged.status, purged.body), (204, Value::Null), "purge");
    client
        .get("/deletedkeys/n")
        .refused("gone", 404, "KeyNotFound", None);
    client.post("/deletedkeys/n/recover", json!({})).refused(
        "gone for good",
        404,
        "KeyNotFound",
        None,
    );
    let second = client.post("/keys/n/create", oct()).ok("the name is free");
    check(
        first["key"]["kid"] != second["key"]["kid"],
        "another version",
    );
    client
        .get(&path_of(&first))
        .refused("the old one", 404, "KeyNotFound", None);
}

fn purge_protection() {
    let mut settings = Settings::new("tests");
    settings.purge_protection = true;
    settings.retention_days = 7;
    let server = server(vec![settings]);
    let client = Client::new(&server);
    let key = client.post("/keys/n/create", oct()).ok("create");
    same(
        &key["attributes"]["recoveryLevel"],
        "CustomizedRecoverable",
        "no word of purging",
    );
    same(&key["attributes"]["recoverableDays"], 7, "days");
    client.call("DELETE", "/keys/n", None).ok("delete");
    let answer = client.call("DELETE", "/deletedkeys/n", None);
    check(
        answer
            .message()
            .starts_with("Operation is not allowed. Operation: \"purge\""),
        "the message",
    );
    answer.refused("purge", 403, "Forbidden", None);
    client.get("/deletedkeys/n").ok("it is still there");
    client
        .post("/deletedkeys/n/recover", json!({}))
        .ok("recover");
}

/// Goal: deletion, recovery and purge are visible after a while only, as they are in the service.
fn lag() {
    let mut settings = Settings::new("tests");
    settings.delete_lag_s = 2;
    let server = server(vec![settings]);
    let client = Client::new(&server);
    let clock = &server.emulator().clock;
    client.post("/keys/n/create", oct()).ok("create");
    client.call("DELETE", "/keys/n", None).ok("delete");
    client
        .get("/keys/n")
        .refused("deleted", 404, "KeyNotFound", None);
    client
        .get("/deletedkeys/n")
        .refused("not visible yet", 404, "KeyNotFound", None);
    for (method, target) in [
        ("DELETE", "/keys/n"),
        ("POST", "/keys/n/create"),
        ("POST", "/deletedkeys/n/recover"),
        ("DELETE", "/deletedkeys/n"),
    ] {
        let answer = client.call(method, target, Some(oct()));
        same(answer.message(), "Key is currently being deleted.", target);
        answer.refused(target, 409, "Conflict", Some("ObjectIsBeingDeleted"));
    }
    clock.advance(2);
    client.get("/deletedkeys/n").ok("visible");
    client
        .post("/deletedkeys/n/recover", json!({}))
        .ok("recover");
    client
        .get("/keys/n")
        .refused("not back yet", 404, "KeyNotFound", None);
    client.post("/keys/n/create", oct()).refused(
        "on its way",
        409,
        "Conflict",
        Some("ObjectIsBeingRecovered"),
    );
    clock.advance(2);
    client.get("/keys/n").ok("back");
    client.call("DELETE", "/keys/n", None).ok("delete");
    clock.advance(2);
    client.call("DELETE", "/deletedkeys/n", None).ok("purge");
    client.post("/keys/n/create", oct()).refused(
        "the name is not free yet",
        409,
        "Conflict",
        Some("ObjectIsBeingDeleted"),
    );
    clock.advance(2);
    client.post("/keys/n/create", oct()).ok("the name is free");
}

fn retention() {
    let mut settings = Settings::new("tests");
    settings.retention_days = 10;
    let server = server(vec![settings]);
    let client = Client::new(&server);
    client.post("/keys/n/create", oct()).ok("create");
    client.call("DELETE", "/keys/n", None).ok("delete");
    server.emulator().clock.advance(10 * DAY - 1);
    client.get("/deletedkeys/n").ok("the last second");
    server.emulator().clock.advance(1);
    client
        .get("/deletedkeys/n")
        .refused("the retention is over", 404, "KeyNotFound", None);
    client
        .post("/deletedkeys/n/recover", json!({}))
        .refused("too late", 404, "KeyNotFound", None);
    client.post("/keys/n/create", oct()).ok("the name is free");
}

fn without_soft_delete() {
    let mut settings = Settings::new("tests");
    settings.soft_delete = false;
    let server = server(vec![settings]);
    let client = Client::new(&server);
    let key = client.post("/keys/n/create", oct()).ok("create");
    same(
        &key["attributes"]["recoveryLevel"],
        "Purgeable",
        "the level of old vaults",
    );
    let deleted = client.call("DELETE", "/keys/n", None).ok("delete");
    check(deleted["recoveryId"].is_null(), "nothing to recover");
    client
        .get("/deletedkeys/n")
        .refused("gone at once", 404, "KeyNotFound", None);
    client.post("/keys/n/create", oct()).ok("the name is free");
}

fn deleted_list() {
    let server = plain_server();
    let client = Client::new(&server);
    for name in ["a", "b", "c"] {
        client
            .post(&format!("/keys/{name}/create"), oct())
            .ok("create");
        client
            .call("DELETE", &format!("/keys/{name}"), None)
            .ok("delete");
    }
    client
        .post("/deletedkeys/b/recover", json!({}))
        .ok("recover one");
    let first = client
        .get(&format!("/deletedkeys?api-version={API}&maxresults=1"))
        .ok("a page");
    same(
        &first["value"][0]["deletedDate"],
        NOW,
        "a deleted key's dates",
    );
    check(
        first["value"][0]["recoveryId"]
            .as_str()
            .is_some_and(|id| id.ends_with("/deletedkeys/a")),
        "its recovery id",
    );
    let link = first["nextLink"].as_str().expect("one more page");
    let second = client
        .get(&link[client.host.len() + "https://".len()..])
        .ok("the next page");
    check(
        second["value"][0]["kid"]
            .as_str()
            .is_some_and(|kid| kid.ends_with("/keys/c")),
        "the recovered one is not there",
    );
    check(second["nextLink"].is_null(), "the last page");
}

fn whole_vaults() {
    let mut protected = Settings::new("protected");
    protected.purge_protection = true;
    let server = server(vec![Settings::new("tests"), protected]);
    let client = Client::new(&server);
    let vaults = &server.emulator().store;
    client.post("/keys/n/create", oct()).ok("create");
    vaults
        .change(|vaults| vaults.delete_vault("tests", NOW))
        .expect("delete the vault");
    for (method, target) in [
        ("GET", "/keys/n"),
        ("GET", "/keys"),
        ("POST", "/keys/n/create"),
        ("GET", "/deletedkeys"),
    ] {
        client
            .call(method, target, Some(oct()))
            .refused(target, 404, "VaultNotFound", None);
    }
    vaults
        .change(|vaults| vaults.recover_vault("tests"))
        .expect("recover the vault");
    client.get("/keys/n").ok("the vault is back with its keys");
    vaults
        .change(|vaults| vaults.delete_vault("protected", NOW))
        .expect("delete the other");
    check(
        vaults
            .change(|vaults| vaults.purge_vault("protected"))
            .is_err(),
        "purge protection holds for vaults",
    );
}
