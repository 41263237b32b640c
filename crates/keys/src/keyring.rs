//! The keyring: what a store's keys are, authenticated by every layer.
//!
//! Invariants:
//!
//! 1. A [`Keyring`] exists only where every layer's root was unwrapped, bound to this store and layer,
//!    and every layer's MAC over the same bytes verified; or where it was made here from such roots.
//! 2. No key comes out of a keyring whose MACs were not all verified.
//! 3. A changed keyring has a higher sequence than the one it was made from.
//! 4. A root that a vault wrapped has been unwrapped again before the wrap is accepted.

mod deks;
mod pins;
mod roots;

use std::collections::BTreeMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use cofferdam_audit::UnixTime;

use crate::derive::{self, LABEL_KEYRING_MAC};
use crate::encoding::{Contents, MAC_LEN, WRAPPED_DEK_LEN};
use crate::{
    DEK_COUNT_MAX, DataKeys, Dek, DekId, DekRecord, DekState, KEYRING_LEN, KeyUri, KeysError,
    Layer, RootWrap, Secret, Sequence, StoreId, Suite, VaultSet,
};

use deks::{new_dek, unwrap_dek};
pub use pins::Pins;
use roots::{open_root, wrap_root};

/// A keyring as read from disk. It has a keyring's structure; whether anything in it is true shows
/// only when [`UncheckedKeyring::unlock`] has asked the vaults.
pub struct UncheckedKeyring {
    contents: Contents,
    slot: Box<[u8; KEYRING_LEN]>,
    body_len: usize,
    total_len: usize,
}

/// What a new store is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKeyring {
    /// The store's name.
    pub store: StoreId,
    /// The policy.
    pub suite: Suite,
    /// The key of each layer of the suite, and of no other.
    pub keys: BTreeMap<Layer, KeyUri>,
    /// The time.
    pub now: UnixTime,
}

/// An authentic keyring, and the roots that prove it.
///
/// Whoever has it can change the store's keys, so it is kept no longer than that takes; serving needs
/// [`DataKeys`] alone.
pub struct Keyring {
    contents: Contents,
    /// In the order of the suite's layers.
    roots: Vec<Secret<32>>,
    slot: Box<[u8; KEYRING_LEN]>,
}

impl UncheckedKeyring {
    /// Reads a slot.
    ///
    /// # Errors
    ///
    /// [`KeysError::Structure`] or [`KeysError::UnknownSuite`] for bytes that the format does not allow.
    pub fn parse(slot: &[u8; KEYRING_LEN]) -> Result<Self, KeysError> {
        let (contents, macs) = Contents::parse(slot)?;
        Ok(Self {
            contents,
            slot: Box::new(*slot),
            body_len: macs.start,
            total_len: macs.end,
        })
    }

    /// The wrapped roots, which say the keys to ask for. Anyone may have written them.
    pub fn wraps(&self) -> &[RootWrap] {
        &self.contents.wraps
    }

    /// The sequence that the bytes claim.
    pub fn sequence(&self) -> Sequence {
        self.contents.sequence
    }

    /// The store that the bytes claim to belong to.
    pub fn store_id(&self) -> StoreId {
        self.contents.store
    }

    /// Asks the vaults for the roots, verifies every MAC, and unwraps the data keys.
    ///
    /// One unwrap call per layer. Only when a vault does not answer or wants fewer calls, the next wrap of the same
    /// layer is asked, if there is one; a vault that says *no* has the last word.
    ///
    /// # Errors
    ///
    /// [`KeysError::Pinned`] before any call; [`KeysError::Refused`] and [`KeysError::NoSuchVault`] when there is no
    /// root to be had; [`KeysError::NotAuthentic`] for everything else.
    pub fn unlock(
        &self,
        vaults: &dyn VaultSet,
        pins: &Pins,
    ) -> Result<(Keyring, DataKeys), KeysError> {
        pins.check(&self.contents)?;
        let layers = self.contents.suite.layers();
        let roots = layers
            .iter()
            .map(|&layer| open_root(&self.contents, layer, vaults))
            .collect::<Result<Vec<_>, _>>()?;
        if !self.macs_match(layers, &roots) {
            return Err(KeysError::NotAuthentic);
        }
        let keyring = Keyring {
            contents: self.contents.clone(),
            roots,
            slot: self.slot.clone(),
        };
        let data_keys = keyring.data_keys()?;
        Ok((keyring, data_keys))
    }

