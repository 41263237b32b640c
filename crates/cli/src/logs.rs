//! Which audit log an argument means, and the key that it is checked with.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use cofferdam_audit::{AuditLog, VerifierKey};
use cofferdam_keys::{KeyUri, Secret};

use crate::context::{Context, absolute};
use crate::custody::Custody;
use crate::failure::Failure;
use crate::store;

/// A log and the key to check it with.
pub(crate) struct Found {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Its public key.
    pub(crate) vkey: VerifierKey,
    /// Whose word the key is.
    pub(crate) trust: Trust,
    /// The secret that signs it, if what it belongs to was unlocked.
    seed: Option<Secret<32>>,
}

impl Found {
    /// The log, open for appending; `None` for somebody who has its public key only.
    ///
    /// # Errors
    /// It cannot be written, or is damaged.
    pub(crate) fn append(&self) -> Result<Option<AuditLog>, Failure> {
        let Some(seed) = &self.seed else {
            return Ok(None);
        };
        let clock = cofferdam_wiring::now;
        let log = AuditLog::open_or_create(&self.dir, self.vkey.origin(), seed.expose(), clock)?;
        Ok(Some(
            log.with_actor(cofferdam_wiring::actor())
                .with_source(cofferdam_wiring::source()),
        ))
    }
}

/// What an unlocked database or key file says of its log.
type Owner = (VerifierKey, Secret<32>);

/// Whose word a log's public key is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The caller's.
    Given,
    /// The unlocked database's or key file's.
    Derived,
    /// The log's own.
    Itself,
}

impl Trust {
    /// For a person.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Trust::Given => "the key you gave",
            Trust::Derived => "the key derived from the secrets that the log belongs to",
            Trust::Itself => {
                "the log's own log.vkey, which proves nothing about who wrote it; give --vkey, or name the database"
            }
        }
    }
}

/// Finds the log that a directory, a sealed database or a key file means.
///
/// # Errors
/// There is none, or what it belongs to does not open.
pub(crate) fn find(context: &Context, what: &Path, vkey: Option<&str>) -> Result<Found, Failure> {
    let what = absolute(what);
    let given = vkey.map(read_vkey).transpose()?;
    let (dir, derived) = if what.is_dir() {
        (what, None)
    } else if is_key_file(&what)? {
        of_key(context, &what, given.is_some())?
    } else {
        of_store(context, &what, given.is_some())?
    };
    let (vkey, trust, seed) = match (given, derived) {
        (Some(vkey), _) => (vkey, Trust::Given, None),
        (None, Some((vkey, seed))) => (vkey, Trust::Derived, Some(seed)),
        (None, None) => (read_vkey_file(&dir.join("log.vkey"))?, Trust::Itself, None),
    };
    Ok(Found {
        dir,
        vkey,
        trust,
        seed,
    })
}

/// A public key as text, or in a file.
///
/// # Errors
/// It is neither.
pub(crate) fn read_vkey(text: &str) -> Result<VerifierKey, Failure> {
    match VerifierKey::parse(text.trim()) {
        Ok(key) => Ok(key),
        Err(_) if Path::new(text).is_file() => read_vkey_file(Path::new(text)),
        Err(error) => Err(Failure::usage(format!(
            "--vkey {text:?} is no verifier key and no file that holds one: {error}"
        ))),
    }
}

fn read_vkey_file(path: &Path) -> Result<VerifierKey, Failure> {
    let text = fs::read_to_string(path).map_err(Failure::io(path))?;
    VerifierKey::parse(text.trim()).map_err(|error| Failure::from(error).about(path))
}

fn is_key_file(path: &Path) -> Result<bool, Failure> {
    let mut magic = [0; 8];
    let mut file = File::open(path).map_err(Failure::io(path))?;
    Ok(file.read_exact(&mut magic).is_ok() && magic == *b"CDAMKEYF")
}

fn of_key(
    context: &Context,
    path: &Path,
    given: bool,
) -> Result<(PathBuf, Option<Owner>), Failure> {
    let key = KeyUri::from_file_path(path).map_err(Failure::usage)?;
    let custody = Custody::of(&context.vaults, &key)?;
    let owner = if given {
        None
    } else {
        Some((custody.verifier()?, custody.vault().audit_seed()?))
    };
    Ok((custody.log_dir(), owner))
}

fn of_store(
    context: &Context,
    path: &Path,
    given: bool,
) -> Result<(PathBuf, Option<Owner>), Failure> {
    let opener = context.opener()?;
    let slots = store::slots(path)?;
    if given && let Some((_, claimed)) = slots.candidates().first() {
        return Ok((
            store::existing_log_dir(&opener, path, claimed.store_id())?,
            None,
        ));
    }
    let unlocked = store::unlock_only(&opener, &absolute(path), &slots)
        .map_err(|failure| failure.about(path))?;
    let store = unlocked.keyring.store_id();
    let dir = store::existing_log_dir(&opener, path, store)?;
    let vkey = store::verifier(store, &unlocked.data_keys)?;
    Ok((dir, Some((vkey, unlocked.data_keys.audit_seed()))))
}
