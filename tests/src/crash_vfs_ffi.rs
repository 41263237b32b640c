//! The C side of a simulated world: SQLite's VFS and file methods. Nothing is decided here.

#![expect(unsafe_code, reason = "SQLite's file system layer is a C interface")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem;
use std::ptr;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use rusqlite::ffi;

use crate::crash_vfs::{Shared, unique_name};
use crate::crash_vfs_files::NodeId;
use crate::crash_vfs_locks::HandleId;
use crate::crash_vfs_state::Code;

/// Registers a world with SQLite and returns its name. It stays registered: the memory is leaked.
pub(crate) fn register(shared: Arc<Shared>) -> CString {
    let name = unique_name();
    let vfs = ffi::sqlite3_vfs {
        iVersion: 2,
        szOsFile: mem::size_of::<File>() as c_int,
        mxPathname: PATH_LEN_MAX,
        pNext: ptr::null_mut(),
        zName: name.clone().into_raw(),
        pAppData: Arc::into_raw(shared).cast_mut().cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: Some(current_time_ms),
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    };
    // SAFETY: the structure is complete and leaked, so it outlives every use by SQLite.
    let code = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) };
    assert_eq!(code, ffi::SQLITE_OK, "SQLite refused a VFS");
    name
}

/// What SQLite sees as an open file. It allocates `szOsFile` bytes for it; `open` fills them.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    handle: *mut Handle,
}

