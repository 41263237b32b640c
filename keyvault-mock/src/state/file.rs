//! The two files of a state: `state.key`, 32 random bytes, and `state.sealed`, AES-256-GCM under them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::StateError;

/// Format 1. It is authenticated with the rest.
const MAGIC: &[u8; 8] = b"KVMOCK\x00\x01";
const KEY_LEN: usize = 32;
const KEY_NAME: &str = "state.key";
const SEALED_NAME: &str = "state.sealed";
const NEW_NAME: &str = "state.sealed.new";
const LOCK_NAME: &str = "state.lock";

/// The files in one directory, held for one server.
pub(super) struct StateFile {
    directory: PathBuf,
    key: LessSafeKey,
    /// Held as long as this value lives.
    _lock: File,
}

impl StateFile {
    pub(super) fn open(directory: &Path) -> Result<StateFile, StateError> {
        create_directory(directory)?;
        let lock = lock(directory)?;
        let key_path = directory.join(KEY_NAME);
        let sealed_path = directory.join(SEALED_NAME);
        let bytes = match read_key(&key_path)? {
            Some(bytes) => bytes,
            None if sealed_path.exists() => {
                return Err(StateError::KeyFile(format!(
                    "{} is there, but its key file {} is not: put the key file back, or remove the state to begin anew",
                    sealed_path.display(),
                    key_path.display()
                )));
            }
            None => new_key(directory, &key_path)?,
        };
        let key = UnboundKey::new(&AES_256_GCM, &bytes)
            .map_err(|_| StateError::KeyFile(format!("{} cannot be used", key_path.display())))?;
        Ok(StateFile {
            directory: directory.to_owned(),
            key: LessSafeKey::new(key),
            _lock: lock,
        })
    }

    /// The state, unless there is none yet.
    pub(super) fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
        let path = self.directory.join(SEALED_NAME);
        let sealed = match fs::read(&path) {
            Ok(sealed) => sealed,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&path, &error)),
        };
        self.opened(&sealed).map(Some).ok_or_else(|| {
            StateError::Altered(format!(
                "{} was altered, is cut off, or belongs to another {KEY_NAME}: restore both files from one backup",
                path.display()
            ))
        })
    }

    fn opened(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let rest = sealed.strip_prefix(MAGIC)?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(MAGIC), &mut bytes)
            .ok()?
            .len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// Puts `bytes` in the place of the state, durably. The error is said in words.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), String> {
        let failed = |what: &str| format!("{what} failed");
        let mut nonce = [0; NONCE_LEN];
        // 96 random bits for each write; far fewer than 2^32 writes are made under one key file.
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| failed("the random generator"))?;
        let mut sealed = bytes.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(MAGIC),
                &mut sealed,
            )
            .map_err(|_| failed("sealing"))?;
        let new = self.directory.join(NEW_NAME);
        let place = self.directory.join(SEALED_NAME);
        let write = || -> std::io::Result<()> {
            let mut file = private(&new, true)?;
            file.write_all(MAGIC)?;
            file.write_all(&nonce)?;
            file.write_all(&sealed)?;
            file.sync_all()?;
            fs::rename(&new, &place)?;
            sync_directory(&self.directory)
        };
        write().map_err(|error| format!("writing {}: {error}", place.display()))
    }
}

/// Makes the directory of a state, for its owner alone. One that is there stays as it is.
///
/// # Errors
/// It cannot be made.
pub fn create_directory(directory: &Path) -> Result<(), StateError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder
        .create(directory)
        .map_err(|error| io(directory, &error))
}

fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.join(LOCK_NAME);
    let file = private(&path, true).map_err(|error| io(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse(format!(
            "another server has the state in {}",
            directory.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io(&path, &error)),
    }
}

fn read_key(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StateError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(path, &error)),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LEN + 1));
    file.take(KEY_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| io(path, &error))?;
    if bytes.len() != KEY_LEN {
        return Err(StateError::KeyFile(format!(
            "{} does not have {KEY_LEN} bytes: put the right key file back",
            path.display()
        )));
    }
    Ok(Some(bytes))
}

fn new_key(directory: &Path, path: &Path) -> Result<Zeroizing<Vec<u8>>, StateError> {
    let mut bytes = Zeroizing::new(vec![0; KEY_LEN]);
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| StateError::Io("the random generator failed".into()))?;
    let write = || -> std::io::Result<()> {
        let mut file = private(path, false)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        sync_directory(directory)
    };
    write().map_err(|error| io(path, &error))?;
    Ok(bytes)
}

/// A file that its owner alone can read.
fn private(path: &Path, replace: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(replace)
        .truncate(replace)
        .create_new(!replace);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn io(path: &Path, error: &std::io::Error) -> StateError {
    StateError::Io(format!("{}: {error}", path.display()))
}