    /// Whether the roots of another keyring of this store vouch for these bytes.
    ///
    /// Layers that only one of the two has are not looked at: a layer may have come or gone in between.
    pub(crate) fn is_vouched_for_by(&self, keyring: &Keyring) -> bool {
        self.contents.store == keyring.contents.store
            && self.macs_match(keyring.contents.suite.layers(), &keyring.roots)
    }

    pub(crate) fn slot(&self) -> &[u8; KEYRING_LEN] {
        &self.slot
    }

    /// Compares the MACs of all layers that this keyring and the given roots share. Every one of them is computed.
    fn macs_match(&self, layers: &[Layer], roots: &[Secret<32>]) -> bool {
        let body = &self.slot[..self.body_len];
        let (macs, _) = self.slot[self.body_len..self.total_len].as_chunks::<MAC_LEN>();
        assert_eq!(macs.len(), self.contents.suite.layer_count());
        let mut all_match = true;
        for (&layer, mac) in self.contents.suite.layers().iter().zip(macs) {
            if let Some(index) = layers.iter().position(|&candidate| candidate == layer) {
                let expected = keyring_mac(&roots[index], layer, self.contents.store, body);
                all_match &= verify_slices_are_equal(expected.as_ref(), mac).is_ok();
            }
        }
        all_match
    }
}

impl Keyring {
    /// Makes a store's first keyring, with one active data key.
    ///
    /// Two calls per layer: one wrap, and one unwrap that proves the wrap.
    ///
    /// # Errors
    ///
    /// [`KeysError::SuiteHasNoLayer`] when keys and layers do not fit together, [`KeysError::SameKeyTwice`],
    /// [`KeysError::NoSuchVault`], [`KeysError::Refused`], [`KeysError::Random`], [`KeysError::Full`].
    pub fn create(new: &NewKeyring, vaults: &dyn VaultSet) -> Result<(Self, DataKeys), KeysError> {
        let layers = new.suite.layers();
        if let Some(&layer) = new.keys.keys().find(|layer| !layers.contains(layer)) {
            return Err(KeysError::SuiteHasNoLayer { layer });
        }
        let mut wraps = Vec::with_capacity(layers.len());
        let mut roots = Vec::with_capacity(layers.len());
        for &layer in layers {
            let key = new
                .keys
                .get(&layer)
                .ok_or(KeysError::SuiteHasNoLayer { layer })?;
            check_apart(&wraps, layer, key)?;
            let root = Secret::random()?;
            wraps.push(wrap_root(&root, layer, new.store, key, vaults, new.now)?);
            roots.push(root);
        }
        let dek = new_dek(DekId::FIRST, layers, new.store, &roots, new.now)?;
        let contents = Contents {
            suite: new.suite,
            store: new.store,
            sequence: Sequence::FIRST,
            incarnation: 1,
            created_at: new.now.seconds,
            active_dek: dek.id,
            wraps,
            deks: vec![dek],
        };
        let keyring = Self::new(contents, roots)?;
        let data_keys = keyring.data_keys()?;
        Ok((keyring, data_keys))
    }

    /// The bytes of the slot.
    pub fn encode(&self) -> &[u8; KEYRING_LEN] {
        &self.slot
    }

