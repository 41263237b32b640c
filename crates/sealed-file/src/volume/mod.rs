//! A volume: a directory of sealed files with one keyring and one redo journal.
//!
//! Invariants, cited as V1 to V7 (ARCHITECTURE.md lists where each is kept and tested):
//!
//! - V1. What is durable is a prefix of the operations, over all files, in the order in which they were published; it holds everything
//!   published before a sync that was acknowledged.
//! - V2. No byte of a file's home changes before the group that says so is durable in the journal.
//! - V3. A segment begins a new life only when everything in it is durable at home, and the list of files fits the files.
//! - V4. After a write or sync of the journal or a home failed, nothing is published any more, and nothing that was not durable before is
//!   acknowledged; what is in memory stays readable. A home that cannot be opened or has no room is tried again.
//! - V5. A file's number is never used twice, and a file cut to nothing has another `file_id` from then on: no frame of a former life
//!   is ever read. The catalogue alone stays the same file when it is written anew.
//! - V6. An operation is published under the locks that it was staged under: nobody publishes a part of it. A file that has lost its name
//!   stays until that is published.
//! - V7. What is in memory here is sealed. A fence takes the keys and the plaintext, and leaves this on its way to the disk.

mod attributes;
mod catalogue;
mod claims;
mod damage;
mod directories;
mod directory;
mod entry;
mod extents;
mod file_directory;
mod files;
mod group;
mod holder;
mod homes;
mod homing;
mod journal;
mod journal_state;
mod journaled_disk;
mod layer;
mod layers;
mod making;
mod opened;
mod recovery;
mod segment;
mod setup;
mod shared;
mod statistics;
mod tree;
#[cfg(test)]
mod vectors;
mod volume_file;

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use cofferdam_keys::Lease;

use crate::error::Error;
use crate::probe::HeadCopy;

pub(crate) use group::{Group, GroupWriter};

pub use attributes::{Attributes, Node, NodeKind, Time};
pub use claims::{Claim, FileClaim};
pub use damage::{IgnoredTail, JournalDamage};
pub use directories::{Existing, TOP_DIRECTORY};
pub use directory::{Directory, DirectoryLock, Part};
pub use entry::{NAME_LEN_MAX, TARGET_LEN_MAX};
pub use file_directory::FileDirectory;
pub use recovery::Recovered;
pub use setup::{Homing, VolumeSetup};
pub use statistics::VolumeStatistics;
pub use volume_file::{ATOMIC_LEN_MAX, VolumeFile};

use directory::DirectoryLock as Lock;
use homing::Work;
use journal::{Journal, JournalTerms};
use shared::Shared;

/// A directory of sealed files, in which what was synced survives a power cut at any moment, and no write is ever torn.
///
/// Everything written to any of its files becomes durable in one order: a later write is never there without the earlier ones.
/// What was not synced when the volume is dropped is lost, as at a power cut; [`Volume::close`] keeps it.
pub struct Volume {
    shared: Arc<Shared>,
    homer: Option<JoinHandle<()>>,
    recovered: Recovered,
}

impl Volume {
    /// Opens a volume: replays its journal, then unlocks it.
    ///
    /// # Errors
    /// [`Error::Held`] with who has it open; [`Error::JournalDamaged`]; [`Error::JournalOld`];
    /// [`Error::CatalogueOld`]; [`Error::DiskFull`]; those of [`crate::Opener::open_store`]. Whatever it is, the journal has what it
    /// had: it is given up only after everything in it is at home and the list of files fits the files.
    pub fn open(setup: &VolumeSetup) -> Result<Volume, Error> {
        let lock = lock(setup)?;
        let io = Error::io("opening the keyring");
        let keyring = setup.directory.open(Part::Keyring).map_err(io)?;
        let keyring: Arc<dyn crate::Disk> = keyring.ok_or_else(not_a_volume)?.into();
        let volume = HeadCopy::of(&keyring)?.store_id();
        if !setup.accept_damage && recovery::is_unfinished(&*setup.directory)? {
            return Err(making::unfinished());
        }
        let recovered = recovery::recover(&*setup.directory, volume, setup.accept_damage)?;
        let terms = JournalTerms {
            volume,
            limit: setup.journal_len.max(JOURNAL_LEN_MIN),
            inline_homing: setup.homing == Homing::WhenFull,
            monotonic: setup.monotonic,
        };
        let journal = Journal::new(setup.directory.clone(), terms, &recovered)?;
        let (opener, path) = (setup.opener.clone(), setup.path.clone());
        let shared = Shared::new(journal, opener, path, keyring, lock)?;
        let mut volume = Volume {
            shared,
            homer: None,
            recovered,
        };
        volume.begin(setup)?;
        if setup.homing == Homing::InBackground {
            volume.homer = Some(volume.start_homer()?);
        }
        Ok(volume)
    }

