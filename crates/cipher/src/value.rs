//! Seals and opens single values (format section 7).

use core::ops::Range;
use std::sync::Arc;

use cofferdam_keys::{Algorithm, Clock, DataKeys, DekId, Layer};
use zeroize::Zeroizing;

use crate::aead::wash_after_use;
use crate::epoch::{Epoch, Epochs, SealingLayer};
use crate::error::{OpenError, SealError};
use crate::slot::{IV_LEN, SALT_LEN, TAG_LEN, array};
use crate::subkeys::{CAPACITY_DEFAULT, Purpose, SubkeyName, Subkeys};

/// Bytes by which one layer makes a value longer.
pub const VALUE_OVERHEAD: usize = HEAD_LEN + TAG_LEN;

/// The longest context, in bytes.
pub const CONTEXT_LEN_MAX: usize = 1024;

/// The longest value, in bytes: what AES-256-GCM seals in one go.
pub const VALUE_LEN_MAX: u64 = (1 << 36) - 32;

/// Seals and opens the values of one scope, such as a column.
pub struct ValueCipher {
    scope: [u8; 16],
    epochs: Epochs,
    subkeys: Subkeys,
}

impl ValueCipher {
    /// A cipher for one scope. It draws its first salts when it seals for the first time.
    #[must_use]
    pub fn new(keys: Arc<DataKeys>, scope: [u8; 16], clock: Clock) -> ValueCipher {
        ValueCipher {
            scope,
            epochs: Epochs::new(keys, Purpose::Value(scope), clock),
            subkeys: Subkeys::new(CAPACITY_DEFAULT),
        }
    }

    /// Bytes by which sealing makes a value longer.
    #[must_use]
    pub fn overhead(&self) -> usize {
        self.epochs.keys().suite().layer_count() * VALUE_OVERHEAD
    }

