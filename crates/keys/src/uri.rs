//! Names of keys in vaults.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Where a key-encryption key is, in the form its own ecosystem uses, without a version.
///
/// | Form | Vault |
/// | --- | --- |
/// | `file:/PATH` | a key file; the path is taken literally and is absolute, because keyrings store it |
/// | `https://HOST/keys/NAME` | Azure Key Vault or Managed HSM |
/// | `vault+https://HOST/MOUNT/keys/NAME` | HashiCorp Vault or OpenBao, transit engine |
/// | `awskms:///ARN` | AWS KMS |
/// | `pkcs11:ATTRIBUTES` | a PKCS#11 token, RFC 7512 |
/// | `kmip://HOST/ID` | a KMIP server |
///
/// Two names are equal exactly when their text is. Scheme and host are lower case, and `file:///PATH`
/// is read as `file:/PATH`.
///
/// ```
/// use cofferdam_keys::{KeyScheme, KeyUri};
/// let key: KeyUri = "file:///etc/cofferdam/customer.key".parse()?;
/// assert_eq!(key.as_str(), "file:/etc/cofferdam/customer.key");
/// assert_eq!(key.scheme(), KeyScheme::File);
/// # Ok::<_, cofferdam_keys::NotAKeyUri>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyUri {
    text: String,
    scheme: KeyScheme,
}

/// The kind of vault that a [`KeyUri`] points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyScheme {
    /// `awskms:///ARN`
    AwsKms,
    /// `https://HOST/keys/NAME`
    AzureKeyVault,
    /// `file:/PATH`
    File,
    /// `kmip://HOST/ID`
    Kmip,
    /// `pkcs11:ATTRIBUTES`
    Pkcs11,
    /// `vault+https://HOST/MOUNT/keys/NAME`
    Transit,
}

/// The most bytes that a key's name has.
pub const KEY_URI_LEN_MAX: usize = 1024;
/// The most bytes that the name of a key's version has.
pub const KEY_VERSION_LEN_MAX: usize = 256;

impl KeyUri {
    /// The name of the key file at a path.
    ///
    /// # Errors
    ///
    /// [`NotAKeyUri`] when the path is relative, not UTF-8, too long, or has control characters.
    pub fn from_file_path(path: &Path) -> Result<Self, NotAKeyUri> {
        let path = path.to_str().ok_or(NotAKeyUri::Characters)?;
        format!("file:{path}").parse()
    }

    /// Reads a name as a person types it: a relative path after `file:` starts at `base`, and an Azure
    /// name may end with the version to use.
    ///
    /// # Errors
    ///
    /// [`NotAKeyUri`] when the text is no key's name.
    pub fn parse_typed(text: &str, base: &Path) -> Result<(Self, Option<KeyVersion>), NotAKeyUri> {
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            let path = if path.starts_with("//") {
                Path::new(path).to_path_buf()
            } else {
                base.join(path)
            };
            return Ok((Self::from_file_path(&path)?, None));
        }
        if text.starts_with("https:")
            && let Some((key, version)) = text.rsplit_once('/')
            && let Ok(key) = key.parse()
        {
            return Ok((key, Some(version.parse()?)));
        }
        Ok((text.parse()?, None))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The kind of vault.
    pub fn scheme(&self) -> KeyScheme {
        self.scheme
    }

    /// The path of a key file, or `None` for a key elsewhere.
    pub fn file_path(&self) -> Option<&Path> {
        self.text.strip_prefix("file:").map(Path::new)
    }
}

impl FromStr for KeyUri {
    type Err = NotAKeyUri;

