//! Appending to a log.
//!
//! Invariants, in the order in which an append keeps them:
//!
//! 1. Only the holder of the exclusive lock on `lock` writes.
//! 2. What is appended to is what the newest checkpoint on disk signs, and that is a continuation of
//!    everything this process has seen.
//! 3. Entries are durable before a checkpoint covers them; whole bundles and tiles are durable under
//!    their own names before `tail` moves on to the next bundle.
//! 4. The checkpoint is replaced at once, and durable before the caller hears of success.
//! 5. What lies beyond the checkpoint is overwritten, never completed: nobody has signed for it.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::anchor::{self, Anchor};
use crate::append;
use crate::checkpoint::Checkpoint;
use crate::entry::{EventId, LoggedEvent};
use crate::error::AuditError;
use crate::event::{Actor, Event, Source};
use crate::files::{DiskFiles, Files};
use crate::load::{self, TAIL, Unfinished};
use crate::note::{Signer, VerifierKey};
use crate::reader::{CHECKPOINT, LogReader};
use crate::tile::{self, Kind, WIDTH};
use crate::time::Clock;
use crate::verify_error::VerifyError;

/// Where events go. The one seam of this crate.
///
/// `record` returns only when the event is durable and covered by a signed checkpoint. When it fails,
/// the event may or may not be in the log, and a custodian's action that it was to record MUST NOT
/// be carried out. Several threads may call it at once.
pub trait Sink: Send + Sync {
    /// Records one event.
    ///
    /// # Errors
    /// The event breaks a rule or is too large; the log was replaced, rolled back or damaged; or the
    /// disk refused.
    fn record(&self, event: &Event) -> Result<Recorded, AuditError>;
}

/// Where an event stands in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Number of the event, from 0.
    pub index: u64,
}

/// A log open for appending. Several processes may hold the same log open.
///
/// After a failed write it refuses everything until it is opened again.
pub struct AuditLog {
    files: Arc<dyn Files>,
    lock: Option<File>,
    signer: Signer,
    clock: Clock,
    actor: Option<Actor>,
    source: Option<Source>,
    /// What this process knows of the log; `None` after a failed write.
    state: Mutex<Option<State>>,
}

/// The log as of one checkpoint.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) unfinished: Unfinished,
}

impl AuditLog {
    /// Opens the log in `dir`, or creates it. `origin` is the log's name, a URL without scheme;
    /// `seed` is the seed of its Ed25519 key.
    ///
    /// # Errors
    /// The origin is malformed; the log belongs to another key; it is damaged; or the disk refused.
    pub fn open_or_create(
        dir: &Path,
        origin: &str,
        seed: &[u8; 32],
        clock: Clock,
    ) -> Result<AuditLog, AuditError> {
        let signer = Signer::new(origin, seed)?;
        create_durably(dir).map_err(io("create", &dir.display().to_string()))?;
        let path = dir.join("lock");
        let mut options = File::options();
        let lock = options.write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(io("open", "lock"))?;
        AuditLog::with_files(Arc::new(DiskFiles::new(dir)), Some(lock), signer, clock)
    }

    pub(crate) fn with_files(
        files: Arc<dyn Files>,
        lock: Option<File>,
        signer: Signer,
        clock: Clock,
    ) -> Result<AuditLog, AuditError> {
        let state = {
            let _held = Held::take(lock.as_ref(), &*files)?;
            open(&*files, &signer)?
        };
        let state = Mutex::new(Some(state));
        Ok(AuditLog {
            files,
            lock,
            signer,
            clock,
            actor: None,
            source: None,
            state,
        })
    }

    /// The same log, naming this actor in every event that names none.
    pub fn with_actor(self, actor: Actor) -> AuditLog {
        AuditLog {
            actor: Some(actor),
            ..self
        }
    }

    /// The same log, naming this source in every event that names none.
    pub fn with_source(self, source: Source) -> AuditLog {
        AuditLog {
            source: Some(source),
            ..self
        }
    }