    /// What the recovery at the opening found.
    #[must_use]
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// Makes durable everything that was done so far.
    ///
    /// # Errors
    /// As [`VolumeFile::sync`].
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.journal.commit()
    }

    /// Brings home what is durable in the journal.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Latched`].
    pub fn bring_home(&self) -> Result<(), Error> {
        // What an attempt without success has left comes first, and alone.
        self.shared.journal.go_home()?;
        self.shared.journal.go_home()
    }

    /// What the volume has done since it was opened.
    #[must_use]
    pub fn statistics(&self) -> VolumeStatistics {
        self.shared.journal.statistics()
    }

    /// The lease under which the volume is open.
    #[must_use]
    pub fn lease(&self) -> Option<&Arc<Lease>> {
        self.shared.lease()
    }

    /// Makes everything durable and brings it home. The lock is given up with the last handle of a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Latched`].
    pub fn close(self) -> Result<(), Error> {
        self.sync()?;
        self.bring_home()
    }

    fn handle(&self, opened: Arc<opened::Opened>) -> VolumeFile {
        VolumeFile {
            volume: self.shared.clone(),
            opened,
        }
    }

    /// Begins a new life of the journal when the catalogue fits the files, and removes files that were open when they were removed, if a
    /// crash came before they were closed. Nothing else is removed: a file that the catalogue knows nothing of may be one that it is
    /// too old for.
    fn begin(&mut self, setup: &VolumeSetup) -> Result<(), Error> {
        let directory = &*setup.directory;
        let numbers = directory.files().map_err(Error::io("listing the files"))?;
        let look = |catalogue: &mut catalogue::Catalogue| {
            let tree = catalogue.tree();
            let (removed, kept): (Vec<u64>, Vec<u64>) =
                numbers.iter().partition(|it| tree.has_removed(**it));
            let unknown = kept.iter().filter(|it| !tree.has_file(**it));
            Ok((removed, unknown.count() as u64, tree.next()))
        };
        let (removed, unknown, next) = self.shared.catalogue(look)?;
        let newest = numbers.iter().copied().max().unwrap_or(0);
        let beyond = newest >= catalogue::NUMBER_MAX / 2;
        if newest >= next && (beyond || !setup.accept_damage) {
            return Err(Error::CatalogueOld { newest, next });
        }
        // V3.
        self.shared.journal.begin()?;
        if newest >= next {
            self.shared
                .change(|catalogue, _| catalogue.skip_to(newest + 1))?;
            self.sync()?;
        }
        self.recovered.unknown_files = unknown;
        let remove = || {
            removed
                .iter()
                .try_for_each(|number| directory.remove(Part::File(*number)))?;
            // The catalogue may forget that they were removed.
            directory.sync()
        };
        remove().map_err(Error::io("removing files that have no name"))
    }

    fn start_homer(&self) -> Result<JoinHandle<()>, Error> {
        let shared = self.shared.clone();
        let work = move || {
            while let Some(work) = shared.journal.wait_for_work() {
                // Of a failure, whoever syncs next or needs the room is told.
                let _ = match work {
                    Work::Home => shared.journal.go_home(),
                    Work::Commit => shared.journal.commit_with(true),
                };
            }
        };
        let thread = thread::Builder::new().name("cofferdam-homing".to_owned());
        thread.spawn(work).map_err(Error::io("starting a thread"))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // A child of the process has no such thread to wait for.
        if self.shared.journal.check_process().is_err() {
            return;
        }
        self.shared.close();
        if let Some(homer) = self.homer.take() {
            let _ = homer.join();
        }
    }
}

fn lock(setup: &VolumeSetup) -> Result<Lock, Error> {
    setup.directory.lock(&setup.holder).map_err(|error| {
        match error.kind() == std::io::ErrorKind::WouldBlock {
            true => Error::Held {
                by: error.to_string(),
            },
            false => Error::io("locking the volume")(error),
        }
    })
}

fn not_a_volume() -> Error {
    Error::NotSealed {
        plain_sqlite: false,
    }
}

/// Least bytes of a segment that are worth a homing.
const JOURNAL_LEN_MIN: u64 = 64 * 1024;