struct Handle {
    shared: Arc<Shared>,
    id: HandleId,
    node: NodeId,
    /// A file to remove when it is closed.
    remove: Option<String>,
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over the registered VFS, room for a `File`, and a valid name or NULL.
    unsafe {
        (*file).pMethods = ptr::null();
        let shared = shared(vfs);
        let name = (!name.is_null()).then(|| text(name));
        let opened = shared.state().open(name.as_deref(), flags);
        match opened {
            Err(code) => code,
            Ok((id, node)) => {
                let remove = name.filter(|_| flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0);
                let handle = Box::new(Handle {
                    shared,
                    id,
                    node,
                    remove,
                });
                (*file.cast::<File>()).handle = Box::into_raw(handle);
                (*file).pMethods = &raw const METHODS;
                if !flags_out.is_null() {
                    *flags_out = flags;
                }
                ffi::SQLITE_OK
            }
        }
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once and does not use it afterwards.
    let handle = unsafe { Box::from_raw((*file.cast::<File>()).handle) };
    let mut state = handle.shared.state();
    state.close(handle.id, handle.node);
    if let Some(name) = &handle.remove
        && let Err(code) = state.delete(name, false)
    {
        return code;
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite hands over an open file and room for `len` bytes.
    let (handle, into) = unsafe {
        let into = slice::from_raw_parts_mut(into.cast::<u8>(), len as usize);
        (handle(file), into)
    };
    let read = handle.shared.state().read(handle.node, into, offset as u64);
    match read {
        Err(code) => code,
        Ok(read) if read == into.len() => ffi::SQLITE_OK,
        Ok(read) => {
            into[read..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    len: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite hands over an open file and `len` bytes.
    let (handle, bytes) = unsafe {
        let bytes = slice::from_raw_parts(bytes.cast::<u8>(), len as usize);
        (handle(file), bytes)
    };
    let mut state = handle.shared.state();
    code(state.write(handle.node, bytes, offset as u64))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    let mut state = handle.shared.state();
    code(state.truncate(handle.node, len as u64))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    let mut state = handle.shared.state();
    code(state.sync(handle.node))
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    len_out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    match handle.shared.state().len(handle.node) {
        Err(code) => code,
        Ok(len) => {
            // SAFETY: SQLite hands over room for the answer.
            unsafe { *len_out = len as ffi::sqlite3_int64 };
            ffi::SQLITE_OK
        }
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    let mut state = handle.shared.state();
    code(state.lock(handle.id, handle.node, level))
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    handle.shared.state().unlock(handle.id, handle.node, level);
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(
    file: *mut ffi::sqlite3_file,
    reserved_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    match handle.shared.state().reserved(handle.node) {
        Err(code) => code,
        Ok(reserved) => {
            // SAFETY: SQLite hands over room for the answer.
            unsafe { *reserved_out = c_int::from(reserved) };
            ffi::SQLITE_OK
        }
    }
}

unsafe extern "C" fn file_control(
    _file: *mut ffi::sqlite3_file,
    _operation: c_int,
    _argument: *mut c_void,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    handle.shared.state().sector_size()
}

/// No power-safe overwrite, no atomic writes, nothing else either.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    0
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    len: c_int,
    extend: c_int,
    region_out: *mut *mut c_void,
) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    let mapped = handle.shared.state().map(
        handle.id,
        handle.node,
        index as usize,
        len as usize,
        extend != 0,
    );
    let (region, code) = match mapped {
        Err(code) => (ptr::null_mut(), code),
        Ok(None) => (ptr::null_mut(), ffi::SQLITE_OK),
        // The state keeps the region until its last user unmaps it.
        Ok(Some(region)) => (region.as_ptr().cast_mut().cast(), ffi::SQLITE_OK),
    };
    // SAFETY: SQLite hands over room for the answer.
    unsafe { *region_out = region };
    code
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    let mask = ((1u32 << count) - 1) << first;
    let mut state = handle.shared.state();
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        state.unlock_memory(handle.id, handle.node, mask);
        return ffi::SQLITE_OK;
    }
    let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
    code(state.lock_memory(handle.id, handle.node, mask, exclusive))
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: SQLite hands over an open file.
    let handle = unsafe { handle(file) };
    handle.shared.state().unmap(handle.id, handle.node);
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_directory: c_int,
) -> c_int {
    // SAFETY: SQLite hands over the registered VFS and a valid name.
    let (shared, name) = unsafe { (shared(vfs), text(name)) };
    let mut state = shared.state();
    code(state.delete(&name, sync_directory != 0))
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    answer_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over the registered VFS and a valid name.
    let (shared, name) = unsafe { (shared(vfs), text(name)) };
    let mut state = shared.state();
    match state.exists(&name) {
        Err(code) => code,
        Ok(exists) => {
            // Like unix: an empty file does not count when SQLite asks for existence.
            let empty = state
                .files
                .find(&name)
                .is_some_and(|node| state.files.bytes(node).is_empty());
            let answer = exists && !(flags == ffi::SQLITE_ACCESS_EXISTS && empty);
            // SAFETY: SQLite hands over room for the answer.
            unsafe { *answer_out = c_int::from(answer) };
            ffi::SQLITE_OK
        }
    }
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    into: *mut c_char,
) -> c_int {
    // SAFETY: SQLite hands over a valid name.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if bytes.len() > room as usize {
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: there is `room` for the bytes at `into`, and the two do not overlap.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), into, bytes.len()) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn randomness(
    _vfs: *mut ffi::sqlite3_vfs,
    len: c_int,
    into: *mut c_char,
) -> c_int {
    let bytes = crate::random::Random::new(len as u64).bytes(len as usize);
    // SAFETY: SQLite hands over room for `len` bytes.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), into, bytes.len()) };
    len
}

/// Time in a world does not pass.
unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    std::thread::yield_now();
    microseconds
}

unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, days_out: *mut f64) -> c_int {
    // SAFETY: SQLite hands over room for the answer.
    unsafe { *days_out = NOW_MS as f64 / 86_400_000.0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time_ms(
    _vfs: *mut ffi::sqlite3_vfs,
    ms_out: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite hands over room for the answer.
    unsafe { *ms_out = NOW_MS };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(
    _vfs: *mut ffi::sqlite3_vfs,
    _room: c_int,
    _into: *mut c_char,
) -> c_int {
    0
}

/// # Safety
/// `file` must have been opened by [`open`] and not closed since.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a Handle {
    // SAFETY: as the caller promises, `open` has stored a handle that `close` has not freed.
    unsafe { &*(*file.cast::<File>()).handle }
}

/// # Safety
/// `vfs` must have been registered by [`register`].
unsafe fn shared(vfs: *mut ffi::sqlite3_vfs) -> Arc<Shared> {
    // SAFETY: `register` leaked one count of this `Arc`, so the pointer is alive; one more is taken.
    unsafe {
        let shared = (*vfs).pAppData.cast::<Shared>().cast_const();
        Arc::increment_strong_count(shared);
        Arc::from_raw(shared)
    }
}

/// # Safety
/// `name` must be a C string.
unsafe fn text(name: *const c_char) -> String {
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(name) }
        .to_string_lossy()
        .into_owned()
}

fn code(result: Result<(), Code>) -> c_int {
    result.err().unwrap_or(ffi::SQLITE_OK)
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // Version 3 would add xFetch: memory mapping, which would go past everything that is counted here.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

const PATH_LEN_MAX: c_int = 512;

/// A day in 2025, in milliseconds since the epoch of Julian day numbers.
const NOW_MS: ffi::sqlite3_int64 = 212_600_000_000_000;
