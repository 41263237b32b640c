//! The layer's own calls: opening, removing, looking for files. The rest goes to the layer underneath.

use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::Arc;

use cofferdam_sealed_file::{Error, FileKind, Opener, SealedFile, Store};

use crate::base::{Base, BaseDisk, BaseFile, FileName, text};
use crate::ffi::{self, Api, File, Vfs};
use crate::group::{Group, Member, Opened, temporary};
use crate::layer::{Layer, OpenerSource, base_error, claimed_kind, database_of};
use crate::methods::{Handle, Inner, METHODS};

/// Registers the layer under a name, over a layer that is registered already (`None`: SQLite's default).
///
/// Registration is for the life of the process. Registering a name twice changes nothing but, if asked, the default.
///
/// # Errors
/// A text, when there is no such layer underneath or SQLite refuses.
pub fn register(
    api: Api,
    name: &str,
    base: Option<&str>,
    make_default: bool,
    source: OpenerSource,
) -> Result<(), String> {
    let name = CString::new(name).map_err(|_| "a layer's name has no NUL byte".to_owned())?;
    // SAFETY: a C string.
    let found = unsafe { (api.vfs_find)(name.as_ptr()) };
    if !found.is_null() {
        // SAFETY: SQLite returned a registered layer.
        return check_registration(unsafe { (api.vfs_register)(found, c_int::from(make_default)) });
    }
    let base_name = base
        .map(|base| CString::new(base).map_err(|_| "a layer's name has no NUL byte".to_owned()))
        .transpose()?;
    let base_name_ptr = base_name.as_ref().map_or(ptr::null(), |name| name.as_ptr());
    // SAFETY: null or a C string.
    let base = unsafe { (api.vfs_find)(base_name_ptr) };
    if base.is_null() {
        return Err("there is no SQLite file system layer of that name to build on".to_owned());
    }
    let layer: &'static Layer = Box::leak(Box::new(Layer::new(api, Base(base), name, source)));
    let vfs = Box::leak(Box::new(table(layer)));
    // SAFETY: the table and all it points to live as long as the process.
    check_registration(unsafe { (api.vfs_register)(vfs, c_int::from(make_default)) })
}

fn check_registration(code: c_int) -> Result<(), String> {
    match code {
        ffi::OK => Ok(()),
        code => Err(format!(
            "SQLite refuses the file system layer (code {code})"
        )),
    }
}

fn table(layer: &'static Layer) -> Vfs {
    let base = layer.base.vfs();
    Vfs {
        version: base.version.min(3),
        file_len: size_of::<Handle>() as c_int,
        path_len_max: base.path_len_max,
        next: ptr::null_mut(),
        name: layer.name.as_ptr(),
        app_data: ptr::from_ref(layer).cast_mut().cast::<c_void>(),
        open,
        delete,
        access,
        full_pathname,
        dl_open: base.dl_open.map(|_| dl_open as _),
        dl_error: base.dl_error.map(|_| dl_error as _),
        dl_sym: base.dl_sym.map(|_| dl_sym as _),
        dl_close: base.dl_close.map(|_| dl_close as _),
        randomness,
        sleep,
        current_time,
        last_error: base.last_error.map(|_| get_last_error as _),
        current_time_int64: base.current_time_int64.map(|_| current_time_int64 as _),
        set_system_call: base.set_system_call.map(|_| set_system_call as _),
        system_call: base.system_call.map(|_| get_system_call as _),
        next_system_call: base.next_system_call.map(|_| next_system_call as _),
    }
}

/// # Safety
/// `vfs` is a table that [`table`] made.
unsafe fn layer<'a>(vfs: *mut Vfs) -> &'a Layer {
    // SAFETY: `table` put a layer there that lives as long as the process.
    unsafe { &*(*vfs).app_data.cast::<Layer>() }
}

