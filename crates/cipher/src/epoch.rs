//! Salts, IVs, and why no pair of key and nonce repeats.
//!
//! An *epoch* is the time in which one salt per layer is used. Its subkeys are derived from the salts.
//!
//! 1. A new epoch begins at the first seal of a cipher, after 2^20 seals, after an hour (or when the
//!    clock went backwards), and when another data key became active. Its salts are 128 random bits
//!    per layer.
//! 2. Every seal of every layer uses 96 random bits as IV, drawn for at most 64 pages in one call,
//!    inside this process, immediately before they are used. Nothing that was drawn outlives the
//!    call that drew it: there is no pool and no counter, on disk or in memory, that could be copied
//!    or rewound. A seal that is retried draws again.
//! 3. A process that was forked after the cipher was made seals nothing with it.
//!
//! So a nonce repeats under a key only if two random values meet. Within an epoch that needs two of
//! at most 2^20 IVs of 96 bits to be equal: less than 2^-57. Across epochs it needs equal salts
//! *and* equal IVs. Over W seals under one data key the total stays below W·2^20/2^97 (2^-33 for
//! W = 2^44) plus W²/2^225. A restored backup, a cloned file or volume changes nothing, because
//! whoever opens it begins with a new salt. A machine that was cloned while running shares an epoch
//! with its clone; the generator mixes hardware randomness into every call, so their IVs are
//! independent and the bound above holds for both together.
//!
//! Point 3 closes the case where the generator's and the cipher's state are copied by the system.
//! The mark is looked at when a batch begins. A fork later than that cannot put the sealing thread
//! into the child: only the thread that calls fork lives on there, and sealing calls nobody back.

use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_keys::{Clock, DataKeys, DekId, Layer, UnixTime};

use crate::aead::Subkey;
use crate::error::SealError;
use crate::fork::ForkMark;
use crate::slot::{IV_LEN, SALT_LEN};
use crate::subkeys::{Purpose, SubkeyName, derive};

/// Seals are drawn for in batches of at most so many pages or values.
pub(crate) const BATCH_MAX: usize = 64;

/// One layer's part of an epoch.
pub(crate) struct SealingLayer {
    pub(crate) layer: Layer,
    pub(crate) salt: [u8; SALT_LEN],
    pub(crate) key: Subkey,
}

/// The salts of an epoch and what was derived from them, innermost layer first.
pub(crate) struct Epoch {
    pub(crate) dek: DekId,
    pub(crate) layers: Vec<SealingLayer>,
}

impl Epoch {
    fn begin(keys: &DataKeys, purpose: Purpose) -> Result<Epoch, SealError> {
        let mut salts = [[0; SALT_LEN]; LAYERS_MAX];
        fill(salts.as_flattened_mut())?;
        Epoch::with_salts(keys, purpose, &salts)
    }