    fn from_str(text: &str) -> Result<Self, NotAKeyUri> {
        check_characters(text, KEY_URI_LEN_MAX)?;
        let (scheme, rest) = text.split_once(':').ok_or(NotAKeyUri::Scheme)?;
        let scheme = match scheme {
            "awskms" => KeyScheme::AwsKms,
            "file" => return file_uri(rest),
            "https" => KeyScheme::AzureKeyVault,
            "kmip" => KeyScheme::Kmip,
            "pkcs11" => KeyScheme::Pkcs11,
            "vault+https" => KeyScheme::Transit,
            _ => return Err(NotAKeyUri::Scheme),
        };
        let fits = match scheme {
            KeyScheme::AwsKms => rest.strip_prefix("///arn:").is_some_and(is_token),
            KeyScheme::AzureKeyVault => host_and_path(rest)
                .and_then(|path| path.strip_prefix("keys/"))
                .is_some_and(is_segment),
            KeyScheme::Kmip => host_and_path(rest).is_some_and(is_segment),
            KeyScheme::Pkcs11 => is_token(rest) && rest.contains('='),
            KeyScheme::Transit => host_and_path(rest)
                .and_then(|path| path.rsplit_once("/keys/"))
                .is_some_and(|(mount, name)| mount.split('/').all(is_segment) && is_segment(name)),
            KeyScheme::File => false,
        };
        if fits {
            Ok(Self {
                text: text.to_owned(),
                scheme,
            })
        } else {
            Err(NotAKeyUri::Form { scheme })
        }
    }
}

/// `//PATH` with an empty authority is `PATH`, RFC 8089 appendix B.
fn file_uri(path: &str) -> Result<KeyUri, NotAKeyUri> {
    let path = if path.starts_with("///") {
        &path[2..]
    } else {
        path
    };
    if path.starts_with("//") || path.len() < 2 || path.ends_with('/') {
        return Err(NotAKeyUri::Form {
            scheme: KeyScheme::File,
        });
    }
    if !path.starts_with('/') {
        return Err(NotAKeyUri::RelativePath);
    }
    Ok(KeyUri {
        text: format!("file:{path}"),
        scheme: KeyScheme::File,
    })
}

/// The path after `//HOST[:PORT]/`, when there is such a beginning.
fn host_and_path(rest: &str) -> Option<&str> {
    let (authority, path) = rest.strip_prefix("//")?.split_once('/')?;
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "1"));
    let host_fits = !host.is_empty()
        && host
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
    let port_fits = !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok();
    (host_fits && port_fits).then_some(path)
}

/// One part between slashes, which names something and goes nowhere else.
fn is_segment(text: &str) -> bool {
    is_token(text) && !text.contains(['/', '?', '#', '%']) && text != "." && text != ".."
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn check_characters(text: &str, len_max: usize) -> Result<(), NotAKeyUri> {
    if text.is_empty() || text.len() > len_max {
        return Err(NotAKeyUri::Length {
            len: text.len(),
            len_max,
        });
    }
    if text.chars().any(char::is_control) {
        Err(NotAKeyUri::Characters)
    } else {
        Ok(())
    }
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUri({})", self.text)
    }
}

/// The version of a key, in its vault's own words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(String);

impl KeyVersion {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyVersion {
    type Err = NotAKeyUri;

    fn from_str(text: &str) -> Result<Self, NotAKeyUri> {
        check_characters(text, KEY_VERSION_LEN_MAX)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAKeyUri {
    /// There is a control character, or a path that is not UTF-8.
    Characters,
    /// The scheme is known, and what follows it is not what that scheme wants.
    Form {
        /// The scheme.
        scheme: KeyScheme,
    },
    /// The text is empty or too long.
    Length {
        /// Bytes found.
        len: usize,
        /// The most bytes allowed.
        len_max: usize,
    },
    /// A key file is named by a relative path.
    RelativePath,
    /// There is no scheme, or no vault has it.
    Scheme,
}

impl fmt::Display for NotAKeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Characters => f.write_str("the name of a key has no control characters and is UTF-8"),
            Self::Form { scheme } => write!(f, "a key of this kind is named {scheme}"),
            Self::Length { len, len_max } => write!(f, "{len} bytes, where 1 to {len_max} are allowed"),
            Self::RelativePath => {
                f.write_str("a key file is named by its absolute path, because keyrings store the name")
            }
            Self::Scheme => f.write_str(
                "the name of a key begins with file:, https:, vault+https:, awskms:, pkcs11: or kmip:",
            ),
        }
    }
}

impl std::error::Error for NotAKeyUri {}

