//! What the journal remembers between operations.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cofferdam_keys::FileId;

use super::group::Checksum;
use super::homing::Retiring;
use super::layers::Layers;
use super::recovery::Recovered;
use super::segment::FIRST_GROUP;
use super::statistics::VolumeStatistics;

pub(super) struct State {
    /// Files that are open or not at home.
    pub(super) files: HashMap<u64, Arc<Layers>>,
    /// Files that the next commit has something to say about.
    pub(super) dirty: BTreeMap<u64, Arc<Layers>>,
    /// Files that the next commit removes.
    pub(super) removed: BTreeSet<u64>,
    pub(super) dirty_bytes: u64,
    /// The number of the batch that is being collected; the one before may be on its way to the disk.
    pub(super) batch: u64,
    /// Batches up to this one are durable.
    pub(super) durable: u64,
    pub(super) committing: bool,
    /// Nothing is written: no life of the segments has begun yet; or a write or sync failed, so that what is durable is not known any more,
    /// and nothing more is promised.
    pub(super) latched: bool,
    /// Nobody waits for homing to go on.
    pub(super) closed: bool,
    pub(super) active: usize,
    pub(super) salts: [FileId; 2],
    /// Where the next group begins.
    pub(super) end: u64,
    pub(super) sequence: u64,
    pub(super) previous: Checksum,
    /// Files with something in the journal that is not at home.
    pub(super) unhomed: BTreeMap<u64, Arc<Layers>>,
    pub(super) unhomed_removed: BTreeSet<u64>,
    /// What is on its way home, or stays to be brought there after a home could not be opened.
    pub(super) retiring: Option<Arc<Retiring>>,
    /// Somebody waits to retire the active segment.
    pub(super) retirement_waits: bool,
    /// The last homing did not succeed.
    pub(super) homing_failed: bool,
    /// A commit is asked for that nobody waits for.
    pub(super) commit_wanted: bool,
    pub(super) statistics: VolumeStatistics,
}

impl State {
    /// All groups are at home, and stay in the journal until it begins a new life.
    pub(super) fn after(recovered: &Recovered) -> State {
        State {
            files: HashMap::new(),
            dirty: BTreeMap::new(),
            removed: BTreeSet::new(),
            dirty_bytes: 0,
            batch: 1,
            durable: 0,
            committing: false,
            latched: true,
            closed: false,
            active: 0,
            salts: [FileId::from_bytes([0; 16]); 2],
            end: FIRST_GROUP,
            sequence: recovered.sequence,
            previous: recovered.checksum,
            unhomed: BTreeMap::new(),
            unhomed_removed: BTreeSet::new(),
            retiring: None,
            retirement_waits: false,
            homing_failed: false,
            commit_wanted: false,
            statistics: VolumeStatistics::default(),
        }
    }

    /// Whether a segment is full enough to be brought home. After a failure it is tried again by whoever needs the room, and is told then.
    pub(super) fn has_work(&self, limit: u64) -> bool {
        self.end >= limit / 2 && !self.homing_failed
    }

    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.removed.is_empty()
    }
}
