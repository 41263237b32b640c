//! ChaCha20-Poly1305 (RFC 8439 section 2.8) from RustCrypto's `chacha20` and `poly1305`.
//!
//! The crate that joins the two asks the cipher for single blocks: one for the key of the MAC, one
//! for the rest of the message. Where the cipher works on sixteen blocks at a time, a single block
//! takes three times as long as sixteen of them (`benches/src/bin/cipher.rs` shows the effect). This
//! file asks for sixteen and no less. The tests hold it against that crate and against Project
//! Wycheproof.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use poly1305::Poly1305;
use poly1305::universal_hash::{KeyInit, UniversalHash};
use zeroize::Zeroize;

use super::TagMismatch;
use crate::slot::{IV_LEN, TAG_LEN};

/// Seals a message where it lies, and returns the tag.
pub(super) fn seal_in_place(
    key: &[u8; 32],
    iv: &[u8; IV_LEN],
    aad: &[u8],
    message: &mut [u8],
) -> [u8; TAG_LEN] {
    let mut stream = KeyStream::new(key, iv);
    let mac = stream.mac();
    stream.apply(message);
    authenticate(mac, aad, message).finalize().into()
}

/// Opens a message where it lies. It stays as it is unless the tag matches.
pub(super) fn open_in_place(
    key: &[u8; 32],
    iv: &[u8; IV_LEN],
    aad: &[u8],
    tag: &[u8; TAG_LEN],
    message: &mut [u8],
) -> Result<(), TagMismatch> {
    let mut stream = KeyStream::new(key, iv);
    let mac = stream.mac();
    // Takes the same time wherever the tags differ.
    authenticate(mac, aad, message)
        .verify(tag.into())
        .map_err(|_| TagMismatch)?;
    stream.apply(message);
    Ok(())
}

/// Key stream from block 0 on, of which the first chunk has been drawn.
struct KeyStream {
    cipher: ChaCha20,
    first: Chunk,
}

impl KeyStream {
    fn new(key: &[u8; 32], iv: &[u8; IV_LEN]) -> KeyStream {
        let mut stream = KeyStream {
            cipher: ChaCha20::new(key.into(), iv.into()),
            first: Chunk([0; CHUNK_LEN]),
        };
        stream.cipher.apply_keystream(&mut stream.first.0);
        stream
    }

    /// The MAC, whose key is the first half of block 0. The other half is not used for anything.
    fn mac(&self) -> Poly1305 {
        let key: &[u8; 32] = self.first.0.first_chunk().expect("a chunk is longer");
        Poly1305::new(key.into())
    }

    /// Applies the key stream from block 1 on. Done once: the stream goes on from there.
    fn apply(&mut self, message: &mut [u8]) {
        let head_len = message.len().min(CHUNK_LEN - BLOCK_LEN);
        let (head, rest) = message.split_at_mut(head_len);
        xor(head, &self.first.0[BLOCK_LEN..]);
        let (chunks, tail) = rest.split_at_mut(rest.len() / CHUNK_LEN * CHUNK_LEN);
        self.cipher.apply_keystream(chunks);
        if !tail.is_empty() {
            let mut last = Chunk([0; CHUNK_LEN]);
            self.cipher.apply_keystream(&mut last.0);
            xor(tail, &last.0);
        }
    }
}

/// Sixteen blocks of key stream.
struct Chunk([u8; CHUNK_LEN]);

impl Drop for Chunk {
    /// As one slice: an array would be wiped byte by byte, which takes longer than drawing the chunk.
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

fn xor(message: &mut [u8], stream: &[u8]) {
    for (byte, key) in message.iter_mut().zip(stream) {
        *byte ^= key;
    }
}

/// AAD and ciphertext, each padded to whole blocks, and their lengths.
fn authenticate(mut mac: Poly1305, aad: &[u8], ciphertext: &[u8]) -> Poly1305 {
    let mut lengths = [0; 16];
    lengths[..8].copy_from_slice(&(aad.len() as u64).to_le_bytes());
    lengths[8..].copy_from_slice(&(ciphertext.len() as u64).to_le_bytes());
    mac.update_padded(aad);
    mac.update_padded(ciphertext);
    mac.update_padded(&lengths);
    mac
}

const BLOCK_LEN: usize = 64;
const CHUNK_LEN: usize = 16 * BLOCK_LEN;
