//! Which content a database may have after a crash.
//!
//! Invariants that hold for every case:
//!
//! 1. After a restart each database passes `PRAGMA integrity_check`.
//! 2. Its content is that of one committed state: never a part of a transaction.
//! 3. That state is the last acknowledged one, or the one whose commit was under way. What SQLite
//!    does not promise is allowed on top, and only that: see [`Case::admits`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::crash_vfs::{Disk, Progress};

/// The path of the first database in every world.
pub const MAIN_PATH: &str = "/main.db";
/// The path of the second one, attached as `aux`.
pub const AUX_PATH: &str = "/aux.db";

/// SQLite's journal modes, as far as they survive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// The journal is deleted to commit.
    Delete,
    /// Its header is zeroed to commit.
    Persist,
    /// It is cut to nothing to commit.
    Truncate,
    /// The same with `locking_mode=EXCLUSIVE`: the journal stays open from one transaction to the next.
    TruncateExclusive,
    /// Its header is zeroed to commit, `locking_mode=EXCLUSIVE`.
    PersistExclusive,
    /// A write-ahead log.
    Wal,
    /// A write-ahead log without shared memory, `locking_mode=EXCLUSIVE`.
    WalExclusive,
}

impl Journal {
    /// All of them.
    pub const ALL: [Journal; 7] = [
        Journal::Delete,
        Journal::Persist,
        Journal::PersistExclusive,
        Journal::Truncate,
        Journal::TruncateExclusive,
        Journal::Wal,
        Journal::WalExclusive,
    ];

    /// Whether it is a write-ahead log.
    pub fn is_wal(self) -> bool {
        matches!(self, Journal::Wal | Journal::WalExclusive)
    }

    /// Whether other connections are locked out.
    pub fn is_exclusive(self) -> bool {
        matches!(
            self,
            Journal::PersistExclusive | Journal::TruncateExclusive | Journal::WalExclusive
        )
    }

    /// Its name in SQL.
    pub fn pragma(self) -> &'static str {
        match self {
            Journal::Delete => "DELETE",
            Journal::Persist | Journal::PersistExclusive => "PERSIST",
            Journal::Truncate | Journal::TruncateExclusive => "TRUNCATE",
            Journal::Wal | Journal::WalExclusive => "WAL",
        }
    }
}

/// SQLite's `synchronous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// No sync at all: nothing is promised. Only to show that a test can fail.
    Off,
    /// Whole transactions; with a write-ahead log the last ones may be lost.
    Normal,
    /// Durable commits.
    Full,
    /// Durable commits, also right after the deletion of a journal.
    Extra,
}

/// One way to use SQLite.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// How it commits.
    pub journal: Journal,
    /// How often it syncs.
    pub synchronous: Synchronous,
    /// The size of its pages.
    pub page_size: u32,
    /// The sector size that the disk claims.
    pub sector_size: u32,
}

/// One row: an indexed number and a blob that may span pages.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Stands in an index.
    pub tag: i64,
    /// Stands in the row.
    pub body: Arc<[u8]>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({}, {} bytes)", self.tag, self.body.len())
    }
}

/// The rows of one database by id; nothing when its table was not created yet.
pub type Content = Option<BTreeMap<i64, Row>>;

/// What stands in the two databases of a case after one of its transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The first database.
    pub main: Content,
    /// The second.
    pub aux: Content,
    /// Whether the transaction changed rows of both, and so went through a super-journal.
    pub crosses_files: bool,
}

impl Committed {
    /// Two databases without a table.
    pub const NOTHING: Committed = Committed {
        main: None,
        aux: None,
        crosses_files: false,
    };
}

impl Case {
    /// The disk on which SQLite keeps its promises in this case.
    pub fn disk(&self) -> Disk {
        Disk {
            names_in_order: self.keeps_names_only_in_order(),
            ..Disk::honest(self.sector_size)
        }
    }

    /// SQLite removes the journal and then truncates the database without a sync in between. If only
    /// the second survived, a rollback would miss the pages that were cut off (VACUUM does not put
    /// them into the journal); `synchronous=EXTRA` is for disks where that can happen.
    fn keeps_names_only_in_order(&self) -> bool {
        self.journal == Journal::Delete && self.synchronous != Synchronous::Extra
    }

