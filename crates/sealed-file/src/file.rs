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

use std::sync::Arc;

use cofferdam_audit::Clock;
use cofferdam_cipher::{PageCipher, PageNumber, PageSize, SlotCount};
use cofferdam_keys::{DataKeys, FileId};

use crate::disk::Disk;
use crate::error::Error;
use crate::geometry::{Geometry, Home, LENGTH_MAX};
use crate::holes::Holes;
use crate::homes::Homes;
use crate::pages::{Current, Pages, Slots};
use crate::plaintext::Plaintext;
use crate::queue::Queue;
use crate::record::{FileKind, GENERATION_MAX, Record};
use crate::records::{Found, Records};
use crate::run::Run;
use crate::unsynced::{Part, Unsynced};

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

    /// Nobody relies on what is in the journal any more, once the mark that is about to be written at its start is durable.
    pub fn note_ended(&mut self) {
        self.unbroken = 0;
        self.synced = None;
        self.record_changed |= self.record.synced_length > 0;
        self.record.synced_length = 0;
    }

    /// Empties a journal that has ended, in place: the next write, which starts at offset 0, makes a new file of it, with a
    /// name of its own. What older transactions left in the pages behind is of another file, and never read again.
    ///
    /// # Errors
    /// As [`SealedFile::flush`], and those of reading.
    pub fn begin_anew(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.refresh()?;
        if self.record.length == 0 || self.record.page_size.is_none() {
            return Ok(());
        }
        if self.record.synced_length > 0 {
            self.note_ended();
            self.store_record()?;
            self.sync_disk()?;
        }
        let (pages, disk) = self.pages()?;
        let mut mark = Plaintext::default();
        mark.resize(pages.geometry().page_size().bytes());
        self.end_mark = pages.read_current(disk, PageNumber::ZERO, false, &mut mark)?;
        self.record.file_id = FileId::random()?;
        self.record.length = 0;
        self.record_changed = true;
        self.homes.clear();
        self.unbroken = 0;
        self.synced = None;
        self.pages = None;
        self.cache = None;
        Ok(())
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

    /// Takes over what other handles have recorded.
    fn refresh(&mut self) -> Result<(), Error> {
        if !self.record_stale {
            return Ok(());
        }
        if self.record_changed && !self.records.is_absent() {
            // Nobody else may write while this handle has something to say.
            return Ok(());
        }
        let found = self
            .records
            .look(&self.disk, &self.setup.keys, self.setup.kind)?;
        match found {
            Found::Unchanged if self.record_own => self.trust_memory(),
            Found::Unchanged => {}
            Found::Nothing => self.become_empty()?,
            Found::Changed(record) => self.adopt(record),
        }
        self.record_stale = false;
        Ok(())
    }

    /// Whether what this handle remembers of a log or journal is what is on the disk.
    fn remembers(&self) -> bool {
        self.record_own && !self.record_stale
    }

    /// Nobody else has written a log or journal whose newest record is this handle's (invariant 4).
    fn trust_memory(&mut self) {
        if self.two_homes()
            && let Some(cache) = &mut self.cache
        {
            cache.stale = false;
        }
    }

    fn adopt(&mut self, record: Record) {
        self.record_own = false;
        self.homes.clear();
        let same_file = self.record.file_id == record.file_id
            && self.record.page_size == record.page_size
            && self.record.slot_count == record.slot_count;
        if !same_file {
            self.pages = None;
            self.cache = None;
            self.generation_claimed = false;
            self.end_mark = None;
        }
        self.unbroken = record.synced_length;
        self.record = record;
    }

    /// The file is not there: another handle has removed it, or nobody made it yet. When it is written again it is a
    /// new file with a name of its own: frames that a power cut brings back belong to nobody.
    fn become_empty(&mut self) -> Result<(), Error> {
        self.cache = None;
        self.record_own = false;
        self.homes.clear();
        self.synced = None;
        self.unbroken = 0;
        self.unsynced = Unsynced::default();
        self.end_mark = None;
        if self.record.sequence > 0 {
            self.record.file_id = FileId::random()?;
            self.record.sequence = 0;
            self.record.length = 0;
            self.record.synced_length = 0;
            self.record.generation = 0;
            self.record.holes.cut(0);
            self.pages = None;
            self.generation_claimed = false;
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

    // Reading.

    /// Reads what there is below the recorded length.
    fn read_there(&mut self, out: &mut [u8], offset: u64) -> Result<usize, Error> {
        let available = self.length().saturating_sub(offset);
        let len = out
            .len()
            .min(usize::try_from(available).unwrap_or(usize::MAX));
        self.read_pieces(&mut out[..len], offset)?;
        Ok(len)
    }

    fn read_pieces(&mut self, out: &mut [u8], offset: u64) -> Result<(), Error> {
        let mut done = 0;
        while done < out.len() {
            let geometry = self.pages()?.0.geometry();
            let size = geometry.page_size().bytes();
            let (page, within) = geometry.locate(offset + done as u64);
            let rest = out.len() - done;
            if within == 0 && rest >= size && !self.two_homes() {
                let run = self.whole_pages(page, rest / size);
                self.read_whole(page, &mut out[done..][..run * size])?;
                done += run * size;
            } else {
                let len = rest.min(size - within);
                let plaintext = self.cached(page)?;
                out[done..][..len].copy_from_slice(&plaintext[within..][..len]);
                done += len;
            }
        }
        Ok(())
    }

    /// How many of `count` pages from `page` on are alike: all in holes, or none.
    fn whole_pages(&self, page: PageNumber, count: usize) -> usize {
        let holes = &self.record.holes;
        if holes.list().is_empty() {
            return count;
        }
        let first = holes.contains(page.as_u64());
        (1..count as u64)
            .find(|next| holes.contains(page.as_u64() + next) != first)
            .map_or(count, |next| next as usize)
    }

    /// Reads whole pages that have one home, straight into the caller's buffer.
    fn read_whole(&mut self, page: PageNumber, out: &mut [u8]) -> Result<(), Error> {
        if self.record.holes.contains(page.as_u64()) {
            out.fill(0);
            return Ok(());
        }
        let (pages, disk) = self.pages()?;
        pages.read(disk, page, out)
    }

    /// One page's bytes, from the cache when it is still what the disk has.
    fn cached(&mut self, page: PageNumber) -> Result<&[u8], Error> {
        if !self.cache_serves(page)? {
            let mut cache = self.cache.take().unwrap_or_else(|| Cached {
                page,
                slots: [0; 2 * cofferdam_cipher::SLOT_LEN],
                stale: false,
                plaintext: Plaintext::default(),
            });
            let size = self.pages()?.0.geometry().page_size().bytes();
            cache.plaintext.resize(size);
            cache.slots = self.read_page(page, &mut cache.plaintext)?.1;
            cache.page = page;
            cache.stale = false;
            self.cache = Some(cache);
        }
        Ok(&self
            .cache
            .as_ref()
            .expect("the cache was just filled")
            .plaintext)
    }

    /// A page's slots change whenever it is written, so 64 bytes tell whether a remembered page still stands.
    fn cache_serves(&mut self, page: PageNumber) -> Result<bool, Error> {
        let two_homes = self.two_homes();
        let Some(cache) = self.cache.as_ref().filter(|cache| cache.page == page) else {
            return Ok(false);
        };
        if !cache.stale {
            return Ok(true);
        }
        let remembered = cache.slots;
        if two_homes || remembered == [0; 2 * cofferdam_cipher::SLOT_LEN] {
            return Ok(false);
        }
        let (pages, disk) = self.pages()?;
        let stands = pages.slots(disk, page)? == remembered;
        if stands && let Some(cache) = &mut self.cache {
            cache.stale = false;
        }
        Ok(stands)
    }

    /// The current bytes of one page, whatever its kind. For two homes, where they were found.
    fn read_page(
        &mut self,
        page: PageNumber,
        out: &mut [u8],
    ) -> Result<(Option<Current>, Slots), Error> {
        const NO_SLOTS: Slots = [0; 2 * cofferdam_cipher::SLOT_LEN];
        if self.two_homes() {
            return Ok((self.read_log_page(page, out)?, NO_SLOTS));
        }
        let unwritten = self.record.holes.contains(page.as_u64());
        let end = self.record.length;
        let (pages, disk) = self.pages()?;
        if unwritten || pages.geometry().page_offset(page) >= end {
            out.fill(0);
            return Ok((None, NO_SLOTS));
        }
        pages.read(disk, page, out)?;
        Ok((None, pages.slots_of_last_frame()))
    }

    // Writing.

    /// Writes the run, and then what is in the queue in the order of the pages, neighbours together.
    fn flush_waiting(&mut self) -> Result<(), Error> {
        while let Some((offset, page)) = self.queue.first() {
            if self.run.take(page, offset, page.len()) {
                self.queue.remove_first();
            } else {
                self.flush_run()?;
            }
        }
        self.flush_run()
    }

    fn flush_run(&mut self) -> Result<(), Error> {
        if self.run.is_empty() {
            return Ok(());
        }
        self.check_writable()?;
        let result = self.refresh().and_then(|()| {
            if self.two_homes() {
                self.write_log_run()
            } else {
                self.write_run()
            }
        });
        if result.is_ok() {
            // Otherwise the bytes still wait: the owner may not be able to report the failure, and the next flush
            // tries again.
            self.run.clear();
        }
        result
    }

    /// Writes the run to pages with one home each.
    fn write_run(&mut self) -> Result<(), Error> {
        let (start, end) = (self.run.start(), self.run.end());
        let length = self.record.length;
        if self.records.is_absent() {
            self.store_record_now()?;
        }
        self.grow(start)?;
        let (first, count) = self.complete_run(|_, _| ())?;
        self.drop_cached(first, count);
        let (pages, disk, run) = self.pages_and_run()?;
        let size = pages.geometry().page_size().bytes();
        pages.write(disk, first, run.pages(size))?;
        if !self.record.holes.list().is_empty() {
            self.fill_holes(first.as_u64(), count)?;
        }
        if end > length {
            self.record.length = self.record.length.max(end);
            self.record_changed = true;
        }
        Ok(())
    }

    fn fill_holes(&mut self, first: u64, count: u64) -> Result<(), Error> {
        let mut holes = self.record.holes.clone();
        for surplus in holes.fill(first, count) {
            self.write_zeros(surplus.first, surplus.count)?;
        }
        if holes != self.record.holes {
            self.record.holes = holes;
            self.record_changed = true;
        }
        Ok(())
    }

    /// Makes the run whole pages, with the bytes around it as they are in the file, and answers which pages.
    /// `around` hears of each page that keeps old bytes, and where they were found.
    fn complete_run(
        &mut self,
        mut around: impl FnMut(PageNumber, Option<Current>),
    ) -> Result<(PageNumber, u64), Error> {
        let geometry = self.pages()?.0.geometry();
        let size = geometry.page_size().bytes();
        self.run.align(size);
        let (first, head) = geometry.locate(self.run.start());
        let (last, tail) = geometry.locate(self.run.end() - 1);
        let ends_inside = tail + 1 < size;
        // The first page of a journal also holds the mark that its transaction has ended. Until a new one stands, the
        // one before must, and not one that is older still.
        let holds_mark = self.two_homes() && first == PageNumber::ZERO;
        if head > 0 || (first == last && ends_inside) || holds_mark {
            around(first, self.keep_page(first)?);
        }
        if first != last && ends_inside {
            around(last, self.keep_page(last)?);
        }
        Ok((first, last.as_u64() - first.as_u64() + 1))
    }

    /// Puts what a page holds around the run, and answers where it was found.
    fn keep_page(&mut self, page: PageNumber) -> Result<Option<Current>, Error> {
        let geometry = self.pages()?.0.geometry();
        let known = self.homes.of(page).filter(|_| self.remembers());
        if known.is_some() && self.cache_serves(page)? {
            let cache = self.cache.as_ref().expect("the cache serves");
            self.run.keep(geometry.page_offset(page), &cache.plaintext);
            return Ok(known);
        }
        let mut old = Plaintext::default();
        old.resize(geometry.page_size().bytes());
        let lacks = self.remembers() && self.homes.lack(page);
        if self.two_homes() && (self.records.is_absent() || lacks) {
            self.run.keep(geometry.page_offset(page), &old);
            return Ok(None);
        }
        let current = self.read_page(page, &mut old)?.0;
        self.run.keep(geometry.page_offset(page), &old);
        Ok(current)
    }

    /// Lets the file grow to `length`; the pages between are never-written ones where there is room to say so.
    fn grow(&mut self, length: u64) -> Result<(), Error> {
        if length <= self.record.length {
            return Ok(());
        }
        if self.record.page_size.is_none() {
            self.record.page_size = Some(PageSize::DEFAULT);
        }
        let geometry = self.pages()?.0.geometry();
        let from = geometry.page_count(self.record.length);
        let to = geometry.page_count(length);
        if !self.two_homes() && !self.record.holes.push(from, to - from) {
            self.write_zeros(from, to - from)?;
        }
        self.record.length = length;
        self.record_changed = true;
        Ok(())
    }

    /// Seals pages of zeros.
    fn write_zeros(&mut self, first: u64, count: u64) -> Result<(), Error> {
        let (pages, disk) = self.pages()?;
        let size = pages.geometry().page_size().bytes();
        let batch = (Run::MAX / size) as u64;
        let zeros = vec![0; batch.min(count) as usize * size];
        let mut page = first;
        while page < first + count {
            let part = batch.min(first + count - page);
            let number = PageNumber::new(page).ok_or(Error::TooLong)?;
            pages.write(disk, number, &zeros[..part as usize * size])?;
            page += part;
        }
        Ok(())
    }

    /// The record first: until it counts them no more, the frames must stay.
    fn shrink(&mut self, length: u64) -> Result<(), Error> {
        self.cache = None;
        self.homes.clear();
        if length == 0 && self.setup.kind != FileKind::Main {
            return self.disappear();
        }
        let geometry = self.pages()?.0.geometry();
        let (page, within) = geometry.locate(length);
        let pages = geometry.page_count(length);
        if within > 0 && !self.record.holes.contains(page.as_u64()) {
            self.zero_rest_of(page, within)?;
        }
        self.record.holes.cut(pages);
        let pages_before = geometry.page_count(self.record.length);
        self.record.length = length;
        let size = geometry.page_size().bytes() as u64;
        self.record.synced_length = self.record.synced_length.min(length / size * size);
        self.store_record_now()?;
        self.unbroken = self.unbroken.min(length);
        self.synced = None;
        if self.setup.kind != FileKind::Temporary {
            // A power cut that took the record back, and not the cut, would leave pages without frames.
            self.sync_disk()?;
        }
        if self.two_homes() {
            self.wipe_whole_homes(pages, pages_before, geometry)?;
        }
        self.disk
            .set_len(geometry.cut_len(length))
            .map_err(Error::io("cutting a file"))
    }

    /// Whole homes behind the new end that stand before tail homes which stay. Their pages must read as zero.
    fn wipe_whole_homes(&self, pages: u64, before: u64, geometry: Geometry) -> Result<(), Error> {
        let first = PageNumber::new(pages).ok_or(Error::TooLong)?;
        let count = match geometry.contiguous(first, before.saturating_sub(pages)) {
            _ if geometry.starts_group(first) => 0,
            count => count,
        };
        let zeros = vec![0; geometry.stride()];
        for page in pages..pages + count {
            let page = PageNumber::new(page).ok_or(Error::TooLong)?;
            self.disk
                .write_at(&zeros, geometry.home_offset(page, Home::Whole))
                .map_err(Error::io("cutting a file"))?;
        }
        Ok(())
    }

    /// The bytes behind the new end must read as zero if the file grows again.
    fn zero_rest_of(&mut self, page: PageNumber, within: usize) -> Result<(), Error> {
        let size = self.pages()?.0.geometry().page_size().bytes();
        let start = self.pages()?.0.geometry().page_offset(page) + within as u64;
        let taken = self.run.take(&vec![0; size - within], start, size);
        assert!(taken, "the run is empty after a flush");
        let length = self.record.length;
        self.flush_run()?;
        self.record.length = length;
        Ok(())
    }

    fn disappear(&mut self) -> Result<(), Error> {
        self.disk.set_len(0).map_err(Error::io("cutting a file"))?;
        self.records = Records::absent(self.setup.kind);
        self.record_changed = false;
        self.become_empty()
    }

    fn drop_cached(&mut self, first: PageNumber, count: u64) {
        let written = first.as_u64()..first.as_u64() + count;
        if let Some(cache) = &self.cache
            && written.contains(&cache.page.as_u64())
        {
            self.cache = None;
        }
    }

    // The log and the journal (format section 5.1).

    /// The current bytes of a page with two homes, and where they were found.
    fn read_log_page(
        &mut self,
        page: PageNumber,
        out: &mut [u8],
    ) -> Result<Option<Current>, Error> {
        if page == PageNumber::ZERO && self.end_mark.is_some() {
            out.fill(0);
            return Ok(self.end_mark);
        }
        let known = self.homes.of(page).filter(|_| self.remembers());
        let (length, synced) = (self.record.length, self.record.synced_length);
        let (pages, disk) = self.pages()?;
        let offset = pages.geometry().page_offset(page);
        if offset >= length {
            out.fill(0);
            return Ok(None);
        }
        if let Some(current) = known
            && pages.read_known(disk, page, current, out)?
        {
            return Ok(known);
        }
        let required = page > PageNumber::ZERO && offset < synced;
        let current = pages.read_current(disk, page, required, out)?;
        if self.remembers() {
            self.homes.note(page, current);
        }
        Ok(current)
    }

    /// Writes the run to pages with two homes each.
    fn write_log_run(&mut self) -> Result<(), Error> {
        let (start, end) = (self.run.start(), self.run.end());
        let appends = self.setup.kind == FileKind::WriteAheadLog || end >= self.record.length;
        let made = self.records.is_absent();
        let step = self.record.generation / GENERATION_STEP;
        if let Some(synced) = self.synced.take() {
            self.record_synced(synced.min(start));
        }
        self.claim_generation(start)?;
        let mut kept = Vec::with_capacity(2);
        let (first, count) = self.complete_run(|page, current| kept.push((page, current)))?;
        let geometry = self.pages()?.0.geometry();
        let size = geometry.page_size().bytes();
        let ends_inside = !end.is_multiple_of(size as u64);
        let mut plan = Vec::with_capacity(2);
        for (page, current) in kept {
            let is_last = page.as_u64() + 1 == first.as_u64() + count;
            let home = match current {
                Some(current) => current.home.other(),
                None if is_last && ends_inside => Home::Tail,
                None => Home::Whole,
            };
            self.outrank(home, current)?;
            plan.push((page, home, current.is_some()));
        }
        let mut sync = self.extend_log(start, end, geometry);
        sync |= !made && self.record.generation / GENERATION_STEP != step;
        // Invariant 4. When the record is another handle's, this also syncs what that one wrote.
        self.record_changed |= !std::mem::replace(&mut self.writing, true);
        self.store_record()?;
        sync |= plan
            .iter()
            .any(|&(page, _, replaces)| replaces && self.unsynced.endangers(page.as_u64()));
        if sync {
            self.sync_disk()?;
        }
        for &(page, _, replaces) in &plan {
            // What page 0 held, the mark that a transaction has ended, is relied on until the next mark is durable.
            let marked = replaces && page == PageNumber::ZERO;
            let opens = appends && start <= geometry.page_offset(page) && !marked;
            let part = if opens { Part::Opened } else { Part::Kept };
            self.unsynced.wrote(page.as_u64(), part);
        }
        self.drop_cached(first, count);
        let was_complete = self.homes.writing(first.as_u64()..first.as_u64() + count);
        let generation = self.record.generation;
        let (pages, disk, run) = self.pages_and_run()?;
        let plaintext = run.pages(size);
        let mut next = first.as_u64();
        let stop = first.as_u64() + count;
        let mut homes = Vec::with_capacity(4);
        let mut write = |from: u64, to: u64, home: Home| {
            let range =
                (from - first.as_u64()) as usize * size..(to - first.as_u64()) as usize * size;
            let page = PageNumber::new(from).ok_or(Error::TooLong)?;
            let version = match home {
                Home::Whole => whole_version(generation),
                Home::Tail => 2 * generation,
            };
            homes.push((from..to, Current { home, version }));
            pages.write_at_home(disk, page, home, version, &plaintext[range])
        };
        for (page, home, _) in plan {
            if next < page.as_u64() {
                write(next, page.as_u64(), Home::Whole)?;
            }
            write(page.as_u64(), page.as_u64() + 1, home)?;
            next = page.as_u64() + 1;
        }
        if next < stop {
            write(next, stop, Home::Whole)?;
        }
        for (pages, current) in homes {
            for page in pages.filter_map(PageNumber::new) {
                self.homes.note(page, Some(current));
            }
        }
        self.homes.written(was_complete);
        if ends_inside {
            self.remember_last(geometry);
        }
        self.end_mark = None;
        Ok(())
    }

    /// Keeps the page in which the run ends: what is appended next begins there.
    fn remember_last(&mut self, geometry: Geometry) {
        let size = geometry.page_size().bytes();
        let (page, _) = geometry.locate(self.run.end() - 1);
        let pages = self.run.pages(size);
        let mut plaintext = match self.cache.take() {
            Some(cache) => cache.plaintext,
            None => Plaintext::default(),
        };
        plaintext.resize(size);
        plaintext.copy_from_slice(&pages[pages.len() - size..]);
        self.cache = Some(Cached {
            page,
            slots: [0; 2 * cofferdam_cipher::SLOT_LEN],
            stale: false,
            plaintext,
        });
    }

    /// Raises the generation where a new life of the log begins.
    fn claim_generation(&mut self, start: u64) -> Result<(), Error> {
        let mut generation = self.record.generation;
        if !self.generation_claimed {
            generation = (generation | (GENERATION_STEP - 1)) + 1;
            self.generation_claimed = true;
        } else if start == 0 {
            generation += 1;
        }
        self.raise_generation(generation)
    }

    fn raise_generation(&mut self, generation: u64) -> Result<(), Error> {
        if generation > GENERATION_MAX {
            return Err(Error::TooLong);
        }
        if generation != self.record.generation {
            self.record.generation = generation;
            self.record_changed = true;
        }
        Ok(())
    }

    /// Sees to it that what goes to `home` counts more than what is in the other one.
    fn outrank(&mut self, home: Home, current: Option<Current>) -> Result<(), Error> {
        let Some(current) = current else {
            return Ok(());
        };
        let generation = self.record.generation.max(current.version / 2);
        let version = match home {
            Home::Whole => whole_version(generation),
            Home::Tail => 2 * generation,
        };
        self.raise_generation(generation + u64::from(version <= current.version))
    }

    /// Answers whether frames that must open by the record will be replaced: the record must then be durable first.
    fn extend_log(&mut self, start: u64, end: u64, geometry: Geometry) -> bool {
        let size = geometry.page_size().bytes() as u64;
        let first = start / size * size;
        // Page 0 may be torn at any time.
        let kept = first.max(size);
        let lowers = end > size && kept < self.record.synced_length;
        if lowers {
            self.record.synced_length = kept;
            self.record_changed = true;
        }
        if first <= self.unbroken {
            let restarts = match self.setup.kind {
                FileKind::WriteAheadLog => end > size,
                _ => end > size && start == 0,
            };
            self.unbroken = if restarts {
                end
            } else {
                self.unbroken.max(end)
            };
        }
        if end > self.record.length {
            self.record.length = end;
            self.record_changed = true;
        }
        lowers
    }

    /// Notes up to where a log or journal was durable at the last sync.
    fn record_synced(&mut self, end: u64) {
        let Some(size) = self.record.page_size.filter(|_| self.two_homes()) else {
            return;
        };
        let size = size.bytes() as u64;
        let synced = end.min(self.record.length) / size * size;
        if synced > self.record.synced_length {
            self.record.synced_length = synced;
            self.record_changed = true;
        }
    }

    // The record.

    fn store_record(&mut self) -> Result<(), Error> {
        if self.record_changed {
            self.store_record_now()?;
        }
        Ok(())
    }

    fn store_record_now(&mut self) -> Result<(), Error> {
        if self.records.needs_sync() {
            self.sync_disk()?;
        }
        let made = self.records.is_absent();
        let stored = self
            .records
            .store(&self.disk, &self.setup.keys, &mut self.record);
        self.record_changed = stored.is_err();
        if !std::mem::replace(&mut self.record_own, stored.is_ok()) && self.two_homes() {
            // What was read before may be what another handle has written over since.
            self.homes.clear();
            self.cache = None;
        }
        if made && stored.is_ok() && self.two_homes() {
            self.homes.begin();
        }
        stored
    }

    /// After a failed sync of a log no later one could be trusted: what it should have made durable is not written
    /// again. SQLite rolls back what a failed sync of a database or journal concerned, and so writes it again.
    fn sync_disk(&mut self) -> Result<(), Error> {
        self.disk.sync().map_err(|source| {
            self.latched = self.setup.kind == FileKind::WriteAheadLog;
            // The record is ours to write again.
            self.record_changed |= !self.latched && !self.records.is_absent();
            Error::Io {
                doing: "syncing a file",
                source,
            }
        })?;
        self.records.synced();
        self.unsynced.synced();
        Ok(())
    }
}

fn whole_version(generation: u64) -> u64 {
    2 * generation + 1
}

/// The page size of a database whose first write has this many bytes: SQLite writes page 1 first, whole.
fn first_page_size(len: usize) -> PageSize {
    PageSize::try_from(len.min(PAGE_SIZE_CHOSEN_MAX)).unwrap_or(PageSize::DEFAULT)
}

/// The largest page size that is chosen for a database: a larger one costs more to append to a log than it saves.
pub const PAGE_SIZE_CHOSEN_MAX: usize = 16 * 1024;

/// What the first write through a handle raises the generation to a multiple of.
const GENERATION_STEP: u64 = 1 << 16;
