//! The file system layer underneath, which does the input and output, the locks and the shared memory.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cofferdam_sealed_file::Disk;

use crate::ffi::{self, File, IoMethods, Vfs};

/// The layer underneath. SQLite keeps registered layers for the life of the process.
#[derive(Clone, Copy)]
pub(crate) struct Base(pub(crate) *mut Vfs);

// SAFETY: SQLite calls a registered layer from any thread.
unsafe impl Send for Base {}
// SAFETY: as above; the layer's own fields are not changed after registration.
unsafe impl Sync for Base {}

impl Base {
    pub(crate) fn vfs(&self) -> &Vfs {
        // SAFETY: a registered layer lives as long as the process.
        unsafe { &*self.0 }
    }

    /// Opens a file; answers it with the flags it was opened with.
    ///
    /// # Safety
    /// `name` is null or a file name as SQLite passes them to `xOpen` with these flags, and lives as long as
    /// the file.
    pub(crate) unsafe fn open(
        self,
        name: *const c_char,
        flags: c_int,
    ) -> Result<(Arc<BaseFile>, c_int), Code> {
        let words = (self.vfs().file_len as usize).div_ceil(size_of::<u64>());
        let mut memory = vec![0u64; words].into_boxed_slice();
        let file = memory.as_mut_ptr().cast::<File>();
        let mut out_flags = flags;
        // SAFETY: the memory has the size the layer asked for, zeroed and aligned for any of its fields.
        let code = unsafe { (self.vfs().open)(self.0, name, file, flags, &mut out_flags) };
        let opened = Arc::new(BaseFile {
            file,
            _memory: memory,
            closed: AtomicBool::new(false),
            sync_flags: AtomicI32::new(SYNC_NORMAL),
            io: Mutex::new(()),
        });
        if code != ffi::OK {
            return Err(Code(code));
        }
        Ok((opened, out_flags))
    }
}

impl Base {
    /// Makes the removal of files beside a database durable. Layers sync a directory when they remove a file
    /// from it, so one is made for that.
    pub(crate) fn sync_directory_of(self, database: &Path) -> Result<(), Code> {
        let name = FileName::beside(database, "-sync").ok_or(Code(ffi::CANTOPEN))?;
        let flags = ffi::OPEN_READWRITE | ffi::OPEN_CREATE | ffi::OPEN_SUPER_JOURNAL;
        // SAFETY: the name has the form that SQLite gives to layers, and outlives the file.
        let (file, _) = unsafe { self.open(name.as_ptr(), flags) }?;
        file.close();
        // SAFETY: a C string.
        match unsafe { (self.vfs().delete)(self.0, name.as_ptr(), 1) } {
            ffi::OK => Ok(()),
            code => Err(Code(code)),
        }
    }
}

/// A file's name as SQLite passes it to layers: with zeros before it and no parameters behind it.
pub(crate) struct FileName(Vec<u8>);

impl FileName {
    /// The name of a file; `None` when it has a NUL byte.
    pub(crate) fn new(path: &Path) -> Option<FileName> {
        FileName::beside(path, "")
    }

    fn beside(path: &Path, suffix: &str) -> Option<FileName> {
        let path = path.as_os_str().as_bytes();
        if path.contains(&0) {
            return None;
        }
        let mut bytes = vec![0; NAME_ZEROS];
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(suffix.as_bytes());
        bytes.extend_from_slice(&[0; NAME_ZEROS]);
        Some(FileName(bytes))
    }

    pub(crate) fn as_ptr(&self) -> *const c_char {
        self.0[NAME_ZEROS..].as_ptr().cast()
    }
}

/// Zeros that mark the beginning and the end of a name with its parameters.
const NAME_ZEROS: usize = 4;

/// A file of the layer underneath. It is closed once, at the latest when it is dropped.
pub(crate) struct BaseFile {
    file: *mut File,
    _memory: Box<[u64]>,
    closed: AtomicBool,
    sync_flags: AtomicI32,
    /// Held for every call that reads, writes or closes: layers may keep the position in the file between calls, and
    /// whoever asks the vaults about an open store reads beside its connection.
    io: Mutex<()>,
}

// SAFETY: SQLite itself moves files between threads; calls that touch the file's contents do not overlap, because of `io`, and the
// others belong to the one thread that uses the connection.
unsafe impl Send for BaseFile {}
// SAFETY: as above.
unsafe impl Sync for BaseFile {}

impl BaseFile {
    pub(crate) fn as_ptr(&self) -> *mut File {
        self.file
    }

    /// The methods; `None` after a close, or when the layer did not open the file.
    pub(crate) fn methods(&self) -> Option<&IoMethods> {
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        // SAFETY: the file's memory lives as long as self, and its methods are the layer's own static table.
        unsafe { (*self.file).methods.as_ref() }
    }

