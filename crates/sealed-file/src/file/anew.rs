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
    /// As [`SealedFile::flush`], and those of reading. The journal is then as the disk has it.
    pub fn begin_anew(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.refresh()?;
        if self.record.length == 0 || self.record.page_size.is_none() {
            return Ok(());
        }
        let file_id = FileId::random()?;
        let (pages, disk) = self.pages()?;
        let mut page = Plaintext::default();
        page.resize(pages.geometry().page_size().bytes());
        self.end_mark = pages.read_current(disk, PageNumber::ZERO, false, &mut page)?;
        // A power cut may take the new record back. The former file must then still be seen to have ended, and must not
        // require frames that were written over.
        let has_ended = page.starts_with(&[0; END_MARK_LEN]) && self.record.synced_length == 0;
        self.note_ended();
        self.record.file_id = file_id;
        self.record.length = 0;
        self.record_changed = true;
        self.homes.clear();
        self.pages = None;
        self.cache = None;
        if has_ended {
            return Ok(());
        }
        self.store_record()
            .and_then(|()| self.sync_disk())
            .inspect_err(|_| self.abandon())
    }
}

/// The zeros that SQLite ends a journal with: the fields of its header.
const END_MARK_LEN: usize = 28;
