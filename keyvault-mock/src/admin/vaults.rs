//! Vaults: their settings, their rules and the attributes of their keys.

use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::people::object_id;
use super::{body, found, no_route};
use crate::access::{Assignment, Firewall, Model, Policy, Role};
use crate::error::Refusal;
use crate::server::Emulator;
use crate::vault::{Attributes, Settings};
use crate::wire::Request;

pub(super) fn carry_out(
    emulator: &Emulator,
    request: &Request,
    segments: &[&str],
) -> Result<Value, Refusal> {
    match (request.method.as_str(), segments) {
        ("GET", ["access"]) => Ok(json!(emulator.access.rules())),
        ("PUT", ["access"]) => {
            let Delay {
                propagation_delay_s,
            } = body(request)?;
            emulator.access.set_propagation_delay(propagation_delay_s);
            emulator.keep_authority().map(|()| json!({}))
        }
        ("GET", ["vaults"]) => Ok(emulator.store.read(|vaults| {
            json!({ "vaults": vaults.iter().map(|vault| shown(&vault.settings, vault.deleted())).collect::<Vec<_>>() })
        })),
        (_, ["vaults", vault]) => whole(emulator, request, vault),
        (_, ["vaults", vault, "keys", key]) if request.method == "PATCH" => {
            attributes(emulator, request, vault, key, None)
        }
        (_, ["vaults", vault, "keys", key, version]) if request.method == "PATCH" => {
            attributes(emulator, request, vault, key, Some(version))
        }
        ("POST", ["vaults", vault, "recover"]) => {
            emulator.store.change(|vaults| vaults.recover_vault(vault))?;
            Ok(json!({}))
        }
        ("POST", ["vaults", vault, "purge"]) => purge(emulator, request, vault),
        (_, ["vaults", vault, rule]) => rules(emulator, request, vault, rule),
        _ => Err(no_route(request)),
    }
}

/// The vault's own settings.
fn whole(emulator: &Emulator, request: &Request, vault: &str) -> Result<Value, Refusal> {
    match request.method.as_str() {
        "GET" => emulator.store.read(|vaults| {
            let vault = vaults.vault(vault)?;
            Ok(shown(&vault.settings, vault.deleted()))
        }),
        "PUT" => {
            let settings = changed_settings(emulator, request, vault)?;
            emulator.configure_vault(settings.clone())?;
            Ok(shown(&settings, None))
        }
        "DELETE" => {
            let now = emulator.clock.now();
            emulator
                .store
                .change(|vaults| vaults.delete_vault(vault, now))?;
            Ok(json!({}))
        }
        _ => Err(no_route(request)),
    }
}

fn shown(settings: &Settings, deleted: Option<i64>) -> Value {
    let mut value = json!(settings);
    value["recovery_level"] = settings.recovery_level().into();
    value["deleted"] = json!(deleted);
    value
}

/// The settings there are, or those of a new vault, with the body's fields laid over them.
fn changed_settings(
    emulator: &Emulator,
    request: &Request,
    vault: &str,
) -> Result<Settings, Refusal> {
    let known = emulator
        .store
        .read(|vaults| vaults.vault(vault).map(|known| known.settings.clone()));
    let mut settings = json!(known.unwrap_or_else(|_| Settings::new(vault)));
    let changes: serde_json::Map<String, Value> = body(request)?;
    for (field, value) in changes {
        if field == "name" || settings.get(&field).is_none() {
            return Err(Refusal::bad_parameter(format!(
                "A vault has no setting `{field}` that can be changed."
            )));
        }
        settings[field] = value;
    }
    serde_json::from_value(settings)
        .map_err(|error| Refusal::bad_parameter(format!("No vault has these settings: {error}.")))
}

