//! [redb](https://www.redb.org) on a sealed volume: an embedded database whose every byte on the disk is sealed.
//!
//! ```
//! use redb::{ReadableDatabase, TableDefinition};
//!
//! const PATIENTS: TableDefinition<u64, &str> = TableDefinition::new("patients");
//!
//! fn admit(volume: &cofferdam_sealed_file::Volume) -> Result<(), Box<dyn std::error::Error>> {
//!     let database = cofferdam_redb::open(volume, b"clinic.redb")?;
//!     let transaction = database.begin_write()?;
//!     transaction.open_table(PATIENTS)?.insert(1, "Ada")?;
//!     transaction.commit()?;
//!     Ok(())
//! }
//! ```
//!
//! Everything else is redb's own. `examples/clinic.rs` makes the volume, too.

mod backend;
mod error;
mod open;

pub use backend::VolumeBackend;
pub use error::OpenError;
pub use open::{open, open_with};
