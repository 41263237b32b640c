//! What happens before anybody reads: the journal is replayed, without keys.
//!
//! It may be interrupted at any moment and begins again then: the segments are given a new life only when everything in them
//! is durable at home, and the catalogue was found to be one that these files belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use cofferdam_keys::{FileId, StoreId};

use super::damage::{IgnoredTail, JournalDamage};
use super::directory::{Directory, Part};
use super::group::{Checksum, Group};
use super::layer::Layer;
use super::segment::{FIRST_GROUP, Scan, SegmentHead, Tail, scan};
use crate::error::Error;
use crate::geometry::record_area;
use crate::record::{CLAIM_LEN, FileKind, claimed_sequence};

/// What a recovery found in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Groups that were replayed.
    pub groups: u64,
    /// Files that they changed or removed.
    pub files: u64,
    /// What was missing, when the damage was accepted.
    pub damage: Option<JournalDamage>,
    /// What was behind the last group, and not replayed.
    pub ignored: Option<IgnoredTail>,
    /// Files in the directory that no name belongs to, and no removal explains. They stay where they are.
    pub unknown_files: u64,
    pub(crate) sequence: u64,
    pub(crate) checksum: Checksum,
}

/// Makes an empty journal of a new volume.
pub(crate) fn create_segments(directory: &dyn Directory, volume: StoreId) -> Result<(), Error> {
    let make = || {
        begin_lives(directory, volume, 0, [0; 32])?;
        directory.sync()
    };
    make().map_err(Error::io("making the journal"))
}

/// Replays the journal, and makes that durable. It may be replayed again until both segments [begin a new life](begin_lives), which they
/// do when it is known that the journal and the files belong together.
///
/// # Errors
/// [`Error::JournalDamaged`] and [`Error::JournalOld`], before anything is changed, unless the damage is accepted; [`Error::DiskFull`];
/// [`Error::Io`].
pub(crate) fn recover(
    directory: &dyn Directory,
    volume: StoreId,
    accept_damage: bool,
) -> Result<Recovered, Error> {
    let read = Read::all(directory, volume).map_err(Error::io("reading the journal"))?;
    let (groups, damage) = read.authentic_prefix();
    if let Some(damage) = damage.filter(|_| !accept_damage) {
        return Err(Error::JournalDamaged(damage));
    }
    let (mut sequence, mut checksum) = (read.home, read.home_checksum);
    if let Some((_, _, last)) = groups.last() {
        (sequence, checksum) = (last.head.sequence, last.checksum);
    }
    let ignored = read.ignored(&groups);
    let (changed, removed) = net_effect(&groups);
    if damage.is_none() {
        refuse_old(directory, &changed)?;
    }
    // A group that was skipped as damaged never counts again.
    sequence = sequence.max(damage.map_or(0, |damage| damage.last_seen));
    let replay = || {
        make_durable(directory, &groups)?;
        bring_home(directory, &changed, &removed)
    };
    replay().map_err(|source| match source.kind() {
        io::ErrorKind::StorageFull => Error::DiskFull {
            needed: changed.values().map(Layer::bytes).sum(),
        },
        _ => Error::io("replaying the journal")(source),
    })?;
    let files = (changed.len() + removed.len()) as u64;
    Ok(Recovered {
        groups: groups.len() as u64,
        files,
        damage,
        ignored,
        unknown_files: 0,
        sequence,
        checksum,
    })
}

/// A segment's number, a group's place in it, and the group.
type Placed<'a> = (usize, u64, &'a Group);

/// Both segments as they were found.
struct Read {
    scans: Vec<(usize, Scan)>,
    missing: Option<usize>,
    home: u64,
    home_checksum: Checksum,
}

