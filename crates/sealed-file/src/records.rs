//! The two copies of a file record on the disk, and which of them may be replaced.
//!
//! Invariants:
//!
//! 1. From the first sync on, one authentic copy is durable at every instant. A copy is replaced only
//!    while this handle knows that the other one is durable; otherwise it syncs first.
//! 2. A copy is one sector, so a torn write leaves the old or the new one.

use std::thread::sleep;
use std::time::Duration;

use cofferdam_keys::DataKeys;

use crate::disk::Disk;
use crate::error::Error;
use crate::geometry::{RECORD_BLOCK, record_area};
use crate::record::{FileKind, RECORD_LEN, Record, RecordFault};

type Copies = [[u8; RECORD_LEN]; 2];

/// The copies as this handle knows them.
pub(crate) struct Records {
    area: u64,
    raw: Copies,
    newest: usize,
    standing: Standing,
}

/// What this handle knows about the copies' durability.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// There is no record on the disk.
    Absent,
    /// This handle made the file and has not synced it: nothing of it is durable, nothing can be lost.
    Fresh,
    /// Another handle wrote the newest copy, and may not have synced it.
    Unknown,
    /// That copy is durable.
    Durable(usize),
}

/// What a look at the disk found.
pub(crate) enum Found {
    /// No record, so no file.
    Nothing,
    /// The same copies as before.
    Unchanged,
    /// Another record than before.
    Changed(Record),
}

impl Records {
    /// Records of a file that is not on the disk yet.
    pub(crate) fn absent(kind: FileKind) -> Records {
        Records {
            area: record_area(kind),
            raw: [[0; RECORD_LEN]; 2],
            newest: 0,
            standing: Standing::Absent,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.standing == Standing::Absent
    }

    /// Looks whether another handle has changed the record.
    pub(crate) fn look(
        &mut self,
        disk: &impl Disk,
        keys: &DataKeys,
        kind: FileKind,
    ) -> Result<Found, Error> {
        let mut delay = RETRY_FIRST;
        loop {
            let Some(raw) = self.read(disk)? else {
                self.standing = Standing::Absent;
                return Ok(Found::Nothing);
            };
            if raw == self.raw && !self.is_absent() {
                return Ok(Found::Unchanged);
            }
            match choose(&raw, keys, kind) {
                // Another process may be in the middle of writing a copy, and the other one is then not the newest
                // that it has published.
                Ok(Chosen { torn: true, .. }) | Err(_) if delay < RETRY_LAST => {
                    sleep(delay);
                    delay *= 4;
                }
                Ok(Chosen { newest, record, .. }) => {
                    self.raw = raw;
                    self.newest = newest;
                    self.standing = Standing::Unknown;
                    return Ok(Found::Changed(record));
                }
                // A file that was never synced may have kept anything at a power cut. Whoever could
                // damage both copies on purpose could remove the file as well, with the same effect.
                Err(Error::RecordAltered { .. }) if kind.may_be_unfinished() => {
                    self.standing = Standing::Absent;
                    return Ok(Found::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&self, disk: &impl Disk) -> Result<Option<Copies>, Error> {
        let mut bytes = [0; RECORD_BLOCK as usize + RECORD_LEN];
        let read = disk
            .read_at(&mut bytes, self.area)
            .map_err(Error::io("reading a file record"))?;
        // A main file that ends before its record was cut off: its keyring came last when it was made.
        if read == 0 {
            // A main file that ends before its record was cut off: its keyring came last when it was made.
            let len = disk.len().map_err(Error::io("reading a file record"))?;
            if self.area == 0 || len == 0 {
                return Ok(None);
            }
        }
        let mut raw = [[0; RECORD_LEN]; 2];
        raw[0].copy_from_slice(&bytes[..RECORD_LEN]);
        raw[1].copy_from_slice(&bytes[RECORD_BLOCK as usize..]);
        Ok(Some(raw))
    }

    /// Whether a sync must come before [`Records::store`], because nothing is known to be durable.
    pub(crate) fn needs_sync(&self) -> bool {
        self.standing == Standing::Unknown
    }

    /// What is on the disk is not what was remembered: the next look finds it changed.
    pub(crate) fn distrust(&mut self) {
        if !self.is_absent() {
            self.raw = [[0; RECORD_LEN]; 2];
            self.standing = Standing::Unknown;
        }
    }

    /// Writes a record over the copy that may be replaced, with the next sequence.
    ///
    /// # Panics
    /// When [`Records::needs_sync`].
    pub(crate) fn store(
        &mut self,
        disk: &impl Disk,
        keys: &DataKeys,
        record: &mut Record,
    ) -> Result<(), Error> {
        let target = match self.standing {
            Standing::Absent => return self.create(disk, keys, record),
            Standing::Fresh => self.newest,
            Standing::Durable(copy) => 1 - copy,
            Standing::Unknown => unreachable!("the caller syncs first"),
        };
        record.sequence += 1;
        let bytes = record.encode(keys);
        disk.write_at(&bytes, self.area + target as u64 * RECORD_BLOCK)
            .map_err(Error::io("writing a file record"))?;
        self.raw[target] = bytes;
        self.newest = target;
        Ok(())
    }

    /// The first record of a file, with the blocks it stands in, in one write.
    fn create(
        &mut self,
        disk: &impl Disk,
        keys: &DataKeys,
        record: &mut Record,
    ) -> Result<(), Error> {
        record.sequence += 1;
        let bytes = record.encode(keys);
        let mut blocks = [0; 2 * RECORD_BLOCK as usize];
        blocks[..RECORD_LEN].copy_from_slice(&bytes);
        disk.write_at(&blocks, self.area)
            .map_err(Error::io("writing a file record"))?;
        self.raw = [bytes, [0; RECORD_LEN]];
        self.newest = 0;
        self.standing = Standing::Fresh;
        Ok(())
    }

    /// The disk was synced after the last [`Records::store`] or [`Records::look`].
    pub(crate) fn synced(&mut self) {
        if !self.is_absent() {
            self.standing = Standing::Durable(self.newest);
        }
    }
}

/// The copy that counts.
struct Chosen {
    newest: usize,
    record: Record,
    /// The other copy is neither authentic nor blank.
    torn: bool,
}

/// The authentic copy with the higher sequence.
fn choose(raw: &Copies, keys: &DataKeys, kind: FileKind) -> Result<Chosen, Error> {
    let [a, b] = raw
        .each_ref()
        .map(|bytes| Record::decode(bytes, keys, kind));
    let torn = |other| !matches!(other, RecordFault::NoRecord);
    let (newest, record, torn) = match (a, b) {
        (Ok(a), Ok(b)) if a.sequence == b.sequence && raw[0] != raw[1] => {
            return Err(Error::RecordAltered { kind });
        }
        (Ok(a), Ok(b)) if a.sequence >= b.sequence => (0, a, false),
        (Ok(_), Ok(b)) => (1, b, false),
        (Err(other), Ok(b)) => (1, b, torn(other)),
        (Ok(a), Err(other)) => (0, a, torn(other)),
        (Err(RecordFault::OtherStore), _) | (_, Err(RecordFault::OtherStore)) => {
            return Err(Error::OtherStore { kind });
        }
        _ => return Err(Error::RecordAltered { kind }),
    };
    Ok(Chosen {
        newest,
        record,
        torn,
    })
}

const RETRY_FIRST: Duration = Duration::from_micros(50);
const RETRY_LAST: Duration = Duration::from_millis(15);
