//! What a file says about itself (format section 4).

use core::fmt;
use core::ops::Range;

use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::{DataKeys, FileId};

use crate::disk::Disk;
use crate::error::Error;
use crate::geometry::{Geometry, LENGTH_MAX, RECORD_BLOCK, record_area};
use crate::holes::{Hole, Holes};

/// Bytes of a file record.
pub(crate) const RECORD_LEN: usize = 512;

/// What a sealed file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A database.
    Main = 1,
    /// SQLite's write-ahead log.
    WriteAheadLog = 2,
    /// SQLite's rollback journal.
    RollbackJournal = 3,
    /// The journal that names the journals of a transaction over several databases.
    SuperJournal = 4,
    /// A file that ends with its process.
    Temporary = 5,
    /// A file of a volume.
    Volume = 6,
}

impl FileKind {
    fn from_number(number: u8) -> Option<FileKind> {
        [
            FileKind::Main,
            FileKind::WriteAheadLog,
            FileKind::RollbackJournal,
            FileKind::SuperJournal,
            FileKind::Temporary,
            FileKind::Volume,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == number)
    }

    /// Whether pages have two homes (format section 5.1).
    pub(crate) fn has_two_homes(self) -> bool {
        matches!(self, FileKind::WriteAheadLog | FileKind::RollbackJournal)
    }

    /// Whether a file without an authentic record is one that was never synced, and counts as empty (format section 5.2).
    pub(crate) fn may_be_unfinished(self) -> bool {
        !matches!(self, FileKind::Main | FileKind::Volume)
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::Main => "database",
            FileKind::WriteAheadLog => "write-ahead log",
            FileKind::RollbackJournal => "rollback journal",
            FileKind::SuperJournal => "super-journal",
            FileKind::Temporary => "temporary file",
            FileKind::Volume => "file of a volume",
        })
    }
}

/// An authentic file record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: FileKind,
    /// `None` until the first write of a database chooses it.
    pub(crate) page_size: Option<PageSize>,
    pub(crate) slot_count: SlotCount,
    pub(crate) file_id: FileId,
    pub(crate) sequence: u64,
    pub(crate) length: u64,
    pub(crate) synced_length: u64,
    pub(crate) generation: u64,
    pub(crate) holes: Holes,
}

impl Record {
    /// The record's bytes with the MACs of every layer.
    pub(crate) fn encode(&self, keys: &DataKeys) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[MAGIC].copy_from_slice(b"CDAMFILE");
        bytes[FORMAT].copy_from_slice(&1u16.to_le_bytes());
        bytes[KIND.start] = self.kind as u8;
        bytes[PAGE_SIZE.start] = self.page_size.map_or(0, PageSize::log2);
        bytes[SLOT_COUNT.start] = self.slot_count as u8;
        bytes[LAYER_COUNT.start] = keys.suite().layer_count() as u8;
        bytes[HOLE_COUNT].copy_from_slice(&(self.holes.list().len() as u16).to_le_bytes());
        bytes[STORE].copy_from_slice(keys.store_id().as_bytes());
        bytes[FILE].copy_from_slice(self.file_id.as_bytes());
        bytes[SEQUENCE].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[LENGTH].copy_from_slice(&self.length.to_le_bytes());
        bytes[SYNCED_LENGTH].copy_from_slice(&self.synced_length.to_le_bytes());
        bytes[GENERATION].copy_from_slice(&self.generation.to_le_bytes());
        for (place, hole) in bytes[HOLES].chunks_exact_mut(16).zip(self.holes.list()) {
            place[..8].copy_from_slice(&hole.first.to_le_bytes());
            place[8..].copy_from_slice(&hole.count.to_le_bytes());
        }
        let (body, macs) = bytes
            .split_first_chunk_mut::<{ MACS.start }>()
            .expect("a record is longer than its body");
        macs.copy_from_slice(&keys.record_macs(body));
        bytes
    }

    /// An authentic record, or why the bytes are none.
    pub(crate) fn decode(
        bytes: &[u8; RECORD_LEN],
        keys: &DataKeys,
        kind: FileKind,
    ) -> Result<Record, RecordFault> {
        if bytes[MAGIC] != *b"CDAMFILE" {
            return Err(RecordFault::NoRecord);
        }
        if bytes[STORE] != *keys.store_id().as_bytes() {
            return Err(RecordFault::OtherStore);
        }
        let (body, macs) = bytes
            .split_first_chunk::<{ MACS.start }>()
            .expect("a record is longer than its body");
        let macs: &[u8; 64] = macs.try_into().expect("the MACs are 64 bytes");
        if !keys.record_macs_match(body, macs) {
            return Err(RecordFault::Altered);
        }
        let record = Record::parse(bytes).ok_or(RecordFault::Altered)?;
        // The encoder is the definition of canonical: reserved bytes, order, layer count.
        let too_few = record.slot_count.count() < keys.suite().layer_count();
        if record.kind != kind || too_few || record.encode(keys) != *bytes {
            return Err(RecordFault::Altered);
        }
        Ok(record)
    }

    fn parse(bytes: &[u8; RECORD_LEN]) -> Option<Record> {
        let u64_at = |range: Range<usize>| {
            u64::from_le_bytes(bytes[range].try_into().expect("the field is 8 bytes"))
        };
        let kind = FileKind::from_number(bytes[KIND.start])?;
        let length = u64_at(LENGTH);
        let page_size = match bytes[PAGE_SIZE.start] {
            0 if kind == FileKind::Main && length == 0 => None,
            log2 => Some(PageSize::from_log2(log2)?),
        };
        let page_bytes = page_size.map_or(1, |size| size.bytes() as u64);
        let hole_count = usize::from(u16::from_le_bytes(
            bytes[HOLE_COUNT].try_into().expect("the field is 2 bytes"),
        ));
        let holes = bytes[HOLES]
            .chunks_exact(16)
            .take(hole_count)
            .map(|entry| Hole {
                first: u64::from_le_bytes(entry[..8].try_into().expect("half of 16 bytes")),
                count: u64::from_le_bytes(entry[8..].try_into().expect("half of 16 bytes")),
            })
            .collect();
        let record = Record {
            kind,
            page_size,
            slot_count: SlotCount::from_number(bytes[SLOT_COUNT.start])?,
            file_id: FileId::from_bytes(bytes[FILE].try_into().expect("the field is 16 bytes")),
            sequence: u64_at(SEQUENCE),
            length,
            synced_length: u64_at(SYNCED_LENGTH),
            generation: u64_at(GENERATION),
            holes: Holes::from_list(holes, length.div_ceil(page_bytes))?,
        };
        let log = kind.has_two_homes();
        let sane = hole_count <= Holes::MAX
            && length <= LENGTH_MAX
            && record.synced_length <= length
            && record.synced_length.is_multiple_of(page_bytes)
            && record.generation <= GENERATION_MAX
            && (log || (record.synced_length == 0 && record.generation == 0))
            && (!log || hole_count == 0);
        sane.then_some(record)
    }
}

