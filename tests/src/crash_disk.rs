//! A disk that loses power.

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard};

use cofferdam_sealed_file::Disk;

use crate::memory_disk::copy_from;
use crate::power_cut::{self, Change, Loss, survivors};
use crate::random::Random;

/// A disk in memory that keeps unsynced changes apart. At a power cut each of them is dropped, kept,
/// torn at 512 bytes or overtaken by another one, and nothing else is allowed by the contract of
/// [`Disk`]. Clones are handles on the same disk.
#[derive(Clone, Default)]
pub struct CrashDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    current: Vec<u8>,
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
    changes: u64,
    crash_at: Option<u64>,
    crashed: bool,
    sync_ignored: bool,
}

/// What was durable on a disk at one moment, and what was not.
#[derive(Clone)]
pub struct CrashSnapshot {
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

impl CrashDisk {
    /// An empty disk.
    pub fn new() -> CrashDisk {
        CrashDisk::default()
    }

    /// A disk that had this left on it by a power cut right at the snapshot.
    pub fn after(snapshot: &CrashSnapshot, loss: Loss, seed: u64) -> CrashDisk {
        let random = &mut Random::new(seed);
        let left = survivors(&snapshot.durable, &snapshot.pending, loss, random);
        CrashDisk::with(left)
    }

    /// A disk with these bytes, durably.
    pub fn with(bytes: Vec<u8>) -> CrashDisk {
        CrashDisk(Arc::new(Mutex::new(State::with(bytes))))
    }

    /// A disk that lies: `sync` succeeds and does nothing. Only to show that a test can fail.
    pub fn ignoring_sync() -> CrashDisk {
        let disk = CrashDisk::new();
        disk.state().sync_ignored = true;
        disk
    }

    /// Lets the nth write, change of length or sync from here on (from 1) be the last: it is issued
    /// but not durable, and it and everything later fails.
    pub fn crash_at(&self, nth: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.changes + nth);
    }

    /// Takes the power away: everything fails until [`CrashDisk::power_cycle`].
    pub fn crash(&self) {
        self.state().crashed = true;
    }

    /// Whether the power is gone.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// Gives the power back. What was not synced is lost as `loss` says.
    pub fn power_cycle(&self, loss: Loss, seed: u64) {
        let mut state = self.state();
        let random = &mut Random::new(seed);
        let left = survivors(&state.durable, &state.pending, loss, random);
        *state = State {
            sync_ignored: state.sync_ignored,
            ..State::with(left)
        };
    }

    /// The disk at this moment, for [`CrashDisk::after`].
    pub fn snapshot(&self) -> CrashSnapshot {
        let state = self.state();
        CrashSnapshot {
            durable: Arc::clone(&state.durable),
            pending: state.pending.clone(),
        }
    }

    /// The number of writes, changes of length and syncs since the power came on.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no operation of the disk panics")
    }
}

impl State {
    fn with(bytes: Vec<u8>) -> State {
        State {
            durable: Arc::new(bytes.clone()),
            current: bytes,
            ..State::default()
        }
    }

    fn powered(&self) -> Result<()> {
        if self.crashed {
            return Err(Error::other("the disk has no power"));
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> Result<()> {
        self.powered()?;
        power_cut::apply(&mut self.current, &change);
        self.pending.push(change);
        self.changed()
    }

    fn changed(&mut self) -> Result<()> {
        self.changes += 1;
        self.crashed = self.crash_at == Some(self.changes);
        self.powered()
    }
}

impl Disk for CrashDisk {
    fn len(&self) -> Result<u64> {
        let state = self.state();
        state.powered()?;
        Ok(state.current.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let state = self.state();
        state.powered()?;
        Ok(copy_from(&state.current, bytes, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.state().change(Change::Write {
            offset,
            bytes: bytes.into(),
        })
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.state().change(Change::SetLen(len))
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.state();
        state.powered()?;
        state.changed()?;
        if !state.sync_ignored {
            state.durable = Arc::new(state.current.clone());
            state.pending.clear();
        }
        Ok(())
    }
}