    /// Seals a value. It opens only with the same context, at most [`CONTEXT_LEN_MAX`] bytes that
    /// say what it belongs to, such as a row.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub fn seal(&self, context: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError> {
        at_most(context.len(), CONTEXT_LEN_MAX)?;
        at_most(
            value.len(),
            usize::try_from(VALUE_LEN_MAX).unwrap_or(usize::MAX),
        )?;
        let (epoch, ivs) = self.epochs.batch(1)?;
        let mut sealed = Vec::new();
        ivs.for_each(|_, ivs| sealed = self.seal_one(&epoch, ivs, context, value));
        self.wash();
        Ok(sealed)
    }

    /// Opens a value that was sealed with this context.
    ///
    /// # Errors
    ///
    /// [`OpenError::ValueRefused`] for everything that was not sealed in this scope, with this
    /// context and under this policy.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if context.len() > CONTEXT_LEN_MAX {
            return Err(OpenError::Misuse {
                expected: CONTEXT_LEN_MAX,
                found: context.len(),
            });
        }
        if self.epochs.forked() {
            return Err(OpenError::Forked);
        }
        if self.subkeys.quarantined() {
            return Err(OpenError::Quarantined);
        }
        let mut layers = self.epochs.keys().suite().layers().iter().rev();
        let outermost = layers
            .next()
            .and_then(|&layer| self.open_layer(layer, context, sealed));
        let opened = layers.fold(outermost, |record, &layer| {
            self.open_layer(layer, context, &record?)
        });
        self.wash();
        opened.ok_or(OpenError::ValueRefused)
    }

    fn wash(&self) {
        let suite = self.epochs.keys().suite();
        let layers = suite.layers().iter();
        wash_after_use(layers.filter_map(|&layer| suite.algorithm(layer)));
    }

    /// Seals one value with given IVs, one per layer.
    pub(crate) fn seal_one(
        &self,
        epoch: &Epoch,
        ivs: &[[u8; IV_LEN]],
        context: &[u8],
        value: &[u8],
    ) -> Vec<u8> {
        // Room for every layer at once: each one seals what the layers before it wrote, in place,
        // and no plaintext is left behind by a reallocation.
        let overhead = epoch.layers.len() * VALUE_OVERHEAD;
        let mut record = vec![0; value.len() + overhead];
        let mut start = overhead - epoch.layers.len() * TAG_LEN;
        let mut end = start + value.len();
        record[start..end].copy_from_slice(value);
        for (layer, iv) in epoch.layers.iter().zip(ivs) {
            let SealingLayer { layer, salt, key } = layer;
            let algorithm = self.algorithm(*layer);
            let aad = self.aad(*layer, algorithm, epoch.dek, context);
            let tag = key.seal_in_place(iv, &aad, &mut record[start..end]);
            record[end..end + TAG_LEN].copy_from_slice(&tag);
            start -= HEAD_LEN;
            end += TAG_LEN;
            let head = &mut record[start..start + HEAD_LEN];
            head[CLEAR].copy_from_slice(&clear(algorithm, epoch.dek));
            head[SALT].copy_from_slice(salt);
            head[IV].copy_from_slice(iv);
        }
        record
    }

    fn open_layer(
        &self,
        layer: Layer,
        context: &[u8],
        record: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (head, rest) = record.split_at_checked(HEAD_LEN)?;
        let (sealed, tag) = rest.split_last_chunk::<TAG_LEN>()?;
        let algorithm = self.algorithm(layer);
        let dek = DekId::new(u32::from_le_bytes(array(&head[DEK])))?;
        if head[CLEAR] != clear(algorithm, dek) {
            return None;
        }
        let name = SubkeyName {
            layer,
            dek,
            salt: array(&head[SALT]),
        };
        let found = self
            .subkeys
            .find(self.epochs.keys(), self.epochs.purpose(), name)?;
        let aad = self.aad(layer, algorithm, dek, context);
        let mut message = Zeroizing::new(vec![0; sealed.len()]);
        let iv = array(&head[IV]);
        if found
            .key()
            .open(&iv, &aad, [sealed, &[]], tag, &mut message)
            .is_err()
        {
            self.subkeys.failed();
            return None;
        }
        self.subkeys.verified(found);
        Some(message)
    }

    fn algorithm(&self, layer: Layer) -> Algorithm {
        let suite = self.epochs.keys().suite();
        suite
            .algorithm(layer)
            .expect("a suite has an algorithm for each of its layers")
    }

    fn aad(&self, layer: Layer, algorithm: Algorithm, dek: DekId, context: &[u8]) -> Vec<u8> {
        let context_len = context.len() as u32;
        let store = self.epochs.keys().store_id();
        let mut aad = Vec::with_capacity(AAD_FIXED_LEN + context.len());
        aad.extend_from_slice(b"CDV1");
        aad.extend_from_slice(&[layer.number(), algorithm.number(), 0, FORMAT]);
        aad.extend_from_slice(store.as_bytes());
        aad.extend_from_slice(&self.scope);
        aad.extend_from_slice(&dek.to_le_bytes());
        aad.extend_from_slice(&context_len.to_le_bytes());
        aad.extend_from_slice(context);
        aad
    }
}

/// The head of a record up to its salt.
fn clear(algorithm: Algorithm, dek: DekId) -> [u8; CLEAR.end] {
    let [a, b, c, d] = dek.to_le_bytes();
    [FORMAT, algorithm.number(), 0, 0, a, b, c, d]
}

fn at_most(found: usize, expected: usize) -> Result<(), SealError> {
    if found <= expected {
        Ok(())
    } else {
        Err(SealError::Misuse { expected, found })
    }
}

const FORMAT: u8 = 1;
const CLEAR: Range<usize> = 0..8;
const DEK: Range<usize> = 4..CLEAR.end;
const SALT: Range<usize> = CLEAR.end..CLEAR.end + SALT_LEN;
const IV: Range<usize> = SALT.end..SALT.end + IV_LEN;
const HEAD_LEN: usize = IV.end;
const _: () = assert!(HEAD_LEN + TAG_LEN == 52);
const AAD_FIXED_LEN: usize = 48;
