//! Attestation tokens, which say in what environment a released key will live, and the signature over a release.

use serde_json::Value;

use super::Tokens;
use super::jwt::verified_claims;

impl Tokens {
    /// The claims of an attestation token that `authority` signed and that is good at `now`. The authority has to be
    /// among the issuers that are trusted.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn attested(&self, token: &str, authority: &str, now: i64) -> Result<Value, String> {
        let same = |issuer: &str| issuer.trim_end_matches('/') == authority.trim_end_matches('/');
        let state = self.state();
        let (_, keys) = state
            .trusted
            .iter()
            .find(|(issuer, _)| same(issuer))
            .ok_or_else(|| format!("the authority {authority} is not among the trusted issuers"))?;
        let claims = verified_claims(token, keys)
            .map_err(|_| "the target's token is not signed by the policy's authority".to_owned())?;
        if !claims["iss"].as_str().is_some_and(same) {
            return Err("the target's token is of another issuer".into());
        }
        if claims["exp"].as_i64().is_none_or(|until| until <= now) {
            return Err("the target's token has expired".into());
        }
        if claims["nbf"].as_i64().is_some_and(|from| now < from) {
            return Err("the target's token is not valid yet".into());
        }
        Ok(claims)
    }

    /// A release in a JSON web signature of this server, whose keys are at the discovery's `jwks_uri`.
    pub(crate) fn sign_release(&self, payload: &Value) -> String {
        self.key.sign(payload)
    }
}
