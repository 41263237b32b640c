//! Release policies: which authority has to claim what. Source: "Azure Key Vault secure key release policy grammar".

use serde::Deserialize;
use serde_json::Value;

use crate::error::Refusal;
use crate::material::jwk::from_base64;
use crate::vault::ReleasePolicy;

/// A policy that was understood. A target needs to satisfy one of its authorities.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    version: String,
    #[serde(rename = "anyOf")]
    authorities: Vec<Authority>,
}

#[derive(Debug, Deserialize)]
struct Authority {
    authority: String,
    #[serde(flatten)]
    condition: Condition,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Condition {
    All {
        #[serde(rename = "allOf")]
        all: Vec<Condition>,
    },
    Any {
        #[serde(rename = "anyOf")]
        any: Vec<Condition>,
    },
    Claim {
        claim: String,
        equals: Value,
    },
}

impl Policy {
    /// The policy in a version's `release_policy`.
    ///
    /// # Errors
    /// Anything that is not of the grammar's version 1.0.0.
    pub(super) fn parse(policy: &ReleasePolicy) -> Result<Policy, Refusal> {
        let data = from_base64(&policy.data, "release_policy")?;
        let parsed: Policy = serde_json::from_slice(&data).map_err(|error| {
            Refusal::bad_parameter(format!("The release policy is not of the grammar: {error}"))
        })?;
        if !matches!(parsed.version.as_str(), "1.0.0" | "0.2") {
            return Err(Refusal::bad_parameter(
                "The release policy is of a version other than 1.0.0.",
            ));
        }
        Ok(parsed)
    }

    /// The claims of the target, when one of the authorities vouches for it and claims what the policy asks for.
    ///
    /// # Errors
    /// 403, with the reason of the last authority.
    pub(super) fn admitted(
        &self,
        attested: impl Fn(&str) -> Result<Value, String>,
    ) -> Result<Value, Refusal> {
        let mut reason = "it names no authority".to_owned();
        for Authority {
            authority,
            condition,
        } in &self.authorities
        {
            match attested(authority) {
                Ok(claims) if condition.holds(&claims) => return Ok(claims),
                Ok(_) => reason = format!("the claims of {authority} are not those it asks for"),
                Err(why) => reason = why,
            }
        }
        Err(Refusal::new(
            403,
            "Forbidden",
            format!("The release policy does not admit the target: {reason}."),
        ))
    }
}

impl Condition {
    fn holds(&self, claims: &Value) -> bool {
        match self {
            // An empty list would let everybody have the key.
            Condition::All { all } => {
                !all.is_empty() && all.iter().all(|condition| condition.holds(claims))
            }
            Condition::Any { any } => any.iter().any(|condition| condition.holds(claims)),
            Condition::Claim { claim, equals } => {
                value_at(claims, claim).is_some_and(|value| equal(value, equals))
            }
        }
    }
}

/// A claim by its path, `.` standing between names.
fn value_at<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    match claims.get(path) {
        Some(value) => Some(value),
        None => path
            .split('.')
            .try_fold(claims, |value, name| value.get(name)),
    }
}

/// Policies say "true" where tokens say true.
fn equal(value: &Value, wanted: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    value == wanted || (!value.is_object() && !value.is_array() && text(value) == text(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::material::jwk::base64url;
    use serde_json::json;

    fn policy(text: &str) -> Result<Policy, Refusal> {
        Policy::parse(&ReleasePolicy {
            content_type: String::new(),
            data: base64url(text.as_bytes()),
            immutable: false,
        })
    }

    const NESTED: &str = r#"{"version":"1.0.0","anyOf":[{"authority":"https://a","allOf":[
        {"claim":"tee.type","equals":"snp"},{"anyOf":[{"claim":"debug","equals":"false"},{"claim":"lab","equals":1}]}]}]}"#;

    /// Goal: a target gets in by all of the conditions, from the named authority, and by nothing less.
    #[test]
    fn conditions_hold_or_do_not() {
        for (claims, admitted) in [
            (json!({ "tee": { "type": "snp" }, "debug": false }), true),
            (json!({ "tee": { "type": "snp" }, "lab": 1 }), true),
            (json!({ "tee.type": "snp", "lab": 1 }), true),
            (json!({ "tee": { "type": "snp" }, "debug": true }), false),
            (json!({ "tee": { "type": "tdx" }, "debug": false }), false),
            (json!({ "debug": false }), false),
            (json!({}), false),
        ] {
            let result = policy(NESTED).unwrap().admitted(|authority| {
                assert_eq!(authority, "https://a");
                Ok(claims.clone())
            });
            assert_eq!(result.is_ok(), admitted, "{claims}");
        }
        assert!(
            policy(NESTED)
                .unwrap()
                .admitted(|_| Err("no".into()))
                .is_err()
        );
    }

    /// Goal: what is not of the grammar is refused, and an empty policy admits nobody.
    #[test]
    fn policies_outside_of_the_grammar() {
        for text in [
            "",
            "{}",
            r#"{"version":"9","anyOf":[]}"#,
            r#"{"version":"1.0.0","anyOf":[{"authority":"https://a"}]}"#,
            r#"{"version":"1.0.0","anyOf":[{"allOf":[]}]}"#,
            r#"{"version":"1.0.0","anyOf":[{"authority":"a","allOf":[{"claim":"x","contains":"y"}]}]}"#,
        ] {
            assert!(policy(text).is_err(), "{text}");
        }
        for text in [
            r#"{"version":"1.0.0","anyOf":[]}"#,
            r#"{"version":"1.0.0","anyOf":[{"authority":"a","allOf":[]}]}"#,
            r#"{"version":"1.0.0","anyOf":[{"authority":"a","anyOf":[]}]}"#,
        ] {
            assert!(
                policy(text).unwrap().admitted(|_| Ok(json!({}))).is_err(),
                "{text}"
            );
        }
    }
}
