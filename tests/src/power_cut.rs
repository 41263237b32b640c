//! What a power cut makes of bytes that were written but not synced.

use std::sync::Arc;

use crate::random::Random;

/// The unit in which a disk tears a write. Sectors are aligned to the start of the file.
pub const SECTOR_LEN: u64 = 512;

/// One change of a file that is not durable yet.
#[derive(Clone, Debug)]
pub enum Change {
    /// Bytes at an offset.
    Write {
        /// Where they begin.
        offset: u64,
        /// What was written.
        bytes: Arc<[u8]>,
    },
    /// The file was cut off or extended with zeros.
    SetLen(u64),
}

/// How a power cut treats everything that was not synced. Each kind finds other mistakes: most
/// bugs need nearly everything kept, or nearly everything lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Every unsynced change is gone.
    Everything,
    /// Every unsynced change made it.
    Nothing,
    /// The changes made it in order up to some point; the one at that point is torn.
    Tail,
    /// One change of each file is lost or torn, the others made it.
    One,
    /// One change of each file made it or is torn, the others are lost.
    AllButOne,
    /// Each is kept, lost or torn, in any order.
    Any,
    /// Each file is wholly kept or wholly lost.
    PerFile,
}

impl Loss {
    /// All kinds.
    pub const ALL: [Loss; 7] = [
        Loss::Everything,
        Loss::Nothing,
        Loss::Tail,
        Loss::One,
        Loss::AllButOne,
        Loss::Any,
        Loss::PerFile,
    ];

    /// One of them.
    pub fn random(random: &mut Random) -> Loss {
        *random.pick(&Loss::ALL)
    }
}

/// The bytes of one file after a power cut.
pub fn survivors(durable: &[u8], pending: &[Change], loss: Loss, random: &mut Random) -> Vec<u8> {
    let mut bytes = durable.to_vec();
    if pending.is_empty() {
        return bytes;
    }
    let chosen = random.index(pending.len());
    let keep_whole_file = random.chance(50);
    for (index, change) in reordered(pending, loss, random) {
        let fate = match loss {
            Loss::Everything => Fate::Lost,
            Loss::Nothing => Fate::Kept,
            Loss::Tail if index < chosen => Fate::Kept,
            Loss::Tail if index == chosen => Fate::Torn,
            Loss::Tail => Fate::Lost,
            Loss::One if index == chosen => Fate::lost_or_torn(random),
            Loss::One => Fate::Kept,
            Loss::AllButOne if index == chosen => Fate::kept_or_torn(random),
            Loss::AllButOne => Fate::Lost,
            Loss::Any => *random.pick(&[Fate::Kept, Fate::Lost, Fate::Torn]),
            Loss::PerFile if keep_whole_file => Fate::Kept,
            Loss::PerFile => Fate::Lost,
        };
        match fate {
            Fate::Kept => apply(&mut bytes, change),
            Fate::Lost => {}
            Fate::Torn => apply_torn(&mut bytes, change, random),
        }
    }
    bytes
}

/// Makes one change to the bytes of a file.
pub fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write {
            offset,
            bytes: written,
        } => overwrite(bytes, *offset, written),
        Change::SetLen(len) => bytes.resize(*len as usize, 0),
    }
}

/// Makes some sectors of a write, and none or all of a change of length.
pub fn apply_torn(bytes: &mut Vec<u8>, change: &Change, random: &mut Random) {
    match change {
        Change::Write {
            offset,
            bytes: written,
        } => {
            let mut start = 0;
            while start < written.len() {
                let to_boundary = SECTOR_LEN - (offset + start as u64) % SECTOR_LEN;
                let end = written.len().min(start + to_boundary as usize);
                if random.chance(50) {
                    overwrite(bytes, offset + start as u64, &written[start..end]);
                }
                start = end;
            }
        }
        Change::SetLen(_) if random.chance(50) => apply(bytes, change),
        Change::SetLen(_) => {}
    }
}

#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

impl Fate {
    fn lost_or_torn(random: &mut Random) -> Fate {
        *random.pick(&[Fate::Lost, Fate::Torn])
    }

    fn kept_or_torn(random: &mut Random) -> Fate {
        *random.pick(&[Fate::Kept, Fate::Torn])
    }
}

/// Writes overtake each other, but no write overtakes a change of length: file systems keep that
/// order in their own journal.
fn reordered<'a>(
    pending: &'a [Change],
    loss: Loss,
    random: &mut Random,
) -> Vec<(usize, &'a Change)> {
    let mut changes: Vec<_> = pending.iter().enumerate().collect();
    if loss == Loss::Any {
        let set_len = |(_, change): &(usize, &Change)| matches!(change, Change::SetLen(_));
        for writes in changes.split_mut(set_len) {
            random.shuffle(writes);
        }
    }
    changes
}

fn overwrite(bytes: &mut Vec<u8>, offset: u64, written: &[u8]) {
    if written.is_empty() {
        return;
    }
    let start = offset as usize;
    let end = start + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(written);
}
