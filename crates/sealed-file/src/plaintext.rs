//! Memory for what SQLite wrote or reads.

use std::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// Bytes that are wiped when they go, all of the memory at once.
///
/// `Zeroizing<Vec<u8>>` wipes byte by byte, which takes longer than sealing them.
#[derive(Default)]
pub(crate) struct Plaintext(Vec<u8>);

impl Plaintext {
    /// The first bytes, as many as there should be, the new ones zero.
    ///
    /// A vector that grows by itself would leave copies behind; this one wipes what it leaves.
    pub(crate) fn resize(&mut self, len: usize) {
        if len > self.0.capacity() {
            let mut larger = Vec::with_capacity(len.next_power_of_two());
            larger.extend_from_slice(&self.0);
            *self = Plaintext(larger);
        }
        self.0.resize(len, 0);
    }
}

impl Drop for Plaintext {
    fn drop(&mut self) {
        // What is beyond the length is wiped as one piece.
        self.0.clear();
        self.0.zeroize();
    }
}

impl Deref for Plaintext {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Plaintext {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