unsafe extern "C" fn open(
    vfs: *mut Vfs,
    name: *const c_char,
    file: *mut File,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes the table it was given, and memory of the size that the table says.
    let layer = unsafe { layer(vfs) };
    // SAFETY: as above. Without methods SQLite does not close what was not opened.
    unsafe { (*file).methods = ptr::null() };
    let opened = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: SQLite's own arguments.
        unsafe { open_any(layer, name, file, flags) }
    }));
    match opened {
        Ok(Ok((inner, opened_flags))) => {
            // SAFETY: the memory is of the size of a handle, and the out flags may be absent.
            unsafe {
                if !out_flags.is_null() {
                    *out_flags = opened_flags;
                }
                let handle = file.cast::<Handle>();
                (*handle).inner = Box::into_raw(Box::new(inner));
                (*file).methods = &raw const METHODS;
            }
            ffi::OK
        }
        Ok(Err(error)) => {
            // SAFETY: null or a C string.
            let path = unsafe { text(name) }.unwrap_or_default();
            match &error {
                // Not finding a file is an answer, not an incident.
                Error::Io { .. } => crate::error::code(&error),
                _ => layer.report(Path::new(&path), &error),
            }
        }
        Err(_) => ffi::IOERR,
    }
}

/// # Safety
/// `name` and `flags` are what SQLite passed to `xOpen`.
unsafe fn open_any(
    layer: &'static Layer,
    name: *const c_char,
    file: *const File,
    flags: c_int,
) -> Result<(Inner, c_int), Error> {
    let kind = kind_of(name, flags);
    if kind == FileKind::WriteAheadLog
        && let Some(group) = group_of(layer, name)
        && group.pages_too_small()
    {
        return Err(Error::Misuse {
            what: "SQLite's pages are smaller than the sealed ones, so there can be no write-ahead log; \
                   VACUUM INTO a new database",
        });
    }
    // SAFETY: the caller says so.
    let (base, opened) = unsafe { layer.base.open(name, flags) }
        .map_err(|code| base_error("opening a file", code))?;
    let inner = match kind {
        // SAFETY: as above.
        FileKind::Main => unsafe { open_main(layer, name, file, base)? },
        FileKind::Temporary => open_temporary(layer, base)?,
        // SAFETY: as above.
        kind => unsafe { open_companion(layer, name, base, kind)? },
    };
    Ok((inner, opened))
}

fn kind_of(name: *const c_char, flags: c_int) -> FileKind {
    const TEMPORARY: c_int =
        ffi::OPEN_TEMP_DB | ffi::OPEN_TRANSIENT_DB | ffi::OPEN_TEMP_JOURNAL | ffi::OPEN_SUBJOURNAL;
    if name.is_null() || flags & TEMPORARY != 0 {
        FileKind::Temporary
    } else if flags & ffi::OPEN_WAL != 0 {
        FileKind::WriteAheadLog
    } else if flags & ffi::OPEN_MAIN_JOURNAL != 0 {
        FileKind::RollbackJournal
    } else if flags & ffi::OPEN_SUPER_JOURNAL != 0 {
        FileKind::SuperJournal
    } else {
        FileKind::Main
    }
}

/// The connection that a log or journal belongs to, when SQLite's names say so.
fn group_of(layer: &Layer, name: *const c_char) -> Option<Arc<Group>> {
    // SAFETY: logs and journals are opened by names that SQLite made, which is what the function asks for.
    let database = unsafe { (layer.api.filename_database)(name) };
    let (group, ours) = layer.by_name(database as usize)?;
    // SAFETY: the name belongs to a database that SQLite has open, so there is a file behind it.
    let file = unsafe { (layer.api.database_file_object)(name) };
    if ours != file as usize {
        group.write_through();
    }
    Some(group)
}

/// # Safety
/// `name` is SQLite's name of a main database.
unsafe fn open_main(
    layer: &'static Layer,
    name: *const c_char,
    file: *const File,
    base: Arc<BaseFile>,
) -> Result<Inner, Error> {
    // SAFETY: a C string, since it is no temporary file.
    let path = PathBuf::from(unsafe { text(name) }.unwrap_or_default());
    // SAFETY: the name is SQLite's own, so it has parameters behind it.
    let opener = unsafe { opener(layer, name)? };
    let store = opener.open_store(&BaseDisk(base.clone()), &path)?;
    layer.saw(store.as_ref());
    let group = Group::new(Opened {
        path,
        opener,
        api: layer.api,
        main: base.clone(),
        store,
        write_through: false,
    });
    let member = Arc::new(Member::new(FileKind::Main, base));
    group.join(&member);
    member.state().existing(&member, &group)?;
    layer.add(name as usize, file as usize, &group);
    Ok(Inner::new(layer, member, group, Some(name as usize)))
}

