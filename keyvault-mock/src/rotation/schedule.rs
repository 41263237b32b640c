//! What is due at a time: new versions, announcements, and the end of retentions.

use std::sync::Arc;

use super::{Event, EventKind, Policy};
use crate::error::Refusal;
use crate::material::Material;
use crate::vault::key::new_version_id;
use crate::vault::{Attributes, Key, Vaults, Version};

/// A rotation that came about by itself, for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The vault.
    pub vault: String,
    /// The key.
    pub key: String,
    /// The new version.
    pub version: String,
}

/// Whether [`run`] would change anything.
pub fn is_due(vaults: &Vaults, now: i64) -> bool {
    vaults
        .iter()
        .filter(|vault| vault.deleted().is_none())
        .any(|vault| {
            vault.has_ended_retentions(now)
                || vault
                    .all_keys()
                    .filter(|key| key.life.is_active(now))
                    .any(|key| {
                        rotation_is_due(key, now)
                            || key
                                .versions
                                .last()
                                .is_some_and(|version| announcement(key, version, now).is_some())
                    })
        })
}

/// Does what is due. A clock that was moved far ahead makes one new version, not one for each period it skipped: the
/// service would have made them on their days, but nobody could have used them.
///
/// # Errors
/// A new secret could not be made.
pub fn run(vaults: &mut Vaults, now: i64) -> Result<(Vec<Event>, Vec<Rotated>), Refusal> {
    let (mut events, mut rotations) = (Vec::new(), Vec::new());
    for vault in vaults.iter_mut().filter(|vault| vault.deleted().is_none()) {
        vault.end_retentions(now);
        let name = vault.settings.name.clone();
        for key in vault.all_keys_mut().filter(|key| key.life.is_active(now)) {
            events.extend(announce(&name, key, now));
            if rotation_is_due(key, now) {
                let version = rotated(key, now)?;
                events.push(Event::new(
                    EventKind::KeyNewVersionCreated,
                    &name,
                    &key.name,
                    &version,
                    now,
                ));
                rotations.push(Rotated {
                    vault: name.clone(),
                    key: key.name.clone(),
                    version: version.id.clone(),
                });
                key.versions.push(version);
            }
        }
    }
    Ok((events, rotations))
}

/// A new version of `key`, made as its latest one is, living as long as the policy says.
///
/// # Errors
/// A new secret could not be made.
pub fn rotated(key: &Key, now: i64) -> Result<Version, Refusal> {
    let latest = key
        .versions
        .last()
        .ok_or_else(|| Refusal::key_not_found(&key.name))?;
    let life = key
        .policy
        .as_ref()
        .and_then(|policy| policy.expiry_time.as_ref());
    Ok(Version {
        id: new_version_id()?,
        material: Arc::new(Material::generate(latest.material.kind())?),
        attributes: Attributes {
            enabled: true,
            nbf: None,
            exp: life.and_then(|life| life.after(now)),
            created: now,
            updated: now,
            exportable: latest.attributes.exportable,
        },
        near_expiry_announced: None,
        expiry_announced: None,
        ..latest.clone()
    })
}

fn rotation_is_due(key: &Key, now: i64) -> bool {
    let (Some(policy), Some(latest)) = (&key.policy, key.versions.last()) else {
        return false;
    };
    policy
        .rotate
        .as_ref()
        .and_then(|trigger| trigger.due(latest.attributes.created, latest.attributes.exp))
        .is_some_and(|due| due <= now)
}

/// Announces what is to be announced of the latest version, and remembers it.
fn announce(vault: &str, key: &mut Key, now: i64) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(kind) = key
        .versions
        .last()
        .and_then(|version| announcement(key, version, now))
    {
        let name = key.name.clone();
        let Some(version) = key.versions.last_mut() else {
            break;
        };
        match kind {
            EventKind::KeyExpired => version.expiry_announced = version.attributes.exp,
            _ => version.near_expiry_announced = version.attributes.exp,
        }
        events.push(Event::new(kind, vault, &name, version, now));
    }
    events
}

/// The next announcement about `version`, each being made once for each `exp`.
fn announcement(key: &Key, version: &Version, now: i64) -> Option<EventKind> {
    let exp = version.attributes.exp?;
    let default = Policy::default_notify();
    let notify = match &key.policy {
        Some(policy) => policy.notify.as_ref(),
        None => Some(&default),
    };
    let near = notify.and_then(|trigger| trigger.due(version.attributes.created, Some(exp)));
    if version.near_expiry_announced != Some(exp)
        && near.is_some_and(|near| near <= now)
        && now < exp
    {
        return Some(EventKind::KeyNearExpiry);
    }
    (version.expiry_announced != Some(exp) && exp <= now).then_some(EventKind::KeyExpired)
}
