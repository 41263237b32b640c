//! Two readers and a writer, who note what worked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cofferdam_sqlite::{Sealed, last_error};
use rusqlite::Connection;

use crate::two_vaults::TwoVaults;

pub(crate) struct Load {
    notes: Arc<Notes>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Notes {
    ends: AtomicBool,
    reads: AtomicU64,
    refused: AtomicU64,
    /// The times of the reads since the last time that nobody could read, newest last.
    served: Mutex<Vec<Instant>>,
    words: Mutex<String>,
    /// Row ids that were acknowledged.
    written: Mutex<Vec<i64>>,
}

impl Load {
    pub(crate) fn start(world: &TwoVaults) -> Load {
        let first = world.sealed.open(&world.path).unwrap();
        first
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
                 CREATE TABLE t(id INTEGER PRIMARY KEY, text);
                 WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i < 2000)
                 INSERT INTO t SELECT i, hex(randomblob(300)) FROM n;",
            )
            .unwrap();
        let notes = Arc::new(Notes::default());
        let mut threads = Vec::new();
        for _ in 0..2 {
            threads.push(spawn(world, &notes, read));
        }
        threads.push(spawn(world, &notes, write));
        Load { notes, threads }
    }

    pub(crate) fn wait_for_reads(&self) {
        let before = self.notes.reads.load(Ordering::Relaxed);
        crate::until("reads", || {
            self.notes.reads.load(Ordering::Relaxed) > before + 50
        });
    }

    pub(crate) fn refused(&self) -> u64 {
        self.notes.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn last_read(&self) -> Instant {
        *self.notes.served.lock().unwrap().last().unwrap()
    }

    pub(crate) fn first_read_after(&self, moment: Instant) -> Duration {
        let served = self.notes.served.lock().unwrap();
        let first = served.iter().find(|&&read| read > moment).unwrap();
        first.saturating_duration_since(moment)
    }

    /// What a reader was told last.
    pub(crate) fn words(&self) -> String {
        self.notes.words.lock().unwrap().clone()
    }

    /// Everything that was acknowledged is there.
    pub(crate) fn check(&self, world: &TwoVaults) {
        let written = self.notes.written.lock().unwrap().clone();
        let connection = world.sealed.open(&world.path).unwrap();
        let mut statement = connection.prepare("SELECT 1 FROM t WHERE id = ?1").unwrap();
        for id in written.iter().rev().take(2000) {
            assert!(
                statement.exists([id]).unwrap(),
                "row {id} was acknowledged and is gone"
            );
        }
    }

    /// How many reads were served and how many writes acknowledged.
    pub(crate) fn stop(self, world: &TwoVaults) -> (u64, usize) {
        self.notes.ends.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let connection = world.sealed.open(&world.path).unwrap();
        let answer: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(answer, "ok");
        let written = self.notes.written.lock().unwrap();
        let mut statement = connection.prepare("SELECT 1 FROM t WHERE id = ?1").unwrap();
        for id in written.iter() {
            assert!(
                statement.exists([id]).unwrap(),
                "row {id} was acknowledged and is gone"
            );
        }
        (self.notes.reads.load(Ordering::Relaxed), written.len())
    }
}

fn spawn(world: &TwoVaults, notes: &Arc<Notes>, work: fn(&Connection, &Notes)) -> JoinHandle<()> {
    let (sealed, path, notes): (Sealed, _, _) =
        (world.sealed.clone(), world.path.clone(), notes.clone());
    thread::spawn(move || {
        let connection = sealed.open(path).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        while !notes.ends.load(Ordering::Relaxed) {
            work(&connection, &notes);
        }
    })
}

fn read(connection: &Connection, notes: &Notes) {
    let id = notes.reads.load(Ordering::Relaxed) % 2000;
    let read = connection.query_row("SELECT text FROM t WHERE id = ?1", [id as i64 + 1], |row| {
        row.get::<_, String>(0)
    });
    match read {
        Ok(_) => {
            let mut served = notes.served.lock().unwrap();
            if served.len() > 100_000 {
                served.drain(..50_000);
            }
            served.push(Instant::now());
            notes.reads.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => {
            notes.refused.fetch_add(1, Ordering::Relaxed);
            *notes.words.lock().unwrap() = last_error().unwrap_or_else(|| error.to_string());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn write(connection: &Connection, notes: &Notes) {
    match connection.execute("INSERT INTO t(text) VALUES(hex(randomblob(100)))", []) {
        Ok(_) => notes
            .written
            .lock()
            .unwrap()
            .push(connection.last_insert_rowid()),
        Err(_) => _ = connection.execute_batch("ROLLBACK"),
    }
    thread::sleep(Duration::from_millis(2));
}
