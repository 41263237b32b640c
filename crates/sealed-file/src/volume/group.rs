//! One record of the journal: everything that becomes durable together (format section 12.2).

use core::ops::Range;

use aws_lc_rs::digest::{SHA256, digest};
use cofferdam_keys::{FileId, StoreId};

use super::extents::Piece;
use super::layer::Layer;
use crate::geometry::{KEYRING_AREA_LEN, LENGTH_MAX};

/// SHA-256 of a group.
pub(crate) type Checksum = [u8; 32];

/// What a group says about itself beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupHead {
    pub(crate) volume: StoreId,
    /// That of the segment's life.
    pub(crate) salt: FileId,
    /// One more than that of the group before.
    pub(crate) sequence: u64,
    /// Checksum of the group before.
    pub(crate) previous: Checksum,
}

/// What happened to one file.
pub(crate) struct Entry {
    pub(crate) file: u64,
    /// `None`: it was removed.
    pub(crate) change: Option<Layer>,
}

/// A group that was checked.
pub(crate) struct Group {
    pub(crate) head: GroupHead,
    pub(crate) entries: Vec<Entry>,
    pub(crate) checksum: Checksum,
    /// As it lies on the disk, without padding.
    pub(crate) bytes: Vec<u8>,
}

/// Builds a group's bytes.
pub(crate) struct GroupWriter {
    bytes: Vec<u8>,
    entries: u32,
    last: Option<u64>,
}

impl GroupWriter {
    pub(crate) fn new(head: &GroupHead) -> GroupWriter {
        let mut bytes = vec![0; HEAD_LEN];
        bytes[MAGIC].copy_from_slice(b"CDAMGRUP");
        bytes[VOLUME].copy_from_slice(head.volume.as_bytes());
        bytes[SALT].copy_from_slice(head.salt.as_bytes());
        bytes[SEQUENCE].copy_from_slice(&head.sequence.to_le_bytes());
        bytes[PREVIOUS].copy_from_slice(&head.previous);
        GroupWriter {
            bytes,
            entries: 0,
            last: None,
        }
    }

