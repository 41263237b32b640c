//! What subkeys are derived for, and the subkeys that opened something before.

use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use cofferdam_keys::{
    Algorithm, DataKeys, DekId, FileId, Layer, PageKeyContext, StoreId, ValueKeyContext,
};
use lru::LruCache;

use crate::aead::Subkey;
use crate::slot::SALT_LEN;

/// What the keys of a cipher are for. It enters every derivation.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// Pages of one file.
    Page(FileId),
    /// Values of one scope.
    Value([u8; 16]),
}

/// The name of a subkey within one cipher.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubkeyName {
    pub(crate) layer: Layer,
    pub(crate) dek: DekId,
    pub(crate) salt: [u8; SALT_LEN],
}

/// Derives the subkey of a name; `None` when the keyring does not have its data key.
pub(crate) fn derive(keys: &DataKeys, purpose: Purpose, name: SubkeyName) -> Option<Subkey> {
    let SubkeyName { layer, dek, salt } = name;
    let algorithm: Algorithm = keys.suite().algorithm(layer)?;
    let store: StoreId = keys.store_id();
    let data_key = keys.dek(layer, dek)?;
    let key = match purpose {
        Purpose::Page(file) => data_key.page_key(&PageKeyContext {
            layer,
            algorithm,
            store,
            file,
            dek_id: dek,
            salt,
        }),
        Purpose::Value(scope) => data_key.value_key(&ValueKeyContext {
            layer,
            algorithm,
            store,
            scope,
            dek_id: dek,
            salt,
        }),
    };
    Some(Subkey::new(algorithm, &key))
}

/// The subkeys of a cipher that opened something, least recently used ones given up first.
///
/// 1. A subkey enters only after a tag verified under it. Salts are chosen by whoever writes the
///    disk; without this rule random salts would fill the memory and push out the useful keys.
/// 2. A salt that never verified costs one derivation and leaves nothing behind.
/// 3. After [`FAILURES_MAX`] failed tags nothing is opened, which bounds the chance of a forgery.
pub(crate) struct Subkeys {
    /// The key that opened the last page of each layer: found without a lock.
    last: [ArcSwapOption<Known>; 2],
    known: Mutex<LruCache<SubkeyName, Arc<Known>>>,
    failures: AtomicU32,
}

/// A subkey with its name.
pub(crate) struct Known {
    name: SubkeyName,
    pub(crate) key: Subkey,
}

/// A subkey to open with.
pub(crate) enum Found {
    /// It opened the last page, too.
    Last(arc_swap::Guard<Option<Arc<Known>>>),
    /// It opened something before.
    Known(Arc<Known>),
    /// It was derived and has proved nothing yet.
    Fresh(Known),
}

impl Subkeys {
    pub(crate) fn new(capacity: NonZeroUsize) -> Subkeys {
        Subkeys {
            last: [ArcSwapOption::empty(), ArcSwapOption::empty()],
            known: Mutex::new(LruCache::unbounded()),
            failures: AtomicU32::new(0),
        }
        .with_capacity(capacity)
    }

    /// Whether so many tags failed that nothing may be opened any more.
    pub(crate) fn quarantined(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_MAX
    }

    /// The subkey of a name; `None` when the keyring does not have its data key.
    pub(crate) fn find(
        &self,
        keys: &DataKeys,
        purpose: Purpose,
        name: SubkeyName,
    ) -> Option<Found> {
        let last = self.last[index(name.layer)].load();
        if last.as_ref().is_some_and(|known| known.name == name) {
            return Some(Found::Last(last));
        }
        if let Some(known) = self.lock().get(&name) {
            return Some(Found::Known(Arc::clone(known)));
        }
        let key = derive(keys, purpose, name)?;
        Some(Found::Fresh(Known { name, key }))
    }

    /// A tag verified under this subkey.
    pub(crate) fn verified(&self, found: Found) {
        let known = match found {
            Found::Last(_) => return,
            Found::Known(known) => known,
            Found::Fresh(known) => {
                let known = Arc::new(known);
                self.lock().put(known.name, Arc::clone(&known));
                known
            }
        };
        self.last[index(known.name.layer)].store(Some(known));
    }

