//! What a volume should hold, and operations on it that are made up from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use cofferdam_sealed_file::{Attributes, Error, NodeKind, TOP_DIRECTORY, Volume};

use crate::random::Random;

/// Names and contents. A directory is a name with a slash behind it, and no content.
pub type Model = BTreeMap<Vec<u8>, Arc<Vec<u8>>>;

/// Something that is done to a volume.
#[derive(Clone, Debug)]
pub enum VolumeStep {
    /// Makes a file.
    Create(Vec<u8>),
    /// Writes to a file.
    Write(Vec<u8>, u64, Arc<Vec<u8>>),
    /// Changes a file's length.
    SetLen(Vec<u8>, u64),
    /// Renames a file, over another one perhaps.
    Rename(Vec<u8>, Vec<u8>),
    /// Removes a file.
    Remove(Vec<u8>),
    /// Makes a directory at the top.
    MakeDirectory(Vec<u8>),
    /// Renames a directory at the top, with all that is in it.
    MoveDirectory(Vec<u8>, Vec<u8>),
    /// Removes a directory at the top with nothing in it.
    RemoveDirectory(Vec<u8>),
    /// Asks for durability.
    Sync,
    /// Brings the journal home.
    BringHome,
}

impl VolumeStep {
    /// Does it to a model.
    ///
    /// # Panics
    /// When the model has no such file: steps are made for the model that they are done to.
    pub fn apply(&self, model: &mut Model) {
        match self {
            VolumeStep::Create(name) => {
                model.insert(name.clone(), Arc::default());
            }
            VolumeStep::Write(name, offset, bytes) => {
                let file = Arc::make_mut(model.get_mut(name).expect("the file is there"));
                let start = *offset as usize;
                file.resize(file.len().max(start + bytes.len()), 0);
                file[start..start + bytes.len()].copy_from_slice(bytes);
            }
            VolumeStep::SetLen(name, len) => {
                let file = Arc::make_mut(model.get_mut(name).expect("the file is there"));
                file.resize(*len as usize, 0);
            }
            VolumeStep::Rename(from, to) => {
                let file = model.remove(from).expect("the file is there");
                model.insert(to.clone(), file);
            }
            VolumeStep::Remove(name) => {
                model.remove(name);
            }
            VolumeStep::MakeDirectory(name) => {
                model.insert(inside(name), Arc::default());
            }
            VolumeStep::MoveDirectory(from, to) => {
                let (from, to) = (inside(from), inside(to));
                let below = model.extract_if(.., |name, _| name.starts_with(&from));
                let moved: Model = below
                    .map(|(name, file)| ([&to, &name[from.len()..]].concat(), file))
                    .collect();
                model.extend(moved);
            }
            VolumeStep::RemoveDirectory(name) => {
                model.remove(&inside(name));
            }
            VolumeStep::Sync | VolumeStep::BringHome => {}
        }
    }

    /// Does it to a volume.
    ///
    /// # Errors
    /// The volume's.
    pub fn perform(&self, volume: &Volume) -> Result<(), Error> {
        match self {
            VolumeStep::Create(name) => volume.create_file(name).map(|_| ()),
            VolumeStep::Write(name, offset, bytes) => {
                volume.open_file(name)?.write_at(bytes, *offset)
            }
            VolumeStep::SetLen(name, len) => volume.open_file(name)?.set_len(*len),
            VolumeStep::Rename(from, to) => volume.rename_file(from, to),
            VolumeStep::Remove(name) => volume.remove_file(name),
            VolumeStep::MakeDirectory(name) => volume
                .make_directory(TOP_DIRECTORY, name, Attributes::default())
                .map(|_| ()),
            VolumeStep::MoveDirectory(from, to) => volume.rename_file(from, to),
            VolumeStep::RemoveDirectory(name) => volume.remove_directory(TOP_DIRECTORY, name),
            VolumeStep::Sync => volume.sync(),
            VolumeStep::BringHome => volume.bring_home(),
        }
    }
}

/// Steps like those of databases: pages updated in place, a log whose last page is rewritten longer and longer, growth,
/// truncation, files that are written, synced and renamed into place, removals; of several writers at once.
pub fn steps(random: &mut Random, count: usize) -> Vec<VolumeStep> {
    let mut model = Model::new();
    let mut steps = Vec::new();
    while steps.len() < count {
        for step in some_steps(random, &model) {
            step.apply(&mut model);
            steps.push(step);
        }
    }
    steps
}

