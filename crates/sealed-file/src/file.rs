//! A file whose bytes are exactly what its owner wrote, on a disk that sees only sealed pages.
//!
//! Invariants:
//!
//! 1. Frames go to the disk before the record that makes them count, and a record that stops counting
//!    frames goes before they are cut off. A kill at any instant leaves the old or the new state of each page.
//! 2. In logs and journals, no byte that an earlier flush put on the disk is in a frame that is being
//!    replaced (format section 5.1).
//! 3. In logs and journals, no frame is replaced that may hold the only durable copy of bytes that an earlier
//!    sync, through whatever handle, made durable.
//! 4. In logs and journals, each handle stores the record before the first frame that it writes after
//!    [`SealedFile::forget`]: who finds the record unchanged knows that nobody else has written.
//! 5. What waits in the run is on the disk before anything that another handle could see is done:
//!    the owner calls [`SealedFile::flush`] for that.

mod anew;
mod gaps;
mod log;
mod reading;
mod standing;
mod writing;

use std::sync::Arc;

use cofferdam_audit::Clock;
use cofferdam_cipher::{PageCipher, PageNumber, PageSize, SlotCount};
use cofferdam_keys::{DataKeys, FileId};

use crate::disk::Disk;
use crate::error::Error;
use crate::geometry::{Geometry, LENGTH_MAX};
use crate::holes::Holes;
use crate::homes::Homes;
use crate::pages::{Current, Pages, Slots};
use crate::plaintext::Plaintext;
use crate::queue::Queue;
use crate::record::{FileKind, Record};
use crate::records::Records;
use crate::run::Run;
use crate::unsynced::Unsynced;

/// What a file needs to be known beside its disk.
#[derive(Clone)]
pub struct FileSetup {
    /// The store's keys.
    pub keys: Arc<DataKeys>,
    /// What the file is for.
    pub kind: FileKind,
    /// The page size of a file that does not exist yet; `None` lets the first write choose it.
    pub page_size: Option<PageSize>,
    /// The slots per page of a file that does not exist yet.
    pub slot_count: SlotCount,
    /// Tells when a salt has served its hour.
    pub clock: Clock,
}

/// A sealed file.
///
/// Several handles, in several processes, may share one disk as long as their owner sees to it that nobody
/// writes what another reads (SQLite's locks do). Call [`SealedFile::forget`] whenever another handle may have
/// written, and [`SealedFile::flush`] before another may read.
pub struct SealedFile<D> {
    disk: D,
    setup: FileSetup,
    record: Record,
    records: Records,
    /// The record in memory says something that the one on the disk does not.
    record_changed: bool,
    /// The record must be durable before the next frame of a log is written: it takes back what an older one requires. Stays
    /// until a sync has succeeded, whatever failed in between.
    record_first: bool,
    /// Another handle may have changed the record.
    record_stale: bool,
    pages: Option<Pages>,
    run: Run,
    /// Waits behind the run.
    queue: Queue,
    /// Up to here no page of a log or journal was skipped, as far as this handle knows.
    unbroken: u64,
    /// A sync has made this much durable; to be recorded when nothing below it will be rewritten soon.
    synced: Option<u64>,
    /// This handle is the one that writes the log or journal: it has stored the record since others could.
    writing: bool,
    unsynced: Unsynced,
    generation_claimed: bool,
    /// Where the mark stands that ended what was in a journal before it began anew.
    end_mark: Option<Current>,
    /// The newest record on the disk, when it was last looked at, is one that this handle stored.
    record_own: bool,
    homes: Homes,
    cache: Option<Cached>,
    latched: bool,
}

/// One opened page, for owners that read it in pieces.
struct Cached {
    page: PageNumber,
    slots: Slots,
    /// Another handle may have written the page since.
    stale: bool,
    plaintext: Plaintext,
}

impl<D: Disk> SealedFile<D> {
    /// Opens the file on a disk. A disk without a file is an empty file; the first write makes it.
    ///
    /// A main database is made by [`crate::Store`], which puts the keyring before it.
    ///
    /// # Errors
    /// [`Error::RecordAltered`], [`Error::OtherStore`], [`Error::Io`], [`Error::Setup`].
    pub fn open(disk: D, setup: FileSetup) -> Result<SealedFile<D>, Error> {
        let record = Record {
            kind: setup.kind,
            page_size: setup.page_size,
            slot_count: setup.slot_count,
            file_id: FileId::random()?,
            sequence: 0,
            length: 0,
            synced_length: 0,
            generation: 0,
            holes: Holes::default(),
        };
        let mut file = SealedFile {
            disk,
            records: Records::absent(setup.kind),
            setup,
            record,
            record_changed: false,
            record_first: false,
            record_stale: true,
            pages: None,
            run: Run::default(),
            queue: Queue::default(),
            unbroken: 0,
            synced: None,
            writing: false,
            unsynced: Unsynced::default(),
            generation_claimed: false,
            end_mark: None,
            record_own: false,
            homes: Homes::default(),
            cache: None,
            latched: false,
        };
        file.refresh()?;
        Ok(file)
    }

