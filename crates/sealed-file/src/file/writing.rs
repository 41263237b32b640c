//! How the pages of files with one home each are written, and how files grow and shrink.

use cofferdam_cipher::{PageNumber, PageSize};

use super::SealedFile;
use crate::disk::Disk;
use crate::error::Error;
use crate::geometry::{Geometry, Home};
use crate::pages::Current;
use crate::plaintext::Plaintext;
use crate::record::FileKind;
use crate::records::Records;
use crate::run::Run;

impl<D: Disk> SealedFile<D> {
    /// Writes the run, and then what is in the queue in the order of the pages, neighbours together.
    pub(super) fn flush_waiting(&mut self) -> Result<(), Error> {
        while let Some((offset, page)) = self.queue.first() {
            if self.run.take(page, offset, page.len()) {
                self.queue.remove_first();
            } else {
                self.flush_run()?;
            }
        }
        self.flush_run()
    }

    pub(super) fn flush_run(&mut self) -> Result<(), Error> {
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
    pub(super) fn write_run(&mut self) -> Result<(), Error> {
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

    pub(super) fn fill_holes(&mut self, first: u64, count: u64) -> Result<(), Error> {
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
    pub(super) fn complete_run(
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
    pub(super) fn keep_page(&mut self, page: PageNumber) -> Result<Option<Current>, Error> {
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
    pub(super) fn grow(&mut self, length: u64) -> Result<(), Error> {
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
    pub(super) fn write_zeros(&mut self, first: u64, count: u64) -> Result<(), Error> {
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
    pub(super) fn shrink(&mut self, length: u64) -> Result<(), Error> {
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
    pub(super) fn wipe_whole_homes(
        &self,
        pages: u64,
        before: u64,
        geometry: Geometry,
    ) -> Result<(), Error> {
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
    pub(super) fn zero_rest_of(&mut self, page: PageNumber, within: usize) -> Result<(), Error> {
        let size = self.pages()?.0.geometry().page_size().bytes();
        let start = self.pages()?.0.geometry().page_offset(page) + within as u64;
        let taken = self.run.take(&vec![0; size - within], start, size);
        assert!(taken, "the run is empty after a flush");
        let length = self.record.length;
        self.flush_run()?;
        self.record.length = length;
        Ok(())
    }

    pub(super) fn disappear(&mut self) -> Result<(), Error> {
        self.disk.set_len(0).map_err(Error::io("cutting a file"))?;
        self.records = Records::absent(self.setup.kind);
        self.record_changed = false;
        self.become_empty()
    }

    pub(super) fn drop_cached(&mut self, first: PageNumber, count: u64) {
        let written = first.as_u64()..first.as_u64() + count;
        if let Some(cache) = &self.cache
            && written.contains(&cache.page.as_u64())
        {
            self.cache = None;
        }
    }
}
