//! What several schemas ask of an event: how bad it is, and names put together.

use crate::action::{Action, Outcome};
use crate::entry::LoggedEvent;
use crate::event::EventKey;

/// How much somebody on call should mind. The order is that of OCSF's `severity_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
}

impl Severity {
    /// Of an event: as bad as what happened, and no better than how it ended.
    pub(super) fn of(logged: &LoggedEvent) -> Severity {
        let ended = match logged.event.outcome {
            Outcome::Success => Severity::Informational,
            Outcome::Denied => Severity::Medium,
            Outcome::Error => Severity::Low,
        };
        of_action(logged.event.action).max(ended)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Severity::Informational => "Informational",
            Severity::Low => "Low",
            Severity::Medium => "Medium",
            Severity::High => "High",
            Severity::Critical => "Critical",
        }
    }
}

fn of_action(action: Action) -> Severity {
    match action {
        Action::KeyCompromise | Action::AuditVerifyFail => Severity::Critical,
        Action::KeyDelete
        | Action::KeyPurge
        | Action::KeyDestroy
        | Action::StateInaccessible
        | Action::StateFenced
        | Action::AuditGap => Severity::High,
        Action::KeyDisable
        | Action::KeyExpire
        | Action::UseCanaryFail
        | Action::AccessDenied
        | Action::AccessRoleChange
        | Action::StateDegraded
        | Action::StateZeroised
        | Action::ConfigKekChanged
        | Action::ConfigProviderChanged
        | Action::ConfigPolicyChanged
        | Action::ConfigFipsToggle
        | Action::BackupRestored => Severity::Medium,
        Action::KeyExpireWarn
        | Action::KeyRelease
        | Action::AccessGranted
        | Action::AccessRevoked
        | Action::ApprovalRejected
        | Action::AuditStopped => Severity::Low,
        _ => Severity::Informational,
    }
}

/// A key with its version, as vaults write it: `https://prod.vault.azure.net/keys/orders/0a1b`.
pub(super) fn versioned(key: &EventKey) -> Option<String> {
    let uri = key.uri.as_deref()?;
    Some(match &key.version {
        Some(version) => format!("{}/{version}", uri.trim_end_matches('/')),
        None => uri.to_owned(),
    })
}

/// `state.fenced` as `StateFenced`.
pub(super) fn pascal_case(name: &str) -> String {
    let words = name.split(['.', '_']);
    words
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

/// The version of this program, which stands for the product's in every schema.
pub(super) const PRODUCT_VERSION: &str = env!("CARGO_PKG_VERSION");
