//! Names and bytes of the files under `tile/` (C2SP tlog-tiles).

use std::io;

use crate::files::Files;
use crate::merkle::{Hash, leaf};

/// Hashes in a tile, and entries in a bundle.
pub(crate) const WIDTH: u64 = 256;

/// Levels a tree of less than 2^53 leaves can have.
pub(crate) const LEVEL_COUNT: usize = 7;

/// What a file under `tile/` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The entries themselves.
    Entries,
    /// Hashes of a level.
    Level(usize),
}

/// Name of a whole tile or bundle.
pub(crate) fn full_path(kind: Kind, index: u64) -> String {
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.insert(0, format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    let index = groups.join("/");
    match kind {
        Kind::Entries => format!("tile/entries/{index}"),
        Kind::Level(level) => format!("tile/{level}/{index}"),
    }
}

/// Directory of the partial forms of a tile or bundle.
pub(crate) fn partial_dir(kind: Kind, index: u64) -> String {
    full_path(kind, index) + ".p"
}

/// Name of the partial form with `width` hashes or entries.
pub(crate) fn partial_path(kind: Kind, index: u64, width: u64) -> String {
    format!("{}/{width}", partial_dir(kind, index))
}

/// The hashes of a tile, which has exactly `width` of them.
pub(crate) fn parse_hashes(bytes: &[u8], width: u64) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() as u64 == width).then(|| hashes.to_vec())
}

/// The first `count` entries of a bundle and the number of bytes they take.
pub(crate) fn split_entries(bytes: &[u8], count: u64) -> Option<(Vec<&[u8]>, usize)> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    for _ in 0..count {
        let (len, after) = rest.split_at_checked(2)?;
        let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
        let (entry, after) = after.split_at_checked(len)?;
        entries.push(entry);
        rest = after;
    }
    Some((entries, bytes.len() - rest.len()))
}

/// The entries of a bundle that has exactly `count` of them.
pub(crate) fn parse_entries(bytes: &[u8], count: u64) -> Option<Vec<&[u8]>> {
    let (entries, len) = split_entries(bytes, count)?;
    (len == bytes.len()).then_some(entries)
}

/// The entries of a whole or partial bundle, a file under `tile/entries/`; `None` when it is malformed.
/// What they are worth, only a verified tile can tell.
pub fn bundle_entries(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (entry, len) = split_entries(rest, 1)?;
        entries.extend(entry);
        rest = &rest[len..];
    }
    (entries.len() as u64 <= WIDTH).then_some(entries)
}

pub(crate) fn leaf_hashes(entries: &[&[u8]]) -> Vec<Hash> {
    entries.iter().map(|entry| leaf(entry)).collect()
}

/// The file that holds the first `width` hashes or entries: the partial form of just that width, else
/// the whole one, else a wider partial one (a writer removes the narrow forms as the log grows).
/// Returns the bytes and how many hashes or entries the file has by its name.
pub(crate) fn read_at_least(
    files: &dyn Files,
    kind: Kind,
    index: u64,
    width: u64,
) -> io::Result<Option<(Vec<u8>, u64)>> {
    let widths = [width, WIDTH].into_iter().chain(width + 1..WIDTH);
    for width in widths {
        let path = match width {
            WIDTH => full_path(kind, index),
            width => partial_path(kind, index, width),
        };
        match files.read(&path) {
            Ok(bytes) => return Ok(Some((bytes, width))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The file `tail`: number of the bundle, then the entries of it that are there so far.
pub(crate) fn tail_head(bundle: u64) -> [u8; 8] {
    bundle.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        assert_eq!(full_path(Kind::Level(2), 1_234_067), "tile/2/x001/x234/067");
        assert_eq!(full_path(Kind::Entries, 0), "tile/entries/000");
        assert_eq!(full_path(Kind::Entries, 1000), "tile/entries/x001/000");
        assert_eq!(partial_path(Kind::Level(0), 273, 112), "tile/0/273.p/112");
    }

    #[test]
    fn bundles_that_end_early_or_late_are_refused() {
        let bytes = [0, 2, b'a', b'b', 0, 0, 0, 1, b'c'];
        assert_eq!(parse_entries(&bytes, 3), Some(vec![&b"ab"[..], b"", b"c"]));
        assert_eq!(parse_entries(&bytes, 2), None);
        assert_eq!(parse_entries(&bytes, 4), None);
        assert_eq!(parse_entries(&bytes[..8], 3), None);
        assert_eq!(split_entries(&bytes, 1), Some((vec![&b"ab"[..]], 4)));
    }
}
