//! Keys as replies show them.

use serde_json::{Map, Value, json};

use crate::material::Jwk;
use crate::vault::{Key, Life, Settings, Version};

/// A key with its public half.
pub(super) fn bundle(base_url: &str, name: &str, version: &Version, settings: &Settings) -> Value {
    let mut jwk = Jwk::public_of(&version.material, version.hsm);
    jwk.kid = Some(kid(base_url, name, Some(&version.id)));
    jwk.key_ops = Some(version.key_ops.clone());
    let mut bundle = json!({
        "key": jwk,
        "attributes": attributes(version, settings),
        "tags": version.tags,
    });
    if let Some(policy) = &version.release_policy {
        bundle["release_policy"] = json!(policy);
    }
    bundle
}

/// A line of a list; the versions' list names the version.
pub(super) fn item(kid: String, version: &Version, settings: &Settings) -> Value {
    json!({
        "kid": kid,
        "attributes": attributes(version, settings),
        "tags": version.tags,
    })
}

/// `value` with what is added when the key is deleted.
pub(super) fn deleted(mut value: Value, base_url: &str, key: &Key) -> Value {
    if let Life::Deleted { at, purge, .. } = key.life {
        value["recoveryId"] = json!(format!("{base_url}/deletedkeys/{}", key.name));
        value["deletedDate"] = json!(at);
        value["scheduledPurgeDate"] = json!(purge);
    }
    value
}

/// The address of a key or of a version of it.
pub(super) fn kid(base_url: &str, name: &str, version: Option<&str>) -> String {
    match version {
        Some(version) => format!("{base_url}/keys/{name}/{version}"),
        None => format!("{base_url}/keys/{name}"),
    }
}

fn attributes(version: &Version, settings: &Settings) -> Value {
    let held = &version.attributes;
    let mut attributes = Map::new();
    attributes.insert("enabled".into(), json!(held.enabled));
    if let Some(nbf) = held.nbf {
        attributes.insert("nbf".into(), json!(nbf));
    }
    if let Some(exp) = held.exp {
        attributes.insert("exp".into(), json!(exp));
    }
    attributes.insert("created".into(), json!(held.created));
    attributes.insert("updated".into(), json!(held.updated));
    attributes.insert("recoveryLevel".into(), json!(settings.recovery_level()));
    let days = if settings.soft_delete {
        settings.retention_days
    } else {
        0
    };
    attributes.insert("recoverableDays".into(), json!(days));
    attributes.insert("exportable".into(), json!(held.exportable));
    if version.hsm {
        // What the service writes for its oldest hardware; here it is none at all.
        attributes.insert("hsmPlatform".into(), json!("0"));
    }
    Value::Object(attributes)
}
