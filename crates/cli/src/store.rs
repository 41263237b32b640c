//! A sealed database as a custodian looks at it: its keyring, its vaults' answers, its audit log.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use cofferdam_audit::{AuditLog, VerifierKey};
use cofferdam_keys::{DataKeys, KEYRING_LEN, KeyringSlots, KeysError, RootWrap, StoreId, Unlocked};
use cofferdam_sealed_file::{Error, FileDisk, Opener, log_origin};

use crate::failure::Failure;
use crate::output::hex;

/// Both slots of the keyring at the head of a file. Nothing in them is authenticated.
///
/// # Errors
/// The file cannot be read, or is not sealed.
pub(crate) fn slots(path: &Path) -> Result<KeyringSlots, Failure> {
    let io = |error| Failure::io(path)(error);
    let file = File::open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(Failure::refused(format!(
            "{} is no sealed database but a directory or a device; of a volume, give the file `keyring` in its directory",
            path.display()
        )));
    }
    let mut head = Vec::with_capacity(2 * KEYRING_LEN);
    file.take(2 * KEYRING_LEN as u64)
        .read_to_end(&mut head)
        .map_err(io)?;
    let plain_sqlite = head.starts_with(b"SQLite format 3\0");
    let ours = head.starts_with(b"CDAMKEYS");
    head.resize(2 * KEYRING_LEN, 0);
    let (halves, _) = head.as_chunks::<KEYRING_LEN>();
    let slots = KeyringSlots::parse(&halves[0], &halves[1]);
    if slots.candidates().is_empty() && ours {
        return Err(Failure::from(KeysError::NoKeyring).about(path));
    }
    if slots.candidates().is_empty() {
        return Err(Failure::from(Error::NotSealed { plain_sqlite }).about(path));
    }
    Ok(slots)
}

/// The pins of a store, for the layers whose wraps do not authenticate.
///
/// # Errors
/// As [`slots`].
pub(crate) fn pins(path: &Path) -> Result<Vec<String>, Failure> {
    let slots = slots(path)?;
    let candidates = slots.candidates();
    let wraps = candidates.first().map(|(_, keyring)| keyring.wraps());
    Ok(wraps.unwrap_or_default().iter().filter_map(pin).collect())
}

/// What to do with pins.
pub(crate) fn pins_in_words(pins: &[String], whom: &str) -> Option<String> {
    (!pins.is_empty()).then(|| {
        format!(
            "the key is of RSA, under which anyone can wrap who has its public half: give {whom}\nCOFFERDAM_PIN={}",
            pins.join(",")
        )
    })
}

/// What tells that a root is the right one, where its wrap does not.
pub(crate) fn pin(wrap: &RootWrap) -> Option<String> {
    (!wrap.wrapped.algorithm.authenticates()).then(|| hex(&wrap.commitment))
}

/// Unlocks a store as an application would: compared with its audit log, and recorded there.
///
/// # Errors
/// A vault's refusal, a store that does not authenticate, an old copy.
pub(crate) fn unlock(opener: &Opener, path: &Path) -> Result<Unlocked, Failure> {
    slots(path)?;
    let disk = FileDisk::open_read_only(path).map_err(Failure::io(path))?;
    opener
        .unlock_store(&disk, path)
        .and_then(|unlocked| {
            unlocked.ok_or(Error::NotSealed {
                plain_sqlite: false,
            })
        })
        .map_err(|error| Failure::from(error).about(path))
}

/// Unlocks the keyring of the store at `path` and looks no further.
///
/// # Errors
/// A vault's refusal, or a keyring that does not authenticate.
pub(crate) fn unlock_only(
    opener: &Opener,
    path: &Path,
    slots: &KeyringSlots,
) -> Result<Unlocked, Failure> {
    let unlocked = slots.unlock(&*opener.vaults, &opener.pins)?;
    opener.record_calls(path, &unlocked);
    Ok(unlocked)
}

/// The key that verifies a store's audit log, which only the unlocked store can tell.
///
/// # Errors
/// None in practice: the name of a store's log is well formed.
pub(crate) fn verifier(store: StoreId, keys: &DataKeys) -> Result<VerifierKey, Failure> {
    Ok(VerifierKey::from_seed(
        &log_origin(store),
        keys.audit_seed().expose(),
    )?)
}

/// A store's audit log, open for appending.
///
/// # Errors
/// The log is missing, or is not the store's.
pub(crate) fn log(opener: &Opener, path: &Path, unlocked: &Unlocked) -> Result<AuditLog, Failure> {
    let store = unlocked.keyring.store_id();
    let dir = existing_log_dir(opener, path, store)?;
    let seed = unlocked.data_keys.audit_seed();
    let log = AuditLog::open_or_create(&dir, &log_origin(store), seed.expose(), opener.clock)?;
    Ok(log
        .with_actor(opener.actor.clone())
        .with_source(opener.source.clone()))
}

/// Where a store's audit log is.
///
/// # Errors
/// It is not there.
pub(crate) fn existing_log_dir(
    opener: &Opener,
    path: &Path,
    store: StoreId,
) -> Result<PathBuf, Failure> {
    match opener.log_dir(path, store) {
        Some(dir) if dir.is_dir() => Ok(dir),
        Some(dir) => Err(Error::AuditMissing { dir }.into()),
        None => Err(Failure::usage(
            "--audit none: this command needs the store's audit log",
        )),
    }
}