fn some_steps(random: &mut Random, model: &Model) -> Vec<VolumeStep> {
    if random.chance(8) {
        return directory_steps(random, model);
    }
    let names: Vec<&Vec<u8>> = model.keys().filter(|it| !it.ends_with(b"/")).collect();
    if names.is_empty() || (names.len() < 6 && random.chance(12)) {
        let name = name(random);
        return match model.contains_key(&name) {
            true => vec![VolumeStep::Sync],
            false => vec![VolumeStep::Create(name)],
        };
    }
    let name = (*random.pick(&names)).clone();
    let len = model[&name].len() as u64;
    match random.below(20) {
        // A page of a table, in place.
        0..6 => {
            let page = random.below(len / PAGE + 1);
            vec![write(random, name, page * PAGE, PAGE as usize)]
        }
        // Records behind the others, in the middle of a page; each is synced.
        6..11 => {
            let mut at = len;
            let mut steps = Vec::new();
            for _ in 0..=random.below(3) {
                let record = 1 + random.index(700);
                // The writer has the whole last page in memory and writes all of it again.
                let from = if random.chance(50) {
                    at / PAGE * PAGE
                } else {
                    at
                };
                let mut bytes = model[&name].get(from as usize..).unwrap_or(&[]).to_vec();
                if from < at && at > len {
                    break;
                }
                bytes.extend(random.bytes(record));
                at = from + bytes.len() as u64;
                steps.push(VolumeStep::Write(name.clone(), from, Arc::new(bytes)));
                steps.push(VolumeStep::Sync);
            }
            steps
        }
        // Growth, with a gap perhaps.
        11 => {
            let at = len + random.below(3 * PAGE);
            let size = 1 + random.index(5 * PAGE as usize);
            vec![write(random, name, at, size)]
        }
        12 => vec![VolumeStep::SetLen(name, len + random.below(4 * PAGE))],
        13 => vec![VolumeStep::SetLen(name, random.below(len + 1))],
        14 => vec![VolumeStep::SetLen(name, 0)],
        // A file that is written whole, synced, and put in the place of another.
        15 => {
            let temporary = [&name[..], b".tmp"].concat();
            let size = 1 + random.index(9000);
            let mut steps = vec![VolumeStep::Create(temporary.clone())];
            if model.contains_key(&temporary) {
                steps.clear();
            }
            steps.push(write(random, temporary.clone(), 0, size));
            if random.chance(70) {
                steps.push(VolumeStep::Sync);
            }
            steps.push(VolumeStep::Rename(temporary, name));
            steps
        }
        16 => vec![VolumeStep::Remove(name)],
        17 => vec![VolumeStep::BringHome],
        _ => vec![VolumeStep::Sync],
    }
}

/// Something with one of two directories.
fn directory_steps(random: &mut Random, model: &Model) -> Vec<VolumeStep> {
    let (one, other) = match random.chance(50) {
        true => (b"directory".to_vec(), b"moved".to_vec()),
        false => (b"moved".to_vec(), b"directory".to_vec()),
    };
    let place = inside(&one);
    if !model.contains_key(&place) {
        return vec![VolumeStep::MakeDirectory(one)];
    }
    let mut file = place.clone();
    file.push(b'f' + random.below(3) as u8);
    let count = model.keys().filter(|it| it.starts_with(&place)).count();
    match random.below(4) {
        0 if count == 1 => vec![VolumeStep::RemoveDirectory(one)],
        1 if !model.contains_key(&inside(&other)) => vec![VolumeStep::MoveDirectory(one, other)],
        _ if model.contains_key(&file) => vec![VolumeStep::Remove(file)],
        _ => vec![VolumeStep::Create(file)],
    }
}

fn inside(directory: &[u8]) -> Vec<u8> {
    [directory, b"/"].concat()
}

fn write(random: &mut Random, name: Vec<u8>, at: u64, size: usize) -> VolumeStep {
    VolumeStep::Write(name, at, Arc::new(random.bytes(size)))
}

fn name(random: &mut Random) -> Vec<u8> {
    let names: [&[u8]; 6] = [
        b"base/1/1259",
        b"pg_wal/0001",
        b"\xff\n odd",
        b"a",
        b"global/pg_control",
        b"b/c/d",
    ];
    random.pick(&names).to_vec()
}

/// Everything that a volume holds.
///
/// # Errors
/// The volume's.
pub fn contents(volume: &Volume) -> Result<Model, Error> {
    let mut model = Model::new();
    for name in volume.file_names()? {
        let file = volume.open_file(&name)?;
        let mut bytes = vec![0; file.len()? as usize];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        model.insert(name, Arc::new(bytes));
    }
    for (name, _, kind) in volume.entries(TOP_DIRECTORY)? {
        if kind == NodeKind::Directory {
            model.insert(inside(&name), Arc::default());
        }
    }
    Ok(model)
}

const PAGE: u64 = 4096;
