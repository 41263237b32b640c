//! The admin API: what a test, or the person behind one, does to the emulator. Plain HTTP on a loopback port of its
//! own, JSON in and out, `Authorization: Bearer` with the admin token. Only the authority's certificate needs none,
//! and the managed identity's two paths, which have their own rules and are plain HTTP on real machines, too.
//!
//! | Request | What |
//! | --- | --- |
//! | `GET /ca.pem` | the authority's certificate; no token |
//! | `GET /msi/token`, `GET /metadata/identity/oauth2/token` | managed identity ([`crate::tokens`]); no token |
//! | `GET /clock` | `{"now":1767225600,"frozen":false}` |
//! | `POST /clock` | any of `{"reset":true,"set":SECONDS,"advance_s":SECONDS,"frozen":true}`, in this order |
//! | `GET`, `POST`, `DELETE /faults`, `DELETE /faults/{id}` | the rules of [`crate::faults`] |
//! | `PUT /throttle` | `{"on":true}`: the limits of the real service |
//! | `GET`, `PUT /principals` | all of them without their secrets; add or replace one ([`crate::tokens::Principal`]) |
//! | `PATCH`, `DELETE /principals/{who}` | `{"enabled":false}`; remove |
//! | `POST /principals/{who}/revoke` | make its present tokens worthless |
//! | `PUT /tokens` | `{"lifetime_s":60}` for tokens from now on |
//! | `POST /assertions` | `{"subject":"…","lifetime_s":600}` gives an assertion for a federated credential |
//! | `PUT /issuers` | `{"issuer":"…","keys":[…]}`: trust another issuer's key set |
//! | `GET /access`, `PUT /access` | all rules; `{"propagation_delay_s":300}` |
//! | `GET /vaults`, `GET`, `PUT`, `DELETE /vaults/{vault}` | settings; a `PUT` changes the ones it names, and makes the vault when there is none |
//! | `POST /vaults/{vault}/recover`, `/purge` | a deleted vault; `{"principal":"…"}` has to be a Purge Operator if given |
//! | `PUT /vaults/{vault}/model` | `{"model":"rbac"}` or `policy` |
//! | `POST`, `DELETE /vaults/{vault}/roles` | `{"principal":"…","role":"Crypto User","key":"…"}`, the key being optional |
//! | `PUT /vaults/{vault}/policies` | `{"principal":"…","permissions":["get","unwrapKey"]}` |
//! | `PUT /vaults/{vault}/firewall` | [`crate::access::Firewall`] |
//! | `PATCH /vaults/{vault}/keys/{key}[/{version}]` | any of `{"enabled":false,"nbf":SECONDS,"exp":null}`; without a version, every version |
//! | `GET`, `DELETE /audit` | the last audit records, `?operation=KeyUnwrap` for some; forget them |
//! | `GET /events` | the events, `?from=NUMBER` for those from there on |
//!
//! `{who}` and `principal` are an object id, an application id or a name. A refusal is
//! `{"error":{"code":…,"message":…}}` with a status of 400, 401, 403, 404 or 405.

mod people;
mod vaults;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::Refusal;
use crate::faults::Rule;
use crate::server::Emulator;
use crate::wire::{Reply, Request};

/// Answers a request on the admin port.
pub fn route(emulator: &Emulator, request: &Request) -> Reply {
    let segments = request.segments();
    if (request.method.as_str(), segments.as_slice()) == ("GET", &["ca.pem"]) {
        return Reply::text(200, emulator.tls.ca_pem());
    }
    let is_identity = matches!(
        segments.as_slice(),
        ["msi", "token"] | ["metadata", "identity", "oauth2", "token"]
    );
    if is_identity
        && let Some(reply) =
            emulator
                .tokens
                .route(request, &emulator.authority_url(), emulator.clock.now())
    {
        return reply;
    }
    if !is_admin(emulator, request) {
        return Refusal::unauthorized(
            "The admin API wants `Authorization: Bearer` with the admin token that the server printed at its start.",
        )
        .reply()
        .with_header("www-authenticate", "Bearer");
    }
    let answer = carry_out(emulator, request, segments.as_slice());
    answer.map_or_else(|refusal| refusal.reply(), |value| Reply::json(200, &value))
}

fn is_admin(emulator: &Emulator, request: &Request) -> bool {
    let wanted = emulator.tokens.admin_token().as_bytes();
    request
        .bearer()
        .is_some_and(|token| verify_slices_are_equal(token.as_bytes(), wanted).is_ok())
}

