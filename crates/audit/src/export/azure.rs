//! `AuditEvent`, the log of Azure Key Vault in the form of Azure Monitor
//! (<https://learn.microsoft.com/azure/key-vault/general/logging>), so that queries written for it run on ours.
//!
//! The members are Azure's and no others. What Azure would have an HTTP status for has the nearest one: a success 200,
//! a refusal 403, a failure 500. `properties.requestUri` names the event in our log.

use crate::action::{Action, Outcome};
use crate::entry::LoggedEvent;
use crate::event::{ActorKind, Event};
use crate::export::words::{PRODUCT_VERSION, pascal_case, versioned};
use crate::json::Members;

pub(super) fn members(origin: &str, logged: &LoggedEvent) -> Members {
    let event = &logged.event;
    let (result, signature, status) = match event.outcome {
        Outcome::Success => ("Success", "OK", 200),
        Outcome::Denied => ("Failure", "Forbidden", 403),
        Outcome::Error => ("Failure", "Internal Server Error", 500),
    };
    let source = event.source.as_ref();
    // Azure's time has seven decimals.
    let time = logged.time.to_string();
    let time = format!("{}Z", time.get(..27).unwrap_or(&time));
    let mut out = Members::default();
    out.text("time", Some(time));
    out.text("resourceId", Some(format!("/{}", origin.to_uppercase())));
    out.text("operationName", Some(operation(event.action)));
    out.text("operationVersion", Some("1"));
    out.text("category", Some("AuditEvent"));
    out.text("resultType", Some(result));
    out.text("resultSignature", Some(signature));
    out.text(
        "resultDescription",
        Some(event.reason_code.as_deref().unwrap_or("")),
    );
    out.text("durationMs", Some("0"));
    out.text(
        "callerIpAddress",
        Some(source.and_then(|s| s.ip.as_deref()).unwrap_or("")),
    );
    out.text("correlationId", Some(correlation(event)));
    out.object("identity", Some(identity(event)));
    out.object("properties", Some(properties(origin, logged, status)));
    out
}

/// Azure's name where it has one for this, and otherwise ours in its spelling.
fn operation(action: Action) -> String {
    let name = match action {
        Action::UseWrap => "KeyWrap",
        Action::UseUnwrap | Action::UseCanaryOk | Action::UseCanaryFail => "KeyUnwrap",
        Action::KeyActivate | Action::KeyEnable | Action::KeyDisable => "KeyUpdate",
        Action::KeyExpireWarn => "KeyNearExpiryEventGridNotification",
        Action::KeyExpire => "KeyExpiredEventGridNotification",
        _ => return pascal_case(action.name()),
    };
    name.to_owned()
}

/// The id that the vault saw: of the (last) call where there is one, otherwise of the operation.
fn correlation(event: &Event) -> &str {
    let id = event.request_id.as_deref();
    id.or(event.correlation_id.as_deref()).unwrap_or("")
}

/// `claim` is there also when there is nothing to claim.
fn identity(event: &Event) -> Members {
    let name = match event.actor.as_ref().map(|actor| actor.kind) {
        Some(ActorKind::User) => UPN,
        _ => "appid",
    };
    let actor = event.actor.as_ref().map_or("cofferdam", |a| a.id.as_str());
    let mut claim = Members::default();
    claim.text(name, Some(actor));
    let mut out = Members::default();
    out.object("claim", Some(claim));
    out
}

fn properties(origin: &str, logged: &LoggedEvent, status: u64) -> Members {
    let event = &logged.event;
    let object = event.object.as_ref();
    let object = object.and_then(|o| o.id.clone().or_else(|| o.path.clone()));
    let id = event.key.as_ref().and_then(versioned).or(object);
    let source = event.source.as_ref();
    let mut client = format!("cofferdam/{PRODUCT_VERSION}");
    if let Some(host) = source.and_then(|s| s.host.as_deref()) {
        client.push_str(&format!(" ({host})"));
    }
    let mut out = Members::default();
    out.text("clientInfo", Some(client));
    out.text(
        "requestUri",
        Some(format!("cofferdam:{origin}/{}", logged.index)),
    );
    out.text("id", Some(id.unwrap_or_default()));
    out.number("httpStatusCode", Some(status));
    out
}

const UPN: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn";
