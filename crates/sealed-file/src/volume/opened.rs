//! What all handles of a file share: its keys while they may be held, and the lock under which it is read and changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, TryLockError};

use cofferdam_audit::Clock;
use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::FileId;

use super::claims::Claims;
use super::journaled_disk::JournaledDisk;
use super::layers::{Layers, Stage};
use super::shared::Shared;
use crate::error::Error;
use crate::file::{FileSetup, SealedFile};
use crate::opener::Store;
use crate::record::FileKind;

/// What all handles of a file share.
pub(crate) struct Opened {
    pub(super) number: u64,
    pub(super) layers: Arc<Layers>,
    page_size: PageSize,
    slot_count: SlotCount,
    clock: Clock,
    /// Shared by those who read; whoever changes the file is alone.
    state: RwLock<State>,
    /// Nobody finds the file by a name any more; it goes with the last handle.
    pub(super) removed: AtomicBool,
    pub(super) claims: Claims,
    volume: std::sync::Weak<Shared>,
}

pub(super) type Sealed = SealedFile<JournaledDisk>;

struct State {
    file_id: FileId,
    /// All changes go through it, and reads when nobody else is reading. Gone while the volume is fenced.
    main: Mutex<Option<Sealed>>,
    /// For those who read at the same time.
    spare: Mutex<Vec<Sealed>>,
}

impl Opened {
    pub(super) fn new(
        volume: &Arc<Shared>,
        layers: Arc<Layers>,
        file_id: FileId,
        page_size: PageSize,
        slot_count: SlotCount,
    ) -> Opened {
        Opened {
            number: layers.number(),
            layers,
            page_size,
            slot_count,
            clock: volume.opener.clock,
            state: RwLock::new(State {
                file_id,
                main: Mutex::new(None),
                spare: Mutex::new(Vec::new()),
            }),
            removed: AtomicBool::new(false),
            claims: Claims::default(),
            volume: Arc::downgrade(volume),
        }
    }

    /// Looks into the file, together with others who do.
    pub(super) fn read<R>(
        &self,
        volume: &Shared,
        look: impl FnOnce(&mut Sealed) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let store = volume.store()?;
        let state = self.state.read();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        // A fence closes the gate first and takes the file's keys afterwards, under this lock.
        volume.admit()?;
        let mut main = match state.main.try_lock() {
            Ok(main) => main,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let mut spare = lock(&state.spare).pop();
                let result = look(self.sealed(&mut spare, state.file_id, &store)?);
                lock(&state.spare).extend(spare);
                return result;
            }
        };
        look(self.sealed(&mut main, state.file_id, &store)?)
    }

    /// The file, for an operation that changes it.
    pub(super) fn staging(&self) -> Staging<'_> {
        let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        Staging {
            opened: self,
            before: state.file_id,
            state,
            kept: false,
        }
    }

    /// Gives up the keys and the plaintext, unless somebody is at it.
    pub(super) fn try_wipe(&self) -> bool {
        let mut state = match self.state.try_write() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        *lock(&state.main) = None;
        own(&mut state.spare).clear();
        true
    }

    fn sealed<'a>(
        &self,
        sealed: &'a mut Option<Sealed>,
        file_id: FileId,
        store: &Store,
    ) -> Result<&'a mut Sealed, Error> {
        if sealed.is_none() {
            let file = self.open_sealed(store, Some(self.page_size))?;
            // An empty file without a record, or another file of the same store, is not this one.
            if file.file_id() != file_id {
                let kind = FileKind::Volume;
                return Err(Error::RecordAltered { kind });
            }
            *sealed = Some(file);
        }
        Ok(sealed.as_mut().expect("it was just opened"))
    }

    fn open_sealed(
        &self,
        store: &Store,
        page_size: Option<PageSize>,
    ) -> Result<SealedFile<JournaledDisk>, Error> {
        let setup = FileSetup {
            keys: store.keys.clone(),
            kind: FileKind::Volume,
            page_size,
            slot_count: self.slot_count,
            clock: self.clock,
        };
        SealedFile::open(JournaledDisk::new(self.layers.clone()), setup)
    }
}

/// A file while an operation is put together. Held until the operation is published: another one must not publish half of it.
pub(super) struct Staging<'a> {
    opened: &'a Opened,
    state: RwLockWriteGuard<'a, State>,
    /// The file's identity before the operation.
    before: FileId,
    kept: bool,
}

impl Staging<'_> {
    pub(super) fn sealed(&mut self, store: &Store) -> Result<&mut Sealed, Error> {
        let state = &mut *self.state;
        let main = own(&mut state.main);
        self.opened.sealed(main, state.file_id, store)
    }

    /// Makes the record of a file that has none: a new file, or one that was cut to nothing, which is another file from then on.
    pub(super) fn make_record(&mut self, store: &Store) -> Result<FileId, Error> {
        let mut file = self.opened.open_sealed(store, None)?;
        file.choose_page_size(self.opened.page_size);
        file.flush()?;
        self.state.file_id = file.file_id();
        *own(&mut self.state.main) = Some(file);
        Ok(self.state.file_id)
    }

    /// The operation was published.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // It failed half-way: nothing of it counts, and what the sealed file remembers may be wrong.
            self.opened.layers.discard(Stage::Staged);
            self.state.file_id = self.before;
            *own(&mut self.state.main) = None;
        }
        let other = self.state.file_id != self.before;
        let spare = own(&mut self.state.spare);
        match other {
            true => spare.clear(),
            false => spare.iter_mut().for_each(SealedFile::forget),
        }
    }
}

fn own<T>(mutex: &mut Mutex<T>) -> &mut T {
    mutex.get_mut().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(volume) = self.volume.upgrade() else {
            return;
        };
        if self.removed.load(Ordering::Acquire) {
            // Should this be lost, the next opening finds a file that was removed.
            let _ = volume.journal.publish(&[], &[self.number]);
        }
        let state = self.state.get_mut();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        *own(&mut state.main) = None;
        own(&mut state.spare).clear();
        volume.closed(self);
    }
}
