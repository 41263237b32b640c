//! SQLite's side channel to its file system layer, and the pragmas that we answer there.

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::Ordering;

use cofferdam_sealed_file::FileKind;

use crate::base::text;
use crate::error::last_error;
use crate::fence::{note_connection, standing_in_words};
use crate::ffi::{self, File};
use crate::methods::{Inner, call, inner};

pub(crate) unsafe extern "C" fn file_control(
    file: *mut File,
    operation: c_int,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: an open file.
    let inner = unsafe { inner(file) };
    if operation == ffi::FCNTL_PDB && inner.member.kind == FileKind::Main {
        // SAFETY: SQLite's own argument for this operation.
        unsafe { note_connection(&inner.group, argument) };
    }
    match operation {
        ffi::FCNTL_CKPT_START => inner.member.state().checkpoint = true,
        ffi::FCNTL_CKPT_DONE => inner.member.state().checkpoint = false,
        _ => {}
    }
    // Commits, syncs and checkpoints all pass here, and their callers hear of an error.
    let flushed = call(inner, || inner.group.flush());
    if flushed != ffi::OK {
        return flushed;
    }
    match operation {
        // SAFETY: the argument is the array of strings that SQLite documents for it.
        ffi::FCNTL_PRAGMA => unsafe { pragma(inner, argument.cast()) },
        // Sizes of the file underneath are our business.
        ffi::FCNTL_SIZE_HINT => ffi::OK,
        ffi::FCNTL_CHUNK_SIZE => ffi::NOTFOUND,
        ffi::FCNTL_MMAP_SIZE => {
            // SAFETY: the argument is a 64-bit limit; there is no memory mapping here.
            unsafe { *argument.cast::<i64>() = 0 };
            ffi::OK
        }
        ffi::FCNTL_POWERSAFE_OVERWRITE => {
            // SAFETY: the argument is an integer. This is not for the caller to choose.
            unsafe { *argument.cast::<c_int>() = 1 };
            ffi::OK
        }
        ffi::FCNTL_VFSNAME => {
            // SAFETY: the argument is a place for a string.
            unsafe { answer_text(inner, argument.cast(), &layer_name(inner)) }
        }
        _ => pass_on(inner, operation, argument),
    }
}

fn pass_on(inner: &Inner, operation: c_int, argument: *mut c_void) -> c_int {
    let base = &inner.member.base;
    match base.methods() {
        // SAFETY: the file underneath is open, and the argument is what SQLite documents for the operation.
        Some(methods) => unsafe { (methods.file_control)(base.as_ptr(), operation, argument) },
        None => ffi::IOERR,
    }
}

fn layer_name(inner: &Inner) -> String {
    // SAFETY: a registered layer has a name.
    let base = unsafe { text(inner.layer.base.vfs().name) }.unwrap_or_default();
    format!("{}/{base}", inner.layer.name.to_string_lossy())
}

/// # Safety
/// `words` is the argument of SQLITE_FCNTL_PRAGMA: a place for the answer, the name, the value or null.
unsafe fn pragma(inner: &Inner, words: *mut *mut c_char) -> c_int {
    // SAFETY: the caller says so.
    let (name, value) = unsafe { (text(*words.add(1)), text(*words.add(2))) };
    let name = name.unwrap_or_default().to_ascii_lowercase();
    let reply = match (name.as_str(), value.as_deref()) {
        ("cofferdam_error", None) => last_error().unwrap_or_default(),
        ("cofferdam_status", None) => status(inner),
        ("cofferdam_revalidate", None) => inner.group.revalidate(),
        ("journal_mode", Some(mode)) if mode.eq_ignore_ascii_case("wal") && too_small(inner) => {
            // SAFETY: as above.
            let _ = unsafe { answer_text(inner, words, SMALL_PAGES) };
            return ffi::ERROR;
        }
        ("page_size", Some(size)) if smaller_than_sealed(inner, size) => {
            // SQLite, too, ignores a page size that it cannot use, and programs set one at every start.
            inner.layer.say(ffi::OK, SMALLER_PAGES);
            return ffi::OK;
        }
        _ => return ffi::NOTFOUND,
    };
    // SAFETY: as above.
    unsafe { answer_text(inner, words, &reply) }
}

fn too_small(inner: &Inner) -> bool {
    inner.group.pages_too_small()
}

fn smaller_than_sealed(inner: &Inner, size: &str) -> bool {
    let sealed = inner.group.sealed_page_size.load(Ordering::Relaxed);
    size.trim()
        .parse::<usize>()
        .is_ok_and(|size| size.is_power_of_two() && size >= 512 && size < sealed)
}

/// One line that says what protects the database.
fn status(inner: &Inner) -> String {
    match inner.group.store() {
        Ok(Some(store)) => format!(
            "store {}, suite {}, data key {}, keyring sequence {}, sealed page size {}, {}",
            store.keys.store_id(),
            store.keys.suite().number(),
            store.keys.active_dek(),
            store.keyring_sequence,
            inner.group.sealed_page_size.load(Ordering::Relaxed),
            standing_in_words(&store.lease.standing()),
        ),
        Ok(None) => "not made yet".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// # Safety
/// `place` is a place for a string that SQLite frees.
unsafe fn answer_text(inner: &Inner, place: *mut *mut c_char, text: &str) -> c_int {
    // SAFETY: the caller says so.
    unsafe { inner.layer.api.put_message(place, text) }
}

const SMALL_PAGES: &str = "cofferdam: the database's pages are smaller than its sealed pages, so it cannot have a \
     write-ahead log; VACUUM INTO a new database first";
const SMALLER_PAGES: &str = "cofferdam: page_size is ignored: the pages of a sealed database cannot become smaller; \
     VACUUM INTO a new database that was opened with the page size you want";
