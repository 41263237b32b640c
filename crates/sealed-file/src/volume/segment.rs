//! A segment of the journal: a head of one sector, and groups behind it (format section 12.2).

use core::ops::Range;
use std::io::Result;

use cofferdam_keys::{FileId, StoreId};

use super::group::{BLOCK, Checksum, Group, HEAD_LEN, checksum_of, claimed_len, u64_at};
use crate::disk::Disk;

/// What stands at the head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub(crate) volume: StoreId,
    /// Names the segment's life: groups with another salt are of a former one.
    pub(crate) salt: FileId,
    /// Everything up to this group was durable at home when the life began.
    pub(crate) home: u64,
    /// The checksum of that group.
    pub(crate) home_checksum: Checksum,
}

impl SegmentHead {
    fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        bytes[MAGIC].copy_from_slice(b"CDAMJRNL");
        bytes[FORMAT].copy_from_slice(&1u16.to_le_bytes());
        bytes[VOLUME].copy_from_slice(self.volume.as_bytes());
        bytes[SALT].copy_from_slice(self.salt.as_bytes());
        bytes[HOME].copy_from_slice(&self.home.to_le_bytes());
        bytes[HOME_CHECKSUM].copy_from_slice(&self.home_checksum);
        let checksum = checksum_of(&bytes[..CHECKSUM.start]);
        bytes[CHECKSUM].copy_from_slice(&checksum);
        bytes
    }

    fn decode(bytes: &[u8; SECTOR]) -> Option<SegmentHead> {
        let head = SegmentHead {
            volume: StoreId::from_bytes(bytes[VOLUME].try_into().ok()?),
            salt: FileId::from_bytes(bytes[SALT].try_into().ok()?),
            home: u64_at(bytes, HOME.start)?,
            home_checksum: bytes[HOME_CHECKSUM].try_into().ok()?,
        };
        // The encoder is the definition of canonical.
        (head.encode() == *bytes).then_some(head)
    }

    /// Begins a life of a segment, durably: no group of a former one counts any more.
    pub(crate) fn store(&self, disk: &dyn Disk) -> Result<()> {
        disk.write_at(&self.encode(), 0)?;
        disk.sync()
    }

    pub(crate) fn load(disk: &dyn Disk) -> Result<Option<SegmentHead>> {
        let mut bytes = [0; SECTOR];
        let read = disk.read_at(&mut bytes, 0)?;
        Ok(SegmentHead::decode(&bytes).filter(|_| read == SECTOR))
    }
}

/// What a segment holds.
pub(crate) struct Scan {
    /// The groups from the beginning up to the first that is none, with their places.
    pub(crate) groups: Vec<(u64, Group)>,
    /// The highest sequence of a group behind that place. A torn tail has nothing behind it.
    pub(crate) behind: Option<u64>,
    /// What stands at that place.
    pub(crate) tail: Tail,
}

/// What is behind the last group that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing of this life.
    Nothing,
    /// The beginning of a group of so many bytes, which does not read as one.
    Torn { at: u64, len: u64 },
    /// The disk does not read there.
    Unreadable { at: u64 },
}

/// What was found at a place.
enum Place {
    Group(Group),
    Other(Tail),
}

/// Reads the groups of a segment's present life.
pub(crate) fn scan(disk: &dyn Disk, head: &SegmentHead) -> Result<Scan> {
    let len = disk.len()?;
    let mut found = Scan {
        groups: Vec::new(),
        behind: None,
        tail: Tail::Nothing,
    };
    let mut at = FIRST_GROUP;
    let mut whole = true;
    while at < len {
        let follows = |group: &Group| match found.groups.last() {
            Some((_, last)) => group.head.sequence == last.head.sequence + 1,
            None => true,
        };
        match look_at(disk, head, at, len) {
            Place::Group(group) if whole && follows(&group) => {
                let end = at + group.bytes.len() as u64;
                found.groups.push((at, group));
                at = end.next_multiple_of(BLOCK);
                continue;
            }
            Place::Group(group) => found.behind = found.behind.max(Some(group.head.sequence)),
            // Further on, nobody can say that anything was there.
            Place::Other(tail) if whole => found.tail = tail,
            Place::Other(_) => {}
        }
        whole = false;
        at += BLOCK;
    }
    Ok(found)
}

fn look_at(disk: &dyn Disk, head: &SegmentHead, at: u64, len: u64) -> Place {
    let mut first = [0; HEAD_LEN];
    if disk.read_at(&mut first, at).is_err() {
        return Place::Other(Tail::Unreadable { at });
    }
    let Some(total) = claimed_len(&first, head.volume, head.salt) else {
        return Place::Other(Tail::Nothing);
    };
    let torn = Place::Other(Tail::Torn { at, len: total });
    if total > len - at {
        return torn;
    }
    // No longer than the segment, so it is no forged length that sizes this.
    let mut bytes = vec![0; usize::try_from(total).unwrap_or(0)];
    match disk.read_at(&mut bytes, at) {
        Ok(read) => bytes.truncate(read),
        Err(_) => return Place::Other(Tail::Unreadable { at }),
    }
    Group::parse(bytes).map_or(torn, Place::Group)
}

/// Where the first group begins: the head has a block of its own.
pub(crate) const FIRST_GROUP: u64 = BLOCK;

const SECTOR: usize = 512;
const MAGIC: Range<usize> = 0..8;
const FORMAT: Range<usize> = MAGIC.end..MAGIC.end + 2;
const RESERVED: Range<usize> = FORMAT.end..FORMAT.end + 6;
const VOLUME: Range<usize> = RESERVED.end..RESERVED.end + 16;
const SALT: Range<usize> = VOLUME.end..VOLUME.end + 16;
const HOME: Range<usize> = SALT.end..SALT.end + 8;
const HOME_CHECKSUM: Range<usize> = HOME.end..HOME.end + 32;
const CHECKSUM: Range<usize> = HOME_CHECKSUM.end..HOME_CHECKSUM.end + 32;
const _: () = assert!(CHECKSUM.end <= SECTOR);
