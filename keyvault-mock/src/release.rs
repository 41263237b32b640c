//! Secure key release: an exportable key leaves the vault, wrapped to a key that lives in an attested environment.
//!
//! The environment proves itself with a token of an attestation authority; the key's release policy says which
//! authority, and what its token has to claim. The service believes Microsoft's attestation authorities; this
//! emulator believes the issuers that the admin API was told to trust, so that a test can be the authority.

mod policy;

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepAlgorithm,
    PublicKeyComponents,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::material::jwk::{base64url, from_base64};
use crate::material::{Material, keywrap, rsa};
use crate::tokens::Tokens;
use crate::vault::ReleasePolicy;
use policy::Policy;

/// Who asks for a release, and how it is to be wrapped.
pub struct Target<'a> {
    /// The attestation token.
    pub token: &'a str,
    /// How the key is wrapped; the first of the service's names when absent.
    pub encryption: Option<&'a str>,
    /// The time.
    pub now: i64,
}

/// `material` as a transfer blob that the target alone can open, in base64url.
///
/// # Errors
/// A target that the policy does not let have the key.
pub fn wrapped_to(
    target: &Target<'_>,
    tokens: &Tokens,
    policy: &ReleasePolicy,
    material: &Material,
) -> Result<String, Refusal> {
    let policy = Policy::parse(policy)?;
    let claims =
        policy.admitted(|authority| tokens.attested(target.token, authority, target.now))?;
    let name = target.encryption.unwrap_or("CKM_RSA_AES_KEY_WRAP");
    let (kid, public) = target_key(&claims)?;
    let mut aes = Zeroizing::new([0; 32]);
    aws_lc_rs::rand::fill(&mut *aes).map_err(|_| failed())?;
    let mut ciphertext = rsa::seal_to(&public, padding(name)?, &*aes)?;
    let wrapped = keywrap::wrap_padded(&*aes, &material.expose()?).map_err(|_| failed())?;
    ciphertext.extend(wrapped);
    let blob = json!({
        "schema_version": "1.0.0",
        "header": { "kid": kid, "alg": "dir", "enc": name },
        "ciphertext": base64url(&ciphertext),
        "generator": "keyvault-mock",
    });
    Ok(base64url(blob.to_string().as_bytes()))
}

fn padding(encryption: &str) -> Result<&'static OaepAlgorithm, Refusal> {
    match encryption {
        "CKM_RSA_AES_KEY_WRAP" => Ok(&OAEP_SHA1_MGF1SHA1),
        "RSA_AES_KEY_WRAP_256" => Ok(&OAEP_SHA256_MGF1SHA256),
        "RSA_AES_KEY_WRAP_384" => Ok(&OAEP_SHA384_MGF1SHA384),
        _ => Err(Refusal::bad_property("enc")),
    }
}

/// The environment's own key: the first RSA key of `x-ms-runtime.keys` that is for encryption.
fn target_key(claims: &Value) -> Result<(String, PublicKeyComponents<Vec<u8>>), Refusal> {
    let encrypts = |key: &&Value| {
        let listed = key["key_ops"]
            .as_array()
            .is_some_and(|ops| ops.iter().any(|op| op == "encrypt" || op == "wrapKey"));
        key["kty"] == "RSA"
            && (key["use"] == "enc" || listed || key["kid"] == "TpmEphemeralEncryptionKey")
    };
    let key = claims["x-ms-runtime"]["keys"]
        .as_array()
        .into_iter()
        .flatten()
        .find(encrypts)
        .ok_or_else(|| {
            Refusal::bad_parameter(
                "The target's token has no RSA key for encryption in x-ms-runtime.keys.",
            )
        })?;
    let number = |name: &str| from_base64(key[name].as_str().unwrap_or_default(), name);
    let public = PublicKeyComponents {
        n: number("n")?,
        e: number("e")?,
    };
    Ok((key["kid"].as_str().unwrap_or_default().to_owned(), public))
}

fn failed() -> Refusal {
    Refusal::new(500, "InternalServerError", "The key could not be wrapped.")
}
