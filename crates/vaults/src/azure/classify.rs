//! What an answer of the vault means.
//!
//! | Answer | Meaning |
//! | --- | --- |
//! | 2xx | it was done |
//! | 403 `KeyDisabled` | the version is disabled; whether the key is, the list of versions tells |
//! | 403 `ForbiddenByRbac`, `ForbiddenByPolicy`, and 403 with any other code | `Revoked(Permission)` |
//! | 403 `ForbiddenByFirewall`, `ForbiddenByConnection` | `Revoked(Permission)`: whoever closes a vault's network to us has said *no*, as Azure Database for PostgreSQL sees it too |
//! | 403 `KeyExpired` | `Revoked(Expired)`, where our own clock did not see it |
//! | 403 `KeyNotYetValid` | `PolicyMismatch`, the same |
//! | 404 | the version or the key is missing; the deleted keys tell more |
//! | 409 `ObjectIsBeingDeleted`, `ObjectIsDeletedButRecoverable` | `Revoked(Deleted)` |
//! | 409 `ObjectIsBeingRecovered` | `Unreachable`: the key is coming back |
//! | 429 | `Throttled` |
//! | 400 to an unwrap | `Corrupt`: the version did not make these bytes |
//! | 400 otherwise | `PolicyMismatch`: the key cannot do what is asked |
//! | 408, 5xx, 3xx | `Unreachable` |
//! | 4xx without an error body of Key Vault | `Unreachable`: something else answers in its place |
//!
//! 401 is not here: [`Session`](super::session::Session) answers it with a login.

use cofferdam_keys::{Reason, Revocation};

use super::failure::Failure;
use super::http::Answer;
use super::wire::ErrorBody;

/// What was asked for, as far as it changes what an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Question,
    Unwrap,
    Wrap,
}

/// What an answer means that is not a success.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The version is disabled.
    Disabled(String),
    /// There is no such key, or no such version.
    Missing(String),
    /// It is settled.
    Refused(Failure),
}

/// `Ok` for a success.
pub(super) fn classify(answer: &Answer, asked: Asked) -> Result<(), Verdict> {
    let said = error_of(answer);
    let detail = describe(answer, said.as_ref());
    let refused = |reason, detail: String| {
        Err(Verdict::Refused(Failure {
            reason,
            detail,
            retry_after: answer.retry_after,
        }))
    };
    match answer.status {
        200..=299 => return Ok(()),
        429 => return refused(Reason::Throttled, detail),
        300..=399 => {
            return refused(
                Reason::Unreachable,
                format!("{detail}: a redirection, which is not followed"),
            );
        }
        400..=407 | 409..=499 if said.is_some() => {}
        400..=407 | 409..=499 => {
            return refused(
                Reason::Unreachable,
                format!(
                    "{detail}: this is no answer of Azure Key Vault; is there a proxy in between?"
                ),
            );
        }
        _ => return refused(Reason::Unreachable, detail),
    }
    let inner = said.as_ref().map_or("", |said| said.inner.as_str());
    match (answer.status, inner) {
        (400, _) if asked == Asked::Unwrap => refused(Reason::Corrupt, detail),
        (401, _) => refused(Reason::AuthBroken, detail),
        (403, "KeyDisabled") => Err(Verdict::Disabled(detail)),
        (403, "ForbiddenByFirewall" | "ForbiddenByConnection") => refused(
            Reason::Revoked(Revocation::Permission),
            format!("the vault's firewall does not let this machine in: {detail}"),
        ),
        (403, "KeyExpired") => refused(Reason::Revoked(Revocation::Expired), detail),
        (403, "KeyNotYetValid") => refused(Reason::PolicyMismatch, detail),
        (403, _) => refused(Reason::Revoked(Revocation::Permission), detail),
        (404, _) => Err(Verdict::Missing(detail)),
        (409, "ObjectIsBeingDeleted" | "ObjectIsDeletedButRecoverable") => {
            refused(Reason::Revoked(Revocation::Deleted), detail)
        }
        (409, "ObjectIsBeingRecovered") => refused(Reason::Unreachable, detail),
        _ => refused(Reason::PolicyMismatch, detail),
    }
}

struct Said {
    code: String,
    inner: String,
    message: String,
}

fn error_of(answer: &Answer) -> Option<Said> {
    let body: ErrorBody = serde_json::from_slice(&answer.body).ok()?;
    let inner = body.error.innererror.and_then(|inner| inner.code);
    Some(Said {
        code: printable(&body.error.code, 64),
        inner: printable(&inner.unwrap_or_default(), 64),
        message: printable(&body.error.message, MESSAGE_LEN_MAX),
    })
}

/// `HTTP 403 Forbidden/KeyDisabled, request 0d1f…: Operation unwrapKey is not allowed on a disabled key.`
fn describe(answer: &Answer, said: Option<&Said>) -> String {
    let mut text = format!("HTTP {}", answer.status);
    if let Some(said) = said {
        text.push(' ');
        text.push_str(&said.code);
        if !said.inner.is_empty() {
            text.push('/');
            text.push_str(&said.inner);
        }
    }
    if let Some(id) = &answer.request_id {
        text.push_str(", request ");
        text.push_str(&printable(id, 128));
    }
    if let Some(said) = said.filter(|said| !said.message.is_empty()) {
        text.push_str(": ");
        text.push_str(&said.message);
    }
    text
}