    /// The epoch of given salts. Only tests and vectors give salts that are not random.
    pub(crate) fn with_salts(
        keys: &DataKeys,
        purpose: Purpose,
        salts: &[[u8; SALT_LEN]; LAYERS_MAX],
    ) -> Result<Epoch, SealError> {
        let dek = keys.active_dek();
        let layers = keys.suite().layers().iter().zip(salts);
        let layers = layers.map(|(&layer, &salt)| {
            derive(keys, purpose, SubkeyName { layer, dek, salt })
                .map(|key| SealingLayer { layer, salt, key })
                .ok_or(SealError::KeyMissing { layer, dek })
        });
        Ok(Epoch {
            dek,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }
}

/// The IVs of one batch: for each page or value one per layer, innermost first.
pub(crate) struct Ivs {
    bytes: [[u8; IV_LEN]; BATCH_MAX * LAYERS_MAX],
    count: usize,
    layer_count: usize,
}

impl Ivs {
    fn draw(count: usize, layer_count: usize) -> Result<Ivs, SealError> {
        let mut bytes = [[0; IV_LEN]; BATCH_MAX * LAYERS_MAX];
        fill(bytes[..count * layer_count].as_flattened_mut())?;
        Ok(Ivs {
            bytes,
            count,
            layer_count,
        })
    }

    /// The IVs of each page or value of the batch. Consumes the batch, so that none is used twice.
    pub(crate) fn for_each(self, mut seal: impl FnMut(usize, &[[u8; IV_LEN]])) {
        let drawn = &self.bytes[..self.count * self.layer_count];
        for (index, ivs) in drawn.chunks_exact(self.layer_count).enumerate() {
            seal(index, ivs);
        }
    }
}

/// Hands out epochs and IVs.
pub(crate) struct Epochs {
    keys: Arc<DataKeys>,
    purpose: Purpose,
    clock: Clock,
    fork: ForkMark,
    current: Mutex<Option<Current>>,
}

struct Current {
    epoch: Arc<Epoch>,
    began: UnixTime,
    seals: u32,
}

impl Epochs {
    pub(crate) fn new(keys: Arc<DataKeys>, purpose: Purpose, clock: Clock) -> Epochs {
        Epochs {
            keys,
            purpose,
            clock,
            fork: ForkMark::here(),
            current: Mutex::new(None),
        }
    }

    /// The data keys.
    pub(crate) fn keys(&self) -> &DataKeys {
        &self.keys
    }

    /// What the keys are for.
    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether this process was forked after the cipher was made.
    pub(crate) fn forked(&self) -> bool {
        !self.fork.is_here()
    }

    /// The epoch and the IVs for `count` seals, at most [`BATCH_MAX`].
    pub(crate) fn batch(&self, count: usize) -> Result<(Arc<Epoch>, Ivs), SealError> {
        assert!(count <= BATCH_MAX);
        // Before the lock: in a forked child another thread of the parent may hold it for ever.
        if self.forked() {
            return Err(SealError::Forked);
        }
        let epoch = self.reserve(count as u32)?;
        let ivs = Ivs::draw(count, epoch.layers.len())?;
        Ok((epoch, ivs))
    }

    /// Counts `count` seals against the current epoch, or a new one if it cannot take them.
    fn reserve(&self, count: u32) -> Result<Arc<Epoch>, SealError> {
        // A panic while the lock is held leaves a whole value: it is only ever assigned whole.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.clock)();
        if let Some(current) = current.as_mut()
            && current.seals + count <= SEALS_MAX
            && current.epoch.dek == self.keys.active_dek()
            && !aged(current.began, now)
        {
            current.seals += count;
            return Ok(Arc::clone(&current.epoch));
        }
        let epoch = Arc::new(Epoch::begin(&self.keys, self.purpose)?);
        *current = Some(Current {
            epoch: Arc::clone(&epoch),
            began: now,
            seals: count,
        });
        Ok(epoch)
    }
}

/// Whether an epoch that began then is over: after an hour, or when the clock went backwards and
/// nobody can tell.
fn aged(began: UnixTime, now: UnixTime) -> bool {
    now.seconds
        .checked_sub(began.seconds)
        .is_none_or(|age| age >= AGE_MAX_SECONDS)
}

fn fill(bytes: &mut [u8]) -> Result<(), SealError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| SealError::Random)
}

pub(crate) const LAYERS_MAX: usize = 2;
const SEALS_MAX: u32 = 1 << 20;
const AGE_MAX_SECONDS: u64 = 3600;

#[cfg(test)]
mod tests {
    use cofferdam_keys::Suite;

    use super::*;

    #[test]
    fn no_salt_seals_more_than_two_to_the_twentieth_times() {
        let epochs = epochs(Suite::Two);
        let (first, _) = epochs.batch(BATCH_MAX).unwrap();
        let mut seals = BATCH_MAX as u32;
        let second = loop {
            let (epoch, _) = epochs.batch(BATCH_MAX - 1).unwrap();
            if !Arc::ptr_eq(&first, &epoch) {
                break epoch;
            }
            seals += BATCH_MAX as u32 - 1;
        };
        assert!(seals <= SEALS_MAX);
        assert!(seals > SEALS_MAX - BATCH_MAX as u32);
        for (old, new) in first.layers.iter().zip(&second.layers) {
            assert!(old.salt != new.salt, "layer {}", old.layer);
        }
    }

    #[test]
    fn the_layers_of_an_epoch_and_of_a_batch_share_nothing() {
        let epochs = epochs(Suite::Three);
        let (epoch, ivs) = epochs.batch(BATCH_MAX).unwrap();
        assert!(epoch.layers[0].salt != epoch.layers[1].salt);
        let mut seen = std::collections::HashSet::new();
        ivs.for_each(|_, ivs| ivs.iter().for_each(|iv| assert!(seen.insert(*iv))));
        assert_eq!(seen.len(), 2 * BATCH_MAX);
    }

    fn epochs(suite: Suite) -> Epochs {
        let keys = Arc::new(DataKeys::ephemeral(suite).unwrap());
        Epochs::new(keys, Purpose::Value([0; 16]), || UnixTime {
            seconds: 0,
            nanos: 0,
        })
    }
}
