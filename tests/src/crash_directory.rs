//! A volume's directory that loses power, and fails when it is told to.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use cofferdam_sealed_file::{Directory, DirectoryLock, Disk, Part};

use crate::memory_disk::copy_from;
use crate::power_cut::{self, Change, Loss, SECTOR_LEN, survivors};
use crate::random::Random;

/// A directory in memory that keeps apart what was not synced: bytes of each file, and which files there are. At a power cut each
/// of these is dropped, kept, torn at 512 bytes or overtaken, as [`Loss`] says. Clones are handles on the same directory.
#[derive(Clone, Default)]
pub struct CrashDirectory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// What the threads of a scenario number their operations with; snapshots remember how far it was.
    clock: AtomicU64,
    /// Where the pauses of a disk that is not always as fast are drawn from; zero for none.
    pauses: AtomicU64,
}

#[derive(Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<Part, usize>,
    durable_names: BTreeMap<Part, usize>,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    sync_ignored: bool,
    locked: bool,
    fault: Option<DirectoryFault>,
    struck: bool,
    mark: Mark,
    /// Sectors that do not read until they are written.
    bad_sectors: Vec<(usize, u64)>,
    trace: Option<Vec<DirectorySnapshot>>,
    /// One operation of so many leaves a snapshot.
    trace_one_of: Option<(u64, Random)>,
}

#[derive(Clone, Default)]
struct Contents {
    current: Vec<u8>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

/// How far a scenario has come; the scenario says, and snapshots remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Operations that were begun.
    pub begun: usize,
    /// Operations that had come before the last sync which was acknowledged.
    pub synced: usize,
}

/// What was durable at one moment, and what was not.
#[derive(Clone)]
pub struct DirectorySnapshot {
    files: Vec<(Arc<Vec<u8>>, Vec<Change>)>,
    names: BTreeMap<Part, usize>,
    durable_names: BTreeMap<Part, usize>,
    /// How far the scenario was.
    pub mark: Mark,
    /// How far [`CrashDirectory::tick`] was.
    pub moment: u64,
}

/// A fault: the nth operation of its kind fails, once.
#[derive(Clone, Copy, Debug)]
pub struct DirectoryFault {
    /// Which operation, from 1, counted from the moment the fault is set.
    pub nth: u64,
    /// How.
    pub kind: DirectoryFaultKind,
}

/// How an operation fails, and which operations are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryFaultKind {
    /// EIO of any operation; nothing happened.
    Io,
    /// ENOSPC of a write, a change of length or the making of a file, and of all that come later.
    Full,
    /// EIO of a write that has written the first half of its bytes.
    ShortWrite,
    /// EIO of a sync. As on Linux, what it should have made durable is taken for clean: it can be read until the power goes, and
    /// no later sync makes it durable.
    FailedSync,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Read,
    Write,
    Sync,
}

impl DirectoryFaultKind {
    fn strikes(self, operation: Operation) -> bool {
        match self {
            DirectoryFaultKind::Io => true,
            DirectoryFaultKind::Full | DirectoryFaultKind::ShortWrite => {
                operation == Operation::Write
            }
            DirectoryFaultKind::FailedSync => operation == Operation::Sync,
        }
    }

    fn error(self) -> Error {
        match self {
            DirectoryFaultKind::Full => ErrorKind::StorageFull.into(),
            _ => Error::other("an injected EIO"),
        }
    }
}

impl CrashDirectory {
    /// An empty directory.
    pub fn new() -> CrashDirectory {
        CrashDirectory::default()
    }

    /// A directory that lies: syncs succeed and do nothing. Only to show that a test can fail.
    pub fn ignoring_sync() -> CrashDirectory {
        let directory = CrashDirectory::new();
        directory.state().sync_ignored = true;
        directory
    }

    /// What a power cut right at the snapshot leaves.
    pub fn after(snapshot: &DirectorySnapshot, loss: Loss, seed: u64) -> CrashDirectory {
        let directory = CrashDirectory::killed(snapshot);
        directory.power_cycle(loss, seed);
        directory
    }

