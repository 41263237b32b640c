//! Finding the right edge of a log on disk again, whatever a crash has left.
//!
//! What a signed checkpoint covers was durable before it was signed: whole tiles and bundles in their
//! own files, the rest in `tail` (or, when an append that was never finished has moved `tail` on, in
//! the whole bundle that it wrote first). Nothing is believed that does not lead to the signed root,
//! and nothing beyond the checkpoint is taken: nobody has signed for it.

use std::io;

use crate::edge::{Edge, tile_index, width};
use crate::files::Files;
use crate::merkle::{Hash, perfect_root};
use crate::tile::{self, Kind, LEVEL_COUNT, WIDTH};
use crate::verify_error::VerifyError;

/// The unfinished part of a log: hashes of every level, and the entries of the last bundle.
#[derive(Clone)]
pub(crate) struct Unfinished {
    pub(crate) edge: Edge,
    pub(crate) bundle: Vec<u8>,
}

/// The unfinished part of the log that has this size and root.
pub(crate) fn load(files: &dyn Files, size: u64, root: &Hash) -> Result<Unfinished, VerifyError> {
    let edge = whole_part(files, size - size % WIDTH)?;
    finish(
        files,
        Unfinished {
            edge,
            bundle: Vec::new(),
        },
        size,
        root,
    )
}

/// Goes on from an earlier state of the log to the one that has this size and root.
pub(crate) fn advance(
    files: &dyn Files,
    from: &Unfinished,
    size: u64,
    root: &Hash,
) -> Result<Unfinished, VerifyError> {
    let mut state = from.clone();
    for bundle in state.edge.size() / WIDTH..size / WIDTH {
        let entries = read(files, &tile::full_path(Kind::Entries, bundle))?;
        take_entries(&mut state, &entries, WIDTH).ok_or(VerifyError::Entries { bundle })?;
        state.bundle.clear();
    }
    finish(files, state, size, root)
}

/// Adds the entries of the last bundle, from the first source that leads to the root.
fn finish(
    files: &dyn Files,
    from: Unfinished,
    size: u64,
    root: &Hash,
) -> Result<Unfinished, VerifyError> {
    let (bundle, count) = (size / WIDTH, size % WIDTH);
    if count == 0 || from.edge.size() == size {
        let found = from.edge.root() == *root;
        return if found { Ok(from) } else { Err(root_differs()) };
    }
    let sources: [&dyn Fn() -> Result<Option<Vec<u8>>, VerifyError>; 3] = [
        &|| tail(files, bundle),
        &|| at_least(files, bundle, count),
        &|| optional(files, &tile::full_path(Kind::Entries, bundle)),
    ];
    for source in sources {
        let Some(bytes) = source()? else { continue };
        let mut state = from.clone();
        if take_entries(&mut state, &bytes, count).is_some() && state.edge.root() == *root {
            return Ok(state);
        }
    }
    Err(VerifyError::Entries { bundle })
}

/// The edge of a tree that consists of whole bundles, computed from whole tiles only.
fn whole_part(files: &dyn Files, size: u64) -> Result<Edge, VerifyError> {
    let mut levels: [Vec<Hash>; LEVEL_COUNT] = Default::default();
    for (level, hashes) in levels.iter_mut().enumerate().skip(1) {
        let first = tile_index(size, level) * WIDTH;
        for index in first..first + width(size, level) {
            hashes.push(perfect_root(&full_tile(files, level - 1, index)?));
        }
    }
    Ok(Edge::new(size, levels))
}

pub(crate) fn full_tile(
    files: &dyn Files,
    level: usize,
    index: u64,
) -> Result<Vec<Hash>, VerifyError> {
    let bytes = read(files, &tile::full_path(Kind::Level(level), index))?;
    tile::parse_hashes(&bytes, WIDTH).ok_or(VerifyError::Tile {
        level: level as u8,
        index,
    })
}

pub(crate) fn read(files: &dyn Files, path: &str) -> Result<Vec<u8>, VerifyError> {
    optional(files, path)?.ok_or_else(|| VerifyError::Missing {
        file: path.to_owned(),
    })
}

pub(crate) fn optional(files: &dyn Files, path: &str) -> Result<Option<Vec<u8>>, VerifyError> {
    match files.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(VerifyError::Io {
            path: path.into(),
            source,
        }),
    }
}

/// Makes the first `count` entries of `bytes` the last bundle. Those that the state has already must
/// be the same bytes.
fn take_entries(state: &mut Unfinished, bytes: &[u8], count: u64) -> Option<()> {
    let (entries, len) = tile::split_entries(bytes, count)?;
    let known = usize::try_from(state.edge.size() % WIDTH).ok()?;
    if !bytes.starts_with(&state.bundle) {
        return None;
    }
    for hash in tile::leaf_hashes(entries.get(known..)?) {
        state.edge.push(hash, &mut Vec::new());
    }
    state.bundle = bytes[..len].to_vec();
    Some(())
}

fn tail(files: &dyn Files, bundle: u64) -> Result<Option<Vec<u8>>, VerifyError> {
    let bytes = optional(files, TAIL)?;
    Ok(bytes.and_then(|bytes| Some(bytes.strip_prefix(&tile::tail_head(bundle))?.to_vec())))
}

fn at_least(files: &dyn Files, bundle: u64, count: u64) -> Result<Option<Vec<u8>>, VerifyError> {
    let found = tile::read_at_least(files, Kind::Entries, bundle, count);
    let found = found.map_err(|source| VerifyError::Io {
        path: tile::partial_dir(Kind::Entries, bundle).into(),
        source,
    })?;
    Ok(found.map(|(bytes, _)| bytes))
}

fn root_differs() -> VerifyError {
    VerifyError::Tile { level: 0, index: 0 }
}

/// Entries of the bundle that is not whole yet.
pub(crate) const TAIL: &str = "tail";
