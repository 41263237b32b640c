//! Passphrases, and the keys that they become.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params};
use cofferdam_keys::{KeyUri, Secret};
use zeroize::{Zeroize, Zeroizing};

use crate::key_file::Protection;

/// Gives the passphrase of a key, or `None` when there is none to give.
pub type PassphraseSource = Arc<dyn Fn(&KeyUri) -> Option<Zeroizing<String>> + Send + Sync>;

/// The most bytes that a passphrase has.
pub const PASSPHRASE_LEN_MAX: usize = 1024;

/// How expensive a guess at a passphrase is. Too cheap is refused, and so is what would exhaust the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Parameters {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Parameters {
    /// The second recommendation of RFC 9106 section 4, which fits into small machines: 64 MiB, 3 passes, 4 lanes.
    pub const RECOMMENDED: Self = Self {
        memory_kib: 65536,
        passes: 3,
        lanes: 4,
    };

    /// Memory in KiB (65536…1048576), passes (3…16) and lanes (1…4), or `None` when one is out of range.
    pub const fn new(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let fits = memory_kib >= 65536
            && memory_kib <= 1_048_576
            && passes >= 3
            && passes <= 16
            && lanes >= 1
            && lanes <= 4;
        if fits {
            Some(Self {
                memory_kib,
                passes,
                lanes,
            })
        } else {
            None
        }
    }

    /// Memory in KiB.
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes of the memory.
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }
}

/// What Argon2id makes of a passphrase, with the protection that it was made for.
pub(crate) struct PassphraseKey {
    protection: Protection,
    secret: Secret<32>,
}

impl PassphraseKey {
    /// Costs what the parameters say. `None` when the system does not give the memory.
    pub(crate) fn derive(passphrase: &str, protection: &Protection) -> Option<Self> {
        let Argon2Parameters {
            memory_kib,
            passes,
            lanes,
        } = protection.parameters;
        let parameters = Params::new(memory_kib, passes, lanes, Some(32))
            .expect("the ranges are within Argon2's");
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(parameters.block_count()).ok()?;
        blocks.resize(parameters.block_count(), Block::new());
        let argon2 = Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, parameters);
        let secret = Secret::try_fill_with(|place| {
            argon2.hash_password_into_with_memory(
                passphrase.as_bytes(),
                &protection.salt,
                place,
                &mut blocks,
            )
        });
        blocks.zeroize();
        Some(Self {
            protection: *protection,
            secret: secret.expect("lengths are within Argon2's limits"),
        })
    }

    /// Whether the key belongs to this salt and these parameters.
    pub(crate) fn is_for(&self, protection: &Protection) -> bool {
        self.protection == *protection && !self.secret.is_wiped()
    }

    pub(crate) fn secret(&self) -> &Secret<32> {
        &self.secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_a_floor_and_a_ceiling() {
        for (memory_kib, passes, lanes) in [
            (65535, 3, 1),
            (1_048_577, 3, 1),
            (65536, 2, 1),
            (65536, 17, 1),
            (65536, 3, 0),
            (65536, 3, 5),
            (u32::MAX, u32::MAX, u32::MAX),
        ] {
            assert_eq!(Argon2Parameters::new(memory_kib, passes, lanes), None);
        }
        assert!(Argon2Parameters::new(1_048_576, 16, 4).is_some());
    }
}
