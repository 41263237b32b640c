//! What people, disks and attackers do to the command: it refuses, says why, and leaves nothing behind.

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{World, names};

const SEAL: [&str; 6] = [
    "sqlite",
    "seal",
    "plain.db",
    "sealed.db",
    "--customer",
    "file:customer.key",
];

#[track_caller]
fn seal_is_refused(world: &World, source: &str, code: i32, says: &str) {
    let mut arguments = SEAL;
    arguments[2] = source;
    let before = world.names();
    world.refused(&arguments, code, says);
    assert_eq!(world.names(), before, "something was left behind");
}

#[test]
fn sources_that_are_no_plain_database_are_refused() {
    let world = World::with_database();
    world.ok(&[
        "sqlite",
        "seal",
        "plain.db",
        "other.db",
        "--customer",
        "file:customer.key",
    ]);
    fs::create_dir(world.path("directory")).unwrap();
    fs::write(world.path("text"), "hello").unwrap();
    fs::write(world.path("empty"), "").unwrap();
    seal_is_refused(&world, "directory", 4, "no SQLite database");
    seal_is_refused(&world, "text", 4, "no SQLite database");
    seal_is_refused(&world, "empty", 4, "no SQLite database");
    seal_is_refused(&world, "missing", 4, "No such file");
    seal_is_refused(&world, "other.db", 4, "sealed already");
}

#[test]
fn targets_that_exist_are_never_replaced() {
    for name in [
        "sealed.db",
        "sealed.db-wal",
        "sealed.db-journal",
        "sealed.db-audit",
    ] {
        let world = World::with_database();
        fs::write(world.path(name), "precious").unwrap();
        seal_is_refused(&world, "plain.db", 4, name);
        assert_eq!(world.bytes(name), b"precious");
    }
    let world = World::sealed();
    fs::write(world.path("back.db"), "precious").unwrap();
    world.refused(
        &["sqlite", "unseal", "sealed.db", "back.db", "--yes"],
        4,
        "back.db",
    );
    assert_eq!(world.bytes("back.db"), b"precious");
    world.refused(
        &["key", "create", "file:customer.key"],
        4,
        "never overwritten",
    );
}

