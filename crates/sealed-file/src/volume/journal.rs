//! The redo journal: what was written to any file of the volume becomes durable here first, all of it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cofferdam_keys::{Monotonic, StoreId};

use super::directory::{Directory, Part};
use super::group::{Checksum, GroupHead, GroupWriter};
use super::homes::Homes;
use super::journal_state::State;
use super::layers::{Layers, Stage};
use super::recovery::{Recovered, begin_lives};
use super::segment::FIRST_GROUP;
use super::statistics::VolumeStatistics;
use crate::disk::Disk;
use crate::error::Error;

/// The journal of one volume, and the layers of its files.
pub(crate) struct Journal {
    pub(super) directory: Arc<dyn Directory>,
    pub(super) homes: Arc<Homes>,
    pub(super) volume: StoreId,
    pub(super) segments: [Box<dyn Disk>; 2],
    /// A segment that has reached this many bytes takes no more groups.
    pub(super) limit: u64,
    pub(super) inline_homing: bool,
    monotonic: Monotonic,
    /// Nothing that waits for a disk is done under it.
    state: Mutex<State>,
    pub(super) changed: Condvar,
    /// For whoever brings layers home in the background: to be woken by each commit would cost it two switches of threads.
    pub(super) work: Condvar,
    /// Held by whoever brings layers home.
    pub(super) homing: Mutex<()>,
    /// The process that opened the volume.
    process: u32,
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
    /// A journal whose groups are all at home: recovery comes before. It takes nothing until it [begins](Journal::begin).
    pub(crate) fn new(
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
        for segment in 0..2 {
            // A full disk does not keep a volume closed: a commit that finds no room says so.
            let _ = directory.reserve(Part::Segment(segment), terms.limit + terms.limit / 2);
        }
        Ok(Journal {
            homes: Arc::new(Homes::new(directory.clone())),
            directory,
            volume: terms.volume,
            segments,
            limit: terms.limit,
            inline_homing: terms.inline_homing,
            monotonic: terms.monotonic,
            state: Mutex::new(State::after(recovered)),
            changed: Condvar::new(),
            work: Condvar::new(),
            homing: Mutex::new(()),
            process: std::process::id(),
        })
    }

    /// Forgets the groups that were replayed, and takes new ones from here on.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn begin(&self) -> Result<(), Error> {
        let mut state = self.state();
        let lives = begin_lives(
            &*self.directory,
            self.volume,
            state.sequence,
            state.previous,
        );
        state.salts = lives.map_err(Error::io("beginning a new journal"))?;
        state.latched = false;
        Ok(())
    }

    /// A file's layers, the same for everybody who asks. Who opens files does so one at a time.
    pub(crate) fn file(&self, number: u64) -> io::Result<Arc<Layers>> {
        if let Some(file) = self.state().files.get(&number) {
            return Ok(file.clone());
        }
        // A file that is not in the list is at home, and nobody else is about to change that.
        let file = Arc::new(Layers::open(&self.homes, number)?);
        self.state().files.insert(number, file.clone());
        Ok(file)
    }

    /// A file's last handle is about to go.
    pub(crate) fn let_go(&self, file: &Arc<Layers>) {
        let mut state = self.state();
        // The list's, and the handle's. One that is on its way home is let go when it is there.
        if file.is_home() && Arc::strong_count(file) <= 2 {
            state.files.remove(&file.number());
        }
    }

    /// Waits until there is room in memory for an operation, with no lock held. Nobody minds more being durable than was asked for.
    ///
    /// # Errors
    /// As [`Journal::commit`]. Nothing was done then.
    pub(crate) fn make_way(&self) -> Result<(), Error> {
        self.check_process()?;
        let full = self.state().dirty_bytes >= self.limit / 2;
        if full { self.commit() } else { Ok(()) }
    }

    /// Makes what is staged in these files, and the removal of others, part of the next commit, all of it together. Waits for
    /// nothing, so it may be called under the locks of those files.
    pub(crate) fn publish(&self, staged: &[&Arc<Layers>], removed: &[u64]) -> Result<(), Error> {
        self.check_process()?;
        let mut state = self.state();
        if state.latched {
            return Err(Error::Latched);
        }
        for file in staged {
            let bytes = file.with(Stage::Staged, |layer| layer.bytes());
            if file.advance(Stage::Staged, Stage::Dirty) {
                state.dirty.insert(file.number(), Arc::clone(file));
                state.files.insert(file.number(), Arc::clone(file));
                state.dirty_bytes += bytes.unwrap_or(0);
            }
        }
        for number in removed {
            if let Some(file) = state.dirty.remove(number) {
                file.discard(Stage::Dirty);
            }
            state.removed.insert(*number);
        }
        Ok(())
    }

    /// Asks for a commit that nobody waits for.
    pub(crate) fn commit_soon(&self) {
        if self.inline_homing {
            let _ = self.commit();
            return;
        }
        self.state().commit_wanted = true;
        self.work.notify_all();
    }

    /// Makes everything that was published durable (V1): one write and one sync, shared by all who call meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`] for the caller whose write or sync failed, [`Error::Latched`] for everybody else from then on.
    pub(crate) fn commit(&self) -> Result<(), Error> {
        self.commit_with(self.inline_homing)
    }

    /// The same, for one who brings home himself what is in the way.
    pub(super) fn commit_with(&self, homes: bool) -> Result<(), Error> {
        self.check_process()?;
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
            state = if state.committing || state.retirement_waits {
                self.wait(state)
            } else if state.end >= self.limit {
                self.make_room(state, homes)?
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

        let _watch = Watch(self);
        let (bytes, checksum) = encode(&head, &dirty, &removed);
        let written = segment.write_at(&bytes, at).and_then(|()| segment.sync());

        let mut state = self.state();
        state.committing = false;
        self.changed.notify_all();
        if let Err(source) = written {
            // V4.
            state.latched = true;
            self.work.notify_all();
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
        if state.has_work(self.limit) {
            self.work.notify_all();
        }
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
        homes: bool,
    ) -> Result<MutexGuard<'a, State>, Error> {
        if homes || state.closed || state.homing_failed {
            drop(state);
            self.go_home()?;
            return Ok(self.state());
        }
        // Whoever brings layers home has heard of the last commit: to wake everybody here would keep all who wait awake.
        Ok(self.wait(state))
    }

    /// Lets [`Journal::wait_for_work`] end.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
        self.work.notify_all();
    }

    pub(crate) fn statistics(&self) -> VolumeStatistics {
        let state = self.state();
        VolumeStatistics {
            journal_bytes: state.end - FIRST_GROUP,
            files_not_home: (state.unhomed.len()
                + state.retiring.as_ref().map_or(0, |it| it.count()))
                as u64,
            latched: state.latched,
            ..state.statistics
        }
    }

    /// A child of the process would write over what its parent has acknowledged: they share the files and the lock, and not this memory.
    pub(super) fn check_process(&self) -> Result<(), Error> {
        match std::process::id() == self.process {
            true => Ok(()),
            false => Err(Error::Misuse {
                what: "a volume is used by the process that opened it, and not by its children: open it in one of them",
            }),
        }
    }

    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever writes the journal or a home is watched: should they panic, what is durable is not known, and nobody must wait for them.
pub(super) struct Watch<'a>(pub(super) &'a Journal);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state();
            state.latched = true;
            state.committing = false;
            self.0.changed.notify_all();
            self.0.work.notify_all();
        }
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
