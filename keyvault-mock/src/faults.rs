//! Faults on order.
//!
//! A rule says which requests it is about, how many of them it lets pass first, and how many it strikes: the third
//! unwrap of one key, every request on one vault, the next handshake. Nothing is left to chance, so that a test that
//! fails fails again. [`Throttle`] stands beside the rules: the limits of the real service, when they are switched on.
//! What is late in the service itself is no fault but an option of the vault: [`crate::vault::Settings`].

mod throttle;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use throttle::{KeyCost, THROTTLED_MESSAGE, Throttle};

/// The rules in force.
#[derive(Debug, Default)]
pub struct Faults {
    rules: Mutex<Rules>,
    /// The real service's limits, off at first.
    pub throttle: Throttle,
}

#[derive(Debug, Default)]
struct Rules {
    last_id: u64,
    rules: Vec<NumberedRule>,
}

/// A rule and the number it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NumberedRule {
    /// By which it is removed.
    pub id: u64,
    /// How many requests it has struck.
    pub struck_count: u64,
    /// What it says.
    #[serde(flatten)]
    pub rule: Rule,
}

/// What is to go wrong, where, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests it is about; without conditions, all of them.
    #[serde(default, rename = "match")]
    pub condition: Condition,
    /// What happens to them.
    pub fault: Kind,
    /// How many matching requests pass before the first is struck.
    #[serde(default)]
    pub skip: u64,
    /// How many are struck; without a number, all that follow.
    #[serde(default)]
    pub count: Option<u64>,
}

/// Which requests a rule is about. All conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// The vault's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// The operation by its name in the audit log, such as `KeyUnwrap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The key's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What the path begins with, such as `/keys/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Kind {
    /// The request is read and never answered, as in a network that swallows packets.
    BlackHole,
    /// The reply is late by so many milliseconds.
    Latency {
        /// Milliseconds.
        ms: u64,
    },
    /// The connection is reset (TCP RST) instead of a reply.
    Reset,
    /// A reply of this status instead of the real one.
    Status {
        /// The HTTP status, 400 to 599.
        status: u16,
        /// `Retry-After`, in seconds.
        #[serde(default)]
        retry_after_s: Option<u64>,
    },
    /// Handshakes show a certificate that has expired. Only `skip` and `count` say which: there is no request yet.
    TlsExpired,
}

/// The request that a rule is held against.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The vault's name.
    pub vault: &'a str,
    /// The operation by its name in the audit log, if the request is one.
    pub operation: Option<&'a str>,
    /// The key's name, if there is one.
    pub key: Option<&'a str>,
    /// The path as it was sent.
    pub path: &'a str,
    /// Whether the request carries a token. The bare request that asks for the challenge gets no status by a rule:
    /// clients do not survive anything but the challenge there.
    pub authenticated: bool,
}

/// What is to be done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Do not answer.
    BlackHole,
    /// Wait before answering.
    Latency(Duration),
    /// Reset the connection.
    Reset,
    /// Answer with this.
    Status {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
    },
}

impl Faults {
    /// No rules, no limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule and gives its number.
    ///
    /// # Errors
    /// A status that is no error.
    pub fn add(&self, rule: Rule) -> Result<u64, String> {
        if let Kind::Status { status, .. } = rule.fault
            && !(400..=599).contains(&status)
        {
            return Err(format!(
                "{status} is no status of an error; use one from 400 to 599"
            ));
        }
        let mut rules = self.locked();
        rules.last_id += 1;
        let id = rules.last_id;
        rules.rules.push(NumberedRule {
            id,
            struck_count: 0,
            rule,
        });
        Ok(id)
    }

    /// Removes a rule, and says whether there was one.
    pub fn remove(&self, id: u64) -> bool {
        let mut rules = self.locked();
        let before = rules.rules.len();
        rules.rules.retain(|rule| rule.id != id);
        rules.rules.len() < before
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.locked().rules.clear();
    }

    /// The rules, in the order in which they were added.
    pub fn rules(&self) -> Vec<NumberedRule> {
        self.locked().rules.clone()
    }

    /// What is to be done to this request, in the order of the rules. Counts it.
    pub fn take(&self, target: &Target<'_>) -> Vec<Fault> {
        let mut rules = self.locked();
        rules
            .rules
            .iter_mut()
            .filter_map(|rule| {
                let fault = match rule.rule.fault {
                    Kind::BlackHole => Fault::BlackHole,
                    Kind::Latency { ms } => Fault::Latency(Duration::from_millis(ms)),
                    Kind::Reset => Fault::Reset,
                    Kind::Status {
                        status,
                        retry_after_s,
                    } if target.authenticated => Fault::Status {
                        status,
                        retry_after_s,
                    },
                    _ => return None,
                };
                (rule.rule.condition.holds(target) && rule.strikes()).then_some(fault)
            })
            .collect()
    }

    /// Whether the next handshake is to show an expired certificate. Counts it.
    pub fn tls_expired(&self) -> bool {
        let mut rules = self.locked();
        rules
            .rules
            .iter_mut()
            .filter(|rule| rule.rule.fault == Kind::TlsExpired)
            .any(NumberedRule::strikes)
    }

