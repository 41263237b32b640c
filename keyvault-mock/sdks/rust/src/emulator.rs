//! Where the emulator is, and who we are there.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::{Duration, OffsetDateTime};
use reqwest::{Certificate, Client, Method};
use serde_json::Value;

use crate::Outcome;

/// The emulator as its environment describes it. It is also the credential: client credentials by secret.
#[derive(Debug)]
pub struct Emulator {
    pub http: Client,
    pub vault_url: String,
    /// The vault's name.
    pub vault: String,
    token_url: String,
    client_id: String,
    client_secret: String,
    admin_url: String,
    admin_token: String,
}

impl Emulator {
    pub fn from_environment() -> Outcome<Emulator> {
        let vault_url = env::var("SDK_VAULT_URL")?;
        let host = vault_url
            .trim_start_matches("https://")
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        let authority = Certificate::from_pem(&std::fs::read(env::var("SSL_CERT_FILE")?)?)?;
        // Not every resolver knows that *.localhost is this machine (RFC 6761). A port of zero leaves the address's.
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let http = Client::builder()
            .tls_certs_only([authority])
            .resolve(&host, here)
            .resolve("localhost", here)
            .build()?;
        Ok(Emulator {
            http,
            vault: host.split('.').next().unwrap_or_default().to_owned(),
            vault_url,
            token_url: format!(
                "{}/{}/oauth2/v2.0/token",
                env::var("AZURE_AUTHORITY_HOST")?,
                env::var("AZURE_TENANT_ID")?
            ),
            client_id: env::var("AZURE_CLIENT_ID")?,
            client_secret: env::var("AZURE_CLIENT_SECRET")?,
            admin_url: env::var("KEYVAULT_MOCK_ADMIN_URL")?,
            admin_token: env::var("KEYVAULT_MOCK_ADMIN_TOKEN")?,
        })
    }

    pub async fn admin(&self, method: &str, path: &str, body: Value) -> Outcome<Value> {
        let reply = self
            .http
            .request(
                Method::from_bytes(method.as_bytes())?,
                format!("{}{path}", self.admin_url),
            )
            .bearer_auth(&self.admin_token)
            .json(&body)
            .send()
            .await?;
        let status = reply.status();
        let body: Value = reply.json().await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(format!("admin API: {method} {path}: {body}").into())
        }
    }

    async fn token(&self, scope: &str) -> Outcome<AccessToken> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
            ("scope", scope),
        ];
        let reply: Value = self
            .http
            .post(&self.token_url)
            .form(&form)
            .send()
            .await?
            .json()
            .await?;
        let token = reply["access_token"]
            .as_str()
            .ok_or_else(|| reply["error_description"].to_string())?;
        let lifetime = Duration::seconds(reply["expires_in"].as_i64().unwrap_or_default());
        Ok(AccessToken::new(
            token.to_owned(),
            OffsetDateTime::now_utc() + lifetime,
        ))
    }
}

#[async_trait]
impl TokenCredential for Emulator {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        self.token(&scopes.join(" ")).await.map_err(|error| {
            azure_core::Error::with_message(ErrorKind::Credential, error.to_string())
        })
    }
}
