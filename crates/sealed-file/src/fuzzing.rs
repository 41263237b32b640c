//! Entries for fuzzers. Each panics when a parser breaks its promise, and says whether the bytes were taken.

use std::io::{Error, ErrorKind, Result};

use cofferdam_keys::{DataKeys, Suite};

use crate::disk::Disk;
use crate::geometry::Geometry;
use crate::head::{FRAMES, Head};
use crate::record::{FileKind, RECORD_LEN, Record, RecordFault};
use crate::volume::{Group, GroupWriter};

/// A file record that whoever has the keys has signed: authentication keeps nothing out, only the parser does.
///
/// # Panics
/// When a record is taken that the encoder would not have written, or that would break its reader.
#[must_use]
pub fn record(keys: &DataKeys, kind: FileKind, body: &[u8; 448]) -> bool {
    let mut bytes = [0; RECORD_LEN];
    bytes[..448].copy_from_slice(body);
    bytes[448..].copy_from_slice(&keys.record_macs(body));
    let record = match Record::decode(&bytes, keys, kind) {
        Ok(record) => record,
        Err(RecordFault::NoRecord | RecordFault::OtherStore | RecordFault::Altered) => {
            return false;
        }
    };
    assert_eq!(record.encode(keys), bytes, "one record has one encoding");
    let page_size = match record.page_size {
        Some(page_size) => page_size,
        None => {
            assert!(kind == FileKind::Main && record.length == 0);
            return true;
        }
    };
    let geometry = Geometry::new(kind, page_size, record.slot_count);
    let pages = geometry.page_count(record.length);
    // Every place on the disk can be named.
    assert!(geometry.disk_len(record.length) < i64::MAX as u64);
    assert!(
        record
            .holes
            .list()
            .iter()
            .all(|hole| hole.first + hole.count <= pages)
    );
    assert!(record.synced_length <= record.length);
    true
}

/// The bytes of a record that [`record`] takes, as a seed.
///
/// # Panics
/// Never: a record is longer than its body.
#[must_use]
pub fn record_seed(keys: &DataKeys, kind: FileKind) -> [u8; 448] {
    let seed = Record {
        kind,
        page_size: Some(cofferdam_cipher::PageSize::DEFAULT),
        slot_count: cofferdam_cipher::SlotCount::Two,
        file_id: cofferdam_keys::FileId::from_bytes([7; 16]),
        sequence: 3,
        length: 100 * 4096 + 5,
        synced_length: 0,
        generation: 0,
        holes: crate::holes::Holes::default(),
    };
    *seed
        .encode(keys)
        .first_chunk()
        .expect("a record is longer than its body")
}

/// The head of a main file: `None` when it is refused, and otherwise whether it counts as a store.
///
/// # Panics
/// When something counts as a store that was never finished although there is room for a frame.
#[must_use]
pub fn head(bytes: &[u8]) -> Option<bool> {
    match Head::read(&Bytes(bytes)) {
        Err(_) => None,
        Ok(Head::Empty) => {
            assert!(bytes.len() as u64 <= FRAMES);
            assert!(bytes.iter().take(8).all(|byte| *byte == 0) || bytes.starts_with(b"CDAMKEYS"));
            Some(false)
        }
        Ok(Head::Slots(slots)) => {
            assert!(!slots.candidates().is_empty());
            Some(true)
        }
    }
}

/// The entries of a group of a volume's journal, with a head and a checksum that are right: whoever can write to the disk can make those.
///
/// # Panics
/// When a group is taken that the writer would not have written.
#[must_use]
pub fn journal_group(count: u32, entries: &[u8]) -> bool {
    let Some(group) = Group::forged(count, entries) else {
        return false;
    };
    let mut writer = GroupWriter::new(&group.head);
    for entry in &group.entries {
        match &entry.change {
            Some(layer) => writer.change(entry.file, layer),
            None => writer.remove(entry.file),
        }
    }
    let (written, checksum) = writer.finish();
    assert_eq!(
        written[..group.bytes.len()],
        group.bytes,
        "one group has one encoding"
    );
    assert_eq!(checksum, group.checksum);
    true
}

