//! Managed identities: tokens for whoever runs on this machine.
//!
//! Two dialects: App Service's, where a secret header keeps out requests that a server was tricked into making
//! (<https://learn.microsoft.com/azure/app-service/overview-managed-identity>), and the instance metadata service of
//! virtual machines, where `Metadata: true` does
//! (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>).

use serde_json::json;

use super::{Principal, Tokens};
use crate::wire::{Reply, Request};

/// Answers a request for one of the two paths.
pub(super) fn route(tokens: &Tokens, request: &Request, now: i64) -> Option<Reply> {
    let path = format!("/{}", request.path.join("/"));
    match path.as_str() {
        APP_SERVICE_PATH => Some(app_service(tokens, request, now)),
        METADATA_PATH => Some(metadata(tokens, request, now)),
        _ => None,
    }
}

fn app_service(tokens: &Tokens, request: &Request, now: i64) -> Reply {
    if request.header("x-identity-header") != Some(&tokens.identity_header) {
        return refusal(
            401,
            "unauthorized",
            "The X-IDENTITY-HEADER header is missing or not the one of this app.",
        );
    }
    if request.query_value("api-version") != Some("2019-08-01") {
        return refusal(
            400,
            "invalid_request",
            "The api-version has to be 2019-08-01.",
        );
    }
    answer(tokens, request, now, false)
}

fn metadata(tokens: &Tokens, request: &Request, now: i64) -> Reply {
    if request.header("metadata") != Some("true") {
        return refusal(
            400,
            "invalid_request",
            "Required metadata header not specified",
        );
    }
    // A request that somebody was made to forward carries this header, and no other one does.
    if request.header("x-forwarded-for").is_some() {
        return refusal(
            400,
            "invalid_request",
            "Requests with X-Forwarded-For are not served",
        );
    }
    if request.query_value("api-version").is_none() {
        return refusal(
            400,
            "invalid_request",
            "Required query variable 'api-version' is missing",
        );
    }
    answer(tokens, request, now, true)
}

fn answer(tokens: &Tokens, request: &Request, now: i64, with_lifetime: bool) -> Reply {
    let Some(resource) = request
        .query_value("resource")
        .filter(|text| !text.is_empty())
    else {
        return refusal(
            400,
            "invalid_request",
            "Required query variable 'resource' is missing",
        );
    };
    let identity = tokens
        .principal_by(|known| known.managed_identity && known.enabled && asked_for(request, known));
    let Some(identity) = identity else {
        return refusal(400, "invalid_request", "Identity not found");
    };
    if !tokens.knows_resource(resource) {
        return refusal(
            400,
            "invalid_resource",
            &format!("AADSTS500011: The resource principal named {resource} was not found."),
        );
    }
    let issued = tokens.issue(&identity, resource, "2", now);
    let mut body = json!({
        "access_token": issued.token,
        "client_id": identity.appid,
        "expires_on": issued.expires.to_string(),
        "not_before": issued.from.to_string(),
        "resource": resource,
        "token_type": "Bearer",
    });
    if with_lifetime {
        body["expires_in"] = issued.lifetime_s.to_string().into();
        body["ext_expires_in"] = issued.lifetime_s.to_string().into();
    }
    Reply::json(200, &body)
}

/// Without a name, the first managed identity is meant: the system-assigned one.
fn asked_for(request: &Request, identity: &Principal) -> bool {
    let is = |names: &[&str], id: &str| {
        names
            .iter()
            .filter_map(|name| request.query_value(name))
            .all(|asked| asked.eq_ignore_ascii_case(id))
    };
    is(&["client_id"], &identity.appid)
        && is(&["object_id", "principal_id"], &identity.oid)
        && is(&["mi_res_id", "msi_res_id"], &identity.name)
}

fn refusal(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(
        status,
        &json!({ "error": error, "error_description": description }),
    )
}

/// Where `IDENTITY_ENDPOINT` points to.
pub const APP_SERVICE_PATH: &str = "/msi/token";

/// The path of the instance metadata service, the same on every machine.
const METADATA_PATH: &str = "/metadata/identity/oauth2/token";
