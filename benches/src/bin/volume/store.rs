//! What is compared: a directory of the system, and volumes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cofferdam_cipher::PageSize;
use cofferdam_keys::{KeyUri, Suite};
use cofferdam_sealed_file::{
    Error, FileDirectory, Homing, Volume, VolumeFile, VolumeSetup, VolumeStatistics,
};
use cofferdam_vaults::Vaults;
use cofferdam_wiring::{Settings, monotonic, now};

use crate::{Outcome, make};

/// The plain one, then those with one and two layers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Sealed(Suite),
}

impl Kind {
    pub(crate) const ALL: [Kind; 4] = [
        Kind::Plain,
        Kind::Sealed(Suite::One),
        Kind::Sealed(Suite::Three),
        Kind::Sealed(Suite::Two),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Sealed(Suite::One) => "suite 1",
            Kind::Sealed(Suite::Two) => "suite 2",
            Kind::Sealed(Suite::Three) => "suite 3",
        }
    }
}

pub(crate) enum Store {
    Plain(PathBuf),
    Sealed(Volume),
}

impl Store {
    /// An empty one in a directory that is made.
    pub(crate) fn new(kind: Kind, path: &Path) -> Outcome<Store> {
        make(path)?;
        Ok(match kind {
            Kind::Plain => Store::Plain(path.to_owned()),
            Kind::Sealed(suite) => Store::Sealed(volume(suite, path)?),
        })
    }

    pub(crate) fn file(&self, name: &str) -> Outcome<Bytes> {
        Ok(match self {
            Store::Plain(path) => {
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false);
                Bytes::Plain(options.open(path.join(name))?)
            }
            Store::Sealed(volume) => Bytes::Sealed(match volume.open_file(name.as_bytes()) {
                Err(Error::NoSuchFile) => volume.create_file(name.as_bytes())?,
                result => result?,
            }),
        })
    }

    pub(crate) fn statistics(&self) -> Option<VolumeStatistics> {
        match self {
            Store::Plain(_) => None,
            Store::Sealed(volume) => Some(volume.statistics()),
        }
    }
}

pub(crate) enum Bytes {
    Plain(File),
    Sealed(VolumeFile),
}

impl Bytes {
    pub(crate) fn read_at(&self, bytes: &mut [u8], offset: u64) -> Outcome<()> {
        match self {
            Bytes::Plain(file) => file.read_exact_at(bytes, offset)?,
            Bytes::Sealed(file) => assert_eq!(file.read_at(bytes, offset)?, bytes.len()),
        }
        Ok(())
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Outcome<()> {
        match self {
            Bytes::Plain(file) => file.write_all_at(bytes, offset)?,
            Bytes::Sealed(file) => file.write_at(bytes, offset)?,
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Outcome<()> {
        match self {
            Bytes::Plain(file) => file.sync_data()?,
            Bytes::Sealed(file) => file.sync()?,
        }
        Ok(())
    }
}

/// A volume as the command makes it, but for an audit log.
pub(crate) fn volume(suite: Suite, path: &Path) -> Outcome<Volume> {
    let vaults = Arc::new(Vaults::without_passphrases());
    let key = |name: &str| -> Outcome<KeyUri> {
        let key = KeyUri::from_file_path(&path.join(name))?;
        vaults.file(&key)?.create(None, now())?;
        Ok(key)
    };
    let settings = Settings {
        customer: Some(key("customer.key")?),
        infrastructure: match suite.layer_count() {
            1 => None,
            _ => Some(key("infrastructure.key")?),
        },
        suite: Some(suite),
        ..Settings::default()
    };
    let path = path.join("volume");
    let setup = VolumeSetup {
        directory: Arc::new(FileDirectory::create(&path)?),
        path: path.join("keyring"),
        opener: Arc::new(settings.opener_with(vaults)?),
        journal_len: 16 << 20,
        homing: Homing::InBackground,
        accept_damage: false,
        holder: "a bench".to_owned(),
        monotonic,
    };
    Volume::init(&setup, PageSize::try_from(8192)?)?;
    Ok(Volume::open(&setup)?)
}