#[test]
fn keys_that_are_not_to_be_had_seal_and_open_nothing() {
    let world = World::with_database();
    world.refused(
        &["sqlite", "seal", "plain.db", "sealed.db"],
        2,
        "--customer",
    );
    let mut arguments = SEAL;
    arguments[5] = "file:missing.key";
    world.refused(&arguments, 3, "missing.key");
    arguments[5] = "awskms:///arn:aws:kms:eu-west-1:1:key/k";
    world.refused(&arguments, 3, "no vault");
    fs::set_permissions(
        world.path("customer.key"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    seal_is_refused(&world, "plain.db", 3, "chmod 600");
    fs::set_permissions(
        world.path("customer.key"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    world.ok(&["key", "disable", "file:customer.key"]);
    seal_is_refused(&world, "plain.db", 3, "disabled");
    world.ok(&["key", "enable", "file:customer.key"]);
    world.ok(&SEAL);
    let shell = ["sqlite", "shell", "sealed.db", "SELECT 1"];
    world.refused(
        &[&shell[..], &["--customer", "file:infrastructure.key"]].concat(),
        3,
        "expected",
    );
    fs::rename(world.path("customer.key"), world.path("away")).unwrap();
    world.refused(&shell, 3, "customer.key");
    fs::copy(world.path("infrastructure.key"), world.path("customer.key")).unwrap();
    let ran = world.run(&shell);
    assert!(
        ran.code == 1 || ran.code == 3,
        "another key under the same name: {}",
        ran.err
    );
    let ran = world.run(&["status", "sealed.db"]);
    assert!(ran.out.contains("does NOT open"), "{}", ran.out);
}

#[test]
fn both_layers_under_one_key_are_no_two_walls() {
    let world = World::with_database();
    let twice = [&SEAL[..], &["--infrastructure", "file:customer.key"]].concat();
    world.refused(&twice, 2, "a key of its own");
    let missing = [&SEAL[..], &["--suite", "3"]].concat();
    world.refused(&missing, 2, "infrastructure");
    let fips = [&SEAL[..], &["--suite", "4"]].concat();
    world.refused(&fips, 2, "FIPS");
    let large = [&SEAL[..], &["--page-size", "8192"]].concat();
    world.refused(&large, 2, "8192");
    assert!(!world.path("sealed.db-audit").exists());
}

#[test]
fn a_journal_that_a_crash_left_is_not_overlooked() {
    let world = World::with_database();
    let writer = world.plain("hot.db", 1000);
    writer
        .execute_batch("PRAGMA cache_size = 1; BEGIN; UPDATE t SET text = 'x'")
        .unwrap();
    // As after a crash: the files as they are, without the locks of whoever wrote them.
    fs::copy(world.path("hot.db"), world.path("crashed.db")).unwrap();
    fs::copy(
        world.path("hot.db-journal"),
        world.path("crashed.db-journal"),
    )
    .unwrap();
    seal_is_refused(&world, "crashed.db", 4, "unfinished");
}

#[test]
fn a_flipped_byte_is_a_finding_and_names_its_page() {
    let world = World::sealed();
    let frames = 40960;
    world.flip("sealed.db", frames + 5 * (4096 + 128) + 100);
    let found = world.run(&["scrub", "sealed.db", "--json"]);
    assert_eq!(found.code, 1);
    assert!(found.out.contains("\"bad\":[5]"), "{}", found.out);
    assert_eq!(world.run(&["scrub", "sealed.db", "--without-keys"]).code, 1);
    world.refused(
        &["sqlite", "shell", "sealed.db", "SELECT * FROM t"],
        1,
        "page 5 ",
    );
    world.refused(
        &["sqlite", "unseal", "sealed.db", "back.db", "--yes"],
        1,
        "page 5 ",
    );
    assert!(!world.path("back.db").exists());

    let world = World::sealed();
    world.flip("sealed.db", 70);
    world.refused(&["status", "sealed.db"], 1, "");
    world.refused(&["sqlite", "shell", "sealed.db", "SELECT 1"], 1, "");
}

#[test]
fn a_file_that_was_cut_off_is_refused() {
    for len in [0, 10, 16384, 32768, 40960, 60000] {
        let world = World::sealed();
        let file = OpenOptions::new()
            .write(true)
            .open(world.path("sealed.db"))
            .unwrap();
        file.set_len(len).unwrap();
        drop(file);
        let ran = world.run(&["sqlite", "unseal", "sealed.db", "back.db", "--yes"]);
        assert!(
            ran.code == 1 || ran.code == 4,
            "cut to {len}: {} {}",
            ran.code,
            ran.err
        );
        assert!(!world.path("back.db").exists(), "cut to {len}");
    }
}

#[test]
fn a_custodian_does_nothing_that_cannot_be_recorded() {
    let world = World::sealed();
    let key = world.bytes("customer.key");
    let sealed = world.bytes("sealed.db");
    for (log, commands) in [
        (
            "customer.key-audit",
            [
                ["key", "rotate", "file:customer.key"],
                ["key", "disable", "file:customer.key"],
            ],
        ),
        (
            "sealed.db-audit",
            [
                ["rotate", "kek", "sealed.db"],
                ["rotate", "kek", "sealed.db"],
            ],
        ),
    ] {
        // Root may write where the mode says no, so the log is made unusable instead.
        let aside = world.path("aside");
        fs::rename(world.path(log), &aside).unwrap();
        fs::write(world.path(log), "in the way").unwrap();
        for command in commands {
            let ran = world.run(&command);
            assert!(ran.code == 4 || ran.code == 1, "{command:?}: {}", ran.err);
            assert!(ran.err.contains("audit"), "{}", ran.err);
        }
        fs::remove_file(world.path(log)).unwrap();
        fs::rename(&aside, world.path(log)).unwrap();
    }
    assert_eq!(world.bytes("customer.key"), key);
    assert_eq!(world.bytes("sealed.db"), sealed);
    fs::write(world.path("new.key-audit"), "in the way").unwrap();
    world.refused(&["key", "create", "file:new.key"], 4, "nothing was changed");
    assert!(!world.path("new.key").exists());
}

#[test]
fn a_missing_log_stops_custodians_and_plaintext_but_not_the_application() {
    let world = World::sealed();
    fs::remove_dir_all(world.path("sealed.db-audit")).unwrap();
    world.ok(&["sqlite", "shell", "sealed.db", "SELECT 1"]);
    world.refused(&["rotate", "kek", "sealed.db"], 4, "audit log");
    world.refused(
        &["sqlite", "unseal", "sealed.db", "back.db", "--yes"],
        4,
        "recorded",
    );
    assert!(!world.path("back.db").exists());
    assert!(world.ok(&["status", "sealed.db"]).contains("NOT checked"));
    let required = world
        .command(&["sqlite", "shell", "sealed.db", "SELECT 1"])
        .env("COFFERDAM_AUDIT_REQUIRED", "1")
        .status()
        .unwrap();
    assert_eq!(required.code(), Some(4));
}

#[test]
fn plaintext_is_written_only_after_a_yes() {
    let world = World::sealed();
    world.refused(&["sqlite", "unseal", "sealed.db", "back.db"], 2, "--yes");
    assert!(!world.path("back.db").exists());
    world.ok(&["sqlite", "unseal", "sealed.db", "back.db", "--yes"]);
    let mode = fs::metadata(world.path("back.db"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_kill_or_ctrl_c_while_sealing_leaves_no_copy() {
    let world = World::with_database();
    drop(world.plain("large.db", 120_000));
    let mut arguments = SEAL;
    arguments[2] = "large.db";
    for signal in ["KILL", "INT"] {
        for milliseconds in [20, 60, 150] {
            let mut child = world
                .command(&arguments)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            let id = child.id().to_string();
            Command::new("kill")
                .args(["-s", signal, &id])
                .status()
                .unwrap();
            let code = child.wait().unwrap().code();
            if code == Some(0) {
                fs::remove_file(world.path("sealed.db")).unwrap();
            }
            assert!(
                !world.path("sealed.db").exists(),
                "{signal} after {milliseconds} ms"
            );
            assert!(!world.names().iter().any(|name| name.contains("unfinished")));
            if signal == "INT" && code == Some(130) {
                assert!(!world.path("sealed.db-audit").exists());
            }
            let _ = fs::remove_dir_all(world.path("sealed.db-audit"));
        }
    }
    world.ok(&arguments);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let world = World::with_database();
    drop(world.plain("large.db", 20_000));
    let small = world.path("small");
    fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&small)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no small file system can be mounted here");
        return;
    }
    let ran = world.run(&[
        "sqlite",
        "seal",
        "large.db",
        "small/s.db",
        "--customer",
        "file:customer.key",
    ]);
    let left = names(&small);
    Command::new("umount").arg(&small).status().unwrap();
    assert_eq!(ran.code, 4, "{}", ran.err);
    assert!(ran.err.contains("No space left"), "{}", ran.err);
    assert!(left.is_empty(), "{left:?}");
}
