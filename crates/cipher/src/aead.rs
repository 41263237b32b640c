//! The three algorithms, each under one derived key. Nothing outside this file names a cipher.

use aegis::aegis256x2::Aegis256X2;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use cofferdam_keys::{Algorithm, Secret};
use zeroize::Zeroizing;

use crate::slot::{IV_LEN, TAG_LEN};
use crate::stack::wash;

mod chacha20_poly1305;

/// What a page or value is really sealed with: an algorithm under a key derived for one salt.
///
/// Every variant wipes its key on drop. Boxed keys do not leave copies behind when they are moved.
pub(crate) enum Subkey {
    Aes256Gcm(Box<LessSafeKey>),
    ChaCha20Poly1305(Box<Zeroizing<[u8; 32]>>),
    Aegis256X2(Box<Zeroizing<[u8; 32]>>),
}

/// A tag did not match.
pub(crate) struct TagMismatch;

impl Subkey {
    pub(crate) fn new(algorithm: Algorithm, key: &Secret<32>) -> Subkey {
        let subkey = Subkey::make(algorithm, key);
        wash::<MAKING_STACK>();
        subkey
    }

    #[inline(never)]
    fn make(algorithm: Algorithm, key: &Secret<32>) -> Subkey {
        // Filled where it stays.
        let boxed = || {
            let mut boxed: Box<Zeroizing<[u8; 32]>> = Box::default();
            boxed.copy_from_slice(key.expose());
            boxed
        };
        match algorithm {
            Algorithm::Aes256Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, key.expose())
                    .expect("the key has the length that AES-256 asks for");
                Subkey::Aes256Gcm(Box::new(LessSafeKey::new(key)))
            }
            Algorithm::ChaCha20Poly1305 => Subkey::ChaCha20Poly1305(boxed()),
            Algorithm::Aegis256X2 => Subkey::Aegis256X2(boxed()),
        }
    }

    /// Seals `plaintext` into `ciphertext`, of the same length, and writes the tag.
    ///
    /// AES-256-GCM reads each byte of the plaintext once and authenticates what it wrote, so that a
    /// page that changes under its hands yields a frame that opens to some mix of both, like a
    /// plain write would.
    pub(crate) fn seal(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8],
    ) {
        if let Subkey::Aes256Gcm(key) = self {
            let nonce = Nonce::assume_unique_for_key(*iv);
            key.seal_out_of_place_scatter(nonce, Aad::from(aad), plaintext, ciphertext, &[], tag)
                .expect("buffers fit each other, and a page is far below GCM's limit");
        } else {
            ciphertext.copy_from_slice(plaintext);
            tag.copy_from_slice(&self.seal_in_place(iv, aad, ciphertext));
        }
    }

    /// Seals a message where it lies, and returns the tag. What it leaves on the stack is the caller's to [`wash_after_use`].
    // Not inlined, so that what it leaves is below the caller.
    #[inline(never)]
    pub(crate) fn seal_in_place(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        message: &mut [u8],
    ) -> [u8; TAG_LEN] {
        match self {
            Subkey::Aes256Gcm(key) => {
                let nonce = Nonce::assume_unique_for_key(*iv);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(aad), message)
                    .expect("a message is far below GCM's limit");
                tag.as_ref().try_into().expect("GCM's tag has 16 bytes")
            }
            Subkey::ChaCha20Poly1305(key) => {
                chacha20_poly1305::seal_in_place(key, iv, aad, message)
            }
            Subkey::Aegis256X2(key) => {
                Aegis256X2::<TAG_LEN>::new(key, &aegis_nonce(iv)).encrypt_in_place(message, aad)
            }
        }
    }

    /// Opens a ciphertext that lies in two parts into `plaintext`, whose length is that of both.
    ///
    /// On a mismatch the content of `plaintext` is unspecified; the caller wipes it, and the stack as after sealing.
    #[inline(never)]
    pub(crate) fn open(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        ciphertext: [&[u8]; 2],
        tag: &[u8; TAG_LEN],
        plaintext: &mut [u8],
    ) -> Result<(), TagMismatch> {
        let [first, second] = ciphertext;
        assert!(plaintext.len() == first.len() + second.len());
        match self {
            Subkey::Aes256Gcm(key) => {
                let nonce = Nonce::assume_unique_for_key(*iv);
                let aad = Aad::from(aad);
                if second.is_empty() {
                    return key
                        .open_separate_gather(nonce, aad, first, tag, plaintext)
                        .map_err(|_| TagMismatch);
                }
                gather(first, second, plaintext);
                key.open_in_place_separate_tag(nonce, aad, tag, plaintext)
                    .map(|_| ())
                    .map_err(|_| TagMismatch)
            }
            Subkey::ChaCha20Poly1305(key) => {
                gather(first, second, plaintext);
                chacha20_poly1305::open_in_place(key, iv, aad, tag, plaintext)
            }
            Subkey::Aegis256X2(key) => {
                let cipher = Aegis256X2::<TAG_LEN>::new(key, &aegis_nonce(iv));
                let mut decryptor = cipher.decryptor(aad, plaintext);
                decryptor.update(first).map_err(|_| TagMismatch)?;
                decryptor.update(second).map_err(|_| TagMismatch)?;
                decryptor.finalize(tag).map(|_| ()).map_err(|_| TagMismatch)
            }
        }
    }
}

/// Overwrites what sealing and opening left on the stack. AES-256-GCM works on the key where it lies; the other two copy it.
pub(crate) fn wash_after_use(algorithms: impl IntoIterator<Item = Algorithm>) {
    let copies = |algorithm| algorithm != Algorithm::Aes256Gcm;
    if algorithms.into_iter().any(copies) {
        wash::<USING_STACK>();
    }
}

fn gather(first: &[u8], second: &[u8], whole: &mut [u8]) {
    let (head, tail) = whole.split_at_mut(first.len());
    head.copy_from_slice(first);
    tail.copy_from_slice(second);
}

/// AEGIS-256X2 takes 32 bytes. The key is fresh for every salt, so 12 random ones are enough.
fn aegis_nonce(iv: &[u8; IV_LEN]) -> [u8; 32] {
    let mut nonce = [0; 32];
    nonce[..IV_LEN].copy_from_slice(iv);
    nonce
}

/// More than making a key takes of the stack, key expansion included.
const MAKING_STACK: usize = 16 * 1024;
/// More than a cipher takes of the stack: chunks of key stream, states, and what the compiler spills. `tests/tests/key_wipe.rs` finds
/// out when it is not enough. Builds for debugging spill more.
const USING_STACK: usize = if cfg!(debug_assertions) { 64 } else { 12 } * 1024;

#[cfg(test)]
mod tests;
