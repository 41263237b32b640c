//! A key that is taken away from a running database, and given back.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cofferdam_audit::{Actor, ActorKind, Source, UnixTime};
use cofferdam_keys::{
    KEYRING_LEN, KeyUri, KeyringSlots, LeasePolicy, LeaseTerms, Leases, Pins, Standing, StoreId,
    Suite,
};
use cofferdam_sealed_file::{AuditPlace, NewStore, Opener, Recorded};
use cofferdam_sqlite::{Sealed, last_error};
use cofferdam_vaults::{Vaults, Which};
use rusqlite::Connection;

#[test]
fn a_disabled_key_stops_every_call_and_an_enabled_one_heals_without_reopening() {
    for mode in ["delete", "wal"] {
        let world = world(Suite::Two);
        let one = world.filled(mode);
        let other = world.sealed.open(&world.path).unwrap();
        assert_eq!(count(&one).unwrap(), ROWS);
        assert_eq!(count(&other).unwrap(), ROWS);

        // A statement between two rows, on pages that are in SQLite's cache.
        let mut statement = other.prepare("SELECT id, text FROM t ORDER BY id").unwrap();
        let mut rows = statement.query([]).unwrap();
        assert!(rows.next().unwrap().is_some());

        world.enable(&world.infrastructure, false);
        world.wait_for("inaccessible");
        assert!(rows.next().is_err(), "{mode}: an open statement was served");
        let words = last_error().unwrap();
        assert!(
            words.contains("infrastructure.key") && words.contains("disabled"),
            "{words}"
        );
        assert!(words.contains("since "), "{words}");
        drop(rows);
        drop(statement);
        for sql in [
            "SELECT count(*) FROM t",
            "INSERT INTO t(text) VALUES('x')",
            "SELECT * FROM t WHERE id = 7",
        ] {
            assert!(one.execute_batch(sql).is_err(), "{mode}: served {sql}");
            assert!(other.execute_batch(sql).is_err(), "{mode}: served {sql}");
        }
        assert!(
            world
                .sealed
                .open(&world.path)
                .map(|new| count(&new).unwrap())
                .is_err()
        );
        let wiped = world.lease().wiped().unwrap();
        assert!(
            wiped.complete,
            "{mode}: keys were left after {:?}",
            wiped.after
        );
        assert!(wiped.after < Duration::from_secs(1));

        world.enable(&world.infrastructure, true);
        assert_eq!(count_soon(&one), ROWS, "{mode}");
        assert_eq!(count(&other).unwrap(), ROWS, "{mode}");
        one.execute("INSERT INTO t(text) VALUES('after')", [])
            .unwrap();
        assert_eq!(count(&other).unwrap(), ROWS + 1, "{mode}");
        check(&one);
    }
}

#[test]
fn each_key_can_be_taken_away_alone() {
    let world = world(Suite::Two);
    let connection = world.filled("delete");
    for key in [&world.customer, &world.infrastructure] {
        world.enable(key, false);
        world.wait_for("inaccessible");
        assert!(count(&connection).is_err());
        world.enable(key, true);
        assert_eq!(count_soon(&connection), ROWS);
    }
}

#[test]
fn what_was_committed_before_the_fence_is_there_after_it() {
    for mode in ["delete", "wal", "persist", "truncate"] {
        let world = world(Suite::One);
        let connection = world.filled(mode);
        let mut committed = ROWS;
        for round in 0..10 {
            // A transaction is open and partly written when the key goes.
            connection.execute_batch("BEGIN").unwrap();
            for row in 0..200 {
                let text = format!("{round} {row} {}", "y".repeat(500));
                connection
                    .execute("INSERT INTO t(text) VALUES(?1)", [text])
                    .unwrap();
            }
            if round % 2 == 0 {
                connection
                    .execute_batch("PRAGMA cache_spill=1; COMMIT")
                    .unwrap();
                committed += 200;
            }
            world.enable(&world.customer, false);
            world.wait_for("inaccessible");
            if round % 2 == 1 {
                // A commit that was refused never happened.
                assert!(connection.execute_batch("COMMIT").is_err(), "{mode}");
                let _ = connection.execute_batch("ROLLBACK");
            }
            world.enable(&world.customer, true);
            assert_eq!(count_soon(&connection), committed, "{mode}, round {round}");
            check(&connection);
        }
        drop(connection);
        let again = world.sealed.open(&world.path).unwrap();
        assert_eq!(count(&again).unwrap(), committed, "{mode}");
        check(&again);
    }
}

