//! SQLite through the layer: every journal mode and page size, and nothing readable on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cofferdam_audit::{Actor, ActorKind, Source, UnixTime};
use cofferdam_keys::{KeyUri, Layer, LeasePolicy, LeaseTerms, Leases, Pins, Suite};
use cofferdam_sealed_file::{AuditPlace, NewStore, Opener, Recorded};
use cofferdam_sqlite::Sealed;
use cofferdam_vaults::Vaults;
use rusqlite::Connection;

const MARKER: &str = "HIPPOPOTAMUS-MARKER-0123456789";

struct World {
    dir: tempfile::TempDir,
    sealed: Sealed,
}

fn clock() -> UnixTime {
    UnixTime {
        seconds: 1_700_000_000,
        nanos: 0,
    }
}

fn key(vaults: &Vaults, dir: &Path, name: &str) -> KeyUri {
    let key = KeyUri::from_file_path(&dir.join(name)).unwrap();
    vaults.file(&key).unwrap().create(None, clock()).unwrap();
    key
}

fn world(suite: Suite) -> World {
    let dir = tempfile::tempdir().unwrap();
    let vaults = Vaults::without_passphrases();
    let customer = key(&vaults, dir.path(), "customer.key");
    let infrastructure =
        (suite.layer_count() == 2).then(|| key(&vaults, dir.path(), "infrastructure.key"));
    let opener = Opener {
        vaults: Arc::new(vaults),
        pins: Pins::none().with(Layer::Customer, customer.clone()),
        new_store: Some(NewStore {
            suite,
            customer,
            infrastructure,
            room_for_second_layer: true,
        }),
        audit: AuditPlace::Beside,
        audit_required: true,
        actor: Actor::new(ActorKind::System, "test"),
        source: Source::default(),
        clock,
        leases: Leases::new(LeaseTerms {
            policy: LeasePolicy::default(),
            clock,
            monotonic: || Duration::ZERO,
        }),
        recorded: Recorded::default(),
    };
    let sealed = Sealed::new(Arc::new(opener)).unwrap();
    World { dir, sealed }
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self, name: &str) -> Connection {
        self.sealed.open(self.path(name)).unwrap()
    }

    /// Every file of the directory but keys.
    fn assert_nothing_readable(&self) {
        let mut seen = 0;
        let mut pending = vec![self.dir.path().to_owned()];
        while let Some(dir) = pending.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                    continue;
                }
                let bytes = fs::read(&path).unwrap();
                let found = bytes.windows(16).any(|w| w == &MARKER.as_bytes()[..16]);
                assert!(!found, "marker found in {}", path.display());
                let header = bytes.windows(15).any(|w| w == b"SQLite format 3");
                assert!(!header, "SQLite header found in {}", path.display());
                seen += 1;
            }
        }
        assert!(seen > 1);
    }
}

fn fill(connection: &Connection, rows: i64) {
    connection
        .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT, blob BLOB)")
        .unwrap();
    let mut insert = connection
        .prepare("INSERT INTO t(text, blob) VALUES(?1 || ?2, randomblob(?2 % 3000))")
        .unwrap();
    connection.execute_batch("BEGIN").unwrap();
    for n in 0..rows {
        insert.execute((MARKER, n)).unwrap_or_else(|error| {
            panic!("row {n}: {error}: {:?}", cofferdam_sqlite::last_error())
        });
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn check(connection: &Connection, rows: i64) {
    let ok: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(ok, "ok");
    let found: i64 = connection
        .query_row(
            "SELECT count(*) FROM t WHERE text LIKE ?1 || '%'",
            [MARKER],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(found, rows);
}

#[test]
fn every_journal_mode_and_page_size_keeps_what_it_was_given() {
    for suite in [Suite::One, Suite::Two, Suite::Three] {
        for mode in ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF", "WAL"] {
            for page_size in [512, 1024, 4096, 16384, 65536] {
                let world = world(suite);
                let name = "a.db";
                let connection = world.open(name);
                connection
                    .execute_batch(&format!("PRAGMA page_size={page_size}"))
                    .unwrap();
                let set: String = connection
                    .query_row(&format!("PRAGMA journal_mode={mode}"), [], |row| row.get(0))
                    .unwrap();
                assert_eq!(set, mode.to_lowercase());
                fill(&connection, 300);
                check(&connection, 300);
                world.assert_nothing_readable();
                connection
                    .execute_batch("UPDATE t SET text = text || 'x' WHERE id % 3 = 0; DELETE FROM t WHERE id > 250")
                    .unwrap();
                drop(connection);
                let connection = world.open(name);
                check(&connection, 250);
                if mode != "WAL" {
                    connection.execute_batch("VACUUM").unwrap();
                }
                check(&connection, 250);
                let size: i64 = connection
                    .query_row("PRAGMA page_size", [], |row| row.get(0))
                    .unwrap();
                assert_eq!(size, page_size);
                drop(connection);
                world.assert_nothing_readable();
            }
        }
    }
}

#[test]
fn two_connections_see_each_others_commits() {
    for mode in ["DELETE", "WAL", "TRUNCATE", "PERSIST"] {
        let world = world(Suite::Two);
        let one = world.open("a.db");
        one.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(()))
            .unwrap();
        let two = world.open("a.db");
        one.execute_batch("CREATE TABLE t(n)").unwrap();
        for n in 0..200i64 {
            let (writer, reader) = if n % 2 == 0 {
                (&one, &two)
            } else {
                (&two, &one)
            };
            writer.execute("INSERT INTO t VALUES(?1)", [n]).unwrap();
            let sum: i64 = reader
                .query_row("SELECT sum(n) FROM t", [], |r| r.get(0))
                .unwrap();
            assert_eq!(sum, n * (n + 1) / 2, "{mode}");
            if n % 50 == 49 && mode == "WAL" {
                one.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                    .unwrap();
            }
        }
    }
}

