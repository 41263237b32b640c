//! Nodes and names, in memory: what all entries of the catalogue come to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cofferdam_keys::FileId;
use zeroize::Zeroize;

use super::attributes::{Attributes, Node, NodeKind};
use super::entry::Entry;

/// The names in one directory.
pub(crate) type Names = BTreeMap<Vec<u8>, u64>;

/// The nodes of a volume.
pub(crate) struct Tree {
    nodes: HashMap<u64, Known>,
    /// What is in each directory.
    directories: HashMap<u64, Names>,
    /// Nodes that have lost a name in the present operation.
    losers: BTreeSet<u64>,
    /// Files that have lost all their names, and may still be there because somebody has them open.
    removed: BTreeSet<u64>,
    /// One more than the highest number.
    next: u64,
}

struct Known {
    what: What,
    attributes: Option<Attributes>,
    names: u32,
    /// Directories in it.
    inside: u32,
}

enum What {
    File(FileId),
    /// With its place; the one at the top has none.
    Directory(Option<(u64, Vec<u8>)>),
    Link(Vec<u8>),
}

impl Tree {
    /// The directory at the top, empty.
    pub(crate) fn new() -> Tree {
        let top = Known::new(What::Directory(None));
        Tree {
            nodes: HashMap::from([(TOP, top)]),
            directories: HashMap::from([(TOP, Names::new())]),
            losers: BTreeSet::new(),
            removed: BTreeSet::new(),
            next: 1,
        }
    }

    /// Takes over an entry; `None` when it makes no sense here.
    pub(crate) fn take(&mut self, entry: Entry) -> Option<()> {
        match entry {
            Entry::File { number, file_id } => match self.nodes.get_mut(&number) {
                Some(known) => match &mut known.what {
                    What::File(id) => *id = file_id,
                    _ => return None,
                },
                None => self.make(number, What::File(file_id))?,
            },
            Entry::Directory { number } => {
                self.make(number, What::Directory(None))?;
                self.directories.insert(number, Names::new());
            }
            Entry::Link { number, target } => self.make(number, What::Link(target))?,
            Entry::Attributes { number, attributes } => {
                self.nodes.get_mut(&number)?.attributes = Some(attributes);
            }
            Entry::Name {
                number,
                directory,
                name,
            } => self.name(number, directory, name)?,
            Entry::NoName { directory, name } => {
                let number = self.directories.get_mut(&directory)?.remove(&name)?;
                self.lose(number, directory)?;
            }
            Entry::Removed { number } => {
                if self.nodes.contains_key(&number) {
                    return None;
                }
                self.removed.insert(number);
                self.count(number);
            }
        }
        Some(())
    }

    fn make(&mut self, number: u64, what: What) -> Option<()> {
        if self.nodes.contains_key(&number) || self.removed.contains(&number) {
            return None;
        }
        self.nodes.insert(number, Known::new(what));
        self.losers.insert(number);
        self.count(number);
        Some(())
    }

    fn count(&mut self, number: u64) {
        self.next = self.next.max(number + 1);
    }

    fn name(&mut self, number: u64, directory: u64, name: Vec<u8>) -> Option<()> {
        let known = self.nodes.get_mut(&number).filter(|_| number != TOP)?;
        if !self.directories.contains_key(&directory) {
            return None;
        }
        known.names += 1;
        // A directory has one name.
        let before = match &mut known.what {
            What::Directory(place) => {
                let before = place.replace((directory, name.clone()));
                self.nodes.get_mut(&directory)?.inside += 1;
                before
            }
            _ => None,
        };
        if let Some((directory, name)) = before {
            let named = self.directories.get_mut(&directory)?.remove(&name)?;
            self.lose(named, directory)?;
        }
        let names = self.directories.get_mut(&directory)?;
        match names.insert(name, number) {
            Some(loser) => self.lose(loser, directory),
            None => Some(()),
        }
    }

    /// A node has lost a name that it had in a directory.
    fn lose(&mut self, number: u64, directory: u64) -> Option<()> {
        let known = self.nodes.get_mut(&number)?;
        known.names = known.names.checked_sub(1)?;
        let is_directory = match &mut known.what {
            What::Directory(place) => {
                if known.names == 0 {
                    *place = None;
                }
                true
            }
            _ => false,
        };
        if is_directory {
            let inside = &mut self.nodes.get_mut(&directory)?.inside;
            *inside = inside.checked_sub(1)?;
        }
        self.losers.insert(number);
        Some(())
    }

    /// Ends an operation: what has no name left is gone. Answers which files; `None` when a directory with something in it would be.
    pub(crate) fn settle(&mut self) -> Option<Vec<u64>> {
        let mut files = Vec::new();
        for number in std::mem::take(&mut self.losers) {
            if self.nodes.get(&number).is_none_or(|it| it.names > 0) {
                continue;
            }
            match self.nodes.remove(&number)?.what {
                What::File(_) => {
                    self.removed.insert(number);
                    files.push(number);
                }
                What::Directory(_) => {
                    let names = self.directories.remove(&number)?;
                    names.is_empty().then_some(())?;
                }
                What::Link(_) => {}
            }
        }
        Some(files)
    }

    /// Whether every directory is below the one at the top.
    pub(crate) fn is_whole(&self) -> bool {
        let (mut seen, mut open) = (0, vec![TOP]);
        while let Some(directory) = open.pop() {
            seen += 1;
            let names = self.directories.get(&directory).into_iter().flatten();
            open.extend(
                names
                    .map(|(_, number)| *number)
                    .filter(|it| self.is_directory(*it)),
            );
        }
        seen == self.directories.len()
    }