#[test]
fn writers_lose_nothing_that_was_acknowledged_while_the_key_comes_and_goes() {
    let world = world(Suite::One);
    drop(world.filled("wal"));
    let started = Instant::now();
    let world = &world;
    let acknowledged: Vec<i64> = thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let connection = world.sealed.open(&world.path).unwrap();
                connection.busy_timeout(Duration::from_secs(5)).unwrap();
                scope.spawn(move || {
                    let mut done = Vec::new();
                    while started.elapsed() < Duration::from_secs(4) {
                        if connection
                            .execute("INSERT INTO t(text) VALUES('w')", [])
                            .is_ok()
                        {
                            done.push(connection.last_insert_rowid());
                        }
                    }
                    done
                })
            })
            .collect();
        while started.elapsed() < Duration::from_millis(3500) {
            world.enable(&world.customer, false);
            world.wait_for("inaccessible");
            world.enable(&world.customer, true);
            thread::sleep(Duration::from_millis(150));
        }
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    assert!(acknowledged.len() > 10);
    let connection = world.sealed.open(&world.path).unwrap();
    let _ = count_soon(&connection);
    check(&connection);
    for id in acknowledged {
        let found: i64 = connection
            .query_row("SELECT count(*) FROM t WHERE id = ?1", [id], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(found, 1, "row {id} was acknowledged and is gone");
    }
}

