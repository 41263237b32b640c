//! Why a call did not succeed, before it is known for which key and version.

use std::time::Duration;

use cofferdam_keys::{KeyUri, KeyVersion, Reason, Refusal};

/// A refusal in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) detail: String,
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            retry_after: None,
        }
    }

    pub(super) fn unreachable(detail: impl Into<String>) -> Self {
        Self::new(Reason::Unreachable, detail)
    }

    pub(super) fn about(self, key: &KeyUri, version: Option<&KeyVersion>) -> Refusal {
        Refusal {
            reason: self.reason,
            key: key.clone(),
            version: version.cloned(),
            detail: self.detail,
            retry_after: self.retry_after,
        }
    }
}