fn purge(emulator: &Emulator, request: &Request, vault: &str) -> Result<Value, Refusal> {
    let Purger { principal } = if request.body.is_empty() {
        Purger { principal: None }
    } else {
        body(request)?
    };
    if let Some(who) = principal {
        let oid = object_id(emulator, &who)?;
        let now = emulator.clock.now();
        if !emulator.access.may_purge_vault(&oid, vault, now) {
            return Err(Refusal::new(
                403,
                "AuthorizationFailed",
                format!(
                    "The client with object id '{oid}' does not have authorization to perform action \
                     'Microsoft.KeyVault/locations/deletedVaults/purge/action' over vault '{vault}'."
                ),
            ));
        }
    }
    emulator.store.change(|vaults| vaults.purge_vault(vault))?;
    emulator.access.forget(vault);
    emulator.keep_authority().map(|()| json!({}))
}

/// Who may do what in a vault.
fn rules(
    emulator: &Emulator,
    request: &Request,
    vault: &str,
    rule: &str,
) -> Result<Value, Refusal> {
    emulator
        .store
        .read(|vaults| vaults.vault(vault).map(|_| ()))?;
    let access = &emulator.access;
    let now = emulator.clock.now();
    match (request.method.as_str(), rule) {
        ("PUT", "model") => {
            let Chosen { model } = body(request)?;
            access.set_model(vault, model);
        }
        ("PUT", "firewall") => {
            let firewall: Firewall = body(request)?;
            access.set_firewall(vault, firewall);
        }
        ("POST", "roles") => access.assign(vault, assignment(emulator, request)?, now),
        ("DELETE", "roles") => {
            let known = access.unassign(vault, &assignment(emulator, request)?, now);
            emulator.keep_authority()?;
            return found(known, || "This role is not assigned.".into());
        }
        ("PUT", "policies") => {
            let asked: Policy = body(request)?;
            let principal = object_id(emulator, &asked.principal)?;
            access
                .set_policy(vault, Policy { principal, ..asked }, now)
                .map_err(Refusal::bad_parameter)?;
        }
        _ => return Err(no_route(request)),
    }
    emulator.keep_authority().map(|()| json!({}))
}

fn assignment(emulator: &Emulator, request: &Request) -> Result<Assignment, Refusal> {
    let asked: AskedRole = body(request)?;
    let role = Role::named(&asked.role).ok_or_else(|| {
        Refusal::bad_parameter(format!(
            "There is no role `{}`; there are {}.",
            asked.role,
            Role::ALL.map(Role::name).join(", ")
        ))
    })?;
    Ok(Assignment {
        principal: object_id(emulator, &asked.principal)?,
        role,
        key: asked.key,
    })
}

/// Changes the attributes of one version, or of all, without asking anybody's leave.
fn attributes(
    emulator: &Emulator,
    request: &Request,
    vault: &str,
    key: &str,
    version: Option<&str>,
) -> Result<Value, Refusal> {
    let change: AttributeChange = body(request)?;
    let now = emulator.clock.now();
    let changed_count = emulator.store.change(|vaults| {
        let key = vaults.vault_mut(vault)?.key_mut(key, now)?;
        let mut changed_count = 0;
        for known in &mut key.versions {
            if version.is_none_or(|wanted| wanted == known.id) {
                change.apply(&mut known.attributes, now);
                changed_count += 1;
            }
        }
        match version {
            Some(version) if changed_count == 0 => {
                Err(Refusal::key_not_found(&format!("{}/{version}", key.name)))
            }
            _ => Ok(changed_count),
        }
    })?;
    emulator.tick()?;
    Ok(json!({ "changed_count": changed_count }))
}

/// A field that is absent stays; `nbf` and `exp` go when they are null.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AttributeChange {
    enabled: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    exp: Option<Option<i64>>,
}

impl AttributeChange {
    fn apply(&self, attributes: &mut Attributes, now: i64) {
        if let Some(enabled) = self.enabled {
            attributes.enabled = enabled;
        }
        if let Some(nbf) = self.nbf {
            attributes.nbf = nbf;
        }
        if let Some(exp) = self.exp {
            attributes.exp = exp;
        }
        attributes.updated = now;
    }
}

/// Tells a null from a field that is not there.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delay {
    propagation_delay_s: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    model: Model,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purger {
    principal: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedRole {
    principal: String,
    role: String,
    key: Option<String>,
}
