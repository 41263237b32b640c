//! Backup and restore.

use serde::{Deserialize, Serialize};

use super::Call;
use super::bundle::bundle;
use crate::backup;
use crate::error::Refusal;
use crate::wire::Reply;

#[derive(Serialize, Deserialize)]
struct Blob {
    value: String,
}

/// POST /keys/{name}/backup
pub(super) fn backup(call: &Call<'_>) -> Result<Reply, Refusal> {
    let key = call
        .emulator
        .store
        .read(|vaults| vaults.vault(call.vault)?.key(call.key, call.now).cloned())?;
    let value = backup::seal(&key, &call.emulator.store.backup_key())?;
    Ok(Reply::json(200, &Blob { value }))
}

/// POST /keys/restore
pub(super) fn restore(call: &Call<'_>) -> Result<Reply, Refusal> {
    let Blob { value } = call.body()?;
    let key = backup::open(&value, &call.emulator.store.backup_key())?;
    let reply = call.emulator.store.change(|vaults| {
        let vault = vaults.vault_mut(call.vault)?;
        let settings = vault.settings.clone();
        let key = vault.restore(key, call.now)?;
        let latest = key
            .version(None)
            .ok_or_else(|| Refusal::bad_property("value"))?;
        Ok(bundle(call.base_url, &key.name, latest, &settings))
    })?;
    Ok(Reply::json(200, &reply))
}
