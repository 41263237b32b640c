//! Which of our identities is used.

use std::path::Path;

use cofferdam_keys::Reason;

use super::failure::Failure;
use super::settings::AzureSettings;

/// One way to a token.
#[derive(Clone, Copy)]
pub(super) enum Credential<'a> {
    ClientSecret {
        tenant: &'a str,
        client: &'a str,
        secret: &'a str,
    },
    ManagedIdentity {
        endpoint: &'a str,
        header: &'a str,
        client: Option<&'a str>,
    },
    VirtualMachine {
        client: Option<&'a str>,
    },
    WorkloadIdentity {
        tenant: &'a str,
        client: &'a str,
        token_file: &'a Path,
    },
}

impl<'a> Credential<'a> {
    /// The first that is there. One that is there in part is an error: the next one would be another identity than meant.
    ///
    /// # Errors
    ///
    /// [`Reason::AuthBroken`] that names the missing setting.
    pub(super) fn choose(settings: &'a AzureSettings) -> Result<Self, Failure> {
        let needed = |value: &'a Option<String>, name: &str, beside: &str| {
            value.as_deref().ok_or_else(|| {
                Failure::new(
                    Reason::AuthBroken,
                    format!("{beside} is set and {name} is not"),
                )
            })
        };
        let (tenant, client) = (&settings.tenant_id, &settings.client_id);
        if let Some(secret) = &settings.client_secret {
            let beside = "AZURE_CLIENT_SECRET";
            return Ok(Self::ClientSecret {
                tenant: needed(tenant, "AZURE_TENANT_ID", beside)?,
                client: needed(client, "AZURE_CLIENT_ID", beside)?,
                secret,
            });
        }
        if let Some(token_file) = &settings.federated_token_file {
            let beside = "AZURE_FEDERATED_TOKEN_FILE";
            return Ok(Self::WorkloadIdentity {
                tenant: needed(tenant, "AZURE_TENANT_ID", beside)?,
                client: needed(client, "AZURE_CLIENT_ID", beside)?,
                token_file,
            });
        }
        let client = client.as_deref();
        match (&settings.identity_endpoint, &settings.identity_header) {
            (Some(endpoint), Some(header)) => Ok(Self::ManagedIdentity {
                endpoint,
                header,
                client,
            }),
            _ => Ok(Self::VirtualMachine { client }),
        }
    }

    /// The directory that we log in to; managed identities know it themselves.
    pub(super) fn tenant(&self) -> Option<&'a str> {
        match self {
            Self::ClientSecret { tenant, .. } | Self::WorkloadIdentity { tenant, .. } => {
                Some(tenant)
            }
            Self::ManagedIdentity { .. } | Self::VirtualMachine { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn name(settings: &AzureSettings) -> String {
        match Credential::choose(settings) {
            Ok(Credential::ClientSecret { .. }) => "secret".to_owned(),
            Ok(Credential::WorkloadIdentity { .. }) => "workload".to_owned(),
            Ok(Credential::ManagedIdentity { .. }) => "managed".to_owned(),
            Ok(Credential::VirtualMachine { .. }) => "machine".to_owned(),
            Err(failure) => failure.detail,
        }
    }

    #[test]
    fn the_order_is_the_one_of_azures_own_tools() {
        let mut settings = AzureSettings::default();
        assert_eq!(name(&settings), "machine");
        settings.identity_endpoint = Some("http://localhost:1".to_owned());
        assert_eq!(name(&settings), "machine");
        settings.identity_header = Some(Zeroizing::new("h".to_owned()));
        assert_eq!(name(&settings), "managed");
        settings.federated_token_file = Some("/t".into());
        assert_eq!(
            name(&settings),
            "AZURE_FEDERATED_TOKEN_FILE is set and AZURE_TENANT_ID is not"
        );
        settings.tenant_id = Some("t".to_owned());
        settings.client_id = Some("c".to_owned());
        assert_eq!(name(&settings), "workload");
        settings.client_secret = Some(Zeroizing::new("s".to_owned()));
        assert_eq!(name(&settings), "secret");
        settings.client_id = None;
        assert_eq!(
            name(&settings),
            "AZURE_CLIENT_SECRET is set and AZURE_CLIENT_ID is not"
        );
    }
}