    /// What the death of the process right at the snapshot leaves: everything can be read, and what was not durable is not.
    pub fn killed(snapshot: &DirectorySnapshot) -> CrashDirectory {
        let files = snapshot.files.iter().map(|(durable, pending)| {
            let mut current = durable.to_vec();
            for change in pending {
                power_cut::apply(&mut current, change);
            }
            Contents {
                current,
                durable: durable.clone(),
                pending: pending.clone(),
            }
        });
        let state = State {
            files: files.collect(),
            names: snapshot.names.clone(),
            durable_names: snapshot.durable_names.clone(),
            ..State::default()
        };
        CrashDirectory(Arc::new(Shared {
            state: Mutex::new(state),
            ..Shared::default()
        }))
    }

    /// Lets the nth operation from here on (from 1) be the last: it and everything later fails.
    pub fn crash_at(&self, nth: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.operations + nth);
    }

    /// Gives the power back. What was not synced is lost as `loss` says.
    pub fn power_cycle(&self, loss: Loss, seed: u64) {
        let mut state = self.state();
        let random = &mut Random::new(seed);
        let mut names = BTreeMap::new();
        let parts = state.names.keys().chain(state.durable_names.keys());
        for part in parts.copied().collect::<std::collections::BTreeSet<Part>>() {
            let (now, durable) = (state.names.get(&part), state.durable_names.get(&part));
            let keeps = match loss {
                Loss::Everything => false,
                Loss::Nothing => true,
                _ => random.chance(50),
            };
            if let Some(file) = if keeps { now } else { durable } {
                names.insert(part, *file);
            }
        }
        let files = state.files.iter().map(|file| {
            let left = survivors(&file.durable, &file.pending, loss, random);
            Contents {
                durable: Arc::new(left.clone()),
                current: left,
                pending: Vec::new(),
            }
        });
        *state = State {
            files: files.collect(),
            durable_names: names.clone(),
            names,
            sync_ignored: state.sync_ignored,
            ..State::default()
        };
    }

    /// Sets a fault; its count starts here.
    pub fn inject(&self, fault: DirectoryFault) {
        let mut state = self.state();
        state.fault = Some(fault);
        state.struck = false;
    }

    /// Takes the fault away, and says whether it struck.
    pub fn disarm(&self) -> bool {
        let mut state = self.state();
        state.fault = None;
        state.struck
    }

    /// From here on a snapshot is kept after each change and sync.
    pub fn record(&self) {
        self.state().trace = Some(Vec::new());
    }

    /// From here on a snapshot is kept after one change or sync of so many.
    pub fn record_one_of(&self, count: u64, seed: u64) {
        self.record();
        self.state().trace_one_of = Some((count, Random::new(seed)));
    }

    /// From here on some operations take a moment, or let other threads go first.
    pub fn pause_at_times(&self, seed: u64) {
        self.0.pauses.store(seed | 1, Ordering::Relaxed);
    }

    /// A number that is greater than all before.
    pub fn tick(&self) -> u64 {
        self.0.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// The directory at this moment.
    pub fn snapshot(&self) -> DirectorySnapshot {
        let moment = self.0.clock.load(Ordering::SeqCst);
        self.state().snapshot(moment)
    }

    /// The snapshots that were kept.
    pub fn recorded(&self) -> Vec<DirectorySnapshot> {
        self.state().trace.take().unwrap_or_default()
    }

    /// Says how far the scenario is.
    pub fn mark(&self, mark: Mark) {
        self.state().mark = mark;
    }

    /// Flips one bit of a part, durably. `false` when there is no such byte.
    pub fn flip(&self, part: Part, byte: usize, bit: u8) -> bool {
        self.alter(part, |bytes| match bytes.get_mut(byte) {
            Some(byte) => {
                *byte ^= 1 << bit;
                true
            }
            None => false,
        })
    }

    /// Changes the bytes of a part behind everybody's back, durably.
    pub fn alter(&self, part: Part, change: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let mut state = self.state();
        let Some(index) = state.names.get(&part).copied() else {
            return false;
        };
        let file = &mut state.files[index];
        let changed = change(&mut file.current);
        file.durable = Arc::new(file.current.clone());
        file.pending.clear();
        changed
    }

    /// Lets the sector around a byte of a part fail to read, until it is written.
    pub fn bad_sector(&self, part: Part, byte: u64) {
        let mut state = self.state();
        if let Some(file) = state.names.get(&part).copied() {
            state
                .bad_sectors
                .push((file, byte / SECTOR_LEN * SECTOR_LEN));
        }
    }

    /// The bytes of all parts, to look for what must not be there.
    pub fn bytes(&self) -> Vec<u8> {
        let state = self.state();
        let files = state.names.values().map(|file| &state.files[*file].current);
        files.flatten().copied().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .state
            .lock()
            .expect("no operation of the directory panics")
    }

    /// The state, for an operation of a disk.
    fn operation(&self) -> MutexGuard<'_, State> {
        let drawn = &self.0.pauses;
        let before = drawn.load(Ordering::Relaxed);
        if before > 0 {
            let next = Random::new(before).next();
            drawn.store(next | 1, Ordering::Relaxed);
            match next % 64 {
                0 => std::thread::sleep(Duration::from_micros(next / 64 % 300)),
                1..16 => std::thread::yield_now(),
                _ => {}
            }
        }
        self.state()
    }

    /// An operation is over. The one at which the power goes is issued, and nobody hears of it.
    fn end(&self, state: &mut State) -> Result<()> {
        if let Some(mut trace) = state.trace.take() {
            let kept = match &mut state.trace_one_of {
                Some((count, random)) => random.below(*count) == 0,
                None => true,
            };
            if kept {
                // Read while nothing else happens to the disk: what was acknowledged before this number rests on what is in here.
                trace.push(state.snapshot(self.0.clock.load(Ordering::SeqCst)));
            }
            state.trace = Some(trace);
        }
        match state.crashed {
            true => Err(Error::other("the disk has no power")),
            false => Ok(()),
        }
    }
}

