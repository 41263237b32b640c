//! Looks for keys in the memory of this process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use cofferdam_keys::{Algorithm, DekId, FileId, Layer, PageKeyContext};
use cofferdam_sealed_file::FileDisk;

use crate::two_vaults::TwoVaults;

/// What each byte of a key is changed with, so that the list of keys is not what is found.
pub(crate) const MASK: u8 = 0xa5;

/// Keys that must be found, or must not, masked.
pub(crate) struct Needles {
    data_keys: Vec<[u8; 32]>,
    page_keys: Vec<[u8; 32]>,
    roots: Vec<[u8; 32]>,
}

impl Needles {
    /// The keys of the database, and those of some of its pages' second layer, whose salts stand in the open.
    pub(crate) fn of(world: &TwoVaults) -> Needles {
        let disk = FileDisk::open_read_only(&world.path).unwrap();
        let store = world
            .opener
            .open_store(&disk, &world.path)
            .unwrap()
            .unwrap();
        let bytes = fs::read(&world.path).unwrap();
        let file = FileId::from_bytes(bytes[RECORD + 16 + 16..][..16].try_into().unwrap());
        let page_len = 1usize << bytes[RECORD + 11];
        let dek = store.keys.dek(Layer::Infrastructure, DekId::FIRST).unwrap();
        let mut page_keys = Vec::new();
        for page in 0..PAGES {
            let slot = FRAMES + page * (page_len + 128) + page_len + 64;
            let Some(salt) = bytes.get(slot + 16..slot + 32) else {
                break;
            };
            let key = dek.page_key(&PageKeyContext {
                layer: Layer::Infrastructure,
                algorithm: Algorithm::ChaCha20Poly1305,
                store: store.keys.store_id(),
                file,
                dek_id: DekId::FIRST,
                salt: salt.try_into().unwrap(),
            });
            let masked = key.expose().map(|byte| byte ^ MASK);
            if !page_keys.contains(&masked) {
                page_keys.push(masked);
            }
        }
        Needles {
            data_keys: store.keys.masked(MASK),
            page_keys,
            roots: world.watched.masked_roots(),
        }
    }

    /// How often data keys and page keys are in memory; after a fence, roots are counted with the data keys. While a
    /// store is served its roots are not kept.
    pub(crate) fn count_in_memory(&self) -> [usize; 2] {
        let mut counts = [0; 2];
        for_each_part(|part| {
            counts[0] += count(part, &self.data_keys);
            counts[1] += count(part, &self.page_keys);
            assert_eq!(count(part, &self.roots), 0, "a root is in memory");
        });
        counts
    }
}

fn count(part: &[u8], needles: &[[u8; 32]]) -> usize {
    needles.iter().map(|needle| count_one(part, needle)).sum()
}

fn count_one(part: &[u8], needle: &[u8; 32]) -> usize {
    let first = needle[0] ^ MASK;
    let is_there = |window: &[u8]| {
        window
            .iter()
            .zip(needle)
            .all(|(&byte, &n)| byte ^ MASK == n)
    };
    let mut found = 0;
    let mut at = 0;
    while let Some(next) = part[at..].iter().position(|&byte| byte == first) {
        at += next;
        if part.get(at..at + 32).is_some_and(is_there) {
            found += 1;
        }
        at += 1;
    }
    found
}

/// Every writable part of the memory, but for the buffer that it is read into.
fn for_each_part(mut look: impl FnMut(&[u8])) {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0; PART + 31];
    let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") || line.contains("[v") {
            continue;
        }
        let (begin, end) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (mut at, end) = (number(begin), number(end));
        while at < end {
            let len = (end - at).min(buffer.len() as u64);
            if at < own.end && own.start < at + len {
                // Step around the buffer; its neighbourhood is looked at in smaller parts.
                if own.contains(&at) {
                    at = own.end;
                    continue;
                }
                let len = (own.start - at).min(len);
                read_and_look(&memory, at, &mut buffer[..len as usize], &mut look);
                at = own.end;
                continue;
            }
            read_and_look(&memory, at, &mut buffer[..len as usize], &mut look);
            at += len
                .saturating_sub(31)
                .max(if at + len == end { len } else { 1 });
        }
    }
    buffer.fill(0);
}

fn read_and_look(memory: &File, at: u64, part: &mut [u8], look: &mut impl FnMut(&[u8])) {
    // A part that was given back to the system meanwhile is no place for keys.
    if memory.read_exact_at(part, at).is_ok() {
        look(part);
    }
    part.fill(0);
}

const PART: usize = 1 << 20;
/// Format section 5.
const RECORD: usize = 32768;
const FRAMES: usize = 40960;
const PAGES: usize = 40;
