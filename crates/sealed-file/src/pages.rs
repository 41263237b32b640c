//! Pages of one file on their disk: the place where bytes and frames meet.

use std::thread::sleep;
use std::time::Duration;

use cofferdam_cipher::{OpenError, PageCipher, PageNumber, SLOT_LEN};

use crate::disk::Disk;
use crate::error::Error;
use crate::geometry::{Geometry, Home};
use crate::record::FileKind;

/// The pages of one file. Knows nothing of lengths, holes and records.
pub(crate) struct Pages {
    kind: FileKind,
    geometry: Geometry,
    cipher: PageCipher,
    frames: Frames,
}

/// Frames on their way; the contents are sealed. The memory only grows, so that a page read between two long writes
/// does not have it cleared again.
#[derive(Default)]
struct Frames {
    memory: Vec<u8>,
    len: usize,
}

impl Frames {
    /// Room for `len` bytes that hold anything.
    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.memory.len() < len {
            self.memory.resize(len, 0);
        }
        self.len = len;
        &mut self.memory[..len]
    }

    /// What the last [`Frames::room`] was filled with.
    fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

/// Where the current content of a page of a log or journal was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) home: Home,
    pub(crate) version: u64,
}

impl Pages {
    pub(crate) fn new(kind: FileKind, geometry: Geometry, cipher: PageCipher) -> Pages {
        Pages {
            kind,
            geometry,
            cipher,
            frames: Frames::default(),
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Reads and opens pages that have one home each, from `first` on, as many as fit in `out`.
    pub(crate) fn read(
        &mut self,
        disk: &impl Disk,
        first: PageNumber,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let stride = self.geometry.stride();
        let size = self.geometry.page_size().bytes();
        let count = out.len() / size;
        let frames = self.frames.room(count * stride);
        let offset = self.geometry.frame_offset(first);
        let read = disk
            .read_at(frames, offset)
            .map_err(Error::io("reading pages"))?;
        frames[read..].fill(0);
        for index in 0..count {
            let page = nth(first, index);
            let frame = &self.frames.bytes()[index * stride..][..stride];
            let out = &mut out[index * size..][..size];
            if self.cipher.open(page, frame, out) == Ok(()) {
                continue;
            }
            let mut frame = frame.to_vec();
            self.read_again(disk, page, &mut frame, out)?;
        }
        Ok(())
    }

    /// Another process may have been in the middle of writing the frame: reads it until it opens, or
    /// stays the same for longer than a write takes.
    fn read_again(
        &self,
        disk: &impl Disk,
        page: PageNumber,
        frame: &mut Vec<u8>,
        out: &mut [u8],
    ) -> Result<(), Error> {
        let mut delay = RETRY_FIRST;
        let mut before = frame.clone();
        while delay < RETRY_LAST {
            sleep(delay);
            let read = disk
                .read_at(frame, self.geometry.frame_offset(page))
                .map_err(Error::io("reading a page"))?;
            frame[read..].fill(0);
            if *frame == before {
                delay *= 4;
                continue;
            }
            match self.cipher.open(page, frame, out) {
                Ok(()) => return Ok(()),
                Err(OpenError::Quarantined) => return Err(Error::Quarantined),
                Err(_) => before.copy_from_slice(frame),
            }
        }
        match self.cipher.open(page, frame, out) {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::open(self.kind, error)),
        }
    }

    /// Seals pages that have one home each and writes them in one go.
    pub(crate) fn write(
        &mut self,
        disk: &impl Disk,
        first: PageNumber,
        plaintext: &[u8],
    ) -> Result<(), Error> {
        self.write_at_home(disk, first, Home::Whole, 0, plaintext)
    }

    /// Seals pages and writes them to one of their homes.
    pub(crate) fn write_at_home(
        &mut self,
        disk: &impl Disk,
        first: PageNumber,
        home: Home,
        version: u64,
        plaintext: &[u8],
    ) -> Result<(), Error> {
        let stride = self.geometry.stride();
        let size = self.geometry.page_size().bytes();
        let count = (plaintext.len() / size) as u64;
        let mut done = 0;
        while done < count {
            let page = nth(first, done as usize);
            let part = self.geometry.contiguous(page, count - done) as usize;
            let from = done as usize * size;
            let frames = self.frames.room(part * stride);
            let plaintext = &plaintext[from..][..part * size];
            self.cipher
                .seal_versioned(page, version, plaintext, frames)?;
            disk.write_at(frames, self.geometry.home_offset(page, home))
                .map_err(Error::io("writing pages"))?;
            done += part as u64;
        }
        Ok(())
    }

    /// The slots of a page as they are on the disk: they change whenever the page does.
    pub(crate) fn slots(&self, disk: &impl Disk, page: PageNumber) -> Result<Slots, Error> {
        let mut slots = [0; 2 * SLOT_LEN];
        let len = self.geometry.slot_count().bytes();
        let offset = self.geometry.frame_offset(page) + self.geometry.page_size().bytes() as u64;
        disk.read_at(&mut slots[..len], offset)
            .map_err(Error::io("reading slots"))?;
        Ok(slots)
    }

    /// The slots of the frame that was read or written last.
    pub(crate) fn slots_of_last_frame(&self) -> Slots {
        let mut slots = [0; 2 * SLOT_LEN];
        let size = self.geometry.page_size().bytes();
        let stride = self.geometry.stride();
        let frames = self.frames.bytes();
        if let Some(last) = frames.len().checked_sub(stride) {
            slots[..stride - size].copy_from_slice(&frames[last + size..]);
        }
        slots
    }

    /// Opens what a page holds in the home where it is known to be. `false`, and zeros, when it is not there.
    pub(crate) fn read_known(
        &mut self,
        disk: &impl Disk,
        page: PageNumber,
        current: Current,
        out: &mut [u8],
    ) -> Result<bool, Error> {
        let claimed = self.read_home(disk, page, current.home)?;
        if claimed != current.version {
            out.fill(0);
            return Ok(false);
        }
        self.opens(page, self.frames.bytes(), out)
    }

    /// Opens the current content of a page with two homes. `None`, and zeros, when neither opens.
    ///
    /// The record's generation does not tell which home is newer: a power cut may have taken it back, and not the frame.
    pub(crate) fn read_current(
        &mut self,
        disk: &impl Disk,
        page: PageNumber,
        whole_required: bool,
        out: &mut [u8],
    ) -> Result<Option<Current>, Error> {
        let mut delay = RETRY_FIRST;
        loop {
            let whole = self.read_home(disk, page, Home::Whole)?;
            let whole_frame = std::mem::take(&mut self.frames);
            if whole > self.claimed_by_tail(disk, page)?
                && self.opens(page, whole_frame.bytes(), out)?
            {
                self.frames = whole_frame;
                return Ok(Some(Current {
                    home: Home::Whole,
                    version: whole,
                }));
            }
            let tail = self.read_home(disk, page, Home::Tail)?;
            let mut homes = [
                (Home::Whole, whole, whole_frame.bytes()),
                (Home::Tail, tail, self.frames.bytes()),
            ];
            if tail > whole {
                homes.swap(0, 1);
            }
            let (_, claimed, newer) = homes[0];
            let damaged = claimed > 0 && !self.opens(page, newer, out)?;
            // Absent frames are nothing to wait for; one that is there and does not open may be one that
            // another process is writing.
            if damaged && delay < RETRY_LAST {
                sleep(delay);
                delay *= 4;
                continue;
            }
            // Below what was synced, neither a missing frame nor a newer one that does not open is a torn tail.
            if whole_required && (damaged || !self.opens(page, whole_frame.bytes(), out)?) {
                return Err(Error::PageAltered {
                    kind: self.kind,
                    page,
                });
            }
            for (home, version, frame) in homes {
                if self.opens(page, frame, out)? {
                    return Ok(Some(Current { home, version }));
                }
            }
            out.fill(0);
            return Ok(None);
        }
    }

    /// Reads one home's frame; answers the version it claims, 0 for a home that was never written.
    fn read_home(&mut self, disk: &impl Disk, page: PageNumber, home: Home) -> Result<u64, Error> {
        let frame = self.frames.room(self.geometry.stride());
        let read = disk
            .read_at(frame, self.geometry.home_offset(page, home))
            .map_err(Error::io("reading a page"))?;
        frame[read..].fill(0);
        Ok(self.cipher.claimed_version(frame))
    }

    /// The version that the tail home claims, without reading its page.
    fn claimed_by_tail(&mut self, disk: &impl Disk, page: PageNumber) -> Result<u64, Error> {
        let size = self.geometry.page_size().bytes();
        let frame = self.frames.room(self.geometry.stride());
        let offset = self.geometry.home_offset(page, Home::Tail) + size as u64;
        let slots = &mut frame[size..];
        let read = disk
            .read_at(slots, offset)
            .map_err(Error::io("reading a page"))?;
        slots[read..].fill(0);
        Ok(self.cipher.claimed_version(frame))
    }

    fn opens(&self, page: PageNumber, frame: &[u8], out: &mut [u8]) -> Result<bool, Error> {
        if self.cipher.claimed_version(frame) == 0 {
            return Ok(false);
        }
        match self.cipher.open_versioned(page, frame, out) {
            Ok(_) => Ok(true),
            Err(OpenError::Refused { .. }) => Ok(false),
            Err(error) => Err(Error::open(self.kind, error)),
        }
    }
}

/// Slots of one page; those a file does not have are zero.
pub(crate) type Slots = [u8; 2 * SLOT_LEN];

fn nth(first: PageNumber, index: usize) -> PageNumber {
    first
        .checked_add(index as u64)
        .expect("lengths are checked against LENGTH_MAX, which is below page 2^49")
}

const RETRY_FIRST: Duration = Duration::from_micros(100);
const RETRY_LAST: Duration = Duration::from_millis(20);
