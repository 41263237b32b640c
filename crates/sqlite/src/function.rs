//! The SQL function `cofferdam_error()`, and messages in SQLite's memory.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use crate::error::last_error;
use crate::ffi::{self, Api};

impl Api {
    /// Puts a message where SQLite wants one.
    ///
    /// # Safety
    /// `place` is null or a place for a string that SQLite frees.
    pub unsafe fn put_message(&self, place: *mut *mut c_char, text: &str) -> c_int {
        if place.is_null() {
            return ffi::OK;
        }
        let Ok(size) = c_int::try_from(text.len() + 1) else {
            return ffi::NOMEM;
        };
        // SAFETY: SQLite's allocator.
        let memory = unsafe { (self.malloc)(size) }.cast::<u8>();
        if memory.is_null() {
            return ffi::NOMEM;
        }
        // SAFETY: the memory has room for the text and its end, and the place is the caller's.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr(), memory, text.len());
            *memory.add(text.len()) = 0;
            *place = memory.cast();
        }
        ffi::OK
    }
}

/// Gives a connection the SQL function `cofferdam_error()`: the last error of the thread in words, or NULL.
///
/// # Safety
/// `connection` is null or an open connection of the SQLite that `api` is from.
pub unsafe fn add_error_function(api: Api, connection: *mut c_void) {
    if connection.is_null() {
        return;
    }
    API.get_or_init(|| api);
    // SAFETY: an open connection, a C string, and functions of the types that SQLite asks for. Where SQLite
    // refuses, the program does without the function.
    unsafe {
        (api.create_function)(
            connection,
            c"cofferdam_error".as_ptr(),
            0,
            UTF8,
            ptr::null_mut(),
            Some(cofferdam_error),
            None,
            None,
            None,
        );
    }
}

unsafe extern "C" fn cofferdam_error(context: *mut c_void, _: c_int, _: *mut *mut c_void) {
    let Some(api) = API.get() else { return };
    if let Some(text) = last_error()
        && let Ok(len) = c_int::try_from(text.len())
    {
        // SAFETY: SQLite's own context; SQLite copies the text.
        unsafe { (api.result_text)(context, text.as_ptr().cast(), len, TRANSIENT) };
    }
}

/// The functions of the SQLite that this extension is loaded into.
static API: OnceLock<Api> = OnceLock::new();

/// SQLITE_UTF8.
const UTF8: c_int = 1;
/// SQLITE_TRANSIENT.
const TRANSIENT: isize = -1;
