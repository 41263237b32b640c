//! Rotation on demand, and the policy for rotation by itself.

use super::Call;
use super::bundle::bundle;
use crate::error::Refusal;
use crate::rotation::{Event, EventKind, Policy, PolicyJson, rotated};
use crate::wire::Reply;

/// POST /keys/{name}/rotate
pub(super) fn rotate(call: &Call<'_>) -> Result<Reply, Refusal> {
    let (vaults, settings) = (&call.emulator.store, call.settings()?);
    // The secret is made outside of the lock: an RSA key of 4096 bits takes seconds.
    let key = vaults.read(|vaults| vaults.vault(call.vault)?.key(call.key, call.now).cloned())?;
    let version = rotated(&key, call.now)?;
    vaults.change(|vaults| {
        let vault = vaults.vault_mut(call.vault)?;
        vault.key(call.key, call.now)?;
        vault
            .add_version(call.key, version.clone(), call.now)
            .map(|_| ())
    })?;
    call.emulator.events.extend([Event::new(
        EventKind::KeyNewVersionCreated,
        call.vault,
        call.key,
        &version,
        call.now,
    )]);
    Ok(Reply::json(
        200,
        &bundle(call.base_url, call.key, &version, &settings),
    ))
}

/// GET /keys/{name}/rotationpolicy
pub(super) fn get(call: &Call<'_>) -> Result<Reply, Refusal> {
    call.emulator.store.read(|vaults| {
        let key = vaults.vault(call.vault)?.key(call.key, call.now)?;
        let json = Policy::to_json(key.policy.as_ref(), id(call));
        Ok(Reply::json(200, &json))
    })
}

/// PUT /keys/{name}/rotationpolicy
pub(super) fn set(call: &Call<'_>) -> Result<Reply, Refusal> {
    let body: PolicyJson = call.body()?;
    let json = call.emulator.store.change(|vaults| {
        let key = vaults.vault_mut(call.vault)?.key_mut(call.key, call.now)?;
        let policy = Policy::from_json(&body, key.policy.as_ref(), call.now)?;
        let json = Policy::to_json(Some(&policy), id(call));
        key.policy = Some(policy);
        Ok(json)
    })?;
    Ok(Reply::json(200, &json))
}

fn id(call: &Call<'_>) -> String {
    format!("{}/keys/{}/rotationpolicy", call.base_url, call.key)
}
