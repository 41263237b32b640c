//! Verifying a log offline, from copied files and the public key.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::anchor::{self, Anchor};
use crate::checkpoint::Checkpoint;
use crate::edge::{tile_index, width};
use crate::entry::LoggedEvent;
use crate::files::{DiskFiles, Files};
use crate::load::{self, TAIL};
use crate::log::VKEY;
use crate::merkle::{consistency, range_root};
use crate::note::VerifierKey;
use crate::reader::{LogReader, parse};
use crate::tile::{self, Kind, LEVEL_COUNT, WIDTH};
use crate::time::UnixTime;
use crate::verify_error::VerifyError;

/// What a verified log says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The head that everything was checked against; worth keeping for the next time.
    pub checkpoint: Checkpoint,
    /// Time of the first event.
    pub first_time: Option<UnixTime>,
    /// Time of the last event.
    pub last_time: Option<UnixTime>,
    /// Numbers of the first events (at most 16) whose clock was behind the event before: a clock was set back.
    pub clock_steps_back: Vec<u64>,
    /// Newest keyring sequence of each store.
    pub stores: BTreeMap<String, u64>,
}

/// Verifies every byte of the log in `dir` against `key`, and against a checkpoint that was kept from
/// an earlier time. Memory does not grow with the log. The log may grow meanwhile.
///
/// Notices: an entry or tile changed, removed, added or moved; a checkpoint, key file or anchor that
/// `key` has not signed. With a remembered checkpoint also: a log that was truncated, rolled back or
/// rewritten by someone who has the signing key. Without one, an older state of the whole directory
/// looks like what it is, a valid log.
///
/// # Errors
/// What was noticed first.
pub fn verify(
    dir: &Path,
    key: &VerifierKey,
    remembered: Option<&Checkpoint>,
) -> Result<VerifyReport, VerifyError> {
    verify_files(Arc::new(DiskFiles::new(dir)), key, remembered)
}

pub(crate) fn verify_files(
    files: Arc<dyn Files>,
    key: &VerifierKey,
    remembered: Option<&Checkpoint>,
) -> Result<VerifyReport, VerifyError> {
    if load::read(&*files, VKEY)? != format!("{key}\n").into_bytes() {
        return Err(VerifyError::Key);
    }
    let mut reader = LogReader::with_files(Arc::clone(&files), key)?;
    if let Some(remembered) = remembered {
        check_remembered(&mut reader, remembered)?;
    }
    check_partials(&reader)?;
    check_tail(&reader)?;
    let mut seen = Seen::default();
    let size = reader.checkpoint().size();
    for index in 0..size.div_ceil(WIDTH) {
        let bundle = reader.bundle(index)?;
        for (number, entry) in (index * WIDTH..).zip(bundle.entries()) {
            seen.event(&*files, key, &parse(number, entry)?)?;
        }
    }
    seen.check_anchors(&*files, key, size)?;
    Ok(VerifyReport {
        checkpoint: reader.checkpoint().clone(),
        first_time: seen.first,
        last_time: seen.last,
        clock_steps_back: seen.steps_back,
        stores: seen
            .stores
            .into_iter()
            .map(|(store, facts)| (store, facts.newest))
            .collect(),
    })
}

/// Both were signed; they are true together only when one continues the other.
fn check_remembered(reader: &mut LogReader, remembered: &Checkpoint) -> Result<(), VerifyError> {
    let (size, found) = (remembered.size(), reader.checkpoint().size());
    if remembered.origin() != reader.checkpoint().origin() {
        return Err(VerifyError::Key);
    }
    if size > found {
        return Err(VerifyError::Truncated {
            remembered: size,
            found,
        });
    }
    if range_root(reader, 0, size)? != *remembered.root() {
        return Err(VerifyError::Forked { size });
    }
    Ok(())
}

/// The partial files repeat what the reader knows from whole tiles and `tail`.
fn check_partials(reader: &LogReader) -> Result<(), VerifyError> {
    let size = reader.checkpoint().size();
    for level in 0..LEVEL_COUNT {
        let (index, width) = (tile_index(size, level), width(size, level));
        let (bytes, held) = match partial(&*reader.files, Kind::Level(level), index, width)? {
            Some(found) => found,
            None => continue,
        };
        let hashes = tile::parse_hashes(&bytes, held);
        let expected = reader.unfinished.edge.level(level);
        if !hashes.is_some_and(|hashes| hashes.starts_with(expected)) {
            return Err(VerifyError::Tile {
                level: level as u8,
                index,
            });
        }
    }
    let (index, count) = (size / WIDTH, size % WIDTH);
    if let Some((bytes, held)) = partial(&*reader.files, Kind::Entries, index, count)? {
        let whole = tile::parse_entries(&bytes, held).is_some();
        if !whole || !bytes.starts_with(&reader.unfinished.bundle) {
            return Err(VerifyError::Entries { bundle: index });
        }
    }
    Ok(())
}