    /// The disk under the file.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// The page size, once it is chosen.
    #[must_use]
    pub fn page_size(&self) -> Option<PageSize> {
        self.record.page_size
    }

    /// Chooses the page size of a file that has no bytes yet; without this the length of its first write does.
    pub fn choose_page_size(&mut self, size: PageSize) {
        if self.length() == 0 && self.record.page_size != Some(size) {
            self.record.page_size = Some(size);
            self.record_changed = true;
            self.pages = None;
            self.cache = None;
        }
    }

    /// Slots of each page.
    #[must_use]
    pub fn slot_count(&self) -> SlotCount {
        self.record.slot_count
    }

    /// The file's own name for itself.
    #[must_use]
    pub fn file_id(&self) -> FileId {
        self.record.file_id
    }

    /// The sequence of the file record.
    #[must_use]
    pub fn record_sequence(&self) -> u64 {
        self.record.sequence
    }

    /// The pages below `length` that were never written, as `(first, count)`.
    pub fn holes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.record.holes.list().iter().map(|h| (h.first, h.count))
    }

    /// The logical length in bytes.
    ///
    /// # Errors
    /// As [`SealedFile::open`], when another handle has written in the meantime.
    pub fn len(&mut self) -> Result<u64, Error> {
        self.refresh()?;
        Ok(self.length())
    }

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As [`SealedFile::len`].
    pub fn is_empty(&mut self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Another handle may have written: what is remembered is checked before it is used again.
    pub fn forget(&mut self) {
        self.record_stale = true;
        self.writing = false;
        self.synced = None;
        if let Some(cache) = &mut self.cache {
            cache.stale = true;
        }
    }

    /// Gives up what waits, because it could not be flushed and the right to write is about to be lost.
    ///
    /// Written later, it would overwrite what other handles write in the meantime.
    pub fn abandon(&mut self) {
        self.run.clear();
        self.queue.clear();
        self.record_own = false;
        self.record_changed = false;
        self.records.distrust();
        self.end_mark = None;
        self.forget();
    }

    /// Reads from `offset` on and answers how many bytes there were; fewer than asked only at the end of
    /// the file. Bytes that were never written are zero.
    ///
    /// After [`SealedFile::forget`], that another handle has cut a main file inside of a page is noticed by
    /// [`SealedFile::len`] and not here: SQLite cuts between pages.
    ///
    /// # Errors
    /// [`Error::PageAltered`]; the other pages can still be read. Otherwise as [`SealedFile::open`]. The
    /// buffer then holds nothing of the file.
    pub fn read_at(&mut self, out: &mut [u8], offset: u64) -> Result<usize, Error> {
        let end = offset.saturating_add(out.len() as u64);
        let may_skip = self.setup.kind == FileKind::Main
            && self.record.holes.list().is_empty()
            && !self.waits();
        if !may_skip || end > self.length() {
            self.refresh()?;
        }
        if self.flushes_to_read(out.len(), offset) {
            self.flush()?;
        }
        let mut result = self.read_there(out, offset);
        if matches!(result, Err(Error::PageAltered { .. })) && self.record_stale {
            // The page may be one that another handle has cut off in the meantime, or never wrote.
            self.refresh()?;
            result = self.read_there(out, offset);
        }
        if result.is_err() {
            out.fill(0);
        }
        result
    }

    /// Whether a read of `len` bytes at `offset` would flush what waits.
    #[must_use]
    pub fn flushes_to_read(&self, len: usize, offset: u64) -> bool {
        // What lies between the end and a run behind it is known when the run is written.
        let between = self.waits() && offset.saturating_add(len as u64) > self.record.length;
        between || self.run.overlaps(offset, len) || self.queue.overlaps(offset, len)
    }

    /// Whether a write of `len` bytes at `offset` would put nothing on the disk, neither these bytes nor others.
    #[must_use]
    pub fn only_waits(&self, len: usize, offset: u64) -> bool {
        self.setup.kind == FileKind::Main
            && self.run.is_empty()
            && !self.record_stale
            && self
                .record
                .page_size
                .is_some_and(|size| self.queue.has_room(offset, len, size.bytes()))
    }

    /// Takes bytes to be written at `offset`. They reach the disk with the next flush at the latest.
    ///
    /// # Errors
    /// [`Error::Latched`], [`Error::TooLong`], and those of [`SealedFile::flush`].
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        self.check_writable()?;
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= LENGTH_MAX)
            .ok_or(Error::TooLong)?;
        if end == offset {
            return Ok(());
        }
        if self.record.page_size.is_none() {
            self.refresh()?;
        }
        if self.record.page_size.is_none() {
            self.record.page_size = Some(first_page_size(bytes.len()));
            self.record_changed = true;
        }
        let size = self.record.page_size.unwrap_or(PageSize::DEFAULT).bytes();
        if self.setup.kind == FileKind::Main {
            if !self.only_waits(bytes.len(), offset) {
                self.flush_waiting()?;
                self.refresh()?;
            }
            if self.only_waits(bytes.len(), offset) {
                self.queue.put(bytes, offset, size);
                return Ok(());
            }
        }
        let mut done = 0;
        for part in bytes.chunks(Run::MAX / 2) {
            let at = offset + done;
            if !self.run.take(part, at, size) {
                self.flush_run()?;
                let taken = self.run.take(part, at, size);
                assert!(taken, "an empty run takes half its size");
            }
            done += part.len() as u64;
        }
        Ok(())
    }

    /// Puts everything that waits on the disk, where other handles see it. This is no sync.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Seal`]. What was waiting goes on waiting, and the next flush tries again; until one
    /// succeeds, the pages in its range are unknown. [`SealedFile::abandon`] gives it up.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.flush_waiting()?;
        if let Some(synced) = self.synced.take() {
            self.record_synced(synced);
        }
        self.store_record()
    }

    /// Whether a flush would do nothing.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        !self.waits() && !self.record_changed && self.synced.is_none()
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// As [`SealedFile::flush`]. When the sync of a log fails, the log is latched: no later sync could be trusted. The owner
    /// of any other file must write again what the failed sync concerned.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.check_writable()?;
        self.flush_waiting()?;
        self.store_record()?;
        self.sync_disk()?;
        // Who does not write the file may sync it while another handle writes, and leaves the record alone.
        self.synced = self.writing.then_some(self.unbroken);
        Ok(())
    }

    /// Cuts the file off, or lets it grow by bytes that read as zero.
    ///
    /// # Errors
    /// As [`SealedFile::flush`], and [`Error::TooLong`].
    pub fn set_len(&mut self, length: u64) -> Result<(), Error> {
        self.check_writable()?;
        if length > LENGTH_MAX {
            return Err(Error::TooLong);
        }
        if length <= self.run.start() {
            self.run.clear();
        }
        self.flush()?;
        self.refresh()?;
        if length < self.record.length {
            self.shrink(length)
        } else {
            self.grow(length)?;
            self.store_record()
        }
    }

    fn length(&self) -> u64 {
        let mut length = self.record.length;
        if !self.run.is_empty() {
            length = length.max(self.run.end());
        }
        length.max(self.queue.end())
    }

    fn waits(&self) -> bool {
        !self.run.is_empty() || !self.queue.is_empty()
    }

    fn two_homes(&self) -> bool {
        self.setup.kind.has_two_homes()
    }

    fn check_writable(&self) -> Result<(), Error> {
        if self.latched {
            return Err(Error::Latched);
        }
        Ok(())
    }

    fn pages(&mut self) -> Result<(&mut Pages, &D), Error> {
        if self.pages.is_none() {
            let page_size = self.record.page_size.ok_or(Error::Misuse {
                what: "a file without a page size has no pages",
            })?;
            let cipher = PageCipher::new(
                self.setup.keys.clone(),
                self.record.file_id,
                page_size,
                self.record.slot_count,
                self.setup.clock,
            )?;
            let geometry = Geometry::new(self.setup.kind, page_size, self.record.slot_count);
            self.pages = Some(Pages::new(self.setup.kind, geometry, cipher));
        }
        let pages = self.pages.as_mut().expect("the pages were just made");
        Ok((pages, &self.disk))
    }

    fn pages_and_run(&mut self) -> Result<(&mut Pages, &D, &Run), Error> {
        self.pages()?;
        let pages = self.pages.as_mut().expect("the pages were just made");
        Ok((pages, &self.disk, &self.run))
    }
}

/// The page size of a database whose first write has this many bytes: SQLite writes page 1 first, whole.
fn first_page_size(len: usize) -> PageSize {
    PageSize::try_from(len.min(PAGE_SIZE_CHOSEN_MAX)).unwrap_or(PageSize::DEFAULT)
}

/// The largest page size that is chosen for a database: a larger one costs more to append to a log than it saves.
pub const PAGE_SIZE_CHOSEN_MAX: usize = 16 * 1024;
