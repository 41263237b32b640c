//! How a file is read: pieces of pages, from the cache or the disk.

use cofferdam_cipher::PageNumber;

use super::{Cached, SealedFile};
use crate::disk::Disk;
use crate::error::Error;
use crate::pages::{Current, Slots};
use crate::plaintext::Plaintext;

impl<D: Disk> SealedFile<D> {
    /// Reads what there is below the recorded length.
    pub(super) fn read_there(&mut self, out: &mut [u8], offset: u64) -> Result<usize, Error> {
        let available = self.length().saturating_sub(offset);
        let len = out
            .len()
            .min(usize::try_from(available).unwrap_or(usize::MAX));
        self.read_pieces(&mut out[..len], offset)?;
        Ok(len)
    }

    pub(super) fn read_pieces(&mut self, out: &mut [u8], offset: u64) -> Result<(), Error> {
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
    pub(super) fn whole_pages(&self, page: PageNumber, count: usize) -> usize {
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
    pub(super) fn read_whole(&mut self, page: PageNumber, out: &mut [u8]) -> Result<(), Error> {
        if self.record.holes.contains(page.as_u64()) {
            out.fill(0);
            return Ok(());
        }
        let (pages, disk) = self.pages()?;
        pages.read(disk, page, out)
    }

    /// One page's bytes, from the cache when it is still what the disk has.
    pub(super) fn cached(&mut self, page: PageNumber) -> Result<&[u8], Error> {
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
    pub(super) fn cache_serves(&mut self, page: PageNumber) -> Result<bool, Error> {
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
    pub(super) fn read_page(
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
}
