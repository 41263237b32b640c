//! A key in a file.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::key_wrap::KeyWrap;
use cofferdam_keys::{
    KeyDescription, KeyState, KeyUri, KeyVault, KeyVersion, NoSuchVault, Reason, Refusal,
    Revocation, Secret, UnixTime, VersionDescription, WRAPPED_ROOT_LEN, WrapAlgorithm, WrapContext,
    Wrapped,
};
use zeroize::Zeroize;

use crate::key_file::{KeyFile, KeyFileError, Protection, UncheckedKeyFile, Version, aes_kw};
use crate::passphrase::{Argon2Parameters, PASSPHRASE_LEN_MAX, PassphraseKey, PassphraseSource};
use crate::storage::{self, ReadError};
use crate::{VERSION_COUNT_MAX, VaultsError};

/// One key in a key file.
///
/// Every call reads the file again, so that a change by its custodian counts at once. Only what Argon2id made of the
/// passphrase is remembered, for as long as the file's salt and parameters stay the same.
///
/// What the file system says is told apart like this:
///
/// | The file | Refusal |
/// | --- | --- |
/// | is missing, or its directory is missing, or the directory or medium cannot be read | `Unreachable`: it may lie on a stick that is not there; a custodian who means *no* disables the key |
/// | is there, and this user may not read it | `Revoked(Permission)` |
/// | can be read or written by others than its owner | `PolicyMismatch`: `chmod 600` |
/// | has a passphrase that was not given, or another one | `AuthBroken` |
/// | is no key file, or does not authenticate | `Corrupt` |
/// | says that the key, or every version, is disabled | `Revoked(Disabled)` |
/// | says that the version is disabled, or has no such version | `Revoked(Version)` |
///
/// Custodian's actions change the file and record nothing: who calls them writes the audit log.
pub struct FileVault {
    key: KeyUri,
    passphrases: PassphraseSource,
    passphrase_key: Mutex<Option<Arc<PassphraseKey>>>,
}

/// What a custodian enables or disables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The whole key. Its versions keep their own states.
    Key,
    /// One version.
    Version(KeyVersion),
}

impl FileVault {
    /// The key at a path; nothing is read yet. The source of passphrases is asked while the key is locked, so it must
    /// not call the key itself.
    ///
    /// # Errors
    ///
    /// [`NoSuchVault`] when the name is not of the form `file:/PATH`.
    pub fn new(key: &KeyUri, passphrases: PassphraseSource) -> Result<Self, NoSuchVault> {
        match key.file_path() {
            Some(_) => Ok(Self {
                key: key.clone(),
                passphrases,
                passphrase_key: Mutex::new(None),
            }),
            None => Err(NoSuchVault { key: key.clone() }),
        }
    }

