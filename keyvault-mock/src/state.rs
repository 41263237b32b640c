//! What is kept: every vault with its keys, sealed on disk.
//!
//! 1. A change counts when it is durable: it is tried on a copy, written, and then made.
//! 2. The file is replaced as a whole: a temporary file, synced, renamed over the old one, the directory synced. A
//!    crash leaves the old state or the new one.
//! 3. After a write that failed nothing is known of the disk, so no further change is taken until the server is
//!    started again.
//! 4. One server at a time has a directory.
//!
//! The bytes are in `docs/keyvault-mock.md`.

mod file;

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::vault::Vaults;
use file::StateFile;
pub use file::create_directory;

/// Why a state could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum StateError {
    /// The state file was altered, or belongs to another key file.
    Altered(String),
    /// Another server has the directory.
    InUse(String),
    /// A file could not be read or written.
    Io(String),
    /// The key file is missing while there is a state, or has another length.
    KeyFile(String),
}

impl fmt::Display for StateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (StateError::Altered(text)
        | StateError::InUse(text)
        | StateError::Io(text)
        | StateError::KeyFile(text)) = self;
        formatter.write_str(text)
    }
}

impl std::error::Error for StateError {}

/// The state of a server, in memory and, unless it is ephemeral, on disk.
pub struct Store(Mutex<Inner>);

struct Inner {
    kept: Kept,
    file: Option<StateFile>,
    failed: Option<String>,
}

/// What is written.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    vaults: Vaults,
    /// Backups are sealed under this, so that they come back to this server alone.
    backup_key: Zeroizing<Vec<u8>>,
    /// Principals and rights, which other modules keep here.
    authority: Value,
}

const BACKUP_KEY_LEN: usize = 32;

impl Store {
    /// The state in `directory`, which is made when there is none; without a directory, an ephemeral one.
    ///
    /// # Errors
    /// Altered or unreadable files, or another server that has them.
    pub fn open(directory: Option<&Path>) -> Result<Store, StateError> {
        let (file, kept) = match directory {
            None => (None, None),
            Some(directory) => {
                let file = StateFile::open(directory)?;
                let kept = match file.read()? {
                    None => None,
                    Some(bytes) => Some(serde_json::from_slice(&bytes).map_err(|error| {
                        StateError::Altered(format!(
                            "the state in {} has another form: {error}",
                            directory.display()
                        ))
                    })?),
                };
                (Some(file), kept)
            }
        };
        let kept = match kept {
            Some(kept) => kept,
            None => Kept {
                vaults: Vaults::default(),
                backup_key: new_backup_key()?,
                authority: Value::Null,
            },
        };
        Ok(Store(Mutex::new(Inner {
            kept,
            file,
            failed: None,
        })))
    }

    /// Looks at the vaults.
    pub fn read<R>(&self, look: impl FnOnce(&Vaults) -> R) -> R {
        look(&self.locked().kept.vaults)
    }

    /// Changes the vaults, durably or not at all.
    ///
    /// # Errors
    /// Those of `change`, after which nothing is changed, and a disk that does not take the new state.
    pub fn change<R>(
        &self,
        change: impl FnOnce(&mut Vaults) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        self.locked().replace(|kept| change(&mut kept.vaults))
    }

    /// What [`keep_authority`](Self::keep_authority) was given last; null in a new state.
    pub fn authority(&self) -> Value {
        self.locked().kept.authority.clone()
    }

    /// Keeps principals and rights.
    ///
    /// # Errors
    /// A disk that does not take the new state.
    pub fn keep_authority(&self, authority: Value) -> Result<(), Refusal> {
        self.locked().replace(|kept| {
            kept.authority = authority;
            Ok(())
        })
    }

    /// The key that backups are sealed under.
    pub(crate) fn backup_key(&self) -> Zeroizing<Vec<u8>> {
        self.locked().kept.backup_key.clone()
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        // A panic inside `change` leaves the old state, so the lock's poison says nothing about it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn replace<R>(
        &mut self,
        change: impl FnOnce(&mut Kept) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        if let Some(reason) = &self.failed {
            return Err(Refusal::not_durable(reason));
        }
        let mut next = self.kept.clone();
        let result = change(&mut next)?;
        if let Some(file) = &self.file {
            let bytes = serde_json::to_vec(&next).map(Zeroizing::new);
            let written = bytes
                .map_err(|error| error.to_string())
                .and_then(|bytes| file.write(&bytes));
            if let Err(reason) = written {
                let refusal = Refusal::not_durable(&reason);
                self.failed = Some(format!("{reason}; start the server again"));
                return Err(refusal);
            }
        }
        self.kept = next;
        Ok(result)
    }
}

