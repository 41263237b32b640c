//! Places that hold key-encryption keys.
//!
//! ```
//! use cofferdam_keys::{KeyUri, KeyVault, UnixTime};
//! use cofferdam_vaults::{Vaults, Which};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let now = UnixTime { seconds: 1_800_000_000, nanos: 0 };
//! let key = KeyUri::from_file_path(&directory.path().join("customer.key"))?;
//! let vaults = Vaults::without_passphrases();
//!
//! vaults.file(&key)?.create(None, now)?;
//! vaults.file(&key)?.rotate(now)?;
//! vaults.file(&key)?.set_enabled(&Which::Key, false)?;
//! assert_eq!(vaults.file(&key)?.versions()?.len(), 2);
//! # Ok(())
//! # }
//! ```

mod azure;
mod error;
mod file_vault;
mod key_file;
mod passphrase;
mod set;
mod storage;

pub use azure::{AzureSettings, AzureSource, AzureVault};
pub use error::VaultsError;
pub use file_vault::{FileVault, Which};
pub use key_file::{
    KEY_FILE_LEN_MAX, KeyFileError, Protection, UncheckedKeyFile, VERSION_COUNT_MAX,
};
pub use passphrase::{Argon2Parameters, PASSPHRASE_LEN_MAX, PassphraseSource};
pub use set::Vaults;
