//! AES key wrap: RFC 3394, and RFC 5649 with padding, for all three sizes of AES key.
//!
//! aws-lc-rs wraps under keys of 128 and 256 bits; the service has 192 as well, so the construction stands here on
//! the block cipher of aws-lc-rs, and a test holds it against the module where both can.

use aws_lc_rs::cipher::{DecryptingKey, DecryptionContext, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::oct::block_cipher;

/// The initial value of RFC 3394 section 2.2.3.1.
const WHOLE: [u8; 8] = [0xa6; 8];
/// The constant of RFC 5649 section 3, before the length.
const PADDED: [u8; 4] = [0xa6, 0x59, 0x59, 0xa6];
/// More than any key; RFC 5649 would allow 2^32.
const INPUT_LEN_MAX: usize = 1 << 20;

/// The input cannot be wrapped or does not unwrap under this key.
#[derive(Debug, PartialEq, Eq)]
pub struct NotWrapped;

/// Wraps `input`, a multiple of eight bytes and at least sixteen, as RFC 3394 has it.
///
/// # Errors
/// Another length.
pub fn wrap(key: &[u8], input: &[u8]) -> Result<Vec<u8>, NotWrapped> {
    if input.len() < 16 || !input.len().is_multiple_of(8) || input.len() > INPUT_LEN_MAX {
        return Err(NotWrapped);
    }
    wrap_blocks(&Blocks::new(key)?, WHOLE, input)
}

/// The opposite of [`wrap`].
///
/// # Errors
/// Anything that was not wrapped under this key.
pub fn unwrap(key: &[u8], input: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotWrapped> {
    if input.len() < 24 || !input.len().is_multiple_of(8) || input.len() > INPUT_LEN_MAX {
        return Err(NotWrapped);
    }
    let (start, output) = unwrap_blocks(&Blocks::new(key)?, input)?;
    verify_slices_are_equal(&start, &WHOLE).map_err(|_| NotWrapped)?;
    Ok(output)
}

/// Wraps `input` of any length but zero, as RFC 5649 has it.
///
/// # Errors
/// No input, or too much of it.
pub fn wrap_padded(key: &[u8], input: &[u8]) -> Result<Vec<u8>, NotWrapped> {
    if input.is_empty() || input.len() > INPUT_LEN_MAX {
        return Err(NotWrapped);
    }
    let mut start = [0; 8];
    start[..4].copy_from_slice(&PADDED);
    start[4..].copy_from_slice(&(input.len() as u32).to_be_bytes());
    let mut padded = Zeroizing::new(input.to_vec());
    padded.resize(input.len().next_multiple_of(8), 0);
    let blocks = Blocks::new(key)?;
    if padded.len() == 8 {
        // Section 4.1: what fits in one block is one block.
        let mut block = [0; 16];
        block[..8].copy_from_slice(&start);
        block[8..].copy_from_slice(&padded);
        blocks.encrypt(&mut block)?;
        return Ok(block.to_vec());
    }
    wrap_blocks(&blocks, start, &padded)
}

/// The opposite of [`wrap_padded`].
///
/// # Errors
/// Anything that was not wrapped under this key.
pub fn unwrap_padded(key: &[u8], input: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotWrapped> {
    if input.len() < 16 || !input.len().is_multiple_of(8) || input.len() > INPUT_LEN_MAX + 16 {
        return Err(NotWrapped);
    }
    let blocks = Blocks::new(key)?;
    let (start, mut output) = match <[u8; 16]>::try_from(input) {
        Ok(mut block) => {
            blocks.decrypt(&mut block)?;
            let (start, rest) = block.split_at(8);
            (
                start.try_into().map_err(|_| NotWrapped)?,
                Zeroizing::new(rest.to_vec()),
            )
        }
        Err(_) => unwrap_blocks(&blocks, input)?,
    };
    let length = u32::from_be_bytes([start[4], start[5], start[6], start[7]]) as usize;
    // Section 3: the length lies within the last block and the padding is zero.
    let fits = length <= output.len() && length + 8 > output.len();
    let zeros = fits && output[length..].iter().fold(0, |all, byte| all | byte) == 0;
    if start[..4] != PADDED || !zeros {
        return Err(NotWrapped);
    }
    output.truncate(length);
    Ok(output)
}

/// RFC 3394 section 2.2.1, by index.
fn wrap_blocks(blocks: &Blocks, start: [u8; 8], input: &[u8]) -> Result<Vec<u8>, NotWrapped> {
    let mut register = start;
    let mut output = [&[0; 8], input].concat();
    let count = input.len() / 8;
    for step in 1..=6 * count {
        let at = 8 * ((step - 1) % count + 1);
        let mut block = [0; 16];
        block[..8].copy_from_slice(&register);
        block[8..].copy_from_slice(&output[at..at + 8]);
        blocks.encrypt(&mut block)?;
        register.copy_from_slice(&block[..8]);
        xor_counter(&mut register, step);
        output[at..at + 8].copy_from_slice(&block[8..]);
    }
    output[..8].copy_from_slice(&register);
    Ok(output)
}

/// RFC 3394 section 2.2.2, by index.
fn unwrap_blocks(
    blocks: &Blocks,
    input: &[u8],
) -> Result<([u8; 8], Zeroizing<Vec<u8>>), NotWrapped> {
    let mut register = [0; 8];
    register.copy_from_slice(&input[..8]);
    let mut output = Zeroizing::new(input[8..].to_vec());
    let count = output.len() / 8;
    for step in (1..=6 * count).rev() {
        let at = 8 * ((step - 1) % count);
        xor_counter(&mut register, step);
        let mut block = Zeroizing::new([0; 16]);
        block[..8].copy_from_slice(&register);
        block[8..].copy_from_slice(&output[at..at + 8]);
        blocks.decrypt(&mut block)?;
        register.copy_from_slice(&block[..8]);
        output[at..at + 8].copy_from_slice(&block[8..]);
    }
    Ok((register, output))
}

fn xor_counter(register: &mut [u8; 8], step: usize) {
    for (byte, counter) in register.iter_mut().zip((step as u64).to_be_bytes()) {
        *byte ^= counter;
    }
}

/// AES on single blocks.
struct Blocks {
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

impl Blocks {
    fn new(key: &[u8]) -> Result<Blocks, NotWrapped> {
        let algorithm = block_cipher(key.len()).ok_or(NotWrapped)?;
        let unbound = || UnboundCipherKey::new(algorithm, key);
        Ok(Blocks {
            encrypting: unbound()
                .and_then(EncryptingKey::ecb)
                .map_err(|_| NotWrapped)?,
            decrypting: unbound()
                .and_then(DecryptingKey::ecb)
                .map_err(|_| NotWrapped)?,
        })
    }

    fn encrypt(&self, block: &mut [u8; 16]) -> Result<(), NotWrapped> {
        self.encrypting
            .encrypt(block)
            .map(|_| ())
            .map_err(|_| NotWrapped)
    }

    fn decrypt(&self, block: &mut [u8; 16]) -> Result<(), NotWrapped> {
        let none = DecryptionContext::None;
        self.decrypting
            .decrypt(block, none)
            .map(|_| ())
            .map_err(|_| NotWrapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrap, KeyWrapPadded};

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// Goal: every vector of RFC 3394 section 4, both ways, and no flipped bit unwraps.
    #[test]
    fn rfc_3394_section_4() {
        let key = hex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F");
        let data = hex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
        for (key_len, data_len, expected) in [
            (16, 16, "1FA68B0A8112B447 AEF34BD8FB5A7B82 9D3E862371D2CFE5"),
            (24, 16, "96778B25AE6CA435 F92B5B97C050AED2 468AB8A17AD84E5D"),
            (32, 16, "64E8C3F9CE0F5BA2 63E9777905818A2A 93C8191E7D6E8AE7"),
            (
                24,
                24,
                "031D33264E15D332 68F24EC260743EDC E1C6C7DDEE725A93 6BA814915C6762D2",
            ),
            (
                32,
                24,
                "A8F9BC1612C68B3F F6E6F4FBE30E71E4 769C8B80A32CB895 8CD5D17D6B254DA1",
            ),
            (
                32,
                32,
                "28C9F404C4B810F4 CBCCB35CFB87F826 3F5786E2D80ED326 CBC7F0E71A99F43B FB988B9B7A02DD21",
            ),
        ] {
            let wrapped = wrap(&key[..key_len], &data[..data_len]).unwrap();
            assert_eq!(wrapped, hex(expected));
            assert_eq!(
                *unwrap(&key[..key_len], &wrapped).unwrap(),
                data[..data_len]
            );
            for bit in 0..wrapped.len() * 8 {
                let mut flipped = wrapped.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(unwrap(&key[..key_len], &flipped), Err(NotWrapped));
            }
        }
    }

    /// Goal: both vectors of RFC 5649 section 6, both ways.
    #[test]
    fn rfc_5649_section_6() {
        let key = hex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
        for (data, expected) in [
            (
                "c37b7e6492584340bed12207808941155068f738",
                "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
            ),
            ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
        ] {
            let wrapped = wrap_padded(&key, &hex(data)).unwrap();
            assert_eq!(wrapped, hex(expected));
            assert_eq!(*unwrap_padded(&key, &wrapped).unwrap(), hex(data));
            for bit in 0..wrapped.len() * 8 {
                let mut flipped = wrapped.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(unwrap_padded(&key, &flipped), Err(NotWrapped));
            }
        }
    }

    /// Goal: the module gives the same bytes wherever it can be asked.
    #[test]
    fn the_module_agrees() {
        for key_len in [16, 32] {
            let key: Vec<u8> = (0..key_len as u8).collect();
            let kek =
                || AesKek::new(if key_len == 16 { &AES_128 } else { &AES_256 }, &key).unwrap();
            for length in 1..=80 {
                let data: Vec<u8> = (0..length).map(|byte| byte ^ 0x5a).collect();
                let mut output = [0; 112];
                let theirs = kek().wrap_with_padding(&data, &mut output).unwrap();
                assert_eq!(wrap_padded(&key, &data).unwrap(), theirs);
                if length >= 16 && length % 8 == 0 {
                    let theirs = kek().wrap(&data, &mut output).unwrap();
                    assert_eq!(wrap(&key, &data).unwrap(), theirs);
                }
            }
        }
    }

    /// Goal: lengths that cannot be are refused, not indexed.
    #[test]
    fn impossible_lengths_are_refused() {
        for length in [0, 1, 7, 8, 9, 15, 17] {
            assert_eq!(
                wrap(&[0; 16], &vec![0; length]),
                Err(NotWrapped),
                "{length}"
            );
            assert_eq!(
                unwrap(&[0; 16], &vec![0; length]),
                Err(NotWrapped),
                "{length}"
            );
            assert_eq!(
                unwrap_padded(&[0; 16], &vec![0; length]),
                Err(NotWrapped),
                "{length}"
            );
        }
        assert_eq!(unwrap(&[0; 16], &[0; 16]), Err(NotWrapped));
        assert_eq!(wrap_padded(&[0; 16], &[]), Err(NotWrapped));
        assert_eq!(wrap(&[0; 17], &[0; 16]), Err(NotWrapped));
    }
}