    /// Makes a new key with one version, which is durable when this returns.
    ///
    /// # Errors
    ///
    /// [`VaultsError::Exists`], [`VaultsError::PassphraseLength`], [`VaultsError::Random`], [`VaultsError::Storage`];
    /// [`VaultsError::Refused`] when the system does not give Argon2id its memory.
    pub fn create(
        &self,
        passphrase: Option<&str>,
        now: UnixTime,
    ) -> Result<KeyVersion, VaultsError> {
        let protection = passphrase.map(new_protection).transpose()?;
        let mut key_id = [0; 16];
        random(&mut key_id)?;
        let file = KeyFile {
            key_id,
            sequence: 1,
            state: KeyState::Enabled,
            protection,
            versions: vec![new_version(now)?],
        };
        let passphrase_key = passphrase
            .zip(protection)
            .map(|(text, protection)| self.derive(text, &protection));
        let bytes = file.encode(passphrase_key.transpose()?.as_ref());
        storage::create(self.path(), &bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => VaultsError::Exists {
                path: self.path().to_owned(),
            },
            _ => VaultsError::Storage {
                path: self.path().to_owned(),
                error,
            },
        })?;
        Ok(version_name(0))
    }

    /// Adds a version, which every wrap from then on uses. Older versions go on unwrapping.
    ///
    /// # Errors
    ///
    /// [`VaultsError::Full`], [`VaultsError::Random`], [`VaultsError::Refused`], [`VaultsError::Storage`].
    pub fn rotate(&self, now: UnixTime) -> Result<KeyVersion, VaultsError> {
        self.rewrite(None, |file| {
            if file.versions.len() >= VERSION_COUNT_MAX {
                return Err(VaultsError::Full);
            }
            file.versions.push(new_version(now)?);
            Ok(version_name(file.versions.len() - 1))
        })
    }

    /// Enables or disables the key or one version. Nothing is deleted.
    ///
    /// # Errors
    ///
    /// [`VaultsError::NoSuchVersion`], [`VaultsError::Refused`], [`VaultsError::Storage`].
    pub fn set_enabled(&self, which: &Which, enabled: bool) -> Result<(), VaultsError> {
        let state = if enabled {
            KeyState::Enabled
        } else {
            KeyState::Disabled
        };
        self.rewrite(None, |file| match which {
            Which::Key => {
                file.state = state;
                Ok(())
            }
            Which::Version(version) => {
                let index = version_index(version, file.versions.len());
                let index = index.ok_or_else(|| VaultsError::NoSuchVersion {
                    version: version.clone(),
                })?;
                file.versions[index].state = state;
                Ok(())
            }
        })
    }

    /// Gives the file another passphrase, or none. The keys stay the same: whoever has an old copy of the file and the
    /// old passphrase has them still.
    ///
    /// # Errors
    ///
    /// [`VaultsError::PassphraseLength`], [`VaultsError::Random`], [`VaultsError::Refused`], [`VaultsError::Storage`].
    pub fn change_passphrase(&self, passphrase: Option<&str>) -> Result<(), VaultsError> {
        let protection = passphrase.map(new_protection).transpose()?;
        let passphrase_key = passphrase
            .zip(protection)
            .map(|(text, protection)| self.derive(text, &protection));
        let passphrase_key = passphrase_key.transpose()?;
        self.rewrite(Some(passphrase_key.map(Arc::new)), |file| {
            file.protection = protection;
            Ok(())
        })
    }

    /// Whether the file has a passphrase. The answer is not authenticated.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] when the file cannot be read or is no key file.
    pub fn has_passphrase(&self) -> Result<bool, Refusal> {
        let bytes = storage::read(self.path()).map_err(|error| self.cannot_read(error))?;
        let unchecked = UncheckedKeyFile::parse(&bytes).map_err(|error| self.cannot_open(error))?;
        Ok(unchecked.protection().is_some())
    }

    /// The key's random name for itself, which stays for its life.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] when the file cannot be read or does not authenticate.
    pub fn key_id(&self) -> Result<[u8; 16], Refusal> {
        self.load().map(|file| file.key_id)
    }

    /// The Ed25519 seed of the log that the key's custodians write to (format section 8). A disabled key gives it
    /// too: that it was disabled has to be recorded.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] when the file cannot be read or does not authenticate.
    pub fn audit_seed(&self) -> Result<Secret<32>, Refusal> {
        self.load().map(|file| file.audit_seed())
    }

    fn path(&self) -> &Path {
        self.key.file_path().expect("`new` saw a path")
    }

    fn load(&self) -> Result<KeyFile, Refusal> {
        let bytes = storage::read(self.path()).map_err(|error| self.cannot_read(error))?;
        self.open(&bytes).map(|(file, _)| file)
    }

    fn open(&self, bytes: &[u8]) -> Result<(KeyFile, Option<Arc<PassphraseKey>>), Refusal> {
        let unchecked = UncheckedKeyFile::parse(bytes).map_err(|error| self.cannot_open(error))?;
        let Some(protection) = unchecked.protection() else {
            return unchecked
                .open(None)
                .map(|file| (file, None))
                .map_err(|error| self.cannot_open(error));
        };
        // Held while Argon2id runs, so that a thousand callers wait for one run.
        let mut remembered = self
            .passphrase_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = match remembered.as_ref().filter(|key| key.is_for(protection)) {
            Some(key) => Arc::clone(key),
            None => Arc::new(self.ask(protection)?),
        };
        let file = unchecked
            .open(Some(&key))
            .map_err(|error| self.cannot_open(error))?;
        *remembered = Some(Arc::clone(&key));
        Ok((file, Some(key)))
    }

    fn ask(&self, protection: &Protection) -> Result<PassphraseKey, Refusal> {
        match (self.passphrases)(&self.key) {
            Some(passphrase) if (1..=PASSPHRASE_LEN_MAX).contains(&passphrase.len()) => {
                self.derive(&passphrase, protection)
            }
            Some(_) => Err(self.refuse(Reason::AuthBroken, "the passphrase is empty or too long")),
            None => Err(self.refuse(
                Reason::AuthBroken,
                "the key file has a passphrase and none was given",
            )),
        }
    }

    fn derive(&self, passphrase: &str, protection: &Protection) -> Result<PassphraseKey, Refusal> {
        PassphraseKey::derive(passphrase, protection).ok_or_else(|| {
            let kib = protection.parameters.memory_kib();
            self.refuse(
                Reason::Unreachable,
                &format!("the system does not give the {kib} KiB that Argon2id needs"),
            )
        })
    }

    /// Reads, edits and replaces the file while nobody else does. `new_key` takes the place of the file's passphrase key.
    fn rewrite<T>(
        &self,
        new_key: Option<Option<Arc<PassphraseKey>>>,
        edit: impl FnOnce(&mut KeyFile) -> Result<T, VaultsError>,
    ) -> Result<T, VaultsError> {
        let opened =
            storage::open_exclusively(self.path()).map_err(|error| self.cannot_read(error))?;
        let (mut file, old_key) = self.open(&opened.bytes)?;
        let result = edit(&mut file)?;
        file.sequence = file.sequence.checked_add(1).ok_or(VaultsError::Full)?;
        let key = new_key.unwrap_or(old_key);
        let bytes = file.encode(key.as_deref());
        storage::replace(self.path(), &bytes).map_err(|error| VaultsError::Storage {
            path: self.path().to_owned(),
            error,
        })?;
        *self
            .passphrase_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = key;
        Ok(result)
    }

    fn cannot_read(&self, error: ReadError) -> Refusal {
        match error {
            ReadError::Forbidden(error) => {
                self.refuse(Reason::Revoked(Revocation::Permission), &error.to_string())
            }
            ReadError::NotAKeyFile => self.refuse(Reason::Corrupt, "it is no key file"),
            ReadError::NotThere(error) => self.refuse(
                Reason::Unreachable,
                &format!("{error}; is its medium mounted?"),
            ),
            ReadError::Open { mode } => {
                let path = self.path().display();
                let detail = format!(
                    "others than its owner can reach the file, its mode is {mode:o}: chmod 600 {path}"
                );
                self.refuse(Reason::PolicyMismatch, &detail)
            }
        }
    }

    fn cannot_open(&self, error: KeyFileError) -> Refusal {
        match error {
            KeyFileError::Altered => {
                self.refuse(Reason::Corrupt, "the key file was damaged or altered")
            }
            KeyFileError::Protection => self.refuse(
                Reason::AuthBroken,
                "the key file wants a passphrase, or none",
            ),
            KeyFileError::Structure { field } => {
                self.refuse(Reason::Corrupt, &format!("it is no key file: {field}"))
            }
            KeyFileError::WrongPassphrase => {
                self.refuse(Reason::AuthBroken, "this is not the key file's passphrase")
            }
        }
    }

    fn refuse(&self, reason: Reason, detail: &str) -> Refusal {
        Refusal {
            reason,
            key: self.key.clone(),
            version: None,
            detail: detail.to_owned(),
            retry_after: None,
        }
    }
}