    /// The keys for sealing and opening.
    ///
    /// # Errors
    ///
    /// [`KeysError::NotAuthentic`] when a data key does not unwrap, or is not the one committed to.
    pub fn data_keys(&self) -> Result<DataKeys, KeysError> {
        let (store, suite) = (self.contents.store, self.contents.suite);
        let mut material = Vec::with_capacity(self.roots.len());
        for (index, (&layer, root)) in suite.layers().iter().zip(&self.roots).enumerate() {
            let wrapping_key = derive::key_wrapping_key(root, layer, store);
            let mut deks = BTreeMap::new();
            for record in self
                .contents
                .deks
                .iter()
                .filter(|dek| dek.state != DekState::Destroyed)
            {
                let wrapped = record.layers.get(index).ok_or(KeysError::NotAuthentic)?;
                let dek = unwrap_dek(&wrapping_key, &wrapped.wrapped)?;
                let commitment = derive::dek_commitment(&dek, layer, store, record.id);
                verify_slices_are_equal(&commitment, &wrapped.commitment)
                    .map_err(|_| KeysError::NotAuthentic)?;
                deks.insert(record.id, Dek::new(dek));
            }
            material.push((root.duplicate(), deks));
        }
        Ok(DataKeys::new(
            store,
            suite,
            self.contents.active_dek,
            material,
        ))
    }

    /// Wraps one layer's root anew, under the newest usable version of a key: the same key's next version, or another
    /// key. It takes the place of all wraps of that layer. No page is touched.
    ///
    /// Two calls: one wrap, and one unwrap that proves the wrap.
    ///
    /// # Errors
    ///
    /// [`KeysError::SuiteHasNoLayer`], [`KeysError::SameKeyTwice`], [`KeysError::NoSuchVault`], [`KeysError::Refused`],
    /// [`KeysError::Full`], [`KeysError::SequenceExhausted`].
    pub fn rewrap(
        &self,
        layer: Layer,
        key: &KeyUri,
        vaults: &dyn VaultSet,
        now: UnixTime,
    ) -> Result<Self, KeysError> {
        let root = self
            .root(layer)
            .ok_or(KeysError::SuiteHasNoLayer { layer })?;
        check_apart(&self.contents.wraps, layer, key)?;
        let wrap = wrap_root(root, layer, self.contents.store, key, vaults, now)?;
        let mut contents = self.contents.clone();
        contents.wraps.retain(|other| other.layer != layer);
        contents.wraps.push(wrap);
        contents.wraps.sort_by_key(|wrap| wrap.layer);
        self.successor(contents)
    }

    /// Makes a new data key the active one. The one before is kept for what is sealed under it.
    ///
    /// When there are 64, the oldest destroyed one is forgotten.
    ///
    /// # Errors
    ///
    /// [`KeysError::Full`], [`KeysError::Random`], [`KeysError::SequenceExhausted`].
    pub fn add_dek(&self, now: UnixTime) -> Result<Self, KeysError> {
        let mut contents = self.contents.clone();
        if contents.deks.len() == DEK_COUNT_MAX {
            let oldest = contents
                .deks
                .iter()
                .position(|dek| dek.state == DekState::Destroyed);
            contents.deks.remove(oldest.ok_or(KeysError::Full)?);
        }
        for dek in contents
            .deks
            .iter_mut()
            .filter(|dek| dek.state == DekState::Active)
        {
            dek.state = DekState::Retiring;
            dek.retired_at = now.seconds;
        }
        let newest = contents
            .deks
            .last()
            .expect("the active data key was not removed")
            .id;
        let id = newest.next().ok_or(KeysError::Full)?;
        contents.deks.push(new_dek(
            id,
            contents.suite.layers(),
            contents.store,
            &self.roots,
            now,
        )?);
        contents.active_dek = id;
        self.successor(contents)
    }

