//! From our errors to SQLite's codes, and to a text for people.

use std::cell::RefCell;
use std::ffi::c_int;

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
        Error::NotSealed { .. } => ffi::NOTADB,
        Error::Keys(KeysError::NotAuthentic | KeysError::Structure { .. }) => ffi::IOERR_DATA,
        Error::Keys(KeysError::Refused(_)) => ffi::AUTH,
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
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers a text for [`last_error`].
pub(crate) fn remember(text: String) {
    LAST.with(|last| *last.borrow_mut() = Some(text));
}

/// What went wrong last in this thread, in words: SQLite itself can only carry a number. It names the file and says what
/// to do.
#[must_use]
pub fn last_error() -> Option<String> {
    LAST.with(|last| last.borrow().clone())
}

/// Forgets the last error.
pub fn clear_last_error() {
    LAST.with(|last| *last.borrow_mut() = None);
}