/// Keys that end with the process.
///
/// # Panics
/// When the module gives no random bytes.
#[must_use]
pub fn keys(two_layers: bool) -> DataKeys {
    let suite = if two_layers { Suite::Two } else { Suite::One };
    DataKeys::ephemeral(suite).expect("the module gives random bytes")
}

/// All kinds.
pub const KINDS: [FileKind; 5] = [
    FileKind::Main,
    FileKind::WriteAheadLog,
    FileKind::RollbackJournal,
    FileKind::SuperJournal,
    FileKind::Temporary,
];

/// A disk that is only read.
struct Bytes<'a>(&'a [u8]);

impl Disk for Bytes<'_> {
    fn len(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let start = usize::try_from(offset).map_or(self.0.len(), |at| at.min(self.0.len()));
        let read = bytes.len().min(self.0.len() - start);
        bytes[..read].copy_from_slice(&self.0[start..start + read]);
        Ok(read)
    }

    fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
        Err(Error::from(ErrorKind::Unsupported))
    }

    fn set_len(&self, _: u64) -> Result<()> {
        Err(Error::from(ErrorKind::Unsupported))
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_signed_bytes_are_a_record_or_refused(
            two in any::<bool>(),
            kind in 0usize..5,
            edits in prop::collection::vec((0usize..448, any::<u8>()), 0..6),
            numbers in prop::collection::vec((0usize..41, prop_oneof![
                any::<u64>(), 0u64..200, Just(4096), Just(40960), Just(1 << 53), Just(u64::MAX),
            ]), 0..4),
        ) {
            let keys = keys(two);
            let mut body = record_seed(&keys, KINDS[kind]);
            for (at, byte) in edits {
                body[at] = byte;
            }
            for (index, number) in numbers {
                // The fields of eight bytes, and the entries of the holes.
                body[48 + 8 * index..][..8].copy_from_slice(&number.to_le_bytes());
            }
            let _ = record(&keys, KINDS[kind], &body);
        }

        #[test]
        fn any_entries_are_a_group_or_refused(
            count in 0u32..3,
            words in prop::collection::vec(prop_oneof![
                0u64..4, Just(1 << 32 | 1), Just(2), Just(32_768), Just(u64::MAX), any::<u64>(),
            ], 0..20),
            tail in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut entries: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            entries.extend(tail);
            let _ = journal_group(count, &entries);
        }

        #[test]
        fn any_bytes_are_a_head_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            magic in any::<bool>(),
            len in prop_oneof![Just(0usize), 1usize..50_000, Just(40_960), Just(40_961)],
        ) {
            let mut bytes = bytes;
            bytes.resize(len.max(bytes.len()), 0);
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(b"CDAMKEYS");
            }
            let _ = head(&bytes);
        }
    }

    #[test]
    fn seeds_are_taken_and_reserved_bytes_refused() {
        for two in [false, true] {
            let keys = keys(two);
            for kind in KINDS {
                let seed = record_seed(&keys, kind);
                assert!(record(&keys, kind, &seed), "{kind}");
                for other in KINDS {
                    assert_eq!(record(&keys, other, &seed), other == kind);
                }
                for at in 336..448 {
                    let mut body = seed;
                    body[at] = 1;
                    assert!(!record(&keys, kind, &body), "reserved byte {at}");
                }
            }
        }
        assert_eq!(head(&[]), Some(false));
        assert_eq!(head(&[0; 40_960]), Some(false));
        assert_eq!(head(&[0; 40_961]), None);
        assert_eq!(head(b"CDAMKEYS"), Some(false));
        assert_eq!(head(b"SQLite format 3\0"), None);
    }

    /// A slot for each layer, or the file is refused at once and not at its first page.
    #[test]
    fn fewer_slots_than_layers_are_refused() {
        let keys = keys(true);
        let mut body = record_seed(&keys, FileKind::Main);
        body[12] = 1;
        assert!(!record(&keys, FileKind::Main, &body));
    }
}
