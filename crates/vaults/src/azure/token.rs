//! Tokens: how they are got, and how long they are kept.

use std::fs;
use std::time::Duration;

use cofferdam_keys::{Reason, UnixTime};
use ureq::http::Method;
use zeroize::Zeroizing;

use super::challenge::{Challenge, without_default_port};
use super::classify::printable;
use super::credential::Credential;
use super::failure::Failure;
use super::http::{Answer, Call, Http, Schemes};
use super::settings::AzureSettings;
use super::wire::{LoginError, TokenBody, at};

/// What a vault is shown. No `Debug`.
pub(super) struct Token {
    bearer: Zeroizing<String>,
    renew_at: UnixTime,
    dies_at: UnixTime,
}

impl Token {
    /// The value of an `Authorization` header.
    pub(super) fn expose(&self) -> &str {
        &self.bearer
    }

    /// Whether it is far enough from its end.
    pub(super) fn lasts(&self, now: UnixTime) -> bool {
        now < self.renew_at
    }

    /// Whether it has not come to its end, in case that no other is to be had.
    pub(super) fn lives(&self, now: UnixTime) -> bool {
        now < self.dies_at
    }

    /// Logs in.
    ///
    /// # Errors
    ///
    /// [`Reason::AuthBroken`] when we are not known, [`Reason::Unreachable`] and [`Reason::Throttled`] when nobody says.
    pub(super) fn obtain(
        http: &Http,
        settings: &AzureSettings,
        challenge: &Challenge,
        now: UnixTime,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let credential = Credential::choose(settings)?;
        check_place(settings, challenge, &credential)?;
        let answer = match credential {
            Credential::ClientSecret {
                tenant,
                client,
                secret,
            } => {
                let proof = [("client_secret", secret)];
                log_in(http, settings, tenant, client, challenge, &proof, timeout)?
            }
            Credential::WorkloadIdentity {
                tenant,
                client,
                token_file,
            } => {
                let assertion = fs::read_to_string(token_file).map_err(|error| {
                    let path = token_file.display();
                    Failure::new(Reason::AuthBroken, format!("{path}: {error}"))
                })?;
                let assertion = Zeroizing::new(assertion);
                let proof = [
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", assertion.trim()),
                ];
                log_in(http, settings, tenant, client, challenge, &proof, timeout)?
            }
            Credential::ManagedIdentity {
                endpoint,
                header,
                client,
            } => {
                let url = identity_url(endpoint, "2019-08-01", challenge, client);
                ask_machine(settings, &url, ("X-IDENTITY-HEADER", header), timeout)?
            }
            Credential::VirtualMachine { client } => {
                let url = identity_url(METADATA_SERVICE, "2018-02-01", challenge, client);
                ask_machine(settings, &url, ("Metadata", "true"), timeout).map_err(|failure| {
                    let detail = format!(
                        "no AZURE_… credentials are set, and the managed identity of a virtual machine: {}",
                        failure.detail
                    );
                    Failure { detail, ..failure }
                })?
            }
        };
        token_in(&answer, now)
    }
}

