//! Who can ask for tokens.

use serde::{Deserialize, Serialize};

/// An application or a managed identity of the emulator's tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Its name, for people.
    pub name: String,
    /// Its object id (`oid`), which roles and policies are given to.
    pub oid: String,
    /// Its application id (`appid`, the client id).
    pub appid: String,
    /// Whether it is a managed identity, which needs no credential on this machine.
    #[serde(default)]
    pub managed_identity: bool,
    /// Its secrets.
    #[serde(default)]
    pub secrets: Vec<ClientSecret>,
    /// Whose tokens it may present instead of a secret.
    #[serde(default)]
    pub federated: Vec<FederatedCredential>,
    /// The application roles in its tokens.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Whether it is given tokens. Those that it has go on until they expire, as in Entra.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How often its tokens have been revoked. A token from before the last time is refused at once.
    #[serde(default)]
    pub revocation_count: u64,
}

/// A secret and the time at which it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientSecret {
    /// What the client presents.
    pub value: String,
    /// Seconds since the epoch; without one, it does not end.
    #[serde(default)]
    pub expires: Option<i64>,
}

/// A trust in another issuer's tokens (workload identity federation).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FederatedCredential {
    /// `iss` of the assertion.
    pub issuer: String,
    /// `sub` of the assertion.
    pub subject: String,
    /// `aud` of the assertion.
    #[serde(default = "token_exchange")]
    pub audience: String,
}

/// Who has been recognised by a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The object id.
    pub oid: String,
    /// The application id.
    pub appid: String,
    /// The tenant's id.
    pub tenant: String,
    /// The token's issuer.
    pub issuer: String,
    /// The principal's name.
    pub name: String,
    /// The application roles.
    pub roles: Vec<String>,
}

/// The audience that Entra wants in assertions.
pub const TOKEN_EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";

fn token_exchange() -> String {
    TOKEN_EXCHANGE_AUDIENCE.to_owned()
}

fn yes() -> bool {
    true
}
