//! JSON web keys (RFC 7517, RFC 7518 section 6): what comes in with an import, and the public half that goes out.

use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Curve, EcKey, Material, OctKey, RsaKey};
use crate::error::Refusal;

/// base64url without padding when writing, and either way when reading.
const URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The other alphabet, which transfer blobs and a few clients use.
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key in JSON. Private members are there on the way in only, `key_hsm` on the way in and in a release.
#[derive(Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Jwk {
    /// The key's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// `RSA`, `RSA-HSM`, `EC`, `EC-HSM`, `oct`, `oct-HSM`, `AKP` or `AKP-HSM`.
    pub kty: String,
    /// What the key may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
    /// The parameters of an ML-DSA key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// The curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// A coordinate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// A coordinate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// The modulus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// The exponent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// An ML-DSA public key.
    #[serde(rename = "pub", skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// The private exponent or scalar.
    #[serde(skip_serializing)]
    pub d: Option<String>,
    /// d mod (p - 1).
    #[serde(skip_serializing)]
    pub dp: Option<String>,
    /// d mod (q - 1).
    #[serde(skip_serializing)]
    pub dq: Option<String>,
    /// 1/q mod p.
    #[serde(skip_serializing)]
    pub qi: Option<String>,
    /// A prime.
    #[serde(skip_serializing)]
    pub p: Option<String>,
    /// A prime.
    #[serde(skip_serializing)]
    pub q: Option<String>,
    /// The bytes of a symmetric key.
    #[serde(skip_serializing)]
    pub k: Option<String>,
    /// A transfer blob (see [`crate::byok`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_hsm: Option<String>,
}

impl Jwk {
    /// The public half of `material`; nothing of a symmetric key but its type.
    pub fn public_of(material: &Material, hsm: bool) -> Jwk {
        let mut jwk = Jwk {
            kty: format!("{}{}", material.kty(), if hsm { "-HSM" } else { "" }),
            ..Jwk::default()
        };
        match material {
            Material::Akp(key) => {
                jwk.alg = Some(key.parameters().name().to_owned());
                jwk.public = Some(base64url(&key.public()));
            }
            Material::Ec(key) => {
                let (x, y) = key.public();
                jwk.crv = Some(key.curve().name().to_owned());
                jwk.x = Some(base64url(&x));
                jwk.y = Some(base64url(&y));
            }
            Material::Oct(_) => {}
            Material::Rsa(key) => {
                let PublicKeyComponents { n, e } = key.public();
                jwk.n = Some(base64url(&n));
                jwk.e = Some(base64url(&e));
            }
        }
        jwk
    }

    /// Whether the key claims to be in an HSM, and its type without that claim.
    pub fn split_kty(kty: &str) -> (&str, bool) {
        match kty.strip_suffix("-HSM") {
            Some(plain) => (plain, true),
            None => (kty, false),
        }
    }

    /// The private key in the JSON.
    ///
    /// # Errors
    /// Members that are missing, not base64url, or do not belong together.
    pub fn material(&self) -> Result<Material, Refusal> {
        match Jwk::split_kty(&self.kty).0 {
            "RSA" => self.rsa().map(Material::Rsa),
            "EC" => {
                let curve = Curve::named(self.crv.as_deref().unwrap_or_default())?;
                let (x, y) = (bytes(&self.x, "x")?, bytes(&self.y, "y")?);
                EcKey::from_components(curve, &bytes(&self.d, "d")?, &x, &y).map(Material::Ec)
            }
            "oct" => OctKey::new(&bytes(&self.k, "k")?).map(Material::Oct),
            "AKP" => Err(Refusal::not_emulated(
                "The import of ML-DSA keys is not emulated; create them.",
            )),
            _ => Err(Refusal::bad_property("kty")),
        }
    }

    fn rsa(&self) -> Result<RsaKey, Refusal> {
        RsaKey::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents {
                n: without_zeros(&bytes(&self.n, "n")?),
                e: without_zeros(&bytes(&self.e, "e")?),
            },
            d: bytes(&self.d, "d")?,
            p: bytes(&self.p, "p")?,
            q: bytes(&self.q, "q")?,
            dP: bytes(&self.dp, "dp")?,
            dQ: bytes(&self.dq, "dq")?,
            qInv: bytes(&self.qi, "qi")?,
        })
    }
}

/// `bytes` in base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    URL.encode(bytes)
}

/// `text`, base64url or base64, with or without padding.
///
/// # Errors
/// Anything else, `name` being what it was given as.
pub fn from_base64(text: &str, name: &str) -> Result<Vec<u8>, Refusal> {
    URL.decode(text)
        .or_else(|_| STANDARD.decode(text))
        .map_err(|_| Refusal::bad_property(name))
}

fn bytes(member: &Option<String>, name: &str) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let text = member
        .as_deref()
        .ok_or_else(|| Refusal::bad_property(name))?;
    from_base64(text, name).map(Zeroizing::new)
}

/// Some clients write numbers with a leading zero, which RFC 7518 section 2 does not have.
fn without_zeros(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes[zeros..].to_vec()
}
