//! The head of a store: its keyring, in two slots, on the disk of its main file (format sections 5 and 6).

use cofferdam_cipher::{PageSize, SlotCount};
use cofferdam_keys::{DataKeys, FileId, KEYRING_LEN, Keyring, KeyringSlots, Slot};

use crate::disk::Disk;
use crate::error::Error;
use crate::geometry::{KEYRING_AREA_LEN, RECORD_BLOCK};
use crate::holes::Holes;
use crate::record::{FileKind, RECORD_LEN, Record};

/// What stands at the head of a disk.
pub(crate) enum Head {
    /// Nothing, or the beginnings of a store that was never finished: no page was sealed under it.
    Empty,
    /// Two slots, of which one at least has a keyring's structure.
    Slots(Box<KeyringSlots>),
}

impl Head {
    pub(crate) fn read(disk: &impl Disk) -> Result<Head, Error> {
        let mut bytes = vec![0; KEYRING_AREA_LEN as usize];
        let read = disk
            .read_at(&mut bytes, 0)
            .map_err(Error::io("reading the keyring"))?;
        if read == 0 {
            return Ok(Head::Empty);
        }
        let (slots, _) = bytes.as_chunks::<KEYRING_LEN>();
        let slots = KeyringSlots::parse(&slots[0], &slots[1]);
        if !slots.candidates().is_empty() {
            return Ok(Head::Slots(Box::new(slots)));
        }
        let ours = bytes[..8] == [0; 8] || bytes[..8] == *b"CDAMKEYS";
        let len = disk.len().map_err(Error::io("reading the keyring"))?;
        if ours && len <= FRAMES {
            return Ok(Head::Empty);
        }
        Err(Error::NotSealed {
            plain_sqlite: bytes.starts_with(b"SQLite format 3\0"),
        })
    }

    /// Writes the head of a new store and makes it durable, before anything is sealed under its keys.
    pub(crate) fn create(
        disk: &impl Disk,
        keyring: &Keyring,
        keys: &DataKeys,
        page_size: Option<PageSize>,
        slot_count: SlotCount,
    ) -> Result<(), Error> {
        let record = Record {
            kind: FileKind::Main,
            page_size,
            slot_count,
            file_id: FileId::random()?,
            sequence: 1,
            length: 0,
            synced_length: 0,
            generation: 0,
            holes: Holes::default(),
        };
        let mut bytes = vec![0; FRAMES as usize];
        bytes[..KEYRING_LEN].copy_from_slice(keyring.encode());
        bytes[KEYRING_AREA_LEN as usize..][..RECORD_LEN].copy_from_slice(&record.encode(keys));
        // The first sector last: until it is there, the store counts as never finished (format section 5.2).
        let (first, rest) = bytes.split_at(SECTOR);
        disk.write_at(rest, SECTOR as u64)
            .and_then(|()| disk.sync())
            .and_then(|()| disk.write_at(first, 0))
            .and_then(|()| disk.sync())
            .map_err(Error::io("writing the head of a new store"))
    }

    /// Both slots as they stand on the disk.
    pub(crate) fn bytes(disk: &impl Disk) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; KEYRING_AREA_LEN as usize];
        disk.read_at(&mut bytes, 0)
            .map_err(Error::io("reading the keyring"))?;
        Ok(bytes)
    }

    /// Replaces one slot and makes it durable.
    pub(crate) fn replace(disk: &impl Disk, slot: Slot, keyring: &Keyring) -> Result<(), Error> {
        disk.write_at(keyring.encode(), (slot.index() * KEYRING_LEN) as u64)
            .and_then(|()| disk.sync())
            .map_err(Error::io("writing the keyring"))
    }
}

/// What a disk replaces wholly or not at all.
const SECTOR: usize = 512;

/// Where the frames of a main file begin.
pub(crate) const FRAMES: u64 = KEYRING_AREA_LEN + 2 * RECORD_BLOCK;
