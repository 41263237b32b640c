//! Secrets, keyring, wrapping, and the seam to key vaults.

mod arena;
mod data_keys;
mod derive;
mod error;
mod ids;
mod random;
mod secret;
mod suite;

#[cfg(any(test, feature = "vectors"))]
#[doc(hidden)]
pub use data_keys::VectorLayer;
pub use data_keys::{DataKeys, Dek};
pub use derive::{PageKeyContext, ValueKeyContext};
pub use error::KeysError;
pub use ids::{DekId, FileId, NotAnId, StoreId};
pub use secret::Secret;
pub use suite::{Algorithm, Layer, Suite, UnknownSuite};
