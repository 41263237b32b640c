//! One key: its versions, and what each of them may do at a given time.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::material::{Kind, Material};
use crate::rotation::Policy;

/// A key: a name and its versions, the oldest first.
#[derive(Clone, Serialize, Deserialize)]
pub struct Key {
    /// The name.
    pub name: String,
    /// The versions, the oldest first; never empty once the key is in a vault.
    pub versions: Vec<Version>,
    /// The rotation policy, when one was set.
    pub policy: Option<Policy>,
    /// Whether it is deleted.
    pub life: Life,
}

/// Whether a key is deleted. Times are when the change was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Life {
    /// In use, and visible from `since` on.
    Active {
        /// When a recovery becomes visible.
        since: i64,
    },
    /// Deleted but recoverable.
    Deleted {
        /// When it was deleted.
        at: i64,
        /// When it is visible as deleted.
        visible: i64,
        /// When it goes for good.
        purge: i64,
    },
    /// Purged; the name is free from `free` on.
    Purged {
        /// When the name is free.
        free: i64,
    },
}

impl Life {
    /// Whether the key can be used.
    pub fn is_active(&self, now: i64) -> bool {
        matches!(self, Life::Active { since } if *since <= now)
    }

    /// Whether nothing is left of the key.
    pub fn is_gone(&self, now: i64) -> bool {
        match self {
            Life::Active { .. } => false,
            Life::Deleted { purge, .. } => *purge <= now,
            Life::Purged { free } => *free <= now,
        }
    }

    pub(super) fn usable_name(&self, name: &str, now: i64) -> Result<(), Refusal> {
        match self {
            Life::Active { since } if *since <= now => Ok(()),
            Life::Active { .. } => Err(Refusal::being_recovered()),
            Life::Deleted { visible, .. } if *visible <= now => {
                Err(Refusal::deleted_but_recoverable(name))
            }
            Life::Deleted { .. } | Life::Purged { .. } => Err(Refusal::being_deleted()),
        }
    }
}

/// One version of a key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Version {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The secret.
    #[serde(with = "stored")]
    pub material: Arc<Material>,
    /// Whether the key says it is in an HSM. It is not.
    pub hsm: bool,
    /// Validity and dates.
    pub attributes: Attributes,
    /// What it may do.
    pub key_ops: Vec<String>,
    /// The caller's labels.
    pub tags: BTreeMap<String, String>,
    /// Under which policy it may be released, if at all.
    pub release_policy: Option<ReleasePolicy>,
    /// The last `exp` for which its coming was announced.
    pub near_expiry_announced: Option<i64>,
    /// The last `exp` whose passing was announced.
    pub expiry_announced: Option<i64>,
}

/// What a caller sets and the vault keeps about a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Whether it may be used.
    pub enabled: bool,
    /// Not before this time.
    pub nbf: Option<i64>,
    /// Not from this time on.
    pub exp: Option<i64>,
    /// When the version was made.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// Whether it may be released.
    pub exportable: bool,
}

/// The policy under which a key may be released, as the caller wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReleasePolicy {
    /// The type of `data`.
    #[serde(default = "ReleasePolicy::content_type")]
    pub content_type: String,
    /// The policy in base64url.
    pub data: String,
    /// Whether it can never be changed.
    #[serde(default)]
    pub immutable: bool,
}

impl ReleasePolicy {
    fn content_type() -> String {
        "application/json; charset=utf-8".to_owned()
    }
}

/// An operation with a key's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// decrypt
    Decrypt,
    /// encrypt
    Encrypt,
    /// release
    Release,
    /// sign
    Sign,
    /// unwrapKey
    UnwrapKey,
    /// verify
    Verify,
    /// wrapKey
    WrapKey,
}

impl Use {
    /// The name in `key_ops` and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Use::Decrypt => "decrypt",
            Use::Encrypt => "encrypt",
            Use::Release => "release",
            Use::Sign => "sign",
            Use::UnwrapKey => "unwrapKey",
            Use::Verify => "verify",
            Use::WrapKey => "wrapKey",
        }
    }

    /// Whether it makes something new with the key, which `nbf` and `exp` stand against. What was made while the key
    /// was valid can be opened and verified for ever.
    fn is_bound_by_dates(self) -> bool {
        matches!(self, Use::Encrypt | Use::Sign | Use::WrapKey)
    }
}

