//! From the environment and the clock to an [`Opener`]: what the command and the loadable extension share.
//!
//! With the command's own code, this is the only place that reads the environment and the clock.
//!
//! | Variable | Meaning |
//! | --- | --- |
//! | `COFFERDAM_CUSTOMER` | the customer's key, for new databases, and the only one accepted for existing ones |
//! | `COFFERDAM_INFRASTRUCTURE` | the same for the second layer |
//! | `COFFERDAM_SUITE` | 1, 2 or 3, for new databases; default 1, or 2 with an infrastructure key |
//! | `COFFERDAM_AUDIT` | a directory below which audit logs are, or `none`; default: beside each database |
//! | `COFFERDAM_AUDIT_REQUIRED` | `1`: a database without its audit log is refused |
//! | `COFFERDAM_PIN` | for keys of RSA: the pins of the databases that may be opened, separated by commas, or `none` to trust the disk |
//! | `COFFERDAM_PROBE_INTERVAL` | seconds between two questions to the vaults; default 60 |
//! | `COFFERDAM_OUTAGE_GRACE` | seconds for which an open database is served while a vault cannot be reached; default 600 |
//! | `COFFERDAM_REVOKE_DEADLINE` | seconds after which a vault's *no* counts although it could not be confirmed; default 60 |
//! | `COFFERDAM_PASSPHRASE`, `COFFERDAM_PASSPHRASE_FILE` | the passphrase of key files that have one |
//! | `AZURE_…`, `IDENTITY_…`, `SSL_CERT_FILE`, `COFFERDAM_INFRASTRUCTURE_AZURE_…` | who we are to vaults in Azure, see [`Azure`] |

mod azure;

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cofferdam_audit::{Actor, ActorKind, Source, UnixTime};
use cofferdam_keys::{KeyUri, KeyVersion, Layer, LeasePolicy, LeaseTerms, Leases, Pins, Suite};
use cofferdam_sealed_file::{AuditPlace, NewStore, Opener, Recorded};
use cofferdam_vaults::{PassphraseSource, Vaults};
use zeroize::Zeroizing;

pub use azure::Azure;

/// What an opener is made from.
#[derive(Clone)]
pub struct Settings {
    /// The customer's key.
    pub customer: Option<KeyUri>,
    /// The one version of it to wrap under; `None` follows rotations.
    pub customer_version: Option<KeyVersion>,
    /// The infrastructure's key.
    pub infrastructure: Option<KeyUri>,
    /// The one version of it to wrap under; `None` follows rotations.
    pub infrastructure_version: Option<KeyVersion>,
    /// The suite of new databases; `None`: by the number of keys.
    pub suite: Option<Suite>,
    /// Where audit logs are.
    pub audit: AuditPlace,
    /// Whether a database without its audit log is refused.
    pub audit_required: bool,
    /// Whether databases under one layer get room for a second.
    pub room_for_second_layer: bool,
    /// Where passphrases come from.
    pub passphrases: PassphraseSource,
    /// How long keys stay in memory on what answer.
    pub lease: LeasePolicy,
    /// Who we are to vaults in Azure.
    pub azure: Azure,
    /// What tells the right roots where their wraps do not.
    pub pin: Pin,
}

/// What tells the right roots where their wraps do not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// Nothing but an audit log that is kept apart.
    #[default]
    Unknown,
    /// Commitments to the roots of the databases that may be opened.
    These(Vec<[u8; 32]>),
    /// Whatever the disk says.
    TrustTheDisk,
}

/// A setting that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The variable or parameter.
    pub name: String,
    /// What is wrong and what is allowed.
    pub what: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

impl std::error::Error for SettingError {}

impl Default for Settings {
    /// What holds where nothing is said: no keys, the audit log beside each database, no passphrases and no logins.
    fn default() -> Settings {
        Settings {
            customer: None,
            customer_version: None,
            infrastructure: None,
            infrastructure_version: None,
            suite: None,
            audit: AuditPlace::Beside,
            audit_required: false,
            room_for_second_layer: true,
            passphrases: Arc::new(|_| None),
            lease: LeasePolicy::default(),
            azure: Azure::default(),
            pin: Pin::Unknown,
        }
    }
}

impl Settings {
    /// The settings that the environment makes.
    ///
    /// # Errors
    /// [`SettingError`] for a variable that is set and cannot be understood.
    pub fn from_environment() -> Result<Settings, SettingError> {
        let mut settings = Settings {
            audit_required: env::var_os("COFFERDAM_AUDIT_REQUIRED").is_some_and(|v| v == "1"),
            passphrases: Arc::new(|_| passphrase_from_environment()),
            lease: lease_from_environment()?,
            azure: Azure::from_environment()?,
            ..Settings::default()
        };
        for name in ["customer", "infrastructure", "suite", "audit", "pin"] {
            let variable = format!("COFFERDAM_{}", name.to_ascii_uppercase());
            match env::var(&variable) {
                Ok(value) => settings.set(name, &value).map_err(|error| SettingError {
                    name: variable,
                    ..error
                })?,
                Err(env::VarError::NotPresent) => {}
                Err(env::VarError::NotUnicode(_)) => {
                    return Err(SettingError {
                        name: variable,
                        what: "is not UTF-8".to_owned(),
                    });
                }
            }
        }
        Ok(settings)
    }

