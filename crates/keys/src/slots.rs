//! The two slots in which a store keeps its keyring.

use crate::encoding::is_zero;
use crate::{
    DataKeys, KEYRING_LEN, Keyring, KeysError, Pins, Sequence, UncheckedKeyring, VaultSet,
};

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    Zero,
    /// The second.
    One,
}

impl Slot {
    /// 0 or 1.
    pub const fn index(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::One => 1,
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }
}

/// Both slots as read from disk.
pub struct KeyringSlots([Content; 2]);

enum Content {
    Blank,
    Damaged(KeysError),
    Parsed(UncheckedKeyring),
}

/// A store's keyring, and what the other slot holds.
pub struct Unlocked {
    /// The newest authentic keyring.
    pub keyring: Keyring,
    /// Its keys.
    pub data_keys: DataKeys,
    /// Where it stands. The next one is written to the other slot.
    pub slot: Slot,
    /// What the other slot holds.
    pub other: OtherSlot,
}

/// What the slot holds that was not chosen.
///
/// After [`OtherSlot::Damaged`] or [`OtherSlot::NotAuthentic`] the chosen keyring may be an older one than
/// the last that was durable: compare [`Keyring::sequence`] with what the audit log has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherSlot {
    /// Zeros: no second keyring was ever written.
    Blank,
    /// No keyring: a torn write, or damage.
    Damaged(KeysError),
    /// A keyring that claims to be newer, or as new, and was made without this store's keys: a torn write, damage or forgery.
    NotAuthentic {
        /// The sequence it claims.
        claimed: Sequence,
    },
    /// A keyring that claims to be older. It was not authenticated.
    Older {
        /// The sequence it claims.
        claimed: Sequence,
    },
    /// The same bytes.
    Same,
}

impl KeyringSlots {
    /// Reads both slots.
    pub fn parse(zero: &[u8; KEYRING_LEN], one: &[u8; KEYRING_LEN]) -> Self {
        Self([zero, one].map(|slot| {
            if is_zero(slot) {
                return Content::Blank;
            }
            UncheckedKeyring::parse(slot).map_or_else(Content::Damaged, Content::Parsed)
        }))
    }

    /// The slots that hold a keyring's structure, the one that claims to be newest first.
    pub fn candidates(&self) -> Vec<(Slot, &UncheckedKeyring)> {
        let mut candidates: Vec<_> = [Slot::Zero, Slot::One]
            .into_iter()
            .filter_map(|slot| match &self.0[slot.index()] {
                Content::Parsed(keyring) => Some((slot, keyring)),
                Content::Blank | Content::Damaged(_) => None,
            })
            .collect();
        candidates.sort_by_key(|(_, keyring)| std::cmp::Reverse(keyring.sequence()));
        candidates
    }

    /// Unlocks the newest authentic keyring.
    ///
    /// The older slot is used only when its roots prove that the newer slot's bytes are not authentic, as after a torn
    /// write. A newer keyring that is authentic and cannot be unlocked, because its vault refuses, is the answer.
    ///
    /// # Errors
    ///
    /// [`KeysError::NoKeyring`] when neither slot has a keyring's structure; [`KeysError::TwoKeyrings`] when both are
    /// authentic, equally new and different; otherwise why the newest does not unlock
    /// ([`UncheckedKeyring::unlock`]).
    pub fn unlock(&self, vaults: &dyn VaultSet, pins: &Pins) -> Result<Unlocked, KeysError> {
        let candidates = self.candidates();
        let (&(first_slot, first), second) = match candidates.as_slice() {
            [] => return Err(KeysError::NoKeyring),
            [only] => (only, None),
            [newest, older, ..] => (newest, Some(*older)),
        };
        match (first.unlock(vaults, pins), second) {
            (Ok((keyring, data_keys)), None) => {
                let other = match &self.0[first_slot.other().index()] {
                    Content::Damaged(error) => OtherSlot::Damaged(error.clone()),
                    Content::Blank | Content::Parsed(_) => OtherSlot::Blank,
                };
                Ok(Unlocked {
                    keyring,
                    data_keys,
                    slot: first_slot,
                    other,
                })
            }
            (Ok((keyring, data_keys)), Some((_, second))) => {
                let other = compare(&keyring, second)?;
                Ok(Unlocked {
                    keyring,
                    data_keys,
                    slot: first_slot,
                    other,
                })
            }
            (Err(error), None) => Err(error),
            // Once a keyring was replaced everywhere, both slots hold it: to ask again is a call for nothing, and between two calls the
            // vault's answer may change.
            (Err(error), Some((_, second))) if first.slot() == second.slot() => Err(error),
            (Err(error), Some((slot, second))) => {
                // What the caller is told is why the newest did not unlock, unless the newest is proven false.
                let Ok((keyring, data_keys)) = second.unlock(vaults, pins) else {
                    return Err(error);
                };
                if first.is_vouched_for_by(&keyring) {
                    return Err(error);
                }
                let other = OtherSlot::NotAuthentic {
                    claimed: first.sequence(),
                };
                Ok(Unlocked {
                    keyring,
                    data_keys,
                    slot,
                    other,
                })
            }
        }
    }
}

/// What the other slot is to a keyring that claims to be no older.
fn compare(chosen: &Keyring, other: &UncheckedKeyring) -> Result<OtherSlot, KeysError> {
    let claimed = other.sequence();
    if other.slot() == chosen.encode() {
        Ok(OtherSlot::Same)
    } else if claimed < chosen.sequence() {
        Ok(OtherSlot::Older { claimed })
    } else if other.is_vouched_for_by(chosen) {
        Err(KeysError::TwoKeyrings { sequence: claimed })
    } else {
        Ok(OtherSlot::NotAuthentic { claimed })
    }
}

#[cfg(test)]
mod tests;
