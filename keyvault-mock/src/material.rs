//! Key material: what a version of a key is made of, and what can be done with it.
//!
//! Algorithms have the names of RFC 7518 and of the service. An algorithm that does not go with the key is the
//! caller's mistake (400); a ciphertext that does not open gives no reason.

pub mod akp;
pub mod algorithm;
pub mod ec;
pub mod jwk;
pub mod keywrap;
pub mod oct;
pub mod rsa;

use zeroize::Zeroizing;

use crate::error::Refusal;
pub use akp::AkpKey;
pub use ec::{Curve, EcKey};
pub use jwk::Jwk;
pub use oct::OctKey;
pub use rsa::RsaKey;

/// The secret of one version of a key.
pub enum Material {
    /// ML-DSA, which JSON web keys call an algorithm key pair (preview).
    Akp(AkpKey),
    /// An elliptic-curve key pair.
    Ec(EcKey),
    /// A symmetric key.
    Oct(OctKey),
    /// An RSA key pair.
    Rsa(RsaKey),
}

/// What is asked of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A set of ML-DSA parameters.
    Akp(akp::Parameters),
    /// A curve.
    Ec(Curve),
    /// A symmetric key of so many bits.
    Oct {
        /// 128, 192 or 256.
        bits: u32,
    },
    /// An RSA modulus of so many bits.
    Rsa {
        /// 2048, 3072 or 4096.
        bits: u32,
    },
}

/// The input of an encryption or decryption.
#[derive(Default, Debug)]
pub struct Cipher<'a> {
    /// The algorithm's name.
    pub algorithm: &'a str,
    /// The plaintext or the ciphertext.
    pub value: &'a [u8],
    /// The initialisation vector; of AES-CBC both ways, of AES-GCM when decrypting.
    pub iv: Option<&'a [u8]>,
    /// The additional authenticated data of AES-GCM.
    pub aad: Option<&'a [u8]>,
    /// The tag of AES-GCM, when decrypting.
    pub tag: Option<&'a [u8]>,
}

/// The output of an encryption or decryption.
#[derive(Debug, Default)]
pub struct Ciphered {
    /// The ciphertext or the plaintext.
    pub value: Vec<u8>,
    /// The initialisation vector that was used.
    pub iv: Option<Vec<u8>>,
    /// The tag that was made.
    pub tag: Option<Vec<u8>>,
}

impl Ciphered {
    fn only(value: Vec<u8>) -> Ciphered {
        Ciphered {
            value,
            ..Ciphered::default()
        }
    }
}

impl Material {
    /// A new secret. RSA of 4096 bits takes seconds.
    ///
    /// # Errors
    /// A size the service does not offer.
    pub fn generate(kind: Kind) -> Result<Material, Refusal> {
        Ok(match kind {
            Kind::Akp(parameters) => Material::Akp(AkpKey::generate(parameters)?),
            Kind::Ec(curve) => Material::Ec(EcKey::generate(curve)?),
            Kind::Oct { bits } => Material::Oct(OctKey::generate(bits)?),
            Kind::Rsa { bits } => Material::Rsa(RsaKey::generate(bits)?),
        })
    }

    /// The secret in a PKCS#8 document, as it travels in a transfer blob.
    ///
    /// # Errors
    /// A document that holds no RSA or elliptic-curve key this vault knows.
    pub fn from_pkcs8(document: &[u8]) -> Result<Material, Refusal> {
        if let Ok(key) = RsaKey::from_pkcs8(document) {
            return Ok(Material::Rsa(key));
        }
        EcKey::from_pkcs8(document).map(Material::Ec)
    }

    /// What would have to be asked for to get a key like this.
    pub fn kind(&self) -> Kind {
        match self {
            Material::Akp(key) => Kind::Akp(key.parameters()),
            Material::Ec(key) => Kind::Ec(key.curve()),
            Material::Oct(key) => Kind::Oct { bits: key.bits() },
            Material::Rsa(key) => Kind::Rsa { bits: key.bits() },
        }
    }

    /// `encrypt` of the service.
    ///
    /// # Errors
    /// An algorithm that does not go with the key, or a value it cannot take.
    pub fn encrypt(&self, input: &Cipher<'_>) -> Result<Ciphered, Refusal> {
        match self {
            Material::Oct(key) => key.encrypt(input),
            Material::Rsa(key) => key
                .encrypt(input.algorithm, input.value)
                .map(Ciphered::only),
            _ => Err(incompatible(input.algorithm, self.kty())),
        }
    }

