//! Vaults, keys and versions, and the states a key goes through.
//!
//! 1. A name belongs to one key at a time, deleted or not.
//! 2. Deleting concerns all versions of a key at once; they come back together or go together.
//! 3. A deleted key goes for good when its retention ends, purge protection or not; before that, only by a purge
//!    that purge protection refuses.
//! 4. Nothing here reads a clock: `now` is an argument.

pub mod key;
mod lifecycle;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Refusal;
pub use key::{Attributes, Key, Life, ReleasePolicy, Version};

/// Every vault of one server, by name. Cloning is cheap enough to try a change on the side.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Vaults {
    vaults: BTreeMap<String, Vault>,
}

impl Vaults {
    /// Adds an empty vault unless there is one of that name, whose settings are then replaced.
    pub fn configure(&mut self, settings: Settings) {
        match self.vaults.get_mut(&settings.name) {
            Some(vault) => vault.settings = settings,
            None => {
                let name = settings.name.clone();
                let vault = Vault {
                    settings,
                    keys: BTreeMap::new(),
                    deleted: None,
                };
                self.vaults.insert(name, vault);
            }
        }
    }

    /// The vault of that name.
    ///
    /// # Errors
    /// No such vault, or it is deleted.
    pub fn vault(&self, name: &str) -> Result<&Vault, Refusal> {
        self.vaults
            .get(name)
            .filter(|vault| vault.deleted.is_none())
            .ok_or_else(|| Refusal::vault_not_found(name))
    }

    /// The vault of that name, to be changed.
    ///
    /// # Errors
    /// No such vault, or it is deleted.
    pub fn vault_mut(&mut self, name: &str) -> Result<&mut Vault, Refusal> {
        self.vaults
            .get_mut(name)
            .filter(|vault| vault.deleted.is_none())
            .ok_or_else(|| Refusal::vault_not_found(name))
    }

    /// Every vault, deleted ones as well.
    pub fn iter(&self) -> impl Iterator<Item = &Vault> {
        self.vaults.values()
    }

    /// Every vault, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Vault> {
        self.vaults.values_mut()
    }

    /// Deletes a whole vault, as the management plane does: every key of it is out of reach.
    ///
    /// # Errors
    /// No such vault, or it is deleted already.
    pub fn delete_vault(&mut self, name: &str, now: i64) -> Result<(), Refusal> {
        self.vault_mut(name)?.deleted = Some(now);
        Ok(())
    }

    /// Brings a deleted vault back with all its keys.
    ///
    /// # Errors
    /// No deleted vault of that name.
    pub fn recover_vault(&mut self, name: &str) -> Result<(), Refusal> {
        match self.vaults.get_mut(name) {
            Some(vault) if vault.deleted.is_some() => {
                vault.deleted = None;
                Ok(())
            }
            _ => Err(Refusal::vault_not_found(name)),
        }
    }

    /// Removes a deleted vault for good.
    ///
    /// # Errors
    /// No deleted vault of that name, or purge protection.
    pub fn purge_vault(&mut self, name: &str) -> Result<(), Refusal> {
        match self.vaults.get(name) {
            Some(vault) if vault.deleted.is_none() => Err(Refusal::vault_not_found(name)),
            None => Err(Refusal::vault_not_found(name)),
            Some(vault) if vault.settings.purge_protection => Err(Refusal::purge_protected()),
            Some(_) => {
                self.vaults.remove(name);
                Ok(())
            }
        }
    }
}

/// What a vault was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The vault's name: the first label of its host.
    pub name: String,
    /// Whether deleted keys stay for their retention. The service has not let this be switched off since 2020; old
    /// vaults show recovery level `Purgeable`.
    pub soft_delete: bool,
    /// Whether nobody can purge.
    pub purge_protection: bool,
    /// Whether the subscription cannot be cancelled either, which shows in the recovery level.
    pub protected_subscription: bool,
    /// Days that a deleted key is kept, 7 to 90.
    pub retention_days: u32,
    /// Seconds until deletion, recovery and purge are visible. Recorded of the service: 2 to 8.
    pub delete_lag_s: i64,
    /// Seconds until a new version shows in lists. It can be used by its id, and as the latest, at once.
    pub version_list_lag_s: i64,
    /// Whether `wrapKey` and `encrypt` work with a disabled key. It is not known whether the service allows it.
    pub wrap_when_disabled: bool,
}