    /// Changes one setting, by its name in lower case without prefix: `customer`, `infrastructure`, `suite`, `audit`, `pin`.
    ///
    /// # Errors
    /// [`SettingError`] when the name or the value is unknown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let wrong = |what: String| SettingError {
            name: name.to_owned(),
            what,
        };
        match name {
            "customer" => {
                let (key, version) = key_and_version(value).map_err(wrong)?;
                (self.customer, self.customer_version) = (Some(key), version);
            }
            "infrastructure" => {
                let (key, version) = key_and_version(value).map_err(wrong)?;
                (self.infrastructure, self.infrastructure_version) = (Some(key), version);
            }
            "suite" => {
                let number = value
                    .parse()
                    .map_err(|_| wrong(format!("{value:?} is no suite; allowed are 1, 2 and 3")))?;
                self.suite =
                    Some(Suite::from_number(number).map_err(|error| wrong(error.to_string()))?);
            }
            "pin" => self.pin = pin(value).map_err(wrong)?,
            "audit" if value == "none" => self.audit = AuditPlace::Nowhere,
            "audit" if value.is_empty() => {
                return Err(wrong("is empty; name a directory, or say none".to_owned()));
            }
            "audit" => self.audit = AuditPlace::Below(PathBuf::from(value)),
            _ => return Err(wrong("is no setting".to_owned())),
        }
        Ok(())
    }

    /// As [`Settings::set`], for what comes with a database's name: it may add to the settings, and not change them.
    ///
    /// # Errors
    /// [`SettingError`] also when the setting has another value.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
        let mut changed = self.clone();
        changed.set(name, value)?;
        let keeps = match name {
            "customer" => {
                let same = self.customer_version == changed.customer_version;
                self.customer.is_none() || self.customer == changed.customer && same
            }
            "infrastructure" => {
                let same = self.infrastructure_version == changed.infrastructure_version;
                self.infrastructure.is_none()
                    || self.infrastructure == changed.infrastructure && same
            }
            "suite" => self.suite.is_none() || self.suite == changed.suite,
            "pin" => self.pin == Pin::Unknown || self.pin == changed.pin,
            _ => {
                let free = self.audit == AuditPlace::Beside && !self.audit_required;
                free || self.audit == changed.audit
            }
        };
        if !keeps {
            return Err(SettingError {
                name: name.to_owned(),
                what: "is set otherwise in the environment, which a database's name cannot change"
                    .to_owned(),
            });
        }
        *self = changed;
        Ok(())
    }

    /// The suite of new databases.
    ///
    /// # Errors
    /// [`SettingError`] when suite and keys do not fit together.
    pub fn suite(&self) -> Result<Suite, SettingError> {
        let suite = match (self.suite, &self.infrastructure) {
            (Some(suite), _) => suite,
            (None, Some(_)) => Suite::Two,
            (None, None) => Suite::One,
        };
        let wrong = |what: &str| SettingError {
            name: "suite".to_owned(),
            what: what.to_owned(),
        };
        match (suite.layer_count(), &self.infrastructure) {
            (2, None) => Err(wrong(
                "has two layers and needs an infrastructure key as well",
            )),
            (1, Some(_)) => Err(wrong(
                "1 has one layer, and there is an infrastructure key; choose 2 or 3, or leave the key out",
            )),
            _ => Ok(suite),
        }
    }

    /// Makes the opener.
    ///
    /// # Errors
    /// As [`Settings::suite`].
    pub fn opener(&self) -> Result<Opener, SettingError> {
        self.opener_with(Arc::new(self.vaults()))
    }

    /// The vaults, with the passphrases and identities of these settings.
    #[must_use]
    pub fn vaults(&self) -> Vaults {
        Vaults::new(self.passphrases.clone()).with_azure(azure::source(self), now)
    }

    /// The same with vaults that exist already.
    ///
    /// # Errors
    /// As [`Settings::suite`].
    pub fn opener_with(&self, vaults: Arc<Vaults>) -> Result<Opener, SettingError> {
        let mut pins = Pins::none();
        if let Some(key) = &self.customer {
            pins = pins.with(Layer::Customer, key.clone());
        }
        if let Some(key) = &self.infrastructure {
            pins = pins.with(Layer::Infrastructure, key.clone());
        }
        match &self.pin {
            Pin::Unknown => {}
            Pin::TrustTheDisk => pins = pins.with_any_commitment(),
            Pin::These(commitments) => {
                for &commitment in commitments {
                    pins = pins.with_commitment(commitment);
                }
            }
        }
        let new_store = match &self.customer {
            Some(customer) => Some(NewStore {
                suite: self.suite()?,
                customer: customer.clone(),
                infrastructure: self.infrastructure.clone(),
                room_for_second_layer: self.room_for_second_layer,
            }),
            None => None,
        };
        Ok(Opener {
            vaults,
            pins,
            new_store,
            audit: self.audit.clone(),
            audit_required: self.audit_required,
            actor: actor(),
            source: source(),
            clock: now,
            leases: Leases::new(LeaseTerms {
                policy: self.lease.clone(),
                clock: now,
                monotonic,
            }),
            recorded: Recorded::default(),
        })
    }
}

