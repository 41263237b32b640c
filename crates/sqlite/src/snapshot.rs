//! A database's pages as of one moment, exactly as SQLite sees them: what a write-ahead log adds is in them, what a
//! writer adds later is not.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, ffi};

use crate::error::{clear_last_error, last_error};
use crate::{Sealed, TransferError};

/// One read transaction, held for as long as this lives. The database itself is not changed; an unfinished
/// checkpoint of a write-ahead log stays unfinished.
pub struct Snapshot {
    connection: Connection,
    path: PathBuf,
    mode: u32,
    page_size: usize,
    page_count: u64,
}

impl Snapshot {
    /// Of a plain database. Nobody may have it open in this process.
    ///
    /// # Errors
    /// [`TransferError::NotADatabase`], [`TransferError::AlreadySealed`], [`TransferError::Empty`],
    /// [`TransferError::HotJournal`], [`TransferError::Sqlite`], [`TransferError::Io`].
    pub fn of_plain(path: &Path) -> Result<Snapshot, TransferError> {
        let (path, mode) = check_plain(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        clear_last_error();
        let opened = Connection::open_with_flags(&path, flags)
            .map_err(|error| TransferError::sqlite(&path, error))?;
        Snapshot::take(opened, path, mode)
    }

    /// Of a sealed database. A transaction that a crash left unfinished is rolled back first, as SQLite always does.
    ///
    /// # Errors
    /// [`TransferError::Open`] with the reason why it does not open, [`TransferError::Empty`],
    /// [`TransferError::Sqlite`], [`TransferError::Io`].
    pub fn of_sealed(sealed: &Sealed, path: &Path) -> Result<Snapshot, TransferError> {
        let io = TransferError::io("opening", path);
        let path = fs::canonicalize(path).map_err(io)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = sealed
            .open_with(&path, flags)
            .map_err(TransferError::Open)?;
        // What becomes of the pages in the open is nobody else's to read.
        Snapshot::take(opened, path, 0o600)
    }

    fn take(connection: Connection, path: PathBuf, mode: u32) -> Result<Snapshot, TransferError> {
        let (page_size, page_count) = begin(&connection).map_err(|error| failed(&path, error))?;
        if page_count == 0 {
            return Err(TransferError::Empty { path });
        }
        let has_pages = connection
            .query_row(HAS_PAGES, [], |row| row.get::<_, bool>(0))
            .map_err(|error| failed(&path, error))?;
        if !has_pages {
            return Err(TransferError::NoPageTable);
        }
        Ok(Snapshot {
            connection,
            path,
            mode,
            page_size,
            page_count,
        })
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Bytes of the database.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.page_count * self.page_size as u64
    }

    /// The database's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Permission bits for a copy.
    pub(crate) fn mode(&self) -> u32 {
        self.mode
    }

    /// Hands out every page, in order.
    pub(crate) fn each_page(
        &self,
        mut take: impl FnMut(&[u8]) -> Result<(), TransferError>,
    ) -> Result<(), TransferError> {
        let wrap = |error| failed(&self.path, error);
        let mut statement = self.connection.prepare(PAGES).map_err(wrap)?;
        let mut rows = statement.query([]).map_err(wrap)?;
        let mut seen = 0;
        while let Some(row) = rows.next().map_err(wrap)? {
            let number: i64 = row.get(0).map_err(wrap)?;
            let page = row.get_ref(1).map_err(wrap)?;
            let page = page.as_blob().unwrap_or_default();
            seen += 1;
            if u64::try_from(number) != Ok(seen) || page.len() != self.page_size {
                return Err(TransferError::PagesOutOfOrder { page: seen });
            }
            take(page)?;
        }
        if seen != self.page_count {
            return Err(TransferError::PagesOutOfOrder { page: seen + 1 });
        }
        Ok(())
    }
}

/// Begins the read transaction, and answers page size and page count as of it.
fn begin(connection: &Connection) -> rusqlite::Result<(usize, u64)> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("BEGIN")?;
    // The first look into the file takes the lock, and with it the snapshot.
    connection.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    let page_size: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let page_count: u32 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    Ok((page_size as usize, u64::from(page_count)))
}

/// The path without links, and the permission bits; or why it is no plain database.
fn check_plain(path: &Path) -> Result<(PathBuf, u32), TransferError> {
    let io = |error| TransferError::io("opening", path)(error);
    let path = fs::canonicalize(path).map_err(io)?;
    let metadata = fs::metadata(&path).map_err(io)?;
    if !metadata.is_file() {
        return Err(TransferError::NotADatabase { path });
    }
    let mut head = Vec::with_capacity(HEAD_LEN);
    let file = File::open(&path).map_err(io)?;
    file.take(HEAD_LEN as u64)
        .read_to_end(&mut head)
        .map_err(io)?;
    if head.starts_with(b"SQLite format 3\0") {
        return Ok((path, metadata.mode()));
    }
    let sealed = |at: usize| head.get(at..).is_some_and(|b| b.starts_with(b"CDAMKEYS"));
    if sealed(0) || sealed(HEAD_LEN / 2) {
        return Err(TransferError::AlreadySealed { path });
    }
    Err(TransferError::NotADatabase { path })
}

fn failed(path: &Path, error: rusqlite::Error) -> TransferError {
    let code = error.sqlite_error().map(|error| error.extended_code);
    if code == Some(ffi::SQLITE_READONLY_ROLLBACK) || code == Some(ffi::SQLITE_READONLY_RECOVERY) {
        return TransferError::HotJournal {
            path: path.to_owned(),
        };
    }
    match last_error() {
        Some(text) => TransferError::Layer { text, error },
        None => TransferError::sqlite(path, error),
    }
}

/// Both slots of a sealed database's keyring.
const HEAD_LEN: usize = 2 * 16384;

const HAS_PAGES: &str =
    "SELECT EXISTS(SELECT 1 FROM pragma_module_list WHERE name = 'sqlite_dbpage')";
const PAGES: &str = "SELECT pgno, data FROM sqlite_dbpage('main')";
