//! Elliptic-curve keys: ES256, ES384, ES512 and ES256K, signatures being `r ‖ s` (RFC 7518 section 3.4, RFC 8812).

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::signature::UnparsedPublicKey;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _,
};
use zeroize::Zeroizing;

use super::algorithm::imported_digest;
use super::{incompatible, module_failed};
use crate::error::Refusal;

/// A curve, by the name it has in JSON web keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-256K, which others call secp256k1.
    P256K,
    /// P-384.
    P384,
    /// P-521.
    P521,
}

impl Curve {
    /// Every curve.
    pub const ALL: [Curve; 4] = [Curve::P256, Curve::P256K, Curve::P384, Curve::P521];

    /// The curve of that name.
    ///
    /// # Errors
    /// Another name.
    pub fn named(name: &str) -> Result<Curve, Refusal> {
        Self::ALL
            .into_iter()
            .find(|curve| curve.name() == name)
            .ok_or_else(|| Refusal::bad_property("crv"))
    }

    /// The name of JSON web keys.
    pub fn name(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P256K => "P-256K",
            Curve::P384 => "P-384",
            Curve::P521 => "P-521",
        }
    }

    /// The bytes of one coordinate.
    pub fn coordinate_len(self) -> usize {
        match self {
            Curve::P256 | Curve::P256K => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    fn algorithm(self) -> &'static str {
        match self {
            Curve::P256 => "ES256",
            Curve::P256K => "ES256K",
            Curve::P384 => "ES384",
            Curve::P521 => "ES512",
        }
    }

    fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Curve::P256K => &signature::ECDSA_P256K1_SHA256_FIXED_SIGNING,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }

    fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Curve::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Curve::P256K => &signature::ECDSA_P256K1_SHA256_FIXED,
            Curve::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Curve::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        }
    }
}

/// A key pair on one of the curves.
pub struct EcKey {
    curve: Curve,
    pair: EcdsaKeyPair,
}

impl EcKey {
    /// A new key.
    ///
    /// # Errors
    /// The module's failure.
    pub fn generate(curve: Curve) -> Result<EcKey, Refusal> {
        let pair = EcdsaKeyPair::generate(curve.signing()).map_err(|_| module_failed())?;
        Ok(EcKey { curve, pair })
    }

    /// The key in a PKCS#8 document.
    ///
    /// # Errors
    /// No key on a curve of the service.
    pub fn from_pkcs8(document: &[u8]) -> Result<EcKey, Refusal> {
        Curve::ALL
            .into_iter()
            .find_map(|curve| {
                let pair = EcdsaKeyPair::from_pkcs8(curve.signing(), document).ok()?;
                Some(EcKey { curve, pair })
            })
            .ok_or_else(|| {
                Refusal::bad_parameter("The document holds no key of a kind this vault knows.")
            })
    }

    /// The key with these big-endian numbers, of which the point is checked against the scalar.
    ///
    /// # Errors
    /// Numbers of another length, or that do not belong together.
    pub fn from_components(curve: Curve, d: &[u8], x: &[u8], y: &[u8]) -> Result<EcKey, Refusal> {
        let refused = || {
            Refusal::bad_parameter("The numbers of the elliptic-curve key do not belong together.")
        };
        let length = curve.coordinate_len();
        if x.len() != length || y.len() != length || d.len() > length {
            return Err(refused());
        }
        // RFC 7518 section 6.2.2.1 wants leading zeros in `d`; not every client writes them.
        let mut scalar = Zeroizing::new(vec![0; length - d.len()]);
        scalar.extend_from_slice(d);
        let point = [&[4], x, y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &scalar, &point)
            .map_err(|_| refused())?;
        Ok(EcKey { curve, pair })
    }

    /// The curve.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The coordinates x and y.
    pub fn public(&self) -> (Vec<u8>, Vec<u8>) {
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(self.curve.coordinate_len());
        (x.to_vec(), y.to_vec())
    }

    /// The scalar, big-endian, as long as a coordinate.
    ///
    /// # Errors
    /// The module's failure.
    pub fn scalar(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let bytes: EcPrivateKeyBin<'_> = self
            .pair
            .private_key()
            .as_be_bytes()
            .map_err(|_| module_failed())?;
        Ok(Zeroizing::new(bytes.as_ref().to_vec()))
    }

    pub(super) fn sign(&self, algorithm: &str, digest: &[u8]) -> Result<Vec<u8>, Refusal> {
        let digest = imported_digest(self.bits(algorithm)?, digest)?;
        let signature = self
            .pair
            .sign_digest(&digest)
            .map_err(|_| module_failed())?;
        Ok(signature.as_ref().to_vec())
    }

    pub(super) fn verify(
        &self,
        algorithm: &str,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, Refusal> {
        let digest = imported_digest(self.bits(algorithm)?, digest)?;
        let key = UnparsedPublicKey::new(self.curve.verification(), self.pair.public_key());
        Ok(key.verify_digest(&digest, signature).is_ok())
    }

    pub(super) fn expose(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let document = self.pair.to_pkcs8v1().map_err(|_| module_failed())?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The digest's bits in the name of an algorithm that goes with this curve.
    fn bits<'a>(&self, algorithm: &'a str) -> Result<&'a str, Refusal> {
        // ECDSA256 is what the service called ES256K before RFC 8812.
        let algorithm = if algorithm == "ECDSA256" {
            "ES256K"
        } else {
            algorithm
        };
        if algorithm != self.curve.algorithm() {
            return Err(incompatible(algorithm, "EC"));
        }
        Ok(&algorithm[2..5])
    }
}
