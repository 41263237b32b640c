//! The JSON of Azure Key Vault and of its logins.

use std::borrow::Cow;

use cofferdam_keys::{KeyVersion, Recovery, UnixTime};
use serde::{Deserialize, Serialize};

/// A key with one version's material and attributes.
#[derive(Deserialize)]
pub(super) struct KeyBundle {
    pub(super) key: JsonWebKey,
    #[serde(default)]
    pub(super) attributes: Attributes,
}

/// The public part of a key.
#[derive(Deserialize)]
pub(super) struct JsonWebKey {
    pub(super) kid: String,
    pub(super) kty: String,
    pub(super) key_ops: Option<Vec<String>>,
    /// An RSA key's modulus, base64url.
    pub(super) n: Option<String>,
}

/// A page of the list of versions.
#[derive(Deserialize)]
pub(super) struct KeyList {
    #[serde(default)]
    pub(super) value: Vec<KeyItem>,
    #[serde(rename = "nextLink")]
    pub(super) next_link: Option<String>,
}

/// One version in the list.
#[derive(Deserialize)]
pub(super) struct KeyItem {
    pub(super) kid: String,
    #[serde(default)]
    pub(super) attributes: Attributes,
}

/// What the vault says about one version. Times are seconds since 1970.
#[derive(Clone, Default, Deserialize)]
pub(super) struct Attributes {
    #[serde(default)]
    pub(super) enabled: bool,
    pub(super) nbf: Option<u64>,
    pub(super) exp: Option<u64>,
    pub(super) created: Option<u64>,
    #[serde(rename = "recoveryLevel")]
    pub(super) recovery_level: Option<String>,
    #[serde(rename = "recoverableDays")]
    pub(super) recoverable_days: Option<u16>,
}

impl Attributes {
    /// `Purgeable` alone: a deleted key is gone. `…+Purgeable`: it can be purged before its time.
    pub(super) fn recovery(&self) -> Option<Recovery> {
        let level = self.recovery_level.as_deref()?;
        Some(Recovery {
            soft_delete: level.contains("Recoverable"),
            purge_protection: !level.contains("Purgeable"),
            days: self.recoverable_days,
        })
    }
}

/// What is sent to wrap and unwrap.
#[derive(Serialize)]
pub(super) struct KeyOperation<'a> {
    pub(super) alg: &'a str,
    pub(super) value: &'a str,
}

/// What comes back. Borrowed, so that no copy of an unwrapped root is made.
#[derive(Deserialize)]
pub(super) struct KeyOperationResult<'a> {
    #[serde(borrow)]
    pub(super) kid: Cow<'a, str>,
    pub(super) value: &'a str,
}

/// An error of the vault.
#[derive(Deserialize)]
pub(super) struct ErrorBody {
    pub(super) error: VaultError,
}

/// What went wrong, in the vault's words.
#[derive(Deserialize)]
pub(super) struct VaultError {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    pub(super) innererror: Option<InnerError>,
}

/// What exactly.
#[derive(Deserialize)]
pub(super) struct InnerError {
    pub(super) code: Option<String>,
}

/// A token, from a login or a managed identity. The one tells seconds to live as a number, the other a time as text.
#[derive(Deserialize)]
pub(super) struct TokenBody<'a> {
    pub(super) access_token: &'a str,
    pub(super) expires_in: Option<NumberOrText<'a>>,
    #[serde(borrow)]
    pub(super) expires_on: Option<NumberOrText<'a>>,
}

/// A number that some services put between quotation marks.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum NumberOrText<'a> {
    Number(u64),
    Text(&'a str),
}

impl NumberOrText<'_> {
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// An error of a login.
#[derive(Deserialize)]
pub(super) struct LoginError {
    pub(super) error: String,
    #[serde(default)]
    pub(super) error_description: String,
}

/// The version in `https://HOST/keys/NAME/VERSION`, when it is a version of the key with this name.
pub(super) fn version_of(kid: &str, name: &str) -> Option<KeyVersion> {
    let (_, path) = kid.strip_prefix("https://")?.split_once('/')?;
    let (found, version) = path.strip_prefix("keys/")?.split_once('/')?;
    (found.eq_ignore_ascii_case(name) && is_version(version))
        .then(|| version.parse().ok())
        .flatten()
}

/// Azure's versions are 32 hexadecimal digits. What goes into a path is never anything else.
pub(super) fn is_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn at(seconds: u64) -> UnixTime {
    UnixTime { seconds, nanos: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_keys_own_id_only() {
        let version = "0123456789abcdef0123456789abcdef";
        let read = |kid: &str| version_of(kid, "Customer").map(|it| it.to_string());
        let good = format!("https://shop.vault.azure.net/keys/customer/{version}");
        assert_eq!(read(&good).as_deref(), Some(version));
        for kid in [
            "",
            "https://shop.vault.azure.net/keys/customer",
            "https://shop.vault.azure.net/keys/customer/",
            &format!("https://shop.vault.azure.net/keys/other/{version}"),
            &format!("https://shop.vault.azure.net/secrets/customer/{version}"),
            &format!("{good}0"),
            &format!("{good}/x"),
        ] {
            assert_eq!(read(kid), None, "{kid}");
        }
    }

    #[test]
    fn recovery_levels_mean_what_the_service_says() {
        for (level, soft_delete, purge_protection) in [
            ("Purgeable", false, false),
            ("Recoverable+Purgeable", true, false),
            ("Recoverable", true, true),
            ("Recoverable+ProtectedSubscription", true, true),
            ("CustomizedRecoverable+Purgeable", true, false),
            ("CustomizedRecoverable", true, true),
            ("CustomizedRecoverable+ProtectedSubscription", true, true),
        ] {
            let attributes: Attributes =
                serde_json::from_str(&format!("{{\"recoveryLevel\":\"{level}\"}}")).unwrap();
            let recovery = attributes.recovery().unwrap();
            assert_eq!(
                (recovery.soft_delete, recovery.purge_protection),
                (soft_delete, purge_protection),
                "{level}"
            );
        }
    }
}
