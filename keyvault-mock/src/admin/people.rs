//! Principals, their tokens, and whom they may be vouched for by.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{body, found, no_route};
use crate::error::Refusal;
use crate::server::Emulator;
use crate::tokens::{Jwk, Principal};
use crate::wire::Request;

pub(super) fn carry_out(
    emulator: &Emulator,
    request: &Request,
    segments: &[&str],
) -> Result<Value, Refusal> {
    let tokens = &emulator.tokens;
    match (request.method.as_str(), segments) {
        ("GET", ["principals"]) => Ok(json!({ "principals": without_secrets(emulator) })),
        ("PUT", ["principals"]) => {
            let principal: Principal = body(request)?;
            tokens
                .put_principal(principal)
                .map_err(Refusal::bad_parameter)?;
            emulator.keep_authority().map(|()| json!({}))
        }
        ("PATCH", ["principals", who]) => {
            let Enabled { enabled } = body(request)?;
            let known = tokens.set_enabled(&object_id(emulator, who)?, enabled);
            kept(emulator, known, who)
        }
        ("DELETE", ["principals", who]) => {
            let known = tokens.remove_principal(&object_id(emulator, who)?);
            kept(emulator, known, who)
        }
        ("POST", ["principals", who, "revoke"]) => {
            let known = tokens.revoke(&object_id(emulator, who)?);
            kept(emulator, known, who)
        }
        ("PUT", ["tokens"]) => {
            let Lifetime { lifetime_s } = body(request)?;
            tokens.set_lifetime(lifetime_s);
            Ok(json!({}))
        }
        ("POST", ["assertions"]) => {
            let asked: Assertion = body(request)?;
            let now = emulator.clock.now();
            Ok(json!({
                "issuer": crate::tokens::WORKLOAD_ISSUER,
                "assertion": tokens.workload_assertion(&asked.subject, asked.lifetime_s, now),
            }))
        }
        ("PUT", ["issuers"]) => {
            let issuer: TrustedIssuer = body(request)?;
            tokens.trust_issuer(&issuer.issuer, issuer.keys);
            Ok(json!({}))
        }
        _ => Err(no_route(request)),
    }
}

/// The object id of a principal that is named by any of its names.
///
/// # Errors
/// No such principal.
pub(super) fn object_id(emulator: &Emulator, who: &str) -> Result<String, Refusal> {
    emulator
        .tokens
        .principals()
        .into_iter()
        .find(|known| [&known.oid, &known.appid, &known.name].contains(&&who.to_owned()))
        .map(|known| known.oid)
        .ok_or_else(|| Refusal::new(404, "NotFound", format!("There is no principal `{who}`.")))
}

fn without_secrets(emulator: &Emulator) -> Vec<Principal> {
    let mut principals = emulator.tokens.principals();
    for secret in principals.iter_mut().flat_map(|known| &mut known.secrets) {
        secret.value = "(not shown)".into();
    }
    principals
}

fn kept(emulator: &Emulator, known: bool, who: &str) -> Result<Value, Refusal> {
    emulator.keep_authority()?;
    found(known, || format!("There is no principal `{who}`."))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enabled {
    enabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifetime {
    lifetime_s: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assertion {
    subject: String,
    #[serde(default = "ten_minutes")]
    lifetime_s: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustedIssuer {
    issuer: String,
    keys: Vec<Jwk>,
}

fn ten_minutes() -> i64 {
    600
}