    /// No change leaves the rules half made, so a lock that a panicking thread held is as good as any.
    fn locked(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NumberedRule {
    /// Counts a matching request and says whether it is struck.
    fn strikes(&mut self) -> bool {
        if self.rule.skip > 0 {
            self.rule.skip -= 1;
            return false;
        }
        match &mut self.rule.count {
            Some(0) => return false,
            Some(count) => *count -= 1,
            None => {}
        }
        self.struck_count += 1;
        true
    }
}

impl Condition {
    fn holds(&self, target: &Target<'_>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| match wanted {
            Some(wanted) => found.is_some_and(|found| found.eq_ignore_ascii_case(wanted)),
            None => true,
        };
        is(&self.vault, Some(target.vault))
            && is(&self.operation, target.operation)
            && is(&self.key, target.key)
            && self
                .path
                .as_deref()
                .is_none_or(|prefix| target.path.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNWRAP: Target<'static> = Target {
        vault: "prod",
        operation: Some("KeyUnwrap"),
        key: Some("kek"),
        path: "/keys/kek/1/unwrapkey",
        authenticated: true,
    };

    fn add(faults: &Faults, json: &str) -> u64 {
        faults.add(serde_json::from_str(json).unwrap()).unwrap()
    }

    /// Goal: exactly the requests that were ordered are struck: none before, none after.
    #[test]
    fn the_third_and_fourth_are_struck() {
        let faults = Faults::new();
        let id = add(
            &faults,
            r#"{"match":{"operation":"KeyUnwrap"},"fault":{"kind":"reset"},"skip":2,"count":2}"#,
        );
        let struck: Vec<usize> = (0..6).map(|_| faults.take(&UNWRAP).len()).collect();
        assert_eq!(struck, [0, 0, 1, 1, 0, 0]);
        assert_eq!(faults.rules()[0].struck_count, 2);
        assert!(faults.remove(id));
        assert!(!faults.remove(id));
    }

    /// Goal: each condition keeps a rule from what it is not about.
    #[test]
    fn rules_strike_what_they_match() {
        for (condition, matches) in [
            ("{}", true),
            (r#"{"vault":"PROD"}"#, true),
            (r#"{"vault":"test"}"#, false),
            (r#"{"operation":"KeyWrap"}"#, false),
            (r#"{"key":"kek","operation":"keyunwrap"}"#, true),
            (r#"{"key":"other"}"#, false),
            (r#"{"path":"/keys/"}"#, true),
            (r#"{"path":"/deletedkeys"}"#, false),
        ] {
            let faults = Faults::new();
            add(
                &faults,
                &format!(r#"{{"match":{condition},"fault":{{"kind":"black_hole"}}}}"#),
            );
            assert_eq!(!faults.take(&UNWRAP).is_empty(), matches, "{condition}");
        }
        let faults = Faults::new();
        add(
            &faults,
            r#"{"match":{"key":"kek"},"fault":{"kind":"reset"}}"#,
        );
        let list = Target {
            key: None,
            operation: None,
            ..UNWRAP
        };
        assert_eq!(faults.take(&list), []);
    }

    /// Goal: several rules act together, and the challenge is never replaced by a status nor counted for one.
    #[test]
    fn the_challenge_is_spared_statuses() {
        let faults = Faults::new();
        add(&faults, r#"{"fault":{"kind":"latency","ms":5}}"#);
        add(
            &faults,
            r#"{"fault":{"kind":"status","status":429,"retry_after_s":7},"count":1}"#,
        );
        let bare = Target {
            authenticated: false,
            ..UNWRAP
        };
        let late = Fault::Latency(Duration::from_millis(5));
        assert_eq!(faults.take(&bare), [late]);
        let throttled = Fault::Status {
            status: 429,
            retry_after_s: Some(7),
        };
        assert_eq!(faults.take(&UNWRAP), [late, throttled]);
        assert_eq!(faults.take(&UNWRAP), [late]);
        faults.clear();
        assert_eq!(faults.take(&UNWRAP), []);
    }

    /// Goal: handshakes have rules of their own, which requests do not use up.
    #[test]
    fn handshakes_are_counted_apart() {
        let faults = Faults::new();
        assert!(!faults.tls_expired());
        add(&faults, r#"{"fault":{"kind":"tls_expired"},"count":1}"#);
        assert_eq!(faults.take(&UNWRAP), []);
        assert!(faults.tls_expired());
        assert!(!faults.tls_expired());
    }

    /// Goal: a rule that makes no sense is refused, not ignored.
    #[test]
    fn nonsense_is_no_rule() {
        for json in [
            r#"{"fault":{"kind":"reset"},"probability":0.5}"#,
            r#"{"fault":{"kind":"explode"}}"#,
            r#"{"fault":{"kind":"latency"}}"#,
            r#"{"match":{"operatoin":"KeyGet"},"fault":{"kind":"reset"}}"#,
            "{}",
        ] {
            assert!(serde_json::from_str::<Rule>(json).is_err(), "{json}");
        }
        let ok: Rule = serde_json::from_str(r#"{"fault":{"kind":"status","status":200}}"#).unwrap();
        assert!(Faults::new().add(ok).is_err());
    }
}
