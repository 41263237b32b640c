//! What the file says about itself: taken over from other handles, and put where they see it.

use cofferdam_keys::FileId;

use super::SealedFile;
use crate::disk::Disk;
use crate::error::Error;
use crate::record::{FileKind, Record};
use crate::records::Found;
use crate::unsynced::Unsynced;

impl<D: Disk> SealedFile<D> {
    /// Takes over what other handles have recorded.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        if !self.record_stale {
            return Ok(());
        }
        if self.record_changed && !self.records.is_absent() {
            // Nobody else may write while this handle has something to say.
            return Ok(());
        }
        let found = self
            .records
            .look(&self.disk, &self.setup.keys, self.setup.kind)?;
        match found {
            Found::Unchanged if self.record_own => self.trust_memory(),
            Found::Unchanged => {}
            Found::Nothing if !self.is_bound() => self.become_empty()?,
            Found::Changed(record) if !self.is_bound() || record.file_id == self.record.file_id => {
                self.adopt(record);
            }
            Found::Nothing | Found::Changed(_) => {
                let kind = self.setup.kind;
                return Err(Error::RecordAltered { kind });
            }
        }
        self.record_stale = false;
        Ok(())
    }

    /// Whether this handle knows which file it is, and nobody may put another in its place: a volume's, which is opened anew when it becomes
    /// another one.
    fn is_bound(&self) -> bool {
        self.setup.kind == FileKind::Volume && self.record.sequence > 0
    }

    /// Whether what this handle remembers of a log or journal is what is on the disk.
    pub(super) fn remembers(&self) -> bool {
        self.record_own && !self.record_stale
    }

    /// Nobody else has written a log or journal whose newest record is this handle's (invariant 4).
    pub(super) fn trust_memory(&mut self) {
        if self.two_homes()
            && let Some(cache) = &mut self.cache
        {
            cache.stale = false;
        }
    }

    pub(super) fn adopt(&mut self, record: Record) {
        self.record_own = false;
        self.homes.clear();
        let same_file = self.record.file_id == record.file_id
            && self.record.page_size == record.page_size
            && self.record.slot_count == record.slot_count;
        if !same_file {
            self.pages = None;
            self.cache = None;
            self.generation_claimed = false;
            self.end_mark = None;
        }
        self.unbroken = record.synced_length;
        self.record = record;
    }

    /// The file is not there: another handle has removed it, or nobody made it yet. When it is written again it is a
    /// new file with a name of its own: frames that a power cut brings back belong to nobody.
    pub(super) fn become_empty(&mut self) -> Result<(), Error> {
        self.cache = None;
        self.record_own = false;
        self.homes.clear();
        self.synced = None;
        self.unbroken = 0;
        self.unsynced = Unsynced::default();
        self.end_mark = None;
        if self.record.sequence > 0 {
            self.record.file_id = FileId::random()?;
            self.record.sequence = 0;
            self.record.length = 0;
            self.record.synced_length = 0;
            self.record.generation = 0;
            self.record.holes.cut(0);
            self.pages = None;
            self.generation_claimed = false;
        }
        Ok(())
    }

    pub(super) fn store_record(&mut self) -> Result<(), Error> {
        if self.record_changed {
            self.store_record_now()?;
        }
        Ok(())
    }

    pub(super) fn store_record_now(&mut self) -> Result<(), Error> {
        if self.records.needs_sync() {
            self.sync_disk()?;
        }
        let made = self.records.is_absent();
        let stored = self
            .records
            .store(&self.disk, &self.setup.keys, &mut self.record);
        self.record_changed = stored.is_err();
        if !std::mem::replace(&mut self.record_own, stored.is_ok()) && self.two_homes() {
            // What was read before may be what another handle has written over since.
            self.homes.clear();
            self.cache = None;
        }
        if made && stored.is_ok() && self.two_homes() {
            self.homes.begin();
        }
        stored
    }

    /// After a failed sync of a log no later one could be trusted: what it should have made durable is not written
    /// again. SQLite rolls back what a failed sync of a database or journal concerned, and so writes it again.
    pub(super) fn sync_disk(&mut self) -> Result<(), Error> {
        self.disk.sync().map_err(|source| {
            self.latched = self.setup.kind == FileKind::WriteAheadLog;
            // The record is ours to write again.
            self.record_changed |= !self.latched && !self.records.is_absent();
            Error::Io {
                doing: "syncing a file",
                source,
            }
        })?;
        self.records.synced();
        self.unsynced.synced();
        self.record_first &= self.record_changed;
        Ok(())
    }
}