impl KeyVault for FileVault {
    fn describe(&self) -> Result<KeyDescription, Refusal> {
        let file = self.load()?;
        Ok(KeyDescription {
            key: self.key.clone(),
            kind: "AES-256".to_owned(),
            strength_bits: 256,
            state: file.state,
            created_at: file.versions.first().map(|version| at(version.created_at)),
            version_count: file.versions.len(),
            latest: latest(&file).map(version_name),
            not_before: None,
            expires_at: None,
            recovery: None,
            operations: None,
            vault_time: None,
        })
    }

    fn wrap(
        &self,
        root: &Secret<WRAPPED_ROOT_LEN>,
        _context: &WrapContext,
    ) -> Result<Wrapped, Refusal> {
        let disabled = |detail| self.refuse(Reason::Revoked(Revocation::Disabled), detail);
        let file = self.load()?;
        if file.state != KeyState::Enabled {
            return Err(disabled("its custodian disabled it"));
        }
        let index = latest(&file).ok_or_else(|| disabled("all its versions are disabled"))?;
        let mut blob = vec![0; BLOB_LEN];
        let len = aes_kw(&file.versions[index].kek)
            .wrap(root.expose(), &mut blob)
            .expect("80 bytes wrap to 88")
            .len();
        assert_eq!(len, BLOB_LEN);
        Ok(Wrapped {
            version: version_name(index),
            algorithm: WrapAlgorithm::Aes256Kw,
            blob,
        })
    }