impl Read {
    fn all(directory: &dyn Directory, volume: StoreId) -> io::Result<Read> {
        let mut read = Read {
            scans: Vec::new(),
            missing: None,
            home: 0,
            home_checksum: [0; 32],
        };
        for index in 0..2 {
            let disk = directory.open(Part::Segment(index))?;
            let head = match &disk {
                // A head that the disk does not read is as good as none.
                Some(disk) => SegmentHead::load(&**disk).unwrap_or(None),
                None => None,
            };
            match (disk, head.filter(|head| head.volume == volume)) {
                (Some(disk), Some(head)) => {
                    if head.home >= read.home {
                        (read.home, read.home_checksum) = (head.home, head.home_checksum);
                    }
                    read.scans.push((index, scan(&*disk, &head)?));
                }
                // A head is one sector in a block of its own: no power cut harms it.
                _ => read.missing = Some(index),
            }
        }
        Ok(read)
    }

    /// The groups to replay, in order, and what is missing behind them.
    fn authentic_prefix(&self) -> (Vec<Placed<'_>>, Option<JournalDamage>) {
        let mut all: Vec<Placed<'_>> = Vec::new();
        for (index, scan) in &self.scans {
            all.extend(scan.groups.iter().map(|(at, group)| (*index, *at, group)));
        }
        all.retain(|(_, _, group)| group.head.sequence > self.home);
        all.sort_by_key(|(_, _, group)| group.head.sequence);
        let (mut sequence, mut checksum) = (self.home, self.home_checksum);
        let chained = all.iter().take_while(|(_, _, group)| {
            let follows = group.head.sequence == sequence + 1 && group.head.previous == checksum;
            (sequence, checksum) = (group.head.sequence, group.checksum);
            follows
        });
        let count = chained.count();
        let unchained = all[count..].iter().map(|(_, _, group)| group.head.sequence);
        let behind = self.scans.iter().filter_map(|(_, scan)| scan.behind);
        let last_seen = unchained.chain(behind).max().unwrap_or(0);
        all.truncate(count);
        let first_missing = all.last().map_or(self.home, |(_, _, it)| it.head.sequence) + 1;
        let unreadable = self.unreadable(all.last().map(|(index, _, _)| *index));
        let damaged = self.missing.is_some() || unreadable.is_some() || last_seen >= first_missing;
        let damage = damaged.then_some(JournalDamage {
            segment: self.missing,
            unreadable,
            first_missing,
            last_seen,
        });
        (all, damage)
    }
}

impl Read {
    /// Where the disk does not read, if the next group may be there: behind the last one, or at the beginning of a segment.
    fn unreadable(&self, last: Option<usize>) -> Option<(usize, u64)> {
        self.scans.iter().find_map(|(index, scan)| match scan.tail {
            Tail::Unreadable { at } if scan.groups.is_empty() || last == Some(*index) => {
                Some((*index, at))
            }
            _ => None,
        })
    }