    pub(crate) fn find(&self, directory: u64, name: &[u8]) -> Option<u64> {
        self.directories.get(&directory)?.get(name).copied()
    }

    /// What is in a directory.
    pub(crate) fn names_in(&self, directory: u64) -> Option<&Names> {
        self.directories.get(&directory)
    }

    pub(crate) fn is_directory(&self, number: u64) -> bool {
        self.directories.contains_key(&number)
    }

    pub(crate) fn file_id(&self, number: u64) -> Option<FileId> {
        match self.nodes.get(&number)?.what {
            What::File(file_id) => Some(file_id),
            _ => None,
        }
    }

    pub(crate) fn target(&self, number: u64) -> Option<&[u8]> {
        match &self.nodes.get(&number)?.what {
            What::Link(target) => Some(target),
            _ => None,
        }
    }

    /// The directory that a directory is in; the one at the top is in itself.
    pub(crate) fn parent(&self, directory: u64) -> Option<u64> {
        match &self.nodes.get(&directory)?.what {
            What::Directory(place) => Some(place.as_ref().map_or(TOP, |(parent, _)| *parent)),
            _ => None,
        }
    }

    /// Whether a directory is another one, or somewhere in it.
    pub(crate) fn is_within(&self, directory: u64, other: u64) -> bool {
        let mut at = directory;
        while at != other && at != TOP {
            match self.parent(at) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        at == other
    }

    pub(crate) fn node(&self, number: u64) -> Option<Node> {
        let known = self.nodes.get(&number)?;
        let kind = match known.what {
            What::File(_) => NodeKind::File,
            What::Directory(_) => NodeKind::Directory,
            What::Link(_) => NodeKind::Link,
        };
        Some(Node {
            number,
            kind,
            names: known.names,
            directories: known.inside,
            attributes: known.attributes.unwrap_or_default(),
        })
    }

    /// The paths of all files, in the order of their bytes.
    pub(crate) fn paths(&self) -> Vec<Vec<u8>> {
        let (mut paths, mut open) = (Vec::new(), vec![(TOP, Vec::new())]);
        while let Some((directory, path)) = open.pop() {
            for (name, number) in self.directories.get(&directory).into_iter().flatten() {
                let path = match path.is_empty() {
                    true => name.clone(),
                    false => [&path[..], b"/", name].concat(),
                };
                if self.is_directory(*number) {
                    open.push((*number, path));
                } else if self.file_id(*number).is_some() {
                    paths.push(path);
                }
            }
        }
        paths.sort();
        paths
    }

    /// Where a path leads: a directory, and a name in it that something may have. What leads through no directories is a name at the top.
    pub(crate) fn place<'a>(&self, path: &'a [u8]) -> (u64, &'a [u8]) {
        let mut parts = path.split(|byte| *byte == b'/');
        let Some(name) = parts.next_back().filter(|_| self.find(TOP, path).is_none()) else {
            return (TOP, path);
        };
        let below = |directory, part: &[u8]| {
            let found = self.find(directory, part)?;
            self.is_directory(found).then_some(found)
        };
        parts
            .try_fold(TOP, below)
            .map_or((TOP, path), |directory| (directory, name))
    }

    /// Whether a file has lost its names, and is not merely one that is not known here.
    pub(crate) fn has_removed(&self, number: u64) -> bool {
        self.removed.contains(&number)
    }

    pub(crate) fn has_file(&self, number: u64) -> bool {
        self.file_id(number).is_some()
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    pub(crate) fn skip_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// Forgets files that were removed and are not there any more.
    pub(crate) fn forget_removed(&mut self, may_be_there: impl Fn(u64) -> bool) {
        self.removed.retain(|number| may_be_there(*number));
    }

    /// The entries that count, nodes before names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let nodes: BTreeMap<u64, &Known> = self.nodes.iter().map(|(at, it)| (*at, it)).collect();
        let nodes = nodes.into_iter().flat_map(|(number, known)| {
            let made = known.entry(number).filter(|_| number != TOP);
            let attributes = known.attributes;
            let attributes = attributes.map(|attributes| Entry::Attributes { number, attributes });
            made.into_iter().chain(attributes)
        });
        let names = self.directories.iter().flat_map(|(directory, names)| {
            names.iter().map(|(name, number)| Entry::Name {
                number: *number,
                directory: *directory,
                name: name.clone(),
            })
        });
        let removed = self.removed.iter();
        let removed = removed.map(|number| Entry::Removed { number: *number });
        nodes.chain(names).chain(removed)
    }
}

impl Known {
    fn new(what: What) -> Known {
        Known {
            what,
            attributes: None,
            names: 0,
            inside: 0,
        }
    }

    fn entry(&self, number: u64) -> Option<Entry> {
        Some(match &self.what {
            What::File(file_id) => Entry::File {
                number,
                file_id: *file_id,
            },
            What::Directory(_) => Entry::Directory { number },
            What::Link(target) => Entry::Link {
                number,
                target: target.clone(),
            },
        })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A fence takes the names as well.
        for names in self.directories.values_mut() {
            for (mut name, _) in std::mem::take(names) {
                name.zeroize();
            }
        }
        for known in self.nodes.values_mut() {
            match &mut known.what {
                What::Directory(Some((_, name))) => name.zeroize(),
                What::Link(target) => target.zeroize(),
                _ => {}
            }
        }
    }
}

/// The directory at the top.
pub(crate) const TOP: u64 = 0;