    fn unwrap(
        &self,
        wrapped: &Wrapped,
        _context: &WrapContext,
    ) -> Result<Secret<WRAPPED_ROOT_LEN>, Refusal> {
        let refuse = |reason, detail: &str| Refusal {
            version: Some(wrapped.version.clone()),
            ..self.refuse(reason, detail)
        };
        let file = self.load().map_err(|refusal| Refusal {
            version: Some(wrapped.version.clone()),
            ..refusal
        })?;
        if file.state != KeyState::Enabled {
            return Err(refuse(
                Reason::Revoked(Revocation::Disabled),
                "its custodian disabled it",
            ));
        }
        let Some(index) = version_index(&wrapped.version, file.versions.len()) else {
            let detail = format!("the key file has versions 1 to {}", file.versions.len());
            return Err(refuse(Reason::Revoked(Revocation::Version), &detail));
        };
        let version = &file.versions[index];
        if version.state != KeyState::Enabled {
            return Err(refuse(
                Reason::Revoked(Revocation::Version),
                "the key's custodian disabled the version",
            ));
        }
        unwrap_root(&version.kek, wrapped).ok_or_else(|| {
            refuse(
                Reason::Corrupt,
                "this version did not make these bytes, or they were altered",
            )
        })
    }

    fn versions(&self) -> Result<Vec<VersionDescription>, Refusal> {
        let file = self.load()?;
        let versions =
            file.versions
                .iter()
                .enumerate()
                .map(|(index, version)| VersionDescription {
                    version: version_name(index),
                    state: version.state,
                    created_at: Some(at(version.created_at)),
                    not_before: None,
                    expires_at: None,
                });
        Ok(versions.collect())
    }
}

fn unwrap_root(kek: &Secret<32>, wrapped: &Wrapped) -> Option<Secret<WRAPPED_ROOT_LEN>> {
    if wrapped.algorithm != WrapAlgorithm::Aes256Kw || wrapped.blob.len() != BLOB_LEN {
        return None;
    }
    // The module wants room for the integrity block too.
    let mut room = [0; BLOB_LEN];
    let root = match aes_kw(kek).unwrap(&wrapped.blob, &mut room) {
        Ok(root) if root.len() == WRAPPED_ROOT_LEN => {
            Some(Secret::fill_with(|place| place.copy_from_slice(root)))
        }
        _ => None,
    };
    room.zeroize();
    root
}

fn new_protection(passphrase: &str) -> Result<Protection, VaultsError> {
    if !(1..=PASSPHRASE_LEN_MAX).contains(&passphrase.len()) {
        return Err(VaultsError::PassphraseLength {
            len: passphrase.len(),
        });
    }
    let mut salt = [0; 24];
    random(&mut salt)?;
    Ok(Protection {
        parameters: Argon2Parameters::RECOMMENDED,
        salt,
    })
}

fn new_version(now: UnixTime) -> Result<Version, VaultsError> {
    let kek = Secret::random().map_err(|_| VaultsError::Random)?;
    Ok(Version {
        state: KeyState::Enabled,
        created_at: now.seconds,
        kek,
    })
}

fn random(bytes: &mut [u8]) -> Result<(), VaultsError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| VaultsError::Random)
}

fn latest(file: &KeyFile) -> Option<usize> {
    file.versions
        .iter()
        .rposition(|version| version.state == KeyState::Enabled)
}

/// Versions are named 1, 2, 3…
fn version_name(index: usize) -> KeyVersion {
    (index + 1)
        .to_string()
        .parse()
        .expect("digits name a version")
}

/// The one spelling that `version_name` gives, or nothing.
fn version_index(version: &KeyVersion, version_count: usize) -> Option<usize> {
    (0..version_count).find(|&index| version_name(index) == *version)
}

fn at(seconds: u64) -> UnixTime {
    UnixTime { seconds, nanos: 0 }
}

const BLOB_LEN: usize = WRAPPED_ROOT_LEN + 8;
