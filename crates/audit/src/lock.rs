//! Locks on files, that nobody waits for without end.

use std::fs::{File, TryLockError};
use std::io;
use std::thread;
use std::time::Duration;

/// Takes the exclusive lock of a file. Whoever appends holds it for moments; somebody who may only read the directory can hold it for as long as
/// they like, and must not keep a key from being wiped or a database from being opened.
///
/// `stage` says how far the holders of the lock have come. While it changes there are others in turn, and they are waited for longer.
pub(crate) fn take<T: PartialEq>(file: &File, stage: impl Fn() -> T) -> io::Result<()> {
    take_within(file, stage, &PATIENCE)
}

/// In tries, which are [`BETWEEN`] apart.
struct Patience {
    /// With somebody who holds the lock and does nothing.
    idle: u32,
    /// In all.
    most: u32,
}

fn take_within<T: PartialEq>(
    file: &File,
    stage: impl Fn() -> T,
    patience: &Patience,
) -> io::Result<()> {
    let mut seen = None;
    for attempt in 1..=patience.most {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if attempt.is_multiple_of(patience.idle) {
            let now = Some(stage());
            if seen == now {
                break;
            }
            seen = now;
        }
        thread::sleep(BETWEEN);
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process holds the lock and does not give it up",
    ))
}

const PATIENCE: Patience = Patience {
    // One second; twice that until it is sure.
    idle: 200,
    // Half a minute.
    most: 6000,
};
const BETWEEN: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const SHORT: Patience = Patience { idle: 4, most: 80 };

    fn held() -> (tempfile::TempDir, File, File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let holder = File::create(&path).unwrap();
        holder.lock().unwrap();
        (dir, holder, File::open(&path).unwrap())
    }

    #[test]
    fn nobody_waits_for_a_holder_who_does_nothing() {
        let (_dir, _holder, file) = held();
        let looks = Cell::new(0);
        let stage = || looks.set(looks.get() + 1);
        let refused = take_within(&file, stage, &SHORT).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert_eq!(looks.get(), 2, "the same was seen twice");
    }

    #[test]
    fn holders_who_come_on_are_waited_for_and_not_for_ever() {
        let (_dir, holder, file) = held();
        let looks = Cell::new(0);
        let stage = || {
            looks.set(looks.get() + 1);
            if looks.get() == 5 {
                holder.unlock().unwrap();
            }
            looks.get()
        };
        take_within(&file, stage, &SHORT).unwrap();
        assert_eq!(looks.get(), 5);

        let (_dir, _holder, file) = held();
        let looks = Cell::new(0);
        let stage = || {
            looks.set(looks.get() + 1);
            looks.get()
        };
        let refused = take_within(&file, stage, &SHORT).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert!(looks.get() > 2);
    }
}