    /// The key that verifies this log.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.signer.key
    }

    /// The newest checkpoint on disk, once it is known to continue what this process has seen.
    ///
    /// # Errors
    /// The log was replaced, rolled back or damaged; or the disk refused.
    pub fn checkpoint(&self) -> Result<Checkpoint, AuditError> {
        let mut held = self.state.lock().map_err(|_| AuditError::Poisoned)?;
        let known = held.as_ref().ok_or(AuditError::Poisoned)?;
        let _lock = Held::take(self.lock.as_ref(), &*self.files)?;
        let state = self.refresh(known)?;
        let checkpoint = state.checkpoint.clone();
        *held = Some(state);
        Ok(checkpoint)
    }

    /// Records several events under one lock and one checkpoint, all of them or none, and returns
    /// their numbers.
    ///
    /// # Errors
    /// As [`Sink::record`].
    pub fn record_all(&self, events: &[Event]) -> Result<Range<u64>, AuditError> {
        let mut held = self.state.lock().map_err(|_| AuditError::Poisoned)?;
        let known = held.as_ref().ok_or(AuditError::Poisoned)?;
        let _lock = Held::take(self.lock.as_ref(), &*self.files)?;
        let before = self.refresh(known)?;
        let first = before.checkpoint.size();
        let entries = self.encode(first, events)?;
        if entries.is_empty() {
            return Ok(first..first);
        }
        // Taken while writing: an error or a panic on the way leaves the log refusing.
        *held = None;
        let after = append::append(&*self.files, &self.signer, before, &entries)?;
        let size = after.checkpoint.size();
        *held = Some(after);
        self.move_anchors(events, size);
        Ok(first..size)
    }

    /// The newest keyring sequence recorded for a store, from a log that this process has open.
    ///
    /// # Errors
    /// As [`AuditLog::anchored_sequence`].
    pub fn newest_sequence(&self, store_id_hex: &str) -> Result<Option<u64>, AuditError> {
        newest_sequence(Arc::clone(&self.files), store_id_hex, &self.signer.key)
    }

    /// Whether there is a log in `dir`: a directory without a checkpoint is none.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join(CHECKPOINT).is_file()
    }

    /// The newest keyring sequence that the log in `dir` has recorded with success for a store; `None`
    /// when it has recorded none or there is no log. The answer is as good as `key`: take it from the
    /// store's audit seed ([`VerifierKey::from_seed`]), not from the log's own directory.
    ///
    /// # Errors
    /// The log is not signed by `key`, was truncated, or is damaged; or the disk refused.
    pub fn anchored_sequence(
        dir: &Path,
        store_id_hex: &str,
        key: &VerifierKey,
    ) -> Result<Option<u64>, AuditError> {
        newest_sequence(Arc::new(DiskFiles::new(dir)), store_id_hex, key)
    }

    /// Invariant 2: what is on disk, provided that it continues what is known.
    fn refresh(&self, known: &State) -> Result<State, AuditError> {
        let note = load::read(&*self.files, CHECKPOINT).map_err(damaged)?;
        if note == known.checkpoint.note() {
            return Ok(known.clone());
        }
        let found = Checkpoint::open(&note, &self.signer.key).map_err(|_| checkpoint_damaged())?;
        let (size, seen) = (found.size(), known.checkpoint.size());
        if size < seen {
            return Err(AuditError::RolledBack {
                known: seen,
                found: size,
            });
        }
        let unfinished = load::advance(&*self.files, &known.unfinished, size, found.root());
        let unfinished = unfinished.map_err(|error| match error {
            VerifyError::Io { .. } => damaged(error),
            _ => AuditError::Forked { size },
        })?;
        Ok(State {
            checkpoint: found,
            unfinished,
        })
    }

    fn encode(&self, first: u64, events: &[Event]) -> Result<Vec<Vec<u8>>, AuditError> {
        let mut entries = Vec::with_capacity(events.len());
        for (index, event) in (first..).zip(events) {
            let mut event = event.clone();
            event.actor = event.actor.or_else(|| self.actor.clone());
            event.source = event.source.or_else(|| self.source.clone());
            let time = (self.clock)();
            let id = EventId::random(time)?;
            entries.push(LoggedEvent::new(index, id, time, event).encode()?);
        }
        Ok(entries)
    }

    /// Renews the anchors of the stores that `events` speak of. The events are recorded already, and
    /// whoever reads an anchor looks at the events after it; so a failure here costs time, not truth.
    fn move_anchors(&self, events: &[Event], size: u64) {
        let mut stores: Vec<&str> = events.iter().filter_map(|e| Some(e.anchors()?.0)).collect();
        stores.sort_unstable();
        stores.dedup();
        for store in stores {
            if let Ok(Some(sequence)) = self.newest_sequence(store) {
                let note = Anchor { sequence, size }.sign(store, &self.signer);
                let path = anchor::path(store);
                let temporary = format!("{path}.tmp");
                let _ = self
                    .files
                    .create_dir(anchor::DIR)
                    .and_then(|()| self.files.write(&temporary, 0, &note, true))
                    .and_then(|()| self.files.rename(&temporary, &path));
            }
        }
    }
}

impl Sink for AuditLog {
    fn record(&self, event: &Event) -> Result<Recorded, AuditError> {
        let numbers = self.record_all(std::slice::from_ref(event))?;
        Ok(Recorded {
            index: numbers.start,
        })
    }
}

impl<T: Sink + ?Sized> Sink for Arc<T> {
    fn record(&self, event: &Event) -> Result<Recorded, AuditError> {
        (**self).record(event)
    }
}

