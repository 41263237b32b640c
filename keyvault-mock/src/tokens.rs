//! The identity provider that stands beside the vaults, in Entra's manner: it issues signed tokens, and says who
//! the bearer of one is.
//!
//! | Path | What |
//! | --- | --- |
//! | `POST /{tenant}/oauth2/v2.0/token` (and `/{tenant}/oauth2/token`) | client credentials, with a secret or an assertion |
//! | `GET /{tenant}/v2.0/.well-known/openid-configuration` (and without `v2.0`) | OpenID Connect discovery |
//! | `GET /{tenant}/discovery/v2.0/keys` (and without `v2.0`) | the key that signs |
//! | `GET /msi/token` | managed identity as App Service has it (`IDENTITY_ENDPOINT`, `IDENTITY_HEADER`) |
//! | `GET /metadata/identity/oauth2/token` | managed identity as virtual machines have it |
//!
//! Tokens are those of version 1.0, which Key Vault is given by the real provider: their issuer is
//! `https://sts.windows.net/{tenant}/`. Times are seconds since the epoch.

mod attestation;
mod endpoint;
mod entra_error;
mod jwt;
mod managed_identity;
mod principal;
mod validate;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

pub use entra_error::EntraError;
pub use jwt::Jwk;
pub use managed_identity::APP_SERVICE_PATH;
pub use principal::{
    Caller, ClientSecret, FederatedCredential, Principal, TOKEN_EXCHANGE_AUDIENCE,
};
pub use validate::TokenError;

use crate::wire::{Reply, Request};

/// The identity provider of one tenant.
#[derive(Debug)]
pub struct Tokens {
    tenant: String,
    issuer: String,
    client_id: String,
    client_secret: String,
    identity_header: String,
    admin_token: String,
    key: jwt::SigningKey,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lifetime_s: i64,
    audiences: Vec<String>,
    principals: Vec<Principal>,
    trusted: BTreeMap<String, Vec<Jwk>>,
}

/// What an identity provider begins with.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// The tenant's id.
    pub tenant: String,
    /// The client id of the first principal.
    pub client_id: String,
    /// The secret of the first principal.
    pub client_secret: String,
    /// The object id of the first principal.
    pub object_id: String,
    /// How long a token is good for, in seconds.
    pub lifetime_s: i64,
    /// What tokens for a vault are issued for: the `resource` of its challenge.
    pub audiences: Vec<String>,
    /// What `X-IDENTITY-HEADER` has to say; made up when it is not given.
    pub identity_header: Option<String>,
    /// The bearer token of the admin API; made up when it is not given.
    pub admin_token: Option<String>,
}

impl Default for TokenOptions {
    /// An hour, `https://vault.azure.net` and a client with a secret that everybody can read here: change it for
    /// anything but tests.
    fn default() -> Self {
        TokenOptions {
            tenant: "11111111-1111-4111-8111-111111111111".into(),
            client_id: "22222222-2222-4222-8222-222222222222".into(),
            client_secret: "keyvault-mock-secret".into(),
            object_id: "33333333-3333-4333-8333-333333333333".into(),
            lifetime_s: 3600,
            audiences: vec!["https://vault.azure.net".into()],
            identity_header: None,
            admin_token: None,
        }
    }
}

impl Tokens {
    /// An identity provider whose signing key is kept in the directory, if there is one. Its principals are the one
    /// of the options and those that [`Tokens::principals`] gave before.
    ///
    /// # Errors
    /// A signing key that cannot be read or kept, in words.
    pub fn new(
        options: TokenOptions,
        known: Vec<Principal>,
        directory: Option<&Path>,
    ) -> Result<Tokens, String> {
        let key = jwt::SigningKey::open(directory)?;
        let first = Principal {
            name: "keyvault-mock client".into(),
            oid: options.object_id,
            appid: options.client_id.clone(),
            managed_identity: false,
            secrets: vec![ClientSecret {
                value: options.client_secret.clone(),
                expires: None,
            }],
            federated: Vec::new(),
            roles: Vec::new(),
            enabled: true,
            revocation_count: 0,
        };
        let mut principals = known;
        if !principals
            .iter()
            .any(|principal| principal.appid == first.appid)
        {
            principals.insert(0, first);
        }
        let trusted = BTreeMap::from([(WORKLOAD_ISSUER.to_owned(), vec![key.public().clone()])]);
        Ok(Tokens {
            issuer: format!("https://sts.windows.net/{}/", options.tenant),
            tenant: options.tenant,
            client_id: options.client_id,
            client_secret: options.client_secret,
            identity_header: options.identity_header.unwrap_or_else(random_id),
            admin_token: options.admin_token.unwrap_or_else(random_id),
            key,
            state: Mutex::new(State {
                lifetime_s: options.lifetime_s,
                audiences: options.audiences,
                principals,
                trusted,
            }),
        })
    }

