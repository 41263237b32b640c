//! OCSF 1.7, class API Activity: <https://schema.ocsf.io/1.7.0/classes/api_activity>.
//!
//! OCSF has no class for key management. A key is a resource of the type `cryptographic_key`, a use of it
//! reads it, and what the class has no attribute for is in `unmapped`.

use std::net::IpAddr;

use crate::action::{Action, Outcome};
use crate::entry::{LoggedEvent, texts};
use crate::event::{Actor, ActorKind, Event, EventKey, Object, Source};
use crate::export::words::{PRODUCT_VERSION, Severity, versioned};
use crate::json::Members;

pub(super) fn members(origin: &str, logged: &LoggedEvent) -> Members {
    let event = &logged.event;
    let (activity, severity) = (activity(event.action), Severity::of(logged));
    let (status_id, status) = match event.outcome {
        Outcome::Success => (1, "Success"),
        Outcome::Denied | Outcome::Error => (2, "Failure"),
    };
    let mut out = Members::default();
    out.number("category_uid", Some(CATEGORY));
    out.text("category_name", Some("Application Activity"));
    out.number("class_uid", Some(CLASS));
    out.text("class_name", Some("API Activity"));
    out.number("activity_id", Some(activity as u64));
    out.text("activity_name", Some(activity.name(event.action)));
    out.number("type_uid", Some(CLASS * 100 + activity as u64));
    out.number("severity_id", Some(severity as u64));
    out.text("severity", Some(severity.name()));
    out.number("time", Some(logged.time.milliseconds()));
    out.number("count", event.count);
    out.number("status_id", Some(status_id));
    out.text("status", Some(status));
    out.text("status_code", Some(event.outcome));
    out.text("status_detail", event.reason_code.as_ref());
    out.text(
        "message",
        Some(format!("{}: {}", event.action, event.outcome)),
    );
    out.object("metadata", Some(metadata(origin, logged)));
    out.object("api", Some(api(event)));
    out.object("actor", Some(actor(event)));
    out.object("src_endpoint", Some(endpoint(event.source.as_ref())));
    let key = event.key.as_ref().map(key_resource);
    let object = event.object.as_ref().map(object_resource);
    out.objects("resources", key.into_iter().chain(object).collect());
    out.object("unmapped", Some(unmapped(event)));
    out
}

/// What the class calls an activity.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Create = 1,
    Read = 2,
    Update = 3,
    Delete = 4,
    Other = 99,
}

impl Activity {
    /// The caption; for what has none, the action's own name, as OCSF asks.
    fn name(self, action: Action) -> &'static str {
        match self {
            Activity::Create => "Create",
            Activity::Read => "Read",
            Activity::Update => "Update",
            Activity::Delete => "Delete",
            Activity::Other => action.name(),
        }
    }
}

fn activity(action: Action) -> Activity {
    match action {
        Action::KeyCreate
        | Action::KeyImport
        | Action::KeyRestore
        | Action::ApprovalRequested
        | Action::BackupCreated
        | Action::CustodyAck
        | Action::CustodyReport => Activity::Create,
        Action::KeyBackup
        | Action::KeyRelease
        | Action::UseWrap
        | Action::UseUnwrap
        | Action::UseCanaryOk
        | Action::UseCanaryFail
        | Action::StateRevalidated
        | Action::AuditCheckpoint
        | Action::AuditExport
        | Action::AuditVerifyOk
        | Action::AuditVerifyFail => Activity::Read,
        Action::KeyActivate
        | Action::KeyEnable
        | Action::KeyDisable
        | Action::KeyRotate
        | Action::KeyRewrap
        | Action::KeyExpireWarn
        | Action::KeyExpire
        | Action::KeyRecover
        | Action::KeyCompromise
        | Action::KeyStateChanged
        | Action::AccessGranted
        | Action::AccessRevoked
        | Action::AccessRoleChange
        | Action::StateReady
        | Action::StateDegraded
        | Action::StateInaccessible
        | Action::StateFenced
        | Action::StateZeroised
        | Action::ConfigKekChanged
        | Action::ConfigProviderChanged
        | Action::ConfigPolicyChanged
        | Action::ConfigFipsToggle
        | Action::ApprovalGranted
        | Action::ApprovalRejected
        | Action::BackupRestored
        | Action::BackupRewrapped => Activity::Update,
        Action::KeyDelete | Action::KeyPurge | Action::KeyDestroy => Activity::Delete,
        Action::AccessDenied
        | Action::AuditStarted
        | Action::AuditStopped
        | Action::AuditGap
        | Action::CustodyDrill => Activity::Other,
    }
}

