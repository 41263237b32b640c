//! How a volume is made.

use std::sync::Arc;

use cofferdam_cipher::PageSize;

use super::directory::Part;
use super::setup::VolumeSetup;
use super::{Volume, lock, recovery};
use crate::error::Error;
use crate::head::Head;

impl Volume {
    /// Makes a volume in an empty directory: its keyring, and an empty journal.
    ///
    /// # Errors
    /// [`Error::Held`], [`Error::Misuse`] when there is a volume already or the pages are smaller than 4096 bytes, and those of
    /// [`crate::Opener::create_store`].
    pub fn init(setup: &VolumeSetup, page_size: PageSize) -> Result<(), Error> {
        if page_size.bytes() < PAGE_SIZE_MIN {
            return Err(Error::Misuse {
                what: "the pages of a volume have 4096 bytes at least",
            });
        }
        let _lock = lock(setup)?;
        let io = Error::io("making a volume");
        let keyring = setup.directory.create(Part::Keyring).map_err(io)?;
        let keyring: Arc<dyn crate::Disk> = keyring.into();
        let volume = match Head::read(&keyring)? {
            Head::Empty if !recovery::is_unused(&*setup.directory)? => {
                return Err(Error::Misuse {
                    what: "there are files or a journal of a volume in this directory, whose keyring file is away or empty: put that back",
                });
            }
            Head::Empty => {
                let store = setup
                    .opener
                    .create_store(&keyring, &setup.path, Some(page_size))?;
                store.keys.store_id()
            }
            // Whose keyring it is, only a person can tell.
            Head::Slots(_) if recovery::is_unfinished(&*setup.directory)? => {
                return Err(unfinished());
            }
            Head::Slots(_) => {
                return Err(Error::Misuse {
                    what: "there is a volume in this directory already",
                });
            }
        };
        recovery::create_segments(&*setup.directory, volume)
    }
}

/// There is a keyring without a journal. To take it over would be to trust whoever put it there with the keys; to replace it might be to lose
/// one that a backup's files need.
pub(super) fn unfinished() -> Error {
    Error::Misuse {
        what: "there is a keyring without a journal in this directory: the making of a volume ended early, or a restore did; \
               put back the rest of the volume, or, if there never was one, remove `keyring` and make it again",
    }
}

/// Smallest page of a volume.
const PAGE_SIZE_MIN: usize = 4096;
