//! The files of one connection to one database, and the order in which their bytes reach the disk.
//!
//! SQLite relies on the order of its writes to different files also when nothing is synced: a process that is killed
//! leaves what it wrote, in the order it wrote it. Bytes that wait in one file are therefore flushed before another
//! file of the group is written, cut or removed, and before other processes are let in.
//!
//! One pair of files may wait together: the database and its rollback journal. A journal may run ahead of its database, for
//! what it appends are the contents that pages had before, and putting those back changes nothing as long as the pages have
//! not been written. So
//!
//! 1. what waits in a journal is flushed before anything that waits in its database;
//! 2. a journal takes what is appended while pages of the database wait, and nothing else: a header that is written again
//!    may end a transaction;
//! 3. a journal is read, to roll back, when all of it is on the disk: from then on what waits in the database needs nothing
//!    that still waits in the journal;
//! 4. a journal that cannot be flushed when it is closed, which SQLite does in the middle of a transaction only after an
//!    error and without rolling back, takes with it what waits in the database.

use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::{DataKeys, Holder, Lease, Suite};
use cofferdam_sealed_file::{Error, FileKind, FileSetup, Opener, SealedFile, Store};

use crate::base::{BaseDisk, BaseFile};
use crate::fence::Connection;
use crate::ffi::{self, Api};

/// One connection's files.
pub(crate) struct Group {
    pub(crate) path: PathBuf,
    pub(crate) opener: Arc<Opener>,
    pub(crate) api: Api,
    main: Arc<BaseFile>,
    /// The store with its keys; gone while the store is fenced.
    store: Mutex<Option<Store>>,
    /// The store's lease, once there was a store.
    lease: OnceLock<Arc<Lease>>,
    /// For the lease, which must not keep the group alive.
    this: Weak<Group>,
    pub(crate) connection: Connection,
    /// Files that could undo a transaction: logs and journals on the disk.
    undo_files: AtomicUsize,
    /// The database was written in this transaction while there was no such file: `journal_mode` MEMORY or OFF.
    without_undo: AtomicBool,
    /// The store is fenced, and this connection may write until its transaction has ended, because nobody else could undo it.
    finishing: AtomicBool,
    members: Mutex<Vec<Weak<Member>>>,
    /// Nothing waits: the files were opened through another layer on top, which may keep SQLite's order and syncs to itself.
    write_through: AtomicBool,
    /// SQLITE_LOCK_… of the main file.
    pub(crate) lock_level: AtomicUsize,
    /// The page size that SQLite uses, once it was seen; 0 before.
    pub(crate) sqlite_page_size: AtomicUsize,
    /// Page size of the sealed main file, once it is chosen; 0 before.
    pub(crate) sealed_page_size: AtomicUsize,
}

/// One open file.
pub(crate) struct Member {
    pub(crate) kind: FileKind,
    pub(crate) base: Arc<BaseFile>,
    state: Mutex<State>,
}

/// A member's sealed file, once there is a store whose keys it can be sealed with.
pub(crate) struct State {
    pub(crate) file: Option<SealedFile<BaseDisk>>,
    /// Bytes that SQLite was told were written could not be flushed at a fence: it must hear of that before it commits.
    lost: bool,
    /// A checkpoint is going on: SQLite must hear of each failure at once.
    pub(crate) checkpoint: bool,
    /// The next page written to the log belongs to a commit frame.
    pub(crate) commit_frame: bool,
    /// End of what was written to the log.
    pub(crate) log_end: u64,
}

/// What a group is made from.
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) opener: Arc<Opener>,
    pub(crate) api: Api,
    pub(crate) main: Arc<BaseFile>,
    pub(crate) store: Option<Store>,
    pub(crate) write_through: bool,
}

