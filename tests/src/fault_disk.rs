//! A disk that fails when it is told to.

use std::io::{Error, ErrorKind, Result};
use std::sync::{Mutex, MutexGuard};

use cofferdam_sealed_file::Disk;

/// Hands everything on until its fault strikes.
pub struct FaultDisk<D> {
    disk: D,
    plan: Mutex<Plan>,
}

/// What can be asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// `len`.
    Len,
    /// `read_at`.
    Read,
    /// `set_len`.
    SetLen,
    /// `sync`.
    Sync,
    /// `write_at`.
    Write,
}

/// A fault: the nth of the counted operations fails.
#[derive(Clone, Copy)]
pub struct DiskFault {
    /// Which one, from 1.
    pub nth: u64,
    /// How.
    pub kind: DiskFaultKind,
    /// Whether every later one fails too.
    pub persistent: bool,
    /// Which operations are counted, and fail.
    pub counted: fn(DiskOperation) -> bool,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFaultKind {
    /// EIO; nothing happened.
    Io,
    /// ENOSPC; nothing happened.
    NoSpace,
    /// EIO; a write has written the first half of its bytes.
    ShortWrite,
}

#[derive(Default)]
struct Plan {
    fault: Option<DiskFault>,
    counted: u64,
    struck: u64,
}

impl<D: Disk> FaultDisk<D> {
    /// A disk without a fault.
    pub fn new(disk: D) -> FaultDisk<D> {
        FaultDisk {
            disk,
            plan: Mutex::default(),
        }
    }

    /// Arms a fault; its count starts here.
    pub fn inject(&self, fault: DiskFault) {
        *self.plan() = Plan {
            fault: Some(fault),
            ..Plan::default()
        };
    }

    /// Disarms the fault and says how often it struck: 0 means that the scenario has been through
    /// all of its operations.
    pub fn disarm(&self) -> u64 {
        let plan = std::mem::take(&mut *self.plan());
        plan.struck
    }

    /// The disk behind the faults.
    pub fn inner(&self) -> &D {
        &self.disk
    }

    fn admit(&self, operation: DiskOperation) -> std::result::Result<(), DiskFaultKind> {
        let mut plan = self.plan();
        let Some(fault) = plan.fault.filter(|fault| (fault.counted)(operation)) else {
            return Ok(());
        };
        plan.counted += 1;
        if plan.counted == fault.nth || (fault.persistent && plan.counted > fault.nth) {
            plan.struck += 1;
            return Err(fault.kind);
        }
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("planning does not panic")
    }
}

impl<D: Disk> Disk for FaultDisk<D> {
    fn len(&self) -> Result<u64> {
        self.admit(DiskOperation::Len).map_err(error)?;
        self.disk.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.admit(DiskOperation::Read).map_err(error)?;
        self.disk.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        match self.admit(DiskOperation::Write) {
            Ok(()) => self.disk.write_at(bytes, offset),
            Err(kind) => {
                if kind == DiskFaultKind::ShortWrite {
                    self.disk.write_at(&bytes[..bytes.len() / 2], offset)?;
                }
                Err(error(kind))
            }
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.admit(DiskOperation::SetLen).map_err(error)?;
        self.disk.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        self.admit(DiskOperation::Sync).map_err(error)?;
        self.disk.sync()
    }
}

fn error(kind: DiskFaultKind) -> Error {
    match kind {
        DiskFaultKind::Io | DiskFaultKind::ShortWrite => Error::other("an injected EIO"),
        DiskFaultKind::NoSpace => Error::from(ErrorKind::StorageFull),
    }
}