impl State {
    /// Lets an operation happen, or not. `Err(Some)`: a fault that has an effect of its own strikes.
    fn begin(&mut self, operation: Operation) -> std::result::Result<(), Option<Error>> {
        if self.crashed {
            return Err(Some(Error::other("the disk has no power")));
        }
        self.operations += 1;
        if self.crash_at == Some(self.operations) {
            self.crashed = true;
        }
        let Some(fault) = &mut self.fault else {
            return Ok(());
        };
        if !fault.kind.strikes(operation) || fault.nth == 0 {
            return Ok(());
        }
        fault.nth -= 1;
        if fault.nth > 0 {
            return Ok(());
        }
        if fault.kind == DirectoryFaultKind::Full {
            fault.nth = 1;
        }
        let kind = fault.kind;
        self.struck = true;
        match kind {
            DirectoryFaultKind::ShortWrite | DirectoryFaultKind::FailedSync => Err(None),
            kind => Err(Some(kind.error())),
        }
    }

    fn snapshot(&self, moment: u64) -> DirectorySnapshot {
        let files = self.files.iter();
        DirectorySnapshot {
            files: files
                .map(|it| (it.durable.clone(), it.pending.clone()))
                .collect(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            mark: self.mark,
            moment,
        }
    }

    fn change(&mut self, file: usize, change: Change) {
        let file = &mut self.files[file];
        power_cut::apply(&mut file.current, &change);
        file.pending.push(change);
    }
}

impl Directory for CrashDirectory {
    fn open(&self, part: Part) -> Result<Option<Box<dyn Disk>>> {
        let mut state = self.operation();
        state.begin(Operation::Read).map_err(or_injected)?;
        let file = state.names.get(&part).copied();
        Ok(file.map(|file| -> Box<dyn Disk> {
            Box::new(File {
                directory: self.clone(),
                file,
            })
        }))
    }