/// Goal: a rollback that the vault's answer keeps from reading its journal must not leave rows behind that the next commit writes.
#[test]
fn a_rollback_without_keys_leaves_nothing_that_a_later_commit_could_write() {
    for mode in ["delete", "persist", "truncate", "wal"] {
        let world = world(Suite::One);
        let first = world.filled(mode);
        let connection = world.sealed.open(&world.path).unwrap();
        assert_eq!(
            (count(&first).unwrap(), count(&connection).unwrap()),
            (ROWS, ROWS)
        );
        connection
            .execute_batch("BEGIN; UPDATE t SET text = 'uncommitted' WHERE id <= 5")
            .unwrap();
        // The gate opens again, and before this connection has its keys back, the vault refuses once more.
        world.enable(&world.customer, false);
        world.wait_for("inaccessible");
        world.enable(&world.customer, true);
        world.wait_for("ready");
        world.enable(&world.customer, false);
        let _ = connection.execute_batch("ROLLBACK");
        thread::sleep(Duration::from_millis(500));
        world.enable(&world.customer, true);
        count_soon(&connection);
        connection
            .execute("UPDATE t SET text = 'later' WHERE id = 2900", [])
            .unwrap();
        for reader in [&connection, &world.sealed.open(&world.path).unwrap()] {
            let uncommitted: i64 = reader
                .query_row(
                    "SELECT count(*) FROM t WHERE text = 'uncommitted'",
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(uncommitted, 0, "{mode}");
            check(reader);
        }
    }
}

/// Goal: where the journal is in memory alone, the connection keeps what it needs to undo its transaction until that is done.
#[test]
fn a_transaction_that_only_its_connection_can_undo_is_undone() {
    let world = world(Suite::One);
    let connection = world.filled("delete");
    connection
        .execute_batch("PRAGMA journal_mode=memory; PRAGMA cache_size=10; BEGIN")
        .unwrap();
    connection
        .execute("UPDATE t SET text = hex(randomblob(300))", [])
        .unwrap();
    world.enable(&world.customer, false);
    world.wait_for("inaccessible");
    let read = connection.query_row("SELECT text FROM t WHERE id = 1500", [], |row| {
        row.get::<_, String>(0)
    });
    assert!(read.is_err(), "a page was read after the fence");
    // SQLite has rolled back because of that error, or does it now.
    let _ = connection.execute_batch("ROLLBACK");
    let started = Instant::now();
    while !world.lease().wiped().is_some_and(|wiped| wiped.complete) {
        assert!(started.elapsed() < Duration::from_secs(5), "the keys stay");
        thread::sleep(Duration::from_millis(10));
    }
    world.enable(&world.customer, true);
    assert_eq!(count_soon(&connection), ROWS);
    check(&connection);
}

/// Goal: an older keyring, wrapped under a version that is still enabled, does not keep a store open.
#[test]
fn an_old_keyring_that_is_put_back_does_not_keep_a_database_open() {
    let world = world(Suite::One);
    let connection = world.filled("delete");
    let old = std::fs::read(&world.path).unwrap()[..2 * KEYRING_LEN].to_vec();
    let vault = world.vaults.file(&world.customer).unwrap();
    vault.rotate(clock()).unwrap();
    let started = Instant::now();
    while !world
        .wraps(&world.customer)
        .iter()
        .all(|version| version == "2")
    {
        assert!(started.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(300));
    // By another process, which does not disturb SQLite's locks.
    let copy = world.path.with_extension("old");
    std::fs::write(&copy, old).unwrap();
    let put_back = std::process::Command::new("dd")
        .arg(format!("if={}", copy.display()))
        .arg(format!("of={}", world.path.display()))
        .args(["conv=notrunc", "status=none"])
        .status()
        .unwrap();
    assert!(put_back.success());
    vault
        .set_enabled(&Which::Version("2".parse().unwrap()), false)
        .unwrap();
    world.wait_for("inaccessible");
    assert!(count(&connection).is_err());
}

/// Goal: whoever can read the log's directory cannot keep keys in memory by holding its lock.
#[test]
fn a_lock_on_the_log_that_is_never_given_up_does_not_keep_the_keys() {
    let world = world(Suite::One);
    let connection = world.filled("delete");
    let mut lock = world.path.clone().into_os_string();
    lock.push("-audit/lock");
    let held = std::fs::File::open(lock).unwrap();
    held.lock().unwrap();
    // Long enough for a tally of probes to be due.
    thread::sleep(Duration::from_secs(4));
    world.enable(&world.customer, false);
    world.wait_for("inaccessible");
    assert!(count(&connection).is_err());
    assert!(world.lease().wiped().unwrap().complete);
    world.enable(&world.customer, true);
    assert_eq!(count_soon(&connection), ROWS);
}

/// Goal: connections that share a cache come and go, and the fence touches none that is gone.
#[test]
fn connections_that_share_a_cache_are_left_alone() {
    let world = world(Suite::One);
    drop(world.filled("delete"));
    let flags =
        rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_SHARED_CACHE;
    let stays = world.sealed.open_with(&world.path, flags).unwrap();
    let goes = world.sealed.open_with(&world.path, flags).unwrap();
    assert_eq!(
        (count(&stays).unwrap(), count(&goes).unwrap()),
        (ROWS, ROWS)
    );
    drop(goes);
    world.enable(&world.customer, false);
    world.wait_for("inaccessible");
    world.enable(&world.customer, true);
    assert_eq!(count_soon(&stays), ROWS);
}

#[test]
fn the_log_says_when_and_why() {
    let world = world(Suite::One);
    let connection = world.filled("delete");
    world.enable(&world.customer, false);
    world.wait_for("inaccessible");
    world.enable(&world.customer, true);
    count_soon(&connection);
    world.wait_for("ready");
    let mut dir = world.path.clone().into_os_string();
    dir.push("-audit");
    let started = Instant::now();
    for part in [
        "state.inaccessible",
        "revoked_disabled",
        "state.zeroised",
        "keys_wiped_in_",
        "state.ready",
    ] {
        // The record of an opening follows the opening.
        while !log_text(Path::new(&dir)).contains(part) {
            assert!(
                started.elapsed() < Duration::from_secs(5),
                "no {part} in the log"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_rotation_is_followed_and_the_old_version_can_then_be_disabled() {
    let world = world(Suite::Two);
    let connection = world.filled("wal");
    for round in 2..5 {
        for key in [&world.customer, &world.infrastructure] {
            let vault = world.vaults.file(key).unwrap();
            let old: cofferdam_keys::KeyVersion = (round - 1).to_string().parse().unwrap();
            vault.rotate(clock()).unwrap();
            let started = Instant::now();
            while !world
                .wraps(key)
                .iter()
                .all(|version| *version == round.to_string())
            {
                assert!(
                    started.elapsed() < Duration::from_secs(10),
                    "round {round}: not followed"
                );
                connection
                    .execute(
                        "UPDATE t SET text = hex(randomblob(200)) WHERE id % 50 = 0",
                        [],
                    )
                    .unwrap();
                thread::sleep(Duration::from_millis(10));
            }
            vault.set_enabled(&Which::Version(old), false).unwrap();
            thread::sleep(Duration::from_millis(300));
            assert_eq!(count(&connection).unwrap(), ROWS);
            assert_eq!(world.lease().standing(), Standing::Ready);
        }
    }
    drop(connection);
    let again = world.sealed.open(&world.path).unwrap();
    assert_eq!(count(&again).unwrap(), ROWS);
    check(&again);
}

fn log_text(dir: &Path) -> String {
    let mut text = String::new();
    walk(&dir.join("tile/entries"), &mut text);
    text
}

fn walk(path: &Path, text: &mut String) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), text);
        }
    } else {
        text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
    }
}

struct World {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    vaults: Arc<Vaults>,
    customer: KeyUri,
    infrastructure: KeyUri,
    opener: Arc<Opener>,
    sealed: Sealed,
}

fn world(suite: Suite) -> World {
    let dir = tempfile::tempdir().unwrap();
    let vaults = Arc::new(Vaults::without_passphrases());
    let make = |name: &str| {
        let key = KeyUri::from_file_path(&dir.path().join(name)).unwrap();
        vaults.file(&key).unwrap().create(None, clock()).unwrap();
        key
    };
    let (customer, infrastructure) = (make("customer.key"), make("infrastructure.key"));
    let opener = Arc::new(Opener {
        vaults: vaults.clone(),
        pins: Pins::none(),
        new_store: Some(NewStore {
            suite,
            customer: customer.clone(),
            infrastructure: (suite.layer_count() == 2).then(|| infrastructure.clone()),
            room_for_second_layer: true,
        }),
        audit: AuditPlace::Beside,
        audit_required: true,
        actor: Actor::new(ActorKind::System, "test"),
        source: Source::default(),
        clock,
        leases: Leases::new(LeaseTerms {
            policy: LeasePolicy {
                probe_interval: Duration::from_millis(100),
                revoke_deadline: Duration::from_millis(300),
                ..LeasePolicy::default()
            },
            clock,
            monotonic,
        }),
        recorded: Recorded::default(),
    });
    let sealed = Sealed::new(opener.clone()).unwrap();
    let path = dir.path().join("app.db");
    World {
        _dir: dir,
        path,
        vaults,
        customer,
        infrastructure,
        opener,
        sealed,
    }
}

impl World {
    fn filled(&self, mode: &str) -> Connection {
        let connection = self.sealed.open(&self.path).unwrap();
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode={mode}; CREATE TABLE t(id INTEGER PRIMARY KEY, text);
                 WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i < {ROWS})
                 INSERT INTO t SELECT i, hex(randomblob(200)) FROM n;"
            ))
            .unwrap();
        connection
    }

    fn enable(&self, key: &KeyUri, enabled: bool) {
        let vault = self.vaults.file(key).unwrap();
        vault.set_enabled(&Which::Key, enabled).unwrap();
    }

    /// The versions of a key that the two slots name.
    fn wraps(&self, key: &KeyUri) -> Vec<String> {
        let bytes = std::fs::read(&self.path).unwrap();
        let (slots, _) = bytes[..2 * KEYRING_LEN].as_chunks::<KEYRING_LEN>();
        let slots = KeyringSlots::parse(&slots[0], &slots[1]);
        let wraps = slots
            .candidates()
            .into_iter()
            .flat_map(|(_, keyring)| keyring.wraps().to_vec());
        wraps
            .filter(|wrap| wrap.key == *key)
            .map(|wrap| wrap.wrapped.version.to_string())
            .collect()
    }

    fn lease(&self) -> Arc<cofferdam_keys::Lease> {
        let bytes = std::fs::read(&self.path).unwrap();
        let store = StoreId::from_bytes(bytes[16..32].try_into().unwrap());
        self.opener.leases.find(store).unwrap()
    }

    fn wait_for(&self, standing: &str) {
        let started = Instant::now();
        loop {
            let word = match self.lease().standing() {
                Standing::Ready => "ready",
                Standing::Degraded { .. } => "degraded",
                Standing::Inaccessible { .. } => "inaccessible",
            };
            if word == standing && (word != "inaccessible" || self.lease().wiped().is_some()) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "still {word}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn count(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
}

/// The rows, as soon as the database is served again.
fn count_soon(connection: &Connection) -> i64 {
    let started = Instant::now();
    loop {
        match count(connection) {
            Ok(rows) => return rows,
            Err(error) if started.elapsed() > Duration::from_secs(5) => {
                panic!("still refused: {error}, {:?}", last_error())
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn check(connection: &Connection) {
    let answer: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(answer, "ok");
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_700_000_000,
        nanos: 0,
    }
}

/// Time that passes; a test may look at the clock.
fn monotonic() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    START.elapsed()
}

const ROWS: i64 = 3000;
