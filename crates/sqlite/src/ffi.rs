//! SQLite's C interface, as far as a file system layer needs it (sqlite3.h, "OS Interface Object").
//!
//! Declared here and not taken from a binding, because the extension must not link a SQLite of its own.

use std::ffi::{c_char, c_int, c_void};

#[repr(C)]
pub(crate) struct File {
    pub(crate) methods: *const IoMethods,
}

type Unused = Option<unsafe extern "C" fn()>;

/// `sqlite3_io_methods`, version 2: without the memory mapping of version 3, which would go past the seal.
#[repr(C)]
pub(crate) struct IoMethods {
    pub(crate) version: c_int,
    pub(crate) close: unsafe extern "C" fn(*mut File) -> c_int,
    pub(crate) read: unsafe extern "C" fn(*mut File, *mut c_void, c_int, i64) -> c_int,
    pub(crate) write: unsafe extern "C" fn(*mut File, *const c_void, c_int, i64) -> c_int,
    pub(crate) truncate: unsafe extern "C" fn(*mut File, i64) -> c_int,
    pub(crate) sync: unsafe extern "C" fn(*mut File, c_int) -> c_int,
    pub(crate) file_size: unsafe extern "C" fn(*mut File, *mut i64) -> c_int,
    pub(crate) lock: unsafe extern "C" fn(*mut File, c_int) -> c_int,
    pub(crate) unlock: unsafe extern "C" fn(*mut File, c_int) -> c_int,
    pub(crate) check_reserved_lock: unsafe extern "C" fn(*mut File, *mut c_int) -> c_int,
    pub(crate) file_control: unsafe extern "C" fn(*mut File, c_int, *mut c_void) -> c_int,
    pub(crate) sector_size: unsafe extern "C" fn(*mut File) -> c_int,
    pub(crate) device_characteristics: unsafe extern "C" fn(*mut File) -> c_int,
    pub(crate) shm_map: Option<ShmMap>,
    pub(crate) shm_lock: Option<unsafe extern "C" fn(*mut File, c_int, c_int, c_int) -> c_int>,
    pub(crate) shm_barrier: Option<unsafe extern "C" fn(*mut File)>,
    pub(crate) shm_unmap: Option<unsafe extern "C" fn(*mut File, c_int) -> c_int>,
}

pub(crate) type ShmMap =
    unsafe extern "C" fn(*mut File, c_int, c_int, c_int, *mut *mut c_void) -> c_int;

/// `sqlite3_vfs`, version 3.
#[repr(C)]
pub(crate) struct Vfs {
    pub(crate) version: c_int,
    pub(crate) file_len: c_int,
    pub(crate) path_len_max: c_int,
    pub(crate) next: *mut Vfs,
    pub(crate) name: *const c_char,
    pub(crate) app_data: *mut c_void,
    pub(crate) open:
        unsafe extern "C" fn(*mut Vfs, *const c_char, *mut File, c_int, *mut c_int) -> c_int,
    pub(crate) delete: unsafe extern "C" fn(*mut Vfs, *const c_char, c_int) -> c_int,
    pub(crate) access: unsafe extern "C" fn(*mut Vfs, *const c_char, c_int, *mut c_int) -> c_int,
    pub(crate) full_pathname:
        unsafe extern "C" fn(*mut Vfs, *const c_char, c_int, *mut c_char) -> c_int,
    pub(crate) dl_open: Option<unsafe extern "C" fn(*mut Vfs, *const c_char) -> *mut c_void>,
    pub(crate) dl_error: Option<unsafe extern "C" fn(*mut Vfs, c_int, *mut c_char)>,
    pub(crate) dl_sym: Option<unsafe extern "C" fn(*mut Vfs, *mut c_void, *const c_char) -> Unused>,
    pub(crate) dl_close: Option<unsafe extern "C" fn(*mut Vfs, *mut c_void)>,
    pub(crate) randomness: unsafe extern "C" fn(*mut Vfs, c_int, *mut c_char) -> c_int,
    pub(crate) sleep: unsafe extern "C" fn(*mut Vfs, c_int) -> c_int,
    pub(crate) current_time: unsafe extern "C" fn(*mut Vfs, *mut f64) -> c_int,
    pub(crate) last_error: Option<unsafe extern "C" fn(*mut Vfs, c_int, *mut c_char) -> c_int>,
    pub(crate) current_time_int64: Option<unsafe extern "C" fn(*mut Vfs, *mut i64) -> c_int>,
    pub(crate) set_system_call:
        Option<unsafe extern "C" fn(*mut Vfs, *const c_char, Unused) -> c_int>,
    pub(crate) system_call: Option<unsafe extern "C" fn(*mut Vfs, *const c_char) -> Unused>,
    pub(crate) next_system_call:
        Option<unsafe extern "C" fn(*mut Vfs, *const c_char) -> *const c_char>,
}

