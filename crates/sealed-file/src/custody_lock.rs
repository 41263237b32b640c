//! One custodian at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::Error;

/// Held by whoever changes a store's keys, in whatever process. It ends with the value, or with the process.
///
/// The file is in the audit log's directory and not the store itself: a process that has a database open through SQLite would give up
/// SQLite's locks by closing the database's file once more (POSIX, `fcntl`).
pub(crate) struct CustodyLock {
    _file: File,
}

impl CustodyLock {
    pub(crate) fn take(log_dir: &Path) -> Result<CustodyLock, Error> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(log_dir.join(NAME))
            .map_err(Error::io("opening the lock of custodians"))?;
        match file.try_lock() {
            Ok(()) => Ok(CustodyLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy),
            Err(TryLockError::Error(source)) => Err(Error::Io {
                doing: "taking the lock of custodians",
                source,
            }),
        }
    }
}

const NAME: &str = "custodian.lock";