impl Settings {
    /// A vault as the portal makes it: soft delete, 90 days, no purge protection.
    pub fn new(name: &str) -> Settings {
        Settings {
            name: name.to_owned(),
            soft_delete: true,
            purge_protection: false,
            protected_subscription: false,
            retention_days: 90,
            delete_lag_s: 0,
            version_list_lag_s: 0,
            wrap_when_disabled: false,
        }
    }

    /// `attributes.recoveryLevel` of every key in the vault.
    pub fn recovery_level(&self) -> String {
        if !self.soft_delete {
            return "Purgeable".to_owned();
        }
        let customized = if self.retention_days == 90 {
            ""
        } else {
            "Customized"
        };
        let ending = match (self.purge_protection, self.protected_subscription) {
            (true, true) => "+ProtectedSubscription",
            (true, false) => "",
            (false, _) => "+Purgeable",
        };
        format!("{customized}Recoverable{ending}")
    }
}

/// One vault.
#[derive(Clone, Serialize, Deserialize)]
pub struct Vault {
    /// What it was made with.
    pub settings: Settings,
    keys: BTreeMap<String, Key>,
    /// When the whole vault was deleted.
    deleted: Option<i64>,
}

impl Vault {
    /// When the whole vault was deleted, if it is.
    pub fn deleted(&self) -> Option<i64> {
        self.deleted
    }

    /// The key of that name, unless it is deleted.
    ///
    /// # Errors
    /// No such key, or none that can be seen.
    pub fn key(&self, name: &str, now: i64) -> Result<&Key, Refusal> {
        self.keys
            .get(name)
            .filter(|key| key.life.is_active(now))
            .ok_or_else(|| Refusal::key_not_found(name))
    }

    /// The key of that name, to be changed.
    ///
    /// # Errors
    /// No such key, or none that can be seen.
    pub fn key_mut(&mut self, name: &str, now: i64) -> Result<&mut Key, Refusal> {
        self.keys
            .get_mut(name)
            .filter(|key| key.life.is_active(now))
            .ok_or_else(|| Refusal::key_not_found(name))
    }

    /// A version of a key; without a version, the latest.
    ///
    /// # Errors
    /// No such key or version.
    pub fn version(
        &self,
        name: &str,
        version: Option<&str>,
        now: i64,
    ) -> Result<&Version, Refusal> {
        let missing = || Refusal::key_not_found(&format!("{name}/{}", version.unwrap_or_default()));
        let key = match version {
            Some(_) => self.key(name, now).map_err(|_| missing())?,
            None => self.key(name, now)?,
        };
        key.version(version).ok_or_else(missing)
    }

    /// Every key that is not deleted, by name.
    pub fn keys(&self, now: i64) -> impl Iterator<Item = &Key> {
        self.keys
            .values()
            .filter(move |key| key.life.is_active(now))
    }

    /// Every key in any state, to be changed by the scheduler.
    pub(crate) fn all_keys_mut(&mut self) -> impl Iterator<Item = &mut Key> {
        self.keys.values_mut()
    }

    /// Every key in any state.
    pub(crate) fn all_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.values()
    }

    /// Adds a version to the key of that name, which is made when there is none.
    ///
    /// # Errors
    /// The name belongs to a deleted key, or to one on its way.
    pub fn add_version(&mut self, name: &str, version: Version, now: i64) -> Result<&Key, Refusal> {
        self.name_is_usable(name, now)?;
        let key = self
            .keys
            .entry(name.to_owned())
            .or_insert_with(|| Key::new(name, now));
        key.versions.push(version);
        Ok(key)
    }

    /// Puts a key back as its backup has it.
    ///
    /// # Errors
    /// The name is taken, by a deleted key as well.
    pub fn restore(&mut self, key: Key, now: i64) -> Result<&Key, Refusal> {
        self.forget_purged(now);
        if self.keys.contains_key(&key.name) {
            return Err(Refusal::already_exists(&key.name));
        }
        let name = key.name.clone();
        Ok(self.keys.entry(name).or_insert(Key {
            life: Life::Active { since: now },
            ..key
        }))
    }

    /// Refuses a name whose key is deleted, or on its way into or out of that state.
    fn name_is_usable(&mut self, name: &str, now: i64) -> Result<(), Refusal> {
        self.forget_purged(now);
        match self.keys.get(name).map(|key| &key.life) {
            None => Ok(()),
            Some(life) => life.usable_name(name, now),
        }
    }

    fn forget_purged(&mut self, now: i64) {
        self.keys.retain(|_, key| !key.life.is_gone(now));
    }
}

#[cfg(test)]
mod tests;
