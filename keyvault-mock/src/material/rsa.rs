//! RSA keys: RSA1_5, RSA-OAEP and RSA-OAEP-256, RS256 to RS512 and PS256 to PS512 (RFC 8017, RFC 7518).

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeyPair, KeyPairComponents, KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm,
    OaepPrivateDecryptingKey, OaepPublicEncryptingKey, Pkcs1PrivateDecryptingKey,
    Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey, PublicKeyComponents,
};
use aws_lc_rs::signature::{self, KeyPair as _, RsaEncoding, RsaParameters, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::algorithm::imported_digest;
use super::{incompatible, incorrect, module_failed};
use crate::error::Refusal;

/// An RSA key pair of 2048, 3072 or 4096 bits.
pub struct RsaKey {
    pkcs8: Zeroizing<Vec<u8>>,
    signing: KeyPair,
    decrypting: PrivateDecryptingKey,
}

impl RsaKey {
    /// A new key.
    ///
    /// # Errors
    /// Another size.
    pub fn generate(bits: u32) -> Result<RsaKey, Refusal> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return Err(Refusal::bad_property("key_size")),
        };
        let key = PrivateDecryptingKey::generate(size).map_err(|_| module_failed())?;
        let document = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).map_err(|_| module_failed())?;
        RsaKey::from_pkcs8(document.as_ref())
    }

    /// The key in a PKCS#8 document.
    ///
    /// # Errors
    /// No RSA key, or one of another size.
    pub fn from_pkcs8(document: &[u8]) -> Result<RsaKey, Refusal> {
        let refused = |_| Refusal::bad_parameter("The document holds no valid RSA key.");
        let key = RsaKey {
            pkcs8: Zeroizing::new(document.to_vec()),
            signing: KeyPair::from_pkcs8(document).map_err(refused)?,
            decrypting: PrivateDecryptingKey::from_pkcs8(document).map_err(refused)?,
        };
        match key.bits() {
            2048 | 3072 | 4096 => Ok(key),
            _ => Err(Refusal::bad_property("key_size")),
        }
    }

    /// The key with these big-endian numbers, which are checked against each other.
    ///
    /// # Errors
    /// Numbers that do not belong together, or a size the service does not offer.
    pub fn from_components(
        components: &KeyPairComponents<Vec<u8>, Zeroizing<Vec<u8>>>,
    ) -> Result<RsaKey, Refusal> {
        let pair = KeyPair::from_components(components).map_err(|_| {
            Refusal::bad_parameter("The numbers of the RSA key do not belong together.")
        })?;
        let document = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| module_failed())?;
        RsaKey::from_pkcs8(document.as_ref())
    }

    /// The bits of the modulus.
    pub fn bits(&self) -> u32 {
        self.decrypting.key_size_bits() as u32
    }

    /// The modulus and the exponent, big-endian.
    pub fn public(&self) -> PublicKeyComponents<Vec<u8>> {
        let key = self.signing.public_key();
        PublicKeyComponents {
            n: key.modulus().big_endian_without_leading_zero().to_vec(),
            e: key.exponent().big_endian_without_leading_zero().to_vec(),
        }
    }

    pub(super) fn encrypt(&self, algorithm: &str, value: &[u8]) -> Result<Vec<u8>, Refusal> {
        let public = self.decrypting.public_key();
        let mut output = vec![0; self.decrypting.key_size_bytes()];
        let length = match encryption(algorithm)? {
            Some(oaep) => OaepPublicEncryptingKey::new(public).and_then(|key| {
                key.encrypt(oaep, value, &mut output, None)
                    .map(|sealed| sealed.len())
            }),
            None => Pkcs1PublicEncryptingKey::new(public)
                .and_then(|key| key.encrypt(value, &mut output).map(|sealed| sealed.len())),
        };
        let length = length.map_err(|_| {
            Refusal::bad_parameter(
                "The value is too long for the key's modulus and the algorithm's padding.",
            )
        })?;
        output.truncate(length);
        Ok(output)
    }

    pub(super) fn decrypt(&self, algorithm: &str, value: &[u8]) -> Result<Vec<u8>, Refusal> {
        let private = self.decrypting.clone();
        let mut output = Zeroizing::new(vec![0; self.decrypting.key_size_bytes()]);
        let opened = match encryption(algorithm)? {
            Some(oaep) => OaepPrivateDecryptingKey::new(private).and_then(|key| {
                key.decrypt(oaep, value, &mut output, None)
                    .map(|plain| plain.to_vec())
            }),
            None => Pkcs1PrivateDecryptingKey::new(private)
                .and_then(|key| key.decrypt(value, &mut output).map(|plain| plain.to_vec())),
        };
        opened.map_err(|_| incorrect())
    }

    pub(super) fn sign(&self, algorithm: &str, digest: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (padding, _) = signing(algorithm)?;
        let digest = imported_digest(&algorithm[2..], digest)?;
        let mut output = vec![0; self.signing.public_modulus_len()];
        self.signing
            .sign_digest(padding, &digest, &mut output)
            .map_err(|_| module_failed())?;
        Ok(output)
    }

    pub(super) fn verify(
        &self,
        algorithm: &str,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, Refusal> {
        let (_, parameters) = signing(algorithm)?;
        let digest = imported_digest(&algorithm[2..], digest)?;
        let key = UnparsedPublicKey::new(parameters, self.signing.public_key());
        Ok(key.verify_digest(&digest, signature).is_ok())
    }

    pub(super) fn expose(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }
}

