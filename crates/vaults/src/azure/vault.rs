//! A key in Azure Key Vault or Managed HSM.

use std::sync::{Mutex, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding};
use cofferdam_keys::{
    Clock, KeyDescription, KeyScheme, KeyState, KeyUri, KeyVault, KeyVersion, NoSuchVault, Reason,
    Refusal, Revocation, Secret, UnixTime, VaultRequest, VersionDescription, WRAPPED_ROOT_LEN,
    WrapContext, Wrapped,
};
use serde::Deserialize;
use ureq::http::Method;
use zeroize::Zeroizing;

use super::classify::{Asked, Verdict, classify, printable};
use super::failure::Failure;
use super::http::Answer;
use super::key::{Kind, Listed, check_dates, state, wire_name};
use super::session::{Ask, Operation, Session};
use super::settings::AzureSettings;
use super::wire::{
    Attributes, KeyBundle, KeyList, KeyOperation, KeyOperationResult, at, is_version, version_of,
};

/// One key in Azure Key Vault or Managed HSM.
///
/// `wrap` follows rotations: it uses the newest version that is enabled and within its dates, unless
/// [`AzureSettings::version`] names one. `unwrap` uses the version that wrapped. RSA keys wrap with RSA-OAEP-256, AES keys with
/// A256KW; nothing is ever wrapped here, although an RSA key would allow it, because that would go past the vault's log and its
/// switch.
///
/// An expired version is refused here, although Azure unwraps under it; so is one that the vault says is disabled. Without
/// the permission to read the key its dates are not known and not judged.
///
/// Neither algorithm takes a context: what ties a root to its store and layer is in the bytes that are wrapped.
///
/// Right after a key was made, deleted or recovered the service may not find it. Such an answer is `Unreachable` for
/// 10 seconds, and `Revoked(Deleted)` after them.
pub struct AzureVault {
    key: KeyUri,
    name: String,
    session: Session,
    /// Since when the key is found neither among the keys nor among the deleted ones.
    missing_since: Mutex<Option<UnixTime>>,
}

impl AzureVault {
    /// The key; no call is made yet.
    ///
    /// # Errors
    ///
    /// [`NoSuchVault`] when the name is not of the form `https://HOST/keys/NAME`.
    pub fn new(key: &KeyUri, settings: AzureSettings, clock: Clock) -> Result<Self, NoSuchVault> {
        let parts = (key.scheme() == KeyScheme::AzureKeyVault)
            .then(|| key.as_str().strip_prefix("https://"))
            .flatten()
            .and_then(|rest| rest.split_once("/keys/"))
            .filter(|(_, name)| is_name(name));
        let (host, name) = parts.ok_or_else(|| NoSuchVault { key: key.clone() })?;
        Ok(Self {
            key: key.clone(),
            name: name.to_owned(),
            session: Session::new(host, settings, clock),
            missing_since: Mutex::default(),
        })
    }

    /// The bundle of one version, or of the newest.
    fn bundle(
        &self,
        operation: &Operation,
        version: Option<&KeyVersion>,
    ) -> Result<Bundle, Failure> {
        let path = match version {
            Some(version) => self.path(&format!("/{version}")),
            None => self.path(""),
        };
        let answer = self.question(operation, &path)?;
        let bundle: KeyBundle = parse(&answer)?;
        let found = version_of(&bundle.key.kid, &self.name)
            .filter(|found| version.is_none_or(|asked| asked == found))
            .ok_or_else(|| corrupt("the vault answered about another key"))?;
        Ok(Bundle {
            version: found,
            key: bundle.key,
            attributes: bundle.attributes,
            vault_time: answer.date,
            request_id: answer.request_id,
        })
    }