impl Key {
    /// A key without versions.
    pub(super) fn new(name: &str, now: i64) -> Key {
        Key {
            name: name.to_owned(),
            versions: Vec::new(),
            policy: None,
            life: Life::Active { since: now },
        }
    }

    /// A version; without an id, the latest.
    pub fn version(&self, id: Option<&str>) -> Option<&Version> {
        match id {
            Some(id) => self
                .versions
                .iter()
                .find(|version| version.id.eq_ignore_ascii_case(id)),
            None => self.versions.last(),
        }
    }

    /// A version, to be changed.
    pub fn version_mut(&mut self, id: Option<&str>) -> Option<&mut Version> {
        match id {
            Some(id) => self
                .versions
                .iter_mut()
                .find(|version| version.id.eq_ignore_ascii_case(id)),
            None => self.versions.last_mut(),
        }
    }
}

impl Version {
    /// A version that is enabled for ever, for everything that a key of its kind can do.
    ///
    /// # Errors
    /// The random generator's failure.
    pub fn new(material: Arc<Material>, now: i64) -> Result<Version, Refusal> {
        Ok(Version {
            id: new_version_id()?,
            hsm: false,
            attributes: Attributes {
                enabled: true,
                nbf: None,
                exp: None,
                created: now,
                updated: now,
                exportable: false,
            },
            key_ops: Version::default_ops(material.kind()),
            material,
            tags: BTreeMap::new(),
            release_policy: None,
            near_expiry_announced: None,
            expiry_announced: None,
        })
    }

    /// Refuses what the version must not do at this time: disabled, not yet valid, expired, or not among `key_ops`,
    /// in this order. An expired or not-yet-valid key still decrypts, unwraps, verifies and releases.
    ///
    /// # Errors
    /// 403 with the inner code.
    pub fn permit(&self, what: Use, now: i64, wrap_when_disabled: bool) -> Result<(), Refusal> {
        let lenient = wrap_when_disabled && matches!(what, Use::Encrypt | Use::WrapKey);
        if !self.attributes.enabled && !lenient {
            return Err(Refusal::key_disabled(what.name()));
        }
        if what.is_bound_by_dates() {
            if self.attributes.nbf.is_some_and(|nbf| now < nbf) {
                return Err(Refusal::key_not_yet_valid(what.name()));
            }
            if self.attributes.exp.is_some_and(|exp| now >= exp) {
                return Err(Refusal::key_expired(what.name()));
            }
        }
        // Release has no word in `key_ops`: exportability and a policy stand for it.
        if what != Use::Release
            && !self
                .key_ops
                .iter()
                .any(|held| held.eq_ignore_ascii_case(what.name()))
        {
            return Err(Refusal::key_operation_forbidden(what.name()));
        }
        Ok(())
    }

    /// The operations of a new key whose caller named none.
    pub fn default_ops(kind: Kind) -> Vec<String> {
        let names: &[&str] = match kind {
            Kind::Akp(_) | Kind::Ec(_) => &["sign", "verify"],
            Kind::Oct { .. } => &["encrypt", "decrypt", "wrapKey", "unwrapKey"],
            Kind::Rsa { .. } => &[
                "encrypt",
                "decrypt",
                "sign",
                "verify",
                "wrapKey",
                "unwrapKey",
            ],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// A fresh id of a version.
///
/// # Errors
/// The random generator's failure.
pub fn new_version_id() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Refusal::new(500, "InternalServerError", "The random generator failed."))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Secrets in the state file and in backups, both of which are sealed as a whole.
mod stored {
    use std::sync::Arc;

    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use zeroize::Zeroizing;

    use crate::material::Material;
    use crate::material::jwk::{base64url, from_base64};

    #[derive(Serialize, Deserialize)]
    struct Stored {
        kty: String,
        secret: Zeroizing<String>,
    }

    pub(super) fn serialize<S: Serializer>(
        material: &Arc<Material>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let secret = material
            .expose()
            .map_err(|refusal| S::Error::custom(refusal.message))?;
        Stored {
            kty: material.kty().to_owned(),
            secret: Zeroizing::new(base64url(&secret)),
        }
        .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Material>, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        from_base64(&stored.secret, "secret")
            .and_then(|secret| Material::restore(&stored.kty, &Zeroizing::new(secret)))
            .map(Arc::new)
            .map_err(|refusal| D::Error::custom(refusal.message))
    }
}
