//! Create, import, get and list.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::bundle::{bundle, item, kid};
use super::update::{Change, check_key_ops, check_tags};
use super::{Call, page};
use crate::byok;
use crate::error::Refusal;
use crate::material::akp::Parameters;
use crate::material::{Curve, Jwk, Kind, Material};
use crate::rotation::{Event, EventKind};
use crate::vault::{ReleasePolicy, Version};
use crate::wire::Reply;

/// ML-DSA keys came with this version.
const AKP_SINCE: &str = "2026-05-01-preview";

#[derive(Deserialize)]
struct CreateBody {
    kty: String,
    key_size: Option<u32>,
    public_exponent: Option<u64>,
    crv: Option<String>,
    alg: Option<String>,
    key_ops: Option<Vec<String>>,
    attributes: Option<Value>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<ReleasePolicy>,
}

#[derive(Deserialize)]
struct ImportBody {
    key: Jwk,
    #[serde(alias = "Hsm")]
    hsm: Option<bool>,
    attributes: Option<Value>,
    tags: Option<BTreeMap<String, String>>,
    release_policy: Option<ReleasePolicy>,
}

/// POST /keys/{name}/create
pub(super) fn create(call: &Call<'_>) -> Result<Reply, Refusal> {
    let body: CreateBody = call.body()?;
    let (kind, hsm) = kind(call, &body)?;
    let change = Change {
        key_ops: body.key_ops,
        attributes: body.attributes,
        tags: body.tags,
        release_policy: body.release_policy,
    };
    // Refuse what will be refused before seconds are spent on a key.
    change.check()?;
    let material = Arc::new(Material::generate(kind)?);
    let key_ops = Version::default_ops(kind);
    add(call, material, hsm, key_ops, &change)
}

/// PUT /keys/{name}
pub(super) fn import(call: &Call<'_>) -> Result<Reply, Refusal> {
    let body: ImportBody = call.body()?;
    let (_, claims_hsm) = Jwk::split_kty(&body.key.kty);
    let hsm = claims_hsm || body.hsm == Some(true) || body.key.key_hsm.is_some();
    let material = match body.key.key_hsm.as_deref() {
        Some(blob) => byok::open(blob, |kek| byok_kek(call, kek))?,
        None => body.key.material()?,
    };
    if material.kty() != Jwk::split_kty(&body.key.kty).0 {
        return Err(Refusal::bad_property("kty"));
    }
    let change = Change {
        key_ops: body.key.key_ops,
        attributes: body.attributes,
        tags: body.tags,
        release_policy: body.release_policy,
    };
    change.check()?;
    let key_ops = Version::default_ops(material.kind());
    add(call, Arc::new(material), hsm, key_ops, &change)
}

/// The key-exchange key of a transfer blob: in the same vault, `RSA-HSM`, and for `import` alone.
fn byok_kek(call: &Call<'_>, address: &str) -> Result<Arc<Material>, Refusal> {
    let refused =
        |why: &str| Refusal::bad_parameter(format!("The key exchange key {address} {why}."));
    let own = format!("{}/keys/", call.base_url);
    let path = address
        .strip_prefix(&own)
        .ok_or_else(|| refused("is not in this vault"))?;
    let (name, version) = match path.split_once('/') {
        Some((name, version)) => (name, Some(version)),
        None => (path, None),
    };
    call.emulator.store.read(|vaults| {
        let version = vaults.vault(call.vault)?.version(name, version, call.now)?;
        if !version.hsm || !matches!(*version.material, Material::Rsa(_)) {
            return Err(refused("is not of type RSA-HSM"));
        }
        if version.key_ops != ["import"] {
            return Err(refused("does not have key_ops of exactly [\"import\"]"));
        }
        if !version.attributes.enabled {
            return Err(Refusal::key_disabled("import"));
        }
        Ok(Arc::clone(&version.material))
    })
}