    /// A tag failed.
    pub(crate) fn failed(&self) {
        // Saturating, so that 2^32 failures do not lift the quarantine.
        let _ = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                count.checked_add(1)
            });
    }

    /// How many subkeys are kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn with_capacity(self, capacity: NonZeroUsize) -> Subkeys {
        self.lock().resize(capacity);
        self
    }

    /// A panic while the lock is held leaves at worst a cache that forgot something.
    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<SubkeyName, Arc<Known>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    /// The key.
    pub(crate) fn key(&self) -> &Subkey {
        match self {
            Found::Last(guard) => {
                let known = guard
                    .as_ref()
                    .expect("find() returns a guard of a key it compared");
                &known.key
            }
            Found::Known(known) => &known.key,
            Found::Fresh(known) => &known.key,
        }
    }
}

fn index(layer: Layer) -> usize {
    usize::from(layer.number()) - 1
}

/// Subkeys kept per cipher unless the caller says otherwise: about 10 MB.
pub(crate) const CAPACITY_DEFAULT: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");

/// Failed tags before quarantine. Each try at a forgery under GCM succeeds with a probability of at
/// most 2^-116 for the largest page, so all of them together with at most 2^-100.
pub(crate) const FAILURES_MAX: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cofferdam_keys::{DataKeys, FileId, Suite, UnixTime};

    use super::*;
    use crate::{OpenError, PageCipher, PageNumber, PageSize, SlotCount};

    #[test]
    fn random_salts_do_not_fill_the_cache() {
        let (ciphers, frames) = frames_of_many_epochs(5);
        let reader = &ciphers[0];
        let mut page = [0; 512];
        for frame in &frames {
            reader.open(PageNumber::ZERO, frame, &mut page).unwrap();
        }
        assert_eq!(reader.subkeys().len(), 5);
        let mut altered = frames[0].clone();
        for number in 0..10_000u32 {
            altered[512 + 16..512 + 20].copy_from_slice(&number.to_le_bytes());
            let refused = Err(OpenError::Refused {
                page: PageNumber::ZERO,
            });
            assert_eq!(reader.open(PageNumber::ZERO, &altered, &mut page), refused);
        }
        assert_eq!(reader.subkeys().len(), 5);
    }

    #[test]
    fn the_cache_is_bounded_and_gives_up_what_was_not_used_for_longest() {
        let (ciphers, frames) = frames_of_many_epochs(CAPACITY + 1);
        let reader = &ciphers[0];
        let open = |index: usize| {
            let mut page = [0; 512];
            reader
                .open(PageNumber::ZERO, &frames[index], &mut page)
                .unwrap();
        };
        (0..CAPACITY).for_each(open);
        // The first one is used again, so the second one is given up for the newcomer.
        open(0);
        open(CAPACITY);
        assert_eq!(reader.subkeys().len(), CAPACITY);
        let kept = |index: usize| reader.subkeys().lock().contains(&name(&frames[index]));
        assert!(kept(0));
        assert!(!kept(1));
        assert!((2..=CAPACITY).all(kept));
    }

    /// Ciphers of one file, each with a salt of its own, and a frame from each of them.
    fn frames_of_many_epochs(count: usize) -> (Vec<PageCipher>, Vec<Vec<u8>>) {
        let keys = Arc::new(DataKeys::ephemeral(Suite::One).unwrap());
        let file = FileId::random().unwrap();
        let size = PageSize::from_log2(9).unwrap();
        let make = || {
            let capacity = NonZeroUsize::new(CAPACITY).unwrap();
            let keys = Arc::clone(&keys);
            PageCipher::with_cache(keys, file, size, SlotCount::One, clock, capacity).unwrap()
        };
        let ciphers: Vec<_> = (0..count).map(|_| make()).collect();
        let seal = |cipher: &PageCipher| {
            let mut frame = vec![0; cipher.stride()];
            cipher
                .seal(PageNumber::ZERO, &[1; 512], &mut frame)
                .unwrap();
            frame
        };
        let frames = ciphers.iter().map(seal).collect();
        (ciphers, frames)
    }

    fn name(frame: &[u8]) -> SubkeyName {
        SubkeyName {
            layer: Layer::Customer,
            dek: DekId::FIRST,
            salt: frame[512 + 16..512 + 32].try_into().unwrap(),
        }
    }

    fn clock() -> UnixTime {
        UnixTime {
            seconds: 0,
            nanos: 0,
        }
    }

    const CAPACITY: usize = 8;
}
