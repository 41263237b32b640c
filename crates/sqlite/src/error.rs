//! From our errors to SQLite's codes, and to a text for people.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cofferdam_keys::KeysError;
use cofferdam_sealed_file::Error;

use crate::base::Code;
use crate::ffi;

/// The code that tells SQLite, and through it the application, what to do.
pub(crate) fn code(error: &Error) -> c_int {
    match error {
        Error::Io { source, .. } => source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Code>())
            .map_or(ffi::IOERR, |code| code.0),
        // An I/O error: after any other code SQLite would trust a page cache that a failed rollback left half way.
        Error::Fenced(_) => ffi::IOERR_AUTH,
        Error::NotSealed { .. } => ffi::NOTADB,
        Error::Keys(KeysError::NotAuthentic | KeysError::Structure { .. }) => ffi::IOERR_DATA,
        Error::Keys(KeysError::Refused(_) | KeysError::Unpinned { .. }) => ffi::AUTH,
        Error::Keys(_) | Error::Misuse { .. } | Error::AuditMissing { .. } | Error::Audit(_) => {
            ffi::CANTOPEN
        }
        Error::RolledBack { .. } => ffi::AUTH,
        Error::TooLong => ffi::FULL,
        Error::PageAltered { .. } | Error::RecordAltered { .. } | Error::OtherStore { .. } => {
            ffi::IOERR_DATA
        }
        _ => ffi::IOERR,
    }
}

thread_local! {
    static LAST: RefCell<Option<Said>> = const { RefCell::new(None) };
}

/// A text, and when it was said.
#[derive(Clone)]
struct Said {
    text: String,
    number: u64,
}

impl Said {
    fn now(text: String) -> Said {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Said { text, number }
    }
}

/// Remembers a text for [`last_error`].
pub(crate) fn remember(text: String) {
    LAST.with(|last| *last.borrow_mut() = Some(Said::now(text)));
}

/// What went wrong last in this thread, in words: SQLite itself can only carry a number. It names the file and says what
/// to do.
///
/// That a database of this process was fenced is news in every thread: SQLite says no more than `interrupted` to a statement that
/// was running.
#[must_use]
pub fn last_error() -> Option<String> {
    let own = LAST.with(|last| last.borrow().clone());
    let fenced = fences().values().max_by_key(|said| said.number).cloned();
    let latest = own.into_iter().chain(fenced).max_by_key(|said| said.number);
    latest.map(|said| said.text)
}

/// Forgets the last error.
pub fn clear_last_error() {
    LAST.with(|last| *last.borrow_mut() = None);
}

/// A database of this process is closed because of its key.
pub(crate) fn fence_began(path: &Path, text: String) {
    fences()
        .entry(path.to_owned())
        .or_insert_with(|| Said::now(text));
}

/// It is open again, or gone.
pub(crate) fn fence_ended(path: &Path) {
    fences().remove(path);
}

fn fences() -> MutexGuard<'static, BTreeMap<PathBuf, Said>> {
    static FENCES: Mutex<BTreeMap<PathBuf, Said>> = Mutex::new(BTreeMap::new());
    FENCES.lock().unwrap_or_else(PoisonError::into_inner)
}
