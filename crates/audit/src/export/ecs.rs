//! Elastic Common Schema 8.17: <https://www.elastic.co/guide/en/ecs/8.17/index.html>.
//!
//! What ECS has no field for is below `cofferdam`, as ECS asks of custom fields.

use std::net::IpAddr;

use crate::action::{Action, Outcome};
use crate::entry::{
    LoggedEvent, fips_members, justification_members, key_members, object_members, policy_members,
    texts,
};
use crate::event::Event;
use crate::export::words::{PRODUCT_VERSION, Severity};
use crate::json::Members;

pub(super) fn members(origin: &str, logged: &LoggedEvent) -> Members {
    let event = &logged.event;
    let (actor, source) = (event.actor.as_ref(), event.source.as_ref());
    let host = source.and_then(|s| s.host.clone());
    let ip = source.and_then(|s| s.ip.clone());
    let ip = ip.filter(|ip| ip.parse::<IpAddr>().is_ok());
    let users = [actor.map(|a| a.id.clone()), event.on_behalf_of.clone()];
    let mut related = Members::default();
    related.texts("hosts", host.as_slice());
    related.texts("ip", ip.as_slice());
    related.texts("user", &users.into_iter().flatten().collect::<Vec<_>>());
    let mut process = Members::default();
    process.number("pid", source.and_then(|s| s.pid).map(u64::from));
    let mut user = Members::default();
    user.text("name", actor.map(|a| &a.id));
    let mut out = Members::default();
    out.text("@timestamp", Some(logged.time));
    out.object("ecs", Some(texts([("version", &Some("8.17.0".into()))])));
    out.object("event", Some(event_fields(logged)));
    out.object("user", Some(user));
    out.object("source", Some(texts([("ip", &ip)])));
    out.object("host", Some(texts([("hostname", &host)])));
    out.object("process", Some(process));
    out.object("related", Some(related));
    out.object("trace", Some(texts([("id", &event.correlation_id)])));
    out.object("cofferdam", Some(custom(origin, logged)));
    out
}

fn event_fields(logged: &LoggedEvent) -> Members {
    let event = &logged.event;
    let category = match event.action.category() {
        "access" | "approval" | "custody" => "iam",
        _ => "configuration",
    };
    let outcome = match event.outcome {
        Outcome::Success => "success",
        Outcome::Denied | Outcome::Error => "failure",
    };
    let mut out = Members::default();
    out.text("kind", Some("event"));
    out.texts("category", &[category.to_owned()]);
    out.texts("type", &[kind(event.action).to_owned()]);
    out.text("action", Some(event.action));
    out.text("outcome", Some(outcome));
    out.text("reason", event.reason_code.as_ref());
    out.text("id", Some(logged.id));
    out.number("sequence", Some(logged.index));
    out.number("severity", Some(Severity::of(logged) as u64));
    out.text("module", Some("cofferdam"));
    out.text("dataset", Some("cofferdam.audit"));
    out.text("provider", Some(format!("cofferdam/{PRODUCT_VERSION}")));
    out
}

/// One of the values that ECS allows with both categories.
fn kind(action: Action) -> &'static str {
    match action {
        Action::KeyCreate | Action::KeyImport | Action::KeyRestore | Action::BackupCreated => {
            "creation"
        }
        Action::KeyDelete | Action::KeyPurge | Action::KeyDestroy => "deletion",
        Action::UseWrap
        | Action::UseUnwrap
        | Action::UseCanaryOk
        | Action::UseCanaryFail
        | Action::AccessDenied
        | Action::ApprovalRequested => "info",
        _ if matches!(action.category(), "audit" | "custody") => "info",
        _ => "change",
    }
}

fn custom(origin: &str, logged: &LoggedEvent) -> Members {
    let event = &logged.event;
    let mut out = texts([
        ("cluster", &event.cluster),
        ("on_behalf_of", &event.on_behalf_of),
        ("provider", &event.provider),
        ("request_id", &event.request_id),
        ("server", &event.server),
        ("tenant", &event.tenant),
    ]);
    out.text("log", Some(origin));
    out.text("outcome", Some(event.outcome));
    out.number("count", event.count);
    out.texts("approvals", &event.approvals);
    out.object("actor", Some(actor(event)));
    out.object("key", event.key.as_ref().map(key_members));
    out.object("object", event.object.as_ref().map(object_members));
    let justification = event.justification.as_ref();
    out.object("justification", justification.map(justification_members));
    out.object("policy", event.policy.as_ref().map(policy_members));
    out.object("fips", event.fips.as_ref().map(fips_members));
    out
}

fn actor(event: &Event) -> Members {
    let Some(actor) = &event.actor else {
        return Members::default();
    };
    let mut out = texts([
        ("auth_method", &actor.auth_method),
        ("session", &actor.session),
    ]);
    out.text("type", Some(actor.kind));
    out
}