impl fmt::Display for KeyScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AwsKms => "awskms:///ARN",
            Self::AzureKeyVault => "https://HOST/keys/NAME",
            Self::File => "file:/PATH",
            Self::Kmip => "kmip://HOST/ID",
            Self::Pkcs11 => "pkcs11:ATTRIBUTES",
            Self::Transit => "vault+https://HOST/MOUNT/keys/NAME",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_of_the_design_parses() {
        for (text, scheme) in [
            ("file:/etc/cofferdam/a key.key", KeyScheme::File),
            (
                "https://shop.vault.azure.net/keys/customer",
                KeyScheme::AzureKeyVault,
            ),
            (
                "https://localhost:8443/keys/customer",
                KeyScheme::AzureKeyVault,
            ),
            (
                "vault+https://bao.internal:8200/transit/keys/db",
                KeyScheme::Transit,
            ),
            (
                "vault+https://bao.internal/team/a/transit/keys/db",
                KeyScheme::Transit,
            ),
            (
                "awskms:///arn:aws:kms:eu-central-1:111122223333:key/1234abcd",
                KeyScheme::AwsKms,
            ),
            (
                "pkcs11:token=hsm;object=kek;type=secret-key",
                KeyScheme::Pkcs11,
            ),
            ("kmip://kmip.internal:5696/4711", KeyScheme::Kmip),
        ] {
            let uri: KeyUri = text.parse().unwrap();
            assert_eq!((uri.as_str(), uri.scheme()), (text, scheme));
        }
    }

    #[test]
    fn what_is_not_exactly_a_name_is_refused() {
        for text in [
            "",
            "file",
            "file:",
            "file:/",
            "file:/a/",
            "file:a",
            "file:./a",
            "file://host/a",
            "file:////a",
            "file:/a\n",
            "file:/a\0b",
            "FILE:/a",
            "http://h/keys/k",
            "https://h",
            "https://h/",
            "https://h/keys/",
            "https:///keys/k",
            "https://H/keys/k",
            "https://u@h/keys/k",
            "https://h:/keys/k",
            "https://h:0/keys/k",
            "https://h:99999/keys/k",
            "https://h:+1/keys/k",
            "https://h/keys/k/v",
            "https://h/keys/k?x=1",
            "https://h/keys/..",
            "https://h/secrets/k",
            "vault+https://h/keys/k",
            "vault+https://h/transit/k",
            "vault+https://h//keys/k",
            "vault+https://h/../keys/k",
            "awskms://arn:aws",
            "awskms:///key/1",
            "awskms:///arn:",
            "pkcs11:",
            "pkcs11:token",
            "kmip://h/",
            "kmip://h/a/b",
            "ftp://h/keys/k",
        ] {
            assert!(text.parse::<KeyUri>().is_err(), "{text:?}");
        }
        let long = format!("file:/{}", "a".repeat(KEY_URI_LEN_MAX));
        assert_eq!(
            long.parse::<KeyUri>(),
            Err(NotAKeyUri::Length {
                len: KEY_URI_LEN_MAX + 6,
                len_max: KEY_URI_LEN_MAX
            })
        );
        assert_eq!(
            "file:a.key".parse::<KeyUri>(),
            Err(NotAKeyUri::RelativePath)
        );
    }

    #[test]
    fn typed_names_may_be_relative_and_may_end_with_a_version() {
        let base = Path::new("/home/ada");
        let (uri, version) = KeyUri::parse_typed("file:a.key", base).unwrap();
        assert_eq!((uri.as_str(), version), ("file:/home/ada/a.key", None));
        let (uri, _) = KeyUri::parse_typed("file:/b.key", base).unwrap();
        assert_eq!(uri.as_str(), "file:/b.key");
        let (uri, _) = KeyUri::parse_typed("file:///b.key", base).unwrap();
        assert_eq!(uri.as_str(), "file:/b.key");
        let (uri, version) = KeyUri::parse_typed("https://h/keys/k/0123", base).unwrap();
        assert_eq!(
            (uri.as_str(), version),
            ("https://h/keys/k", Some("0123".parse().unwrap()))
        );
        let (uri, version) = KeyUri::parse_typed("https://h/keys/k", base).unwrap();
        assert_eq!((uri.as_str(), version), ("https://h/keys/k", None));
        assert!(KeyUri::parse_typed("file:", base).is_err());
    }
}