    fn create(&self, part: Part) -> Result<Box<dyn Disk>> {
        let mut state = self.operation();
        state.begin(Operation::Write).map_err(or_injected)?;
        let file = match state.names.get(&part) {
            Some(file) => *file,
            None => {
                state.files.push(Contents::default());
                let file = state.files.len() - 1;
                state.names.insert(part, file);
                file
            }
        };
        self.end(&mut state)?;
        Ok(Box::new(File {
            directory: self.clone(),
            file,
        }))
    }

    fn remove(&self, part: Part) -> Result<()> {
        let mut state = self.operation();
        state.begin(Operation::Write).map_err(or_injected)?;
        state.names.remove(&part);
        self.end(&mut state)
    }

    fn files(&self) -> Result<Vec<u64>> {
        let mut state = self.operation();
        state.begin(Operation::Read).map_err(or_injected)?;
        let numbers = state.names.keys().filter_map(|part| match part {
            Part::File(number) => Some(*number),
            _ => None,
        });
        Ok(numbers.collect())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.operation();
        state.begin(Operation::Sync).map_err(or_injected)?;
        if !state.sync_ignored {
            state.durable_names = state.names.clone();
        }
        self.end(&mut state)
    }

    fn lock(&self, _holder: &str) -> Result<DirectoryLock> {
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Err(Error::new(ErrorKind::WouldBlock, "another test"));
        }
        Ok(Box::new(Lock(self.clone())))
    }
}

struct Lock(CrashDirectory);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

/// One file of the directory.
struct File {
    directory: CrashDirectory,
    file: usize,
}

impl Disk for File {
    fn len(&self) -> Result<u64> {
        let mut state = self.directory.operation();
        state.begin(Operation::Read).map_err(or_injected)?;
        Ok(state.files[self.file].current.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let mut state = self.directory.operation();
        state.begin(Operation::Read).map_err(or_injected)?;
        let end = offset + bytes.len() as u64;
        let bad =
            |(file, at): &(usize, u64)| *file == self.file && *at < end && offset < at + SECTOR_LEN;
        match state.bad_sectors.iter().any(bad) {
            true => Err(DirectoryFaultKind::Io.error()),
            false => Ok(copy_from(&state.files[self.file].current, bytes, offset)),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut state = self.directory.operation();
        let (bytes, failed) = match state.begin(Operation::Write) {
            Ok(()) => (bytes, false),
            Err(Some(error)) => return Err(error),
            Err(None) => (&bytes[..bytes.len() / 2], true),
        };
        let end = offset + bytes.len() as u64;
        let written = |(file, at): &(usize, u64)| {
            *file == self.file && offset <= *at && at + SECTOR_LEN <= end
        };
        state.bad_sectors.retain(|sector| !written(sector));
        let bytes = bytes.into();
        state.change(self.file, Change::Write { offset, bytes });
        self.directory.end(&mut state)?;
        match failed {
            true => Err(DirectoryFaultKind::ShortWrite.error()),
            false => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut state = self.directory.operation();
        state.begin(Operation::Write).map_err(or_injected)?;
        state.change(self.file, Change::SetLen(len));
        self.directory.end(&mut state)
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.directory.operation();
        let begun = state.begin(Operation::Sync);
        let ignored = state.sync_ignored;
        let file = &mut state.files[self.file];
        match begun {
            Ok(()) if ignored => {}
            Ok(()) => {
                // What a failed sync gave up is in `current`, and not in here.
                let mut durable = file.durable.to_vec();
                for change in file.pending.drain(..) {
                    power_cut::apply(&mut durable, &change);
                }
                file.durable = Arc::new(durable);
            }
            Err(Some(error)) => return Err(error),
            Err(None) => {
                file.pending.clear();
                self.directory.end(&mut state)?;
                return Err(DirectoryFaultKind::FailedSync.error());
            }
        }
        self.directory.end(&mut state)
    }
}

fn or_injected(error: Option<Error>) -> Error {
    error.unwrap_or_else(|| DirectoryFaultKind::Io.error())
}
