//! The seam to the places that hold key-encryption keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_audit::UnixTime;

use crate::{KeyUri, KeyVersion, Layer, Secret, StoreId};

/// One key in a vault, with all its versions.
///
/// The contract, which `tests/src/vault_suite.rs` checks for every implementation:
///
/// - `wrap` uses the newest usable version and says which one that was; `unwrap` uses the version it is
///   told and no other.
/// - What `wrap` gave, `unwrap` of that version gives back, for as long as the version is usable.
/// - Every call asks the vault anew, so that a key disabled a moment ago is refused at the next call. What
///   is expensive may be remembered (a login, a key derived from a passphrase), the vault's answer may not.
/// - The key-encryption key never leaves the vault's own code, and wrapping is never done elsewhere:
///   that would go past the vault's log and its switch.
/// - No call retries for longer than a moment or waits for a person: the caller decides what an outage means.
/// - A [`Refusal`] names its reason as exactly as the vault does. [`Reason::Unreachable`] is never said of a vault
///   that answered *no*, and [`Reason::Revoked`] never of one that did not answer.
pub trait KeyVault: Send + Sync {
    /// What the vault says about the key.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] when the vault does not say. That a key is disabled is an answer, not a refusal.
    fn describe(&self) -> Result<KeyDescription, Refusal>;

    /// Wraps a store's root under the newest usable version.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], also when the key or all its versions are disabled.
    fn wrap(
        &self,
        root: &Secret<WRAPPED_ROOT_LEN>,
        context: &WrapContext,
    ) -> Result<Wrapped, Refusal>;

    /// Gives back what `wrap` was given. The context is the one that `wrap` was called with; a vault that can bind
    /// it refuses any other.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]; a blob that this version did not make is [`Reason::Corrupt`].
    fn unwrap(
        &self,
        wrapped: &Wrapped,
        context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal>;

    /// All versions, oldest first.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] when the vault does not say.
    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal>;

    /// The last call that the calling thread has made through this object, for the audit log; `None` where there is no
    /// service that keeps a log.
    fn last_request(&self) -> Option<VaultRequest> {
        None
    }
}

/// One call, as a vault's own log names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRequest {
    /// The id that was sent along.
    pub correlation_id: String,
    /// The id that the vault gave, if it answered with one.
    pub request_id: Option<String>,
}

/// Finds the vault for a key.
pub trait VaultSet: Send + Sync {
    /// The key that a name points to. Makes no call to the vault.
    ///
    /// # Errors
    ///
    /// [`NoSuchVault`] when this program has no vault of that kind.
    fn vault(&self, key: &KeyUri) -> Result<Arc<dyn KeyVault>, NoSuchVault>;
}

/// The bytes that a vault wraps: a root, and what ties it to its store and layer (format section 6.2).
pub const WRAPPED_ROOT_LEN: usize = 80;

/// What a wrapped root is for. A vault that takes a context or additional data is given it; it is not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapContext {
    /// The store.
    pub store: StoreId,
    /// The layer.
    pub layer: Layer,
}

/// A root as a vault wrapped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrapped {
    /// The version that wrapped.
    pub version: KeyVersion,
    /// How it wrapped.
    pub algorithm: WrapAlgorithm,
    /// The vault's answer, 1…1024 bytes.
    pub blob: Vec<u8>,
}

/// How a vault wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum WrapAlgorithm {
    /// AES-256-KW, RFC 3394.
    Aes256Kw = 1,
    /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256, RFC 8017 section 7.1, and a key of 2048, 3072 or 4096 bits.
    RsaOaep256 = 2,
}

impl WrapAlgorithm {
    /// The number on disk.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The algorithm with this number; `None` also for numbers that the format reserves.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Aes256Kw),
            2 => Some(Self::RsaOaep256),
            _ => None,
        }
    }

    /// Whether only who may use the key in the vault can make a blob that unwraps.
    ///
    /// It is not so for RSA: anyone who has the public key can wrap a root of their own choice, which then unwraps like
    /// any other. It does not help them with a store that has data, whose MACs and tags are under the true root; a new or
    /// empty store they can replace. Where that matters, the root's commitment has to be known from elsewhere.
    pub const fn authenticates(self) -> bool {
        match self {
            Self::Aes256Kw => true,
            Self::RsaOaep256 => false,
        }
    }

    /// Whether a blob of this many bytes can come from the algorithm (format section 6).
    pub(crate) fn allows_blob_len(self, len: usize) -> bool {
        match self {
            Self::Aes256Kw => true,
            Self::RsaOaep256 => matches!(len, 256 | 384 | 512),
        }
    }
}

