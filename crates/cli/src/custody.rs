//! What a custodian does to a key file, each act in the log beside the file, or not at all.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_audit::{
    Action, AuditLog, Event, EventKey, KeyRole, KeyState, Outcome, Sink, VerifierKey,
};
use cofferdam_keys::{KeyUri, KeyVersion};
use cofferdam_vaults::{FileVault, Vaults, VaultsError, Which};

use crate::failure::Failure;
use crate::output::hex;

/// A key under its custodian's hand.
pub(crate) struct Custody {
    key: KeyUri,
    vault: Arc<FileVault>,
}

impl Custody {
    /// # Errors
    /// The key is in no file.
    pub(crate) fn of(vaults: &Vaults, key: &KeyUri) -> Result<Custody, Failure> {
        Ok(Custody {
            key: key.clone(),
            vault: vaults.file(key)?,
        })
    }

    /// The key in its file.
    pub(crate) fn vault(&self) -> &FileVault {
        &self.vault
    }

    /// Makes the key. A key whose making cannot be recorded is removed again: nothing was wrapped under it.
    ///
    /// # Errors
    /// The file exists, or file or log cannot be written.
    pub(crate) fn create(&self, passphrase: Option<&str>) -> Result<KeyVersion, Failure> {
        let dir = self.log_dir();
        let had_log = dir.exists();
        let now = cofferdam_wiring::now();
        let version = self.vault.create(passphrase, now)?;
        let recorded = self.log().and_then(|log| {
            let mut event = self.event(Action::KeyCreate, Outcome::Success, Some(&version));
            state(&mut event, None, Some(KeyState::Active));
            Ok(log.record(&event)?)
        });
        if let Err(failure) = recorded {
            if let Some(path) = self.key.file_path() {
                let _ = fs::remove_file(path);
            }
            if !had_log {
                let _ = fs::remove_dir_all(&dir);
            }
            return Err(unrecorded(failure));
        }
        Ok(version)
    }

    /// Adds a version.
    ///
    /// # Errors
    /// The vault's or the log's; nothing was changed then.
    pub(crate) fn rotate(&self) -> Result<KeyVersion, Failure> {
        let log = self.announce(Action::KeyRotate, None)?;
        let result = self.vault.rotate(cofferdam_wiring::now());
        let version = result.as_ref().ok().cloned();
        self.conclude(&log, Action::KeyRotate, version.as_ref(), result, |event| {
            state(event, None, Some(KeyState::Active));
        })
    }

    /// Disables or enables the key, or one version.
    ///
    /// # Errors
    /// The vault's or the log's; nothing was changed then.
    pub(crate) fn set_enabled(&self, which: &Which, enabled: bool) -> Result<(), Failure> {
        let (action, from, to) = if enabled {
            (Action::KeyEnable, KeyState::Suspended, KeyState::Active)
        } else {
            (Action::KeyDisable, KeyState::Active, KeyState::Suspended)
        };
        let version = match which {
            Which::Key => None,
            Which::Version(version) => Some(version),
        };
        let log = self.announce(action, version)?;
        let result = self.vault.set_enabled(which, enabled);
        self.conclude(&log, action, version, result, |event| {
            state(event, Some(from), Some(to));
        })
    }

    /// Where the log is.
    pub(crate) fn log_dir(&self) -> PathBuf {
        let path = self.key.file_path().unwrap_or("".as_ref());
        let mut name = path.as_os_str().to_owned();
        name.push("-audit");
        PathBuf::from(name)
    }

    /// The key that verifies the log.
    ///
    /// # Errors
    /// The key file cannot be opened.
    pub(crate) fn verifier(&self) -> Result<VerifierKey, Failure> {
        let seed = self.vault.audit_seed()?;
        Ok(VerifierKey::from_seed(&self.origin()?, seed.expose())?)
    }

    fn origin(&self) -> Result<String, Failure> {
        Ok(format!("cofferdam/key/{}", hex(&self.vault.key_id()?)))
    }

    fn log(&self) -> Result<AuditLog, Failure> {
        let seed = self.vault.audit_seed()?;
        let clock = cofferdam_wiring::now;
        let log = AuditLog::open_or_create(&self.log_dir(), &self.origin()?, seed.expose(), clock)?;
        Ok(log
            .with_actor(cofferdam_wiring::actor())
            .with_source(cofferdam_wiring::source()))
    }

    /// The intention is on record before anything happens.
    fn announce(&self, action: Action, version: Option<&KeyVersion>) -> Result<AuditLog, Failure> {
        // A refusal of the key itself is the better answer than one of its log.
        self.vault.key_id()?;
        let log = self.log().map_err(unrecorded)?;
        let event = self
            .event(Action::ApprovalRequested, Outcome::Success, version)
            .with_reason(action.name());
        log.record(&event)
            .map_err(|error| unrecorded(error.into()))?;
        Ok(log)
    }

    fn conclude<T>(
        &self,
        log: &AuditLog,
        action: Action,
        version: Option<&KeyVersion>,
        result: Result<T, VaultsError>,
        complete: impl FnOnce(&mut Event),
    ) -> Result<T, Failure> {
        match result {
            Ok(done) => {
                let mut event = self.event(action, Outcome::Success, version);
                complete(&mut event);
                log.record(&event).map_err(|error| {
                    Failure::refused(format!(
                        "it was done, and its announcement is in the audit log, but not its success: {error}"
                    ))
                })?;
                Ok(done)
            }
            Err(error) => {
                // The failure is what the custodian hears of; a log that fails as well adds nothing.
                let _ = log.record(&self.event(action, Outcome::Error, version));
                Err(error.into())
            }
        }
    }

    fn event(&self, action: Action, outcome: Outcome, version: Option<&KeyVersion>) -> Event {
        Event::new(action, outcome)
            .with_provider("file")
            .with_key(EventKey {
                uri: Some(self.key.to_string()),
                version: version.map(ToString::to_string),
                role: Some(KeyRole::Kek),
                bits: Some(256),
                ..EventKey::default()
            })
    }
}

fn state(event: &mut Event, before: Option<KeyState>, after: Option<KeyState>) {
    if let Some(key) = &mut event.key {
        key.state_before = before;
        key.state_after = after;
    }
}

fn unrecorded(failure: Failure) -> Failure {
    Failure {
        text: format!(
            "the audit log beside the key cannot be written, so nothing was changed: {}",
            failure.text
        ),
        ..failure
    }
}
