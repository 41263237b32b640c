//! What a keyring must be under, known from elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::encoding::Contents;
use crate::{KeyUri, KeysError, Layer, RootWrap};

/// The keys that a store's layers must be under. A keyring that names other keys is refused before any
/// vault is called.
///
/// Roots that are wrapped by an algorithm that does not authenticate need more: see [`Pins::vouch_for`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    keys: BTreeMap<Layer, KeyUri>,
    commitments: BTreeSet<[u8; 32]>,
    any_commitment: bool,
}

impl Pins {
    /// No expectation: whatever key the keyring names is asked for.
    pub fn none() -> Self {
        Self::default()
    }

    /// Also expects this layer to be there and to be under this key.
    #[must_use]
    pub fn with(mut self, layer: Layer, key: KeyUri) -> Self {
        self.keys.insert(layer, key);
        self
    }

    /// Also expects this root, known by its public commitment.
    #[must_use]
    pub fn with_commitment(mut self, commitment: [u8; 32]) -> Self {
        self.commitments.insert(commitment);
        self
    }

    /// Takes every root for the right one.
    #[must_use]
    pub fn with_any_commitment(mut self) -> Self {
        self.any_commitment = true;
        self
    }

    /// Whether a root is known to be the right one: its wrap can only have been made by who may use the key, or its commitment is
    /// expected.
    ///
    /// Whoever has the public key of an RSA pair can wrap a root of their own choice, put it in place of a store, and read all that is
    /// written to it from then on. So such a root counts only when somebody says that it is the one
    /// (cryptography reference, section 7.3).
    #[must_use]
    pub fn vouch_for(&self, wrap: &RootWrap) -> bool {
        wrap.wrapped.algorithm.authenticates()
            || self.any_commitment
            || self.commitments.contains(&wrap.commitment)
    }

    /// The key that a layer must be under, if one is expected.
    #[must_use]
    pub fn key(&self, layer: Layer) -> Option<&KeyUri> {
        self.keys.get(&layer)
    }

    pub(super) fn check(&self, contents: &Contents) -> Result<(), KeysError> {
        for (&layer, expected) in &self.keys {
            let refuse = |found| {
                Err(KeysError::Pinned {
                    layer,
                    expected: expected.clone(),
                    found,
                })
            };
            if contents.wraps_of(layer).next().is_none() {
                return refuse(None);
            }
            if let Some(other) = contents.wraps_of(layer).find(|wrap| wrap.key != *expected) {
                return refuse(Some(other.key.clone()));
            }
        }
        Ok(())
    }
}
