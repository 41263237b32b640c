//! Who we are to Azure, from the environment.
//!
//! | Variable | Meaning |
//! | --- | --- |
//! | `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET` | a client secret |
//! | `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE` | a workload identity |
//! | `IDENTITY_ENDPOINT`, `IDENTITY_HEADER`, `AZURE_CLIENT_ID` | a managed identity; the last chooses among several |
//! | `AZURE_AUTHORITY_HOST` | where to log in, for other clouds than the public one |
//! | `SSL_CERT_FILE` | certificate authorities in PEM, beside Mozilla's |
//! | `COFFERDAM_INFRASTRUCTURE_AZURE_…` | the same five for the infrastructure's key alone |
//!
//! The infrastructure's identity is for the key that `COFFERDAM_INFRASTRUCTURE` or `--infrastructure` names. As soon as
//! a client, a secret or a token file is given for it, it takes none of them from the customer's: two walls under one
//! authority would be one. Variables that are set to nothing count as not set.

use std::env;

use cofferdam_keys::{KeyUri, KeyVersion};
use cofferdam_vaults::{AzureSettings, AzureSource};
use std::sync::Arc;
use zeroize::Zeroizing;

use crate::{SettingError, Settings};

/// Who we are, to the customer's vault and to the infrastructure's.
#[derive(Clone, Default)]
pub struct Azure {
    /// For every key but the infrastructure's.
    pub customer: AzureSettings,
    /// For the infrastructure's.
    pub infrastructure: AzureSettings,
}

impl Azure {
    /// What the environment says.
    ///
    /// # Errors
    /// [`SettingError`] for a variable that is not UTF-8.
    pub(crate) fn from_environment() -> Result<Azure, SettingError> {
        Azure::from_variables(&variable)
    }

    fn from_variables(
        variable: &dyn Fn(&str) -> Result<Option<String>, SettingError>,
    ) -> Result<Azure, SettingError> {
        let customer = AzureSettings {
            tenant_id: variable("AZURE_TENANT_ID")?,
            client_id: variable("AZURE_CLIENT_ID")?,
            client_secret: variable("AZURE_CLIENT_SECRET")?.map(Zeroizing::new),
            federated_token_file: variable("AZURE_FEDERATED_TOKEN_FILE")?.map(Into::into),
            authority_host: variable("AZURE_AUTHORITY_HOST")?,
            identity_endpoint: variable("IDENTITY_ENDPOINT")?,
            identity_header: variable("IDENTITY_HEADER")?.map(Zeroizing::new),
            extra_ca_file: variable("SSL_CERT_FILE")?.map(Into::into),
            ..AzureSettings::default()
        };
        let own = |name: &str| variable(&format!("COFFERDAM_INFRASTRUCTURE_{name}"));
        let mut infrastructure = customer.clone();
        let client_id = own("AZURE_CLIENT_ID")?;
        let client_secret = own("AZURE_CLIENT_SECRET")?.map(Zeroizing::new);
        let federated_token_file = own("AZURE_FEDERATED_TOKEN_FILE")?.map(Into::into);
        if client_id.is_some() || client_secret.is_some() || federated_token_file.is_some() {
            infrastructure.client_id = client_id;
            infrastructure.client_secret = client_secret;
            infrastructure.federated_token_file = federated_token_file;
        }
        if let Some(tenant) = own("AZURE_TENANT_ID")? {
            infrastructure.tenant_id = Some(tenant);
        }
        if let Some(host) = own("AZURE_AUTHORITY_HOST")? {
            infrastructure.authority_host = Some(host);
        }
        Ok(Azure {
            customer,
            infrastructure,
        })
    }
}

/// The settings for each key: by whose key it is, and with the version that was chosen for it.
pub(crate) fn source(settings: &Settings) -> AzureSource {
    let azure = settings.azure.clone();
    let (customer, customer_version) =
        (settings.customer.clone(), settings.customer_version.clone());
    let (infrastructure, infrastructure_version) = (
        settings.infrastructure.clone(),
        settings.infrastructure_version.clone(),
    );
    Arc::new(move |key: &KeyUri| {
        let is = |named: &Option<KeyUri>| named.as_ref() == Some(key);
        let of = |whose: &AzureSettings, version: Option<&KeyVersion>| AzureSettings {
            version: version.cloned(),
            ..whose.clone()
        };
        if is(&infrastructure) {
            of(&azure.infrastructure, infrastructure_version.as_ref())
        } else if is(&customer) {
            of(&azure.customer, customer_version.as_ref())
        } else {
            of(&azure.customer, None)
        }
    })
}

fn variable(name: &str) -> Result<Option<String>, SettingError> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(SettingError {
            name: name.to_owned(),
            what: "is not UTF-8".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Azure {
        let variables: Vec<(String, String)> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let variable = |name: &str| {
            Ok(variables
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone()))
        };
        Azure::from_variables(&variable).unwrap()
    }

    #[test]
    fn the_infrastructures_identity_takes_no_credential_from_the_customers() {
        let azure = read(&[
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_ID", "customer"),
            ("AZURE_CLIENT_SECRET", "secret"),
            ("AZURE_AUTHORITY_HOST", "https://login.example"),
            ("COFFERDAM_INFRASTRUCTURE_AZURE_CLIENT_ID", "other"),
        ]);
        let other = &azure.infrastructure;
        assert_eq!(azure.customer.client_secret.as_deref().unwrap(), "secret");
        assert_eq!(other.client_id.as_deref(), Some("other"));
        assert!(other.client_secret.is_none());
        assert_eq!(other.tenant_id.as_deref(), Some("t"));
        assert_eq!(
            other.authority_host.as_deref(),
            Some("https://login.example")
        );
        let same = read(&[("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "s")]);
        assert_eq!(same.infrastructure.client_id.as_deref(), Some("c"));
    }

    #[test]
    fn a_version_belongs_to_the_key_that_it_was_named_with() {
        let mut settings = Settings::from_environment().unwrap();
        let version = "0123456789abcdef0123456789abcdef";
        settings
            .set("customer", &format!("https://h/keys/a/{version}"))
            .unwrap();
        settings.set("infrastructure", "https://h/keys/b").unwrap();
        settings.azure.infrastructure.client_id = Some("other".to_owned());
        let source = source(&settings);
        let of = |key: &str| {
            let settings = source(&key.parse().unwrap());
            (
                settings.client_id,
                settings.version.map(|it| it.to_string()),
            )
        };
        let customer = settings.azure.customer.client_id.clone();
        assert_eq!(
            of("https://h/keys/a"),
            (customer.clone(), Some(version.to_owned()))
        );
        assert_eq!(of("https://h/keys/b"), (Some("other".to_owned()), None));
        assert_eq!(of("https://h/keys/c"), (customer, None));
        settings.set("customer", "https://h/keys/a").unwrap();
        assert_eq!(settings.customer_version, None);
    }
}