fn carry_out(emulator: &Emulator, request: &Request, segments: &[&str]) -> Result<Value, Refusal> {
    match (request.method.as_str(), segments) {
        ("GET", ["clock"]) => Ok(clock(emulator)),
        ("POST", ["clock"]) => move_clock(emulator, request),
        ("GET", ["faults"]) => Ok(json!({
            "rules": emulator.faults.rules(),
            "throttle": emulator.faults.throttle.is_on(),
        })),
        ("POST", ["faults"]) => {
            let rule: Rule = body(request)?;
            let id = emulator.faults.add(rule).map_err(Refusal::bad_parameter)?;
            Ok(json!({ "id": id }))
        }
        ("DELETE", ["faults"]) => {
            emulator.faults.clear();
            Ok(json!({}))
        }
        ("DELETE", ["faults", id]) => {
            let known = id.parse().is_ok_and(|id| emulator.faults.remove(id));
            found(known, || format!("There is no rule {id}."))
        }
        ("PUT", ["throttle"]) => {
            let Switch { on } = body(request)?;
            emulator.faults.throttle.set_on(on);
            Ok(json!({ "on": on }))
        }
        ("GET", ["audit"]) => Ok(audit(emulator, request)),
        ("DELETE", ["audit"]) => {
            emulator.audit.clear();
            Ok(json!({}))
        }
        ("GET", ["events"]) => events(emulator, request),
        (_, ["principals" | "tokens" | "assertions" | "issuers", ..]) => {
            people::carry_out(emulator, request, segments)
        }
        (_, ["vaults" | "access", ..]) => vaults::carry_out(emulator, request, segments),
        _ => Err(no_route(request)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockMove {
    #[serde(default)]
    reset: bool,
    set: Option<i64>,
    advance_s: Option<i64>,
    frozen: Option<bool>,
}

fn clock(emulator: &Emulator) -> Value {
    json!({ "now": emulator.clock.now(), "frozen": emulator.clock.is_frozen() })
}

/// What falls due by the move is done before the reply, so that a test sees it at once.
fn move_clock(emulator: &Emulator, request: &Request) -> Result<Value, Refusal> {
    let asked: ClockMove = body(request)?;
    if asked.reset {
        emulator.clock.reset();
    }
    if let Some(seconds) = asked.set {
        emulator.clock.set(seconds);
    }
    if let Some(seconds) = asked.advance_s {
        emulator.clock.advance(seconds);
    }
    match asked.frozen {
        Some(true) => emulator.clock.freeze(),
        Some(false) => emulator.clock.thaw(),
        None => {}
    }
    emulator.tick()?;
    Ok(clock(emulator))
}

fn audit(emulator: &Emulator, request: &Request) -> Value {
    let mut records = emulator.audit.recent();
    if let Some(operation) = request.query_value("operation") {
        records.retain(|event| event.operation_name.eq_ignore_ascii_case(operation));
    }
    json!({
        "records": records,
        "recorded_count": emulator.audit.recorded_count(),
        "file_error": emulator.audit.file_error(),
    })
}

fn events(emulator: &Emulator, request: &Request) -> Result<Value, Refusal> {
    let from = match request.query_value("from") {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| Refusal::bad_parameter(format!("`{text}` is no number of an event.")))?,
    };
    let events = emulator.events.since(from);
    let next = events.last().map_or(from, |(number, _)| number + 1);
    let events: Vec<Value> = events
        .iter()
        .map(|(number, event)| {
            let topic = emulator.access.names().vault(&event.vault);
            event.to_json(*number, &topic, &emulator.vault_url(&event.vault))
        })
        .collect();
    Ok(json!({ "events": events, "next": next }))
}

/// The body as JSON of a form.
fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    serde_json::from_slice(&request.body).map_err(|error| {
        Refusal::bad_parameter(format!("The body is not what this request takes: {error}."))
    })
}

fn found(known: bool, message: impl FnOnce() -> String) -> Result<Value, Refusal> {
    if known {
        Ok(json!({}))
    } else {
        Err(Refusal::new(404, "NotFound", message()))
    }
}

fn no_route(request: &Request) -> Refusal {
    Refusal::no_route(&request.method, &request.target)
}

#[cfg(test)]
mod tests;
