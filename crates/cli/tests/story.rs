//! What people do with the command when nothing goes wrong.

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use common::{MARKER, World, finished};

#[test]
fn a_database_is_sealed_asked_and_given_back_byte_for_byte() {
    for (suite, layers) in [("1", 1), ("2", 2), ("3", 2)] {
        let world = World::with_database();
        let mut seal = vec!["sqlite", "seal", "plain.db", "sealed.db", "--suite", suite];
        seal.extend(["--customer", "file:customer.key"]);
        if layers == 2 {
            seal.extend(["--infrastructure", "file:infrastructure.key"]);
        }
        let before = world.bytes("plain.db");
        world.ok(&seal);
        assert_eq!(world.bytes("plain.db"), before);
        let sealed = world.bytes("sealed.db");
        assert!(!sealed.windows(8).any(|w| w == &MARKER.as_bytes()[..8]));

        let rows = world.ok(&[
            "sqlite",
            "shell",
            "sealed.db",
            "SELECT count(*), min(id) FROM t",
        ]);
        assert_eq!(rows, "300|1\n");
        let status = world.json(&["status", "sealed.db"]);
        assert_eq!(status["suite"], suite.parse::<u64>().unwrap());
        assert_eq!(status["layers"].as_array().unwrap().len(), layers);
        assert_eq!(status["layers"][0]["vault"]["state"], "enabled");
        assert_eq!(status["audit"]["rollback_checked_against"], 1);

        world.ok(&["sqlite", "unseal", "sealed.db", "back.db", "--yes"]);
        assert_eq!(world.bytes("back.db"), before);
        let shown = world.ok(&["audit", "show", "sealed.db", "--action", "backup.created"]);
        assert!(shown.contains("back.db"), "{shown}");
        assert!(world.ok(&["scrub", "sealed.db"]).contains(" 0 bad"));
        assert!(
            world
                .ok(&["scrub", "sealed.db", "--without-keys"])
                .contains(" 0 bad")
        );
    }
}

#[test]
fn a_log_that_nobody_checkpointed_is_in_the_copy_and_stays_where_it_is() {
    let world = World::with_database();
    let writer = world.plain("live.db", 10);
    writer
        .query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))
        .unwrap();
    writer
        .execute_batch("PRAGMA wal_autocheckpoint = 0")
        .unwrap();
    for _ in 0..500 {
        writer
            .execute("INSERT INTO t(text) VALUES(hex(randomblob(200)))", [])
            .unwrap();
    }
    let (main, log) = (world.bytes("live.db"), world.bytes("live.db-wal"));
    // The writer is in the middle of a transaction, too.
    writer
        .execute_batch("BEGIN IMMEDIATE; DELETE FROM t")
        .unwrap();
    world.ok(&[
        "sqlite",
        "seal",
        "live.db",
        "sealed.db",
        "--customer",
        "file:customer.key",
    ]);
    assert_eq!(world.bytes("live.db"), main);
    assert_eq!(world.bytes("live.db-wal"), log);
    assert_eq!(
        world.ok(&["sqlite", "shell", "sealed.db", "SELECT count(*) FROM t"]),
        "510\n"
    );
    assert_eq!(
        world.ok(&["sqlite", "shell", "sealed.db", "PRAGMA integrity_check"]),
        "ok\n"
    );
    writer.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn page_sizes_of_every_kind_go_there_and_back() {
    for size in [512, 1024, 8192, 65536] {
        let world = World::with_database();
        let connection = rusqlite::Connection::open(world.path("sized.db")).unwrap();
        connection
            .execute_batch(&format!("PRAGMA page_size = {size}"))
            .unwrap();
        drop(connection);
        drop(world.plain("sized.db", 100));
        let before = world.bytes("sized.db");
        world.ok(&[
            "sqlite",
            "seal",
            "sized.db",
            "sealed.db",
            "--customer",
            "file:customer.key",
        ]);
        world.ok(&["sqlite", "unseal", "sealed.db", "back.db", "--yes"]);
        assert_eq!(world.bytes("back.db"), before, "pages of {size} bytes");
    }
}

#[test]
fn a_key_rotates_and_its_log_tells() {
    let world = World::sealed();
    let frames = world.bytes("sealed.db").split_off(32768);
    world.ok(&["key", "rotate", "file:customer.key"]);
    let status = world.json(&["status", "sealed.db"]);
    assert_eq!(status["layers"][0]["version"], "1");
    assert_eq!(status["layers"][0]["vault"]["latest"], "2");

    let rotated = world.json(&["rotate", "kek", "sealed.db"]);
    assert_eq!(rotated["rotated"][0]["to"], "2");
    assert_eq!(world.bytes("sealed.db").split_off(32768), frames);
    world.ok(&["key", "disable", "file:customer.key", "--version", "1"]);
    world.ok(&["sqlite", "shell", "sealed.db", "SELECT 1"]);
    world.ok(&["key", "disable", "file:customer.key"]);
    world.refused(&["sqlite", "shell", "sealed.db", "SELECT 1"], 3, "disabled");
    world.ok(&["key", "enable", "file:customer.key"]);
    world.ok(&["sqlite", "shell", "sealed.db", "SELECT 1"]);

    let versions = world.json(&["key", "versions", "file:customer.key"]);
    assert_eq!(versions["versions"][0]["state"], "disabled");
    assert_eq!(versions["versions"][1]["state"], "enabled");
    let shown = world.ok(&["audit", "show", "customer.key", "--json"]);
    let actions: Vec<String> = shown
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["action"] != "approval.requested")
        .map(|event| event["action"].as_str().unwrap().to_owned())
        .collect();
    let expected = [
        "key.create",
        "key.rotate",
        "key.disable",
        "key.disable",
        "key.enable",
    ];
    assert_eq!(actions, expected);
    world.ok(&["audit", "verify", "customer.key"]);
    assert_eq!(
        world.json(&["keys", "list", "sealed.db"])["data_keys"][0]["state"],
        "active"
    );
}

