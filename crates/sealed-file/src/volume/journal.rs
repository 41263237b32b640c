//! The redo journal: what was written to any file of the volume becomes durable here first, all of it at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cofferdam_keys::{FileId, Monotonic, StoreId};

use super::directory::{Directory, Part};
use super::group::{Checksum, GroupHead, GroupWriter};
use super::layers::{Layers, Stage};
use super::recovery::Recovered;
use super::segment::{FIRST_GROUP, SegmentHead};
use super::statistics::VolumeStatistics;
use crate::disk::Disk;
use crate::error::Error;

/// The journal of one volume, and the layers of its files.
pub(crate) struct Journal {
    pub(super) directory: Arc<dyn Directory>,
    volume: StoreId,
    segments: [Box<dyn Disk>; 2],
    /// A segment that has reached this many bytes takes no more groups.
    limit: u64,
    inline_homing: bool,
    monotonic: Monotonic,
    state: Mutex<State>,
    changed: Condvar,
    /// Held by whoever brings layers home.
    homing: Mutex<()>,
}

pub(super) struct State {
    files: HashMap<u64, Arc<Layers>>,
    /// Files that the next commit has something to say about.
    dirty: BTreeMap<u64, Arc<Layers>>,
    /// Files that the next commit removes.
    removed: BTreeSet<u64>,
    dirty_bytes: u64,
    /// The number of the batch that is being collected; the one before may be on its way to the disk.
    batch: u64,
    /// Batches up to this one are durable.
    durable: u64,
    committing: bool,
    /// A write or sync failed: what is durable is not known any more, so nothing more is promised.
    latched: bool,
    /// Nobody waits for homing to go on.
    closed: bool,
    active: usize,
    salts: [FileId; 2],
    /// Where the next group begins.
    end: u64,
    sequence: u64,
    previous: Checksum,
    /// Files with something in the journal that is not at home.
    unhomed: BTreeMap<u64, Arc<Layers>>,
    unhomed_removed: BTreeSet<u64>,
    statistics: VolumeStatistics,
}

/// How a journal is run.
#[derive(Clone, Copy)]
pub(crate) struct JournalTerms {
    pub(crate) volume: StoreId,
    pub(crate) limit: u64,
    pub(crate) inline_homing: bool,
    pub(crate) monotonic: Monotonic,
}

impl Journal {
    /// A journal whose groups are all at home: recovery comes before.
    pub(crate) fn begin(
        directory: Arc<dyn Directory>,
        terms: JournalTerms,
        recovered: &Recovered,
    ) -> Result<Journal, Error> {
        let open = |index| {
            directory
                .create(Part::Segment(index))
                .map_err(Error::io("opening the journal"))
        };
        let segments = [open(0)?, open(1)?];
        Ok(Journal {
            directory,
            volume: terms.volume,
            segments,
            limit: terms.limit,
            inline_homing: terms.inline_homing,
            monotonic: terms.monotonic,
            state: Mutex::new(State {
                files: HashMap::new(),
                dirty: BTreeMap::new(),
                removed: BTreeSet::new(),
                dirty_bytes: 0,
                batch: 1,
                durable: 0,
                committing: false,
                latched: false,
                closed: false,
                active: 0,
                salts: recovered.salts,
                end: FIRST_GROUP,
                sequence: recovered.sequence,
                previous: recovered.checksum,
                unhomed: BTreeMap::new(),
                unhomed_removed: BTreeSet::new(),
                statistics: VolumeStatistics::default(),
            }),
            changed: Condvar::new(),
            homing: Mutex::new(()),
        })
    }

    /// A file's layers, the same for everybody who asks.
    pub(crate) fn file(&self, number: u64) -> io::Result<Arc<Layers>> {
        let mut state = self.state();
        if let Some(file) = state.files.get(&number) {
            return Ok(file.clone());
        }
        let file = Arc::new(Layers::open(&*self.directory, number)?);
        state.files.insert(number, file.clone());
        Ok(file)
    }

    /// Makes what is staged in these files, and the removal of others, part of the next commit, all of it together.
    pub(crate) fn publish(&self, staged: &[&Arc<Layers>], removed: &[u64]) -> Result<(), Error> {
        let mut state = self.state();
        if state.latched {
            return Err(Error::Latched);
        }
        for file in staged {
            let bytes = file.with(Stage::Staged, |layer| layer.bytes());
            if file.advance(Stage::Staged, Stage::Dirty) {
                state.dirty.insert(file.number(), Arc::clone(file));
                state.dirty_bytes += bytes.unwrap_or(0);
            }
        }
        for number in removed {
            if let Some(file) = state.dirty.remove(number) {
                file.discard(Stage::Dirty);
            }
            state.removed.insert(*number);
        }
        let full = state.dirty_bytes >= self.limit / 2;
        drop(state);
        // Memory is bounded by committing early; nobody minds more being durable than was asked for.
        if full { self.commit() } else { Ok(()) }
    }

    /// Makes everything that was published durable: one write and one sync, shared by all who call meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`] for the caller whose write or sync failed, [`Error::Latched`] for everybody else from then on.
    pub(crate) fn commit(&self) -> Result<(), Error> {
        let begun = (self.monotonic)();
        let mut state = self.state();
        let target = match state.is_clean() {
            true => state.batch - 1,
            false => state.batch,
        };
        state.statistics.syncs += 1;
        while state.durable < target {
            if state.latched {
                return Err(Error::Latched);
            }
            state = if state.committing {
                self.wait(state)
            } else if state.end >= self.limit {
                self.make_room(state)?
            } else {
                self.lead(state)?
            };
        }
        let took = (self.monotonic)().saturating_sub(begun);
        state.statistics.sync_time += took;
        state.statistics.sync_time_max = state.statistics.sync_time_max.max(took);
        Ok(())
    }

