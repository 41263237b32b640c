//! What a volume needs to be made or opened.

use std::path::PathBuf;
use std::sync::Arc;

use cofferdam_keys::Monotonic;

use super::directory::Directory;
use crate::opener::Opener;

/// What a volume needs to be made or opened.
#[derive(Clone)]
pub struct VolumeSetup {
    /// Where its parts are.
    pub directory: Arc<dyn Directory>,
    /// The path of its keyring, which names the audit log.
    pub path: PathBuf,
    /// Where its keys come from.
    pub opener: Arc<Opener>,
    /// How many bytes a segment of the journal takes; there are two. What they hold, and what is to be written next, is in memory as well: about
    /// four times as much at most.
    pub journal_len: u64,
    /// When what is in the journal is brought home.
    pub homing: Homing,
    /// Opens a volume whose journal is damaged with what there is. What was synced last may be lost.
    pub accept_damage: bool,
    /// Who opens it: a line for whoever finds it locked.
    pub holder: String,
    /// Tells how long syncs take.
    pub monotonic: Monotonic,
}

/// When what is in the journal is brought home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Homing {
    /// By a thread of the volume's own, when a segment is half full.
    InBackground,
    /// By whoever finds a segment full. Everything happens in one order, the same each time.
    WhenFull,
}
