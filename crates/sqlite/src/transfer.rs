//! From a plain database to a sealed one, and back, byte for byte.
//!
//! Invariants:
//!
//! 1. What was there before stays as it was: the source is read in one transaction, and no file is replaced.
//! 2. A copy gets its name only after all of it is durable and was read back, equal to what was put in.

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use cofferdam_cipher::PageSize;
use cofferdam_sealed_file::{FileDisk, Opener, SealedFile};
use zeroize::Zeroizing;

use crate::new_file::NewFile;
use crate::{Snapshot, TransferError};

/// Hears of the bytes done and of all, and may ask to stop.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// A copy that is durable and was read back, and has no name yet. Dropped, it is gone.
pub struct Transfer {
    file: NewFile,
    log: Option<UnbornLog>,
    target: PathBuf,
    sha256: [u8; 32],
    bytes: u64,
}

impl Transfer {
    /// SHA-256 of the database's bytes, as its owner sees them.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Bytes of the database.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the copy its name.
    ///
    /// # Errors
    /// [`TransferError::Exists`] when something has appeared there meanwhile; [`TransferError::Io`].
    pub fn publish(self) -> Result<(), TransferError> {
        let target = self.target;
        let published = self.file.publish();
        let taken =
            matches!(&published, Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists);
        // The copy may have its name although the directory could not be synced; its log then stays with it.
        if let Some(log) = self.log
            && !taken
            && target.exists()
        {
            log.keep();
        }
        published.map_err(|error| match taken {
            true => TransferError::Exists {
                path: target.clone(),
            },
            false => TransferError::io("naming", &target)(error),
        })
    }
}

/// The largest sealed page: a larger one costs more to append to a log than it saves.
pub const SEALED_PAGE_SIZE_MAX: usize = 16 * 1024;

/// Seals a copy of a plain database under the keys of `opener`, in a store of its own.
///
/// `page_size` is that of the sealed pages; `None` takes the database's, at most [`SEALED_PAGE_SIZE_MAX`].
///
/// # Errors
/// [`TransferError::Exists`] when there is anything at `target` or of its log and journals;
/// [`TransferError::PageSize`]; [`TransferError::Sealed`] with the vault's or the disk's reason;
/// [`TransferError::Interrupted`]; [`TransferError::Differs`].
pub fn seal(
    snapshot: &Snapshot,
    opener: &Opener,
    target: &Path,
    page_size: Option<PageSize>,
    progress: Progress<'_>,
) -> Result<Transfer, TransferError> {
    let page_size = sealed_page_size(snapshot, page_size)?;
    check_vacant(target, &["", "-wal", "-journal", "-shm", "-audit"])?;
    let io = |error| TransferError::io("creating", target)(error);
    let file = NewFile::beside(target).map_err(io)?;
    let log = UnbornLog::watch(opener, target);
    let disk = || -> Result<FileDisk, TransferError> {
        Ok(FileDisk::from(file.file().try_clone().map_err(io)?))
    };
    let store = opener.create_store(&disk()?, target, Some(page_size))?;
    let mut sealed = SealedFile::open(disk()?, opener.main_setup(&store))?;
    let mut steps = Steps::new(snapshot, progress);
    let mut hash = Context::new(&SHA256);
    let mut at = 0;
    snapshot.each_page(|page| {
        hash.update(page);
        sealed.write_at(page, at)?;
        at += page.len() as u64;
        steps.done(at)
    })?;
    sealed.sync()?;
    let mut sealed = SealedFile::open(disk()?, opener.main_setup(&store))?;
    let sha256 = digest(hash);
    if sealed.len()? != at {
        return Err(TransferError::Differs);
    }
    read_back(at, sha256, &mut steps, |bytes, offset| {
        Ok(sealed.read_at(bytes, offset)?)
    })?;
    file.set_mode(snapshot.mode()).map_err(io)?;
    Ok(Transfer {
        file,
        log,
        target: target.to_owned(),
        sha256,
        bytes: at,
    })
}