fn partial(
    files: &dyn Files,
    kind: Kind,
    index: u64,
    width: u64,
) -> Result<Option<(Vec<u8>, u64)>, VerifyError> {
    if width == 0 {
        return Ok(None);
    }
    let file = tile::partial_path(kind, index, width);
    match tile::read_at_least(files, kind, index, width) {
        Ok(Some(found)) => Ok(Some(found)),
        Ok(None) => Err(VerifyError::Missing { file }),
        Err(source) => Err(VerifyError::Io {
            path: file.into(),
            source,
        }),
    }
}

/// When `tail` is about the last bundle it begins with its entries. Bytes after them are an append that
/// was never finished. Another bundle's `tail` is either old or the same kind of leftover.
fn check_tail(reader: &LogReader) -> Result<(), VerifyError> {
    let size = reader.checkpoint().size();
    let tail = load::optional(&*reader.files, TAIL)?.unwrap_or_default();
    match tail.strip_prefix(&tile::tail_head(size / WIDTH)) {
        Some(entries) if !entries.starts_with(&reader.unfinished.bundle) => Err(VerifyError::Tail),
        _ => Ok(()),
    }
}

/// What is collected on the way through the events.
#[derive(Default)]
struct Seen {
    first: Option<UnixTime>,
    last: Option<UnixTime>,
    steps_back: Vec<u64>,
    stores: BTreeMap<String, Facts>,
}

struct Facts {
    anchor: Option<Anchor>,
    /// Newest sequence among the events that the anchor has seen.
    anchored: Option<u64>,
    newest: u64,
}

impl Seen {
    fn event(
        &mut self,
        files: &dyn Files,
        key: &VerifierKey,
        logged: &LoggedEvent,
    ) -> Result<(), VerifyError> {
        if self.last.is_some_and(|last| logged.time < last)
            && self.steps_back.len() < STEPS_BACK_MAX
        {
            self.steps_back.push(logged.index);
        }
        self.first = self.first.or(Some(logged.time));
        self.last = Some(logged.time);
        if let Some((store, sequence)) = logged.event.anchors() {
            let facts = match self.stores.entry(store.to_owned()) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let anchor = read_anchor(files, key, store)?;
                    entry.insert(Facts {
                        anchor,
                        anchored: None,
                        newest: sequence,
                    })
                }
            };
            facts.newest = facts.newest.max(sequence);
            if facts
                .anchor
                .is_some_and(|anchor| logged.index < anchor.size)
            {
                facts.anchored = facts.anchored.max(Some(sequence));
            }
        }
        Ok(())
    }

    /// Every anchor says what the events below its size say.
    fn check_anchors(
        &self,
        files: &dyn Files,
        key: &VerifierKey,
        size: u64,
    ) -> Result<(), VerifyError> {
        for (store_id, facts) in &self.stores {
            let Some(anchor) = facts.anchor else { continue };
            if anchor.size > size {
                // The log may have grown since; if it has not, it was longer once.
                let found =
                    Checkpoint::open(&load::read(files, crate::reader::CHECKPOINT)?, key)?.size();
                if anchor.size > found {
                    return Err(VerifyError::Truncated {
                        remembered: anchor.size,
                        found,
                    });
                }
            } else if facts.anchored != Some(anchor.sequence) {
                return Err(VerifyError::Anchor {
                    store_id: store_id.clone(),
                });
            }
        }
        Ok(())
    }
}

fn read_anchor(
    files: &dyn Files,
    key: &VerifierKey,
    store_id: &str,
) -> Result<Option<Anchor>, VerifyError> {
    let Some(note) = load::optional(files, &anchor::path(store_id))? else {
        return Ok(None);
    };
    let anchor = Anchor::open(&note, store_id, key);
    anchor.map(Some).map_err(|_| VerifyError::Anchor {
        store_id: store_id.to_owned(),
    })
}

pub(crate) fn consistency_path(
    reader: &mut LogReader,
    old: u64,
) -> Result<Vec<[u8; 32]>, VerifyError> {
    let size = reader.checkpoint().size();
    if old > size {
        return Err(VerifyError::Truncated {
            remembered: old,
            found: size,
        });
    }
    consistency(reader, old, size)
}

const STEPS_BACK_MAX: usize = 16;
