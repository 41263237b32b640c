//! The end of a journal, and its next beginning (format section 5.1).

use cofferdam_cipher::PageNumber;
use cofferdam_keys::FileId;

use super::SealedFile;
use crate::disk::Disk;
use crate::error::Error;
use crate::plaintext::Plaintext;

impl<D: Disk> SealedFile<D> {
    /// Nobody relies on what is in the journal any more, once the mark that is about to be written at its start is durable.
    pub fn note_ended(&mut self) {
        self.unbroken = 0;
        self.synced = None;
        self.record_changed |= self.record.synced_length > 0;
        self.record.synced_length = 0;
    }

    /// Empties a journal that has ended, in place: the next write, which starts at offset 0, makes a new file of it, with a
    /// name of its own. What older transactions left in the pages behind is of another file, and never read again.
    ///
    /// # Errors
    /// As [`SealedFile::flush`], and those of reading.
    pub fn begin_anew(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.refresh()?;
        if self.record.length == 0 || self.record.page_size.is_none() {
            return Ok(());
        }
        if self.record.synced_length > 0 {
            self.note_ended();
            self.store_record()?;
            self.sync_disk()?;
        }
        let (pages, disk) = self.pages()?;
        let mut mark = Plaintext::default();
        mark.resize(pages.geometry().page_size().bytes());
        self.end_mark = pages.read_current(disk, PageNumber::ZERO, false, &mut mark)?;
        self.record.file_id = FileId::random()?;
        self.record.length = 0;
        self.record_changed = true;
        self.homes.clear();
        self.unbroken = 0;
        self.synced = None;
        self.pages = None;
        self.cache = None;
        Ok(())
    }
}
