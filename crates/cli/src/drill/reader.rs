//! Somebody who reads all the time, and notes when it worked.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use cofferdam_sqlite::{Sealed, last_error};
use rusqlite::{Connection, OpenFlags};

use crate::failure::Failure;

pub(crate) struct Reader {
    notes: Arc<Mutex<Notes>>,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Notes {
    served: u64,
    refused: u64,
    last_served: Option<Instant>,
    /// The first read after a refusal.
    back_at: Option<Instant>,
    was_refused: bool,
    words: String,
}

impl Reader {
    pub(crate) fn start(sealed: &Sealed, path: &Path) -> Result<Reader, Failure> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_FULL_MUTEX;
        let connection = sealed.open_with(path, flags)?;
        let notes = Arc::new(Mutex::new(Notes::default()));
        let ends = Arc::new(AtomicBool::new(false));
        let thread = {
            let (notes, ends) = (notes.clone(), ends.clone());
            thread::spawn(move || read_until(&connection, &notes, &ends))
        };
        Ok(Reader {
            notes,
            ends,
            thread,
        })
    }

    pub(crate) fn served(&self) -> u64 {
        self.notes().served
    }

    pub(crate) fn refused(&self) -> u64 {
        self.notes().refused
    }

    pub(crate) fn last_served(&self) -> Option<Instant> {
        self.notes().last_served
    }

    /// What the reader was told when it was refused.
    pub(crate) fn words(&self) -> String {
        self.notes().words.clone()
    }

    pub(crate) fn first_served_after(&self, moment: Instant) -> Option<Duration> {
        let back_at = self.notes().back_at?;
        Some(back_at.saturating_duration_since(moment))
    }

    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| Failure::refused("the drill's reader failed"))
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.notes)
    }
}

fn read_until(connection: &Connection, notes: &Mutex<Notes>, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        let read = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
            row.get::<_, i64>(0)
        });
        let now = Instant::now();
        let mut notes = lock(notes);
        match read {
            Ok(_) => {
                notes.served += 1;
                notes.last_served = Some(now);
                if std::mem::take(&mut notes.was_refused) {
                    notes.back_at = Some(now);
                }
            }
            Err(error) => {
                notes.refused += 1;
                notes.was_refused = true;
                notes.words = last_error().unwrap_or_else(|| error.to_string());
                drop(notes);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

fn lock(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}
