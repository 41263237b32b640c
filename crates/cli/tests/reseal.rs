//! Layers, suites and keys of a database are changed by a sealed copy of it.

mod common;

use common::{MARKER, World};

const CUSTOMER: &str = "file:customer.key";
const INFRASTRUCTURE: &str = "file:infrastructure.key";

fn reseal<'a>(source: &'a str, target: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [
        &["sqlite", "reseal", source, target, "--customer", CUSTOMER],
        more,
    ]
    .concat()
}

/// Goal: a second layer is put on, changed and taken off again, and the database stays the same to the byte.
#[test]
fn a_layer_comes_and_goes() {
    let world = World::sealed();
    let before = world.bytes("sealed.db");
    let two = ["--infrastructure", INFRASTRUCTURE];
    world.ok(&reseal("sealed.db", "two.db", &two));
    let three = ["--infrastructure", INFRASTRUCTURE, "--suite", "3"];
    world.ok(&reseal("two.db", "three.db", &three));
    world.ok(&reseal("three.db", "one.db", &[]));
    assert_eq!(world.bytes("sealed.db"), before, "the source is as it was");
    for (name, suite, layers) in [("two.db", 2, 2), ("three.db", 3, 2), ("one.db", 1, 1)] {
        let status = world.json(&["status", name]);
        assert_eq!(status["suite"], suite, "{name}");
        assert_eq!(status["layers"].as_array().unwrap().len(), layers, "{name}");
        let sealed = world.bytes(name);
        let marker = &MARKER.as_bytes()[..8];
        assert!(!sealed.windows(8).any(|bytes| bytes == marker), "{name}");
        assert_ne!(
            status["store_id"],
            world.json(&["status", "sealed.db"])["store_id"]
        );
    }
    world.ok(&["sqlite", "unseal", "one.db", "back.db", "--yes"]);
    assert_eq!(world.bytes("back.db"), world.bytes("plain.db"));
    let shown = world.ok(&["audit", "show", "two.db", "--action", "backup.created"]);
    assert!(
        shown.contains("three.db") && shown.contains("resealed"),
        "{shown}"
    );
}

/// Goal: each key of the copy is needed, and the keys of the source are not.
#[test]
fn the_copy_is_under_the_keys_that_were_given() {
    let world = World::sealed();
    world.ok(&["key", "create", "file:other.key"]);
    let given = [
        "--customer",
        "file:other.key",
        "--infrastructure",
        INFRASTRUCTURE,
    ];
    world.ok(&[&["sqlite", "reseal", "sealed.db", "copy.db"][..], &given].concat());
    let count = ["sqlite", "shell", "copy.db", "SELECT count(*) FROM t"];
    world.ok(&["key", "disable", CUSTOMER]);
    assert_eq!(world.ok(&count), "300\n");
    for key in ["file:other.key", INFRASTRUCTURE] {
        world.ok(&["key", "disable", key]);
        world.refused(&count, 3, "disabled");
        world.ok(&["key", "enable", key]);
    }
    assert_eq!(world.ok(&count), "300\n");
}

/// Goal: what cannot be done leaves nothing behind.
#[test]
fn a_refused_copy_leaves_nothing() {
    let world = World::sealed();
    world.refused(
        &["sqlite", "reseal", "sealed.db", "copy.db"],
        2,
        "--customer",
    );
    world.refused(&reseal("plain.db", "copy.db", &[]), 4, "not a sealed one");
    world.refused(&reseal("sealed.db", "plain.db", &[]), 4, "plain.db");
    world.ok(&["key", "disable", CUSTOMER]);
    let given = [
        "sqlite",
        "reseal",
        "sealed.db",
        "copy.db",
        "--customer",
        INFRASTRUCTURE,
    ];
    world.refused(&given, 3, "disabled");
    world.ok(&["key", "enable", CUSTOMER]);
    world.refused(
        &reseal("sealed.db", "copy.db", &["--infrastructure", "file:no.key"]),
        3,
        "no.key",
    );
    for name in ["copy.db", "copy.db-audit"] {
        assert!(!world.path(name).exists(), "{name}");
    }
}
