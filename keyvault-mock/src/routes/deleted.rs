//! Delete, and what can be done with deleted keys.

use serde_json::Value;

use super::bundle::{bundle, deleted, item, kid};
use super::{Call, page};
use crate::error::Refusal;
use crate::vault::{Key, Settings};
use crate::wire::Reply;

/// DELETE /keys/{name}
pub(super) fn delete(call: &Call<'_>) -> Result<Reply, Refusal> {
    let reply = call.emulator.store.change(|vaults| {
        let vault = vaults.vault_mut(call.vault)?;
        let key = vault.delete(call.key, call.now)?;
        shown(call, &key, &vault.settings)
    })?;
    Ok(Reply::json(200, &reply))
}

/// GET /deletedkeys/{name}
pub(super) fn get(call: &Call<'_>) -> Result<Reply, Refusal> {
    let reply = call.emulator.store.read(|vaults| {
        let vault = vaults.vault(call.vault)?;
        shown(
            call,
            vault.deleted_key(call.key, call.now)?,
            &vault.settings,
        )
    })?;
    Ok(Reply::json(200, &reply))
}

/// GET /deletedkeys
pub(super) fn list(call: &Call<'_>) -> Result<Reply, Refusal> {
    let items = call.emulator.store.read(|vaults| {
        let vault = vaults.vault(call.vault)?;
        Ok::<_, Refusal>(
            vault
                .deleted_keys(call.now)
                .filter_map(|key| Some((key, key.version(None)?)))
                .map(|(key, latest)| {
                    let line = item(kid(call.base_url, &key.name, None), latest, &vault.settings);
                    (key.name.clone(), deleted(line, call.base_url, key))
                })
                .collect(),
        )
    })?;
    page::reply(call, "deletedkeys", items)
}

/// POST /deletedkeys/{name}/recover
pub(super) fn recover(call: &Call<'_>) -> Result<Reply, Refusal> {
    let reply = call.emulator.store.change(|vaults| {
        let vault = vaults.vault_mut(call.vault)?;
        let key = vault.recover(call.key, call.now)?;
        shown(call, &key, &vault.settings)
    })?;
    Ok(Reply::json(200, &reply))
}

/// DELETE /deletedkeys/{name}
pub(super) fn purge(call: &Call<'_>) -> Result<Reply, Refusal> {
    call.emulator
        .store
        .change(|vaults| vaults.vault_mut(call.vault)?.purge(call.key, call.now))?;
    Ok(Reply::empty(204))
}

fn shown(call: &Call<'_>, key: &Key, settings: &Settings) -> Result<Value, Refusal> {
    let latest = key
        .version(None)
        .ok_or_else(|| Refusal::key_not_found(&key.name))?;
    let value = bundle(call.base_url, &key.name, latest, settings);
    Ok(deleted(value, call.base_url, key))
}
