//! How logs and journals are written, whose pages have two homes each (format section 5.1).

use cofferdam_cipher::PageNumber;

use super::{Cached, SealedFile};
use crate::disk::Disk;
use crate::error::Error;
use crate::geometry::{Geometry, Home};
use crate::pages::Current;
use crate::plaintext::Plaintext;
use crate::record::{FileKind, GENERATION_MAX};
use crate::unsynced::Part;

/// Where a run goes.
struct Plan {
    first: PageNumber,
    count: u64,
    /// The pages that keep bytes they had before, and page 0; at most two, in order.
    kept: Vec<Kept>,
}

struct Kept {
    page: PageNumber,
    home: Home,
    /// The other home holds what is current.
    replaces: bool,
}

impl<D: Disk> SealedFile<D> {
    /// The current bytes of a page with two homes, and where they were found.
    pub(super) fn read_log_page(
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
    pub(super) fn write_log_run(&mut self) -> Result<(), Error> {
        let (start, end) = (self.run.start(), self.run.end());
        let appends = self.setup.kind == FileKind::WriteAheadLog || end >= self.record.length;
        if let Some(synced) = self.synced.take() {
            self.record_synced(synced.min(start));
        }
        self.claim_generation(start)?;
        let plan = self.plan_homes()?;
        let geometry = self.pages()?.0.geometry();
        self.record_first |= self.extend_log(start, end, geometry);
        // Invariant 4. When the record is another handle's, this also syncs what that one wrote.
        self.record_changed |= !std::mem::replace(&mut self.writing, true);
        self.store_record()?;
        let mut kept = plan.kept.iter();
        let endangers =
            kept.any(|kept| kept.replaces && self.unsynced.endangers(kept.page.as_u64()));
        if self.record_first || endangers {
            self.sync_disk()?;
        }
        for kept in &plan.kept {
            // What page 0 held, the mark that a transaction has ended, is relied on until the next mark is durable.
            let marked = kept.replaces && kept.page == PageNumber::ZERO;
            let opens = appends && start <= geometry.page_offset(kept.page) && !marked;
            let part = if opens { Part::Opened } else { Part::Kept };
            self.unsynced.wrote(kept.page.as_u64(), part);
        }
        self.carry_out(&plan)?;
        if self.run_ends_inside(geometry) {
            self.remember_last(geometry);
        }
        self.end_mark = None;
        Ok(())
    }

    /// Makes the run whole pages and chooses the home of each that keeps old bytes. The others go to their whole homes.
    fn plan_homes(&mut self) -> Result<Plan, Error> {
        let mut found = Vec::with_capacity(2);
        let (first, count) = self.complete_run(|page, current| found.push((page, current)))?;
        let geometry = self.pages()?.0.geometry();
        let ends_inside = self.run_ends_inside(geometry);
        let mut kept = Vec::with_capacity(2);
        for (page, current) in found {
            let is_last = page.as_u64() + 1 == first.as_u64() + count;
            let home = match current {
                Some(current) => current.home.other(),
                None if is_last && ends_inside => Home::Tail,
                None => Home::Whole,
            };
            self.outrank(home, current)?;
            kept.push(Kept {
                page,
                home,
                replaces: current.is_some(),
            });
        }
        Ok(Plan { first, count, kept })
    }

    /// Seals the run's pages and writes them to their homes.
    fn carry_out(&mut self, plan: &Plan) -> Result<(), Error> {
        let first = plan.first.as_u64();
        let stop = first + plan.count;
        self.drop_cached(plan.first, plan.count);
        let was_complete = self.homes.writing(first..stop);
        let generation = self.record.generation;
        let (pages, disk, run) = self.pages_and_run()?;
        let size = pages.geometry().page_size().bytes();
        let plaintext = run.pages(size);
        let mut homes = Vec::with_capacity(4);
        let mut write = |from: u64, to: u64, home: Home| {
            let range = (from - first) as usize * size..(to - first) as usize * size;
            let page = PageNumber::new(from).ok_or(Error::TooLong)?;
            let version = version_in(home, generation);
            homes.push((from..to, Current { home, version }));
            pages.write_at_home(disk, page, home, version, &plaintext[range])
        };
        let mut next = first;
        for kept in &plan.kept {
            let page = kept.page.as_u64();
            if next < page {
                write(next, page, Home::Whole)?;
            }
            write(page, page + 1, kept.home)?;
            next = page + 1;
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
        Ok(())
    }

    fn run_ends_inside(&self, geometry: Geometry) -> bool {
        !self
            .run
            .end()
            .is_multiple_of(geometry.page_size().bytes() as u64)
    }

    /// Keeps the page in which the run ends: what is appended next begins there.
    pub(super) fn remember_last(&mut self, geometry: Geometry) {
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
    pub(super) fn claim_generation(&mut self, start: u64) -> Result<(), Error> {
        let mut generation = self.record.generation;
        if !self.generation_claimed {
            generation = (generation | (GENERATION_STEP - 1)) + 1;
            self.generation_claimed = true;
        } else if start == 0 {
            generation += 1;
        }
        self.raise_generation(generation)
    }

    pub(super) fn raise_generation(&mut self, generation: u64) -> Result<(), Error> {
        if generation > GENERATION_MAX {
            return Err(Error::TooLong);
        }
        if generation != self.record.generation {
            let steps = generation / GENERATION_STEP != self.record.generation / GENERATION_STEP;
            self.record_first |= steps && !self.records.is_absent();
            self.record.generation = generation;
            self.record_changed = true;
        }
        Ok(())
    }

    /// Sees to it that what goes to `home` counts more than what is in the other one.
    pub(super) fn outrank(&mut self, home: Home, current: Option<Current>) -> Result<(), Error> {
        let Some(current) = current else {
            return Ok(());
        };
        let generation = self.record.generation.max(current.version / 2);
        let version = version_in(home, generation);
        self.raise_generation(generation + u64::from(version <= current.version))
    }

    /// Answers whether frames that must open by the record will be replaced: the record must then be durable first.
    pub(super) fn extend_log(&mut self, start: u64, end: u64, geometry: Geometry) -> bool {
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
    pub(super) fn record_synced(&mut self, end: u64) {
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
}

/// The version of a frame that is written now (format section 5.1).
fn version_in(home: Home, generation: u64) -> u64 {
    match home {
        Home::Whole => 2 * generation + 1,
        Home::Tail => 2 * generation,
    }
}

/// What the first write through a handle raises the generation to a multiple of.
const GENERATION_STEP: u64 = 1 << 16;
