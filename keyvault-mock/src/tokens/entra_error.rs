//! Refusals of the token endpoint, in Entra's words and numbers
//! (<https://learn.microsoft.com/entra/identity-platform/reference-error-codes>).

use serde_json::json;

use crate::clock::{entra_timestamp, iso8601};
use crate::wire::{Reply, Request};

/// A refusal: the number behind `AADSTS`, OAuth's name for it (RFC 6749 section 5.2), and the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraError {
    /// The number behind `AADSTS`.
    pub number: u32,
    /// OAuth's `error`.
    pub error: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What Entra says about it.
    pub sentence: String,
}

impl EntraError {
    /// `AADSTS900144`: a field of the form is missing.
    pub fn missing(field: &str) -> Self {
        Self::new(
            900144,
            "invalid_request",
            400,
            format!("The request body must contain the following parameter: '{field}'."),
        )
    }

    /// `AADSTS70003`: a grant that is not served here.
    pub fn grant_type(grant_type: &str) -> Self {
        Self::new(
            70003,
            "unsupported_grant_type",
            400,
            format!("The app requested an unsupported grant type '{grant_type}'."),
        )
    }

    /// `AADSTS90002`: no such tenant.
    pub fn tenant(tenant: &str) -> Self {
        Self::new(
            90002,
            "invalid_request",
            400,
            format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into \
                 the correct cloud. Check with your subscription administrator, this may happen if there are no active \
                 subscriptions for the tenant."
            ),
        )
    }

    /// `AADSTS700016`: no such application.
    pub fn application(appid: &str, tenant: &str) -> Self {
        Self::new(
            700016,
            "unauthorized_client",
            400,
            format!(
                "Application with identifier '{appid}' was not found in the directory '{tenant}'. This can happen if \
                 the application has not been installed by the administrator of the tenant or consented to by any user \
                 in the tenant. You may have sent your authentication request to the wrong tenant."
            ),
        )
    }

    /// `AADSTS7000112`: the application was disabled.
    pub fn application_disabled(appid: &str, name: &str) -> Self {
        Self::new(
            7000112,
            "unauthorized_client",
            400,
            format!("Application '{appid}'({name}) is disabled."),
        )
    }

    /// `AADSTS7000215`: the secret is another one.
    pub fn secret(appid: &str) -> Self {
        Self::new(
            7000215,
            "invalid_client",
            401,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                 value, not the client secret ID, for a secret added to app '{appid}'."
            ),
        )
    }

    /// `AADSTS7000222`: the secret was right once.
    pub fn secret_expired(appid: &str) -> Self {
        Self::new(
            7000222,
            "invalid_client",
            401,
            format!(
                "The provided client secret keys for app '{appid}' are expired. Visit the Azure portal to create new \
                 keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added \
                 security: https://aka.ms/certCreds."
            ),
        )
    }

    /// `AADSTS7000216`: neither secret nor assertion.
    pub fn no_credential() -> Self {
        Self::new(
            7000216,
            "invalid_client",
            401,
            "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."
                .into(),
        )
    }

    /// `AADSTS70011`: a scope that is none.
    pub fn scope(scope: &str) -> Self {
        Self::new(
            70011,
            "invalid_scope",
            400,
            format!(
                "The provided request must include a 'scope' input parameter. The provided value for the input \
                 parameter 'scope' is not valid. The scope {scope} is not valid."
            ),
        )
    }

    /// `AADSTS500011`: tokens for this resource are not given here.
    pub fn resource(resource: &str, tenant: &str) -> Self {
        Self::new(
            500011,
            "invalid_resource",
            400,
            format!(
                "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen \
                 if the application has not been installed by the administrator of the tenant or consented to by any \
                 user in the tenant. You might have sent your authentication request to the wrong tenant."
            ),
        )
    }

    /// `AADSTS50027`: an assertion that is no token.
    pub fn assertion_malformed() -> Self {
        Self::new(
            50027,
            "invalid_client",
            401,
            "JWT token is invalid or malformed.".into(),
        )
    }

    /// `AADSTS700027`: nobody whom we trust signed the assertion.
    pub fn assertion_signature() -> Self {
        Self::new(
            700027,
            "invalid_client",
            401,
            "Client assertion failed signature validation.".into(),
        )
    }

    /// `AADSTS700024`: the assertion is too old or too young. Times are seconds since the epoch.
    pub fn assertion_time(now: i64, from: i64, until: i64) -> Self {
        Self::new(
            700024,
            "invalid_client",
            401,
            format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, \
                 expiry time of assertion {}.",
                iso8601(now),
                iso8601(from),
                iso8601(until)
            ),
        )
    }

    /// `AADSTS700211`, `700212` or `700213`: the application trusts no such issuer, audience or subject.
    pub fn assertion_unknown(what: &str, value: &str) -> Self {
        let number = match what {
            "issuer" => 700211,
            "audience" => 700212,
            _ => 700213,
        };
        Self::new(
            number,
            "invalid_client",
            401,
            format!(
                "No matching federated identity record found for presented assertion {what} '{value}'. Please check \
                 your federated identity credential Subject, Audience and Issuer against the presented assertion. \
                 https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
            ),
        )
    }

    /// The reply, with its trace.
    pub fn reply(&self, request: &Request, trace: &str, now: i64) -> Reply {
        let correlation = request.header("client-request-id").unwrap_or(trace);
        let timestamp = entra_timestamp(now);
        Reply::json(
            self.status,
            &json!({
                "error": self.error,
                "error_description": format!(
                    "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}",
                    self.number, self.sentence
                ),
                "error_codes": [self.number],
                "timestamp": timestamp,
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.number),
            }),
        )
    }

    fn new(number: u32, error: &'static str, status: u16, sentence: String) -> Self {
        EntraError {
            number,
            error,
            status,
            sentence,
        }
    }
}
