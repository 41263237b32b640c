//! Locks on files, that nobody waits for without end.

use std::fs::{File, TryLockError};
use std::io;
use std::thread;
use std::time::Duration;

/// Takes the exclusive lock of a file. Whoever appends holds it for moments; somebody who may only read the directory can hold it for as long as
/// they like, and must not keep a key from being wiped or a database from being opened.
pub(crate) fn take(file: &File) -> io::Result<()> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(BETWEEN),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process holds the lock and does not give it up",
    ))
}

/// Two seconds together.
const TRIES: u32 = 400;
const BETWEEN: Duration = Duration::from_millis(5);