    /// `decrypt` of the service.
    ///
    /// # Errors
    /// An algorithm that does not go with the key, or a ciphertext that does not open.
    pub fn decrypt(&self, input: &Cipher<'_>) -> Result<Ciphered, Refusal> {
        match self {
            Material::Oct(key) => key.decrypt(input),
            Material::Rsa(key) => key
                .decrypt(input.algorithm, input.value)
                .map(Ciphered::only),
            _ => Err(incompatible(input.algorithm, self.kty())),
        }
    }

    /// `wrapKey` of the service.
    ///
    /// # Errors
    /// An algorithm that does not go with the key, or a key it cannot take.
    pub fn wrap(&self, input: &Cipher<'_>) -> Result<Ciphered, Refusal> {
        match self {
            Material::Oct(key) => key.wrap(input.algorithm, input.value).map(Ciphered::only),
            _ => self.encrypt(input),
        }
    }

    /// `unwrapKey` of the service.
    ///
    /// # Errors
    /// An algorithm that does not go with the key, or a blob that does not open.
    pub fn unwrap(&self, input: &Cipher<'_>) -> Result<Ciphered, Refusal> {
        match self {
            Material::Oct(key) => key.unwrap(input.algorithm, input.value).map(Ciphered::only),
            _ => self.decrypt(input),
        }
    }

    /// `sign` of the service: a signature over a digest that the caller made.
    ///
    /// # Errors
    /// An algorithm that does not go with the key, or a digest of another length.
    pub fn sign(&self, algorithm: &str, digest: &[u8]) -> Result<Vec<u8>, Refusal> {
        match self {
            Material::Akp(key) => key.sign(algorithm, digest),
            Material::Ec(key) => key.sign(algorithm, digest),
            Material::Oct(key) => key.sign(algorithm, digest),
            Material::Rsa(key) => key.sign(algorithm, digest),
        }
    }

    /// `verify` of the service.
    ///
    /// # Errors
    /// An algorithm that does not go with the key, or a digest of another length. A wrong signature is `false`.
    pub fn verify(
        &self,
        algorithm: &str,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, Refusal> {
        match self {
            Material::Akp(key) => key.verify(algorithm, digest, signature),
            Material::Ec(key) => key.verify(algorithm, digest, signature),
            Material::Oct(key) => key.verify(algorithm, digest, signature),
            Material::Rsa(key) => key.verify(algorithm, digest, signature),
        }
    }

    /// `RSA`, `EC`, `oct` or `AKP`; a key that claims to be in an HSM has `-HSM` behind it, which is not here.
    pub fn kty(&self) -> &'static str {
        match self {
            Material::Akp(_) => "AKP",
            Material::Ec(_) => "EC",
            Material::Oct(_) => "oct",
            Material::Rsa(_) => "RSA",
        }
    }

    /// The secret bytes, for the sealed state file, a backup or a release, and nowhere else: PKCS#8 of key pairs,
    /// the key itself of symmetric ones.
    pub fn expose(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        match self {
            Material::Akp(key) => key.expose(),
            Material::Ec(key) => key.expose(),
            Material::Oct(key) => Ok(key.expose()),
            Material::Rsa(key) => Ok(key.expose()),
        }
    }

    /// The opposite of [`expose`](Self::expose), for a key of this `kty`.
    ///
    /// # Errors
    /// Bytes that are no such key.
    pub fn restore(kty: &str, secret: &[u8]) -> Result<Material, Refusal> {
        Ok(match kty {
            "AKP" => Material::Akp(AkpKey::from_pkcs8(secret)?),
            "EC" => Material::Ec(EcKey::from_pkcs8(secret)?),
            "oct" => Material::Oct(OctKey::new(secret)?),
            "RSA" => Material::Rsa(RsaKey::from_pkcs8(secret)?),
            _ => return Err(Refusal::bad_property("kty")),
        })
    }
}

/// 400: the algorithm belongs to another kind of key.
fn incompatible(algorithm: &str, kty: &str) -> Refusal {
    Refusal::bad_parameter(format!(
        "Key and algorithm are incompatible. The key is of type '{kty}', and algorithm '{algorithm}' cannot be used with it."
    ))
}

/// 400: a blob or signature that cannot be used, without a reason.
fn incorrect() -> Refusal {
    Refusal::bad_parameter("The parameter is incorrect.")
}

/// 500: the cryptographic module failed to make a key or to draw random bytes.
fn module_failed() -> Refusal {
    Refusal::new(
        500,
        "InternalServerError",
        "The cryptographic module failed.",
    )
}
