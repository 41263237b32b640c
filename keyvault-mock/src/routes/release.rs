//! Release and attestation.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::Call;
use super::bundle::bundle;
use crate::error::Refusal;
use crate::release::{Target, wrapped_to};
use crate::vault::key::Use;
use crate::wire::Reply;

#[derive(Deserialize)]
struct ReleaseBody {
    target: String,
    nonce: Option<String>,
    enc: Option<String>,
}

/// POST /keys/{name}/{version}/release
pub(super) fn release(call: &Call<'_>) -> Result<Reply, Refusal> {
    let body: ReleaseBody = call.body()?;
    let (version, settings) = call.emulator.store.read(|vaults| {
        let vault = vaults.vault(call.vault)?;
        let version = vault.version(call.key, call.version, call.now)?;
        version.permit(Use::Release, call.now, vault.settings.wrap_when_disabled)?;
        Ok::<_, Refusal>((version.clone(), vault.settings.clone()))
    })?;
    let policy = version
        .release_policy
        .as_ref()
        .filter(|_| version.attributes.exportable)
        .ok_or_else(|| {
            Refusal::new(
                403,
                "Forbidden",
                "The key is not exportable, so it is not released.",
            )
        })?;
    let target = Target {
        token: &body.target,
        encryption: body.enc.as_deref(),
        now: call.now,
    };
    let material = Arc::clone(&version.material);
    let key_hsm = wrapped_to(&target, &call.emulator.tokens, policy, &material)?;
    let mut key = bundle(call.base_url, call.key, &version, &settings);
    key["key"]["key_hsm"] = json!(key_hsm);
    let payload = json!({
        "request": {
            "api-version": call.api.name(),
            "enc": body.enc.as_deref().unwrap_or("CKM_RSA_AES_KEY_WRAP"),
            "kid": key["key"]["kid"],
            "nonce": body.nonce,
        },
        "response": { "key": key },
    });
    let value = call.emulator.tokens.sign_release(&payload);
    Ok(Reply::json(200, &json!({ "value": value })))
}

/// GET /keys/{name}/{version}/attestation
pub(super) fn attestation(call: &Call<'_>) -> Result<Reply, Refusal> {
    call.emulator.store.read(|vaults| {
        vaults
            .vault(call.vault)?
            .version(call.key, call.version, call.now)
            .map(|_| ())
    })?;
    Err(Refusal::not_emulated(
        "Key attestation is a hardware security module's signature over where a key was made. This emulator has no \
         such hardware, so it does not sign one.",
    ))
}