type VfsFind = unsafe extern "C" fn(*const c_char) -> *mut Vfs;
type VfsRegister = unsafe extern "C" fn(*mut Vfs, c_int) -> c_int;
type UriParameter = unsafe extern "C" fn(*const c_char, *const c_char) -> *const c_char;
type FilenameDatabase = unsafe extern "C" fn(*const c_char) -> *const c_char;
type DatabaseFileObject = unsafe extern "C" fn(*const c_char) -> *mut File;
type Malloc = unsafe extern "C" fn(c_int) -> *mut c_void;
type Log = unsafe extern "C" fn(c_int, *const c_char, ...);
type CreateFunction = unsafe extern "C" fn(
    *mut c_void,
    *const c_char,
    c_int,
    c_int,
    *mut c_void,
    Option<ScalarFunction>,
    Unused,
    Unused,
    Unused,
) -> c_int;
type ScalarFunction = unsafe extern "C" fn(*mut c_void, c_int, *mut *mut c_void);
type ResultText = unsafe extern "C" fn(*mut c_void, *const c_char, c_int, isize);
type Interrupt = unsafe extern "C" fn(*mut c_void);
type DbMutex = unsafe extern "C" fn(*mut c_void) -> *mut c_void;
type MutexTry = unsafe extern "C" fn(*mut c_void) -> c_int;
type MutexLeave = unsafe extern "C" fn(*mut c_void);
type DbReleaseMemory = unsafe extern "C" fn(*mut c_void) -> c_int;
type LibversionNumber = unsafe extern "C" fn() -> c_int;

/// The functions of SQLite that the layer calls: from the SQLite that is linked in, or from the one that
/// loaded the extension.
#[derive(Clone, Copy)]
pub struct Api {
    pub(crate) vfs_find: VfsFind,
    pub(crate) vfs_register: VfsRegister,
    pub(crate) uri_parameter: UriParameter,
    pub(crate) filename_database: FilenameDatabase,
    pub(crate) database_file_object: DatabaseFileObject,
    pub(crate) malloc: Malloc,
    pub(crate) log: Log,
    pub(crate) create_function: CreateFunction,
    pub(crate) result_text: ResultText,
    pub(crate) interrupt: Interrupt,
    pub(crate) db_mutex: DbMutex,
    pub(crate) mutex_try: MutexTry,
    pub(crate) mutex_leave: MutexLeave,
    pub(crate) db_release_memory: DbReleaseMemory,
}

impl Api {
    /// From the table that SQLite hands to an extension.
    ///
    /// `None` when that SQLite is older than 3.32, which first had all of them.
    ///
    /// # Safety
    /// `routines` is the `sqlite3_api_routines` that SQLite passed to the extension's entry point.
    pub unsafe fn from_routines(routines: *const c_void) -> Option<Api> {
        let table = routines.cast::<*const c_void>();
        // SAFETY: the table only ever grows. Its first 190 entries are older than SQLite 3.8, and the later ones are
        // taken after a look at the version. The types are those of sqlite3ext.h, and
        // tests/sqlite-suite/api_index.c checks the indices against it.
        unsafe {
            let version = function::<LibversionNumber>(*table.add(67))();
            (version >= VERSION_MIN).then(|| Api {
                vfs_find: function::<VfsFind>(*table.add(141)),
                vfs_register: function::<VfsRegister>(*table.add(142)),
                uri_parameter: function::<UriParameter>(*table.add(189)),
                filename_database: function::<FilenameDatabase>(*table.add(246)),
                database_file_object: function::<DatabaseFileObject>(*table.add(251)),
                malloc: function::<Malloc>(*table.add(68)),
                log: function::<Log>(*table.add(167)),
                create_function: function::<CreateFunction>(*table.add(162)),
                result_text: function::<ResultText>(*table.add(85)),
                interrupt: function::<Interrupt>(*table.add(64)),
                db_mutex: function::<DbMutex>(*table.add(164)),
                mutex_try: function::<MutexTry>(*table.add(134)),
                mutex_leave: function::<MutexLeave>(*table.add(133)),
                db_release_memory: function::<DbReleaseMemory>(*table.add(182)),
            })
        }
    }