    pub(crate) fn close(&self) -> c_int {
        let _io = self.io();
        let Some(methods) = self.methods() else {
            return ffi::OK;
        };
        let close = methods.close;
        self.closed.store(true, Ordering::Release);
        // SAFETY: the file is open, and marked closed before anybody else can ask for its methods.
        unsafe { close(self.file) }
    }

    /// The flags that syncs pass on, as SQLite gave them last.
    pub(crate) fn set_sync_flags(&self, flags: c_int) {
        self.sync_flags.store(flags, Ordering::Relaxed);
    }

    fn io(&self) -> MutexGuard<'_, ()> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The methods, for one call that nobody else's overlaps.
    fn alone(&self) -> io::Result<(MutexGuard<'_, ()>, &IoMethods)> {
        let guard = self.io();
        let methods = self
            .methods()
            .ok_or_else(|| io::Error::other(Code(ffi::IOERR)))?;
        Ok((guard, methods))
    }
}

impl Drop for BaseFile {
    fn drop(&mut self) {
        self.close();
    }
}

/// The disk that a sealed file of SQLite's rests on.
#[derive(Clone)]
pub(crate) struct BaseDisk(pub(crate) Arc<BaseFile>);

impl BaseDisk {
    fn read_part(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let (len, at) = range(bytes.len(), offset)?;
        let code = {
            let (_io, methods) = self.0.alone()?;
            // SAFETY: the file is open and the buffer has `len` bytes.
            unsafe { (methods.read)(self.0.file, bytes.as_mut_ptr().cast(), len, at) }
        };
        if code == ffi::IOERR_SHORT_READ {
            // The layer fills the rest with zeros and does not say how much there was.
            let available = self.len()?.saturating_sub(offset);
            return Ok(bytes
                .len()
                .min(usize::try_from(available).unwrap_or(usize::MAX)));
        }
        check(code)?;
        Ok(bytes.len())
    }

    fn write_part(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (_io, methods) = self.0.alone()?;
        let (len, at) = range(bytes.len(), offset)?;
        // SAFETY: the file is open and the buffer has `len` bytes.
        check(unsafe { (methods.write)(self.0.file, bytes.as_ptr().cast::<c_void>(), len, at) })
    }
}

impl Disk for BaseDisk {
    fn len(&self) -> io::Result<u64> {
        let mut len = 0;
        let (_io, methods) = self.0.alone()?;
        // SAFETY: the file is open.
        check(unsafe { (methods.file_size)(self.0.file, &mut len) })?;
        u64::try_from(len).map_err(io::Error::other)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        for part in bytes.chunks_mut(TRANSFER_MAX) {
            let len = part.len();
            let read = self.read_part(part, offset + done as u64)?;
            done += read;
            if read < len {
                break;
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for part in bytes.chunks(TRANSFER_MAX) {
            self.write_part(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let (_io, methods) = self.0.alone()?;
        let len = i64::try_from(len).map_err(io::Error::other)?;
        // SAFETY: the file is open.
        check(unsafe { (methods.truncate)(self.0.file, len) })
    }

    fn sync(&self) -> io::Result<()> {
        let (_io, methods) = self.0.alone()?;
        let flags = self.0.sync_flags.load(Ordering::Relaxed);
        // SAFETY: the file is open.
        check(unsafe { (methods.sync)(self.0.file, flags) })
    }
}

/// A result code of SQLite's that is not success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) c_int);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0 & 0xff {
            ffi::FULL => "the disk is full",
            ffi::CANTOPEN => "the file cannot be opened",
            _ => "the file system refused",
        };
        write!(f, "{what} (SQLite code {})", self.0)
    }
}

impl std::error::Error for Code {}

fn check(code: c_int) -> io::Result<()> {
    if code == ffi::OK {
        Ok(())
    } else {
        Err(io::Error::other(Code(code)))
    }
}

fn range(len: usize, offset: u64) -> io::Result<(c_int, i64)> {
    let len = c_int::try_from(len).map_err(io::Error::other)?;
    let offset = i64::try_from(offset).map_err(io::Error::other)?;
    Ok((len, offset))
}

/// A file name of SQLite's as text for messages and paths.
///
/// # Safety
/// `name` is null or a C string.
pub(crate) unsafe fn text(name: *const c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller says so.
    let bytes = unsafe { CStr::from_ptr(name) };
    Some(bytes.to_string_lossy().into_owned())
}

/// SQLITE_SYNC_NORMAL.
const SYNC_NORMAL: c_int = 2;

/// SQLite never asks a layer for more than a page; its unix layer takes no more than 2^17 - 1 bytes in one call.
const TRANSFER_MAX: usize = 96 * 1024;