#[test]
fn a_log_is_verified_by_someone_who_has_nothing_but_its_key() {
    let world = World::sealed();
    let report = world.json(&["audit", "verify", "sealed.db"]);
    let vkey = report["vkey"].as_str().unwrap();
    fs::copy(
        world.path("sealed.db-audit/checkpoint"),
        world.path("remembered"),
    )
    .unwrap();
    world.ok(&["status", "sealed.db"]);
    let verify = ["audit", "verify", "sealed.db-audit", "--vkey", vkey];
    world.ok(&[&verify[..], &["--remembered", "remembered"]].concat());

    let proof = world.ok(&["audit", "prove", "sealed.db", "0"]);
    fs::write(world.path("proof"), &proof).unwrap();
    let check = ["audit", "prove", "--check", "proof", "--vkey", vkey];
    assert!(world.ok(&check).contains("key.create"));
    fs::write(
        world.path("proof"),
        proof.replace("key.create", "key.rotate"),
    )
    .unwrap();
    world.refused(&check, 1, "proof");

    let log = "sealed.db-audit/tile/entries";
    let bundle = common::names(&world.path(log)).remove(0);
    let bundle = format!("{log}/{bundle}");
    for partial in common::names(&world.path(&bundle)) {
        world.flip(&format!("{bundle}/{partial}"), 20);
    }
    world.refused(&verify, 1, "altered");
}

#[test]
fn an_old_copy_is_refused_until_it_is_accepted() {
    let world = World::sealed();
    fs::copy(world.path("sealed.db"), world.path("backup")).unwrap();
    world.ok(&["rotate", "kek", "sealed.db"]);
    fs::copy(world.path("backup"), world.path("sealed.db")).unwrap();
    world.refused(&["sqlite", "shell", "sealed.db", "SELECT 1"], 1, "old copy");
    world.refused(&["status", "sealed.db"], 1, "old copy");
    world.refused(&["restore", "sealed.db"], 2, "--accept-rollback");
    world.ok(&["restore", "--accept-rollback", "sealed.db"]);
    world.ok(&["sqlite", "shell", "sealed.db", "SELECT 1"]);
    assert_eq!(world.json(&["status", "sealed.db"])["incarnation"], 2);
}

#[test]
fn a_key_file_with_a_passphrase_wants_it() {
    let world = World::new();
    world.plain("plain.db", 3);
    fs::write(world.path("pass"), "correct horse\n").unwrap();
    let with = |arguments: &[&str], variable: &str, value: &str| {
        finished(
            world
                .command(arguments)
                .env(variable, value)
                .output()
                .unwrap(),
        )
    };
    let create = ["key", "create", "file:k"];
    let made = with(&create, "COFFERDAM_PASSPHRASE", "correct horse");
    assert_eq!(made.code, 0, "{}", made.err);
    let seal = [
        "sqlite",
        "seal",
        "plain.db",
        "sealed.db",
        "--customer",
        "file:k",
    ];
    world.refused(&seal, 3, "passphrase");
    assert_eq!(with(&seal, "COFFERDAM_PASSPHRASE", "wrong").code, 3);
    assert!(!world.path("sealed.db").exists());
    assert_eq!(with(&seal, "COFFERDAM_PASSPHRASE_FILE", "pass").code, 0);
}

#[test]
fn the_shell_reads_statements_over_several_lines() {
    let world = World::sealed();
    let mut child = world
        .command(&["sqlite", "shell", "sealed.db"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = ".tables\nCREATE TABLE u(x);\nINSERT INTO u\n VALUES(1.5), (NULL),\n (x'00ff');\nSELECT x FROM u;\n.schema u\n.quit\n";
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let ran = finished(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out, "t\n1.5\n\nx'00ff'\nCREATE TABLE u(x);\n");
    let rows = world.json(&["sqlite", "shell", "sealed.db", "SELECT x FROM u LIMIT 2"]);
    assert_eq!(rows, serde_json::json!([{ "x": 1.5 }, { "x": null }]));
}

#[test]
fn the_demonstration_keeps_its_promises() {
    let world = World::new();
    let told = world.ok(&["demo"]);
    let last = told.lines().last().unwrap();
    assert!(
        last.starts_with("demo: ") && last.ends_with(" checks passed"),
        "{told}"
    );
    assert!(!told.contains("FAILED"), "{told}");
    world.plain("own.db", 2000);
    let before = world.bytes("own.db");
    world.ok(&["demo", "--input", "own.db"]);
    assert_eq!(world.bytes("own.db"), before);
}
