//! What a caller may set on a version: attributes, operations, tags, release policy.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Call;
use super::bundle::bundle;
use crate::error::Refusal;
use crate::material::jwk::from_base64;
use crate::vault::{ReleasePolicy, Version};
use crate::wire::Reply;

/// The members that create, import and update have in common. What is absent stays as it is.
#[derive(Deserialize)]
pub(super) struct Change {
    pub(super) key_ops: Option<Vec<String>>,
    pub(super) attributes: Option<Value>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) release_policy: Option<ReleasePolicy>,
}

/// What `key_ops` may hold.
const KEY_OPS: [&str; 9] = [
    "encrypt",
    "decrypt",
    "sign",
    "verify",
    "wrapKey",
    "unwrapKey",
    "import",
    "export",
    "deriveKey",
];
const TAG_COUNT_MAX: usize = 15;
const TAG_LEN_MAX: usize = 256;
/// 9999-12-31T23:59:59Z; the service's times are 32 bits wide in places, its documentation says nothing.
const TIME_MAX: i64 = 253_402_300_799;

/// PATCH /keys/{name}[/{version}]
pub(super) fn update(call: &Call<'_>) -> Result<Reply, Refusal> {
    let change: Change = call.body()?;
    change.check()?;
    let reply = call.emulator.store.change(|vaults| {
        let vault = vaults.vault_mut(call.vault)?;
        let settings = vault.settings.clone();
        vault.version(call.key, call.version, call.now)?;
        let version = vault
            .key_mut(call.key, call.now)?
            .version_mut(call.version)
            .ok_or_else(|| Refusal::key_not_found(call.key))?;
        change.apply(version, call.now, false)?;
        version.attributes.updated = call.now;
        Ok(bundle(call.base_url, call.key, version, &settings))
    })?;
    Ok(Reply::json(200, &reply))
}

impl Change {
    /// Refuses members that no version can have.
    ///
    /// # Errors
    /// 400, naming the member.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if let Some(ops) = &self.key_ops {
            check_key_ops(ops)?;
        }
        if let Some(tags) = &self.tags {
            check_tags(tags)?;
        }
        if let Some(policy) = &self.release_policy {
            let data = from_base64(&policy.data, "release_policy")?;
            serde_json::from_slice::<Value>(&data)
                .map_err(|_| Refusal::bad_property("release_policy"))?;
        }
        Ok(())
    }

    /// Sets what is there. `exportable` is settled when a version is made.
    ///
    /// # Errors
    /// Values that cannot be, or that may not be changed.
    pub(super) fn apply(&self, version: &mut Version, now: i64, new: bool) -> Result<(), Refusal> {
        if let Some(attributes) = &self.attributes {
            apply_attributes(attributes, version, new)?;
        }
        if let Some(ops) = &self.key_ops {
            version.key_ops.clone_from(ops);
        }
        if let Some(tags) = &self.tags {
            version.tags.clone_from(tags);
        }
        if let Some(policy) = &self.release_policy {
            let fixed = version
                .release_policy
                .as_ref()
                .is_some_and(|old| old.immutable && old != policy);
            if fixed {
                return Err(Refusal::bad_parameter("The release policy is immutable."));
            }
            version.release_policy = Some(policy.clone());
        }
        if version.attributes.exportable && version.release_policy.is_none() {
            return Err(Refusal::bad_parameter(
                "An exportable key needs a release policy.",
            ));
        }
        version.attributes.updated = now;
        Ok(())
    }
}

fn apply_attributes(given: &Value, version: &mut Version, new: bool) -> Result<(), Refusal> {
    let given = given
        .as_object()
        .ok_or_else(|| Refusal::bad_property("attributes"))?;
    let held = &mut version.attributes;
    match given.get("enabled") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(enabled)) => held.enabled = *enabled,
        Some(_) => return Err(Refusal::bad_property("enabled")),
    }
    for (name, place) in [("nbf", &mut held.nbf), ("exp", &mut held.exp)] {
        match given.get(name) {
            None => {}
            // An explicit null takes the date away.
            Some(Value::Null) => *place = None,
            Some(value) => {
                let time = value.as_i64().filter(|time| (0..=TIME_MAX).contains(time));
                *place = Some(time.ok_or_else(|| Refusal::bad_property(name))?);
            }
        }
    }
    if let (Some(nbf), Some(exp)) = (held.nbf, held.exp)
        && nbf >= exp
    {
        return Err(Refusal::bad_parameter(
            "Property 'nbf' must be before 'exp'.",
        ));
    }
    match given.get("exportable") {
        None | Some(Value::Null) => {}
        Some(Value::Bool(exportable)) if new || *exportable == held.exportable => {
            held.exportable = *exportable
        }
        Some(_) => return Err(Refusal::bad_property("exportable")),
    }
    Ok(())
}

pub(super) fn check_key_ops(ops: &[String]) -> Result<(), Refusal> {
    let known = ops
        .iter()
        .all(|op| KEY_OPS.iter().any(|known| known.eq_ignore_ascii_case(op)));
    let exchange = ops.iter().any(|op| op == "import") && ops.len() > 1;
    if !known || exchange {
        return Err(Refusal::bad_property("key_ops"));
    }
    Ok(())
}

pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let fits = |text: &String| text.len() <= TAG_LEN_MAX;
    if tags.len() > TAG_COUNT_MAX || !tags.iter().all(|(name, value)| fits(name) && fits(value)) {
        return Err(Refusal::bad_property("tags"));
    }
    Ok(())
}
