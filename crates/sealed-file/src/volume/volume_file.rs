//! A file of a volume, to its users a file of bytes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
use crate::scrub::{Scrubbed, scrub};

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
    state: Mutex<State>,
    /// Nobody finds the file by a name any more; it goes with the last handle.
    pub(super) removed: AtomicBool,
    pub(super) claims: Claims,
    volume: std::sync::Weak<Shared>,
}

pub(super) struct State {
    pub(super) file_id: FileId,
    /// Gone while the volume is fenced.
    pub(super) sealed: Option<SealedFile<JournaledDisk>>,
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

    /// Reads from `offset` on, and answers how many bytes there were; fewer than asked only at the end.
    ///
    /// # Errors
    /// [`Error::PageAltered`] for these pages alone; otherwise as [`VolumeFile::len`].
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Error> {
        let result = self.read(|file| file.read_at(bytes, offset));
        // What was read before the gate closed may have been on its way here when it did.
        let admitted = self.volume.admit();
        if admitted.is_err() {
            bytes.fill(0);
        }
        admitted.and(result)
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// [`Error::Latched`], [`Error::TooLong`]; otherwise as [`VolumeFile::read_at`]. Nothing was written then of the part that failed.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        let mut at = offset;
        for part in bytes.chunks(ATOMIC_LEN_MAX) {
            self.change(|file| file.write_at(part, at))?;
            at += part.len() as u64;
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

    /// Opens every page. `progress` hears of the pages done and of all.
    ///
    /// # Errors
    /// As [`VolumeFile::read_at`], but a page that does not open is a finding.
    pub fn scrub(&self, progress: impl FnMut(u64, u64)) -> Result<Scrubbed, Error> {
        self.read(|file| scrub(file, progress))
    }

    fn read<R>(
        &self,
        look: impl FnOnce(&mut SealedFile<JournaledDisk>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (store, mut state) = self.opened.unlocked(&self.volume)?;
        look(self.opened.sealed(&mut state, &store)?)
    }

    fn change(
        &self,
        change: impl FnOnce(&mut SealedFile<JournaledDisk>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (store, mut state) = self.opened.unlocked(&self.volume)?;
        let file = self.opened.sealed(&mut state, &store)?;
        let result = change(file)
            .and_then(|()| file.flush())
            .and_then(|()| self.volume.journal.publish(&[&self.opened.layers], &[]));
        if result.is_err() {
            self.opened.give_up(&mut state);
        }
        result
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
            state: Mutex::new(State {
                file_id,
                sealed: None,
            }),
            removed: AtomicBool::new(false),
            claims: Claims::default(),
            volume: Arc::downgrade(volume),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, with the volume's keys in memory and its gate open.
    fn unlocked(&self, volume: &Shared) -> Result<(Store, MutexGuard<'_, State>), Error> {
        let store = volume.store()?;
        let state = self.state();
        // A fence closes the gate first and takes the file's keys afterwards, under this lock.
        volume.admit()?;
        Ok((store, state))
    }

    pub(super) fn sealed<'a>(
        &self,
        state: &'a mut State,
        store: &Store,
    ) -> Result<&'a mut SealedFile<JournaledDisk>, Error> {
        if state.sealed.is_none() {
            let file = self.open_sealed(store, Some(self.page_size))?;
            // An empty file without a record, or another file of the same store, is not this one.
            if file.file_id() != state.file_id {
                let kind = FileKind::Volume;
                return Err(Error::RecordAltered { kind });
            }
            state.sealed = Some(file);
        }
        Ok(state.sealed.as_mut().expect("it was just opened"))
    }

    /// Makes the record of a file that has none: a new file, or one that was cut to nothing, which is another file from then on.
    pub(super) fn make_record(&self, state: &mut State, store: &Store) -> Result<FileId, Error> {
        let mut file = self.open_sealed(store, None)?;
        file.choose_page_size(self.page_size);
        file.flush()?;
        state.file_id = file.file_id();
        state.sealed = Some(file);
        Ok(state.file_id)
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

    /// An operation failed half-way: nothing of it counts, and what the sealed file remembers may be wrong.
    pub(super) fn give_up(&self, state: &mut State) {
        self.layers.discard(Stage::Staged);
        state.sealed = None;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if self.removed.load(Ordering::Acquire)
            && let Some(volume) = self.volume.upgrade()
        {
            // Should this be lost, the next opening finds a file that no name belongs to.
            let _ = volume.journal.publish(&[], &[self.number]);
        }
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