    /// Destroys a retiring data key: whatever is still sealed under it can never be opened again.
    ///
    /// # Errors
    ///
    /// [`KeysError::UnknownDek`], [`KeysError::DekNotRetiring`], [`KeysError::SequenceExhausted`].
    pub fn destroy_dek(&self, id: DekId, now: UnixTime) -> Result<Self, KeysError> {
        let mut contents = self.contents.clone();
        let dek = contents
            .deks
            .iter_mut()
            .find(|dek| dek.id == id)
            .ok_or(KeysError::UnknownDek { id })?;
        if dek.state != DekState::Retiring {
            return Err(KeysError::DekNotRetiring { id });
        }
        dek.state = DekState::Destroyed;
        dek.destroyed_at = now.seconds;
        dek.layers
            .iter_mut()
            .for_each(|layer| layer.wrapped = [0; WRAPPED_DEK_LEN]);
        self.successor(contents)
    }

    /// Declares this keyring, restored from an older copy, the valid one: its sequence goes past every sequence
    /// seen before, and its incarnation counts the event.
    ///
    /// # Errors
    ///
    /// [`KeysError::SequenceExhausted`].
    pub fn accept_rollback(&self, seen: Sequence) -> Result<Self, KeysError> {
        let mut contents = self.contents.clone();
        contents.sequence = contents.sequence.max(seen);
        contents.incarnation = contents
            .incarnation
            .checked_add(1)
            .ok_or(KeysError::SequenceExhausted)?;
        self.successor(contents)
    }

    /// The store.
    pub fn store_id(&self) -> StoreId {
        self.contents.store
    }

    /// The policy.
    pub fn suite(&self) -> Suite {
        self.contents.suite
    }

    /// How often this store's keyring was written.
    pub fn sequence(&self) -> Sequence {
        self.contents.sequence
    }

    /// How often a restored copy was accepted, from 1.
    pub fn incarnation(&self) -> u64 {
        self.contents.incarnation
    }

    /// When the store was made, in seconds since 1970.
    pub fn created_at(&self) -> u64 {
        self.contents.created_at
    }

    /// The data key that new pages are sealed under.
    pub fn active_dek(&self) -> DekId {
        self.contents.active_dek
    }

    /// The wrapped roots, sorted by layer.
    pub fn wraps(&self) -> &[RootWrap] {
        &self.contents.wraps
    }

    /// The data keys, oldest first.
    pub fn deks(&self) -> &[DekRecord] {
        &self.contents.deks
    }

    fn root(&self, layer: Layer) -> Option<&Secret<32>> {
        let index = self
            .contents
            .suite
            .layers()
            .iter()
            .position(|&candidate| candidate == layer)?;
        self.roots.get(index)
    }

    fn successor(&self, mut contents: Contents) -> Result<Self, KeysError> {
        contents.sequence = contents.sequence.next()?;
        assert!(contents.sequence > self.contents.sequence, "invariant 3");
        Self::new(contents, self.roots.iter().map(Secret::duplicate).collect())
    }

    fn new(contents: Contents, roots: Vec<Secret<32>>) -> Result<Self, KeysError> {
        let body = contents.encode()?;
        let mut slot = Box::new([0; KEYRING_LEN]);
        slot[..body.len()].copy_from_slice(&body);
        let mut end = body.len();
        for (&layer, root) in contents.suite.layers().iter().zip(&roots) {
            slot[end..end + MAC_LEN]
                .copy_from_slice(keyring_mac(root, layer, contents.store, &body).as_ref());
            end += MAC_LEN;
        }
        let (read_back, _) = Contents::parse(&slot).expect("what is encoded here parses");
        assert!(read_back == contents, "what is encoded here reads back");
        Ok(Self {
            contents,
            roots,
            slot,
        })
    }
}

/// Two layers under one key would be one wall.
fn check_apart(wraps: &[RootWrap], layer: Layer, key: &KeyUri) -> Result<(), KeysError> {
    if wraps
        .iter()
        .any(|wrap| wrap.layer != layer && wrap.key == *key)
    {
        return Err(KeysError::SameKeyTwice { key: key.clone() });
    }
    Ok(())
}

fn keyring_mac(root: &Secret<32>, layer: Layer, store: StoreId, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&derive::mac_key(root, layer, store));
    context.update(LABEL_KEYRING_MAC);
    context.update(body);
    context.sign()
}

#[cfg(test)]
mod tests;