    /// All versions, oldest first, and the vault's clock.
    fn list(&self, operation: &Operation) -> Result<(Vec<Listed>, Option<UnixTime>), Failure> {
        let mut versions = Vec::new();
        let mut path = self.path("/versions");
        for _ in 0..PAGE_COUNT_MAX {
            let answer = self.question(operation, &path)?;
            let page: KeyList = parse(&answer)?;
            for item in page.value {
                let version = version_of(&item.kid, &self.name)
                    .ok_or_else(|| corrupt("the vault listed a version of another key"))?;
                versions.push(Listed {
                    version,
                    attributes: item.attributes,
                });
            }
            match page.next_link.filter(|link| !link.is_empty()) {
                Some(link) => path = self.path_of(&link)?,
                None => return Ok((self.sorted(operation, versions)?, answer.date)),
            }
        }
        Err(corrupt("the list of versions has no end"))
    }

    /// The vault tells whole seconds. Of several versions made in the newest second, the last is the one that the vault
    /// calls the key's current one.
    fn sorted(
        &self,
        operation: &Operation,
        mut versions: Vec<Listed>,
    ) -> Result<Vec<Listed>, Failure> {
        let newest = versions.iter().map(|it| it.attributes.created).max();
        let is_newest = |it: &&Listed| Some(it.attributes.created) == newest;
        let current = match versions.iter().filter(is_newest).count() {
            0 | 1 => None,
            _ => Some(self.bundle(operation, None)?.version),
        };
        versions.sort_by_cached_key(|it| {
            let is_current = Some(&it.version) == current.as_ref();
            (it.attributes.created, is_current, it.version.clone())
        });
        Ok(versions)
    }

    /// The version to wrap under.
    fn newest_usable(&self, operation: &Operation) -> Result<Bundle, Failure> {
        let now = self.session.now();
        if let Some(version) = &self.session.settings().version {
            if !is_version(version.as_str()) {
                return Err(Failure::new(
                    Reason::PolicyMismatch,
                    "the version to wrap under was chosen, and no version of a key in Azure is named so",
                ));
            }
            let bundle = self.bundle(operation, Some(version))?;
            if !bundle.attributes.enabled {
                return Err(Failure::new(
                    Reason::Revoked(Revocation::Version),
                    bundle.told("the version to wrap under was chosen, and it is disabled"),
                ));
            }
            bundle.check_dates(now)?;
            return Ok(bundle);
        }
        let current = self.bundle(operation, None)?;
        if is_usable(&current.attributes, now, current.vault_time) {
            return Ok(current);
        }
        let (versions, vault_time) = self.list(operation)?;
        match newest_usable(&versions, now, vault_time) {
            Some(newest) => self.bundle(operation, Some(&newest.version)),
            None => Err(why_none_is_usable(&versions, now, vault_time)),
        }
    }

    /// GET, with everything but success made a failure.
    fn question(&self, operation: &Operation, path: &str) -> Result<Answer, Failure> {
        let ask = Ask {
            method: &Method::GET,
            path,
            body: None,
        };
        self.ask(operation, ask, Asked::Question, None)
    }

    /// One wrap or unwrap, by version.
    fn operate(
        &self,
        operation: &Operation,
        asked: Asked,
        version: &KeyVersion,
        alg: &str,
        bytes: &[u8],
    ) -> Result<Answer, Failure> {
        let verb = match asked {
            Asked::Wrap => "wrapkey",
            _ => "unwrapkey",
        };
        let value = Zeroizing::new(Base64UrlUnpadded::encode_string(bytes));
        // Room for all of it at once: a vector that grows leaves bytes behind.
        let mut body = Zeroizing::new(Vec::with_capacity(value.len() + 64));
        serde_json::to_writer(&mut *body, &KeyOperation { alg, value: &value })
            .map_err(|_| Failure::unreachable("the question cannot be written"))?;
        let ask = Ask {
            method: &Method::POST,
            path: &self.path(&format!("/{version}/{verb}")),
            body: Some(&body),
        };
        self.ask(operation, ask, asked, Some(version))
    }