/// What a main file claims about itself, for a scrub without keys: the record with the higher sequence, checked for
/// structure only.
pub(crate) fn claimed(disk: &impl Disk) -> Result<Option<(Geometry, u64, Holes)>, Error> {
    let kind = FileKind::Main;
    let area = record_area(kind);
    let mut best: Option<Record> = None;
    for copy in 0..2 {
        let mut bytes = [0; RECORD_LEN];
        disk.read_at(&mut bytes, area + copy * RECORD_BLOCK)
            .map_err(Error::io("reading a file record"))?;
        let record = (bytes[MAGIC] == *b"CDAMFILE")
            .then(|| Record::parse(&bytes))
            .flatten()
            .filter(|record| record.kind == kind);
        if let Some(record) = record
            && best
                .as_ref()
                .is_none_or(|best| best.sequence < record.sequence)
        {
            best = Some(record);
        }
    }
    let record = best.ok_or(Error::RecordAltered { kind })?;
    Ok(record.page_size.map(|page_size| {
        let geometry = Geometry::new(kind, page_size, record.slot_count);
        (geometry, record.length, record.holes)
    }))
}

/// What the newer of the two copies of a record claims without keys: whose it is, and its sequence. `area` is all of what both
/// stand in.
pub(crate) fn claimed_sequence(area: &[u8; CLAIM_LEN]) -> Option<([u8; 16], u64)> {
    let copies = [0, RECORD_BLOCK as usize].map(|at| &area[at..at + RECORD_LEN]);
    let claims = copies.iter().filter_map(|copy| {
        let file = copy[FILE].try_into().ok()?;
        let sequence = u64::from_le_bytes(copy[SEQUENCE].try_into().ok()?);
        (copy[MAGIC] == *b"CDAMFILE").then_some((file, sequence))
    });
    claims.max_by_key(|(_, sequence)| *sequence)
}

/// Bytes that both copies of a record stand in.
pub(crate) const CLAIM_LEN: usize = RECORD_BLOCK as usize + RECORD_LEN;

/// Why 512 bytes are not a record of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordFault {
    /// They do not begin like one.
    NoRecord,
    /// They belong to another store.
    OtherStore,
    /// They were altered, or another key made them.
    Altered,
}

/// Largest generation of a log or journal: its double is below 2^63.
pub(crate) const GENERATION_MAX: u64 = (1 << 62) - 1;

const MAGIC: Range<usize> = 0..8;
const FORMAT: Range<usize> = MAGIC.end..MAGIC.end + 2;
const KIND: Range<usize> = FORMAT.end..FORMAT.end + 1;
const PAGE_SIZE: Range<usize> = KIND.end..KIND.end + 1;
const SLOT_COUNT: Range<usize> = PAGE_SIZE.end..PAGE_SIZE.end + 1;
const LAYER_COUNT: Range<usize> = SLOT_COUNT.end..SLOT_COUNT.end + 1;
const HOLE_COUNT: Range<usize> = LAYER_COUNT.end..LAYER_COUNT.end + 2;
const STORE: Range<usize> = HOLE_COUNT.end..HOLE_COUNT.end + 16;
const FILE: Range<usize> = STORE.end..STORE.end + 16;
const SEQUENCE: Range<usize> = FILE.end..FILE.end + 8;
const LENGTH: Range<usize> = SEQUENCE.end..SEQUENCE.end + 8;
const SYNCED_LENGTH: Range<usize> = LENGTH.end..LENGTH.end + 8;
const GENERATION: Range<usize> = SYNCED_LENGTH.end..SYNCED_LENGTH.end + 8;
const HOLES: Range<usize> = GENERATION.end..GENERATION.end + 16 * Holes::MAX;
const RESERVED: Range<usize> = HOLES.end..HOLES.end + 112;
const MACS: Range<usize> = RESERVED.end..RESERVED.end + 64;
const _: () = assert!(MACS.end == RECORD_LEN);
