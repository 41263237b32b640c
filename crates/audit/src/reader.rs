//! Reading a log. Every tile and entry is checked against the signed root before it is handed out.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::action::Action;
use crate::checkpoint::Checkpoint;
use crate::edge::tile_index;
use crate::entry::LoggedEvent;
use crate::files::{DiskFiles, Files};
use crate::load::{self, Unfinished};
use crate::merkle::{Hash, Nodes, perfect_root};
use crate::note::VerifierKey;
use crate::tile::{self, Kind, WIDTH};
use crate::time::UnixTime;
use crate::verify_error::VerifyError;

/// A log open for reading, as of one checkpoint. Needs no lock: a writer beside it only adds.
pub struct LogReader {
    pub(crate) files: Arc<dyn Files>,
    pub(crate) unfinished: Unfinished,
    checkpoint: Checkpoint,
    /// The tile used last, per level.
    cache: BTreeMap<usize, (u64, Arc<Vec<Hash>>)>,
}

/// Which events to show. An empty filter lets all of them through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this action.
    pub action: Option<Action>,
    /// Only events about the key with this URI.
    pub key_uri: Option<String>,
    /// Only events about the object with this id, such as a store id in hex.
    pub object_id: Option<String>,
    /// Only events recorded at or after this time.
    pub from: Option<UnixTime>,
    /// Only events recorded before this time.
    pub until: Option<UnixTime>,
}

impl Filter {
    /// Whether an event passes.
    pub fn matches(&self, logged: &LoggedEvent) -> bool {
        let event = &logged.event;
        let key_uri = event.key.as_ref().and_then(|key| key.uri.as_ref());
        let object_id = event.object.as_ref().and_then(|object| object.id.as_ref());
        self.action.is_none_or(|action| action == event.action)
            && (self.key_uri.is_none() || self.key_uri.as_ref() == key_uri)
            && (self.object_id.is_none() || self.object_id.as_ref() == object_id)
            && self.from.is_none_or(|from| logged.time >= from)
            && self.until.is_none_or(|until| logged.time < until)
    }
}

impl LogReader {
    /// Opens the log in `dir` for reading and checks its newest checkpoint.
    ///
    /// # Errors
    /// The checkpoint is missing, malformed or not signed by `key`; or what is not yet in whole tiles
    /// does not lead to its root.
    pub fn open(dir: &Path, key: &VerifierKey) -> Result<LogReader, VerifyError> {
        LogReader::with_files(Arc::new(DiskFiles::new(dir)), key)
    }

    pub(crate) fn with_files(
        files: Arc<dyn Files>,
        key: &VerifierKey,
    ) -> Result<LogReader, VerifyError> {
        let mut note = load::read(&*files, CHECKPOINT)?;
        loop {
            let checkpoint = Checkpoint::open(&note, key)?;
            match load::load(&*files, checkpoint.size(), checkpoint.root()) {
                Ok(unfinished) => {
                    return Ok(LogReader {
                        files,
                        unfinished,
                        checkpoint,
                        cache: BTreeMap::new(),
                    });
                }
                // A writer may have moved on between two reads. Only a newer checkpoint excuses that.
                Err(error) => {
                    let newer = load::read(&*files, CHECKPOINT)?;
                    if newer == note {
                        return Err(error);
                    }
                    note = newer;
                }
            }
        }
    }

    /// The checkpoint everything is checked against.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The event with this number.
    ///
    /// # Errors
    /// There is no such event, it was altered, or the disk refused.
    pub fn event(&mut self, index: u64) -> Result<LoggedEvent, VerifyError> {
        parse(index, &self.entry(index)?)
    }

    /// The bytes of the entry with this number: the canonical JSON of its event.
    ///
    /// # Errors
    /// There is no such entry, it was altered, or the disk refused.
    pub fn entry(&mut self, index: u64) -> Result<Vec<u8>, VerifyError> {
        let size = self.checkpoint.size();
        if index >= size {
            return Err(VerifyError::NoSuchEvent { index, size });
        }
        let bundle = self.bundle(index / WIDTH)?;
        let entries = bundle.entries();
        let entry = usize::try_from(index % WIDTH)
            .ok()
            .and_then(|at| entries.get(at).copied());
        entry.map(<[u8]>::to_vec).ok_or(VerifyError::Entries {
            bundle: index / WIDTH,
        })
    }

