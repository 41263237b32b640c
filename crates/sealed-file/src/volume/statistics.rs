//! What a volume has done since it was opened.

use std::time::Duration;

/// Counts of one volume since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VolumeStatistics {
    /// Bytes in the segment of the journal that commits go to.
    pub journal_bytes: u64,
    /// Files that have something in the journal that is not at home.
    pub files_not_home: u64,
    /// How often somebody asked for durability.
    pub syncs: u64,
    /// How often the journal was written and synced for that; several syncs share one commit.
    pub commits: u64,
    /// How long all the syncs took together.
    pub sync_time: Duration,
    /// The longest of them.
    pub sync_time_max: Duration,
    /// How often the journal was brought home.
    pub homings: u64,
    /// Runs of frames and records that were written home.
    pub pages_homed: u64,
    /// Their bytes.
    pub bytes_homed: u64,
    /// A write or sync failed, and the volume takes no more until it is opened again.
    pub latched: bool,
}
