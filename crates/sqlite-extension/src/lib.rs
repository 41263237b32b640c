//! The loadable extension: `SELECT load_extension('libcofferdam_sqlite_extension')` gives any program that uses SQLite the
//! file system layer `cofferdam`, and a database is opened as `file:app.db?vfs=cofferdam`.
//!
//! Keys come from the environment (see `cofferdam_wiring`) or from the URI: `customer`, `infrastructure`, `suite`, `audit`, `pin`. The URI
//! adds to the environment and never overrides it.
//! An existing database needs neither: its keyring names its keys.
//!
//! After loading, the SQL function `cofferdam_error()` gives the last error of the thread in words.

use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

use cofferdam_sqlite::{Api, Parameters, add_error_function, register};
use cofferdam_wiring::Settings;

/// The entry point that SQLite looks for: the file's name without `lib`, in letters only.
///
/// # Safety
/// SQLite calls it, or somebody who passes what SQLite would: null or an open connection, null or a place for a message from
/// SQLite's allocator, and the table of SQLite's functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sqlite3_cofferdamsqliteextension_init(
    connection: *mut c_void,
    message: *mut *mut c_char,
    routines: *const c_void,
) -> c_int {
    // SAFETY: the caller's promise is the same.
    unsafe { sqlite3_cofferdam_init(connection, message, routines) }
}

/// The same under a short name, for `load_extension(FILE, 'sqlite3_cofferdam_init')` and for programs that call it
/// themselves, also before there is a connection, and more than once.
///
/// # Safety
/// As [`sqlite3_cofferdamsqliteextension_init`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sqlite3_cofferdam_init(
    connection: *mut c_void,
    message: *mut *mut c_char,
    routines: *const c_void,
) -> c_int {
    // SAFETY: the caller passes SQLite's table.
    let Some(api) = (unsafe { Api::from_routines(routines) }) else {
        return ERROR;
    };
    let registered = settings()
        .and_then(|settings| register(api, "cofferdam", Some("unix"), false, source(settings)));
    match registered {
        Ok(()) => {
            // SAFETY: null or an open connection.
            unsafe { add_error_function(api, connection) };
            OK_LOAD_PERMANENTLY
        }
        Err(text) => {
            // SAFETY: null or a place for a message.
            unsafe { api.put_message(message, &text) };
            ERROR
        }
    }
}

/// The environment's settings, read once: a later change of a variable must not change what protects the next database.
fn settings() -> Result<&'static Settings, String> {
    static SETTINGS: OnceLock<Result<Settings, String>> = OnceLock::new();
    SETTINGS
        .get_or_init(|| Settings::from_environment().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(Clone::clone)
}

/// One opener for all databases, but for those whose URI says otherwise.
fn source(settings: &'static Settings) -> cofferdam_sqlite::OpenerSource {
    let shared = settings
        .opener()
        .map(Arc::new)
        .map_err(|error| error.to_string());
    Box::new(move |parameters: Parameters<'_>| {
        let mut own: Option<Settings> = None;
        for name in ["customer", "infrastructure", "suite", "audit", "pin"] {
            if let Some(value) = parameters(name) {
                own.get_or_insert_with(|| settings.clone())
                    .add(name, &value)
                    .map_err(|error| error.to_string())?;
            }
        }
        match own {
            None => shared.clone(),
            Some(own) => own
                .opener()
                .map(Arc::new)
                .map_err(|error| error.to_string()),
        }
    })
}

const ERROR: c_int = 1;
const OK_LOAD_PERMANENTLY: c_int = 256;