    /// The tenant's id.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The client id of the first principal.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The secret of the first principal.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// What `X-IDENTITY-HEADER` has to say (`IDENTITY_HEADER` of App Service).
    pub fn identity_header(&self) -> &str {
        &self.identity_header
    }

    /// The bearer token of the admin API.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// `WWW-Authenticate` of a 401. `base_url` is where this provider answers, `resource` what tokens are to be for,
    /// with its port when it has one.
    pub fn challenge(&self, base_url: &str, resource: &str) -> String {
        format!(
            "Bearer authorization=\"{}/{}\", resource=\"{resource}\"",
            base_url.trim_end_matches('/'),
            self.tenant
        )
    }

    /// Lets tokens be issued and accepted for one more resource.
    pub fn add_audience(&self, resource: &str) {
        let mut state = self.state();
        if !state.audiences.iter().any(|known| known == resource) {
            state.audiences.push(resource.to_owned());
        }
    }

    /// How long tokens issued from now on are good for, in seconds.
    pub fn set_lifetime(&self, seconds: i64) {
        self.state().lifetime_s = seconds.max(0);
    }

    /// Trusts these keys for assertions of an issuer.
    pub fn trust_issuer(&self, issuer: &str, keys: Vec<Jwk>) {
        self.state().trusted.insert(issuer.to_owned(), keys);
    }

    /// All principals.
    pub fn principals(&self) -> Vec<Principal> {
        self.state().principals.clone()
    }

    /// Adds a principal, or replaces the one with the same object id.
    ///
    /// # Errors
    /// An application id that another principal has.
    pub fn put_principal(&self, principal: Principal) -> Result<(), String> {
        let mut state = self.state();
        let taken = state
            .principals
            .iter()
            .find(|known| known.appid == principal.appid && known.oid != principal.oid);
        if let Some(other) = taken {
            return Err(format!(
                "the application id {} is that of `{}`",
                principal.appid, other.name
            ));
        }
        state.principals.retain(|known| known.oid != principal.oid);
        state.principals.push(principal);
        Ok(())
    }

    /// Removes a principal, whose tokens are worthless from then on, and says whether there was one.
    pub fn remove_principal(&self, oid: &str) -> bool {
        let mut state = self.state();
        let before = state.principals.len();
        state.principals.retain(|known| known.oid != oid);
        state.principals.len() < before
    }

    /// Lets a principal have tokens or not, and says whether there is one. Its present tokens go on.
    pub fn set_enabled(&self, oid: &str, enabled: bool) -> bool {
        self.change(oid, |principal| principal.enabled = enabled)
    }

    /// Makes every present token of a principal worthless at once, as continuous access evaluation does, and says
    /// whether there is such a principal. It can have new ones.
    pub fn revoke(&self, oid: &str) -> bool {
        self.change(oid, |principal| principal.revocation_count += 1)
    }

    /// A token that another issuer could have given a workload: what a federated credential is exchanged for, with
    /// [`WORKLOAD_ISSUER`] as its issuer. Written to a file it is `AZURE_FEDERATED_TOKEN_FILE`.
    pub fn workload_assertion(&self, subject: &str, lifetime_s: i64, now: i64) -> String {
        self.key.sign(&json!({
            "iss": WORKLOAD_ISSUER,
            "sub": subject,
            "aud": TOKEN_EXCHANGE_AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(lifetime_s),
            "jti": random_id(),
        }))
    }

