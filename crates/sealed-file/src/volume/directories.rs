//! The nodes of a volume, by their numbers and places: what a file system needs.

use std::collections::BTreeMap;

use super::Volume;
use super::attributes::{Attributes, Node, NodeKind};
use super::catalogue::Catalogue;
use super::entry::{Entry, TARGET_LEN_MAX, is_text};
use super::files::{check_free, check_name, make_file};
use super::tree::TOP;
use super::volume_file::VolumeFile;
use crate::error::Error;

/// The directory at the top.
pub const TOP_DIRECTORY: u64 = TOP;

/// What becomes of what has the name that something is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is removed.
    Replaced,
    /// It stays, and nothing is moved.
    Kept,
    /// It gets the name that is moved.
    Exchanged,
}

/// A directory's number, and a name in it.
pub(super) type Place<'a> = (u64, &'a [u8]);

/// Each is one operation: after a power cut all of it is there or nothing.
impl Volume {
    /// What is known of a node.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::Fenced`], [`Error::Io`].
    pub fn node(&self, number: u64) -> Result<Node, Error> {
        self.look(|catalogue| node(catalogue, number))
    }

    /// What has a name in a directory.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::NotDirectory`], [`Error::Fenced`], [`Error::Io`].
    pub fn find(&self, directory: u64, name: &[u8]) -> Result<Node, Error> {
        self.look(|catalogue| node(catalogue, find(catalogue, (directory, name))?))
    }

    /// What is in a directory, in the order of the names' bytes.
    ///
    /// # Errors
    /// [`Error::NotDirectory`], [`Error::Fenced`], [`Error::Io`].
    pub fn entries(&self, directory: u64) -> Result<Vec<(Vec<u8>, u64, NodeKind)>, Error> {
        self.look(|catalogue| {
            let tree = catalogue.tree();
            let names = tree.names_in(directory).ok_or(Error::NotDirectory)?;
            let entry = |(name, number): (&Vec<u8>, &u64)| {
                let kind = match tree.target(*number) {
                    Some(_) => NodeKind::Link,
                    None if tree.is_directory(*number) => NodeKind::Directory,
                    None => NodeKind::File,
                };
                (name.clone(), *number, kind)
            };
            Ok(names.iter().map(entry).collect())
        })
    }

    /// The directory that a directory is in; the one at the top is in itself.
    ///
    /// # Errors
    /// [`Error::NotDirectory`], [`Error::Fenced`], [`Error::Io`].
    pub fn parent(&self, directory: u64) -> Result<u64, Error> {
        self.look(|catalogue| {
            let parent = catalogue.tree().parent(directory);
            parent.ok_or(Error::NotDirectory)
        })
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`] when it is none, [`Error::Fenced`], [`Error::Io`].
    pub fn target(&self, number: u64) -> Result<Vec<u8>, Error> {
        self.look(|catalogue| {
            let target = catalogue.tree().target(number);
            target.map(<[u8]>::to_vec).ok_or(Error::NoSuchFile)
        })
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`Volume::open_file`].
    pub fn file(&self, number: u64) -> Result<VolumeFile, Error> {
        let opened = self
            .shared
            .catalogue(|catalogue| self.shared.opened(catalogue, number))?;
        self.checked(opened)
    }

    /// Makes a file of no bytes. Answers its number, too.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::NotAName`], [`Error::NotDirectory`], [`Error::Fenced`], [`Error::Io`].
    pub fn make_file(
        &self,
        directory: u64,
        name: &[u8],
        attributes: Attributes,
    ) -> Result<(u64, VolumeFile), Error> {
        let opened = self.shared.change(|catalogue, step| {
            let place = (directory, name);
            make_file(&self.shared, catalogue, step, place, Some(attributes))
        })?;
        Ok((opened.number, self.handle(opened)))
    }

    /// Makes a directory. Answers its number.
    ///
    /// # Errors
    /// As [`Volume::make_file`].
    pub fn make_directory(
        &self,
        directory: u64,
        name: &[u8],
        attributes: Attributes,
    ) -> Result<u64, Error> {
        self.make((directory, name), attributes, |number| Entry::Directory {
            number,
        })
    }

    /// Makes a symbolic link. Answers its number.
    ///
    /// # Errors
    /// As [`Volume::make_file`]; [`Error::NotAName`] also for a target of no bytes, or more than [`TARGET_LEN_MAX`].
    pub fn make_link(
        &self,
        directory: u64,
        name: &[u8],
        target: &[u8],
        attributes: Attributes,
    ) -> Result<u64, Error> {
        if !is_text(target, TARGET_LEN_MAX) {
            return Err(Error::NotAName);
        }
        self.make((directory, name), attributes, |number| Entry::Link {
            number,
            target: target.to_vec(),
        })
    }

    fn make(
        &self,
        (directory, name): Place<'_>,
        attributes: Attributes,
        entry: impl FnOnce(u64) -> Entry,
    ) -> Result<u64, Error> {
        self.shared.change(|catalogue, _| {
            check_free(catalogue, directory, name)?;
            let number = catalogue.tree().next();
            catalogue.append(vec![
                entry(number),
                Entry::Attributes { number, attributes },
                named(number, (directory, name)),
            ])?;
            Ok(number)
        })
    }