    /// Writes the batch that was collected so far.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        let batch = state.batch;
        let dirty = std::mem::take(&mut state.dirty);
        let removed = std::mem::take(&mut state.removed);
        for file in dirty.values() {
            file.advance(Stage::Dirty, Stage::Committing);
        }
        state.batch += 1;
        state.dirty_bytes = 0;
        state.committing = true;
        let head = GroupHead {
            volume: self.volume,
            salt: state.salts[state.active],
            sequence: state.sequence + 1,
            previous: state.previous,
        };
        let (segment, at) = (&self.segments[state.active], state.end);
        drop(state);

        let (bytes, checksum) = encode(&head, &dirty, &removed);
        let written = segment.write_at(&bytes, at).and_then(|()| segment.sync());

        let mut state = self.state();
        state.committing = false;
        self.changed.notify_all();
        if let Err(source) = written {
            state.latched = true;
            return Err(Error::Io {
                doing: "writing the journal",
                source,
            });
        }
        state.durable = batch;
        state.end = at + bytes.len() as u64;
        state.sequence = head.sequence;
        state.previous = checksum;
        state.statistics.commits += 1;
        for (number, file) in dirty {
            file.advance(Stage::Committing, Stage::Committed);
            state.unhomed.insert(number, file);
        }
        for number in removed {
            state.unhomed.remove(&number);
            state.unhomed_removed.insert(number);
        }
        Ok(state)
    }

    /// The segment is full: the other one takes over when what was in it is at home.
    fn make_room<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
    ) -> Result<MutexGuard<'a, State>, Error> {
        if self.inline_homing || state.closed {
            drop(state);
            self.go_home()?;
            return Ok(self.state());
        }
        self.changed.notify_all();
        Ok(self.wait(state))
    }

    /// Brings home what is durable in the journal, and frees its segment. Commits go on meanwhile, in the other one.
    ///
    /// # Errors
    /// [`Error::Io`]: the volume is latched then. Everything stays readable, and in the journal.
    pub(crate) fn go_home(&self) -> Result<(), Error> {
        let _one = self.homing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        while state.committing {
            state = self.wait(state);
        }
        if state.latched {
            return Err(Error::Latched);
        }
        if state.unhomed.is_empty() && state.unhomed_removed.is_empty() {
            return Ok(());
        }
        // The other segment is free: the homing before this one has seen to that.
        let retiring = state.active;
        state.active = 1 - retiring;
        state.end = FIRST_GROUP;
        let (home, home_checksum) = (state.sequence, state.previous);
        let files = std::mem::take(&mut state.unhomed);
        let removed = std::mem::take(&mut state.unhomed_removed);
        for file in files.values() {
            file.advance(Stage::Committed, Stage::Homing);
        }
        self.changed.notify_all();
        drop(state);

        let done = self.bring(&files, &removed).and_then(|homed| {
            let salt = FileId::random().map_err(io::Error::other)?;
            let head = SegmentHead {
                volume: self.volume,
                salt,
                home,
                home_checksum,
            };
            head.store(&*self.segments[retiring])?;
            Ok((homed, salt))
        });
        let mut state = self.state();
        self.changed.notify_all();
        let ((pieces, bytes), salt) = done.map_err(|source| {
            state.latched = true;
            Error::Io {
                doing: "bringing the journal home",
                source,
            }
        })?;
        for file in files.values() {
            file.homed();
        }
        state.salts[retiring] = salt;
        state.statistics.homings += 1;
        state.statistics.pages_homed += pieces;
        state.statistics.bytes_homed += bytes;
        drop(files);
        state.files.retain(|number, file| {
            !removed.contains(number) && (Arc::strong_count(file) > 1 || !file.is_home())
        });
        Ok(())
    }

    /// Writes files home in their order, and makes that durable.
    fn bring(
        &self,
        files: &BTreeMap<u64, Arc<Layers>>,
        removed: &BTreeSet<u64>,
    ) -> io::Result<(u64, u64)> {
        let mut homed = (0, 0);
        for file in files.values() {
            let (pieces, bytes) = file.go_home(&*self.directory)?;
            homed = (homed.0 + pieces, homed.1 + bytes);
        }
        for number in removed {
            self.directory.remove(Part::File(*number))?;
        }
        self.directory.sync()?;
        Ok(homed)
    }

    /// Waits until it is worth while to go home; `false` when the volume is closed.
    pub(crate) fn wait_for_work(&self) -> bool {
        let mut state = self.state();
        loop {
            if state.closed || state.latched {
                return false;
            }
            if state.end >= self.limit / 2 {
                return true;
            }
            state = self.wait(state);
        }
    }

    /// Lets [`Journal::wait_for_work`] end.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn statistics(&self) -> VolumeStatistics {
        let state = self.state();
        VolumeStatistics {
            journal_bytes: state.end - FIRST_GROUP,
            files_not_home: state.unhomed.len() as u64,
            latched: state.latched,
            ..state.statistics
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.removed.is_empty()
    }
}

fn encode(
    head: &GroupHead,
    dirty: &BTreeMap<u64, Arc<Layers>>,
    removed: &BTreeSet<u64>,
) -> (Vec<u8>, Checksum) {
    let mut writer = GroupWriter::new(head);
    let numbers: BTreeSet<u64> = dirty.keys().chain(removed).copied().collect();
    for number in numbers {
        match dirty.get(&number) {
            Some(file) if !removed.contains(&number) => {
                file.with(Stage::Committing, |layer| writer.change(number, layer));
            }
            _ => writer.remove(number),
        }
    }
    writer.finish()
}
