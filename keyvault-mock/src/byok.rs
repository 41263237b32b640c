//! Bring your own key: transfer blobs (`.byok`), in which a key made elsewhere travels under a key of the vault.
//!
//! Source: Microsoft's "BYOK specification" for Key Vault. The blob is JSON; its ciphertext is an AES-256 key under
//! RSA-OAEP with SHA-1, then the PKCS#8 document under that key with RFC 5649. SHA-1 is the format's, not ours, and
//! stands nowhere else but in `RSA-OAEP`.

use std::sync::Arc;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::material::jwk::from_base64;
use crate::material::{Cipher, Material, keywrap};

#[derive(Deserialize)]
struct Blob {
    schema_version: String,
    header: Header,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Header {
    kid: String,
    alg: String,
    enc: String,
}

/// The key in a transfer blob, which comes in base64. `kek` finds the key-exchange key by its address, and refuses
/// one that is none.
///
/// # Errors
/// Another format, a key-exchange key that is refused, or a ciphertext that does not open under it.
pub fn open(
    blob: &str,
    kek: impl FnOnce(&str) -> Result<Arc<Material>, Refusal>,
) -> Result<Material, Refusal> {
    let refused =
        |what: &str| Refusal::bad_parameter(format!("The transfer blob in 'key_hsm' {what}."));
    let bytes = from_base64(blob, "key_hsm")?;
    let blob: Blob = serde_json::from_slice(&bytes)
        .map_err(|error| refused(&format!("has another form: {error}")))?;
    if blob.schema_version != "1.0.0" {
        return Err(refused("has another schema_version than 1.0.0"));
    }
    if blob.header.alg != "dir" || blob.header.enc != "CKM_RSA_AES_KEY_WRAP" {
        return Err(refused(
            "is not wrapped with alg 'dir' and enc 'CKM_RSA_AES_KEY_WRAP'",
        ));
    }
    let ciphertext = from_base64(&blob.ciphertext, "ciphertext")?;
    let kek = kek(&blob.header.kid)?;
    let Material::Rsa(rsa) = &*kek else {
        return Err(refused("names a key exchange key that is not RSA"));
    };
    let (sealed_key, wrapped) = ciphertext
        .split_at_checked(rsa.bits() as usize / 8)
        .ok_or_else(|| refused("is too short"))?;
    let opened = kek.decrypt(&Cipher {
        algorithm: "RSA-OAEP",
        value: sealed_key,
        ..Cipher::default()
    });
    // One answer for both steps, so that nobody learns which of them failed.
    let unopened = || refused("does not open under its key exchange key");
    let aes = opened
        .map(|opened| Zeroizing::new(opened.value))
        .map_err(|_| unopened())?;
    if aes.len() != 32 {
        return Err(unopened());
    }
    let document = keywrap::unwrap_padded(&aes, wrapped).map_err(|_| unopened())?;
    Material::from_pkcs8(&document)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::material::jwk::base64url;
    use crate::material::{Curve, Kind};
    use serde_json::json;

    fn blob(kek: &Material, document: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> String {
        let aes = [7; 32];
        let input = Cipher {
            algorithm: "RSA-OAEP",
            value: &aes,
            ..Cipher::default()
        };
        let mut ciphertext = kek.encrypt(&input).unwrap().value;
        ciphertext.extend(keywrap::wrap_padded(&aes, document).unwrap());
        change(&mut ciphertext);
        let blob = json!({
            "schema_version": "1.0.0",
            "header": { "kid": "https://v/keys/kek", "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP" },
            "ciphertext": base64url(&ciphertext),
            "generator": "test",
        });
        base64url(blob.to_string().as_bytes())
    }

    /// Goal: both kinds of key arrive, and no altered byte of the ciphertext does.
    #[test]
    fn keys_arrive_and_altered_ones_do_not() {
        let kek = Arc::new(Material::generate(Kind::Rsa { bits: 2048 }).unwrap());
        let find = |address: &str| {
            assert_eq!(address, "https://v/keys/kek");
            Ok(Arc::clone(&kek))
        };
        for kind in [Kind::Ec(Curve::P256K), Kind::Rsa { bits: 2048 }] {
            let document = Material::generate(kind).unwrap().expose().unwrap();
            let arrived = open(&blob(&kek, &document, |_| {}), find).unwrap();
            assert_eq!(arrived.kind(), kind);
            assert_eq!(*arrived.expose().unwrap(), *document);
            for at in [0, 255, 256, 300] {
                let altered = blob(&kek, &document, |ciphertext| ciphertext[at] ^= 1);
                assert_eq!(open(&altered, find).err().unwrap().status, 400, "byte {at}");
            }
            let short = blob(&kek, &document, |ciphertext| ciphertext.truncate(100));
            assert_eq!(open(&short, find).err().unwrap().status, 400);
        }
    }
}
