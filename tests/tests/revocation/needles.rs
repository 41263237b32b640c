//! The keys of the database, to be looked for in memory.

use std::fs;

use cofferdam_keys::{Algorithm, DekId, FileId, Layer, PageKeyContext};
use cofferdam_sealed_file::FileDisk;
use cofferdam_tests::memory::{MASK, count, for_each_part};

use crate::two_vaults::TwoVaults;

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

/// Format section 5.
const RECORD: usize = 32768;
const FRAMES: usize = 40960;
const PAGES: usize = 40;
