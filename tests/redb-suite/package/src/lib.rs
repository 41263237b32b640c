//! A volume in the place of the file system, for redb's own tests.
//!
//! `prepare.py` rewrites their `std::fs`, `tempfile` and openings to what is here. A path is the name of a file in one volume, under two
//! layers, that all tests of a process share; no such path exists outside of it. The engine is redb as it was published.

pub mod backends;
pub mod fs;
mod older;
mod open;
mod temporary;
mod volume;

pub use temporary::NamedTempFile;
pub use volume::directory;

/// What rewritten tests see by a glob.
pub mod prelude {
    pub use crate::open::{VolumeBuilder as _, VolumeDatabase as _};
}