/// # Safety
/// `name` is SQLite's name of a main database.
unsafe fn opener(layer: &Layer, name: *const c_char) -> Result<Arc<Opener>, Error> {
    let parameter = |key: &str| {
        let key = CString::new(key).ok()?;
        // SAFETY: the caller vouches for the name; the answer is null or a C string.
        unsafe { text((layer.api.uri_parameter)(name, key.as_ptr())) }
    };
    (layer.source)(&parameter).map_err(|what| Error::Io {
        doing: "finding the keys",
        source: std::io::Error::other(what),
    })
}

fn open_temporary(layer: &'static Layer, base: Arc<BaseFile>) -> Result<Inner, Error> {
    let opener = (layer.source)(&|_| None).map_err(|what| Error::Io {
        doing: "finding the keys",
        source: std::io::Error::other(what),
    })?;
    let setup = temporary(layer.ephemeral_keys()?, &opener);
    let member = Arc::new(Member::new(FileKind::Temporary, base.clone()));
    let file = SealedFile::open(member.disk(), setup)?;
    member.state().set_file(file);
    let group = Group::new(Opened {
        path: PathBuf::new(),
        opener,
        api: layer.api,
        main: base,
        store: None,
        write_through: false,
    });
    group.join(&member);
    Ok(Inner::new(layer, member, group, None))
}

/// # Safety
/// `name` is SQLite's name of a log, a journal or a super-journal, opened as `kind`.
unsafe fn open_companion(
    layer: &'static Layer,
    name: *const c_char,
    base: Arc<BaseFile>,
    kind: FileKind,
) -> Result<Inner, Error> {
    // SAFETY: a C string, since it is no temporary file.
    let path = PathBuf::from(unsafe { text(name) }.unwrap_or_default());
    let known = match kind {
        // Names of super-journals, and of journals opened as such, are not SQLite's own.
        FileKind::SuperJournal => None,
        _ => group_of(layer, name),
    };
    let group = match known {
        Some(group) => group,
        None => stranger(layer, &path, kind)?,
    };
    // SQLite looks into the journals that a super-journal names by opening them as super-journals.
    let claimed = match kind {
        FileKind::SuperJournal => claimed_kind(&BaseDisk(base.clone()))?,
        _ => None,
    };
    let kind = match claimed {
        Some(number) if number == FileKind::RollbackJournal as u8 => FileKind::RollbackJournal,
        _ => kind,
    };
    let member = Arc::new(Member::new(kind, base));
    group.flush()?;
    group.join(&member);
    Ok(Inner::new(layer, member, group, None))
}

/// A group for a file whose connection is not known: it has the keys, and nothing in it waits.
fn stranger(layer: &'static Layer, path: &Path, kind: FileKind) -> Result<Arc<Group>, Error> {
    let database = database_of(path).ok_or(Error::Misuse {
        what: "this file belongs to no database",
    })?;
    let known = layer.by_path(&database);
    // SQLite looks into the journals of other connections to see whether a super-journal is still needed.
    for group in &known {
        group.flush()?;
    }
    if kind != FileKind::SuperJournal {
        // One of them may be its connection, behind a layer that gives files other names.
        known.iter().for_each(|group| group.write_through());
    }
    if let Some(open) = known.into_iter().next() {
        let store = open.store()?;
        let main = open.main().clone();
        return Ok(stranger_group(
            layer,
            database,
            open.opener.clone(),
            main,
            store,
        ));
    }
    // Nobody in this process has the database open, so looking into it releases nobody's locks.
    let name = FileName::new(&database).ok_or(Error::Misuse {
        what: "a file name with a NUL byte",
    })?;
    let opener = (layer.source)(&|_| None).map_err(|what| Error::Io {
        doing: "finding the keys",
        source: std::io::Error::other(what),
    })?;
    let flags = ffi::OPEN_READONLY | ffi::OPEN_MAIN_DB;
    // SAFETY: a name in the form that SQLite gives to layers; the file is closed before the name goes.
    let (main, _) = unsafe { layer.base.open(name.as_ptr(), flags) }
        .map_err(|code| base_error("opening the database of a journal", code))?;
    let store = opener.open_store(&BaseDisk(main.clone()), &database)?;
    main.close();
    Ok(stranger_group(layer, database, opener, main, store))
}

