//! Reads every page of a file and says which ones do not open.

use cofferdam_cipher::{PageNumber, crc_matches};

use crate::disk::Disk;
use crate::error::Error;
use crate::file::SealedFile;
use crate::geometry::Geometry;
use crate::plaintext::Plaintext;

/// What a scrub found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scrubbed {
    /// Pages looked at.
    pub pages: u64,
    /// Pages that were never written.
    pub unwritten: u64,
    /// Pages that do not open, or whose checksum does not match.
    pub bad: Vec<PageNumber>,
}

/// How much of a file there is to look at.
pub(crate) struct Extent {
    pages: u64,
    unwritten: u64,
    /// Bytes of a page; zero for a file that has none.
    size: u64,
}

impl Extent {
    pub(crate) fn of<D: Disk>(file: &mut SealedFile<D>) -> Result<Extent, Error> {
        let length = file.len()?;
        let size = file.page_size().map_or(0, |size| size.bytes() as u64);
        Ok(Extent {
            pages: length.div_ceil(size.max(1)),
            unwritten: file.holes().map(|(_, count)| count).sum(),
            size,
        })
    }
}

/// Opens every page of a file with its keys. `progress` hears of the pages done and of all.
///
/// # Errors
/// [`Error::Io`] and what concerns the whole file; a page that does not open is a finding.
pub fn scrub<D: Disk>(
    file: &mut SealedFile<D>,
    progress: impl FnMut(u64, u64),
) -> Result<Scrubbed, Error> {
    let extent = Extent::of(file)?;
    scrub_batches(&extent, progress, |bytes, offset| {
        file.read_at(bytes, offset)
    })
}

/// The same for a file that is read through `read_at`.
pub(crate) fn scrub_batches(
    extent: &Extent,
    mut progress: impl FnMut(u64, u64),
    mut read_at: impl FnMut(&mut [u8], u64) -> Result<usize, Error>,
) -> Result<Scrubbed, Error> {
    let (total, size) = (extent.pages, extent.size);
    let mut found = Scrubbed {
        pages: total,
        unwritten: extent.unwritten,
        bad: Vec::new(),
    };
    let mut buffer = Plaintext::default();
    buffer.resize((BATCH * size) as usize);
    let mut page = 0;
    while page < total {
        let count = BATCH.min(total - page);
        let bytes = &mut buffer[..(count * size) as usize];
        match read_at(bytes, page * size) {
            Ok(_) => {}
            Err(Error::PageAltered { .. }) => {
                for number in page..page + count {
                    match read_at(&mut bytes[..size as usize], number * size) {
                        Ok(_) => {}
                        Err(Error::PageAltered { page, .. }) => found.bad.push(page),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        page += count;
        progress(page, total);
    }
    Ok(found)
}

/// Checks the checksums of a main file's frames, without keys. It finds decay, not malice, and takes the
/// geometry on the word of a record that nobody has authenticated.
///
/// # Errors
/// [`Error::Io`]; [`Error::RecordAltered`] when the record does not even read as one.
pub fn scrub_without_keys(
    disk: &impl Disk,
    mut progress: impl FnMut(u64, u64),
) -> Result<Scrubbed, Error> {
    let Some((geometry, length, holes)) = crate::record::claimed(disk)? else {
        return Ok(Scrubbed::default());
    };
    let total = geometry.page_count(length);
    let mut found = Scrubbed {
        pages: total,
        unwritten: holes.list().iter().map(|hole| hole.count).sum(),
        bad: Vec::new(),
    };
    let mut frame = vec![0; geometry.stride()];
    for number in 0..total {
        if !holes.contains(number) {
            let page = PageNumber::new(number).ok_or(Error::TooLong)?;
            if !frame_is_sound(disk, geometry, page, &mut frame)? {
                found.bad.push(page);
            }
        }
        progress(number + 1, total);
    }
    Ok(found)
}

fn frame_is_sound(
    disk: &impl Disk,
    geometry: Geometry,
    page: PageNumber,
    frame: &mut [u8],
) -> Result<bool, Error> {
    let read = disk
        .read_at(frame, geometry.frame_offset(page))
        .map_err(Error::io("reading a page"))?;
    Ok(read == frame.len() && crc_matches(frame, geometry.slot_count()))
}

/// Pages read at a time.
const BATCH: u64 = 64;