    /// From the SQLite that is linked into the program.
    #[cfg(feature = "rusqlite")]
    #[must_use]
    pub fn linked() -> Api {
        use rusqlite::ffi;
        // SAFETY: the types differ in the names of structures only: both are declared after one C header.
        unsafe {
            Api {
                vfs_find: function::<VfsFind>(ffi::sqlite3_vfs_find as *const c_void),
                vfs_register: function::<VfsRegister>(ffi::sqlite3_vfs_register as *const c_void),
                uri_parameter: function::<UriParameter>(
                    ffi::sqlite3_uri_parameter as *const c_void,
                ),
                filename_database: function::<FilenameDatabase>(
                    ffi::sqlite3_filename_database as *const c_void,
                ),
                database_file_object: function::<DatabaseFileObject>(
                    ffi::sqlite3_database_file_object as *const c_void,
                ),
                malloc: function::<Malloc>(ffi::sqlite3_malloc as *const c_void),
                log: function::<Log>(ffi::sqlite3_log as *const c_void),
                create_function: function::<CreateFunction>(
                    ffi::sqlite3_create_function_v2 as *const c_void,
                ),
                result_text: function::<ResultText>(ffi::sqlite3_result_text as *const c_void),
                interrupt: function::<Interrupt>(ffi::sqlite3_interrupt as *const c_void),
                db_mutex: function::<DbMutex>(ffi::sqlite3_db_mutex as *const c_void),
                mutex_try: function::<MutexTry>(ffi::sqlite3_mutex_try as *const c_void),
                mutex_leave: function::<MutexLeave>(ffi::sqlite3_mutex_leave as *const c_void),
                db_release_memory: function::<DbReleaseMemory>(
                    ffi::sqlite3_db_release_memory as *const c_void,
                ),
            }
        }
    }
}

/// A function behind an untyped address.
///
/// # Safety
/// The address is that of a function of type `F`, and `F` is a function pointer.
unsafe fn function<F: Copy>(address: *const c_void) -> F {
    assert_eq!(size_of::<F>(), size_of::<*const c_void>());
    // SAFETY: the caller says so; the sizes agree.
    unsafe { std::mem::transmute_copy(&address) }
}

const VERSION_MIN: c_int = 3_032_000;

pub(crate) const OK: c_int = 0;
pub(crate) const ERROR: c_int = 1;
pub(crate) const NOMEM: c_int = 7;
pub(crate) const IOERR: c_int = 10;
pub(crate) const NOTFOUND: c_int = 12;
pub(crate) const FULL: c_int = 13;
pub(crate) const CANTOPEN: c_int = 14;
pub(crate) const AUTH: c_int = 23;
pub(crate) const NOTADB: c_int = 26;
pub(crate) const WARNING: c_int = 28;
pub(crate) const IOERR_SHORT_READ: c_int = IOERR | (2 << 8);
pub(crate) const IOERR_AUTH: c_int = IOERR | (28 << 8);
pub(crate) const IOERR_DATA: c_int = IOERR | (32 << 8);

pub(crate) const OPEN_READONLY: c_int = 0x1;
pub(crate) const OPEN_READWRITE: c_int = 0x2;
pub(crate) const OPEN_CREATE: c_int = 0x4;
pub(crate) const OPEN_MAIN_DB: c_int = 0x100;
pub(crate) const OPEN_TEMP_DB: c_int = 0x200;
pub(crate) const OPEN_TRANSIENT_DB: c_int = 0x400;
pub(crate) const OPEN_MAIN_JOURNAL: c_int = 0x800;
pub(crate) const OPEN_TEMP_JOURNAL: c_int = 0x1000;
pub(crate) const OPEN_SUBJOURNAL: c_int = 0x2000;
pub(crate) const OPEN_SUPER_JOURNAL: c_int = 0x4000;
pub(crate) const OPEN_WAL: c_int = 0x8_0000;

pub(crate) const LOCK_NONE: c_int = 0;
pub(crate) const SHM_UNLOCK: c_int = 1;

pub(crate) const IOCAP_UNDELETABLE_WHEN_OPEN: c_int = 0x800;
pub(crate) const IOCAP_POWERSAFE_OVERWRITE: c_int = 0x1000;
pub(crate) const IOCAP_IMMUTABLE: c_int = 0x2000;

pub(crate) const FCNTL_SIZE_HINT: c_int = 5;
pub(crate) const FCNTL_CHUNK_SIZE: c_int = 6;
pub(crate) const FCNTL_VFSNAME: c_int = 12;
pub(crate) const FCNTL_POWERSAFE_OVERWRITE: c_int = 13;
pub(crate) const FCNTL_PRAGMA: c_int = 14;
pub(crate) const FCNTL_MMAP_SIZE: c_int = 18;
pub(crate) const FCNTL_PDB: c_int = 30;
pub(crate) const FCNTL_CKPT_DONE: c_int = 37;
pub(crate) const FCNTL_CKPT_START: c_int = 39;
