//! A rotation policy: when to make a new version, when to warn, and how long a version lives.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// A policy whose durations were understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How long a new version lives.
    pub expiry_time: Option<Duration>,
    /// When to make a new version.
    pub rotate: Option<Trigger>,
    /// How long before its end a version's near expiry is announced.
    pub notify: Option<Trigger>,
    /// When the policy was set first.
    pub created: i64,
    /// When it was set last.
    pub updated: i64,
}

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trigger {
    /// So long after a version was made.
    AfterCreate(Duration),
    /// So long before it expires.
    BeforeExpiry(Duration),
}

/// An ISO 8601 duration in years, months and days, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(String);

/// A policy as it is on the wire.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyJson {
    /// The policy's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is to be done, and when.
    pub lifetime_actions: Vec<ActionJson>,
    /// How long a version lives, and the policy's dates.
    pub attributes: AttributesJson,
}

/// One action with its trigger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ActionJson {
    trigger: TriggerJson,
    action: TypeJson,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TriggerJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    time_after_create: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_before_expiry: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct TypeJson {
    #[serde(rename = "type")]
    kind: String,
}

/// The attributes of a policy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttributesJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<i64>,
}

const DAY_S: i64 = 86_400;
/// The shortest time of a trigger.
const TRIGGER_MIN_S: i64 = 7 * DAY_S;
/// The shortest life of a version.
const EXPIRY_MIN_S: i64 = 28 * DAY_S;
/// When a key without a policy is announced.
const NOTIFY_DEFAULT: &str = "P30D";

impl Duration {
    fn parse(text: &str, name: &str, min_s: i64) -> Result<Duration, Refusal> {
        let refused = || {
            Refusal::bad_parameter(format!(
                "Property has invalid value (Property name: '{name}'): a duration such as P90D, of at least {} days.",
                min_s / DAY_S
            ))
        };
        // The service takes dates alone; a time such as PT1H is refused there too.
        if text.contains('T') || text.contains('-') || !text.starts_with('P') {
            return Err(refused());
        }
        text.parse::<Span>().map_err(|_| refused())?;
        let duration = Duration(text.to_owned());
        // Seen from a fixed day, so that the same policy is always taken or always refused.
        match duration.after(0) {
            Some(end) if end >= min_s => Ok(duration),
            _ => Err(refused()),
        }
    }

    /// The time this long after `seconds`; `None` beyond the calendar.
    pub fn after(&self, seconds: i64) -> Option<i64> {
        self.shifted(seconds, false)
    }

    /// The time this long before `seconds`; `None` beyond the calendar.
    pub fn before(&self, seconds: i64) -> Option<i64> {
        self.shifted(seconds, true)
    }

    fn shifted(&self, seconds: i64, back: bool) -> Option<i64> {
        let span: Span = self.0.parse().ok()?;
        let time = Timestamp::from_second(seconds)
            .ok()?
            .to_zoned(TimeZone::UTC);
        let shifted = if back {
            time.checked_sub(span)
        } else {
            time.checked_add(span)
        };
        Some(shifted.ok()?.timestamp().as_second())
    }
}

impl Trigger {
    /// When it is due for a version made at `created` that ends at `exp`.
    pub fn due(&self, created: i64, exp: Option<i64>) -> Option<i64> {
        match self {
            Trigger::AfterCreate(duration) => duration.after(created),
            Trigger::BeforeExpiry(duration) => duration.before(exp?),
        }
    }
}

impl Policy {
    /// The policy of a key that has none: to announce the near expiry 30 days before.
    pub fn default_notify() -> Trigger {
        Trigger::BeforeExpiry(Duration(NOTIFY_DEFAULT.to_owned()))
    }

    /// A policy from the wire, set at `now` in the place of `old`.
    ///
    /// # Errors
    /// Durations that are none or too short, actions that are none, or triggers that never come.
    pub fn from_json(json: &PolicyJson, old: Option<&Policy>, now: i64) -> Result<Policy, Refusal> {
        let expiry_time = match json.attributes.expiry_time.as_deref() {
            Some(text) => Some(Duration::parse(text, "expiryTime", EXPIRY_MIN_S)?),
            None => None,
        };
        let mut policy = Policy {
            expiry_time,
            rotate: None,
            notify: None,
            created: old.map_or(now, |old| old.created),
            updated: now,
        };
        for action in &json.lifetime_actions {
            let trigger = action.trigger()?;
            let place = match action.action.kind.to_ascii_lowercase().as_str() {
                "rotate" => &mut policy.rotate,
                "notify" if matches!(trigger, Trigger::BeforeExpiry(_)) => &mut policy.notify,
                _ => return Err(Refusal::bad_property("lifetimeActions")),
            };
            if place.replace(trigger).is_some() {
                return Err(Refusal::bad_parameter(
                    "A policy has at most one action of each type.",
                ));
            }
        }
        policy.checked()
    }

    fn checked(self) -> Result<Policy, Refusal> {
        let Some(life) = &self.expiry_time else {
            return match self.rotate {
                Some(Trigger::BeforeExpiry(_)) => Err(Refusal::bad_parameter(
                    "A rotation before expiry needs an 'expiryTime', or no version would ever be due.",
                )),
                _ => Ok(self),
            };
        };
        let end = life.after(0);
        for trigger in self.rotate.iter().chain(&self.notify) {
            let due = trigger.due(0, end);
            if !(Some(0) < due && due < end) {
                return Err(Refusal::bad_parameter(
                    "A trigger lies outside of the version's life.",
                ));
            }
        }
        Ok(self)
    }

