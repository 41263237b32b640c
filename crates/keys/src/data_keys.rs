//! The keys that an unlocked keyring gives to whoever seals and opens.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;

use crate::derive::{self, LABEL_RECORD_MAC, PageKeyContext, ValueKeyContext};
use crate::{DekId, KeysError, Layer, Secret, StoreId, Suite};

/// One data key of one layer. Nothing is sealed with it: it gives page keys and value keys.
pub struct Dek(Secret<32>);

impl Dek {
    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// The key for the pages that one context names.
    pub fn page_key(&self, context: &PageKeyContext) -> Secret<32> {
        derive::page_key(&self.0, context)
    }

    /// The key for the values that one context names.
    pub fn value_key(&self, context: &ValueKeyContext) -> Secret<32> {
        derive::value_key(&self.0, context)
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.0
    }
}

/// Everything needed to seal and open a store's pages, and to authenticate its file records.
///
/// Only an authenticated keyring gives it, or [`DataKeys::ephemeral`] for files that end with the process.
/// It does not hold the roots: who has it can neither wrap nor rotate.
pub struct DataKeys {
    store: StoreId,
    suite: Suite,
    active_dek: DekId,
    audit_seed: Secret<32>,
    /// In the order of `Suite::layers`.
    layers: Vec<LayerKeys>,
}

struct LayerKeys {
    mac_key: hmac::Key,
    deks: BTreeMap<DekId, Dek>,
}

impl DataKeys {
    /// Keys for temporary files: a store of its own that exists only in this process.
    ///
    /// # Errors
    ///
    /// [`KeysError::Random`] when the cryptographic module gives no random bytes.
    pub fn ephemeral(suite: Suite) -> Result<Self, KeysError> {
        let mut material = Vec::with_capacity(suite.layer_count());
        for _ in suite.layers() {
            let deks = BTreeMap::from([(DekId::FIRST, Dek::new(Secret::random()?))]);
            material.push((Secret::random()?, deks));
        }
        Ok(Self::new(StoreId::random()?, suite, DekId::FIRST, material))
    }

    /// Keys made from given bytes, for tests and test vectors.
    #[cfg(any(test, feature = "vectors"))]
    #[doc(hidden)]
    pub fn from_vectors(
        store: StoreId,
        suite: Suite,
        active_dek: DekId,
        layers: &[VectorLayer],
    ) -> Self {
        assert_eq!(layers.len(), suite.layer_count());
        let material = layers
            .iter()
            .map(|layer| {
                let deks = layer
                    .deks
                    .iter()
                    .map(|&(id, mut key)| (id, Dek::new(Secret::take(&mut key))));
                (Secret::take(&mut layer.root.clone()), deks.collect())
            })
            .collect();
        Self::new(store, suite, active_dek, material)
    }

    /// Every data key, each byte of it changed with `mask`: for tests that look for the keys in memory and must not find their own list.
    #[cfg(any(test, feature = "vectors"))]
    #[doc(hidden)]
    pub fn masked(&self, mask: u8) -> Vec<[u8; 32]> {
        let deks = self.layers.iter().flat_map(|layer| layer.deks.values());
        deks.map(|dek| dek.secret().expose().map(|byte| byte ^ mask))
            .collect()
    }

    /// `material` is the root and the usable data keys of each layer, in the order of `Suite::layers`.
    pub(crate) fn new(
        store: StoreId,
        suite: Suite,
        active_dek: DekId,
        material: Vec<(Secret<32>, BTreeMap<DekId, Dek>)>,
    ) -> Self {
        assert_eq!(material.len(), suite.layer_count());
        let audit_seed = derive::audit_seed(&material[0].0, store);
        let layers = suite
            .layers()
            .iter()
            .zip(material)
            .map(|(&layer, (root, deks))| {
                assert!(
                    deks.contains_key(&active_dek),
                    "the active data key is a usable one"
                );
                LayerKeys {
                    mac_key: derive::mac_key(&root, layer, store),
                    deks,
                }
            });
        Self {
            store,
            suite,
            active_dek,
            audit_seed,
            layers: layers.collect(),
        }
    }

    /// The store that the keys belong to.
    pub fn store_id(&self) -> StoreId {
        self.store
    }