    fn ask(
        &self,
        operation: &Operation,
        ask: Ask<'_>,
        asked: Asked,
        version: Option<&KeyVersion>,
    ) -> Result<Answer, Failure> {
        let answer = self.session.ask(operation, ask)?;
        match classify(&answer, asked) {
            Ok(()) => {
                self.found();
                Ok(answer)
            }
            Err(Verdict::Refused(failure)) => Err(failure),
            Err(Verdict::Disabled(detail)) => Err(self.disabled(operation, version, detail)),
            Err(Verdict::Missing(detail)) => Err(self.missing(operation, ask.path, detail)),
        }
    }

    /// Whether the key is disabled, or the version alone.
    fn disabled(
        &self,
        operation: &Operation,
        version: Option<&KeyVersion>,
        detail: String,
    ) -> Failure {
        let another = |found: &KeyVersion, attributes: &Attributes| {
            attributes.enabled && Some(found) != version
        };
        let lives_on = match self.list(operation) {
            Ok((versions, _)) => versions
                .iter()
                .any(|it| another(&it.version, &it.attributes)),
            // Without the permission to list, the newest version speaks for the key.
            Err(_) => self
                .bundle(operation, None)
                .is_ok_and(|newest| another(&newest.version, &newest.attributes)),
        };
        let revocation = if lives_on && version.is_some() {
            Revocation::Version
        } else {
            Revocation::Disabled
        };
        Failure::new(Reason::Revoked(revocation), detail)
    }

    /// What a 404 means.
    fn missing(&self, operation: &Operation, path: &str, detail: String) -> Failure {
        let ask = |path: &str| {
            let ask = Ask {
                method: &Method::GET,
                path,
                body: None,
            };
            self.session.ask(operation, ask)
        };
        let is_about_a_version = path != self.path("") && path != self.path("/versions");
        if is_about_a_version {
            match ask(&self.path("")) {
                Ok(answer) if answer.status == 200 => {
                    self.found();
                    return Failure::new(Reason::Revoked(Revocation::Version), detail);
                }
                Ok(answer) if answer.status == 404 => {}
                Ok(answer) => return self.unclear(&answer, detail),
                Err(failure) => return failure,
            }
        }
        match ask(&format!("/deletedkeys/{}?{API_VERSION}", self.name)) {
            Ok(answer) if answer.status == 200 => {
                self.found();
                Failure::new(Reason::Revoked(Revocation::Deleted), detail)
            }
            Ok(answer) if matches!(answer.status, 403 | 404) => self.nowhere(detail),
            Ok(answer) => self.unclear(&answer, detail),
            Err(failure) => failure,
        }
    }

    /// The key is not found, and whether it was deleted is not known.
    fn nowhere(&self, detail: String) -> Failure {
        let now = self.session.now();
        let mut since = self
            .missing_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let since = *since.get_or_insert(now);
        if now.seconds.saturating_sub(since.seconds) < CONSISTENCY_WINDOW_S {
            return Failure::unreachable(format!(
                "the vault finds no such key; if it was made, deleted or recovered a moment ago, it will: {detail}"
            ));
        }
        Failure::new(
            Reason::Revoked(Revocation::Deleted),
            format!("the vault has no such key, nor a deleted one that we may see: {detail}"),
        )
    }

    /// The second look got an answer that settles nothing: the first stays open too.
    fn unclear(&self, answer: &Answer, detail: String) -> Failure {
        match classify(answer, Asked::Question) {
            Err(Verdict::Refused(failure)) => failure,
            _ => Failure::unreachable(detail),
        }
    }

