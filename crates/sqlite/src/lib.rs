//! SQLite on sealed files.
//!
//! The crate is a file system layer for SQLite (a "VFS"): SQLite works as ever, and every file it
//! writes is sealed: the database, its write-ahead log, its journals and its temporary files.
#![cfg_attr(
    feature = "rusqlite",
    doc = "
```no_run
use std::sync::Arc;

fn notes(opener: Arc<cofferdam_sealed_file::Opener>) -> Result<(), Box<dyn std::error::Error>> {
    let sealed = cofferdam_sqlite::Sealed::new(opener)?;
    let connection = sealed.open(\"app.db\")?;
    connection.execute_batch(\"CREATE TABLE notes(text)\")?;
    Ok(())
}
```
"
)]
//!
//! `unsafe` stands at the edge to C: `ffi.rs` (declarations), `base.rs` (calls to the layer underneath),
//! `vfs.rs`, `methods.rs`, `control.rs` and `function.rs` (calls from SQLite). What happens to the bytes is in
//! `methods.rs` and `group.rs`.

mod base;
mod control;
mod error;
mod fence;
mod ffi;
mod function;
mod group;
mod journal;
mod layer;
mod methods;
#[cfg(feature = "rusqlite")]
mod new_file;
#[cfg(feature = "rusqlite")]
mod sealed;
#[cfg(feature = "rusqlite")]
mod snapshot;
#[cfg(feature = "rusqlite")]
mod transfer;
#[cfg(feature = "rusqlite")]
mod transfer_error;
mod vfs;

pub use error::{clear_last_error, last_error};
pub use ffi::Api;
pub use function::add_error_function;
pub use layer::{OpenerSource, Parameters};
#[cfg(feature = "rusqlite")]
pub use sealed::{OpenError, Sealed};
#[cfg(feature = "rusqlite")]
pub use snapshot::Snapshot;
#[cfg(feature = "rusqlite")]
pub use transfer::{Progress, SEALED_PAGE_SIZE_MAX, Transfer, seal, unseal};
#[cfg(feature = "rusqlite")]
pub use transfer_error::TransferError;
pub use vfs::register;
