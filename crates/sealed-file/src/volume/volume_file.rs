//! A file of a volume, to its users a file of bytes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, TryLockError};

use cofferdam_audit::Clock;
use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::FileId;

use super::claims::Claims;
use super::journaled_disk::JournaledDisk;
use super::layers::{Layers, Stage};
use super::shared::Shared;
use crate::disk::Disk;
use crate::error::Error;
use crate::file::{FileSetup, SealedFile};
use crate::opener::Store;
use crate::record::FileKind;
use crate::scrub::{Extent, Scrubbed, scrub_batches};

/// A file of a volume. Any number of threads may use it, and open it as often as they like.
///
/// A write is seen by every later read at once, and is durable after the next [`VolumeFile::sync`] of any file of the volume. Each
/// call is atomic up to [`ATOMIC_LEN_MAX`] bytes: a power cut leaves all of it or nothing.
#[derive(Clone)]
pub struct VolumeFile {
    pub(super) volume: Arc<Shared>,
    pub(super) opened: Arc<Opened>,
}

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

type Sealed = SealedFile<JournaledDisk>;

struct State {
    file_id: FileId,
    /// All changes go through it, and reads when nobody else is reading. Gone while the volume is fenced.
    main: Mutex<Option<Sealed>>,
    /// For those who read at the same time.
    spare: Mutex<Vec<Sealed>>,
}

impl VolumeFile {
    /// The length in bytes.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Io`], [`Error::RecordAltered`].
    pub fn len(&self) -> Result<u64, Error> {
        self.read(SealedFile::len)
    }

    /// Whether there is not a byte in it.
    ///
    /// # Errors
    /// As [`VolumeFile::len`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Reads from `offset` on, and answers how many bytes there were; fewer than asked only at the end. Up to [`ATOMIC_LEN_MAX`] bytes
    /// are of one moment.
    ///
    /// # Errors
    /// [`Error::PageAltered`] for these pages alone; otherwise as [`VolumeFile::len`].
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Error> {
        let result = self.read_pieces(bytes, offset);
        // What was read before the gate closed may have been on its way here when it did.
        let result = self.volume.admit().and(result);
        if result.is_err() {
            bytes.fill(0);
        }
        result
    }

    /// Lets a fence pass between two pieces.
    fn read_pieces(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Error> {
        let mut done = 0;
        for part in bytes.chunks_mut(ATOMIC_LEN_MAX) {
            let read = self.read(|file| file.read_at(part, offset.saturating_add(done as u64)))?;
            done += read;
            if read < part.len() {
                break;
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`Error::Latched`], [`Error::TooLong`]; otherwise as [`VolumeFile::read_at`]. Nothing was written then of the part that failed.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let mut at = offset;
        for part in bytes.chunks(ATOMIC_LEN_MAX) {
            self.change_with_zeros(at, part.len() as u64, |file| file.write_at(part, at))?;
            at += part.len() as u64;
        }
        Ok(())
    }

    /// A change that puts `len` bytes at `offset`. What the file cannot say of pages that were never written becomes zeros first, an
    /// operation at a time: all of them in one would be in memory together.
    fn change_with_zeros(
        &self,
        offset: u64,
        len: u64,
        change: impl Fn(&mut Sealed) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut done = false;
        while !done {
            self.change(
                |file| match file.zeros_first(offset, len, ATOMIC_LEN_MAX as u64) {
                    Some((at, count)) => file.write_at(&vec![0; count as usize], at),
                    None => {
                        done = true;
                        change(file)
                    }
                },
            )?;
        }
        Ok(())
    }

    /// Cuts the file off, or lets it grow by bytes that read as zero.
    ///
    /// # Errors
    /// As [`VolumeFile::write_at`].
    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        match len {
            0 => self.volume.empty(&self.opened),
            // A file that grows has a gap in front of the byte behind its end; one that is cut has none.
            len if len > self.len()? => self.change_with_zeros(len, 1, |file| file.set_len(len)),
            len => self.change(|file| file.set_len(len)),
        }
    }

    /// Makes durable everything that was written so far, to whatever file of the volume. Goes on working while the volume is
    /// fenced: what was written is sealed already.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Latched`]: the volume must be opened again, and has what was synced before.
    pub fn sync(&self) -> Result<(), Error> {
        self.volume.journal.commit()
    }

    /// Opens every page, a batch at a time: others use the file meanwhile, and a fence does not wait for the end. `progress` hears of
    /// the pages done and of all.
    ///
    /// # Errors
    /// As [`VolumeFile::read_at`], but a page that does not open is a finding.
    pub fn scrub(&self, progress: impl FnMut(u64, u64)) -> Result<Scrubbed, Error> {
        let extent = self.read(Extent::of)?;
        scrub_batches(&extent, progress, |bytes, offset| {
            self.read(|file| file.read_at(bytes, offset))
        })
    }

    fn read<R>(&self, look: impl FnOnce(&mut Sealed) -> Result<R, Error>) -> Result<R, Error> {
        let store = self.volume.store()?;
        let state = self.opened.state.read();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        // A fence closes the gate first and takes the file's keys afterwards, under this lock.
        self.volume.admit()?;
        let mut main = match state.main.try_lock() {
            Ok(main) => main,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let mut spare = lock(&state.spare).pop();
                let result = look(self.opened.sealed(&mut spare, state.file_id, &store)?);
                lock(&state.spare).extend(spare);
                return result;
            }
        };
        look(self.opened.sealed(&mut main, state.file_id, &store)?)
    }

    fn change(&self, change: impl FnOnce(&mut Sealed) -> Result<(), Error>) -> Result<(), Error> {
        self.volume.journal.make_way()?;
        let store = self.volume.store()?;
        let mut staging = self.opened.staging();
        self.volume.admit()?;
        let file = staging.sealed(&store)?;
        change(file)?;
        file.flush()?;
        self.volume.journal.publish(&[&self.opened.layers], &[])?;
        staging.keep();
        Ok(())
    }
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

/// The bytes of a file are a disk for whatever is to rest on them.
impl Disk for VolumeFile {
    fn len(&self) -> io::Result<u64> {
        VolumeFile::len(self).map_err(io::Error::other)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        VolumeFile::read_at(self, bytes, offset).map_err(io::Error::other)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        VolumeFile::write_at(self, bytes, offset).map_err(io::Error::other)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        VolumeFile::set_len(self, len).map_err(io::Error::other)
    }

    fn sync(&self) -> io::Result<()> {
        VolumeFile::sync(self).map_err(io::Error::other)
    }
}

/// Most bytes of a write that is atomic as a whole: 1 MiB. A longer one is several.
pub const ATOMIC_LEN_MAX: usize = 1 << 20;
