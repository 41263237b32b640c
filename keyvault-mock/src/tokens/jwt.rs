//! JSON web tokens signed with RS256 (RFC 7515, RFC 7518 section 3.3), the one algorithm that Entra signs with, and
//! the key that signs ours.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// The key that signs the emulator's tokens.
pub(super) struct SigningKey {
    pair: KeyPair,
    public: Jwk,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.public.kid)
            .finish_non_exhaustive()
    }
}

/// A public RSA key as a JSON web key set has it (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Always `RSA` here.
    pub kty: String,
    /// The key's name, which a token's header repeats.
    #[serde(default)]
    pub kid: String,
    /// The modulus, base64url.
    #[serde(default)]
    pub n: String,
    /// The public exponent, base64url.
    #[serde(default)]
    pub e: String,
}

impl SigningKey {
    /// Reads the key from the directory, or makes one and keeps it there, so that tokens outlive a restart. Without
    /// a directory the key lives as long as the process.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that holds no such key, in words.
    pub(super) fn open(directory: Option<&Path>) -> Result<Self, String> {
        let Some(path) = directory.map(|directory| directory.join(FILE)) else {
            return Self::from_pair(generate()?);
        };
        match fs::read(&path) {
            Ok(der) => {
                let der = Zeroizing::new(der);
                let pair = KeyPair::from_pkcs8(&der)
                    .map_err(|e| format!("{} holds no RSA key ({e}); delete it", path.display()))?;
                Self::from_pair(pair)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let pair = generate()?;
                let der: Pkcs8V1Der<'static> = pair
                    .as_der()
                    .map_err(|_| "the signing key cannot be encoded".to_owned())?;
                write_private(&path, der.as_ref())?;
                Self::from_pair(pair)
            }
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// The public half.
    pub(super) fn public(&self) -> &Jwk {
        &self.public
    }

    /// A token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let kid = &self.public.kid;
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5t": kid, "kid": kid });
        let mut token = encode(header.to_string().as_bytes());
        token.push('.');
        token.push_str(&encode(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .expect("the buffer is as long as the modulus, and the key is 2048 bits long");
        token.push('.');
        token.push_str(&encode(&signature));
        token
    }

    fn from_pair(pair: KeyPair) -> Result<Self, String> {
        let public = pair.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero();
        let public = Jwk {
            kty: "RSA".into(),
            kid: encode(&digest::digest(&digest::SHA256, modulus).as_ref()[..20]),
            n: encode(modulus),
            e: encode(public.exponent().big_endian_without_leading_zero()),
        };
        Ok(SigningKey { pair, public })
    }
}

/// What is wrong with a token before anyone looks at its claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JwtError {
    /// It is not three parts of base64url, or the first two are not JSON objects.
    Malformed,
    /// It is signed with something other than RS256.
    Algorithm,
    /// None of the keys is the one that signed it.
    Signature,
}

/// The claims of a token, once the signature has been checked against one of the keys.
///
/// # Errors
/// See [`JwtError`].
pub(super) fn verified_claims(token: &str, keys: &[Jwk]) -> Result<Value, JwtError> {
    let (signed, signature) = token.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, _) = signed.split_once('.').ok_or(JwtError::Malformed)?;
    let header = object(header)?;
    if header["alg"] != "RS256" {
        return Err(JwtError::Algorithm);
    }
    let kid = header["kid"].as_str();
    let signature = decode(signature)?;
    let signed_by = |key: &&Jwk| {
        kid.is_none_or(|kid| key.kid.is_empty() || key.kid == kid)
            && verifies(key, signed.as_bytes(), &signature)
    };
    match keys.iter().find(signed_by) {
        Some(_) => unverified_claims(token),
        None => Err(JwtError::Signature),
    }
}

/// The claims of a token that nobody has checked: good for choosing the keys to check it with, and for nothing else.
///
/// # Errors
/// [`JwtError::Malformed`].
pub(super) fn unverified_claims(token: &str) -> Result<Value, JwtError> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(claims), Some(_), None) => object(claims),
        _ => Err(JwtError::Malformed),
    }
}

fn object(part: &str) -> Result<Value, JwtError> {
    let value: Value = serde_json::from_slice(&decode(part)?).map_err(|_| JwtError::Malformed)?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(JwtError::Malformed)
    }
}

fn verifies(key: &Jwk, message: &[u8], signature: &[u8]) -> bool {
    let (Ok(n), Ok(e)) = (decode(&key.n), decode(&key.e)) else {
        return false;
    };
    key.kty == "RSA"
        && PublicKeyComponents { n: &n, e: &e }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            .is_ok()
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, JwtError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| JwtError::Malformed)
}

fn generate() -> Result<KeyPair, String> {
    KeyPair::generate(KeySize::Rsa2048).map_err(|_| "no RSA key could be made".to_owned())
}

/// Writes a file that only its owner can read, and never over another one.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// The signing key's file in the state directory, PKCS#8.
const FILE: &str = "token-signing-key.der";

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a token says what was signed, to those who hold the right key.
    #[test]
    fn what_is_signed_verifies_and_nothing_else() {
        let key = SigningKey::open(None).unwrap();
        let other = SigningKey::open(None).unwrap();
        let token = key.sign(&json!({ "sub": "me" }));
        let claims = verified_claims(&token, &[other.public().clone(), key.public().clone()]);
        assert_eq!(claims.unwrap()["sub"], "me");
        assert_eq!(
            verified_claims(&token, &[other.public().clone()]),
            Err(JwtError::Signature)
        );
        // The same name on another key does not help.
        let mut impostor = other.public().clone();
        impostor.kid = key.public().kid.clone();
        assert_eq!(
            verified_claims(&token, &[impostor]),
            Err(JwtError::Signature)
        );
    }

    /// Goal: changed claims, a changed header and `alg: none` are refused.
    #[test]
    fn changed_tokens_are_refused() {
        let key = SigningKey::open(None).unwrap();
        let keys = [key.public().clone()];
        let token = key.sign(&json!({ "sub": "me" }));
        let parts: Vec<&str> = token.split('.').collect();
        let claims = encode(br#"{"sub":"you"}"#);
        let changed = format!("{}.{claims}.{}", parts[0], parts[2]);
        assert_eq!(verified_claims(&changed, &keys), Err(JwtError::Signature));
        let none = encode(br#"{"alg":"none"}"#);
        let changed = format!("{none}.{}.", parts[1]);
        assert_eq!(verified_claims(&changed, &keys), Err(JwtError::Algorithm));
        for text in [
            "",
            ".",
            "..",
            "a.b.c",
            "a.b",
            &format!("{token}.x"),
            &encode(b"[1]"),
        ] {
            assert!(verified_claims(text, &keys).is_err(), "{text}");
        }
    }

    /// Goal: a key in a directory outlives its process, nobody else can read it, and a broken file is told of.
    #[test]
    fn the_key_survives_in_its_directory() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let first = SigningKey::open(Some(directory.path())).unwrap();
        let again = SigningKey::open(Some(directory.path())).unwrap();
        assert_eq!(first.public(), again.public());
        let file = directory.path().join(FILE);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        fs::write(&file, b"no key").unwrap();
        let refusal = SigningKey::open(Some(directory.path())).unwrap_err();
        assert!(refusal.contains(FILE), "{refusal}");
    }
}