    /// The policy as it is on the wire; the one of a key without a policy when there is none.
    pub fn to_json(policy: Option<&Policy>, id: String) -> PolicyJson {
        let action = |kind: &str, trigger: &Trigger| ActionJson {
            trigger: match trigger {
                Trigger::AfterCreate(duration) => TriggerJson {
                    time_after_create: Some(duration.0.clone()),
                    time_before_expiry: None,
                },
                Trigger::BeforeExpiry(duration) => TriggerJson {
                    time_after_create: None,
                    time_before_expiry: Some(duration.0.clone()),
                },
            },
            action: TypeJson {
                kind: kind.to_owned(),
            },
        };
        let Some(policy) = policy else {
            return PolicyJson {
                id: Some(id),
                lifetime_actions: vec![action("Notify", &Policy::default_notify())],
                attributes: AttributesJson::default(),
            };
        };
        let rotate = policy
            .rotate
            .iter()
            .map(|trigger| action("Rotate", trigger));
        let notify = policy
            .notify
            .iter()
            .map(|trigger| action("Notify", trigger));
        PolicyJson {
            id: Some(id),
            lifetime_actions: rotate.chain(notify).collect(),
            attributes: AttributesJson {
                expiry_time: policy
                    .expiry_time
                    .as_ref()
                    .map(|duration| duration.0.clone()),
                created: Some(policy.created),
                updated: Some(policy.updated),
            },
        }
    }
}

impl ActionJson {
    fn trigger(&self) -> Result<Trigger, Refusal> {
        match (
            &self.trigger.time_after_create,
            &self.trigger.time_before_expiry,
        ) {
            (Some(text), None) => {
                Duration::parse(text, "timeAfterCreate", TRIGGER_MIN_S).map(Trigger::AfterCreate)
            }
            (None, Some(text)) => {
                Duration::parse(text, "timeBeforeExpiry", TRIGGER_MIN_S).map(Trigger::BeforeExpiry)
            }
            _ => Err(Refusal::bad_property("trigger")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, Refusal> {
        Policy::from_json(&serde_json::from_str(text).unwrap(), None, 1_000)
    }

    /// Goal: months are months of the calendar, also over the end of one.
    #[test]
    fn durations_follow_the_calendar() {
        let duration = |text| Duration::parse(text, "x", 0).unwrap();
        // 2024-01-31T00:00:00Z.
        let january = 1_706_659_200;
        assert_eq!(
            duration("P1M").after(january),
            Some(1_709_164_800),
            "2024-02-29"
        );
        assert_eq!(
            duration("P18M").after(january),
            Some(1_753_920_000),
            "2025-07-31"
        );
        assert_eq!(
            duration("P2Y").before(january),
            Some(1_643_587_200),
            "2022-01-31"
        );
        assert_eq!(duration("P30D").before(january), Some(january - 30 * DAY_S));
    }

    /// Goal: what the service's documentation gives as an example is taken and given back as it was.
    #[test]
    fn a_policy_comes_back_as_it_went_in() {
        let text = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P18M"},"action":{"type":"rotate"}},
            {"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"notify"}}],"attributes":{"expiryTime":"P2Y"}}"#;
        let json = Policy::to_json(Some(&policy(text).unwrap()), "id".into());
        assert_eq!(
            serde_json::to_string(&json).unwrap(),
            r#"{"id":"id","lifetimeActions":[{"trigger":{"timeAfterCreate":"P18M"},"action":{"type":"Rotate"}},{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}],"attributes":{"expiryTime":"P2Y","created":1000,"updated":1000}}"#
        );
    }

    /// Goal: policies that could not be followed are refused.
    #[test]
    fn policies_that_make_no_sense_are_refused() {
        let rotate = |trigger: &str, expiry: &str| {
            format!(
                r#"{{"lifetimeActions":[{{"trigger":{{{trigger}}},"action":{{"type":"Rotate"}}}}],"attributes":{{{expiry}}}}}"#
            )
        };
        for text in [
            rotate(r#""timeAfterCreate":"P6D""#, ""),
            rotate(r#""timeAfterCreate":"PT700H""#, ""),
            rotate(r#""timeAfterCreate":"90 days""#, ""),
            rotate(r#""timeAfterCreate":"-P90D""#, ""),
            rotate("", ""),
            rotate(r#""timeAfterCreate":"P90D","timeBeforeExpiry":"P30D""#, ""),
            rotate(r#""timeBeforeExpiry":"P30D""#, ""),
            rotate(r#""timeBeforeExpiry":"P90D""#, r#""expiryTime":"P60D""#),
            rotate(r#""timeAfterCreate":"P90D""#, r#""expiryTime":"P60D""#),
            rotate(r#""timeAfterCreate":"P10D""#, r#""expiryTime":"P20D""#),
            rotate(r#""timeAfterCreate":"P10D""#, "").replace("Rotate", "Notify"),
            rotate(r#""timeAfterCreate":"P10D""#, "").replace("Rotate", "Delete"),
        ] {
            assert_eq!(
                policy(&text).err().map(|refusal| refusal.status),
                Some(400),
                "{text}"
            );
        }
    }
}