    /// Gives a file or symbolic link one name more.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::IsDirectory`]; otherwise as [`Volume::make_file`].
    pub fn add_name(&self, number: u64, directory: u64, name: &[u8]) -> Result<(), Error> {
        self.shared.change(|catalogue, _| {
            if node(catalogue, number)?.kind == NodeKind::Directory {
                return Err(Error::IsDirectory);
            }
            check_free(catalogue, directory, name)?;
            catalogue.append(vec![named(number, (directory, name))])?;
            Ok(())
        })
    }

    /// Takes a name away. A file whose last one it was is removed; whoever has it open goes on using it.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::NotDirectory`], [`Error::IsDirectory`], [`Error::Fenced`], [`Error::Io`].
    pub fn remove_name(&self, directory: u64, name: &[u8]) -> Result<(), Error> {
        self.shared.change(|catalogue, step| {
            let number = find(catalogue, (directory, name))?;
            if catalogue.tree().is_directory(number) {
                return Err(Error::IsDirectory);
            }
            step.removed = catalogue.append(vec![nameless((directory, name))])?;
            Ok(())
        })
    }

    /// Removes a directory with nothing in it.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::NotDirectory`], [`Error::NotEmpty`], [`Error::Fenced`], [`Error::Io`].
    pub fn remove_directory(&self, directory: u64, name: &[u8]) -> Result<(), Error> {
        self.shared.change(|catalogue, _| {
            let number = find(catalogue, (directory, name))?;
            check_empty(catalogue, number)?;
            catalogue.append(vec![nameless((directory, name))])?;
            Ok(())
        })
    }

    /// Gives what has a name another one instead, in the same directory or another. Whoever looks finds it under one or the other, and what
    /// had the name before until then, also after a power cut.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::NotAName`], [`Error::NameTaken`] when that is to be kept, [`Error::NotDirectory`] and
    /// [`Error::IsDirectory`] when only one of both is a directory, [`Error::NotEmpty`], [`Error::IntoItself`], [`Error::Fenced`],
    /// [`Error::Io`].
    pub fn move_name(
        &self,
        from: (u64, &[u8]),
        to: (u64, &[u8]),
        existing: Existing,
    ) -> Result<(), Error> {
        self.shared.change(|catalogue, step| {
            let entries = moved(catalogue, from, to, existing)?;
            step.removed = catalogue.append(entries)?;
            Ok(())
        })
    }

    /// Gives nodes attributes, all in one operation.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::Fenced`], [`Error::Io`].
    pub fn set_attributes(&self, all: &BTreeMap<u64, Attributes>) -> Result<(), Error> {
        self.shared.change(|catalogue, _| {
            let known = all
                .iter()
                .filter(|(number, _)| catalogue.tree().node(**number).is_some());
            let entry = |(number, attributes): (&u64, &Attributes)| Entry::Attributes {
                number: *number,
                attributes: *attributes,
            };
            let entries: Vec<Entry> = known.map(entry).collect();
            if !entries.is_empty() {
                catalogue.append(entries)?;
            }
            Ok(())
        })
    }
}

fn moved(
    catalogue: &Catalogue,
    from: Place<'_>,
    to: Place<'_>,
    existing: Existing,
) -> Result<Vec<Entry>, Error> {
    let tree = catalogue.tree();
    let number = find(catalogue, from)?;
    check_name(to.1)?;
    let names = tree.names_in(to.0).ok_or(Error::NotDirectory)?;
    let other = names.get(to.1).copied();
    let is_directory = tree.is_directory(number);
    if is_directory && tree.is_within(to.0, number) {
        return Err(Error::IntoItself);
    }
    let other = match (other, existing) {
        (Some(_), Existing::Kept) => return Err(Error::NameTaken),
        (None, Existing::Exchanged) => return Err(Error::NoSuchFile),
        // Two names of the same file stay as they are.
        (Some(other), _) if other == number => return Ok(Vec::new()),
        (other, _) => other,
    };
    if let (Some(other), Existing::Exchanged) = (other, existing) {
        if tree.is_directory(other) && tree.is_within(from.0, other) {
            return Err(Error::IntoItself);
        }
        return Ok(vec![
            nameless(from),
            nameless(to),
            named(number, to),
            named(other, from),
        ]);
    }
    match other {
        Some(other) if is_directory => check_empty(catalogue, other)?,
        Some(other) if tree.is_directory(other) => return Err(Error::IsDirectory),
        _ => {}
    }
    Ok(vec![nameless(from), named(number, to)])
}

fn node(catalogue: &Catalogue, number: u64) -> Result<Node, Error> {
    catalogue.tree().node(number).ok_or(Error::NoSuchFile)
}

fn find(catalogue: &Catalogue, (directory, name): Place<'_>) -> Result<u64, Error> {
    let names = catalogue.tree().names_in(directory);
    let found = names.ok_or(Error::NotDirectory)?.get(name);
    found.copied().ok_or(Error::NoSuchFile)
}

fn check_empty(catalogue: &Catalogue, directory: u64) -> Result<(), Error> {
    let names = catalogue.tree().names_in(directory);
    match names.ok_or(Error::NotDirectory)?.is_empty() {
        true => Ok(()),
        false => Err(Error::NotEmpty),
    }
}

fn named(number: u64, (directory, name): Place<'_>) -> Entry {
    Entry::Name {
        number,
        directory,
        name: name.to_vec(),
    }
}

fn nameless((directory, name): Place<'_>) -> Entry {
    Entry::NoName {
        directory,
        name: name.to_vec(),
    }
}
