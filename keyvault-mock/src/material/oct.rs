//! Symmetric keys: AES-GCM, AES-CBC with and without padding, AES key wrap, and HMAC.
//!
//! The service makes the initialisation vectors of AES-GCM itself, so that none is used twice; so does this one, and
//! refuses a caller's.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    self, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext,
    PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use zeroize::Zeroizing;

use super::{Cipher, Ciphered, incompatible, incorrect, keywrap, module_failed};
use crate::error::Refusal;

const BLOCK_LEN: usize = 16;

/// A symmetric key of 128, 192 or 256 bits.
pub struct OctKey(Zeroizing<Vec<u8>>);

impl OctKey {
    /// A new key.
    ///
    /// # Errors
    /// Another size.
    pub fn generate(bits: u32) -> Result<OctKey, Refusal> {
        if !matches!(bits, 128 | 192 | 256) {
            return Err(Refusal::bad_property("key_size"));
        }
        let mut bytes = Zeroizing::new(vec![0; bits as usize / 8]);
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| module_failed())?;
        Ok(OctKey(bytes))
    }

    /// The key of these bytes.
    ///
    /// # Errors
    /// Another length than 16, 24 or 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<OctKey, Refusal> {
        match bytes.len() {
            16 | 24 | 32 => Ok(OctKey(Zeroizing::new(bytes.to_vec()))),
            _ => Err(Refusal::bad_property("k")),
        }
    }

    /// The size in bits.
    pub fn bits(&self) -> u32 {
        self.0.len() as u32 * 8
    }

    pub(super) fn encrypt(&self, input: &Cipher<'_>) -> Result<Ciphered, Refusal> {
        match self.family(input.algorithm)? {
            "GCM" => self.encrypt_gcm(input),
            "CBC" => self.encrypt_cbc(input, false),
            "CBCPAD" => self.encrypt_cbc(input, true),
            _ => Err(incompatible(input.algorithm, "oct")),
        }
    }

    pub(super) fn decrypt(&self, input: &Cipher<'_>) -> Result<Ciphered, Refusal> {
        match self.family(input.algorithm)? {
            "GCM" => self.decrypt_gcm(input),
            "CBC" => self.decrypt_cbc(input, false),
            "CBCPAD" => self.decrypt_cbc(input, true),
            _ => Err(incompatible(input.algorithm, "oct")),
        }
    }

    pub(super) fn wrap(&self, algorithm: &str, value: &[u8]) -> Result<Vec<u8>, Refusal> {
        let wrapped = match self.family(algorithm)? {
            "KW" => keywrap::wrap(&self.0, value),
            "KWP" => keywrap::wrap_padded(&self.0, value),
            _ => return Err(incompatible(algorithm, "oct")),
        };
        wrapped.map_err(|_| {
            Refusal::bad_parameter("The value's length cannot be wrapped with this algorithm.")
        })
    }

    pub(super) fn unwrap(&self, algorithm: &str, value: &[u8]) -> Result<Vec<u8>, Refusal> {
        let unwrapped = match self.family(algorithm)? {
            "KW" => keywrap::unwrap(&self.0, value),
            "KWP" => keywrap::unwrap_padded(&self.0, value),
            _ => return Err(incompatible(algorithm, "oct")),
        };
        unwrapped.map(|key| key.to_vec()).map_err(|_| incorrect())
    }

    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let key = hmac::Key::new(mac(algorithm)?, &self.0);
        Ok(hmac::sign(&key, message).as_ref().to_vec())
    }

    pub(super) fn verify(
        &self,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, Refusal> {
        let key = hmac::Key::new(mac(algorithm)?, &self.0);
        Ok(hmac::verify(&key, message, signature).is_ok())
    }

    pub(super) fn expose(&self) -> Zeroizing<Vec<u8>> {
        self.0.clone()
    }

    /// What the algorithm does, when it is made for keys of this size: `A256GCM` is `GCM` for 256 bits.
    fn family(&self, algorithm: &str) -> Result<&'static str, Refusal> {
        match algorithm {
            "CKM_AES_KEY_WRAP" => return Ok("KW"),
            "CKM_AES_KEY_WRAP_PAD" => return Ok("KWP"),
            _ => {}
        }
        let refused = || incompatible(algorithm, "oct");
        let rest = algorithm.strip_prefix('A').ok_or_else(refused)?;
        let family = rest
            .strip_prefix(&self.bits().to_string())
            .ok_or_else(refused)?;
        ["GCM", "CBC", "CBCPAD", "KW"]
            .into_iter()
            .find(|known| *known == family)
            .ok_or_else(refused)
    }

    fn encrypt_gcm(&self, input: &Cipher<'_>) -> Result<Ciphered, Refusal> {
        if input.iv.is_some() {
            return Err(Refusal::bad_parameter(
                "AES-GCM takes no 'iv' when encrypting: the vault makes one, and returns it.",
            ));
        }
        let mut iv = [0; NONCE_LEN];
        // 96 random bits: a key of this vault stays far below the 2^32 messages of NIST SP 800-38D section 8.3.
        aws_lc_rs::rand::fill(&mut iv).map_err(|_| module_failed())?;
        let mut value = input.value.to_vec();
        let tag = self
            .gcm()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(iv),
                Aad::from(input.aad.unwrap_or_default()),
                &mut value,
            )
            .map_err(|_| module_failed())?;
        Ok(Ciphered {
            value,
            iv: Some(iv.to_vec()),
            tag: Some(tag.as_ref().to_vec()),
        })
    }

    fn decrypt_gcm(&self, input: &Cipher<'_>) -> Result<Ciphered, Refusal> {
        let iv = input.iv.ok_or_else(|| Refusal::bad_property("iv"))?;
        let tag = input.tag.ok_or_else(|| Refusal::bad_property("tag"))?;
        let nonce =
            Nonce::try_assume_unique_for_key(iv).map_err(|_| Refusal::bad_property("iv"))?;
        if tag.len() != MAX_TAG_LEN {
            return Err(Refusal::bad_property("tag"));
        }
        let mut sealed = Zeroizing::new([input.value, tag].concat());
        let opened = self
            .gcm()?
            .open_in_place(nonce, Aad::from(input.aad.unwrap_or_default()), &mut sealed)
            .map_err(|_| incorrect())?;
        Ok(Ciphered::only(opened.to_vec()))
    }

    fn gcm(&self) -> Result<LessSafeKey, Refusal> {
        let algorithm = match self.0.len() {
            16 => &aead::AES_128_GCM,
            24 => &aead::AES_192_GCM,
            _ => &aead::AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, &self.0).map_err(|_| module_failed())?;
        Ok(LessSafeKey::new(key))
    }

    fn encrypt_cbc(&self, input: &Cipher<'_>, padded: bool) -> Result<Ciphered, Refusal> {
        let iv = vector(input)?;
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        let mut value = input.value.to_vec();
        if padded {
            PaddedBlockEncryptingKey::cbc_pkcs7(self.cbc()?)
                .and_then(|key| key.less_safe_encrypt(&mut value, context))
                .map_err(|_| module_failed())?;
        } else {
            whole_blocks(&value)?;
            EncryptingKey::cbc(self.cbc()?)
                .and_then(|key| key.less_safe_encrypt(&mut value, context))
                .map_err(|_| module_failed())?;
        }
        Ok(Ciphered {
            value,
            iv: Some(iv.to_vec()),
            tag: None,
        })
    }

    fn decrypt_cbc(&self, input: &Cipher<'_>, padded: bool) -> Result<Ciphered, Refusal> {
        let context = DecryptionContext::Iv128(FixedLength::from(vector(input)?));
        let mut value = Zeroizing::new(input.value.to_vec());
        whole_blocks(&value)?;
        let opened = if padded {
            PaddedBlockDecryptingKey::cbc_pkcs7(self.cbc()?)
                .and_then(|key| key.decrypt(&mut value, context).map(|plain| plain.to_vec()))
        } else {
            DecryptingKey::cbc(self.cbc()?)
                .and_then(|key| key.decrypt(&mut value, context).map(|plain| plain.to_vec()))
        };
        opened.map(Ciphered::only).map_err(|_| incorrect())
    }

    fn cbc(&self) -> Result<UnboundCipherKey, Refusal> {
        let algorithm = block_cipher(self.0.len()).ok_or_else(module_failed)?;
        UnboundCipherKey::new(algorithm, &self.0).map_err(|_| module_failed())
    }
}

