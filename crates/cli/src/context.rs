//! What every command starts from: settings, vaults and how to answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cofferdam_keys::{KeyUri, Layer};
use cofferdam_sealed_file::Opener;
use cofferdam_vaults::Vaults;
use cofferdam_wiring::Settings;
use zeroize::Zeroizing;

use crate::args::Global;
use crate::failure::Failure;
use crate::terminal;

/// The command's surroundings.
pub(crate) struct Context {
    /// From the environment and the global options.
    pub(crate) settings: Settings,
    /// One set of vaults, which remembers what Argon2id made of a passphrase.
    pub(crate) vaults: Arc<Vaults>,
    /// The keys that were named on the command line, layer by layer.
    pub(crate) named: BTreeMap<Layer, KeyUri>,
    /// Whether to answer in JSON.
    pub(crate) json: bool,
    /// Whether passphrases are asked for.
    pub(crate) ask_passphrases: bool,
}

impl Context {
    /// # Errors
    /// A setting that cannot be understood.
    pub(crate) fn new(global: &Global) -> Result<Context, Failure> {
        let mut settings = Settings::from_environment()?;
        for (name, value) in [
            ("customer", &global.customer),
            ("infrastructure", &global.infrastructure),
            ("audit", &global.audit),
            ("pin", &global.pin),
        ] {
            if let Some(value) = value {
                settings
                    .set(name, value)
                    .map_err(|error| Failure::usage(format!("--{}: {}", error.name, error.what)))?;
            }
        }
        if global.passphrase {
            settings.passphrases = asking();
        }
        let vaults = Arc::new(settings.vaults());
        let mut named = BTreeMap::new();
        for (layer, option, key) in [
            (Layer::Customer, &global.customer, &settings.customer),
            (
                Layer::Infrastructure,
                &global.infrastructure,
                &settings.infrastructure,
            ),
        ] {
            if let (Some(_), Some(key)) = (option, key) {
                named.insert(layer, key.clone());
            }
        }
        Ok(Context {
            settings,
            vaults,
            named,
            json: global.json,
            ask_passphrases: global.passphrase,
        })
    }

    /// An opener for existing stores and, when a customer's key is given, new ones.
    ///
    /// # Errors
    /// Suite and keys that do not fit together.
    pub(crate) fn opener(&self) -> Result<Opener, Failure> {
        Ok(self.settings.opener_with(self.vaults.clone())?)
    }

    /// An opener for a store that is to come under the keys on the command line. Which keys it is under now, only the
    /// environment may say.
    ///
    /// # Errors
    /// As [`Context::opener`].
    pub(crate) fn opener_of_source(&self) -> Result<Opener, Failure> {
        let mut settings = self.settings.clone();
        let environment = Settings::from_environment()?;
        settings.customer = environment.customer;
        settings.infrastructure = environment.infrastructure;
        settings.suite = environment.suite;
        Ok(settings.opener_with(self.vaults.clone())?)
    }

    /// A key's name as it was typed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn key(&self, text: &str) -> Result<KeyUri, Failure> {
        cofferdam_wiring::key(text).map_err(Failure::usage)
    }
}

/// A path from the root, as logs and messages show it.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Asks once for each key, and not again for one that failed.
fn asking() -> cofferdam_vaults::PassphraseSource {
    let asked: Mutex<Vec<(KeyUri, Option<Zeroizing<String>>)>> = Mutex::new(Vec::new());
    Arc::new(move |key| {
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answer)) = asked.iter().find(|(known, _)| known == key) {
            return answer.clone();
        }
        let answer = terminal::passphrase(&format!("passphrase of {key}: ")).ok();
        asked.push((key.clone(), answer.clone()));
        answer
    })
}