    /// Whether these contents may be found after a crash, given all states that were committed and
    /// how far the program had come.
    ///
    /// On top of invariant 3 the following is allowed, because SQLite documents it:
    ///
    /// - With a write-ahead log each database is judged for itself: a transaction across files is
    ///   atomic in each of them only.
    /// - With a write-ahead log and `synchronous=NORMAL` any earlier state.
    /// - With `journal_mode=DELETE` and less than `synchronous=EXTRA` the removal of the journal may not be
    ///   durable, and the last transaction that wrote anything is rolled back; not if it went through a
    ///   super-journal.
    pub fn admits(
        &self,
        states: &[Committed],
        progress: Progress,
        main: &Content,
        aux: &Content,
    ) -> bool {
        let newest = progress.acknowledged + usize::from(progress.committing);
        let oldest = match self.synchronous {
            Synchronous::Normal if self.journal.is_wal() => 0,
            _ if self.keeps_names_only_in_order() => before_last_write(states, progress),
            _ => progress.acknowledged,
        };
        let allowed = &states[oldest..states.len().min(newest + 1)];
        if self.journal.is_wal() {
            let main_fits = allowed.iter().any(|state| state.main == *main);
            let aux_fits = allowed.iter().any(|state| state.aux == *aux);
            main_fits && aux_fits
        } else {
            allowed
                .iter()
                .any(|state| state.main == *main && state.aux == *aux)
        }
    }
}

/// Opens the two databases and reads everything in them.
///
/// # Errors
/// What SQLite reports, and what `PRAGMA integrity_check` says.
pub fn read_back(vfs: &str) -> Result<(Content, Content), String> {
    let connection = connect(vfs).map_err(|error| format!("open: {error}"))?;
    let main = read_database(&connection, "main").map_err(|error| format!("main: {error}"))?;
    let aux = read_database(&connection, "aux").map_err(|error| format!("aux: {error}"))?;
    close(connection)?;
    Ok((main, aux))
}

/// Writes to databases that were just recovered, and reads them back.
///
/// # Errors
/// What SQLite reports, and a row that is missing afterwards.
pub fn write_and_read_back(vfs: &str) -> Result<(), String> {
    let connection = connect(vfs).map_err(|error| error.to_string())?;
    let write = "BEGIN;
        CREATE TABLE main.later(x); INSERT INTO main.later VALUES(zeroblob(70000));
        CREATE TABLE aux.later(x); INSERT INTO aux.later VALUES(zeroblob(70000));
        COMMIT;";
    connection
        .execute_batch(write)
        .map_err(|error| format!("write after recovery: {error}"))?;
    close(connection)?;
    let connection = connect(vfs).map_err(|error| error.to_string())?;
    for database in ["main", "aux"] {
        read_database(&connection, database)?;
        let sql = format!("SELECT sum(length(x)) FROM {database}.later");
        let len: i64 = connection
            .query_row(&sql, [], |row| row.get(0))
            .map_err(|error| format!("read after recovery: {error}"))?;
        if len != 70_000 {
            return Err(format!("{database}: a row written after recovery is gone"));
        }
    }
    close(connection)
}

/// Opens both databases of a world without waiting for locks.
///
/// # Errors
/// What SQLite reports.
pub fn connect(vfs: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = Connection::open_with_flags_and_vfs(MAIN_PATH, flags, vfs)?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.execute("ATTACH ? AS aux", [AUX_PATH])?;
    Ok(connection)
}

/// Closes a connection; it must not matter whether that fails, except that nothing may stay open.
///
/// # Errors
/// What SQLite reports.
pub fn close(connection: Connection) -> Result<(), String> {
    connection
        .close()
        .map_err(|(_, error)| format!("close: {error}"))
}

/// The state that is left when the removal of the last journal is lost.
fn before_last_write(states: &[Committed], progress: Progress) -> usize {
    let mut state = progress.acknowledged;
    while state > 0 && !states[state].crosses_files {
        state -= 1;
        if states[state].main != states[state + 1].main
            || states[state].aux != states[state + 1].aux
        {
            break;
        }
    }
    state
}

fn read_database(connection: &Connection, database: &str) -> Result<Content, String> {
    let text = |error: rusqlite::Error| error.to_string();
    let sql = format!("PRAGMA {database}.integrity_check");
    let verdict: String = connection
        .query_row(&sql, [], |row| row.get(0))
        .map_err(|error| format!("integrity_check: {error}"))?;
    if verdict != "ok" {
        return Err(format!("integrity_check: {verdict}"));
    }
    let sql = format!("SELECT count(*) FROM {database}.sqlite_schema WHERE name = 't'");
    let tables: i64 = connection
        .query_row(&sql, [], |row| row.get(0))
        .map_err(text)?;
    if tables == 0 {
        return Ok(None);
    }
    let sql = format!("SELECT id, tag, body FROM {database}.t");
    let mut statement = connection.prepare(&sql).map_err(text)?;
    let rows = statement
        .query_map([], |row| {
            let body: Vec<u8> = row.get(2)?;
            let body = body.into();
            Ok((
                row.get(0)?,
                Row {
                    tag: row.get(1)?,
                    body,
                },
            ))
        })
        .map_err(text)?;
    rows.collect::<Result<_, _>>().map(Some).map_err(text)
}
