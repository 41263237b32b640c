//! Calls to a vault, as our events tell of them.

use std::collections::{HashMap, HashSet};

use crate::action::{Action, Outcome};
use crate::entry::LoggedEvent;
use crate::reconcile::earlier;
use crate::reconcile::vault_log::{VaultOperation, key_and_version};
use crate::time::UnixTime;

/// What our logs say of calls to Azure key vaults.
#[derive(Clone, Debug, Default)]
pub struct OurCalls {
    calls: Vec<OurCall>,
    keys: HashSet<String>,
    /// Ids that other events than those of a use carry: such a call is ours, and nobody says how often it was made.
    other_ids: HashMap<String, UnixTime>,
    /// When the last event of its kind was, for aggregates: log, action, key and version.
    previous: HashMap<(String, Action, String, Option<String>), UnixTime>,
}

/// An event that stands for one call or several of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OurCall {
    /// The log that has the event.
    pub log: String,
    /// The event's number in it.
    pub index: u64,
    /// When it was recorded, after its last call.
    pub time: UnixTime,
    /// What happened.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// What was asked for.
    pub operation: VaultOperation,
    /// The key, without its version, in lower case.
    pub key: String,
    /// The version, in lower case.
    pub version: Option<String>,
    /// How many calls it covers.
    pub count: u64,
    /// The earliest that its first call may have been made.
    pub(super) since: UnixTime,
    pub(super) ids: Ids,
}

/// How the vault may know the calls of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    None,
    /// One call, under one of these.
    One(Vec<String>),
    /// Calls of a session; see `docs/format.md`, section 9.7.
    Session(CallId),
}

/// A UUID that we have made: session and number of the call in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CallId {
    pub(super) session: u64,
    pub(super) number: u64,
}

impl CallId {
    /// Reads `8-4-4-4-12` hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<CallId> {
        let groups = [(0, 8), (9, 13), (14, 18), (19, 23), (24, 36)];
        let dashes = [8, 13, 18, 23];
        if text.len() != 36 || dashes.iter().any(|&at| text.as_bytes()[at] != b'-') {
            return None;
        }
        let digits: Option<String> = groups
            .iter()
            .map(|&(from, to)| text.get(from..to))
            .collect();
        let digits = digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some(CallId {
            session: u64::from_str_radix(digits.get(..16)?, 16).ok()?,
            number: u64::from_str_radix(digits.get(16..)?, 16).ok()?,
        })
    }
}

impl OurCall {
    /// Whether the key was used, as far as we know.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.outcome == Outcome::Success && self.action != Action::UseCanaryFail
    }

    /// The ids under which the vault may know it, for a person.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        match &self.ids {
            Ids::None => Vec::new(),
            Ids::One(ids) => ids.clone(),
            Ids::Session(last) => vec![format!("session {:016x}", last.session)],
        }
    }

    /// A refusal is an answer; a failure may be one of the way there. Canaries that failed are counted together, whyever
    /// they did.
    pub(super) fn may_not_have_arrived(&self) -> bool {
        self.action == Action::UseCanaryFail || self.outcome == Outcome::Error
    }
}

impl OurCalls {
    /// Adds an event of the log called `log`. Events of one log come in its order.
    pub fn add(&mut self, log: &str, logged: &LoggedEvent) {
        let event = &logged.event;
        let key = event.key.as_ref();
        let Some((uri, in_uri)) = key.and_then(|k| key_and_version(k.uri.as_deref()?)) else {
            return;
        };
        let version = key.and_then(|k| k.version.as_ref().map(|v| v.to_lowercase()));
        let version = version.or(in_uri);
        self.keys.insert(uri.clone());
        let operation = match event.action {
            Action::UseWrap => VaultOperation::Wrap,
            Action::UseUnwrap | Action::UseCanaryOk | Action::UseCanaryFail => {
                VaultOperation::Unwrap
            }
            _ => {
                let id = event.correlation_id.as_ref().map(|id| id.to_lowercase());
                self.other_ids.extend(id.map(|id| (id, logged.time)));
                return;
            }
        };
        let count = event.count.unwrap_or(1);
        let kind = (log.to_owned(), event.action, uri.clone(), version.clone());
        let previous = self.previous.insert(kind, logged.time);
        let since = match event.count {
            None => logged.time,
            Some(_) => {
                let longest = earlier(logged.time, AGGREGATE_SECONDS_MAX);
                previous
                    .map_or(longest, |previous| previous.max(longest))
                    .min(logged.time)
            }
        };
        self.calls.push(OurCall {
            log: log.to_owned(),
            index: logged.index,
            time: logged.time,
            action: event.action,
            outcome: event.outcome,
            operation,
            key: uri,
            version,
            count,
            since,
            ids: ids(
                event.correlation_id.as_deref(),
                event.request_id.as_deref(),
                count,
            ),
        });
    }

    /// The events that stand for calls.
    #[must_use]
    pub fn calls(&self) -> &[OurCall] {
        &self.calls
    }

    /// How many keys in Azure key vaults our logs speak of.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn knows(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// When an event other than a use named this id.
    pub(super) fn time_of_other(&self, id: &str) -> Option<UnixTime> {
        self.other_ids.get(id).copied()
    }
}

fn ids(correlation: Option<&str>, request: Option<&str>, count: u64) -> Ids {
    let session =
        correlation.filter(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    if let Some(session) = session.and_then(|id| u64::from_str_radix(id, 16).ok())
        && let Some(last) = request.and_then(CallId::parse)
        && last.session == session
    {
        return Ids::Session(last);
    }
    let ids: Vec<String> = [correlation, request]
        .into_iter()
        .flatten()
        .filter(|id| !id.is_empty())
        .map(str::to_lowercase)
        .collect();
    // One id cannot name several calls, so the others of them are found by time.
    if ids.is_empty() || count > 1 {
        return Ids::None;
    }
    Ids::One(ids)
}

/// No aggregate covers more than a day.
const AGGREGATE_SECONDS_MAX: u64 = 86_400;
