//! The token endpoint: client credentials (RFC 6749 section 4.4), with a secret or with an assertion (RFC 7523).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use serde_json::{Value, json};

use super::jwt::{unverified_claims, verified_claims};
use super::{EntraError, Issued, Principal, Tokens, random_id};
use crate::wire::{Reply, Request, percent_decoded};

/// Answers a request for a token. `field` is the one that names the resource: `scope` in version 2.0 of the
/// endpoint, `resource` in the first.
pub(super) fn token(
    tokens: &Tokens,
    request: &Request,
    tenant: &str,
    field: &str,
    now: i64,
) -> Reply {
    let form = Form::new(&request.body);
    match issue(tokens, &form, tenant, field, now) {
        Ok((issued, resource)) => reply(&issued, &resource, field),
        Err(error) => error.reply(request, &random_id(), now),
    }
}

fn issue(
    tokens: &Tokens,
    form: &Form,
    tenant: &str,
    field: &str,
    now: i64,
) -> Result<(Issued, String), EntraError> {
    let grant_type = form.required("grant_type")?;
    if grant_type != "client_credentials" {
        return Err(EntraError::grant_type(grant_type));
    }
    if !tenant.eq_ignore_ascii_case(&tokens.tenant) {
        return Err(EntraError::tenant(tenant));
    }
    let client_id = form.required("client_id")?;
    let principal = tokens
        .principal_by(|known| known.appid.eq_ignore_ascii_case(client_id))
        .ok_or_else(|| EntraError::application(client_id, tenant))?;
    if !principal.enabled {
        return Err(EntraError::application_disabled(client_id, &principal.name));
    }
    let strength = match (form.value("client_assertion"), form.value("client_secret")) {
        (Some(assertion), _) => {
            check_assertion(tokens, form, &principal, assertion, now)?;
            "2"
        }
        (None, Some(secret)) => {
            check_secret(&principal, secret, now)?;
            "1"
        }
        (None, None) => return Err(EntraError::no_credential()),
    };
    let asked = form.required(field)?;
    let resource = match field {
        "scope" => asked
            .strip_suffix("/.default")
            .ok_or_else(|| EntraError::scope(asked))?,
        _ => asked,
    };
    if !tokens.knows_resource(resource) {
        return Err(EntraError::resource(resource, tenant));
    }
    let issued = tokens.issue(&principal, resource, strength, now);
    Ok((issued, resource.to_owned()))
}

fn check_secret(principal: &Principal, presented: &str, now: i64) -> Result<(), EntraError> {
    let known = principal.secrets.iter().find(|secret| {
        verify_slices_are_equal(secret.value.as_bytes(), presented.as_bytes()).is_ok()
    });
    match known {
        None => Err(EntraError::secret(&principal.appid)),
        Some(secret) if secret.expires.is_some_and(|expires| expires <= now) => {
            Err(EntraError::secret_expired(&principal.appid))
        }
        Some(_) => Ok(()),
    }
}

/// Checks a token of another issuer that the application trusts. The signature comes before the audience and the
/// subject, so that nobody learns from us what a forged token would have to say.
fn check_assertion(
    tokens: &Tokens,
    form: &Form,
    principal: &Principal,
    assertion: &str,
    now: i64,
) -> Result<(), EntraError> {
    if form.required("client_assertion_type")? != ASSERTION_TYPE {
        return Err(EntraError::assertion_malformed());
    }
    let claimed = unverified_claims(assertion).map_err(|_| EntraError::assertion_malformed())?;
    let issuer = claimed["iss"].as_str().unwrap_or_default();
    let credentials: Vec<_> = principal
        .federated
        .iter()
        .filter(|known| known.issuer == issuer)
        .collect();
    if credentials.is_empty() {
        return Err(EntraError::assertion_unknown("issuer", issuer));
    }
    let keys = tokens
        .state()
        .trusted
        .get(issuer)
        .cloned()
        .unwrap_or_default();
    let claims =
        verified_claims(assertion, &keys).map_err(|_| EntraError::assertion_signature())?;
    let audiences = strings(&claims["aud"]);
    let subject = claims["sub"].as_str().unwrap_or_default();
    let for_us = |audience: &str| audiences.contains(&audience);
    if !credentials.iter().any(|known| for_us(&known.audience)) {
        return Err(EntraError::assertion_unknown(
            "audience",
            &audiences.join(" "),
        ));
    }
    let matching =
        |known: &&super::FederatedCredential| for_us(&known.audience) && known.subject == subject;
    if !credentials.into_iter().any(|known| matching(&known)) {
        return Err(EntraError::assertion_unknown("subject", subject));
    }
    let from = claims["nbf"]
        .as_i64()
        .or(claims["iat"].as_i64())
        .unwrap_or(i64::MIN);
    let until = claims["exp"].as_i64().unwrap_or(i64::MIN);
    if now < from || until <= now {
        return Err(EntraError::assertion_time(now, from.max(0), until.max(0)));
    }
    Ok(())
}

/// The one string, or the strings of the list.
fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

/// The first version of the endpoint writes numbers as strings.
fn reply(issued: &Issued, resource: &str, field: &str) -> Reply {
    let body = if field == "scope" {
        json!({
            "token_type": "Bearer",
            "expires_in": issued.lifetime_s,
            "ext_expires_in": issued.lifetime_s,
            "access_token": issued.token,
        })
    } else {
        json!({
            "token_type": "Bearer",
            "expires_in": issued.lifetime_s.to_string(),
            "ext_expires_in": issued.lifetime_s.to_string(),
            "expires_on": issued.expires.to_string(),
            "not_before": issued.from.to_string(),
            "resource": resource,
            "access_token": issued.token,
        })
    };
    Reply::json(200, &body)
        .with_header("cache-control", "no-store, no-cache")
        .with_header("pragma", "no-cache")
}

/// A body of `application/x-www-form-urlencoded`.
struct Form(Vec<(String, String)>);

impl Form {
    fn new(body: &[u8]) -> Form {
        let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
        let fields = String::from_utf8_lossy(body)
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        Form(fields)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, EntraError> {
        self.value(name).ok_or_else(|| EntraError::missing(name))
    }
}

/// The one kind of assertion (RFC 7523 section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