fn new_backup_key() -> Result<Zeroizing<Vec<u8>>, StateError> {
    let mut key = Zeroizing::new(vec![0; BACKUP_KEY_LEN]);
    aws_lc_rs::rand::fill(&mut key)
        .map_err(|_| StateError::Io("the random generator failed".into()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Settings;

    fn with_vault(directory: &Path) {
        let store = Store::open(Some(directory)).unwrap();
        store
            .change(|vaults| {
                vaults.configure(Settings::new("kept"));
                Ok(())
            })
            .unwrap();
    }

    /// Goal: what was changed is there after a restart, and what was refused is not.
    #[test]
    fn changes_survive_and_refusals_do_not() {
        let directory = tempfile::tempdir().unwrap();
        with_vault(directory.path());
        let store = Store::open(Some(directory.path())).unwrap();
        let refused: Result<(), _> = store.change(|vaults| {
            vaults.configure(Settings::new("refused"));
            Err(Refusal::bad_parameter("no"))
        });
        assert!(refused.is_err());
        drop(store);
        let store = Store::open(Some(directory.path())).unwrap();
        assert!(
            store.read(|vaults| vaults.vault("kept").is_ok() && vaults.vault("refused").is_err())
        );
    }

    /// Goal: every byte of the file counts.
    #[test]
    fn every_altered_byte_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        with_vault(directory.path());
        let path = directory.path().join("state.sealed");
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(
                matches!(
                    Store::open(Some(directory.path())),
                    Err(StateError::Altered(_))
                ),
                "byte {at}"
            );
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(matches!(
            Store::open(Some(directory.path())),
            Err(StateError::Altered(_))
        ));
        std::fs::write(&path, &good).unwrap();
        assert!(Store::open(Some(directory.path())).is_ok());
    }

    /// Goal: a state whose key is gone is refused, not replaced by an empty one.
    #[test]
    fn a_missing_key_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        with_vault(directory.path());
        let key = directory.path().join("state.key");
        let bytes = std::fs::read(&key).unwrap();
        std::fs::remove_file(&key).unwrap();
        assert!(matches!(
            Store::open(Some(directory.path())),
            Err(StateError::KeyFile(_))
        ));
        std::fs::write(&key, &bytes[1..]).unwrap();
        assert!(matches!(
            Store::open(Some(directory.path())),
            Err(StateError::KeyFile(_))
        ));
        std::fs::write(&key, [7; 32]).unwrap();
        assert!(matches!(
            Store::open(Some(directory.path())),
            Err(StateError::Altered(_))
        ));
    }

    /// Goal: two servers never write one state.
    #[test]
    fn a_directory_has_one_server() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(Some(directory.path())).unwrap();
        assert!(matches!(
            Store::open(Some(directory.path())),
            Err(StateError::InUse(_))
        ));
        drop(first);
        assert!(Store::open(Some(directory.path())).is_ok());
    }

    /// Goal: a disk that fails once is not asked again, and nothing changes in memory either.
    #[test]
    fn after_a_failed_write_nothing_changes() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path())).unwrap();
        // A directory in the place of the temporary file makes the next write fail.
        let obstacle = directory.path().join("state.sealed.new");
        std::fs::create_dir(&obstacle).unwrap();
        for _ in 0..2 {
            let refused = store.change(|vaults| {
                vaults.configure(Settings::new("v"));
                Ok(())
            });
            assert_eq!(refused.unwrap_err().status, 500);
            assert!(store.read(|vaults| vaults.vault("v").is_err()));
            let _ = std::fs::remove_dir(&obstacle);
        }
    }

    /// Goal: nobody else reads the key, and no secret stands in the sealed file.
    #[cfg(unix)]
    #[test]
    fn the_key_file_is_the_owners() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        with_vault(directory.path());
        for name in ["state.key", "state.sealed"] {
            let mode = std::fs::metadata(directory.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let sealed = std::fs::read(directory.path().join("state.sealed")).unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"kept"));
    }
}
