//! Where the story takes place: a directory, two vaults and openers, wired like the commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use cofferdam_keys::{KeyUri, Lease, LeasePolicy};
use cofferdam_sealed_file::Opener;
use cofferdam_sqlite::{Sealed, clear_last_error, last_error};
use cofferdam_vaults::Vaults;
use cofferdam_wiring::{Azure, Settings};
use rusqlite::Connection;
use tempfile::TempDir;

use super::cloud::Cloud;
use crate::drill::lease_of;
use crate::failure::Failure;

/// The stage.
pub(super) struct Stage {
    pub(super) cloud: Cloud,
    pub(super) settings: Settings,
    pub(super) customer: KeyUri,
    pub(super) infrastructure: KeyUri,
    vaults: Arc<Vaults>,
    application: Option<Application>,
    root: PathBuf,
    dir: Option<TempDir>,
}

/// The program that uses the database, for as long as the story lasts.
struct Application {
    opener: Arc<Opener>,
    sealed: Sealed,
}

impl Stage {
    pub(super) fn build() -> Result<Stage, Failure> {
        let dir = tempfile::Builder::new()
            .prefix("cofferdam-demo-")
            .tempdir()
            .map_err(|error| Failure::refused(format!("a temporary directory: {error}")))?;
        let root = dir.path().to_owned();
        let cloud = Cloud::start(&root)?;
        let customer = cloud.key(&cloud.customer)?;
        let infrastructure = cloud.key(&cloud.infrastructure)?;
        let settings = Settings {
            customer: Some(customer.clone()),
            infrastructure: Some(infrastructure.clone()),
            audit_required: true,
            lease: LeasePolicy {
                probe_interval: PROBE_INTERVAL,
                outage_grace: OUTAGE_GRACE,
                ..LeasePolicy::default()
            },
            azure: Azure {
                customer: cloud.login(&cloud.customer),
                infrastructure: cloud.login(&cloud.infrastructure),
            },
            ..Settings::default()
        };
        Ok(Stage {
            vaults: Arc::new(settings.vaults()),
            cloud,
            settings,
            customer,
            infrastructure,
            application: None,
            root,
            dir: Some(dir),
        })
    }

    /// What a fresh process would open with.
    pub(super) fn opener(&self) -> Result<Opener, Failure> {
        Ok(self.settings.opener_with(self.vaults.clone())?)
    }

    /// Starts the program that uses the database, with the settings as they are.
    pub(super) fn start_application(&mut self) -> Result<(), Failure> {
        let opener = Arc::new(self.opener()?);
        let sealed = Sealed::new(opener.clone())?;
        self.application = Some(Application { opener, sealed });
        Ok(())
    }

    pub(super) fn sealed(&self) -> Result<&Sealed, Failure> {
        Ok(&self.application()?.sealed)
    }

    /// The lease of the database, which is open.
    pub(super) fn lease(&self) -> Result<Arc<Lease>, Failure> {
        lease_of(&self.application()?.opener, &self.sealed_path())
    }

    fn application(&self) -> Result<&Application, Failure> {
        self.application
            .as_ref()
            .ok_or_else(|| Failure::refused("nobody has started the program yet"))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.root
    }

    pub(super) fn plain_path(&self) -> PathBuf {
        self.root.join("plain.db")
    }

    pub(super) fn sealed_path(&self) -> PathBuf {
        self.root.join("sealed.db")
    }

    pub(super) fn log_dir(&self) -> PathBuf {
        self.root.join("sealed.db-audit")
    }

    /// Opens the sealed database as an application does.
    pub(super) fn open(&self) -> Result<Connection, Failure> {
        Ok(self.sealed()?.open(self.sealed_path())?)
    }

    pub(super) fn clear(&mut self, keep: bool) {
        if let Some(dir) = self.dir.take()
            && keep
        {
            let _ = dir.keep();
        }
    }
}

/// A query that may fail in the layer, whose words are better than SQLite's number.
pub(super) fn ask<T>(query: impl FnOnce() -> rusqlite::Result<T>) -> Result<T, Failure> {
    clear_last_error();
    query().map_err(|error| {
        let failure = Failure::from(error);
        match last_error() {
            Some(text) => failure.saying(text),
            None => failure,
        }
    })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(Failure::io(path))
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

pub(super) fn contains(bytes: &[u8], needle: &str) -> bool {
    bytes
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

/// Copies a directory of files and directories.
pub(super) fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Every file below a directory.
pub(super) fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// Five times a second instead of once a minute, so that nobody has to wait.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(200);
pub(super) const OUTAGE_GRACE: Duration = Duration::from_secs(60);
