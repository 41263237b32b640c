//! Delete, recover, purge.

use super::{Key, Life, Vault};
use crate::error::Refusal;

const DAY_S: i64 = 86_400;

impl Vault {
    /// Deletes a key with all its versions. Returns it as it is then.
    ///
    /// # Errors
    /// No such key, or it is being deleted.
    pub fn delete(&mut self, name: &str, now: i64) -> Result<Key, Refusal> {
        if let Some(Life::Deleted { visible, .. }) = self.keys.get(name).map(|key| &key.life)
            && now < *visible
        {
            return Err(Refusal::being_deleted());
        }
        let (settings, keys) = (&self.settings, &mut self.keys);
        let key = keys
            .get_mut(name)
            .filter(|key| key.life.is_active(now))
            .ok_or_else(|| Refusal::key_not_found(name))?;
        if !settings.soft_delete {
            key.life = Life::Purged {
                free: now + settings.delete_lag_s,
            };
            return Ok(key.clone());
        }
        key.life = Life::Deleted {
            at: now,
            visible: now + settings.delete_lag_s,
            purge: now + i64::from(settings.retention_days) * DAY_S,
        };
        Ok(key.clone())
    }

    /// A deleted key that can be seen.
    ///
    /// # Errors
    /// No such deleted key, or its deletion is not visible.
    pub fn deleted_key(&self, name: &str, now: i64) -> Result<&Key, Refusal> {
        self.keys
            .get(name)
            .filter(|key| is_visibly_deleted(key, now))
            .ok_or_else(|| Refusal::deleted_key_not_found(name))
    }

    /// Every deleted key that can be seen, by name.
    pub fn deleted_keys(&self, now: i64) -> impl Iterator<Item = &Key> {
        self.keys
            .values()
            .filter(move |key| is_visibly_deleted(key, now))
    }

    /// Brings a deleted key back with all its versions. Returns it as it will be.
    ///
    /// # Errors
    /// No such deleted key, or its deletion is under way.
    pub fn recover(&mut self, name: &str, now: i64) -> Result<Key, Refusal> {
        let lag = self.settings.delete_lag_s;
        let key = self.deleted_key_mut(name, now)?;
        key.life = Life::Active { since: now + lag };
        Ok(key.clone())
    }

    /// Removes a deleted key for good.
    ///
    /// # Errors
    /// No such deleted key, its deletion is under way, or purge protection.
    pub fn purge(&mut self, name: &str, now: i64) -> Result<(), Refusal> {
        let (lag, protected) = (self.settings.delete_lag_s, self.settings.purge_protection);
        let key = self.deleted_key_mut(name, now)?;
        if protected {
            return Err(Refusal::purge_protected());
        }
        // The secrets go at once; only the name lingers.
        key.versions.clear();
        key.life = Life::Purged { free: now + lag };
        Ok(())
    }

    /// Whether the retention of a deleted key has ended.
    pub fn has_ended_retentions(&self, now: i64) -> bool {
        self.keys.values().any(|key| key.life.is_gone(now))
    }

    /// Removes the deleted keys whose retention has ended.
    pub fn end_retentions(&mut self, now: i64) {
        self.forget_purged(now);
    }

    fn deleted_key_mut(&mut self, name: &str, now: i64) -> Result<&mut Key, Refusal> {
        let missing = || Refusal::deleted_key_not_found(name);
        let key = self.keys.get_mut(name).ok_or_else(missing)?;
        match key.life {
            Life::Deleted { visible, .. } if now < visible => Err(Refusal::being_deleted()),
            Life::Deleted { purge, .. } if now < purge => Ok(key),
            _ => Err(missing()),
        }
    }
}

fn is_visibly_deleted(key: &Key, now: i64) -> bool {
    matches!(key.life, Life::Deleted { visible, purge, .. } if visible <= now && now < purge)
}