/// At most so many characters, on one line: what a server says goes into logs and onto terminals.
pub(super) fn printable(text: &str, len_max: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(len_max)
        .collect()
}

const MESSAGE_LEN_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: Zeroizing::new(body.as_bytes().to_vec()),
            challenge: None,
            date: None,
            request_id: Some("r-1".to_owned()),
            retry_after: (status == 429).then(|| Duration::from_secs(7)),
        }
    }

    fn body(code: &str, inner: &str) -> String {
        match inner {
            "" => format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"why\"}}}}"),
            _ => format!(
                "{{\"error\":{{\"code\":\"{code}\",\"message\":\"why\",\"innererror\":{{\"code\":\"{inner}\"}}}}}}"
            ),
        }
    }

    /// The reason, or how the case is not settled yet.
    fn verdict(status: u16, body: &str, asked: Asked) -> Result<(), String> {
        classify(&answer(status, body), asked).map_err(|verdict| match verdict {
            Verdict::Disabled(_) => "disabled".to_owned(),
            Verdict::Missing(_) => "missing".to_owned(),
            Verdict::Refused(failure) => format!("{:?}", failure.reason),
        })
    }

    #[test]
    fn each_row_of_the_table_holds() {
        use Asked::{Question, Unwrap, Wrap};
        let permission = "Revoked(Permission)";
        for (status, code, inner, asked, expected) in [
            (400, "BadParameter", "", Unwrap, "Corrupt"),
            (400, "BadParameter", "", Wrap, "PolicyMismatch"),
            (400, "BadParameter", "", Question, "PolicyMismatch"),
            (401, "Unauthorized", "", Unwrap, "AuthBroken"),
            (403, "Forbidden", "KeyDisabled", Unwrap, "disabled"),
            (403, "Forbidden", "KeyDisabled", Wrap, "disabled"),
            (403, "Forbidden", "ForbiddenByRbac", Unwrap, permission),
            (403, "Forbidden", "ForbiddenByPolicy", Wrap, permission),
            (403, "Forbidden", "ForbiddenByFirewall", Unwrap, permission),
            (
                403,
                "Forbidden",
                "ForbiddenByConnection",
                Question,
                permission,
            ),
            (403, "Forbidden", "SomethingNew", Unwrap, permission),
            (403, "Forbidden", "", Unwrap, permission),
            (404, "KeyNotFound", "", Unwrap, "missing"),
            (
                409,
                "Conflict",
                "ObjectIsBeingDeleted",
                Unwrap,
                "Revoked(Deleted)",
            ),
            (
                409,
                "Conflict",
                "ObjectIsDeletedButRecoverable",
                Wrap,
                "Revoked(Deleted)",
            ),
            (409, "Conflict", "", Wrap, "PolicyMismatch"),
            (
                409,
                "Conflict",
                "ObjectIsBeingRecovered",
                Wrap,
                "Unreachable",
            ),
            (403, "Forbidden", "KeyExpired", Wrap, "Revoked(Expired)"),
            (403, "Forbidden", "KeyNotYetValid", Wrap, "PolicyMismatch"),
            (408, "RequestTimeout", "", Unwrap, "Unreachable"),
            (429, "Throttled", "", Unwrap, "Throttled"),
            (500, "InternalServerError", "", Unwrap, "Unreachable"),
            (503, "ServiceUnavailable", "", Wrap, "Unreachable"),
        ] {
            let found = verdict(status, &body(code, inner), asked);
            assert_eq!(found, Err(expected.to_owned()), "{status} {code} {inner}");
        }
        assert_eq!(verdict(200, "{}", Unwrap), Ok(()));
    }

    #[test]
    fn who_is_not_the_vault_cannot_say_no() {
        for status in [302, 307, 400, 401, 403, 404, 407, 409, 418] {
            for text in [
                "",
                "<html>Forbidden</html>",
                "{}",
                "{\"error\":\"invalid\"}",
            ] {
                let found = verdict(status, text, Asked::Unwrap);
                assert_eq!(found, Err("Unreachable".to_owned()), "{status} {text}");
            }
        }
    }

    #[test]
    fn a_detail_names_status_codes_and_request_on_one_line() {
        let text = body("Forbidden", "ForbiddenByFirewall").replace("why", "a\\nb");
        let Err(Verdict::Refused(failure)) = classify(&answer(403, &text), Asked::Unwrap) else {
            panic!("a refusal")
        };
        assert_eq!(
            failure.detail,
            "the vault's firewall does not let this machine in: HTTP 403 Forbidden/ForbiddenByFirewall, request r-1: a b"
        );
        let Err(Verdict::Refused(failure)) = classify(&answer(429, ""), Asked::Unwrap) else {
            panic!("a refusal")
        };
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    }
}