fn add(
    call: &Call<'_>,
    material: Arc<Material>,
    hsm: bool,
    key_ops: Vec<String>,
    change: &Change,
) -> Result<Reply, Refusal> {
    let mut version = Version {
        hsm,
        key_ops,
        ..Version::new(material, call.now)?
    };
    change.apply(&mut version, call.now, true)?;
    let (reply, event) = call.emulator.store.change(|vaults| {
        let vault = vaults.vault_mut(call.vault)?;
        let settings = vault.settings.clone();
        vault.add_version(call.key, version.clone(), call.now)?;
        let event = Event::new(
            EventKind::KeyNewVersionCreated,
            call.vault,
            call.key,
            &version,
            call.now,
        );
        Ok((bundle(call.base_url, call.key, &version, &settings), event))
    })?;
    call.emulator.events.extend([event]);
    Ok(Reply::json(200, &reply))
}

fn kind(call: &Call<'_>, body: &CreateBody) -> Result<(Kind, bool), Refusal> {
    let (kty, hsm) = Jwk::split_kty(&body.kty);
    let kind = match kty {
        "RSA" => {
            if body
                .public_exponent
                .is_some_and(|exponent| exponent != 65_537)
            {
                return Err(Refusal::bad_property("public_exponent"));
            }
            Kind::Rsa {
                bits: body.key_size.unwrap_or(2048),
            }
        }
        "EC" => Kind::Ec(Curve::named(body.crv.as_deref().unwrap_or("P-256"))?),
        "oct" => Kind::Oct {
            bits: body.key_size.unwrap_or(256),
        },
        "AKP" => {
            call.api.needs(AKP_SINCE, "ML-DSA")?;
            Kind::Akp(Parameters::named(body.alg.as_deref().unwrap_or_default())?)
        }
        _ => return Err(Refusal::bad_property("kty")),
    };
    if let Some(ops) = &body.key_ops {
        check_key_ops(ops)?;
    }
    if let Some(tags) = &body.tags {
        check_tags(tags)?;
    }
    Ok((kind, hsm))
}

/// GET /keys/{name}[/{version}]
pub(super) fn get(call: &Call<'_>) -> Result<Reply, Refusal> {
    call.emulator.store.read(|vaults| {
        let vault = vaults.vault(call.vault)?;
        let version = vault.version(call.key, call.version, call.now)?;
        Ok(Reply::json(
            200,
            &bundle(call.base_url, call.key, version, &vault.settings),
        ))
    })
}

/// GET /keys
pub(super) fn list(call: &Call<'_>) -> Result<Reply, Refusal> {
    let items = call.emulator.store.read(|vaults| {
        let vault = vaults.vault(call.vault)?;
        Ok::<_, Refusal>(
            vault
                .keys(call.now)
                .filter_map(|key| Some((key, key.version(None)?)))
                .map(|(key, latest)| {
                    let kid = kid(call.base_url, &key.name, None);
                    (key.name.clone(), item(kid, latest, &vault.settings))
                })
                .collect(),
        )
    })?;
    page::reply(call, "keys", items)
}

/// GET /keys/{name}/versions. A key that is not there has no versions, and that is no error.
pub(super) fn list_versions(call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut items: Vec<(String, Value)> = call.emulator.store.read(|vaults| {
        let vault = vaults.vault(call.vault)?;
        let seen = call.now.saturating_sub(vault.settings.version_list_lag_s);
        Ok::<_, Refusal>(
            vault
                .key(call.key, call.now)
                .map(|key| key.versions.as_slice())
                .unwrap_or_default()
                .iter()
                .filter(|version| version.attributes.created <= seen)
                .map(|version| {
                    let kid = kid(call.base_url, call.key, Some(&version.id));
                    (version.id.clone(), item(kid, version, &vault.settings))
                })
                .collect(),
        )
    })?;
    items.sort_by(|left, right| left.0.cmp(&right.0));
    page::reply(call, &format!("keys/{}/versions", call.key), items)
}