/// A secret goes to the configured authority alone, and for the configured directory alone.
fn check_place(
    settings: &AzureSettings,
    challenge: &Challenge,
    credential: &Credential<'_>,
) -> Result<(), Failure> {
    let Some(tenant) = credential.tenant() else {
        return Ok(());
    };
    let (_, authority) = authority(settings)?;
    let wrong = |what: String| Err(Failure::new(Reason::AuthBroken, what));
    if authority != challenge.authority {
        return wrong(format!(
            "the vault wants a login at {}, and AZURE_AUTHORITY_HOST is {authority}",
            challenge.authority
        ));
    }
    if !tenant.eq_ignore_ascii_case(&challenge.tenant) {
        return wrong(format!(
            "the vault belongs to tenant {}, and AZURE_TENANT_ID is {tenant}",
            printable(&challenge.tenant, 64)
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if tenant.is_empty() || !tenant.chars().all(plain) {
        return wrong("AZURE_TENANT_ID is no tenant's name".to_owned());
    }
    Ok(())
}

/// The URL's beginning, and the host with its port.
fn authority(settings: &AzureSettings) -> Result<(String, String), Failure> {
    let text = settings.authority_host.as_deref().unwrap_or(PUBLIC_CLOUD);
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("https://").unwrap_or(text);
    if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
        return Err(Failure::new(
            Reason::AuthBroken,
            format!("AZURE_AUTHORITY_HOST is https://HOST, and not {text:?}"),
        ));
    }
    let host = host.to_ascii_lowercase();
    let comparable = without_default_port(&host).to_owned();
    Ok((format!("https://{host}"), comparable))
}

fn log_in(
    http: &Http,
    settings: &AzureSettings,
    tenant: &str,
    client: &str,
    challenge: &Challenge,
    proof: &[(&str, &str)],
    timeout: Duration,
) -> Result<Answer, Failure> {
    let (base, _) = authority(settings)?;
    let scope = format!("{}/.default", challenge.resource);
    let mut fields = vec![
        ("client_id", client),
        ("grant_type", "client_credentials"),
        ("scope", &scope),
    ];
    fields.extend_from_slice(proof);
    let form = form(&fields);
    http.call(&Call {
        method: Method::POST,
        url: &format!("{base}/{tenant}/oauth2/v2.0/token"),
        headers: &[],
        body: Some(("application/x-www-form-urlencoded", form.as_bytes())),
        timeout,
    })
    .map_err(|failure| at_login(failure, "the login"))
}

fn identity_url(
    endpoint: &str,
    api_version: &str,
    challenge: &Challenge,
    client: Option<&str>,
) -> String {
    let mut fields = vec![
        ("api-version", api_version),
        ("resource", &challenge.resource),
    ];
    fields.extend(client.map(|client| ("client_id", client)));
    format!("{endpoint}?{}", *form(&fields))
}

fn ask_machine(
    settings: &AzureSettings,
    url: &str,
    header: (&'static str, &str),
    timeout: Duration,
) -> Result<Answer, Failure> {
    // The services that give tokens are on this machine and without TLS. Nothing is kept open to them.
    Http::new(settings, Schemes::Any)?
        .call(&Call {
            method: Method::GET,
            url,
            headers: &[header],
            body: None,
            timeout,
        })
        .map_err(|failure| at_login(failure, "the managed identity's service"))
}

fn at_login(failure: Failure, place: &str) -> Failure {
    let detail = format!("{place}: {}", failure.detail);
    Failure { detail, ..failure }
}

/// # Errors
///
/// What the login said in place of a token.
fn token_in(answer: &Answer, now: UnixTime) -> Result<Token, Failure> {
    if answer.status != 200 {
        return Err(refusal_of(answer));
    }
    let body: TokenBody<'_> = serde_json::from_slice(&answer.body)
        .map_err(|_| Failure::unreachable("the login answered with something else than a token"))?;
    let lasts_s = match (&body.expires_in, &body.expires_on) {
        (Some(seconds), _) => seconds.number().unwrap_or(0),
        (None, Some(until)) => until.number().unwrap_or(0).saturating_sub(now.seconds),
        (None, None) => 0,
    };
    let usable_s = lasts_s.saturating_sub(RENEW_BEFORE_S);
    let mut bearer = Zeroizing::new(String::with_capacity(7 + body.access_token.len()));
    bearer.push_str("Bearer ");
    bearer.push_str(body.access_token);
    Ok(Token {
        bearer,
        renew_at: at(now.seconds.saturating_add(usable_s)),
        dies_at: at(now.seconds.saturating_add(lasts_s)),
    })
}

/// RFC 6749 section 5.2: 400 or 401 with an error code. Services of managed identities answer 404 and 410 while they are updated, which is
/// an outage.
fn refusal_of(answer: &Answer) -> Failure {
    let said: Option<LoginError> = serde_json::from_slice(&answer.body).ok();
    let words = said.as_ref().map_or_else(String::new, |said| {
        let line = said.error_description.lines().next().unwrap_or_default();
        format!(" {}: {}", printable(&said.error, 64), printable(line, 200))
    });
    let detail = format!("the login answered HTTP {}{words}", answer.status);
    let reason = match (answer.status, said) {
        (429, _) => Reason::Throttled,
        (400..=403 | 405..=407 | 409 | 411..=499, Some(said))
            if said.error != "temporarily_unavailable" =>
        {
            Reason::AuthBroken
        }
        _ => Reason::Unreachable,
    };
    Failure {
        reason,
        detail,
        retry_after: answer.retry_after,
    }
}

/// `application/x-www-form-urlencoded`, which fits into queries too.
fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    let len: usize = fields
        .iter()
        .map(|(name, value)| name.len() + 3 * value.len() + 2)
        .sum();
    // Room for all of it at once: a string that grows leaves secrets behind.
    let mut text = Zeroizing::new(String::with_capacity(len));
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                text.push(char::from(byte));
            } else {
                let digit = |nibble: u8| char::from(HEX_DIGITS[usize::from(nibble)]);
                text.push('%');
                text.push(digit(byte >> 4));
                text.push(digit(byte & 15));
            }
        }
    }
    text
}