    /// Answers a request for one of the paths above, and leaves every other alone. `base_url` is where the client
    /// reaches us, such as `https://localhost:8443`.
    pub fn route(&self, request: &Request, base_url: &str, now: i64) -> Option<Reply> {
        let base_url = base_url.trim_end_matches('/');
        match (request.method.as_str(), request.segments().as_slice()) {
            ("POST", [tenant, "oauth2", "v2.0", "token"]) => {
                Some(endpoint::token(self, request, tenant, "scope", now))
            }
            ("POST", [tenant, "oauth2", "token"]) => {
                Some(endpoint::token(self, request, tenant, "resource", now))
            }
            ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
                let issuer = format!("{base_url}/{tenant}/v2.0");
                Some(Reply::json(
                    200,
                    &self.discovery(base_url, tenant, "/v2.0", &issuer),
                ))
            }
            ("GET", [tenant, ".well-known", "openid-configuration"]) => Some(Reply::json(
                200,
                &self.discovery(base_url, tenant, "", &self.issuer),
            )),
            ("GET", [_, "discovery", "v2.0", "keys"] | [_, "discovery", "keys"]) => {
                Some(Reply::json(200, &self.key_set()))
            }
            ("GET", _) => managed_identity::route(self, request, now),
            _ => None,
        }
    }

    fn discovery(&self, base_url: &str, tenant: &str, version: &str, issuer: &str) -> Value {
        json!({
            "issuer": issuer,
            "token_endpoint": format!("{base_url}/{tenant}/oauth2{version}/token"),
            "authorization_endpoint": format!("{base_url}/{tenant}/oauth2{version}/authorize"),
            "jwks_uri": format!("{base_url}/{tenant}/discovery{version}/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["code", "id_token", "code id_token", "token id_token", "token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "tenant_region_scope": null,
            "cloud_instance_name": "localhost",
        })
    }

    fn key_set(&self) -> Value {
        let key = self.key.public();
        json!({ "keys": [{
            "kty": key.kty, "use": "sig", "alg": "RS256", "kid": key.kid, "x5t": key.kid, "n": key.n, "e": key.e,
        }] })
    }

    /// A token of a principal for a resource. `strength` is `1` for a secret and `2` for an assertion (`appidacr`).
    fn issue(&self, principal: &Principal, resource: &str, strength: &str, now: i64) -> Issued {
        let lifetime_s = self.state().lifetime_s;
        let expires = now.saturating_add(lifetime_s);
        let token = self.key.sign(&json!({
            "aud": resource,
            "iss": self.issuer,
            "iat": now,
            "nbf": now,
            "exp": expires,
            "appid": principal.appid,
            "appidacr": strength,
            "app_displayname": principal.name,
            "idp": self.issuer,
            "idtyp": "app",
            "oid": principal.oid,
            "sub": principal.oid,
            "tid": self.tenant,
            "roles": principal.roles,
            "uti": random_id(),
            "ver": "1.0",
            "keyvault_mock_revocations": principal.revocation_count,
        }));
        Issued {
            token,
            lifetime_s,
            from: now,
            expires,
        }
    }

    /// Whether tokens are issued for a resource. Some that are none of ours are among them, so that a token for the
    /// wrong service can be had and refused.
    fn knows_resource(&self, resource: &str) -> bool {
        let bare = resource.trim_end_matches('/');
        let state = self.state();
        state.audiences.iter().any(|known| known == bare) || OTHER_RESOURCES.contains(&bare)
    }

    fn principal_by(&self, matches: impl Fn(&Principal) -> bool) -> Option<Principal> {
        let state = self.state();
        state
            .principals
            .iter()
            .find(|known| matches(known))
            .cloned()
    }

    fn change(&self, oid: &str, change: impl FnOnce(&mut Principal)) -> bool {
        let mut state = self.state();
        let found = state.principals.iter_mut().find(|known| known.oid == oid);
        found.map(change).is_some()
    }

    /// No change leaves the state half made, so a lock that a panicking thread held is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A token and when it holds, in seconds since the epoch.
struct Issued {
    token: String,
    lifetime_s: i64,
    from: i64,
    expires: i64,
}

/// A random id in the form of a version 4 UUID (RFC 9562).
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's generator of random bytes works");
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// The issuer of [`Tokens::workload_assertion`].
pub const WORKLOAD_ISSUER: &str = "https://workload.vault.localhost/";

/// Services of Azure that a client may ask for a token by mistake.
const OTHER_RESOURCES: [&str; 2] = [
    "https://management.azure.com",
    "https://graph.microsoft.com",
];

#[cfg(test)]
mod tests;
