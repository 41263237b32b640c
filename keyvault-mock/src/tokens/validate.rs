//! Whether a bearer token is good, and whose it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::jwt::{JwtError, verified_claims};
use super::{Caller, Tokens};

/// Why a token is refused. Its text is the message of the 401. `AKV10022` and `AKV10032` are the service's; it has
/// been seen to answer the rest with texts of this form, whose numbers it documents nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// It was issued for something else.
    Audience {
        /// What it would have to be for.
        expected: String,
        /// What it is for.
        found: String,
    },
    /// It has ended.
    Expired,
    /// Another tenant's provider issued it.
    Issuer {
        /// Who would have had to.
        expected: String,
        /// Who did.
        found: String,
    },
    /// It is no token.
    Malformed,
    /// It does not hold yet.
    NotYetValid,
    /// Its principal is gone.
    PrincipalUnknown,
    /// Its principal's tokens were revoked.
    Revoked {
        /// When that was noticed, in seconds since the epoch: a new token must not be older.
        at: i64,
    },
    /// Nobody whom we trust signed it.
    Signature,
}

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TokenError::Audience { expected, found } => write!(
                f,
                "AKV10022: Invalid audience. Expected {expected}, found: {found}."
            ),
            TokenError::Expired => f.write_str("[TokenExpired] Error validating token: 'S2S12086'."),
            TokenError::Issuer { expected, found } => write!(
                f,
                "AKV10032: Invalid issuer. Expected one of {expected}, found {found}."
            ),
            TokenError::Malformed => {
                f.write_str("[BearerReadAccessTokenFailed] Error reading the bearer token.")
            }
            TokenError::NotYetValid => {
                f.write_str("[TokenNotYetValid] Error validating token: its nbf is in the future.")
            }
            TokenError::PrincipalUnknown => {
                f.write_str("[PrincipalNotFound] Error validating token: its principal does not exist.")
            }
            TokenError::Revoked { .. } => f.write_str(
                "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp",
            ),
            TokenError::Signature => {
                f.write_str("[InvalidSignature] Error validating token: its signature does not verify.")
            }
        }
    }
}

impl std::error::Error for TokenError {}

impl TokenError {
    /// What has to be added to the challenge so that clients fetch another token: a claims challenge
    /// (<https://learn.microsoft.com/entra/identity-platform/claims-challenge>), after a revocation and nowhere else.
    pub fn challenge_suffix(&self) -> Option<String> {
        let TokenError::Revoked { at } = self else {
            return None;
        };
        let claims =
            json!({ "access_token": { "nbf": { "essential": true, "value": at.to_string() } } });
        let claims = STANDARD.encode(claims.to_string());
        Some(format!(
            ", error=\"insufficient_claims\", claims=\"{claims}\""
        ))
    }
}

impl Tokens {
    /// Who bears this token at `now`, in seconds since the epoch. No clock skew is forgiven: both clocks are one.
    ///
    /// # Errors
    /// See [`TokenError`]. The signature is judged before anything that the token says.
    pub fn validate(&self, bearer: &str, now: i64) -> Result<Caller, TokenError> {
        let keys = [self.key.public().clone()];
        let claims = verified_claims(bearer, &keys).map_err(|error| match error {
            JwtError::Malformed => TokenError::Malformed,
            JwtError::Algorithm | JwtError::Signature => TokenError::Signature,
        })?;
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        self.check_audience(&text("aud"))?;
        if text("iss") != self.issuer {
            return Err(TokenError::Issuer {
                expected: self.issuer.clone(),
                found: text("iss"),
            });
        }
        // A token without an end has ended.
        if claims["exp"].as_i64().is_none_or(|until| until <= now) {
            return Err(TokenError::Expired);
        }
        if claims["nbf"].as_i64().is_none_or(|from| now < from) {
            return Err(TokenError::NotYetValid);
        }
        let oid = text("oid");
        let principal = self
            .principal_by(|known| known.oid == oid)
            .ok_or(TokenError::PrincipalUnknown)?;
        if claims["keyvault_mock_revocations"].as_u64() != Some(principal.revocation_count) {
            return Err(TokenError::Revoked { at: now });
        }
        Ok(Caller {
            oid,
            appid: text("appid"),
            tenant: text("tid"),
            issuer: text("iss"),
            name: principal.name,
            roles: claims["roles"]
                .as_array()
                .map(|roles| {
                    roles
                        .iter()
                        .filter_map(|role| role.as_str().map(str::to_owned))
                        .collect()
                })
                .unwrap_or_default(),
        })
    }

    fn check_audience(&self, audience: &str) -> Result<(), TokenError> {
        let state = self.state();
        if state.audiences.iter().any(|known| known == audience) {
            return Ok(());
        }
        Err(TokenError::Audience {
            expected: state.audiences.join(" or "),
            found: audience.to_owned(),
        })
    }
}