const HEX_DIGITS: &[u8; 16] = b"0123456789ABCDEF";
const PUBLIC_CLOUD: &str = "https://login.microsoftonline.com";
/// The instance metadata service, the same address on every virtual machine.
const METADATA_SERVICE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// A token is renewed when it has five minutes left.
const RENEW_BEFORE_S: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: Zeroizing::new(body.as_bytes().to_vec()),
            challenge: None,
            date: None,
            request_id: None,
            retry_after: None,
        }
    }

    #[test]
    fn a_token_is_kept_until_five_minutes_before_its_end() {
        let now = at(1000);
        for (body, renew_at) in [
            (r#"{"access_token":"t","expires_in":3600}"#, 4300),
            (r#"{"access_token":"t","expires_in":"3600"}"#, 4300),
            (r#"{"access_token":"t","expires_on":"4600"}"#, 4300),
            (r#"{"access_token":"t","expires_in":300}"#, 1000),
            (r#"{"access_token":"t"}"#, 1000),
        ] {
            let Ok(token) = token_in(&answer(200, body), now) else {
                panic!("{body}")
            };
            assert_eq!(token.expose(), "Bearer t");
            assert!(!token.lasts(at(renew_at)));
            assert!(token.lasts(at(renew_at - 1)));
            assert!(!token.lives(at(renew_at + RENEW_BEFORE_S)));
            let lasts = body.contains("expires");
            assert_eq!(token.lives(at(renew_at + RENEW_BEFORE_S - 1)), lasts);
        }
    }

    #[test]
    fn a_login_that_says_no_is_told_from_one_that_is_away() {
        let reason = |status, body| token_in(&answer(status, body), at(0)).err().unwrap().reason;
        let no =
            r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired\r\nTrace"}"#;
        assert_eq!(reason(401, no), Reason::AuthBroken);
        assert_eq!(reason(404, no), Reason::Unreachable);
        assert_eq!(reason(410, no), Reason::Unreachable);
        assert_eq!(reason(400, no), Reason::AuthBroken);
        assert_eq!(reason(429, no), Reason::Throttled);
        assert_eq!(reason(503, no), Reason::Unreachable);
        assert_eq!(reason(400, "<html>"), Reason::Unreachable);
        assert_eq!(reason(302, ""), Reason::Unreachable);
        assert_eq!(reason(200, "{}"), Reason::Unreachable);
        let failure = token_in(&answer(401, no), at(0)).err().unwrap();
        assert_eq!(
            failure.detail,
            "the login answered HTTP 401 invalid_client: AADSTS7000222: expired"
        );
    }

    #[test]
    fn secrets_go_to_the_configured_authority_and_tenant_only() {
        let settings = |authority: Option<&str>| AzureSettings {
            tenant_id: Some("t-1".to_owned()),
            client_id: Some("c".to_owned()),
            client_secret: Some(Zeroizing::new("s".to_owned())),
            authority_host: authority.map(ToOwned::to_owned),
            ..AzureSettings::default()
        };
        let challenge = |authority: &str, tenant: &str| Challenge {
            resource: "https://vault.azure.net".to_owned(),
            authority: authority.to_owned(),
            tenant: tenant.to_owned(),
        };
        let allowed = |host: Option<&str>, challenge: &Challenge| {
            let settings = settings(host);
            let credential = Credential::choose(&settings).ok().unwrap();
            check_place(&settings, challenge, &credential).is_ok()
        };
        let public = challenge("login.microsoftonline.com", "T-1");
        assert!(allowed(None, &public));
        assert!(allowed(
            Some("https://LOGIN.microsoftonline.com:443/"),
            &public
        ));
        assert!(!allowed(Some("https://login.microsoftonline.us"), &public));
        assert!(!allowed(
            Some("https://login.microsoftonline.com/x"),
            &public
        ));
        assert!(!allowed(None, &challenge("login.evil.example", "t-1")));
        assert!(!allowed(
            None,
            &challenge("login.microsoftonline.com", "t-2")
        ));
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(
            *form(&[("a", "x/y z+é"), ("b", "~")]),
            "a=x%2Fy%20z%2B%C3%A9&b=~"
        );
    }
}