/// Goal: whatever of a transaction is in the database when its process is killed, the journal has what takes it back,
/// though nothing is synced. A copy of the files is what a killed process leaves.
#[test]
fn a_journal_is_never_behind_its_database() {
    for mode in ["DELETE", "TRUNCATE", "PERSIST"] {
        let world = world(Suite::One);
        let connection = world.open("a.db");
        let setup = format!(
            "PRAGMA page_size=1024; PRAGMA journal_mode={mode}; PRAGMA synchronous=OFF; PRAGMA cache_size=5; \
             CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT)"
        );
        connection.execute_batch(&setup).unwrap();
        fill_with_text(&connection);
        let before = digest(&connection);
        let untouched = fs::read(world.path("a.db")).unwrap();
        connection.execute_batch("BEGIN").unwrap();
        let mut spilled = 0;
        for step in 0..50 {
            let update = "UPDATE t SET s = upper(s) || ?1 WHERE id % 50 = ?1";
            connection.execute(update, [step * 7 % 50]).unwrap();
            let copy = format!("copy-{step}");
            fs::create_dir(world.path(&copy)).unwrap();
            for entry in fs::read_dir(world.dir.path()).unwrap().flatten() {
                let name = entry.file_name().into_string().unwrap();
                if name.starts_with("a.db") && entry.file_type().unwrap().is_file() {
                    fs::copy(entry.path(), world.path(&copy).join(name)).unwrap();
                }
            }
            let audit = world.path(&copy).join("a.db-audit");
            std::os::unix::fs::symlink(world.path("a.db-audit"), audit).unwrap();
            spilled += u32::from(fs::read(world.path(&copy).join("a.db")).unwrap() != untouched);
            let killed = world.open(&format!("{copy}/a.db"));
            assert_eq!(digest(&killed), before, "{mode}, step {step}");
        }
        assert!(spilled > 25, "{mode}: the database was hardly written");
        connection.execute_batch("ROLLBACK").unwrap();
        assert_eq!(digest(&connection), before, "{mode}");
    }
}

/// Goal: a page that nobody needs, torn by a write that failed, does not keep a database with small pages from opening.
/// A new connection reads 4096 bytes first, whatever the page size.
#[test]
fn a_torn_page_behind_the_first_does_not_keep_a_database_from_opening() {
    let world = world(Suite::One);
    let connection = world.open("a.db");
    let setup = "PRAGMA page_size=512; CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT)";
    connection.execute_batch(setup).unwrap();
    fill_with_text(&connection);
    drop(connection);
    let mut bytes = fs::read(world.path("a.db")).unwrap();
    // The seventh page: in the first 4096 bytes, and of the table. Frames begin behind two keyrings and two records
    // (format section 5).
    bytes[2 * 16384 + 2 * 4096 + 6 * (512 + 128) + 7] ^= 1;
    fs::write(world.path("a.db"), bytes).unwrap();
    let connection = world.open("a.db");
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    assert_eq!(one("SELECT s IS NOT NULL FROM t WHERE id = 1500"), Ok(1));
    assert!(one("SELECT sum(length(s)) FROM t").is_err());
}

fn fill_with_text(connection: &Connection) {
    let rows = "WITH c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 1500) \
                INSERT INTO t SELECT x, printf('a text of some length about row %d', x) FROM c";
    connection.execute_batch(rows).unwrap();
}

