//! What happens in a simulated world, operation by operation.

use std::collections::BTreeMap;

use rusqlite::ffi;

use crate::crash_vfs::{Disk, Progress};
use crate::crash_vfs_files::{FileSystem, NodeId};
use crate::crash_vfs_locks::{Busy, FileLocks, HandleId, Region, SharedMemory};
use crate::power_cut::{Change, Loss};
use crate::random::Random;

/// A result code of SQLite other than `SQLITE_OK`.
pub(crate) type Code = std::ffi::c_int;

/// What a program can ask of the disk, as far as it can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `xAccess`.
    Access,
    /// `xCheckReservedLock`.
    CheckReservedLock,
    /// `xDelete`.
    Delete,
    /// `xFileSize`.
    FileSize,
    /// `xLock`.
    Lock,
    /// `xOpen`.
    Open,
    /// `xRead`.
    Read,
    /// `xShmLock`, not for unlocking.
    ShmLock,
    /// `xShmMap`.
    ShmMap,
    /// `xSync`.
    Sync,
    /// `xTruncate`.
    Truncate,
    /// `xWrite`.
    Write,
}

impl Operation {
    /// The error that SQLite's unix VFS has for it.
    fn error(self) -> Code {
        match self {
            Operation::Access => ffi::SQLITE_IOERR_ACCESS,
            Operation::CheckReservedLock => ffi::SQLITE_IOERR_CHECKRESERVEDLOCK,
            Operation::Delete => ffi::SQLITE_IOERR_DELETE,
            Operation::FileSize => ffi::SQLITE_IOERR_FSTAT,
            Operation::Lock => ffi::SQLITE_IOERR_LOCK,
            Operation::Open => ffi::SQLITE_CANTOPEN,
            Operation::Read => ffi::SQLITE_IOERR_READ,
            Operation::ShmLock => ffi::SQLITE_IOERR_SHMLOCK,
            Operation::ShmMap => ffi::SQLITE_IOERR_SHMMAP,
            Operation::Sync => ffi::SQLITE_IOERR_FSYNC,
            Operation::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
            Operation::Write => ffi::SQLITE_IOERR_WRITE,
        }
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Writes fail with `SQLITE_FULL` after some of their sectors; only writes are counted.
    Full,
    /// Any operation fails with the `SQLITE_IOERR` of its kind; a write after some of its sectors.
    IoError,
    /// Reads find half of the bytes, as if the file ended there; only reads are counted. SQLite takes
    /// the rest for zeros, so this is for a layer above that knows better.
    ShortRead,
}

impl FaultKind {
    fn counts(self, operation: Operation) -> bool {
        match self {
            FaultKind::Full => operation == Operation::Write,
            FaultKind::IoError => true,
            FaultKind::ShortRead => operation == Operation::Read,
        }
    }
}

/// A fault to be injected.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which of the counted operations fails, from 1.
    pub nth: u64,
    /// How.
    pub kind: FaultKind,
    /// Whether every later one fails too.
    pub persistent: bool,
}

/// The disk at one moment, with what was durable and what was not.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) files: FileSystem,
    /// How far the program had come.
    pub progress: Progress,
    /// The number of the last operation that changed the disk.
    pub change: u64,
}

/// What an admitted operation has to do.
#[derive(PartialEq, Eq)]
enum Admitted {
    Whole,
    /// Half of the bytes.
    Short,
}

/// Everything about one world.
pub(crate) struct State {
    pub(crate) files: FileSystem,
    pub(crate) crashed: bool,
    pub(crate) progress: Progress,
    pub(crate) changes: u64,
    pub(crate) open_count: u64,
    disk: Disk,
    locks: BTreeMap<NodeId, FileLocks>,
    shared_memory: BTreeMap<NodeId, SharedMemory>,
    handle_next: HandleId,
    pub(crate) crash_at: Option<u64>,
    pub(crate) fault_operation: Option<Operation>,
    fault: Option<Fault>,
    fault_counted: u64,
    fault_struck: u64,
    sampler: Option<Sampler>,
    random: Random,
}

struct Sampler {
    capacity: usize,
    seen: u64,
    kept: Vec<Snapshot>,
    random: Random,
}

impl State {
    pub(crate) fn new(disk: Disk) -> State {
        State {
            files: FileSystem::default(),
            crashed: false,
            progress: Progress::default(),
            changes: 0,
            open_count: 0,
            disk,
            locks: BTreeMap::new(),
            shared_memory: BTreeMap::new(),
            handle_next: 0,
            crash_at: None,
            fault_operation: None,
            fault: None,
            fault_counted: 0,
            fault_struck: 0,
            sampler: None,
            random: Random::new(1),
        }
    }