    fn found(&self) {
        *self
            .missing_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn path(&self, below: &str) -> String {
        format!("/keys/{}{below}?{API_VERSION}", self.name)
    }

    /// The path of a link that the vault gave, which must lead to this key in this vault.
    fn path_of(&self, link: &str) -> Result<String, Failure> {
        let start = format!("/keys/{}/versions?", self.name);
        let path = link
            .strip_prefix("https://")
            .and_then(|rest| rest.strip_prefix(self.session.host()))
            .map(|path| path.strip_prefix(":443").unwrap_or(path))
            .filter(|path| {
                let head = path.get(..start.len()).unwrap_or_default();
                head.eq_ignore_ascii_case(&start)
            });
        path.filter(|path| path.bytes().all(|byte| byte.is_ascii_graphic()))
            .map(ToOwned::to_owned)
            .ok_or_else(|| corrupt("the list of versions leads to another place"))
    }

    fn describe_within(&self, operation: &Operation) -> Result<KeyDescription, Failure> {
        let now = self.session.now();
        let (versions, vault_time) = self.list(operation)?;
        let latest = match &self.session.settings().version {
            Some(pinned) => versions
                .iter()
                .find(|it| it.version == *pinned && is_usable(&it.attributes, now, vault_time)),
            None => newest_usable(&versions, now, vault_time),
        };
        let shown = latest.or(versions.last()).map(|it| &it.version);
        let shown = self.bundle(operation, shown)?;
        let kind = Kind::of(&shown.key)?;
        let any_enabled = versions.iter().any(|it| it.attributes.enabled);
        Ok(KeyDescription {
            key: self.key.clone(),
            kind: kind.name,
            strength_bits: kind.strength_bits,
            state: if any_enabled {
                KeyState::Enabled
            } else {
                state(&shown.attributes)
            },
            created_at: versions
                .first()
                .and_then(|oldest| oldest.attributes.created)
                .map(at),
            version_count: versions.len(),
            latest: latest.map(|it| it.version.clone()),
            not_before: shown.attributes.nbf.map(at),
            expires_at: shown.attributes.exp.map(at),
            recovery: shown.attributes.recovery(),
            operations: shown.key.key_ops,
            vault_time,
        })
    }

    fn wrap_within(
        &self,
        operation: &Operation,
        root: &Secret<WRAPPED_ROOT_LEN>,
    ) -> Result<Wrapped, Failure> {
        let chosen = self.newest_usable(operation)?;
        let kind = Kind::of(&chosen.key)?;
        let alg = wire_name(kind.algorithm).ok_or_else(no_algorithm)?;
        let answer = self.operate(operation, Asked::Wrap, &chosen.version, alg, root.expose())?;
        let result: KeyOperationResult<'_> = parse(&answer)?;
        let version = version_of(&result.kid, &self.name)
            .filter(|version| *version == chosen.version)
            .ok_or_else(|| corrupt("the vault wrapped under another version than it was told"))?;
        let blob = Base64UrlUnpadded::decode_vec(result.value.trim_end_matches('='))
            .ok()
            .filter(|blob| blob.len() == kind.blob_len)
            .ok_or_else(|| corrupt("what the vault wrapped is of another length than its key"))?;
        Ok(Wrapped {
            version,
            algorithm: kind.algorithm,
            blob,
        })
    }

    fn unwrap_within(
        &self,
        operation: &Operation,
        wrapped: &Wrapped,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Failure> {
        let version = &wrapped.version;
        if !is_version(version.as_str()) {
            return Err(corrupt("no version of a key in Azure is named so"));
        }
        let alg = wire_name(wrapped.algorithm).ok_or_else(no_algorithm)?;
        self.check_version(operation, version)?;
        let answer = self.operate(operation, Asked::Unwrap, version, alg, &wrapped.blob)?;
        let result: KeyOperationResult<'_> = parse(&answer)?;
        if version_of(&result.kid, &self.name).as_ref() != Some(version) {
            return Err(corrupt("the vault unwrapped under another version"));
        }
        let value = result.value.trim_end_matches('=');
        Secret::try_fill_with(|place| match Base64UrlUnpadded::decode(value, place) {
            Ok(root) if root.len() == WRAPPED_ROOT_LEN => Ok(()),
            _ => Err(corrupt("what the vault unwrapped is no root")),
        })
    }

    /// What only the version's attributes tell.
    fn check_version(&self, operation: &Operation, version: &KeyVersion) -> Result<(), Failure> {
        match self.bundle(operation, Some(version)) {
            Ok(bundle) if !bundle.attributes.enabled => {
                let detail = bundle.told("the vault says that the version is disabled");
                Err(self.disabled(operation, Some(version), detail))
            }
            Ok(bundle) => bundle.check_dates(self.session.now()),
            // Who may unwrap and may not read: the unwrap itself decides.
            Err(failure) if failure.reason == Reason::Revoked(Revocation::Permission) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

impl KeyVault for AzureVault {
    fn describe(&self) -> Result<KeyDescription, Refusal> {
        self.session
            .begin()
            .and_then(|operation| self.describe_within(&operation))
            .map_err(|failure| failure.about(&self.key, None))
    }

    fn wrap(
        &self,
        root: &Secret<WRAPPED_ROOT_LEN>,
        _context: &WrapContext,
    ) -> Result<Wrapped, Refusal> {
        self.session
            .begin()
            .and_then(|operation| self.wrap_within(&operation, root))
            .map_err(|failure| failure.about(&self.key, self.session.settings().version.as_ref()))
    }

    fn unwrap(
        &self,
        wrapped: &Wrapped,
        _context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
        self.session
            .begin()
            .and_then(|operation| self.unwrap_within(&operation, wrapped))
            .map_err(|failure| failure.about(&self.key, Some(&wrapped.version)))
    }

    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal> {
        self.session
            .begin()
            .and_then(|operation| self.list(&operation))
            .map(|(versions, _)| versions.iter().map(Listed::describe).collect())
            .map_err(|failure| failure.about(&self.key, None))
    }

    fn last_request(&self) -> Option<VaultRequest> {
        self.session.last_request()
    }
}

/// One version with its public part.
struct Bundle {
    version: KeyVersion,
    key: super::wire::JsonWebKey,
    attributes: Attributes,
    vault_time: Option<UnixTime>,
    request_id: Option<String>,
}

impl Bundle {
    fn check_dates(&self, now: UnixTime) -> Result<(), Failure> {
        check_dates(&self.attributes, now, self.vault_time).map_err(|failure| Failure {
            detail: self.told(&failure.detail),
            ..failure
        })
    }

    /// What the vault told, and in which answer.
    fn told(&self, what: &str) -> String {
        let id = self.request_id.as_deref().unwrap_or("without an id");
        format!("{what}, request {}", printable(id, 128))
    }
}

fn newest_usable(
    versions: &[Listed],
    now: UnixTime,
    vault_time: Option<UnixTime>,
) -> Option<&Listed> {
    versions
        .iter()
        .rfind(|it| is_usable(&it.attributes, now, vault_time))
}

fn is_usable(attributes: &Attributes, now: UnixTime, vault_time: Option<UnixTime>) -> bool {
    attributes.enabled && check_dates(attributes, now, vault_time).is_ok()
}

/// The newest enabled version tells; without one, the key is disabled.
fn why_none_is_usable(versions: &[Listed], now: UnixTime, vault_time: Option<UnixTime>) -> Failure {
    versions
        .iter()
        .rfind(|it| it.attributes.enabled)
        .and_then(|it| check_dates(&it.attributes, now, vault_time).err())
        .unwrap_or_else(|| {
            Failure::new(
                Reason::Revoked(Revocation::Disabled),
                "the vault says that all its versions are disabled",
            )
        })
}

/// Keys are named with letters, digits and hyphens.
fn is_name(name: &str) -> bool {
    (1..=127).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a Answer) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| Failure::unreachable("the vault's answer is not what Azure Key Vault says"))
}

fn corrupt(detail: &str) -> Failure {
    Failure::new(Reason::Corrupt, detail)
}

fn no_algorithm() -> Failure {
    corrupt("Azure Key Vault has no such way to wrap")
}

const API_VERSION: &str = "api-version=2025-07-01";
/// With 25 versions a page, more than any key has.
const PAGE_COUNT_MAX: usize = 400;
/// After a deletion was confirmed, the service was seen not to know the deleted key for 2 to 8 seconds.
const CONSISTENCY_WINDOW_S: u64 = 10;
