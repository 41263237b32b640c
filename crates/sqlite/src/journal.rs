//! Where a rollback journal ends, and where it begins anew (SQLite file format, section 3).
//!
//! `journal_mode=PERSIST` ends a transaction with zeros over the journal's header and leaves the records behind it. SQLite
//! looks there for headers that it must not come across after a crash, and relies on a torn sector being no older than
//! what it saw. A page that is torn falls back to what its other home holds, which may be older. So a journal that begins
//! anew becomes another file, to which nothing older belongs.
//!
//! SQLite also begins on a journal that it could not cut or remove: "If something goes wrong while this is happening we don't
//! really care" (`vdbeCommit` on transactions over several databases). The name of a super-journal then stays behind what it
//! writes, and it would take its own journal for one that needs no rollback.

use cofferdam_sealed_file::{Disk, Error, SealedFile};

/// The header's fields: magic, record count, checksum seed, database size, sector size, page size.
const HEADER_LEN: usize = 28;

/// Takes note of what SQLite is about to write at the start of its journal.
///
/// # Errors
/// Those of the file.
pub(crate) fn note_header<D: Disk>(file: &mut SealedFile<D>, bytes: &[u8]) -> Result<(), Error> {
    // The record count is set by a shorter write.
    let Some(header) = bytes.get(..HEADER_LEN) else {
        return Ok(());
    };
    if header == [0; HEADER_LEN] {
        file.note_ended();
        return Ok(());
    }
    if file.len()? > 0 {
        file.begin_anew()?;
    }
    Ok(())
}
