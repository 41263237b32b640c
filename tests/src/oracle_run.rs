//! A program that commits seeded random transactions and knows what it committed.

use std::collections::BTreeMap;

use rusqlite::types::FromSql;
use rusqlite::{Connection, params};

use crate::crash_vfs::{Progress, World};
use crate::oracle::{Case, Committed, Content, Journal, Row, Synchronous, connect};
use crate::random::Random;

/// A run of random transactions against one world.
pub struct Run<'a> {
    case: Case,
    world: &'a World,
    vfs: &'a str,
    random: Random,
    /// The state after each commit; the first is the empty one. The last may not be acknowledged.
    states: Vec<Committed>,
    acknowledged: usize,
    connection: Option<Connection>,
    reader: Option<Reader>,
}

/// Another connection in the middle of a read transaction.
struct Reader {
    connection: Connection,
    seen: i64,
}

/// Why a run ended before its last step.
#[derive(Debug)]
pub enum Stopped {
    /// SQLite reported an error to the program.
    Reported(rusqlite::Error),
    /// SQLite reported nothing, and what it did is wrong.
    Wrong(String),
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Stopped {
        Stopped::Reported(error)
    }
}

type Step = Result<(), Stopped>;

impl<'a> Run<'a> {
    /// A run in an empty world. `vfs` is the world's own or one that stands on it.
    pub fn new(case: Case, world: &'a World, vfs: &'a str, seed: u64) -> Run<'a> {
        world.note(Progress::default());
        Run {
            case,
            world,
            vfs,
            random: Random::new(seed),
            states: vec![Committed::NOTHING],
            acknowledged: 0,
            connection: None,
            reader: None,
        }
    }

    /// Creates the databases and takes that many random steps. Everything is closed afterwards,
    /// whatever happened.
    ///
    /// # Errors
    /// The first error that SQLite reported, or the first wrong answer.
    pub fn steps(&mut self, count: usize) -> Step {
        let result = self.open_and_step(count);
        let closed = self.close();
        result.and(closed)
    }

    /// The states that were committed, in order.
    pub fn into_states(self) -> Vec<Committed> {
        self.states
    }

    fn open_and_step(&mut self, count: usize) -> Step {
        self.open()?;
        for database in ["main", "aux"] {
            self.create_table(database)?;
        }
        for _ in 0..count {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Step {
        match self.random.below(100) {
            0..50 => self.transaction(&["main"]),
            50..62 => self.transaction(&["main", "aux"]),
            62..68 => self.transaction(&["aux"]),
            68..73 => self.reopen(),
            73..78 => self.pragma_commit("PRAGMA incremental_vacuum(3)"),
            78..81 => self.vacuum(),
            81..91 if self.case.journal.is_wal() => self.checkpoint(),
            91..97 if self.case.journal == Journal::Wal => self.toggle_reader(),
            _ => self.transaction(&["main"]),
        }
    }

    fn open(&mut self) -> Step {
        let Case {
            journal, page_size, ..
        } = self.case;
        let synchronous = match self.case.synchronous {
            Synchronous::Off => "OFF",
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
            Synchronous::Extra => "EXTRA",
        };
        // The switch to a write-ahead log goes through a rollback journal, which needs more syncs.
        let while_switching = match self.case.synchronous {
            Synchronous::Normal => "EXTRA",
            _ => synchronous,
        };
        let locking = match journal.is_exclusive() {
            true => "EXCLUSIVE",
            false => "NORMAL",
        };
        let connection = connect(self.vfs)?;
        for database in ["main", "aux"] {
            connection.execute_batch(&format!(
                "PRAGMA {database}.synchronous = {while_switching};
                 PRAGMA {database}.page_size = {page_size};
                 PRAGMA {database}.auto_vacuum = INCREMENTAL;
                 PRAGMA {database}.cache_size = 8;
                 PRAGMA {database}.locking_mode = {locking};"
            ))?;
            let sql = format!("PRAGMA {database}.journal_mode = {}", journal.pragma());
            let mode: String = to_completion(&connection, &sql)?;
            if !mode.eq_ignore_ascii_case(journal.pragma()) {
                return Err(Stopped::Wrong(format!("journal mode is {mode}")));
            }
            connection.execute_batch(&format!("PRAGMA {database}.synchronous = {synchronous}"))?;
        }
        connection.execute_batch("PRAGMA wal_autocheckpoint = 20; PRAGMA cache_spill = 4;")?;
        self.connection = Some(connection);
        Ok(())
    }

    fn close(&mut self) -> Step {
        let reader = self.reader.take().map(|reader| reader.connection);
        let mut result = Ok(());
        for connection in [reader, self.connection.take()].into_iter().flatten() {
            if let Err((_, error)) = connection.close() {
                result = Err(Stopped::Reported(error));
            }
        }
        result
    }

    fn reopen(&mut self) -> Step {
        self.close()?;
        self.open()
    }

    fn create_table(&mut self, database: &str) -> Step {
        let exists = self.newest(database).is_some();
        assert!(!exists, "a run begins in an empty world");
        let mut next = self.next_state();
        *content_mut(&mut next, database) = Some(BTreeMap::new());
        let sql = format!(
            "BEGIN;
             CREATE TABLE {database}.t(id INTEGER PRIMARY KEY, tag INTEGER, body BLOB);
             CREATE INDEX {database}.t_tag ON t(tag);"
        );
        self.connection().execute_batch(&sql)?;
        self.commit(next, "COMMIT")
    }

    /// One transaction of several statements, some of them undone by a savepoint; one in eight is
    /// rolled back.
    fn transaction(&mut self, databases: &[&str]) -> Step {
        let mut next = self.next_state();
        self.connection().execute_batch("BEGIN")?;
        for database in databases {
            let mut content = content_mut(&mut next, database)
                .take()
                .expect("tables are created before the first transaction");
            for _ in 0..1 + self.random.below(4) {
                self.savepoint(database, &mut content)?;
            }
            *content_mut(&mut next, database) = Some(content);
        }
        if self.random.chance(12) {
            self.connection().execute_batch("ROLLBACK")?;
            return Ok(());
        }
        self.commit(next, "COMMIT")
    }

    fn savepoint(&mut self, database: &str, content: &mut BTreeMap<i64, Row>) -> Step {
        if self.random.chance(60) {
            return self.statement(database, content);
        }
        let before = content.clone();
        self.connection().execute_batch("SAVEPOINT s")?;
        for _ in 0..1 + self.random.below(3) {
            self.statement(database, content)?;
        }
        if self.random.chance(50) {
            self.connection().execute_batch("ROLLBACK TO s")?;
            *content = before;
        }
        self.connection().execute_batch("RELEASE s")?;
        Ok(())
    }

    fn statement(&mut self, database: &str, content: &mut BTreeMap<i64, Row>) -> Step {
        match self.random.below(10) {
            0..5 => self.insert(database, content),
            5..8 => self.update(database, content),
            _ => self.delete(database, content),
        }
    }

    fn insert(&mut self, database: &str, content: &mut BTreeMap<i64, Row>) -> Step {
        let sql = format!("INSERT OR REPLACE INTO {database}.t VALUES(?, ?, ?)");
        for _ in 0..1 + self.random.below(6) {
            let id = self.random.below(40) as i64;
            let row = self.row();
            self.connection()
                .execute(&sql, params![id, row.tag, &row.body[..]])?;
            content.insert(id, row);
        }
        Ok(())
    }

    /// Changes all rows of a range in one statement.
    fn update(&mut self, database: &str, content: &mut BTreeMap<i64, Row>) -> Step {
        let first = self.random.below(40) as i64;
        let last = first + self.random.below(10) as i64;
        let new = self.row();
        let sql = format!("UPDATE {database}.t SET tag = ?, body = ? WHERE id BETWEEN ? AND ?");
        let changed = self
            .connection()
            .execute(&sql, params![new.tag, &new.body[..], first, last])?;
        let mut expected = 0;
        for (_, row) in content.range_mut(first..=last) {
            *row = new.clone();
            expected += 1;
        }
        counted(changed, expected)
    }

    fn delete(&mut self, database: &str, content: &mut BTreeMap<i64, Row>) -> Step {
        let first = self.random.below(40) as i64;
        let last = first + self.random.below(20) as i64;
        let sql = format!("DELETE FROM {database}.t WHERE id BETWEEN ? AND ?");
        let changed = self.connection().execute(&sql, params![first, last])?;
        let before = content.len();
        content.retain(|id, _| !(first..=last).contains(id));
        counted(changed, before - content.len())
    }

    /// A row that fills a part of a page, or a few pages.
    fn row(&mut self) -> Row {
        let page = u64::from(self.case.page_size);
        let len = match self.random.below(10) {
            0..6 => self.random.below(page / 4),
            6..9 => self.random.below(page),
            _ => self.random.below(3 * page),
        };
        Row {
            tag: self.random.below(1000) as i64,
            body: self.random.bytes(len as usize).into(),
        }
    }

    fn vacuum(&mut self) -> Step {
        if self.reader.is_some() {
            return Ok(());
        }
        self.pragma_commit("VACUUM")
    }

    /// A statement that rewrites pages and changes no row, in a transaction of its own.
    fn pragma_commit(&mut self, sql: &str) -> Step {
        let next = self.next_state();
        self.commit(next, sql)
    }

    /// Checkpoints may be kept from finishing by the reader; that is a row, not an error.
    fn checkpoint(&mut self) -> Step {
        let mode = *self
            .random
            .pick(&["PASSIVE", "FULL", "RESTART", "TRUNCATE"]);
        let database = *self.random.pick(&["main.", "aux.", ""]);
        let sql = format!("PRAGMA {database}wal_checkpoint({mode})");
        let _busy: i64 = to_completion(self.connection(), &sql)?;
        Ok(())
    }

    /// Begins a read transaction on a second connection, or checks that it still sees what it saw.
    fn toggle_reader(&mut self) -> Step {
        const SQL: &str = "SELECT coalesce(sum(id * 1000003 + tag + length(body)), 0) FROM t";
        let Some(reader) = self.reader.take() else {
            let connection = connect(self.vfs)?;
            connection.execute_batch("BEGIN")?;
            let seen = connection.query_row(SQL, [], |row| row.get(0))?;
            self.reader = Some(Reader { connection, seen });
            return Ok(());
        };
        let seen: i64 = reader.connection.query_row(SQL, [], |row| row.get(0))?;
        if seen != reader.seen {
            let text = "a read transaction saw a later commit";
            return Err(Stopped::Wrong(text.to_owned()));
        }
        match reader.connection.close() {
            Ok(()) => Ok(()),
            Err((_, error)) => Err(Stopped::Reported(error)),
        }
    }

    /// Runs the statement that commits, and notes before and after how far things are.
    fn commit(&mut self, mut next: Committed, sql: &str) -> Step {
        assert_eq!(self.states.len(), self.acknowledged + 1);
        let newest = &self.states[self.acknowledged];
        next.crosses_files = next.main != newest.main && next.aux != newest.aux;
        self.states.push(next);
        self.note(true);
        self.connection().execute_batch(sql)?;
        self.acknowledged += 1;
        self.note(false);
        Ok(())
    }

    fn note(&self, committing: bool) {
        self.world.note(Progress {
            acknowledged: self.acknowledged,
            committing,
        });
    }

    fn next_state(&self) -> Committed {
        let newest = self.states.last().expect("there is a first state");
        Committed {
            crosses_files: false,
            ..newest.clone()
        }
    }

    fn newest(&mut self, database: &str) -> Content {
        let mut newest = self.next_state();
        content_mut(&mut newest, database).take()
    }

    fn connection(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("a run is open while it takes steps")
    }
}

fn content_mut<'s>(state: &'s mut Committed, database: &str) -> &'s mut Content {
    match database {
        "main" => &mut state.main,
        _ => &mut state.aux,
    }
}

/// Runs a statement that answers with one row to its end: a change of journal mode commits after
/// its row, and an error of that commit must not be lost.
fn to_completion<T: FromSql>(connection: &Connection, sql: &str) -> rusqlite::Result<T> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut answer = None;
    while let Some(row) = rows.next()? {
        answer = Some(row.get(0)?);
    }
    answer.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

fn counted(changed: usize, expected: usize) -> Step {
    if changed == expected {
        return Ok(());
    }
    let text = format!("{changed} rows changed instead of {expected}");
    Err(Stopped::Wrong(text))
}