    /// The events that pass a filter, oldest first. Stops after the first error.
    pub fn events(&mut self, filter: Filter) -> Events<'_> {
        Events {
            reader: self,
            filter,
            next: 0,
            ready: Vec::new().into_iter(),
        }
    }

    pub(crate) fn bundle(&mut self, index: u64) -> Result<Bundle, VerifyError> {
        let size = self.checkpoint.size();
        if index == size / WIDTH {
            return Ok(Bundle {
                bytes: self.unfinished.bundle.clone(),
                count: size % WIDTH,
            });
        }
        let bytes = load::read(&*self.files, &tile::full_path(Kind::Entries, index))?;
        let refused = || VerifyError::Entries { bundle: index };
        let hashes = tile::leaf_hashes(&tile::parse_entries(&bytes, WIDTH).ok_or_else(refused)?);
        if hashes != *self.tile(0, index)? {
            return Err(refused());
        }
        Ok(Bundle {
            bytes,
            count: WIDTH,
        })
    }

    /// The hashes of a tile, which its parent tile vouches for; the edge vouches for the last parents,
    /// and the root for the edge.
    fn tile(&mut self, level: usize, index: u64) -> Result<Arc<Vec<Hash>>, VerifyError> {
        let refused = || VerifyError::Tile {
            level: level as u8,
            index,
        };
        if index >= tile_index(self.checkpoint.size(), level) {
            return Ok(Arc::new(self.unfinished.edge.level(level).to_vec()));
        }
        if let Some((cached, hashes)) = self.cache.get(&level)
            && *cached == index
        {
            return Ok(Arc::clone(hashes));
        }
        let hashes = load::full_tile(&*self.files, level, index)?;
        let parent = self.tile(level + 1, index / WIDTH)?;
        let place = usize::try_from(index % WIDTH).map_err(|_| refused())?;
        if parent.get(place) != Some(&perfect_root(&hashes)) {
            return Err(refused());
        }
        let hashes = Arc::new(hashes);
        self.cache.insert(level, (index, Arc::clone(&hashes)));
        Ok(hashes)
    }
}

impl Nodes for LogReader {
    type Error = VerifyError;

    fn node(&mut self, height: u32, index: u64) -> Result<Hash, VerifyError> {
        let (level, within) = ((height / 8) as usize, height % 8);
        let first = index << within;
        let hashes = self.tile(level, first / WIDTH)?;
        let start = (first % WIDTH) as usize;
        let part = hashes.get(start..start + (1 << within));
        part.map(perfect_root).ok_or(VerifyError::Tile {
            level: level as u8,
            index: first / WIDTH,
        })
    }
}

/// Entries that were checked against their tile.
pub(crate) struct Bundle {
    pub(crate) bytes: Vec<u8>,
    count: u64,
}

impl Bundle {
    pub(crate) fn entries(&self) -> Vec<&[u8]> {
        tile::parse_entries(&self.bytes, self.count).expect("a bundle is parsed before it is made")
    }
}

/// Events that pass a filter; see [`LogReader::events`].
pub struct Events<'a> {
    reader: &'a mut LogReader,
    filter: Filter,
    next: u64,
    ready: std::vec::IntoIter<LoggedEvent>,
}

impl Iterator for Events<'_> {
    type Item = Result<LoggedEvent, VerifyError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.next() {
                return Some(Ok(event));
            }
            if self.next * WIDTH >= self.reader.checkpoint.size() {
                return None;
            }
            let bundle = self.next;
            self.next += 1;
            match self.matching(bundle) {
                Ok(events) => self.ready = events.into_iter(),
                Err(error) => {
                    self.next = u64::MAX / WIDTH;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Events<'_> {
    fn matching(&mut self, index: u64) -> Result<Vec<LoggedEvent>, VerifyError> {
        let bundle = self.reader.bundle(index)?;
        let mut events = Vec::new();
        for (number, entry) in (index * WIDTH..).zip(bundle.entries()) {
            let event = parse(number, entry)?;
            if self.filter.matches(&event) {
                events.push(event);
            }
        }
        Ok(events)
    }
}

/// The event in an entry, which says its own number.
pub(crate) fn parse(index: u64, entry: &[u8]) -> Result<LoggedEvent, VerifyError> {
    let refused = |reason| VerifyError::Event {
        index: Some(index),
        reason,
    };
    let logged = LoggedEvent::parse(entry).map_err(|error| match error {
        VerifyError::Event { reason, .. } => refused(reason),
        error => error,
    })?;
    if logged.index == index {
        Ok(logged)
    } else {
        Err(refused("seq"))
    }
}

/// The signed head of the log.
pub(crate) const CHECKPOINT: &str = "checkpoint";
