//! The calls on open files: from SQLite's C calls to the sealed file, and back to its codes.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cofferdam_cipher::PageSize;
use cofferdam_sealed_file::{Error, FileKind, PAGE_SIZE_CHOSEN_MAX, SealedFile};

use crate::base::BaseDisk;
use crate::control;
use crate::ffi::{self, File, IoMethods};
use crate::group::{Group, Member, State, header_page_size, note_page_size, set_level};
use crate::journal;
use crate::layer::{Layer, answer, base_error};

/// An open file as SQLite holds it.
#[repr(C)]
pub(crate) struct Handle {
    pub(crate) file: File,
    pub(crate) inner: *mut Inner,
}

/// What is behind it.
pub(crate) struct Inner {
    pub(crate) layer: &'static Layer,
    pub(crate) member: Arc<Member>,
    pub(crate) group: Arc<Group>,
    /// For main databases, the address of the name they were opened with.
    name: Option<usize>,
}

impl Inner {
    pub(crate) fn new(
        layer: &'static Layer,
        member: Arc<Member>,
        group: Arc<Group>,
        name: Option<usize>,
    ) -> Inner {
        Inner {
            layer,
            member,
            group,
            name,
        }
    }

    fn read(&self, out: &mut [u8], offset: u64) -> Result<usize, Error> {
        // Also where a connection may still write, to end its transaction.
        self.group.admit()?;
        self.group.forget_if_hidden();
        self.flush_to_read(out.len(), offset)?;
        let mut state = self.member.state();
        let read = match state.existing(&self.member, &self.group)? {
            Some(file) => match file.read_at(out, offset) {
                Err(Error::PageAltered { page, .. })
                    if self.member.kind == FileKind::Main && offset == 0 && page.as_u64() > 0 =>
                {
                    read_first_page(file, out)
                }
                read => read,
            },
            None => Ok(0),
        };
        drop(state);
        if self.member.kind != FileKind::Main {
            return read;
        }
        match read {
            Ok(read) => {
                self.group.note_header(&out[..read], offset);
                Ok(read)
            }
            // SQLite looks at the head of a database before it holds a lock and before it has looked for a journal or log
            // that mends it; it asks again when it has. A page that is torn by then is an error.
            Err(Error::PageAltered { page, .. })
                if page.as_u64() == 0
                    && self.group.lock_level.load(Ordering::Relaxed) == ffi::LOCK_NONE as usize =>
            {
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        self.group.forget_if_hidden();
        if self.member.kind == FileKind::Main {
            self.group.note_write();
        }
        self.flush_before_write(bytes.len(), offset)?;
        let mut state = self.member.state();
        let flush = self.flush_after(&mut state, bytes, offset);
        let file = state.writable(&self.member, &self.group)?;
        if self.member.kind == FileKind::Main && offset == 0 {
            self.group.note_header(bytes, offset);
            if file.is_empty()?
                && let Some(size) = self.stated_page_size()
            {
                file.choose_page_size(size);
            }
            note_page_size(&self.group, file);
            if self.group.pages_too_small() {
                self.group.sqlite_page_size.store(0, Ordering::Relaxed);
                return Err(Error::Misuse {
                    what: "the pages of a database cannot become smaller than its sealed pages; \
                           VACUUM INTO a new database instead",
                });
            }
        }
        if self.member.kind == FileKind::RollbackJournal && offset == 0 {
            journal::note_header(file, bytes)?;
        }
        file.write_at(bytes, offset)?;
        if self.member.kind == FileKind::Main && offset == 0 {
            note_page_size(&self.group, file);
        }
        match flush {
            Flush::Later => Ok(()),
            Flush::Now => file.flush().inspect_err(|_| {
                // SQLite gives the transaction up; its commit must not be tried again.
                if self.member.kind == FileKind::WriteAheadLog {
                    file.abandon();
                }
            }),
        }
    }

    /// Flushes what a read needs on the disk, by the rules of [`Group`].
    fn flush_to_read(&self, len: usize, offset: u64) -> Result<(), Error> {
        let flushes = match (self.member.kind, &self.member.state().file) {
            (FileKind::Main, Some(file)) => file.flushes_to_read(len, offset),
            (FileKind::RollbackJournal, Some(file)) => !file.is_flushed(),
            _ => false,
        };
        if flushes { self.group.flush() } else { Ok(()) }
    }

    /// Flushes what must be on the disk before a write, by the rules of [`Group`].
    fn flush_before_write(&self, len: usize, offset: u64) -> Result<(), Error> {
        if !self.group.writes_through() {
            let may_wait = match (self.member.kind, &mut self.member.state().file) {
                (FileKind::Main, Some(file)) => file.only_waits(len, offset),
                (FileKind::RollbackJournal, Some(file)) => offset >= file.len()?,
                _ => false,
            };
            if may_wait {
                return Ok(());
            }
        }
        self.group.flush_before(&self.member)
    }

    /// The page size for a database whose first page is being written: what the page itself says.
    fn stated_page_size(&self) -> Option<PageSize> {
        let stated = self.group.sqlite_page_size.load(Ordering::Relaxed);
        PageSize::try_from(stated.min(PAGE_SIZE_CHOSEN_MAX)).ok()
    }

    /// Whether a failure must be heard of at once, because SQLite has no later call that could report it
    /// before it tells others that the bytes are there.
    fn flush_after(&self, state: &mut State, bytes: &[u8], offset: u64) -> Flush {
        if self.group.writes_through() {
            return Flush::Now;
        }
        match self.member.kind {
            // A checkpoint's last call cannot fail.
            FileKind::Main if state.checkpoint => Flush::Now,
            FileKind::WriteAheadLog => {
                let end = offset + bytes.len() as u64;
                let appends = offset >= state.log_end || offset == 0;
                if offset == 0 {
                    state.log_end = 0;
                }
                state.log_end = state.log_end.max(end);
                if bytes.len() == LOG_FRAME_HEADER_LEN {
                    // "For commit records, the size of the database file in pages after the commit. For all other records,
                    // zero." (SQLite file format, section 4.1.) Others see the commit right after this frame.
                    state.commit_frame = bytes[4..8] != [0; 4];
                    return if appends { Flush::Later } else { Flush::Now };
                }
                if state.commit_frame || !appends {
                    Flush::Now
                } else {
                    Flush::Later
                }
            }
            _ => Flush::Later,
        }
    }

    fn truncate(&self, len: u64) -> Result<(), Error> {
        self.group.forget_if_hidden();
        self.group.flush_before(&self.member)?;
        let mut state = self.member.state();
        if len == 0 {
            state.log_end = 0;
        }
        if self.member.kind == FileKind::Main && !state.checkpoint {
            self.settle_removal(&mut state, len)?;
        }
        match state.existing(&self.member, &self.group)? {
            Some(file) => file.set_len(len),
            None if len == 0 => Ok(()),
            None => state.writable(&self.member, &self.group)?.set_len(len),
        }
    }

    /// SQLite cuts a database after the removal of its journal, which has none of the pages that are cut off, and
    /// relies on a file system that keeps the order of the two. The length of a sealed file is data, which no file system
    /// keeps in that order.
    fn settle_removal(&self, state: &mut State, len: u64) -> Result<(), Error> {
        let shrinks = match state.existing(&self.member, &self.group)? {
            Some(file) => len < file.len()?,
            None => false,
        };
        if shrinks {
            self.layer
                .base
                .sync_directory_of(&self.group.path)
                .map_err(|code| base_error("syncing a directory", code))?;
        }
        Ok(())
    }

    fn sync(&self, flags: c_int) -> Result<(), Error> {
        self.group.flush_before(&self.member)?;
        self.member.base.set_sync_flags(flags);
        let mut state = self.member.state();
        match state.existing(&self.member, &self.group)? {
            Some(file) => file.sync(),
            None => Ok(()),
        }
    }

    fn len(&self) -> Result<u64, Error> {
        self.group.forget_if_hidden();
        let mut state = self.member.state();
        match state.existing(&self.member, &self.group)? {
            Some(file) => {
                let len = file.len()?;
                if self.member.kind == FileKind::Main {
                    note_page_size(&self.group, file);
                }
                Ok(len)
            }
            None => Ok(0),
        }
    }

    fn sector_size(&self) -> c_int {
        // A database that is not there yet takes the page size that SQLite gives it.
        match self.group.sealed_page_size.load(Ordering::Relaxed) {
            0 => SECTOR_SIZE_MIN,
            size => size as c_int,
        }
    }
}

/// Reads the first page of a database that has an altered page behind it.
///
/// A new connection takes pages for larger than they may be, and asks again when the first one tells their size. A page that
/// it does not need for that must not keep it from the others.
fn read_first_page(file: &mut SealedFile<BaseDisk>, out: &mut [u8]) -> Result<usize, Error> {
    let mut head = [0; HEADER_LEN];
    let read = file.read_at(&mut head, 0)?;
    match header_page_size(&head[..read]) {
        Some(size) if size < out.len() => file.read_at(&mut out[..size], 0),
        _ => file.read_at(out, 0),
    }
}

/// What a write does beyond waiting.
enum Flush {
    Later,
    Now,
}

/// # Safety
/// `file` is an open file of this layer.
pub(crate) unsafe fn inner<'a>(file: *mut File) -> &'a Inner {
    // SAFETY: `open` put it there, and it lives until `close`.
    unsafe { &*(*file.cast::<Handle>()).inner }
}

/// Runs one call. A panic stops here: it becomes an I/O error.
///
/// Once a database is served, SQLite hears of a key that is away as of an I/O error. Other codes do not make it distrust its page cache when a
/// rollback has failed half way.
pub(crate) fn call(inner: &Inner, work: impl FnOnce() -> Result<(), Error>) -> c_int {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => {
            let of_keys = matches!(
                &result,
                Err(Error::Keys(_)
                    | Error::Audit(_)
                    | Error::AuditMissing { .. }
                    | Error::RolledBack { .. }
                    | Error::NotSealed { .. })
            );
            match answer(inner.layer, &inner.group.path, result) {
                code if code != ffi::OK && of_keys && inner.group.lease().is_some() => {
                    ffi::IOERR_AUTH
                }
                code => code,
            }
        }
        Err(_) => ffi::IOERR,
    }
}

unsafe extern "C" fn close(file: *mut File) -> c_int {
    // SAFETY: SQLite closes a file once, and uses it no more.
    let inner = unsafe { Box::from_raw((*file.cast::<Handle>()).inner) };
    let flushed = call(&inner, || {
        if inner.member.kind == FileKind::Main {
            inner.group.flush_others(&inner.member)?;
        }
        inner.member.flush()
    });
    if flushed != ffi::OK && inner.member.kind == FileKind::RollbackJournal {
        inner.group.abandon_what_waits();
    }
    let closed = inner.member.close();
    inner.group.leave(inner.member.kind);
    if let Some(name) = inner.name {
        let path = inner.group.path.clone();
        let layer = inner.layer;
        drop(inner);
        layer.remove(name, &path);
    }
    if flushed == ffi::OK { closed } else { flushed }
}

unsafe extern "C" fn read(file: *mut File, out: *mut c_void, len: c_int, offset: i64) -> c_int {
    // SAFETY: SQLite's own arguments: an open file, and a buffer of `len` bytes.
    let (inner, out) = unsafe {
        (
            inner(file),
            std::slice::from_raw_parts_mut(out.cast::<u8>(), len as usize),
        )
    };
    let mut read = 0;
    let code = call(inner, || {
        read = inner.read(out, place(offset)?)?;
        Ok(())
    });
    if code != ffi::OK {
        out.fill(0);
        return code;
    }
    if read < out.len() {
        out[read..].fill(0);
        return ffi::IOERR_SHORT_READ;
    }
    ffi::OK
}

unsafe extern "C" fn write(
    file: *mut File,
    bytes: *const c_void,
    len: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: SQLite's own arguments: an open file, and a buffer of `len` bytes.
    let (inner, bytes) = unsafe {
        (
            inner(file),
            std::slice::from_raw_parts(bytes.cast::<u8>(), len as usize),
        )
    };
    call(inner, || inner.write(bytes, place(offset)?))
}

unsafe extern "C" fn truncate(file: *mut File, len: i64) -> c_int {
    // SAFETY: an open file.
    let inner = unsafe { inner(file) };
    call(inner, || inner.truncate(place(len)?))
}

unsafe extern "C" fn sync(file: *mut File, flags: c_int) -> c_int {
    // SAFETY: an open file.
    let inner = unsafe { inner(file) };
    call(inner, || inner.sync(flags))
}

unsafe extern "C" fn file_size(file: *mut File, out: *mut i64) -> c_int {
    // SAFETY: an open file.
    let inner = unsafe { inner(file) };
    call(inner, || {
        let len = i64::try_from(inner.len()?).map_err(|_| Error::TooLong)?;
        // SAFETY: SQLite passes a place for the answer.
        unsafe { *out = len };
        Ok(())
    })
}

unsafe extern "C" fn lock(file: *mut File, level: c_int) -> c_int {
    // SAFETY: an open file.
    let inner = unsafe { inner(file) };
    let admitted = call(inner, || inner.group.admit_now(inner.layer.api));
    if admitted != ffi::OK {
        return admitted;
    }
    let Some(methods) = inner.member.base.methods() else {
        return ffi::IOERR;
    };
    // SAFETY: the file underneath is open.
    let code = unsafe { (methods.lock)(inner.member.base.as_ptr(), level) };
    if code == ffi::OK {
        set_level(&inner.group, level);
        // What waits must not be taken for somebody else's; and where something waits, nobody else has written.
        if inner.group.is_flushed() {
            inner.group.forget();
        }
    }
    code
}

unsafe extern "C" fn unlock(file: *mut File, level: c_int) -> c_int {
    // SAFETY: an open file.
    let inner = unsafe { inner(file) };
    let flushed = call(inner, || inner.group.flush_or_abandon());
    let Some(methods) = inner.member.base.methods() else {
        return ffi::IOERR;
    };
    // SAFETY: the file underneath is open.
    let code = unsafe { (methods.unlock)(inner.member.base.as_ptr(), level) };
    if code == ffi::OK {
        set_level(&inner.group, level);
        inner.group.note_end();
    }
    if flushed == ffi::OK { code } else { flushed }
}

unsafe extern "C" fn check_reserved_lock(file: *mut File, out: *mut c_int) -> c_int {
    // SAFETY: an open file.
    let base = unsafe { &inner(file).member.base };
    match base.methods() {
        // SAFETY: the file underneath is open.
        Some(methods) => unsafe { (methods.check_reserved_lock)(base.as_ptr(), out) },
        None => ffi::IOERR,
    }
}

unsafe extern "C" fn sector_size(file: *mut File) -> c_int {
    // SAFETY: an open file.
    unsafe { inner(file) }.sector_size()
}

/// What SQLite may rely on. An overwrite leaves the bytes around it alone: in logs and journals a page that keeps bytes goes
/// to its other home (format section 5.1), and in a database SQLite writes whole pages, which are no smaller than sealed
/// ones. So commits need no padding. What a torn write may do to neighbours on the disk is in the contract of `Disk`.
unsafe extern "C" fn device_characteristics(file: *mut File) -> c_int {
    // SAFETY: an open file.
    let base = unsafe { &inner(file).member.base };
    let Some(methods) = base.methods() else {
        return 0;
    };
    let kept = ffi::IOCAP_UNDELETABLE_WHEN_OPEN | ffi::IOCAP_IMMUTABLE;
    // SAFETY: the file underneath is open.
    kept & unsafe { (methods.device_characteristics)(base.as_ptr()) }
        | ffi::IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut File,
    region: c_int,
    len: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: an open file.
    let base = unsafe { &inner(file).member.base };
    match base.methods().and_then(|methods| methods.shm_map) {
        // SAFETY: the file underneath is open.
        Some(map) => unsafe { map(base.as_ptr(), region, len, extend, out) },
        None => ffi::IOERR,
    }
}

unsafe extern "C" fn shm_lock(file: *mut File, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: an open file.
    let inner = unsafe { inner(file) };
    let unlocks = flags & ffi::SHM_UNLOCK != 0;
    let flushed = call(inner, || match unlocks {
        true => inner.group.flush_or_abandon(),
        false => {
            inner.group.admit_now(inner.layer.api)?;
            inner.group.flush()
        }
    });
    if flushed != ffi::OK && !unlocks {
        return flushed;
    }
    let base = &inner.member.base;
    let Some(shm_lock) = base.methods().and_then(|methods| methods.shm_lock) else {
        return ffi::IOERR;
    };
    // SAFETY: the file underneath is open.
    let code = unsafe { shm_lock(base.as_ptr(), offset, count, flags) };
    if code == ffi::OK && !unlocks {
        inner.group.forget();
    }
    if flushed == ffi::OK { code } else { flushed }
}

unsafe extern "C" fn shm_barrier(file: *mut File) {
    // SAFETY: an open file.
    let inner = unsafe { inner(file) };
    // A commit frame was flushed when it was written, so what could fail here is not anybody's yet; it goes on waiting.
    let _ = catch_unwind(AssertUnwindSafe(|| inner.group.flush()));
    let base = &inner.member.base;
    if let Some(barrier) = base.methods().and_then(|methods| methods.shm_barrier) {
        // SAFETY: the file underneath is open.
        unsafe { barrier(base.as_ptr()) };
    }
}

unsafe extern "C" fn shm_unmap(file: *mut File, delete: c_int) -> c_int {
    // SAFETY: an open file.
    let base = unsafe { &inner(file).member.base };
    match base.methods().and_then(|methods| methods.shm_unmap) {
        // SAFETY: the file underneath is open.
        Some(unmap) => unsafe { unmap(base.as_ptr(), delete) },
        None => ffi::OK,
    }
}

fn place(offset: i64) -> Result<u64, Error> {
    u64::try_from(offset).map_err(|_| Error::Misuse {
        what: "a negative offset",
    })
}

pub(crate) static METHODS: IoMethods = IoMethods {
    version: 2,
    close,
    read,
    write,
    truncate,
    sync,
    file_size,
    lock,
    unlock,
    check_reserved_lock,
    file_control: control::file_control,
    sector_size,
    device_characteristics,
    shm_map: Some(shm_map),
    shm_lock: Some(shm_lock),
    shm_barrier: Some(shm_barrier),
    shm_unmap: Some(shm_unmap),
};

/// Bytes of a database's header (SQLite file format, section 1.3).
const HEADER_LEN: usize = 100;

/// SQLite's smallest sector.
const SECTOR_SIZE_MIN: c_int = 512;

/// Bytes before each page in a write-ahead log (SQLite file format, section 4.1).
const LOG_FRAME_HEADER_LEN: usize = 24;