    fn ignored(&self, groups: &[Placed<'_>]) -> Option<IgnoredTail> {
        let last = groups.last().map(|(index, _, _)| *index);
        self.scans.iter().find_map(|(index, scan)| match scan.tail {
            Tail::Torn { at, len } if scan.groups.is_empty() || last == Some(*index) => {
                Some(IgnoredTail {
                    segment: *index,
                    offset: at,
                    len,
                })
            }
            _ => None,
        })
    }
}

/// What was read may be in the system's cache only: of a process that was killed before its sync, or after one that failed, when
/// the system takes it for clean. A power cut in the middle of the replay must find it on the disk, so it is written again.
fn make_durable(directory: &dyn Directory, groups: &[Placed<'_>]) -> io::Result<()> {
    for index in 0..2 {
        let Some(disk) = directory.open(Part::Segment(index))? else {
            continue;
        };
        let here = groups.iter().filter(|(segment, _, _)| *segment == index);
        for (_, at, group) in here {
            disk.write_at(&group.bytes, *at)?;
        }
        disk.sync()?;
    }
    Ok(())
}

/// What the groups come to: files as they become, and files that are removed.
fn net_effect(groups: &[Placed<'_>]) -> (BTreeMap<u64, Layer>, BTreeSet<u64>) {
    let mut removed = BTreeSet::new();
    let mut changed: BTreeMap<u64, Layer> = BTreeMap::new();
    for entry in groups.iter().flat_map(|(_, _, group)| &group.entries) {
        let Some(layer) = &entry.change else {
            removed.insert(entry.file);
            continue;
        };
        match changed.get_mut(&entry.file) {
            Some(before) => before.append(layer),
            None => {
                changed.insert(entry.file, layer.clone());
            }
        }
    }
    // A number is never used again, so what is removed anywhere in the journal needs nothing before it.
    changed.retain(|number, _| !removed.contains(number));
    (changed, removed)
}

/// Refuses a journal that would take a file back: what is at home came there through the journal, so a journal that ends before that is
/// one of another day. A file whose record did not change since then does not show it.
fn refuse_old(directory: &dyn Directory, changed: &BTreeMap<u64, Layer>) -> Result<(), Error> {
    for (number, layer) in changed {
        let home = directory.open(Part::of_file(*number));
        let Some(home) = home.map_err(Error::io("opening a file"))? else {
            continue;
        };
        let kind = match number {
            0 => FileKind::Main,
            _ => FileKind::Volume,
        };
        let mut bytes = [0; CLAIM_LEN];
        let read = home.read_at(&mut bytes, record_area(kind));
        read.map_err(Error::io("reading a file record"))?;
        let now = claimed_sequence(&bytes);
        layer.cover(&mut bytes, record_area(kind));
        let (Some(now), Some(then)) = (now, claimed_sequence(&bytes)) else {
            continue;
        };
        // A file that the journal does not cut to nothing is the same one before and after.
        let other = now.0 != then.0 && layer.cut > 0;
        if other || (now.0 == then.0 && now.1 > then.1) {
            return Err(Error::JournalOld { file: *number });
        }
    }
    Ok(())
}

/// Writes each file once.
fn bring_home(
    directory: &dyn Directory,
    changed: &BTreeMap<u64, Layer>,
    removed: &BTreeSet<u64>,
) -> io::Result<()> {
    for (number, layer) in changed {
        let disk = directory.create(Part::of_file(*number))?;
        layer.apply(&*disk)?;
        disk.sync()?;
    }
    for number in removed {
        directory.remove(Part::File(*number))?;
    }
    directory.sync()
}

/// Begins a new life of both segments, in which everything up to `home` is at home. Answers their salts.
pub(super) fn begin_lives(
    directory: &dyn Directory,
    volume: StoreId,
    home: u64,
    home_checksum: Checksum,
) -> io::Result<[FileId; 2]> {
    let mut salts = [FileId::from_bytes([0; 16]); 2];
    for (index, salt) in salts.iter_mut().enumerate() {
        *salt = FileId::random().map_err(io::Error::other)?;
        let head = SegmentHead {
            volume,
            salt: *salt,
            home,
            home_checksum,
        };
        let disk = directory.create(Part::Segment(index))?;
        head.store(&*disk)?;
    }
    directory.sync()?;
    Ok(salts)
}

/// Whether nothing was ever committed to the volume of this directory, if there is one.
pub(crate) fn is_unused(directory: &dyn Directory) -> Result<bool, Error> {
    let look = || {
        for index in 0..2 {
            let segment = directory.open(Part::Segment(index))?;
            let len = segment.as_ref().map_or(Ok(0), |disk| disk.len())?;
            if len > FIRST_GROUP {
                return Ok(false);
            }
        }
        Ok(directory.files()?.is_empty())
    };
    look().map_err(Error::io("looking for a journal"))
}

/// Whether the making of a volume ended before its journal was there. A segment without a head is what a power cut leaves of that.
pub(crate) fn is_unfinished(directory: &dyn Directory) -> Result<bool, Error> {
    let headless = |index| -> io::Result<bool> {
        let segment = directory.open(Part::Segment(index))?;
        let head = segment.map_or(Ok(None), |disk| SegmentHead::load(&*disk))?;
        Ok(head.is_none())
    };
    let look = || Ok(headless(0)? || headless(1)?);
    Ok(is_unused(directory)? && look().map_err(Error::io("looking for a journal"))?)
}
