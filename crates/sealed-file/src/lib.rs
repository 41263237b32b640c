//! Files of sealed pages on a disk.
//!
//! A [`SealedFile`] is to its owner an ordinary file of bytes; on its [`Disk`] there are only sealed pages. An
//! [`Opener`] finds the keys: it is made once by the program, and handed to the engine.

mod calls;
mod canaries;
mod custodian;
mod custody_lock;
mod disk;
mod error;
mod file;
mod follow;
#[doc(hidden)]
pub mod fuzzing;
mod geometry;
mod head;
mod holes;
mod homes;
mod opener;
mod pages;
mod plaintext;
mod probe;
mod queue;
mod record;
mod records;
mod run;
mod scrub;
mod unsynced;
mod volume;

pub use custodian::{Custodian, Rotated};
pub use disk::{Disk, FileDisk};
pub use error::Error;
pub use file::{FileSetup, PAGE_SIZE_CHOSEN_MAX, SealedFile};
pub use geometry::{Geometry, LENGTH_MAX};
pub use opener::{AuditPlace, NewStore, Opener, Recorded, Store, Witness, WrappedBy, log_origin};
pub use probe::{HeadCopy, reason_code};
pub use record::FileKind;
pub use scrub::{Scrubbed, scrub, scrub_without_keys};
pub use volume::{
    ATOMIC_LEN_MAX, Attributes, Claim, Directory, DirectoryLock, Existing, FileClaim,
    FileDirectory, Homing, IgnoredTail, JournalDamage, NAME_LEN_MAX, Node, NodeKind, Part,
    Recovered, TARGET_LEN_MAX, TOP_DIRECTORY, Time, Volume, VolumeFile, VolumeSetup,
    VolumeStatistics,
};