/// AES with keys of so many bytes.
pub(super) fn block_cipher(key_len: usize) -> Option<&'static cipher::Algorithm> {
    match key_len {
        16 => Some(&cipher::AES_128),
        24 => Some(&cipher::AES_192),
        32 => Some(&cipher::AES_256),
        _ => None,
    }
}

/// The caller's vector for AES-CBC, which the service does not make.
fn vector(input: &Cipher<'_>) -> Result<[u8; BLOCK_LEN], Refusal> {
    input
        .iv
        .and_then(|iv| iv.try_into().ok())
        .ok_or_else(|| Refusal::bad_property("iv"))
}

fn whole_blocks(value: &[u8]) -> Result<(), Refusal> {
    if value.is_empty() || !value.len().is_multiple_of(BLOCK_LEN) {
        return Err(Refusal::bad_parameter(
            "AES-CBC works on whole blocks of 16 bytes.",
        ));
    }
    Ok(())
}

fn mac(algorithm: &str) -> Result<hmac::Algorithm, Refusal> {
    match algorithm {
        "HS256" => Ok(hmac::HMAC_SHA256),
        "HS384" => Ok(hmac::HMAC_SHA384),
        "HS512" => Ok(hmac::HMAC_SHA512),
        _ => Err(incompatible(algorithm, "oct")),
    }
}
