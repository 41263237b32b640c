//! Volumes: made, described and read through.
#![allow(missing_docs)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cofferdam_sealed_file::{FileDirectory, Homing, Volume, VolumeSetup};
use cofferdam_wiring::{Settings, monotonic};
use common::{MARKER, World};

/// With both keys and a volume `v` in which there are two files.
fn world() -> World {
    let world = World::new();
    world.ok(&["key", "create", "file:customer.key"]);
    world.ok(&["key", "create", "file:infrastructure.key"]);
    world.ok(&["init", "v", "--customer", "file:customer.key"]);
    let volume = open(&world.path("v"));
    for name in [b"first".as_slice(), b"sec\xffond"] {
        let file = volume.create_file(name).unwrap();
        file.write_at(&MARKER.repeat(1000).into_bytes(), 0).unwrap();
    }
    volume.close().unwrap();
    world
}

/// Opens a volume as a program does.
fn open(path: &Path) -> Volume {
    let setup = VolumeSetup {
        directory: Arc::new(FileDirectory::open(path).unwrap()),
        path: path.join("keyring"),
        opener: Arc::new(Settings::default().opener().unwrap()),
        journal_len: 1 << 20,
        homing: Homing::InBackground,
        accept_damage: false,
        holder: "the test".to_owned(),
        monotonic,
    };
    Volume::open(&setup).unwrap()
}

#[test]
fn a_volume_is_made_under_one_key_or_two() {
    let world = world();
    let made = world.json(&[
        "init",
        "w",
        "--customer",
        "file:customer.key",
        "--page-size",
        "8192",
    ]);
    assert_eq!(
        (&made["suite"], &made["page_size"]),
        (&1.into(), &8192.into())
    );
    let both = [
        "--customer",
        "file:customer.key",
        "--infrastructure",
        "file:infrastructure.key",
    ];
    let made = world.json(&[["init", "x"].as_slice(), &both].concat());
    assert_eq!(
        (&made["suite"], &made["page_size"]),
        (&2.into(), &4096.into())
    );
    let made = world.json(&[["init", "y", "--suite", "3"].as_slice(), &both].concat());
    assert_eq!(made["suite"], 3);
    for name in ["w", "x", "y"] {
        assert_eq!(world.json(&["scrub", name])["files"], 0);
    }
    // That a key protects it is on record before it does.
    let events = world.ok(&["audit", "show", "w/keyring"]);
    assert!(events.contains("key.create"), "{events}");
}

#[test]
fn what_cannot_be_made_is_refused_and_said() {
    let world = world();
    let customer = ["--customer", "file:customer.key"];
    let init = |more: &[&'static str]| [["init"].as_slice(), more, &customer].concat();
    world.refused(&["init", "w"], 2, "whose key?");
    world.refused(
        &init(&["v"]),
        2,
        "there is a volume in this directory already",
    );
    world.refused(&init(&["w", "--page-size", "512"]), 2, "4096");
    world.refused(&init(&["w", "--page-size", "5000"]), 2, "power of two");
    world.refused(&init(&["w", "--suite", "2"]), 2, "infrastructure key");
    fs::create_dir(world.path("full")).unwrap();
    fs::write(world.path("full/a"), "mine").unwrap();
    world.refused(&init(&["full"]), 4, "there is something else already");
    assert_eq!(fs::read(world.path("full/a")).unwrap(), b"mine");
    world.refused(
        &["init", "z", "--customer", "file:absent.key"],
        3,
        "absent.key",
    );
    // What an attempt left that was refused its key is not in the way.
    world.ok(&init(&["z"]));
    world.ok(&["scrub", "z"]);
}

#[test]
fn status_tells_of_files_and_of_whoever_has_it_open() {
    let world = world();
    let told = world.json(&["status", "v"]);
    assert_eq!((&told["opens"], &told["suite"]), (&true.into(), &1.into()));
    assert_eq!(told["volume"]["files"], 2);
    assert!(told["volume"]["bytes"].as_u64().unwrap() > 2 * 1000 * MARKER.len() as u64);
    assert!(told["volume"]["open_by"].is_null());
    assert!(world.ok(&["status", "v"]).contains("2 files"));

    let volume = open(&world.path("v"));
    assert_eq!(
        world.json(&["status", "v"])["volume"]["open_by"],
        "the test"
    );
    world.refused(&["scrub", "v"], 4, "open already, by the test");
    drop(volume);
    world.ok(&["scrub", "v"]);

    world.ok(&["key", "disable", "file:customer.key"]);
    let ran = world.run(&["status", "v"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("does NOT open"), "{}", ran.out);
    world.refused(&["scrub", "v"], 3, "disabled");
    // A directory that is none.
    fs::create_dir(world.path("d")).unwrap();
    world.refused(&["status", "d"], 4, "directory");
}

#[test]
fn scrub_names_the_file_and_the_page() {
    let world = world();
    let told = world.json(&["scrub", "v"]);
    assert_eq!((&told["files"], &told["unwritten"]), (&2.into(), &0.into()));
    assert_eq!(told["bad"], serde_json::json!([]));
    let (first, second) = ("v/files/0000000000000001", "v/files/0000000000000002");
    for name in [first, second, "v/keyring", "v/journal-0"] {
        let bytes = world.bytes(name);
        assert!(
            !bytes
                .windows(MARKER.len())
                .any(|it| it == MARKER.as_bytes())
        );
    }

    let middle = world.bytes(second).len() - 9000;
    world.flip(second, middle);
    let ran = world.run(&["scrub", "v", "--json"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let bad = told["bad"].as_array().unwrap();
    assert_eq!((bad.len(), &bad[0]["file"]), (1, &r"sec\xffond".into()));
    assert_eq!(bad[0]["bad"].as_array().unwrap().len(), 1);

    // The records of the other one, both of them.
    let mut bytes = world.bytes(first);
    bytes[..4096 * 2].fill(0xaa);
    fs::write(world.path(first), bytes).unwrap();
    let ran = world.run(&["scrub", "v"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("first: its record"), "{}", ran.out);
    assert!(ran.out.contains("2 files are not sound"), "{}", ran.out);
    world.refused(&["scrub", "v", "--without-keys"], 2, "databases");
}

#[test]
fn a_custodian_works_on_the_keyring_and_a_damaged_journal_is_refused() {
    let world = world();
    world.ok(&["key", "rotate", "file:customer.key"]);
    world.ok(&["rotate", "kek", "v/keyring"]);
    world.ok(&["scrub", "v"]);
    let told = world.json(&["status", "v"]);
    assert_eq!(
        told["layers"][0]["version"],
        told["layers"][0]["vault"]["latest"]
    );

    world.ok(&["key", "create", "file:other.key"]);
    world.ok(&["rekey", "v/keyring", "--customer", "file:other.key"]);
    world.ok(&["key", "disable", "file:customer.key"]);
    world.ok(&["revalidate", "v/keyring"]);
    world.ok(&["keys", "list", "v/keyring"]);
    world.ok(&["doctor", "v/keyring"]);
    world.ok(&["audit", "verify", "v/keyring"]);
    assert_eq!(world.json(&["scrub", "v"])["files"], 2);

    fs::remove_file(world.path("v/journal-1")).unwrap();
    world.refused(&["scrub", "v"], 1, "journal is damaged");
}

#[test]
fn only_the_operator_makes_a_volume() {
    let world = world();
    for (role, code) in [("operator", 0), ("custodian", 4), ("auditor", 4)] {
        let arguments = ["init", role, "--customer", "file:customer.key"];
        let mut command = world.command(&arguments);
        let output = command.env("COFFERDAM_ROLE", role).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{role}");
    }
}
