//! How a volume is made.

use std::sync::Arc;

use cofferdam_cipher::PageSize;

use super::directory::Part;
use super::setup::VolumeSetup;
use super::{Volume, lock, recovery};
use crate::error::Error;
use crate::head::Head;
use crate::probe::HeadCopy;

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
        let never_used = recovery::never_used(&*setup.directory)?;
        let volume = match Head::read(&keyring)? {
            Head::Empty if !never_used => {
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
            // An attempt that ended between the keyring and the journal.
            Head::Slots(_) if never_used && recovery::unfinished(&*setup.directory)? => {
                HeadCopy::of(&keyring)?.store_id()
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

/// Smallest page of a volume.
const PAGE_SIZE_MIN: usize = 4096;
