//! Connections for Rust programs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cofferdam_sealed_file::Opener;
use rusqlite::{Connection, OpenFlags};

use crate::error::{clear_last_error, last_error};
use crate::ffi::Api;
use crate::vfs::register;

/// Opens sealed databases with one opener.
///
/// Each `Sealed` registers a file system layer with the SQLite in this program, for the life of the process: make one
/// and keep it.
#[derive(Clone)]
pub struct Sealed {
    layer: String,
}

impl Sealed {
    /// A layer that finds its keys through `opener`.
    ///
    /// # Errors
    /// When SQLite refuses another layer.
    pub fn new(opener: Arc<Opener>) -> Result<Sealed, OpenError> {
        Sealed::over(opener, None)
    }

    /// The same over a layer of SQLite's that is not the default.
    ///
    /// # Errors
    /// When there is no such layer.
    pub fn over(opener: Arc<Opener>, base: Option<&str>) -> Result<Sealed, OpenError> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let layer = format!("cofferdam-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let source = Box::new(move |_: crate::Parameters<'_>| Ok(opener.clone()));
        register(Api::linked(), &layer, base, false, source)
            .map_err(|text| OpenError { text, source: None })?;
        Ok(Sealed { layer })
    }

    /// The name that SQLite knows the layer by, for `ATTACH 'file:…?vfs=NAME'` and URIs.
    #[must_use]
    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// Opens a sealed database for reading and writing, and makes it if it is not there and the opener makes new ones.
    ///
    /// # Errors
    /// [`OpenError`], which says why in words.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Connection, OpenError> {
        self.open_with(path, OpenFlags::default())
    }

    /// Opens a sealed database with SQLite's own flags.
    ///
    /// A connection has a mutex, whatever the flags say: without one a fence could not empty its page cache.
    ///
    /// # Errors
    /// [`OpenError`], which says why in words.
    pub fn open_with(
        &self,
        path: impl AsRef<Path>,
        flags: OpenFlags,
    ) -> Result<Connection, OpenError> {
        clear_last_error();
        let flags = (flags - OpenFlags::SQLITE_OPEN_NO_MUTEX) | OpenFlags::SQLITE_OPEN_FULL_MUTEX;
        Connection::open_with_flags_and_vfs(path.as_ref(), flags, self.layer.as_str()).map_err(
            |source| OpenError {
                text: last_error().unwrap_or_else(|| source.to_string()),
                source: Some(source),
            },
        )
    }
}

/// Why a sealed database was not opened.
#[derive(Debug)]
pub struct OpenError {
    text: String,
    source: Option<rusqlite::Error>,
}

impl OpenError {
    /// What SQLite made of it, when SQLite was asked.
    #[must_use]
    pub fn sqlite(&self) -> Option<&rusqlite::Error> {
        self.source.as_ref()
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}