    /// Adds a file. They come in the order of their numbers.
    pub(crate) fn change(&mut self, file: u64, layer: &Layer) {
        self.entry(
            CHANGE,
            layer.extents.count() as u32,
            file,
            layer.cut,
            layer.len,
        );
        for (offset, piece) in layer.extents.iter() {
            let bytes = piece.bytes();
            self.bytes.extend_from_slice(&offset.to_le_bytes());
            self.bytes
                .extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(crate) fn remove(&mut self, file: u64) {
        self.entry(REMOVE, 0, file, 0, 0);
    }

    fn entry(&mut self, kind: u32, extents: u32, file: u64, cut: u64, len: u64) {
        assert!(self.last < Some(file), "entries come in order");
        self.last = Some(file);
        self.entries += 1;
        for part in [&kind.to_le_bytes()[..], &extents.to_le_bytes()] {
            self.bytes.extend_from_slice(part);
        }
        for number in [file, cut, len] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// The group, padded to whole blocks, and its checksum.
    pub(crate) fn finish(mut self) -> (Vec<u8>, Checksum) {
        let total = self.bytes.len() + CHECKSUM_LEN;
        self.bytes[TOTAL].copy_from_slice(&(total as u64).to_le_bytes());
        self.bytes[COUNT].copy_from_slice(&self.entries.to_le_bytes());
        let checksum = checksum_of(&self.bytes);
        self.bytes.extend_from_slice(&checksum);
        self.bytes.resize(total.next_multiple_of(BLOCK as usize), 0);
        (self.bytes, checksum)
    }
}

/// The length that the first bytes of a group claim for it; `None` when they are no group's.
pub(crate) fn claimed_len(head: &[u8; HEAD_LEN], volume: StoreId, salt: FileId) -> Option<u64> {
    let ours = head[MAGIC] == *b"CDAMGRUP"
        && head[VOLUME] == *volume.as_bytes()
        && head[SALT] == *salt.as_bytes();
    let total = u64_at(head, TOTAL.start)?;
    (ours && total >= (HEAD_LEN + CHECKSUM_LEN) as u64).then_some(total)
}

impl Group {
    /// A group of these entries, whatever they are, with a head and a checksum that are right.
    pub(crate) fn forged(count: u32, entries: &[u8]) -> Option<Group> {
        let head = GroupHead {
            volume: StoreId::from_bytes([1; 16]),
            salt: FileId::from_bytes([2; 16]),
            sequence: 1,
            previous: [0; 32],
        };
        let mut writer = GroupWriter::new(&head);
        writer.bytes.extend_from_slice(entries);
        writer.entries = count;
        let total = writer.bytes.len() + CHECKSUM_LEN;
        let (mut bytes, _) = writer.finish();
        bytes.truncate(total);
        Group::parse(bytes)
    }

    /// Checks a group's bytes, all that the format says of them.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Group> {
        let body = bytes.get(..bytes.len().checked_sub(CHECKSUM_LEN)?)?;
        let checksum = checksum_of(body);
        let total = u64_at(body, TOTAL.start)?;
        if bytes[body.len()..] != checksum || total != bytes.len() as u64 {
            return None;
        }
        let count = u32_at(body, COUNT.start)?;
        if body.get(MAGIC)? != b"CDAMGRUP" || *body.get(RESERVED)? != [0; 4] {
            return None;
        }
        let mut rest = body.get(HEAD_LEN..)?;
        let mut entries: Vec<Entry> = Vec::new();
        for _ in 0..count {
            let entry = parse_entry(&mut rest)?;
            if entries.last().is_some_and(|last| last.file >= entry.file) {
                return None;
            }
            entries.push(entry);
        }
        let head = GroupHead {
            volume: StoreId::from_bytes(body[VOLUME].try_into().ok()?),
            salt: FileId::from_bytes(body[SALT].try_into().ok()?),
            sequence: u64_at(body, SEQUENCE.start)?,
            previous: body[PREVIOUS].try_into().ok()?,
        };
        rest.is_empty().then_some(())?;
        Some(Group {
            head,
            entries,
            checksum,
            bytes,
        })
    }
}

fn parse_entry(rest: &mut &[u8]) -> Option<Entry> {
    let head = take(rest, ENTRY_LEN)?;
    let (kind, extents) = (u32_at(head, 0)?, u32_at(head, 4)?);
    let (file, cut, len) = (u64_at(head, 8)?, u64_at(head, 16)?, u64_at(head, 24)?);
    match kind {
        CHANGE => {}
        REMOVE if extents == 0 && file > 0 && cut == 0 && len == 0 => {
            return Some(Entry { file, change: None });
        }
        _ => return None,
    }
    // The keyring is not the journal's business.
    let floor = if file == 0 { KEYRING_AREA_LEN } else { 0 };
    if len > DISK_LEN_MAX || cut < floor || len < floor {
        return None;
    }
    let mut layer = Layer::on(len);
    layer.cut = cut;
    let mut free_from = floor;
    for _ in 0..extents {
        let place = take(rest, EXTENT_LEN)?;
        let (offset, size) = (u64_at(place, 0)?, u64_at(place, 8)?);
        let end = offset.checked_add(size)?;
        if offset < free_from || size == 0 || end > len {
            return None;
        }
        let bytes = take(rest, usize::try_from(size).ok()?)?;
        layer.extents.insert(offset, Piece::new(bytes));
        free_from = end;
    }
    Some(Entry {
        file,
        change: Some(layer),
    })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

pub(crate) fn checksum_of(bytes: &[u8]) -> Checksum {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Groups begin at multiples of this, so that writing one never touches a sector of another, whatever the disk's sectors are.
pub(crate) const BLOCK: u64 = 4096;

/// Longest file on its disk: frames of the longest logical length, with room to spare.
const DISK_LEN_MAX: u64 = 2 * LENGTH_MAX;

const CHANGE: u32 = 1;
const REMOVE: u32 = 2;
const ENTRY_LEN: usize = 32;
const EXTENT_LEN: usize = 16;
const CHECKSUM_LEN: usize = 32;

const MAGIC: Range<usize> = 0..8;
const TOTAL: Range<usize> = MAGIC.end..MAGIC.end + 8;
const VOLUME: Range<usize> = TOTAL.end..TOTAL.end + 16;
const SALT: Range<usize> = VOLUME.end..VOLUME.end + 16;
const SEQUENCE: Range<usize> = SALT.end..SALT.end + 8;
const COUNT: Range<usize> = SEQUENCE.end..SEQUENCE.end + 4;
const RESERVED: Range<usize> = COUNT.end..COUNT.end + 4;
const PREVIOUS: Range<usize> = RESERVED.end..RESERVED.end + 32;
pub(crate) const HEAD_LEN: usize = PREVIOUS.end;
const _: () = assert!(HEAD_LEN == 96);

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let mut layer = Layer::on(8192);
        layer.write(4096, Piece::new(b"sealed"));
        layer.set_len(5000);
        let head = GroupHead {
            volume: StoreId::from_bytes([1; 16]),
            salt: FileId::from_bytes([2; 16]),
            sequence: 7,
            previous: [3; 32],
        };
        let mut writer = GroupWriter::new(&head);
        writer.change(5, &layer);
        writer.remove(9);
        let (mut bytes, _) = writer.finish();
        let total = u64_at(&bytes, TOTAL.start).unwrap();
        bytes.truncate(total as usize);
        bytes
    }

    #[test]
    fn a_group_comes_back() {
        let group = Group::parse(example()).unwrap();
        assert_eq!(group.head.sequence, 7);
        assert_eq!(group.entries[0].file, 5);
        let change = group.entries[0].change.as_ref().unwrap();
        assert_eq!((change.cut, change.len), (5000, 5000));
        assert!(group.entries[1].change.is_none());
    }

    #[test]
    fn a_group_with_any_bit_changed_is_refused() {
        let bytes = example();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Group::parse(bytes).is_none(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Group::parse(bytes[..len].to_vec()).is_none(), "{len} bytes");
        }
    }

    /// Goal: what the checksum does not see, because whoever can write the disk can compute it, the structure refuses.
    #[test]
    fn a_group_that_makes_no_sense_is_refused_though_its_checksum_matches() {
        let forged = |at: usize, value: &[u8]| {
            let mut bytes = example();
            bytes[at..at + value.len()].copy_from_slice(value);
            let body = bytes.len() - CHECKSUM_LEN;
            let checksum = checksum_of(&bytes[..body]);
            bytes[body..].copy_from_slice(&checksum);
            Group::parse(bytes)
        };
        let first = HEAD_LEN;
        assert!(forged(first, &CHANGE.to_le_bytes()).is_some(), "unchanged");
        for (what, at, value) in [
            ("reserved bytes", RESERVED.start, 1),
            ("an unknown kind", first, 3),
            ("more extents than there are", first + 4, 2),
            ("the keyring's area", first + 8, 0),
            ("files out of order", first + 8, 10),
            ("a file shorter than its bytes", first + 24, 10),
            ("an extent of no bytes", first + 40, 0),
            ("more entries than there are", COUNT.start, 3),
            ("fewer entries than there are", COUNT.start, 1),
        ] {
            assert!(forged(at, &u32::to_le_bytes(value)).is_none(), "{what}");
        }
    }
}