    pub(crate) fn power_cycle(&mut self, loss: Loss, random: &mut Random) {
        let progress = self.progress;
        let names_in_order = self.disk.names_in_order;
        *self = State {
            files: self.files.after_power_cut(loss, names_in_order, random),
            progress,
            random: random.clone(),
            ..State::new(self.disk)
        };
    }

    pub(crate) fn crash_at(&mut self, operation: u64) {
        self.crash_at = Some(self.changes + operation);
    }

    pub(crate) fn inject(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.fault_counted = 0;
        self.fault_struck = 0;
        self.fault_operation = None;
    }

    pub(crate) fn disarm(&mut self) -> u64 {
        self.fault = None;
        self.fault_struck
    }

    pub(crate) fn take_snapshots(&mut self, capacity: usize, random: Random) {
        self.sampler = Some(Sampler {
            capacity,
            seen: 0,
            kept: Vec::new(),
            random,
        });
    }

    pub(crate) fn snapshots(&mut self) -> Vec<Snapshot> {
        self.sampler.take().map_or(Vec::new(), |s| s.kept)
    }

    pub(crate) fn sector_size(&self) -> i32 {
        self.disk.sector_size as i32
    }

    /// Opens a file; without a name, one that is gone when it is closed.
    pub(crate) fn open(
        &mut self,
        name: Option<&str>,
        flags: i32,
    ) -> Result<(HandleId, NodeId), Code> {
        self.admit(Operation::Open)?;
        let existing = name.and_then(|name| self.files.find(name));
        let node = match (existing, name) {
            (Some(_), _) if flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0 => {
                return Err(ffi::SQLITE_CANTOPEN);
            }
            (Some(node), _) => node,
            (None, Some(_)) if flags & ffi::SQLITE_OPEN_CREATE == 0 => {
                return Err(ffi::SQLITE_CANTOPEN);
            }
            (None, Some(name)) => {
                let node = self.files.create(name);
                self.changed()?;
                node
            }
            (None, None) => self.files.create_unnamed(),
        };
        self.files.opened(node);
        self.open_count += 1;
        self.handle_next += 1;
        Ok((self.handle_next, node))
    }

    pub(crate) fn close(&mut self, handle: HandleId, node: NodeId) {
        if let Some(locks) = self.locks.get_mut(&node) {
            locks.unlock(handle, ffi::SQLITE_LOCK_NONE);
        }
        if let Some(memory) = self.shared_memory.get_mut(&node) {
            memory.unmap(handle);
        }
        self.open_count -= 1;
        self.files.closed(node);
    }

    pub(crate) fn delete(&mut self, name: &str, sync_directory: bool) -> Result<(), Code> {
        self.admit(Operation::Delete)?;
        if !self.files.remove(name) {
            return Err(ffi::SQLITE_IOERR_DELETE_NOENT);
        }
        self.changed()?;
        if sync_directory && !self.disk.ignores_sync {
            self.files.sync_directory();
        }
        Ok(())
    }

    pub(crate) fn exists(&mut self, name: &str) -> Result<bool, Code> {
        self.admit(Operation::Access)?;
        Ok(self.files.find(name).is_some())
    }

    /// Reads what there is, and says how many bytes there were.
    pub(crate) fn read(
        &mut self,
        node: NodeId,
        into: &mut [u8],
        offset: u64,
    ) -> Result<usize, Code> {
        let admitted = self.admit(Operation::Read)?;
        let wanted = match admitted {
            Admitted::Whole => into.len(),
            Admitted::Short => into.len() / 2,
        };
        let bytes = self.files.bytes(node);
        let start = bytes.len().min(offset as usize);
        let end = bytes.len().min(start + wanted);
        into[..end - start].copy_from_slice(&bytes[start..end]);
        Ok(end - start)
    }

    pub(crate) fn write(&mut self, node: NodeId, bytes: &[u8], offset: u64) -> Result<(), Code> {
        let change = Change::Write {
            offset,
            bytes: bytes.into(),
        };
        match self.admit(Operation::Write) {
            Ok(_) => self.files.change(node, change),
            Err(code) if self.crashed => return Err(code),
            Err(code) => {
                self.files.change_torn(node, &change, &mut self.random);
                return Err(code);
            }
        }
        self.changed()
    }

