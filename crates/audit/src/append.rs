//! The steps of one append, in the order that survives a crash between any two of them.

use std::collections::BTreeSet;

use crate::checkpoint::Checkpoint;
use crate::edge::{FullTile, tile_index, width};
use crate::error::AuditError;
use crate::files::Files;
use crate::load::TAIL;
use crate::log::{State, io};
use crate::merkle::leaf;
use crate::note::Signer;
use crate::reader::CHECKPOINT;
use crate::tile::{self, Kind, LEVEL_COUNT, WIDTH};

/// Appends entries to the state `before` and returns the state after.
pub(crate) fn append(
    files: &dyn Files,
    signer: &Signer,
    before: State,
    entries: &[Vec<u8>],
) -> Result<State, AuditError> {
    let old_size = before.checkpoint.size();
    let (unfinished, bundles, tiles) = grow(&before, entries);
    let size = unfinished.edge.size();
    let checkpoint = Checkpoint::sign(size, unfinished.edge.root(), signer);
    let after = State {
        checkpoint,
        unfinished,
    };
    let mut whole = Vec::new();
    for (index, bytes) in &bundles {
        whole.push((tile::full_path(Kind::Entries, *index), bytes.as_slice()));
    }
    for tile in &tiles {
        whole.push((
            tile::full_path(Kind::Level(tile.level), tile.index),
            tile.hashes.as_flattened(),
        ));
    }
    place(files, &whole)?;
    write_tail(files, &before, &after)?;
    write_partials(files, &after, old_size)?;
    place(files, &[(CHECKPOINT.to_owned(), after.checkpoint.note())])?;
    remove_partials(files, old_size, size);
    Ok(after)
}

/// Writes the files that an append leaves to the disk's own time, where a crash has lost them.
pub(crate) fn repair(files: &dyn Files, state: &State) -> Result<(), AuditError> {
    if read(files, TAIL)?.is_none() {
        write_whole_tail(files, state)?;
        files.sync_dir("").map_err(io("sync", ""))?;
    }
    for (path, dir, bytes) in partials(state) {
        if read(files, &path)?.as_deref() != Some(&bytes) {
            write_partial(files, &path, &dir, &bytes)?;
        }
    }
    Ok(())
}

/// Puts whole files in their places, durably, and the names of their directories with them.
pub(crate) fn place(files: &dyn Files, whole: &[(String, &[u8])]) -> Result<(), AuditError> {
    let mut dirs = BTreeSet::new();
    for (path, bytes) in whole {
        let temporary = format!("{path}.tmp");
        let mut dir = path.as_str();
        while let Some((parent, _)) = dir.rsplit_once('/') {
            dirs.insert(parent);
            dir = parent;
        }
        dirs.insert("");
        if let Some((dir, _)) = path.rsplit_once('/') {
            files.create_dir(dir).map_err(io("create", dir))?;
        }
        files
            .write(&temporary, 0, bytes, true)
            .map_err(io("write", &temporary))?;
        files.rename(&temporary, path).map_err(io("rename", path))?;
    }
    // A directory sorts before what is in it, so this goes from the leaves to the root.
    dirs.iter()
        .rev()
        .try_for_each(|dir| files.sync_dir(dir).map_err(io("sync", dir)))
}

type Grown = (crate::load::Unfinished, Vec<(u64, Vec<u8>)>, Vec<FullTile>);

/// The unfinished part with the entries added, and the bundles and tiles that became whole by them.
fn grow(before: &State, entries: &[Vec<u8>]) -> Grown {
    let mut unfinished = before.unfinished.clone();
    let (mut bundles, mut tiles) = (Vec::new(), Vec::new());
    for entry in entries {
        let len = u16::try_from(entry.len()).expect("an event is far shorter than 65,535 bytes");
        unfinished.bundle.extend_from_slice(&len.to_be_bytes());
        unfinished.bundle.extend_from_slice(entry);
        unfinished.edge.push(leaf(entry), &mut tiles);
        let size = unfinished.edge.size();
        if size.is_multiple_of(WIDTH) {
            bundles.push((size / WIDTH - 1, std::mem::take(&mut unfinished.bundle)));
        }
    }
    (unfinished, bundles, tiles)
}