fn metadata(origin: &str, logged: &LoggedEvent) -> Members {
    let mut product = Members::default();
    product.text("name", Some(PRODUCT));
    product.text("vendor_name", Some(PRODUCT));
    product.text("version", Some(PRODUCT_VERSION));
    let mut out = Members::default();
    out.object("product", Some(product));
    out.text("version", Some(SCHEMA));
    out.text("uid", Some(logged.id));
    out.text(
        "original_event_uid",
        Some(format!("{origin}/{}", logged.index)),
    );
    out.text("original_time", Some(logged.time));
    out.text("correlation_uid", logged.event.correlation_id.as_ref());
    out.number("sequence", Some(logged.index));
    out.text("log_name", Some(origin));
    out.text("log_provider", Some(PRODUCT));
    out.text("log_version", Some(EVENT_VERSION));
    out
}

fn api(event: &Event) -> Members {
    let mut service = Members::default();
    service.text("name", Some(event.provider.as_deref().unwrap_or(PRODUCT)));
    let mut request = Members::default();
    request.text("uid", event.request_id.as_ref());
    let mut out = Members::default();
    out.text("operation", Some(event.action));
    out.object("service", Some(service));
    out.text("version", Some(EVENT_VERSION));
    out.object("request", Some(request));
    out
}

/// OCSF asks for at least one attribute; without an actor it is the product itself.
fn actor(event: &Event) -> Members {
    let mut process = Members::default();
    process.number(
        "pid",
        event.source.as_ref().and_then(|s| s.pid).map(u64::from),
    );
    let mut out = Members::default();
    out.object("process", Some(process));
    match &event.actor {
        Some(actor) => {
            let mut session = Members::default();
            session.text("uid", actor.session.as_ref());
            out.object("session", Some(session));
            out.object("user", Some(user(actor)));
        }
        None => out.text("app_name", Some(PRODUCT)),
    }
    out
}

fn user(actor: &Actor) -> Members {
    let (type_id, kind) = match actor.kind {
        ActorKind::User => (1, "User"),
        ActorKind::System => (3, "System"),
        ActorKind::Service => (4, "Service"),
    };
    let mut out = Members::default();
    out.text("name", Some(&actor.id));
    out.text("uid", Some(&actor.id));
    out.number("type_id", Some(type_id));
    out.text("type", Some(kind));
    out
}

/// OCSF asks for at least one name of the place, and for addresses that are such.
fn endpoint(source: Option<&Source>) -> Members {
    let (host, ip) = source.map_or((None, None), |s| (s.host.as_ref(), s.ip.as_ref()));
    let address = ip.filter(|ip| ip.parse::<IpAddr>().is_ok());
    let mut out = Members::default();
    out.text("hostname", host);
    out.text("ip", address);
    if address.is_none() {
        out.text("name", ip);
    }
    if host.is_none() && ip.is_none() {
        out.text("svc_name", Some(PRODUCT));
    }
    out
}

fn key_resource(key: &EventKey) -> Members {
    let mut data = texts([("alg", &key.algorithm), ("thumbprint", &key.thumbprint)]);
    data.number("bits", key.bits.map(u64::from));
    data.number("layer", key.layer.map(u64::from));
    data.text("role", key.role);
    data.text("state_after", key.state_after);
    data.text("state_before", key.state_before);
    let mut out = Members::default();
    out.text("type", Some("cryptographic_key"));
    out.text(
        "name",
        Some(
            key.uri
                .as_deref()
                .unwrap_or(key.role.map_or("key", |role| role.name())),
        ),
    );
    out.text("uid", versioned(key));
    out.text("version", key.version.as_ref());
    out.object("data", Some(data));
    out
}

fn object_resource(object: &Object) -> Members {
    let mut data = Members::default();
    data.number("bytes", object.bytes);
    data.number("keyring_sequence", object.keyring_sequence);
    data.number("pages", object.pages);
    let mut out = Members::default();
    out.text("type", Some(object.kind));
    out.text(
        "name",
        Some(object.path.as_deref().unwrap_or(object.kind.name())),
    );
    out.text("uid", object.id.as_ref());
    out.object("data", Some(data));
    out
}

fn unmapped(event: &Event) -> Members {
    let mut out = texts([
        ("cluster", &event.cluster),
        ("on_behalf_of", &event.on_behalf_of),
        ("server", &event.server),
        ("tenant", &event.tenant),
    ]);
    out.text("category", Some(event.action.category()));
    let actor = event.actor.as_ref();
    out.text("auth_method", actor.and_then(|a| a.auth_method.as_ref()));
    out.texts("approvals", &event.approvals);
    out.object("fips", event.fips.as_ref().map(crate::entry::fips_members));
    let justification = event.justification.as_ref();
    out.object(
        "justification",
        justification.map(crate::entry::justification_members),
    );
    out.object(
        "policy",
        event.policy.as_ref().map(crate::entry::policy_members),
    );
    out
}

const CATEGORY: u64 = 6;
const CLASS: u64 = 6003;
/// The version of OCSF whose attributes these are.
const SCHEMA: &str = "1.7.0";
const EVENT_VERSION: &str = "1";
const PRODUCT: &str = "Cofferdam";
