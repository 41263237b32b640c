//! Backups of whole keys: every version with its id, and the rotation policy, sealed so that only this server's state
//! opens them. The service's own open in any vault of the same subscription and geography; ours in any vault of the
//! same state directory.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::material::jwk::{base64url, from_base64};
use crate::vault::Key;

/// Format 1. It is authenticated with the rest.
const MAGIC: &[u8; 8] = b"KVBACKUP";

/// `key` in a blob that can lie anywhere.
///
/// # Errors
/// The module's failure.
pub fn seal(key: &Key, backup_key: &[u8]) -> Result<String, Refusal> {
    let plain = serde_json::to_vec(key)
        .map(Zeroizing::new)
        .map_err(|_| failed())?;
    let mut nonce = [0; NONCE_LEN];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| failed())?;
    let mut sealed = plain.to_vec();
    aead(backup_key)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(MAGIC),
            &mut sealed,
        )
        .map_err(|_| failed())?;
    Ok(base64url(&[MAGIC.as_slice(), &nonce, &sealed].concat()))
}

/// The key in a blob.
///
/// # Errors
/// Anything that [`seal`] did not make under the same key.
pub fn open(blob: &str, backup_key: &[u8]) -> Result<Key, Refusal> {
    let refused =
        || Refusal::bad_parameter("Backup blob is corrupted, or was made by another server.");
    let bytes = from_base64(blob, "value").map_err(|_| refused())?;
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(refused)?;
    let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let plain = aead(backup_key)?
        .open_in_place(nonce, Aad::from(MAGIC), &mut sealed)
        .map_err(|_| refused())?;
    serde_json::from_slice(plain).map_err(|_| refused())
}

fn aead(key: &[u8]) -> Result<LessSafeKey, Refusal> {
    Ok(LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, key).map_err(|_| failed())?,
    ))
}

fn failed() -> Refusal {
    Refusal::new(
        500,
        "InternalServerError",
        "The backup could not be sealed.",
    )
}