/// What a vault says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDescription {
    /// The key.
    pub key: KeyUri,
    /// What the key is, in the vault's words: `AES-256`, `RSA-3072`.
    pub kind: String,
    /// The strength against the best known attack, in bits.
    pub strength_bits: u16,
    /// Whether the key as a whole may be used.
    pub state: KeyState,
    /// When the key was made.
    pub created_at: Option<UnixTime>,
    /// How many versions there are.
    pub version_count: usize,
    /// The version that `wrap` uses, when there is one.
    pub latest: Option<KeyVersion>,
    /// From when on that version, or without one the newest, may be used.
    pub not_before: Option<UnixTime>,
    /// When the use of that version must end.
    pub expires_at: Option<UnixTime>,
    /// What happens to keys that are deleted, where the vault says it.
    pub recovery: Option<Recovery>,
    /// What the vault lets be done with that version, where it says it: `wrapKey`, `unwrapKey`.
    pub operations: Option<Vec<String>>,
    /// What the vault's own clock said when it answered.
    pub vault_time: Option<UnixTime>,
}

/// What happens to keys that are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// A deleted key can be recovered.
    pub soft_delete: bool,
    /// Nobody can destroy a deleted key before its time.
    pub purge_protection: bool,
    /// For how many days it can be recovered.
    pub days: Option<u16>,
}

/// What a vault says about one version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionDescription {
    /// The version.
    pub version: KeyVersion,
    /// Whether the version may be used, if the key may.
    pub state: KeyState,
    /// When the version was made.
    pub created_at: Option<UnixTime>,
    /// From when on it may be used.
    pub not_before: Option<UnixTime>,
    /// When its use must end. Vaults do not always enforce it, so callers judge it themselves.
    pub expires_at: Option<UnixTime>,
}

/// Whether a key or a version may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// Its custodian has switched it off.
    Disabled,
    /// It may be used.
    Enabled,
}

/// Why a vault did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class of the answer, on which every policy hangs.
    pub reason: Reason,
    /// The key.
    pub key: KeyUri,
    /// The version, when one was concerned.
    pub version: Option<KeyVersion>,
    /// What happened, for a person. Never key material.
    pub detail: String,
    /// How long the vault asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// The class of a vault's refusal (design section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The vault does not accept who we say we are: a wrong passphrase, an expired token.
    AuthBroken,
    /// The vault answered, and what it holds or was given does not authenticate.
    Corrupt,
    /// The key is there and a condition on its use is not met.
    PolicyMismatch,
    /// The vault said *no*.
    Revoked(Revocation),
    /// The vault asks to be asked less often.
    Throttled,
    /// The vault did not answer.
    Unreachable,
}

/// How a key was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The key was deleted.
    Deleted,
    /// The key was disabled.
    Disabled,
    /// The key, or its version, is past its end.
    Expired,
    /// We may not use the key any more.
    Permission,
    /// This version was disabled or removed, while the key lives on.
    Version,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.key)?;
        if let Some(version) = &self.version {
            write!(f, ", version {version}")?;
        }
        let (what, advice) = match self.reason {
            Reason::AuthBroken => (
                "the vault does not accept our credentials",
                "check the passphrase or the login",
            ),
            Reason::Corrupt => (
                "what was wrapped does not unwrap",
                "restore the undamaged file or key from a backup",
            ),
            Reason::PolicyMismatch => (
                "a condition on the use of the key is not met",
                "meet it and try again",
            ),
            Reason::Revoked(Revocation::Deleted) => ("deleted", "ask its custodian to recover it"),
            Reason::Revoked(Revocation::Disabled) => ("disabled", "ask its custodian to enable it"),
            Reason::Revoked(Revocation::Expired) => {
                ("expired", "ask its custodian to extend or rotate it")
            }
            Reason::Revoked(Revocation::Permission) => {
                ("not ours to use", "ask its custodian for the permission")
            }
            Reason::Revoked(Revocation::Version) => (
                "this version may not be used",
                "ask the key's custodian to enable it",
            ),
            Reason::Throttled => ("the vault wants fewer calls", "try again later"),
            Reason::Unreachable => ("the vault did not answer", "bring it back and try again"),
        };
        write!(f, ": {what} ({}); {advice}", self.detail)
    }
}

impl std::error::Error for Refusal {}

/// This program has no vault of the kind that a key's name points into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuchVault {
    /// The key.
    pub key: KeyUri,
}

impl fmt::Display for NoSuchVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "key {}: this build has no vault for {}",
            self.key,
            self.key.scheme()
        )
    }
}

impl std::error::Error for NoSuchVault {}
