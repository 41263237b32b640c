//! What may be wrong with a journal.

use std::fmt;

/// The beginning of a group that is not whole. After a power cut or a kill it is one that nobody was told is durable. If neither came
/// before, the disk may have lost the last thing that was synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct IgnoredTail {
    /// The segment.
    pub segment: usize,
    /// Where in it, in bytes.
    pub offset: u64,
    /// How many bytes the group claims to have.
    pub len: u64,
}

/// Something in the journal was durable once, and is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalDamage {
    /// A segment that is missing or whose head does not read.
    pub segment: Option<usize>,
    /// A segment and the place in it, in bytes, where the disk does not read and a group may be.
    pub unreadable: Option<(usize, u64)>,
    /// The first group that is missing.
    pub first_missing: u64,
    /// The last group that was seen behind it.
    pub last_seen: u64,
}

impl fmt::Display for JournalDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the volume's journal is damaged: ")?;
        if let Some(segment) = self.segment {
            write!(
                f,
                "its segment journal-{segment} is missing or does not read"
            )?;
        } else if let Some((segment, at)) = self.unreadable {
            write!(
                f,
                "the disk does not read at byte {at} of journal-{segment}, where group {} may be",
                self.first_missing
            )?;
        } else {
            let (first, last) = (self.first_missing, self.last_seen);
            write!(
                f,
                "group {first} does not read, and group {last} behind it was written"
            )?;
        }
        f.write_str("; restore a backup, or accept that what was synced last may be lost")
    }
}
