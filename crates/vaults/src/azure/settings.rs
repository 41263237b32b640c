//! What a caller says about a vault in Azure.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_keys::{KeyUri, KeyVersion};
use zeroize::Zeroizing;

/// Who we are to Azure, and how to reach it. The default is a managed identity of the virtual machine that this runs on.
///
/// The first of these that is there is used, in the order of Azure's own `DefaultAzureCredential`:
///
/// 1. a client secret: `tenant_id`, `client_id`, `client_secret`;
/// 2. a workload identity: `tenant_id`, `client_id`, `federated_token_file`;
/// 3. a managed identity of App Service or Azure Arc's like: `identity_endpoint`, `identity_header`;
/// 4. a managed identity of a virtual machine, from the instance metadata service.
///
/// `client_id` chooses among several managed identities. There is no `Debug`: settings hold secrets.
#[derive(Clone)]
pub struct AzureSettings {
    /// The directory (tenant) that knows us: `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// The application or the user-assigned identity: `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<Zeroizing<String>>,
    /// A file with a token of the cluster that runs us, read anew for each login: `AZURE_FEDERATED_TOKEN_FILE`.
    pub federated_token_file: Option<PathBuf>,
    /// Where to log in, `https://HOST`: `AZURE_AUTHORITY_HOST`. Default: Azure's public cloud.
    pub authority_host: Option<String>,
    /// Where App Service gives tokens: `IDENTITY_ENDPOINT`.
    pub identity_endpoint: Option<String>,
    /// What it wants to hear: `IDENTITY_HEADER`.
    pub identity_header: Option<Zeroizing<String>>,
    /// Certificate authorities in PEM, trusted beside Mozilla's: `SSL_CERT_FILE`.
    pub extra_ca_file: Option<PathBuf>,
    /// The one version to wrap under, whatever newer ones there are. It says nothing about unwrapping.
    pub version: Option<KeyVersion>,
    /// The longest to wait for a connection.
    pub connect_timeout: Duration,
    /// The longest that one wrap, unwrap or question takes, logging in included.
    pub total_timeout: Duration,
}

/// Gives the settings for a key, so that different keys can be under different authorities.
pub type AzureSource = Arc<dyn Fn(&KeyUri) -> AzureSettings + Send + Sync>;

impl Default for AzureSettings {
    fn default() -> Self {
        Self {
            tenant_id: None,
            client_id: None,
            client_secret: None,
            federated_token_file: None,
            authority_host: None,
            identity_endpoint: None,
            identity_header: None,
            extra_ca_file: None,
            version: None,
            connect_timeout: Duration::from_secs(2),
            total_timeout: Duration::from_secs(5),
        }
    }
}