    pub(crate) fn truncate(&mut self, node: NodeId, len: u64) -> Result<(), Code> {
        self.admit(Operation::Truncate)?;
        self.files.change(node, Change::SetLen(len));
        self.changed()
    }

    pub(crate) fn sync(&mut self, node: NodeId) -> Result<(), Code> {
        self.admit(Operation::Sync)?;
        self.changed()?;
        if !self.disk.ignores_sync {
            self.files.sync(node);
        }
        Ok(())
    }

    pub(crate) fn len(&mut self, node: NodeId) -> Result<u64, Code> {
        self.admit(Operation::FileSize)?;
        Ok(self.files.bytes(node).len() as u64)
    }

    pub(crate) fn lock(&mut self, handle: HandleId, node: NodeId, level: i32) -> Result<(), Code> {
        self.admit(Operation::Lock)?;
        let locks = self.locks.entry(node).or_default();
        locks.lock(handle, level).map_err(busy)
    }

    pub(crate) fn unlock(&mut self, handle: HandleId, node: NodeId, level: i32) {
        if let Some(locks) = self.locks.get_mut(&node) {
            locks.unlock(handle, level);
        }
    }

    pub(crate) fn reserved(&mut self, node: NodeId) -> Result<bool, Code> {
        self.admit(Operation::CheckReservedLock)?;
        Ok(self.locks.get(&node).is_some_and(FileLocks::reserved))
    }

    pub(crate) fn map(
        &mut self,
        handle: HandleId,
        node: NodeId,
        index: usize,
        len: usize,
        extend: bool,
    ) -> Result<Option<Region>, Code> {
        self.admit(Operation::ShmMap)?;
        let memory = self.shared_memory.entry(node).or_default();
        Ok(memory.map(handle, index, len, extend))
    }

    pub(crate) fn lock_memory(
        &mut self,
        handle: HandleId,
        node: NodeId,
        mask: u32,
        exclusive: bool,
    ) -> Result<(), Code> {
        self.admit(Operation::ShmLock)?;
        let memory = self.shared_memory.entry(node).or_default();
        memory.lock(handle, mask, exclusive).map_err(busy)
    }

    pub(crate) fn unlock_memory(&mut self, handle: HandleId, node: NodeId, mask: u32) {
        if let Some(memory) = self.shared_memory.get_mut(&node) {
            memory.unlock(handle, mask);
        }
    }

    pub(crate) fn unmap(&mut self, handle: HandleId, node: NodeId) {
        if let Some(memory) = self.shared_memory.get_mut(&node) {
            memory.unmap(handle);
        }
    }

    /// Lets an operation begin, or fails it.
    fn admit(&mut self, operation: Operation) -> Result<Admitted, Code> {
        if self.crashed {
            return Err(ffi::SQLITE_IOERR);
        }
        let Some(fault) = self.fault else {
            return Ok(Admitted::Whole);
        };
        if !fault.kind.counts(operation) {
            return Ok(Admitted::Whole);
        }
        self.fault_counted += 1;
        let strikes =
            self.fault_counted == fault.nth || (fault.persistent && self.fault_counted > fault.nth);
        if !strikes {
            return Ok(Admitted::Whole);
        }
        self.fault_struck += 1;
        self.fault_operation = Some(operation);
        match fault.kind {
            FaultKind::Full => Err(ffi::SQLITE_FULL),
            FaultKind::IoError => Err(operation.error()),
            FaultKind::ShortRead => Ok(Admitted::Short),
        }
    }

    /// The disk was told to change. This is the moment at which power may go.
    fn changed(&mut self) -> Result<(), Code> {
        self.changes += 1;
        if let Some(mut sampler) = self.sampler.take() {
            sampler.offer(self);
            self.sampler = Some(sampler);
        }
        if self.crash_at == Some(self.changes) {
            self.crashed = true;
            return Err(ffi::SQLITE_IOERR);
        }
        Ok(())
    }
}

impl Sampler {
    /// Reservoir sampling: the n-th moment is kept with probability capacity / n.
    fn offer(&mut self, state: &State) {
        self.seen += 1;
        let snapshot = || Snapshot {
            files: state.files.clone(),
            progress: state.progress,
            change: state.changes,
        };
        if self.kept.len() < self.capacity {
            self.kept.push(snapshot());
            return;
        }
        let place = self.random.below(self.seen) as usize;
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = snapshot();
        }
    }
}

fn busy(_: Busy) -> Code {
    ffi::SQLITE_BUSY
}
