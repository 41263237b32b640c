//! Every frame that reaches a volume's directory, in the journal and at home, taken apart by docs/format.md alone (V7).

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Result;
use std::sync::{Arc, Mutex};

use cofferdam_sealed_file::{Directory, DirectoryLock, Disk, FileDirectory, Part};

/// The outermost slots of all frames that were written, in any number of volumes with pages of one size.
pub(crate) struct Frames {
    page_size: usize,
    slot_count: usize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Of each salt and IV under a DEK, the frame.
    frames: BTreeMap<(Salt, [u8; 12]), u64>,
    /// Those that came with two different frames.
    repeated: Vec<Salt>,
}

/// What a subkey is derived from and differs by between openings: the DEK's id and the salt (format section 2).
pub(crate) type Salt = (u32, [u8; 16]);

impl Frames {
    pub(crate) fn new(page_size: usize, slot_count: usize) -> Arc<Frames> {
        Arc::new(Frames {
            page_size,
            slot_count,
            seen: Mutex::default(),
        })
    }

    /// How many frames there were.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().frames.len()
    }

    /// The salts of pairs that were used for more than one frame.
    pub(crate) fn repeated(&self) -> Vec<Salt> {
        self.seen.lock().unwrap().repeated.clone()
    }

    pub(crate) fn salts(&self) -> BTreeSet<Salt> {
        let seen = self.seen.lock().unwrap();
        seen.frames.keys().map(|(salt, _)| *salt).collect()
    }

    /// Takes note of a frame. The same one again, as when it comes home from the journal, is no repetition.
    pub(crate) fn note(&self, frame: &[u8]) {
        let slot = &frame[frame.len() - SLOT_LEN..];
        assert_eq!(slot[0], 1, "a slot has format 1");
        let dek = u32::from_le_bytes(slot[4..8].try_into().unwrap());
        let salt = (dek, slot[16..32].try_into().unwrap());
        let iv = slot[32..44].try_into().unwrap();
        let mut hasher = DefaultHasher::new();
        frame.hash(&mut hasher);
        let content = hasher.finish();
        let mut seen = self.seen.lock().unwrap();
        if *seen.frames.entry((salt, iv)).or_insert(content) != content {
            seen.repeated.push(salt);
        }
    }

    pub(crate) fn stride(&self) -> usize {
        self.page_size + SLOT_LEN * self.slot_count
    }

    /// Bytes of a file at `offset` (format section 5).
    fn note_bytes(&self, bytes: &[u8], offset: u64, number: u64) {
        let first = match number {
            0 => FRAMES_OF_KEYRING,
            _ => FRAMES_OF_FILE,
        };
        if offset < first {
            assert!(
                offset + bytes.len() as u64 <= first,
                "records and frames are apart"
            );
            return;
        }
        assert_eq!(
            (offset - first) % self.stride() as u64,
            0,
            "whole frames are written"
        );
        assert_eq!(bytes.len() % self.stride(), 0, "whole frames are written");
        bytes
            .chunks_exact(self.stride())
            .for_each(|frame| self.note(frame));
    }

    /// The groups of the present life of a segment (format section 12.2).
    fn note_segment(&self, segment: &[u8]) {
        let Some(salt) = segment.get(32..48) else {
            return;
        };
        let mut at = GROUP_ALIGNMENT;
        while let Some(head) = segment.get(at..at + GROUP_HEAD_LEN) {
            if !head.starts_with(b"CDAMGRUP") || &head[32..48] != salt {
                return;
            }
            let len = u64_at(head, 8) as usize;
            let group = &segment[at..at + len];
            let mut rest = &group[GROUP_HEAD_LEN..len - 32];
            while !rest.is_empty() {
                rest = self.note_entry(rest);
            }
            at += len.next_multiple_of(GROUP_ALIGNMENT);
        }
    }

    /// An entry of a group; answers what is behind it.
    fn note_entry<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let extents = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
        let number = u64_at(bytes, 8);
        let mut rest = &bytes[32..];
        for _ in 0..extents {
            let (offset, len) = (u64_at(rest, 0), u64_at(rest, 8) as usize);
            self.note_bytes(&rest[16..16 + len], offset, number);
            rest = &rest[16 + len..];
        }
        rest
    }
}

/// A directory whose frames are noted.
pub(crate) struct Watched {
    pub(crate) inner: FileDirectory,
    pub(crate) frames: Arc<Frames>,
}

impl Watched {
    fn watched(&self, inner: Box<dyn Disk>, part: Part) -> Box<dyn Disk> {
        let frames = self.frames.clone();
        Box::new(WatchedDisk {
            inner,
            part,
            frames,
        })
    }
}

impl Directory for Watched {
    fn open(&self, part: Part) -> Result<Option<Box<dyn Disk>>> {
        let disk = self.inner.open(part)?;
        Ok(disk.map(|disk| self.watched(disk, part)))
    }

    fn create(&self, part: Part) -> Result<Box<dyn Disk>> {
        Ok(self.watched(self.inner.create(part)?, part))
    }

    fn remove(&self, part: Part) -> Result<()> {
        self.inner.remove(part)
    }

    fn reserve(&self, part: Part, len: u64) -> Result<()> {
        self.inner.reserve(part, len)
    }

    fn files(&self) -> Result<Vec<u64>> {
        self.inner.files()
    }

    fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    fn lock(&self, holder: &str) -> Result<DirectoryLock> {
        self.inner.lock(holder)
    }
}

struct WatchedDisk {
    inner: Box<dyn Disk>,
    part: Part,
    frames: Arc<Frames>,
}

impl Disk for WatchedDisk {
    fn len(&self) -> Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        self.inner.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        match self.part {
            Part::Keyring => self.frames.note_bytes(bytes, offset, 0),
            Part::File(number) => self.frames.note_bytes(bytes, offset, number),
            // A group may be written in parts; it is whole when it is synced.
            Part::Segment(_) => {}
        }
        self.inner.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.inner.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        if let Part::Segment(_) = self.part {
            let mut segment = vec![0; self.inner.len()? as usize];
            let count = self.inner.read_at(&mut segment, 0)?;
            self.frames.note_segment(&segment[..count]);
        }
        self.inner.sync()
    }
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

const SLOT_LEN: usize = 64;
const FRAMES_OF_KEYRING: u64 = 40960;
const FRAMES_OF_FILE: u64 = 8192;
const GROUP_ALIGNMENT: usize = 4096;
const GROUP_HEAD_LEN: usize = 96;