impl Group {
    pub(crate) fn new(opened: Opened) -> Arc<Group> {
        let store = opened.store.clone();
        let group = Arc::new_cyclic(|this| Group {
            path: opened.path,
            opener: opened.opener,
            api: opened.api,
            main: opened.main,
            store: Mutex::new(None),
            lease: OnceLock::new(),
            this: this.clone(),
            connection: Connection::unknown(),
            undo_files: AtomicUsize::new(0),
            without_undo: AtomicBool::new(false),
            finishing: AtomicBool::new(false),
            members: Mutex::new(Vec::new()),
            write_through: AtomicBool::new(opened.write_through),
            lock_level: AtomicUsize::new(ffi::LOCK_NONE as usize),
            sqlite_page_size: AtomicUsize::new(0),
            sealed_page_size: AtomicUsize::new(0),
        });
        if let Some(store) = store {
            group.keep(store);
        }
        group
    }

    /// Keeps a store's keys for as long as its lease says.
    pub(crate) fn keep(&self, store: Store) {
        let lease = self.lease.get_or_init(|| {
            let holder: Weak<dyn Holder> = self.this.clone();
            store.lease.join(holder);
            store.lease.clone()
        });
        *lock(&self.store) = Some(store);
        // The fence may have come between the vault's answer and now.
        match lease.admit() {
            Ok(()) => crate::error::fence_ended(&self.path),
            Err(_) => self.forget_store(),
        }
    }