/// A key's name as a person types it; relative paths start at the current directory.
///
/// # Errors
/// A text that says what is wrong with it.
pub fn key(text: &str) -> Result<KeyUri, String> {
    match key_and_version(text)? {
        (key, None) => Ok(key),
        (_, Some(_)) => Err(format!("{text:?} names a version, where a key is meant")),
    }
}

/// The same for a key of which one version may be chosen: `https://HOST/keys/NAME/VERSION`.
///
/// # Errors
/// As [`key`].
pub fn key_and_version(text: &str) -> Result<(KeyUri, Option<KeyVersion>), String> {
    let here = env::current_dir().map_err(|error| format!("the current directory: {error}"))?;
    KeyUri::parse_typed(text, &here).map_err(|error| format!("{text:?}: {error}"))
}

fn pin(text: &str) -> Result<Pin, String> {
    if text == "none" {
        return Ok(Pin::TrustTheDisk);
    }
    let commitments = text.split(',').map(|part| {
        let (digits, _) = part.trim().as_bytes().as_chunks::<2>();
        let byte = |&[high, low]: &[u8; 2]| {
            let digit = |character: u8| char::from(character).to_digit(16);
            Some((digit(high)? * 16 + digit(low)?) as u8)
        };
        let bytes: Option<Vec<u8>> = digits.iter().map(byte).collect();
        bytes
            .filter(|_| part.trim().len() == 64)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| format!("{part:?} is no pin; a pin is 64 hexadecimal digits"))
    });
    Ok(Pin::These(commitments.collect::<Result<_, _>>()?))
}

/// The time.
#[must_use]
pub fn now() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime {
        seconds: since.as_secs(),
        nanos: since.subsec_nanos(),
    }
}

/// The time since the machine started, the time that it slept included.
#[must_use]
pub fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

fn lease_from_environment() -> Result<LeasePolicy, SettingError> {
    let mut policy = LeasePolicy::default();
    for (name, value) in [
        ("COFFERDAM_PROBE_INTERVAL", &mut policy.probe_interval),
        ("COFFERDAM_OUTAGE_GRACE", &mut policy.outage_grace),
        ("COFFERDAM_REVOKE_DEADLINE", &mut policy.revoke_deadline),
    ] {
        if let Some(text) = env::var_os(name) {
            let seconds = text.to_str().and_then(|text| text.parse::<f64>().ok());
            *value = seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .ok_or_else(|| SettingError {
                    name: name.to_owned(),
                    what: format!("{text:?} is no number of seconds"),
                })?;
        }
    }
    policy.check().map_err(|error| SettingError {
        name: "COFFERDAM_PROBE_INTERVAL, COFFERDAM_OUTAGE_GRACE, COFFERDAM_REVOKE_DEADLINE"
            .to_owned(),
        what: error.to_string(),
    })?;
    Ok(policy)
}

/// Who is acting: the user of the process.
#[must_use]
pub fn actor() -> Actor {
    let uid = rustix::process::getuid().as_raw();
    let id = match env::var("USER").or_else(|_| env::var("LOGNAME")) {
        Ok(name) if !name.is_empty() => format!("{name} (uid {uid})"),
        _ => format!("uid {uid}"),
    };
    Actor::new(ActorKind::User, id)
}

/// Where the action happens: this host and process.
#[must_use]
pub fn source() -> Source {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    Source {
        host: Some(host),
        pid: Some(std::process::id()),
        ..Source::default()
    }
}

/// `COFFERDAM_PASSPHRASE`, or the first line of the file that `COFFERDAM_PASSPHRASE_FILE` names.
#[must_use]
pub fn passphrase_from_environment() -> Option<Zeroizing<String>> {
    if let Ok(passphrase) = env::var("COFFERDAM_PASSPHRASE") {
        return Some(Zeroizing::new(passphrase));
    }
    let path = env::var_os("COFFERDAM_PASSPHRASE_FILE")?;
    let text = Zeroizing::new(fs::read_to_string(path).ok()?);
    let line = text.lines().next().unwrap_or_default();
    Some(Zeroizing::new(line.to_owned()))
}