/// What is in the table, after a check of the whole database.
fn digest(connection: &Connection) -> String {
    let one = |sql: &str| -> String { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(one("PRAGMA integrity_check"), "ok");
    one("SELECT group_concat(s) FROM t")
}

/// Goal: a connection that has only read takes over what others wrote before it empties the log at the end.
#[test]
fn the_last_connection_empties_the_log_though_it_has_only_read() {
    let world = world(Suite::Two);
    let writer = world.open("a.db");
    let reader = world.open("a.db");
    writer
        .query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))
        .unwrap();
    writer
        .execute_batch("CREATE TABLE t(n); INSERT INTO t VALUES(1); INSERT INTO t VALUES(2)")
        .unwrap();
    let count = "SELECT count(*) FROM t";
    let seen: i64 = reader.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 2);
    writer.execute_batch("INSERT INTO t VALUES(3)").unwrap();
    drop(writer);
    drop(reader);
    assert!(!world.path("a.db-wal").exists());
    let seen: i64 = world
        .open("a.db")
        .query_row(count, [], |row| row.get(0))
        .unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn attach_vacuum_into_and_backup_work_across_sealed_and_plain() {
    let world = world(Suite::Three);
    let connection = world.open("a.db");
    fill(&connection, 100);
    let layer = world.sealed.layer();
    let b = world.path("b.db");
    connection
        .execute_batch(&format!(
            "ATTACH 'file:{}?vfs={layer}' AS b; CREATE TABLE b.t AS SELECT * FROM t;
             BEGIN; INSERT INTO t(text) VALUES('{MARKER}'); INSERT INTO b.t(text) VALUES('{MARKER}'); COMMIT;
             VACUUM INTO 'file:{}?vfs={layer}'",
            b.display(),
            world.path("c.db").display()
        ))
        .unwrap();
    check(&world.open("b.db"), 101);
    check(&world.open("c.db"), 101);
    world.assert_nothing_readable();
    let plain_dir = tempfile::tempdir().unwrap();
    let plain = plain_dir.path().join("plain.db");
    connection
        .execute_batch(&format!(
            "ATTACH 'file:{}?vfs=unix' AS p; CREATE TABLE p.t AS SELECT * FROM t; DETACH p",
            plain.display()
        ))
        .unwrap();
    check(&Connection::open(&plain).unwrap(), 101);
    let mut target = world.open("d.db");
    rusqlite::backup::Backup::new(&Connection::open(&plain).unwrap(), &mut target)
        .unwrap()
        .run_to_completion(10, std::time::Duration::ZERO, None)
        .unwrap();
    check(&target, 101);
    world.assert_nothing_readable();
}

#[test]
fn temporary_files_are_sealed_and_mmap_is_refused() {
    let world = world(Suite::One);
    let connection = world.open("a.db");
    fill(&connection, 2000);
    let mmap: i64 = connection
        .query_row("PRAGMA mmap_size=1000000", [], |row| row.get(0))
        .unwrap_or(0);
    assert_eq!(mmap, 0);
    connection
        .execute_batch("PRAGMA temp_store=FILE; PRAGMA cache_size=5; CREATE TEMP TABLE big AS SELECT * FROM t; CREATE INDEX temp.i ON big(text, blob);")
        .unwrap();
    let n: i64 = connection
        .query_row(
            "SELECT count(*) FROM (SELECT DISTINCT text, blob FROM big ORDER BY blob DESC)",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(n, 2000);
}

#[test]
fn a_plain_database_is_refused_in_words() {
    let world = world(Suite::One);
    let plain = world.path("plain.db");
    Connection::open(&plain)
        .unwrap()
        .execute_batch("CREATE TABLE t(n)")
        .unwrap();
    let connection = world.sealed.open(&plain);
    let text = match connection {
        Err(error) => error.to_string(),
        Ok(_) => panic!("a plain database was opened as a sealed one"),
    };
    assert!(text.contains("cofferdam sqlite seal"), "{text}");
}

#[test]
fn pages_cannot_become_smaller_than_sealed_pages() {
    let world = world(Suite::One);
    let connection = world.open("a.db");
    fill(&connection, 50);
    let page_size = |size: i64| {
        connection
            .execute_batch(&format!("PRAGMA page_size={size}; VACUUM"))
            .unwrap();
        check(&connection, 50);
        connection
            .query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    assert_eq!(page_size(1024), 4096);
    assert_eq!(page_size(8192), 8192);
    assert_eq!(page_size(4096), 4096);
}