fn stranger_group(
    layer: &Layer,
    path: PathBuf,
    opener: Arc<Opener>,
    main: Arc<BaseFile>,
    store: Option<Store>,
) -> Arc<Group> {
    Group::new(Opened {
        path,
        opener,
        api: layer.api,
        main,
        store,
        write_through: true,
    })
}

unsafe extern "C" fn delete(vfs: *mut Vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: SQLite's own arguments.
    let (layer, path) = unsafe { (layer(vfs), text(name)) };
    let flushed = catch_unwind(AssertUnwindSafe(|| flush_before(layer, path.as_deref())));
    match flushed {
        // SAFETY: as above.
        Ok(Ok(())) => unsafe { (layer.base.vfs().delete)(layer.base.0, name, sync_dir) },
        Ok(Err(error)) => layer.report(Path::new(&path.unwrap_or_default()), &error),
        Err(_) => ffi::IOERR,
    }
}

/// Removing a journal ends a transaction: what it protected must be on the disk by then.
fn flush_before(layer: &Layer, path: Option<&str>) -> Result<(), Error> {
    let Some(database) = path.and_then(|path| database_of(Path::new(path))) else {
        return Ok(());
    };
    for group in layer.by_path(&database) {
        group.flush()?;
    }
    Ok(())
}

macro_rules! pass_on {
    ($($(#[$doc:meta])* fn $name:ident => $field:ident ($($arg:ident: $type:ty),*) -> $out:ty;)*) => {$(
        unsafe extern "C" fn $name(vfs: *mut Vfs, $($arg: $type),*) -> $out {
            // SAFETY: SQLite's own arguments, for the layer underneath.
            unsafe {
                let base = layer(vfs).base;
                (base.vfs().$field)(base.0, $($arg),*)
            }
        }
    )*};
}

macro_rules! pass_on_optional {
    ($(fn $name:ident => $field:ident ($($arg:ident: $type:ty),*) -> $out:ty, else $none:expr;)*) => {$(
        unsafe extern "C" fn $name(vfs: *mut Vfs, $($arg: $type),*) -> $out {
            // SAFETY: SQLite's own arguments, for the layer underneath.
            unsafe {
                let base = layer(vfs).base;
                match base.vfs().$field {
                    Some(call) => call(base.0, $($arg),*),
                    None => $none,
                }
            }
        }
    )*};
}

type Call = Option<unsafe extern "C" fn()>;

pass_on! {
    fn access => access(name: *const c_char, flags: c_int, out: *mut c_int) -> c_int;
    fn full_pathname => full_pathname(name: *const c_char, len: c_int, out: *mut c_char) -> c_int;
    fn randomness => randomness(len: c_int, out: *mut c_char) -> c_int;
    fn sleep => sleep(microseconds: c_int) -> c_int;
    fn current_time => current_time(out: *mut f64) -> c_int;
}

pass_on_optional! {
    fn dl_open => dl_open(name: *const c_char) -> *mut c_void, else ptr::null_mut();
    fn dl_error => dl_error(len: c_int, out: *mut c_char) -> (), else ();
    fn dl_sym => dl_sym(library: *mut c_void, name: *const c_char) -> Call, else None;
    fn dl_close => dl_close(library: *mut c_void) -> (), else ();
    fn get_last_error => last_error(len: c_int, out: *mut c_char) -> c_int, else 0;
    fn current_time_int64 => current_time_int64(out: *mut i64) -> c_int, else ffi::IOERR;
    fn set_system_call => set_system_call(name: *const c_char, call: Call) -> c_int, else ffi::NOTFOUND;
    fn get_system_call => system_call(name: *const c_char) -> Call, else None;
    fn next_system_call => next_system_call(name: *const c_char) -> *const c_char, else ptr::null();
}
