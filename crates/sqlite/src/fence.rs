//! What happens to a connection when the vaults say *no*, and how they are asked about it.
//!
//! The gate is closed when [`Holder::fence`] is called, so nothing new begins. What waits is sealed and written, under the same lock
//! under which the file and with it its keys are given up: a write that SQLite was told of is never lost between the two. Then SQLite's page
//! cache goes. A statement that is running, or that stands between two rows, could go on from pages it has pinned: it is interrupted.

use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use cofferdam_keys::{Holder, Recorder, Refusal, Standing};
use cofferdam_sealed_file::{Error, HeadCopy};

use crate::base::BaseDisk;
use crate::error::fence_began;
use crate::ffi::{self, Api};
use crate::group::Group;

/// The connection that SQLite says a main file belongs to; none when it does not say, or when several share its cache.
pub(crate) struct Connection {
    handle: AtomicPtr<c_void>,
    shared: AtomicBool,
}

impl Connection {
    pub(crate) const fn unknown() -> Connection {
        Connection {
            handle: AtomicPtr::new(ptr::null_mut()),
            shared: AtomicBool::new(false),
        }
    }

    /// SQLite tells a file of its connection once, unless several share it: then it is nobody's.
    fn set(&self, connection: *mut c_void) {
        let before = self.handle.swap(connection, Ordering::AcqRel);
        if !before.is_null() || self.shared.load(Ordering::Acquire) {
            self.shared.store(true, Ordering::Release);
            self.handle.store(ptr::null_mut(), Ordering::Release);
        }
    }

    /// Interrupts the connection and drops its page cache, from any thread. Whether the cache is gone.
    ///
    /// # Safety
    /// The connection is not being closed: whoever closes it is kept waiting.
    unsafe fn empty(&self, api: Api) -> bool {
        let connection = self.handle.load(Ordering::Acquire);
        if connection.is_null() {
            return !self.shared.load(Ordering::Acquire);
        }
        // SAFETY: an open connection, from any thread.
        let mutex = unsafe {
            (api.interrupt)(connection);
            (api.db_mutex)(connection)
        };
        // A connection without a mutex belongs to its thread, which empties it at its next call.
        // SAFETY: a mutex of SQLite's own. It is tried and never waited for, since its holder may wait for us.
        if mutex.is_null() || unsafe { (api.mutex_try)(mutex) } != ffi::OK {
            return false;
        }
        // SAFETY: the connection is ours while we hold its mutex.
        unsafe {
            (api.db_release_memory)(connection);
            (api.mutex_leave)(mutex);
        }
        true
    }

    /// Drops the page cache, from within a call of the connection's own.
    fn empty_here(&self, api: Api) {
        let connection = self.handle.load(Ordering::Acquire);
        if !connection.is_null() {
            // SAFETY: SQLite is calling us for this connection, so it is open, and in the hands of this thread.
            unsafe { (api.db_release_memory)(connection) };
        }
    }
}

impl Group {
    /// Whether the store may be served. `Ok` also before there is a store.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        match self.lease() {
            Some(lease) => Ok(lease.admit()?),
            None => Ok(()),
        }
    }

    /// The same at the beginning of a transaction, when the vaults may be asked.
    pub(crate) fn admit_now(&self, api: Api) -> Result<(), Error> {
        let Some(lease) = self.lease() else {
            return Ok(());
        };
        lease.admit_now().map_err(|fenced| {
            self.connection.empty_here(api);
            Error::Fenced(fenced)
        })
    }

    /// Takes note of a keyring that was replaced.
    fn reopen_store(&self) {
        let disk = BaseDisk(self.main().clone());
        if let Ok(Some(store)) = self.opener.open_store(&disk, &self.path) {
            self.keep(store);
        }
    }

    /// A rotation that cannot be followed, as of a database that may only be read, is worth a line in SQLite's log and no more: the old
    /// version still serves.
    fn report_follow(&self, error: &Error) {
        let text = format!(
            "cofferdam: {}: the key's rotation was not followed: {error}",
            self.path.display()
        );
        if let Ok(text) = CString::new(text) {
            // SAFETY: a format and the one string that it asks for.
            unsafe { (self.api.log)(ffi::WARNING, c"%s".as_ptr(), text.as_ptr()) };
        }
    }

    /// Asks the vaults now. For people: says how the lease stands.
    pub(crate) fn revalidate(&self) -> String {
        match self.lease() {
            Some(lease) => standing_in_words(&lease.revalidate()),
            None => "not made yet".to_owned(),
        }
    }
}

/// A standing in one line.
pub(crate) fn standing_in_words(standing: &Standing) -> String {
    match standing {
        Standing::Ready => "ready".to_owned(),
        Standing::Degraded { refusal, .. } => format!("degraded: {refusal}"),
        Standing::Inaccessible { refusal, .. } => format!("inaccessible: {refusal}"),
    }
}

impl Holder for Group {
    fn probe(&self) -> Option<Result<(), Refusal>> {
        let store = self.open_store();
        let main = self.main_member()?;
        main.base.methods()?;
        match HeadCopy::of(&main.disk()) {
            Ok(head) => Some(self.opener.probe(&head, store.as_ref())),
            Err(error) => self.opener.unreadable(store.as_ref(), &error).map(Err),
        }
    }

    fn follow(&self) {
        let (Some(store), Some(main)) = (self.open_store(), self.main_member()) else {
            return;
        };
        // Serving does not wait for the log.
        let _ = self
            .opener
            .record_canaries(&self.path, &store.witness(), false);
        match self
            .opener
            .follow_rotations(main.disk(), &self.path, &store)
        {
            Ok(None) => {}
            Ok(Some(_)) => self.reopen_store(),
            Err(error) => self.report_follow(&error),
        }
    }

    fn fence(&self) -> bool {
        if let Some(Err(fenced)) = self.lease().map(|lease| lease.admit()) {
            let text = format!("cofferdam: {}: {fenced}", self.path.display());
            fence_began(&self.path, text);
        }
        if self.holds_out() {
            return false;
        }
        self.give_up_files();
        self.forget_store();
        let Some(main) = self.main_member() else {
            return true;
        };
        let _state = main.state();
        if main.base.methods().is_none() {
            return true;
        }
        // SAFETY: a connection closes its main file before it is gone, and that waits for the lock that is held here.
        unsafe { self.connection.empty(self.api) }
    }

    fn recorder(&self) -> Option<Recorder> {
        // After a fence, opening the store again is what makes it recordable.
        let store = self.open_store().or_else(|| self.store().ok().flatten())?;
        let (opener, path, witness) = (self.opener.clone(), self.path.clone(), store.witness());
        Some(Box::new(move |change, wiped| {
            // A record that cannot be written must not keep a store closed or open: what happens is the vault's decision.
            let _ = opener.record_change(&path, &witness, change, wiped);
        }))
    }
}

/// Takes the connection that SQLite tells its file system layer of.
///
/// # Safety
/// `argument` is that of SQLITE_FCNTL_PDB for the main file of this group: a place that holds the connection.
pub(crate) unsafe fn note_connection(group: &Group, argument: *mut c_void) {
    let Some(main) = group.main_member().filter(|_| !argument.is_null()) else {
        return;
    };
    let _state = main.state();
    // SAFETY: the caller says so.
    group
        .connection
        .set(unsafe { *argument.cast::<*mut c_void>() });
}
