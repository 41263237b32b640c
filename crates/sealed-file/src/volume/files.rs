//! The files of a volume by their names.

use std::sync::Arc;

use super::catalogue::Catalogue;
use super::entry::{Entry, NAME_LEN_MAX, is_text};
use super::opened::Opened;
use super::shared::{Shared, Step};
use super::volume_file::VolumeFile;
use super::{Attributes, Volume};
use crate::error::Error;

/// A name is a path where it leads through directories of the volume, and otherwise a name in the one at the top, whatever is in it.
impl Volume {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::RecordAltered`], [`Error::Fenced`], [`Error::Io`].
    pub fn open_file(&self, name: &[u8]) -> Result<VolumeFile, Error> {
        let opened = self.shared.catalogue(|catalogue| {
            let (directory, name) = catalogue.tree().place(name);
            let number = catalogue.tree().find(directory, name);
            self.shared
                .opened(catalogue, number.ok_or(Error::NoSuchFile)?)
        })?;
        self.checked(opened)
    }

    /// Makes a file of no bytes under a name that nothing has. It is durable after the next sync.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::NotAName`], [`Error::Fenced`], [`Error::Io`].
    pub fn create_file(&self, name: &[u8]) -> Result<VolumeFile, Error> {
        let opened = self.shared.change(|catalogue, step| {
            let (directory, name) = catalogue.tree().place(name);
            make_file(&self.shared, catalogue, step, (directory, name), None)
        })?;
        Ok(self.handle(opened))
    }

    /// Removes a file. Whoever has it open goes on using it.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`], [`Error::IsDirectory`], [`Error::Fenced`], [`Error::Io`].
    pub fn remove_file(&self, name: &[u8]) -> Result<(), Error> {
        let (directory, name) = self.place(name)?;
        self.remove_name(directory, name)
    }

    /// Gives a file another name. A file that has it is removed by that: whoever looks finds one or the other, also after a
    /// power cut.
    ///
    /// # Errors
    /// As [`Volume::move_name`].
    pub fn rename_file(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        self.move_name(from, to, super::Existing::Replaced)
    }

    /// The names of all files, in the order of their bytes.
    ///
    /// # Errors
    /// [`Error::Fenced`], [`Error::Io`].
    pub fn file_names(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.look(|catalogue| Ok(catalogue.tree().paths()))
    }

    fn place<'a>(&self, path: &'a [u8]) -> Result<(u64, &'a [u8]), Error> {
        self.look(|catalogue| Ok(catalogue.tree().place(path)))
    }

    /// Looks into the catalogue.
    pub(super) fn look<R>(
        &self,
        look: impl FnOnce(&mut Catalogue) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let found = self.shared.catalogue(look)?;
        // What was read before the gate closed may have been on its way here when it did.
        self.shared.admit()?;
        Ok(found)
    }

    /// What is wrong with a file is told when it is opened.
    pub(super) fn checked(&self, opened: Arc<Opened>) -> Result<VolumeFile, Error> {
        let file = self.handle(opened);
        file.len()?;
        Ok(file)
    }
}

/// Makes a file of no bytes.
pub(super) fn make_file(
    shared: &Arc<Shared>,
    catalogue: &mut Catalogue,
    step: &mut Step,
    (directory, name): (u64, &[u8]),
    attributes: Option<Attributes>,
) -> Result<Arc<Opened>, Error> {
    check_free(catalogue, directory, name)?;
    let number = catalogue.tree().next();
    let opened = shared.made(catalogue, number)?;
    step.staged.push(opened.layers.clone());
    let mut staging = opened.staging();
    let file_id = staging.make_record(&step.store)?;
    // Nobody else has it: what becomes of it is up to the step.
    staging.keep();
    let mut entries = vec![Entry::File { number, file_id }];
    entries.extend(attributes.map(|attributes| Entry::Attributes { number, attributes }));
    entries.push(Entry::Name {
        number,
        directory,
        name: name.to_vec(),
    });
    catalogue.append(entries)?;
    Ok(opened)
}

/// Refuses a place where something is, or nothing can be.
pub(super) fn check_free(catalogue: &Catalogue, directory: u64, name: &[u8]) -> Result<(), Error> {
    check_name(name)?;
    let names = catalogue.tree().names_in(directory);
    match names.ok_or(Error::NotDirectory)?.contains_key(name) {
        true => Err(Error::NameTaken),
        false => Ok(()),
    }
}

/// Refuses what is no name.
pub(super) fn check_name(name: &[u8]) -> Result<(), Error> {
    match is_text(name, NAME_LEN_MAX) {
        true => Ok(()),
        false => Err(Error::NotAName),
    }
}
