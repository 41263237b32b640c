//! How what is durable in the journal comes home, and a segment of the journal is freed by that.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, PoisonError};

use cofferdam_keys::FileId;

use super::group::Checksum;
use super::journal::{Journal, Watch};
use super::layers::{Layers, Stage};
use super::segment::{FIRST_GROUP, SegmentHead};
use crate::disk::Disk;
use crate::error::Error;

/// A segment that takes no more groups until what is in it is at home.
pub(super) struct Retiring {
    segment: usize,
    /// The last group in it, and its checksum.
    home: u64,
    home_checksum: Checksum,
    files: BTreeMap<u64, Arc<Layers>>,
    removed: BTreeSet<u64>,
}

impl Retiring {
    /// How many files.
    pub(super) fn count(&self) -> usize {
        self.files.len()
    }
}

/// What is left to do for whoever brings layers home in the background.
pub(crate) enum Work {
    /// A segment is half full.
    Home,
    /// A fence has passed: what waits is sealed, and is to be durable.
    Commit,
}

/// Why layers did not come home.
enum Trouble {
    /// A home could not be opened, for want of descriptors perhaps, or there is no room on the disk. It may be tried again: what was
    /// to be written is in memory and in the journal, and all of it is written then.
    Again(io::Error),
    Failed(io::Error),
}

impl Trouble {
    fn of_write(error: io::Error) -> Trouble {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::Again(error),
            _ => Trouble::Failed(error),
        }
    }
}

impl Journal {
    /// Brings home what is durable in the journal, and frees its segment. Commits go on meanwhile, in the other one.
    ///
    /// # Errors
    /// [`Error::Io`]: the volume is latched then, unless it was a home that could not be opened or had no room. Everything stays
    /// readable, and in the journal.
    pub(crate) fn go_home(&self) -> Result<(), Error> {
        self.check_process()?;
        let _one = self.homing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(retiring) = self.retire()? else {
            return Ok(());
        };
        let _watch = Watch(self);
        let done = self.bring(&retiring).and_then(|homed| {
            // V3.
            let salt = self.begin_life(&retiring).map_err(Trouble::Failed)?;
            Ok((homed, salt))
        });
        let mut state = self.state();
        self.changed.notify_all();
        self.work.notify_all();
        state.homing_failed = done.is_err();
        let ((pieces, bytes), salt) = match done {
            Ok(done) => done,
            Err(Trouble::Again(source)) => {
                let doing = "bringing the journal home, which is tried again";
                return Err(Error::Io { doing, source });
            }
            Err(Trouble::Failed(source)) => {
                state.latched = true;
                let doing = "bringing the journal home";
                return Err(Error::Io { doing, source });
            }
        };
        for file in retiring.files.values() {
            file.homed();
        }
        state.retiring = None;
        state.salts[retiring.segment] = salt;
        state.statistics.homings += 1;
        state.statistics.pages_homed += pieces;
        state.statistics.bytes_homed += bytes;
        for number in &retiring.removed {
            state.files.remove(number);
        }
        for (number, file) in &retiring.files {
            // The list's, and this one.
            if file.is_home() && Arc::strong_count(file) <= 2 {
                state.files.remove(number);
            }
        }
        Ok(())
    }

    /// Lets commits go to the other segment; or answers what an earlier attempt has left.
    fn retire(&self) -> Result<Option<Arc<Retiring>>, Error> {
        let mut state = self.state();
        // Whoever commits next waits: under a storm of them it would never be anybody else's turn.
        state.retirement_waits = true;
        while state.committing {
            state = self.wait(state);
        }
        state.retirement_waits = false;
        self.changed.notify_all();
        if state.latched {
            return Err(Error::Latched);
        }
        if state.retiring.is_none() {
            if state.unhomed.is_empty() && state.unhomed_removed.is_empty() {
                return Ok(None);
            }
            // The other segment is free: the homing before this one has seen to that.
            let segment = state.active;
            state.active = 1 - segment;
            state.end = FIRST_GROUP;
            let retiring = Retiring {
                segment,
                home: state.sequence,
                home_checksum: state.previous,
                files: std::mem::take(&mut state.unhomed),
                removed: std::mem::take(&mut state.unhomed_removed),
            };
            // V2: only what is durable in the journal goes on.
            for file in retiring.files.values() {
                file.advance(Stage::Committed, Stage::Homing);
            }
            state.retiring = Some(Arc::new(retiring));
        }
        Ok(state.retiring.clone())
    }

    /// Writes files home in their order, and makes that durable. A batch is written before any of it is synced, so that the system has
    /// all of it to put in order.
    fn bring(&self, retiring: &Retiring) -> Result<(u64, u64), Trouble> {
        let mut homed = (0, 0);
        let files: Vec<&Arc<Layers>> = retiring.files.values().collect();
        for batch in files.chunks(BATCH) {
            let open = |file: &&Arc<Layers>| self.homes.get_or_make(file.number());
            let homes: io::Result<Vec<Arc<dyn Disk>>> = batch.iter().map(open).collect();
            let homes = homes.map_err(Trouble::Again)?;
            for (file, home) in batch.iter().zip(&homes) {
                let (pieces, bytes) = file.write_home(&**home).map_err(Trouble::of_write)?;
                homed = (homed.0 + pieces, homed.1 + bytes);
            }
            self.sync_all(&homes).map_err(Trouble::Failed)?;
        }
        for number in &retiring.removed {
            self.homes.remove(*number).map_err(Trouble::Failed)?;
        }
        self.directory.sync().map_err(Trouble::Failed)?;
        Ok(homed)
    }

    /// Several at a time: a file system makes one step of its own journal of them.
    fn sync_all(&self, homes: &[Arc<dyn Disk>]) -> io::Result<()> {
        let share = homes.len().div_ceil(SYNC_THREADS).max(1);
        if self.inline_homing || homes.len() < SYNC_THREADS {
            return homes.iter().try_for_each(|home| home.sync());
        }
        std::thread::scope(|scope| {
            let sync = |part: &[Arc<dyn Disk>]| part.iter().try_for_each(|home| home.sync());
            let threads: Vec<_> = homes
                .chunks(share)
                .map(|part| std::thread::Builder::new().spawn_scoped(scope, move || sync(part)))
                .collect();
            let mut all = Ok(());
            for (thread, part) in threads.into_iter().zip(homes.chunks(share)) {
                let synced = match thread.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(synced)) => synced,
                    Ok(Err(_)) => Err(io::Error::other("a thread that synced files panicked")),
                    // No thread to be had.
                    Err(_) => sync(part),
                };
                all = all.and(synced);
            }
            all
        })
    }

    fn begin_life(&self, retiring: &Retiring) -> io::Result<FileId> {
        let salt = FileId::random().map_err(io::Error::other)?;
        let head = SegmentHead {
            volume: self.volume,
            salt,
            home: retiring.home,
            home_checksum: retiring.home_checksum,
        };
        head.store(&*self.segments[retiring.segment])?;
        Ok(salt)
    }

    /// Waits until there is something to do; `None` when the volume is closed.
    pub(crate) fn wait_for_work(&self) -> Option<Work> {
        let mut state = self.state();
        loop {
            if state.closed || state.latched {
                return None;
            }
            if std::mem::take(&mut state.commit_wanted) {
                return Some(Work::Commit);
            }
            if state.has_work(self.limit) {
                return Some(Work::Home);
            }
            let woken = self.work.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Files that are open for a homing at a time.
const BATCH: usize = 64;
const SYNC_THREADS: usize = 4;
