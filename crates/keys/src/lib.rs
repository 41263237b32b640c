//! Secrets, keyring, wrapping, and the seam to key vaults.
//!
//! A key vault holds the key-encryption keys. A [`Keyring`] holds what they wrapped: one root per layer,
//! and under the roots the data keys. [`KeyringSlots`] reads it from a store, [`UncheckedKeyring::unlock`] asks
//! the vaults and verifies it, and [`DataKeys`] is what sealing and opening need.
//!
//! ```
//! use cofferdam_keys::{Keyring, KeyringSlots, KeysError, NewKeyring, Pins, VaultSet, KEYRING_LEN};
//!
//! fn first_day(new: &NewKeyring, vaults: &dyn VaultSet) -> Result<[u8; KEYRING_LEN], KeysError> {
//!     let (keyring, _data_keys) = Keyring::create(new, vaults)?;
//!     Ok(*keyring.encode())
//! }
//!
//! fn next_day(slot: &[u8; KEYRING_LEN], vaults: &dyn VaultSet) -> Result<(), KeysError> {
//!     let unlocked = KeyringSlots::parse(slot, &[0; KEYRING_LEN]).unlock(vaults, &Pins::none())?;
//!     println!("{} data keys", unlocked.keyring.deks().len());
//!     Ok(())
//! }
//! ```
//!
//! The crate reads neither the clock nor the environment: times come as arguments.

mod arena;
mod data_keys;
mod derive;
mod encoding;
mod error;
mod hooked_vault;
mod ids;
mod keyring;
mod lease;
mod preflight;
mod random;
mod secret;
mod slots;
mod suite;
#[cfg(test)]
mod test_vault;
mod uri;
mod vault;

pub use cofferdam_audit::{Clock, UnixTime};
#[cfg(any(test, feature = "vectors"))]
#[doc(hidden)]
pub use data_keys::VectorLayer;
pub use data_keys::{DataKeys, Dek};
pub use derive::{PageKeyContext, ValueKeyContext};
pub use encoding::{
    BLOB_LEN_MAX, DEK_COUNT_MAX, DekRecord, DekState, KEYRING_LEN, RootWrap, Sequence,
    WRAP_COUNT_MAX,
};
pub use error::KeysError;
pub use hooked_vault::{HookedVault, UnwrapHook};
pub use ids::{DekId, FileId, NotAnId, StoreId};
pub use keyring::{Keyring, NewKeyring, Pins, UncheckedKeyring};
pub use lease::{
    Change, Fenced, Holder, Lease, LeasePolicy, LeaseTerms, Leases, Monotonic, NotAPolicy,
    Recorder, Standing, Wiped,
};
pub use preflight::{CLOCK_SKEW_MAX_S, Finding, Severity, preflight};
pub use secret::Secret;
pub use slots::{KeyringSlots, OtherSlot, Slot, Unlocked};
pub use suite::{Algorithm, Layer, Suite, UnknownSuite};
pub use uri::{KEY_URI_LEN_MAX, KEY_VERSION_LEN_MAX, KeyScheme, KeyUri, KeyVersion, NotAKeyUri};
pub use vault::{
    KeyDescription, KeyState, KeyVault, NoSuchVault, Reason, Recovery, Refusal, Revocation,
    VaultRequest, VaultSet, VersionDescription, WRAPPED_ROOT_LEN, WrapAlgorithm, WrapContext,
    Wrapped,
};