/// Writes the database of a snapshot in the open, readable by its owner alone.
///
/// # Errors
/// As [`seal`].
pub fn unseal(
    snapshot: &Snapshot,
    target: &Path,
    progress: Progress<'_>,
) -> Result<Transfer, TransferError> {
    check_vacant(target, &["", "-wal", "-journal", "-shm"])?;
    let io = |error| TransferError::io("writing", target)(error);
    let new = NewFile::beside(target).map_err(io)?;
    let file: &File = new.file();
    let mut steps = Steps::new(snapshot, progress);
    let mut hash = Context::new(&SHA256);
    let mut at = 0;
    snapshot.each_page(|page| {
        hash.update(page);
        file.write_all_at(page, at).map_err(io)?;
        at += page.len() as u64;
        steps.done(at)
    })?;
    file.sync_all().map_err(io)?;
    let sha256 = digest(hash);
    read_back(at, sha256, &mut steps, |bytes, offset| {
        file.read_exact_at(bytes, offset).map_err(io)?;
        Ok(bytes.len())
    })?;
    Ok(Transfer {
        file: new,
        log: None,
        target: target.to_owned(),
        sha256,
        bytes: at,
    })
}

/// Compares what was written with what was meant.
fn read_back(
    bytes: u64,
    sha256: [u8; 32],
    steps: &mut Steps<'_>,
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, TransferError>,
) -> Result<(), TransferError> {
    let mut hash = Context::new(&SHA256);
    let mut buffer = Zeroizing::new(vec![0; READ_LEN]);
    let mut at = 0;
    while at < bytes {
        let wanted = READ_LEN.min(usize::try_from(bytes - at).unwrap_or(READ_LEN));
        if read(&mut buffer[..wanted], at)? != wanted {
            return Err(TransferError::Differs);
        }
        hash.update(&buffer[..wanted]);
        at += wanted as u64;
        steps.done(bytes + at)?;
    }
    if digest(hash) != sha256 {
        return Err(TransferError::Differs);
    }
    Ok(())
}

fn digest(hash: Context) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(hash.finish().as_ref());
    sha256
}

fn sealed_page_size(
    snapshot: &Snapshot,
    asked: Option<PageSize>,
) -> Result<PageSize, TransferError> {
    let database = snapshot.page_size();
    let bytes = asked.map_or(database.min(SEALED_PAGE_SIZE_MAX), PageSize::bytes);
    match PageSize::try_from(bytes) {
        Ok(size) if bytes <= database => Ok(size),
        _ => Err(TransferError::PageSize {
            asked: bytes,
            database,
        }),
    }
}

/// A log or journal that lies around would be taken for the new database's own.
fn check_vacant(target: &Path, suffixes: &[&str]) -> Result<(), TransferError> {
    for suffix in suffixes {
        let path = with_suffix(target, suffix);
        if path.symlink_metadata().is_ok() {
            return Err(TransferError::Exists { path });
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Bytes done, told to whoever waits.
struct Steps<'a> {
    progress: Progress<'a>,
    total: u64,
    told: u64,
}

impl<'a> Steps<'a> {
    /// Everything is written once and read once.
    fn new(snapshot: &Snapshot, progress: Progress<'a>) -> Steps<'a> {
        Steps {
            progress,
            total: 2 * snapshot.bytes(),
            told: 0,
        }
    }

    fn done(&mut self, bytes: u64) -> Result<(), TransferError> {
        if bytes < self.told + STEP_LEN && bytes < self.total {
            return Ok(());
        }
        self.told = bytes;
        match (self.progress)(bytes, self.total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TransferError::Interrupted),
        }
    }
}

/// The audit log of a store that does not exist yet. Dropped, it goes the way of the store.
struct UnbornLog(PathBuf);

impl UnbornLog {
    /// `None` when the log does not lie beside the store, or was there before.
    fn watch(opener: &Opener, target: &Path) -> Option<UnbornLog> {
        let beside = with_suffix(target, "-audit");
        let ours = opener.audit == cofferdam_sealed_file::AuditPlace::Beside;
        (ours && !beside.exists()).then_some(UnbornLog(beside))
    }

    fn keep(mut self) {
        self.0 = PathBuf::new();
    }
}

impl Drop for UnbornLog {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Bytes read back at a time.
const READ_LEN: usize = 256 * 1024;

/// Bytes between two calls of the progress function.
const STEP_LEN: u64 = 256 * 1024;