/// Seals `value` to a public key given by its numbers, with OAEP. For the wrapped keys of a release.
///
/// # Errors
/// Numbers that are no RSA key of 2048 bits or more, or a value that is too long.
pub fn seal_to(
    public: &PublicKeyComponents<Vec<u8>>,
    algorithm: &'static OaepAlgorithm,
    value: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let refused =
        |_| Refusal::bad_parameter("The target's key is no RSA key of 2048 bits or more.");
    let key: PublicEncryptingKey = public.clone().try_into().map_err(refused)?;
    let key = OaepPublicEncryptingKey::new(key).map_err(refused)?;
    let mut output = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(algorithm, value, &mut output, None)
        .map_err(refused)?
        .len();
    output.truncate(length);
    Ok(output)
}

/// The padding of an encryption algorithm; `None` is PKCS#1 v1.5.
fn encryption(algorithm: &str) -> Result<Option<&'static OaepAlgorithm>, Refusal> {
    match algorithm {
        "RSA1_5" => Ok(None),
        "RSA-OAEP" => Ok(Some(&OAEP_SHA1_MGF1SHA1)),
        "RSA-OAEP-256" => Ok(Some(&OAEP_SHA256_MGF1SHA256)),
        _ => Err(incompatible(algorithm, "RSA")),
    }
}

type Signing = (&'static dyn RsaEncoding, &'static RsaParameters);

fn signing(algorithm: &str) -> Result<Signing, Refusal> {
    match algorithm {
        "RS256" => Ok((
            &signature::RSA_PKCS1_SHA256,
            &signature::RSA_PKCS1_2048_8192_SHA256,
        )),
        "RS384" => Ok((
            &signature::RSA_PKCS1_SHA384,
            &signature::RSA_PKCS1_2048_8192_SHA384,
        )),
        "RS512" => Ok((
            &signature::RSA_PKCS1_SHA512,
            &signature::RSA_PKCS1_2048_8192_SHA512,
        )),
        "PS256" => Ok((
            &signature::RSA_PSS_SHA256,
            &signature::RSA_PSS_2048_8192_SHA256,
        )),
        "PS384" => Ok((
            &signature::RSA_PSS_SHA384,
            &signature::RSA_PSS_2048_8192_SHA384,
        )),
        "PS512" => Ok((
            &signature::RSA_PSS_SHA512,
            &signature::RSA_PSS_2048_8192_SHA512,
        )),
        _ => Err(incompatible(algorithm, "RSA")),
    }
}