/// Makes the entries of the unfinished bundle durable. Only what is new is written, unless `tail`
/// belongs to another bundle or is not what it should be.
fn write_tail(files: &dyn Files, before: &State, after: &State) -> Result<(), AuditError> {
    if after.unfinished.bundle.is_empty() {
        return Ok(());
    }
    let same_bundle = before.checkpoint.size() / WIDTH == after.checkpoint.size() / WIDTH;
    let known = &before.unfinished.bundle;
    if !same_bundle || known.is_empty() {
        return write_whole_tail(files, after);
    }
    let expected = tail_bytes(before);
    // Another process may have died after it moved `tail` on and before its checkpoint.
    if !read(files, TAIL)?.is_some_and(|tail| tail.starts_with(&expected)) {
        return write_whole_tail(files, after);
    }
    let new = &after.unfinished.bundle[known.len()..];
    files
        .write(TAIL, expected.len() as u64, new, true)
        .map_err(io("write", TAIL))
}

/// Rewrites `tail` in place. Whatever it held is covered elsewhere: entries of whole bundles by those,
/// and those of an unfinished bundle by the file they were just read from.
fn write_whole_tail(files: &dyn Files, state: &State) -> Result<(), AuditError> {
    files
        .write(TAIL, 0, &tail_bytes(state), true)
        .map_err(io("write", TAIL))
}

fn tail_bytes(state: &State) -> Vec<u8> {
    let head = tile::tail_head(state.checkpoint.size() / WIDTH);
    [head.as_slice(), &state.unfinished.bundle].concat()
}

/// The partial tiles and the partial bundle of a state: path, directory and bytes.
fn partials(state: &State) -> Vec<(String, String, Vec<u8>)> {
    let size = state.checkpoint.size();
    let mut out = Vec::new();
    let mut add = |kind, level, bytes: &[u8]| {
        let (index, width) = (tile_index(size, level), width(size, level));
        if width > 0 {
            let path = tile::partial_path(kind, index, width);
            out.push((path, tile::partial_dir(kind, index), bytes.to_vec()));
        }
    };
    add(Kind::Entries, 0, &state.unfinished.bundle);
    for level in 0..LEVEL_COUNT {
        add(
            Kind::Level(level),
            level,
            state.unfinished.edge.level(level).as_flattened(),
        );
    }
    out
}

/// Writes the partial files that differ from those of the old size. They repeat what `tail` and the
/// whole tiles hold, so nobody waits for them.
fn write_partials(files: &dyn Files, state: &State, old_size: u64) -> Result<(), AuditError> {
    let size = state.checkpoint.size();
    let unchanged = (1..LEVEL_COUNT).filter(|level| old_size >> (8 * level) == size >> (8 * level));
    let unchanged: Vec<String> = unchanged
        .map(|level| {
            tile::partial_path(
                Kind::Level(level),
                tile_index(size, level),
                width(size, level),
            )
        })
        .collect();
    for (path, dir, bytes) in partials(state) {
        if !unchanged.contains(&path) {
            write_partial(files, &path, &dir, &bytes)?;
        }
    }
    Ok(())
}

fn write_partial(files: &dyn Files, path: &str, dir: &str, bytes: &[u8]) -> Result<(), AuditError> {
    files.create_dir(dir).map_err(io("create", dir))?;
    files
        .write(path, 0, bytes, false)
        .map_err(io("write", path))
}

/// Removes partial files that a reader of the old or the new checkpoint does not ask for. One that
/// stays behind does no harm, and goes when its tile is whole.
fn remove_partials(files: &dyn Files, old_size: u64, size: u64) {
    for level in 0..LEVEL_COUNT {
        let (index, old_width) = (tile_index(old_size, level), width(old_size, level));
        let mut kinds = vec![Kind::Level(level)];
        if level == 0 {
            kinds.push(Kind::Entries);
        }
        for kind in kinds {
            if tile_index(size, level) != index {
                let _ = files.remove(&tile::partial_dir(kind, index));
            } else if width(size, level) != old_width && old_width > 1 {
                let _ = files.remove(&tile::partial_path(kind, index, old_width - 1));
            }
        }
    }
}

fn read(files: &dyn Files, path: &str) -> Result<Option<Vec<u8>>, AuditError> {
    match files.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io("read", path)(source)),
    }
}