    pub(crate) fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.get()
    }

    /// The store, if its keys are in memory.
    pub(crate) fn open_store(&self) -> Option<Store> {
        lock(&self.store).clone()
    }

    pub(crate) fn forget_store(&self) {
        *lock(&self.store) = None;
    }

    pub(crate) fn main_member(&self) -> Option<Arc<Member>> {
        self.members()
            .into_iter()
            .find(|member| member.kind == FileKind::Main)
    }

    /// Flushes every file and gives it up, with its keys. When one cannot be flushed, what waits behind it is not written either.
    pub(crate) fn give_up_files(&self) {
        let mut in_order = true;
        for member in self.members() {
            let mut state = member.state();
            if let Some(mut file) = state.file.take()
                && !file.is_flushed()
            {
                in_order = in_order && file.flush().is_ok();
                state.lost |= !in_order;
            }
        }
    }

    /// A file was closed.
    pub(crate) fn leave(&self, kind: FileKind) {
        if undoes(kind) {
            self.undo_files.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The database is about to be written.
    pub(crate) fn note_write(&self) {
        if self.undo_files.load(Ordering::Relaxed) == 0 {
            self.without_undo.store(true, Ordering::Relaxed);
        }
    }

    /// A transaction has ended.
    pub(crate) fn note_end(&self) {
        self.without_undo.store(false, Ordering::Relaxed);
        if self.finishing.swap(false, Ordering::Relaxed) {
            self.give_up_files();
            self.forget_store();
        }
    }

    /// Whether a transaction is under way that only this connection can undo. It keeps its keys to do that, and is not read.
    pub(crate) fn holds_out(&self) -> bool {
        let holds_out = self.without_undo.load(Ordering::Relaxed);
        self.finishing.store(holds_out, Ordering::Relaxed);
        holds_out
    }

    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    /// From now on nothing waits.
    pub(crate) fn write_through(&self) {
        self.write_through.store(true, Ordering::Relaxed);
    }

    pub(crate) fn writes_through(&self) -> bool {
        self.write_through.load(Ordering::Relaxed)
    }

    pub(crate) fn join(&self, member: &Arc<Member>) {
        let mut members = lock(&self.members);
        members.retain(|other| other.strong_count() > 0);
        members.push(Arc::downgrade(member));
        if undoes(member.kind) {
            self.undo_files.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn main(&self) -> &Arc<BaseFile> {
        &self.main
    }

    /// The members in the order in which they are flushed: the database comes last.
    fn members(&self) -> Vec<Arc<Member>> {
        let mut members: Vec<_> = lock(&self.members)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        members.sort_by_key(|member| member.kind == FileKind::Main);
        members
    }

    /// The store, if it is on the disk by now.
    pub(crate) fn store(&self) -> Result<Option<Store>, Error> {
        if let Some(store) = self.open_store()
            && (self.is_finishing() || self.admit().is_ok())
        {
            return Ok(Some(store));
        }
        self.admit()?;
        let disk = BaseDisk(self.main.clone());
        let Some(store) = self.opener.open_store(&disk, &self.path)? else {
            return Ok(None);
        };
        self.keep(store.clone());
        self.admit()?;
        Ok(Some(store))
    }

    /// The store, made if need be. The caller holds SQLite's reserved lock, so nobody else is making it.
    pub(crate) fn store_or_new(&self) -> Result<Store, Error> {
        if let Some(store) = self.store()? {
            return Ok(store);
        }
        let disk = BaseDisk(self.main.clone());
        let made = self.opener.create_store(&disk, &self.path, None)?;
        self.keep(made.clone());
        Ok(made)
    }

    /// Flushes every file but one.
    pub(crate) fn flush_others(&self, except: &Arc<Member>) -> Result<(), Error> {
        for member in self.members() {
            if !Arc::ptr_eq(&member, except) {
                member.flush()?;
            }
        }
        Ok(())
    }

    /// Flushes what must be on the disk before a change to a file: everything else, and for a journal also what waits in
    /// it, because the database comes after that.
    pub(crate) fn flush_before(&self, changed: &Arc<Member>) -> Result<(), Error> {
        if changed.kind == FileKind::RollbackJournal {
            changed.flush()?;
        }
        self.flush_others(changed)
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        for member in self.members() {
            member.flush()?;
        }
        Ok(())
    }

    /// Whether nothing waits.
    pub(crate) fn is_flushed(&self) -> bool {
        self.members().iter().all(|member| {
            let state = member.state();
            state.file.as_ref().is_none_or(SealedFile::is_flushed)
        })
    }

    /// Flushes before a lock is given up, after which nothing may be written. What cannot be flushed belongs to no
    /// committed transaction: SQLite was told of that failure when it asked for the commit.
    pub(crate) fn flush_or_abandon(&self) -> Result<(), Error> {
        let lost = self.admit_loss();
        let flushed = lost.and_then(|()| self.flush());
        if flushed.is_err() {
            self.abandon_what_waits();
        }
        flushed
    }

    /// Tells, once, that bytes were lost at a fence.
    fn admit_loss(&self) -> Result<(), Error> {
        let mut lost = false;
        for member in self.members() {
            lost |= std::mem::take(&mut member.state().lost);
        }
        match lost {
            true => Err(Error::Latched),
            false => Ok(()),
        }
    }

    pub(crate) fn abandon_what_waits(&self) {
        for member in self.members() {
            if let Some(file) = &mut member.state().file
                && !file.is_flushed()
            {
                file.abandon();
            }
        }
    }

    /// Other processes may have written.
    pub(crate) fn forget(&self) {
        for member in self.members() {
            if let Some(file) = &mut member.state().file {
                file.forget();
            }
        }
    }

    /// A layer between SQLite and us may also keep locks to itself, and with them the news that others have written.
    pub(crate) fn forget_if_hidden(&self) {
        if self.writes_through() {
            self.forget();
        }
    }

    /// Whether SQLite's pages are smaller than the sealed ones, which a log cannot be trusted with.
    pub(crate) fn pages_too_small(&self) -> bool {
        let sqlite = self.sqlite_page_size.load(Ordering::Relaxed);
        sqlite > 0 && sqlite < self.sealed_page_size.load(Ordering::Relaxed)
    }

    /// Remembers the page size that the first page of a database states.
    pub(crate) fn note_header(&self, bytes: &[u8], offset: u64) {
        if offset == 0
            && let Some(size) = header_page_size(bytes)
        {
            self.sqlite_page_size.store(size, Ordering::Relaxed);
        }
    }
}

impl Drop for Group {
    /// What the vaults were asked for this connection goes on record.
    fn drop(&mut self) {
        if self.lease.get().is_some()
            && let Some(store) = self.open_store()
        {
            let _ = self
                .opener
                .record_canaries(&self.path, &store.witness(), true);
        }
    }
}

/// The page size that the first bytes of a database state (SQLite file format, section 1.3.2).
pub(crate) fn header_page_size(bytes: &[u8]) -> Option<usize> {
    let &[high, low] = bytes.get(16..18)? else {
        return None;
    };
    let size = match usize::from(u16::from_be_bytes([high, low])) {
        1 => 65536,
        size => size,
    };
    (size.is_power_of_two() && size >= 512).then_some(size)
}

impl Member {
    pub(crate) fn new(kind: FileKind, base: Arc<BaseFile>) -> Member {
        Member {
            kind,
            base,
            state: Mutex::new(State {
                file: None,
                lost: false,
                checkpoint: false,
                commit_frame: false,
                log_end: 0,
            }),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Closes the file underneath. Nobody reads or writes it meanwhile, and nobody can afterwards.
    pub(crate) fn close(&self) -> c_int {
        let mut state = self.state();
        state.file = None;
        self.base.close()
    }

    pub(crate) fn disk(&self) -> BaseDisk {
        BaseDisk(self.base.clone())
    }

    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut state = self.state();
        // What was lost at a fence was to come before what waits elsewhere.
        if state.lost {
            return Err(Error::Latched);
        }
        match &mut state.file {
            Some(file) if !file.is_flushed() => file.flush(),
            _ => Ok(()),
        }
    }
}

impl State {
    /// The sealed file if there is one: `None` for the file of a database that is not there yet.
    pub(crate) fn existing(
        &mut self,
        member: &Member,
        group: &Group,
    ) -> Result<Option<&mut SealedFile<BaseDisk>>, Error> {
        self.check(group)?;
        if self.file.is_none()
            && let Some(store) = group.store()?
        {
            self.file = Some(open(member, group, &store)?);
        }
        Ok(self.file.as_mut())
    }

    /// The sealed file, with a new store under it if need be.
    pub(crate) fn writable(
        &mut self,
        member: &Member,
        group: &Group,
    ) -> Result<&mut SealedFile<BaseDisk>, Error> {
        self.check(group)?;
        if self.file.is_none() {
            let store = group.store_or_new()?;
            self.file = Some(open(member, group, &store)?);
        }
        Ok(self.file.as_mut().expect("the file was just opened"))
    }

    /// Under the lock of the state, so that nothing gets in while the files are given up.
    fn check(&self, group: &Group) -> Result<(), Error> {
        if !group.is_finishing() {
            group.admit()?;
        }
        match self.lost {
            true => Err(Error::Latched),
            false => Ok(()),
        }
    }

    /// A file with keys of its own, which end with the process.
    pub(crate) fn set_file(&mut self, file: SealedFile<BaseDisk>) {
        self.file = Some(file);
    }
}

fn open(member: &Member, group: &Group, store: &Store) -> Result<SealedFile<BaseDisk>, Error> {
    let mut setup = group.opener.main_setup(store);
    if member.kind != FileKind::Main {
        let chosen = group.sealed_page_size.load(Ordering::Relaxed);
        setup.kind = member.kind;
        setup.page_size = Some(PageSize::try_from(chosen).unwrap_or(PageSize::DEFAULT));
        setup.slot_count = slots_for(store.keys.suite());
    }
    let file = SealedFile::open(member.disk(), setup)?;
    if member.kind == FileKind::Main {
        note_page_size(group, &file);
    }
    Ok(file)
}

/// Remembers the page size of a main file for the sector size and for the files beside it.
pub(crate) fn note_page_size(group: &Group, file: &SealedFile<BaseDisk>) {
    if let Some(size) = file.page_size() {
        group
            .sealed_page_size
            .store(size.bytes(), Ordering::Relaxed);
    }
}

/// What a temporary file is set up with.
pub(crate) fn temporary(keys: Arc<DataKeys>, opener: &Opener) -> FileSetup {
    FileSetup {
        kind: FileKind::Temporary,
        page_size: Some(PageSize::DEFAULT),
        slot_count: slots_for(keys.suite()),
        clock: opener.clock,
        keys,
    }
}

/// Whether a file of this kind can undo, or leave undone, what was written to the database.
fn undoes(kind: FileKind) -> bool {
    matches!(kind, FileKind::RollbackJournal | FileKind::WriteAheadLog)
}

fn slots_for(suite: Suite) -> SlotCount {
    match suite.layer_count() {
        1 => SlotCount::One,
        _ => SlotCount::Two,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lock level as SQLite numbers it.
pub(crate) fn set_level(group: &Group, level: c_int) {
    group.lock_level.store(level as usize, Ordering::Relaxed);
}