    /// The policy: which layers there must be, and their algorithms.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The data key that new pages and values are sealed under.
    pub fn active_dek(&self) -> DekId {
        self.active_dek
    }

    /// One layer's data key, or `None` when the keyring has no such key, has destroyed it, or has no such layer.
    pub fn dek(&self, layer: Layer, id: DekId) -> Option<&Dek> {
        let index = self
            .suite
            .layers()
            .iter()
            .position(|&candidate| candidate == layer)?;
        self.layers[index].deks.get(&id)
    }

    /// The last 64 bytes of a file record, from its first 448 (format section 4): one MAC for each layer
    /// of the policy, zeros for a layer that is not in it.
    pub fn record_macs(&self, record: &[u8; 448]) -> [u8; 64] {
        let mut macs = [0; 64];
        let (places, _) = macs.as_chunks_mut::<32>();
        for (place, layer) in places.iter_mut().zip(&self.layers) {
            place.copy_from_slice(layer.authenticate_record(record).as_ref());
        }
        macs
    }

    /// Whether the last 64 bytes of a file record are what [`DataKeys::record_macs`] makes of its first 448.
    ///
    /// Takes the same time wherever they differ.
    #[must_use]
    pub fn record_macs_match(&self, record: &[u8; 448], macs: &[u8; 64]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.record_macs(record), macs).is_ok()
    }

    /// Whether both come from the same roots.
    #[must_use]
    pub fn have_the_roots_of(&self, other: &DataKeys) -> bool {
        let macs = |keys: &DataKeys| keys.record_macs(&[0; 448]);
        self.store == other.store
            && aws_lc_rs::constant_time::verify_slices_are_equal(&macs(self), &macs(other)).is_ok()
    }

    /// The Ed25519 seed of the store's audit log.
    pub fn audit_seed(&self) -> Secret<32> {
        self.audit_seed.duplicate()
    }

    /// Whether this process is a fork of the one that unlocked the keys, and the keys are gone.
    ///
    /// Whoever seals asks this first: in a forked child every other use of the keys panics.
    pub fn is_wiped(&self) -> bool {
        self.audit_seed.is_wiped()
            || self
                .layers
                .iter()
                .flat_map(|layer| layer.deks.values())
                .any(|dek| dek.secret().is_wiped())
    }
}

impl LayerKeys {
    fn authenticate_record(&self, record: &[u8; 448]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.mac_key);
        context.update(LABEL_RECORD_MAC);
        context.update(record);
        context.sign()
    }
}

/// Given bytes for one layer of [`DataKeys::from_vectors`].
#[cfg(any(test, feature = "vectors"))]
#[doc(hidden)]
pub struct VectorLayer {
    /// The root.
    pub root: [u8; 32],
    /// The usable data keys.
    pub deks: Vec<(DekId, [u8; 32])>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_layer_leaves_the_second_mac_zero() {
        let keys = DataKeys::ephemeral(Suite::One).unwrap();
        let macs = keys.record_macs(&[1; 448]);
        assert_eq!(macs[32..], [0; 32]);
        assert_ne!(macs[..32], [0; 32]);
    }

    #[test]
    fn every_bit_of_the_macs_and_every_byte_of_the_record_counts() {
        for suite in Suite::ALL {
            let keys = DataKeys::ephemeral(suite).unwrap();
            let record = [5; 448];
            let macs = keys.record_macs(&record);
            assert!(keys.record_macs_match(&record, &macs));
            for bit in 0..512 {
                let mut altered = macs;
                altered[bit / 8] ^= 1 << (bit % 8);
                assert!(!keys.record_macs_match(&record, &altered), "bit {bit}");
            }
            for index in 0..448 {
                let mut altered = record;
                altered[index] ^= 1;
                assert!(!keys.record_macs_match(&altered, &macs), "byte {index}");
            }
        }
    }

    #[test]
    fn unknown_keys_and_layers_are_not_there() {
        let keys = DataKeys::ephemeral(Suite::One).unwrap();
        assert!(keys.dek(Layer::Customer, DekId::FIRST).is_some());
        assert!(keys.dek(Layer::Customer, DekId::new(2).unwrap()).is_none());
        assert!(keys.dek(Layer::Infrastructure, DekId::FIRST).is_none());
    }
}