fn newest_sequence(
    files: Arc<dyn Files>,
    store_id_hex: &str,
    key: &VerifierKey,
) -> Result<Option<u64>, AuditError> {
    if load::optional(&*files, CHECKPOINT)
        .map_err(damaged)?
        .is_none()
    {
        let anchor = load::optional(&*files, &anchor::path(store_id_hex)).map_err(damaged)?;
        return if anchor.is_some() {
            Err(checkpoint_damaged())
        } else {
            Ok(None)
        };
    }
    let mut seen = None;
    loop {
        let mut reader = LogReader::with_files(Arc::clone(&files), key).map_err(damaged)?;
        let size = reader.checkpoint().size();
        match anchor::newest(&mut reader, key, store_id_hex) {
            // Another process may have appended between our look at the checkpoint and at the anchor.
            Err(VerifyError::Truncated { .. }) if seen.is_none_or(|seen| size > seen) => {
                seen = Some(size);
            }
            answer => return answer.map_err(damaged),
        }
    }
}

/// Opens the log that is there, or makes one; repairs what a crash may have left of files that are
/// written without waiting for the disk.
fn open(files: &dyn Files, signer: &Signer) -> Result<State, AuditError> {
    let key = format!("{}\n", signer.key).into_bytes();
    let vkey = load::optional(files, VKEY).map_err(damaged)?;
    let note = load::optional(files, CHECKPOINT).map_err(damaged)?;
    if vkey.as_ref().is_some_and(|vkey| *vkey != key) {
        return Err(AuditError::OtherKey);
    }
    let checkpoint = match &note {
        Some(note) => Checkpoint::open(note, &signer.key).map_err(|_| match vkey {
            Some(_) => checkpoint_damaged(),
            None => AuditError::OtherKey,
        })?,
        None => create(files, signer)?,
    };
    if vkey.is_none() {
        append::place(files, &[(VKEY.to_owned(), &key)])?;
    }
    let unfinished = load::load(files, checkpoint.size(), checkpoint.root()).map_err(damaged)?;
    let state = State {
        checkpoint,
        unfinished,
    };
    append::repair(files, &state)?;
    if note.is_none() {
        append::place(files, &[(CHECKPOINT.to_owned(), state.checkpoint.note())])?;
    }
    Ok(state)
}

/// The first checkpoint, of an empty log. A directory that holds entries but no checkpoint is not empty.
fn create(files: &dyn Files, signer: &Signer) -> Result<Checkpoint, AuditError> {
    let signs = [
        (TAIL.to_owned(), tile::tail_head(0).len()),
        (tile::full_path(Kind::Entries, 0), 0),
        (tile::full_path(Kind::Level(0), 0), 0),
        (tile::partial_path(Kind::Entries, 0, 1), 0),
    ];
    for (path, empty_len) in signs {
        if load::optional(files, &path)
            .map_err(damaged)?
            .is_some_and(|bytes| bytes.len() > empty_len)
        {
            return Err(checkpoint_damaged());
        }
    }
    Ok(Checkpoint::sign(0, crate::merkle::empty_root(), signer))
}

/// Creates a directory and makes its name durable.
fn create_durably(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The exclusive lock, until dropped.
struct Held<'a>(Option<&'a File>);

impl<'a> Held<'a> {
    fn take(lock: Option<&'a File>, files: &dyn Files) -> Result<Held<'a>, AuditError> {
        if let Some(file) = lock {
            // Whoever appends replaces the checkpoint.
            let stage = || load::optional(files, CHECKPOINT).ok().flatten();
            crate::lock::take(file, stage).map_err(io("lock", "lock"))?;
        }
        Ok(Held(lock))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(file) = self.0 {
            // Closing the file releases the lock too, should this fail.
            let _ = file.unlock();
        }
    }
}

pub(crate) fn io(operation: &'static str, path: &str) -> impl FnOnce(std::io::Error) -> AuditError {
    move |source| AuditError::Io {
        operation,
        path: path.into(),
        source,
    }
}

fn damaged(error: VerifyError) -> AuditError {
    match error {
        VerifyError::Io { path, source } => AuditError::Io {
            operation: "read",
            path,
            source,
        },
        VerifyError::Entries { bundle } => entries_damaged(bundle),
        VerifyError::Event {
            index: Some(index), ..
        } => entries_damaged(index / WIDTH),
        VerifyError::Missing { file } => AuditError::Damaged { file },
        VerifyError::Tile { level, index } => {
            let file = tile::full_path(Kind::Level(level.into()), index);
            AuditError::Damaged { file }
        }
        VerifyError::Truncated { remembered, found } => AuditError::RolledBack {
            known: remembered,
            found,
        },
        _ => checkpoint_damaged(),
    }
}

fn entries_damaged(bundle: u64) -> AuditError {
    AuditError::Damaged {
        file: tile::full_path(Kind::Entries, bundle),
    }
}

fn checkpoint_damaged() -> AuditError {
    AuditError::Damaged {
        file: CHECKPOINT.to_owned(),
    }
}

/// Text of the log's public key.
pub(crate) const VKEY: &str = "log.vkey";
