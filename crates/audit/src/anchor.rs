//! Anchors: the newest keyring sequence the log knows for a store.
//!
//! An anchor file saves the scan, no more. It says up to which size of the log it was true, and
//! whoever reads it looks at the events since. So a lost, stale or missing file changes the time a
//! reader takes and not the answer.

use crate::checkpoint::decimal;
use crate::entry::is_store_id;
use crate::load;
use crate::note::{Signer, VerifierKey};
use crate::reader::{LogReader, parse};
use crate::tile::WIDTH;
use crate::verify_error::VerifyError;

/// What a signed anchor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// Highest keyring sequence recorded for the store, if any.
    pub(crate) sequence: u64,
    /// Size of the log it was true for.
    pub(crate) size: u64,
}

impl Anchor {
    pub(crate) fn sign(self, store_id: &str, signer: &Signer) -> Vec<u8> {
        let origin = signer.key.origin();
        signer.sign(&format!(
            "{HEAD}\n{origin}\n{store_id}\n{}\n{}\n",
            self.sequence, self.size
        ))
    }

    pub(crate) fn open(
        note: &[u8],
        store_id: &str,
        key: &VerifierKey,
    ) -> Result<Anchor, VerifyError> {
        let text = key.open(note)?;
        let lines: Vec<&str> = text.split('\n').collect();
        let [HEAD, origin, store, sequence, size, ""] = lines[..] else {
            return Err(VerifyError::Malformed);
        };
        if origin != key.origin() || store != store_id {
            return Err(VerifyError::Malformed);
        }
        let sequence = decimal(sequence).ok_or(VerifyError::Malformed)?;
        let size = decimal(size).ok_or(VerifyError::Malformed)?;
        Ok(Anchor { sequence, size })
    }
}

pub(crate) fn path(store_id: &str) -> String {
    format!("{DIR}/{store_id}")
}

/// The newest keyring sequence of a store: from its anchor and the events after it, or from all events
/// when the anchor is missing or does not verify.
pub(crate) fn newest(
    reader: &mut LogReader,
    key: &VerifierKey,
    store_id: &str,
) -> Result<Option<u64>, VerifyError> {
    if !is_store_id(store_id) {
        return Err(VerifyError::Malformed);
    }
    let size = reader.checkpoint().size();
    let note = load::optional(&*reader.files, &path(store_id))?;
    let anchor = note.and_then(|note| Anchor::open(&note, store_id, key).ok());
    match anchor {
        // The log has signed that it was longer.
        Some(anchor) if anchor.size > size => Err(VerifyError::Truncated {
            remembered: anchor.size,
            found: size,
        }),
        Some(anchor) => Ok(scan(reader, store_id, anchor.size)?.max(Some(anchor.sequence))),
        None => scan(reader, store_id, 0),
    }
}

/// The highest sequence recorded for the store from event `from` on.
fn scan(reader: &mut LogReader, store_id: &str, from: u64) -> Result<Option<u64>, VerifyError> {
    let mut newest = None;
    for index in from / WIDTH..reader.checkpoint().size().div_ceil(WIDTH) {
        let bundle = reader.bundle(index)?;
        for (number, entry) in (index * WIDTH..).zip(bundle.entries()) {
            // Most entries are about something else, which shows before they are parsed.
            if number < from || !contains(entry, store_id.as_bytes()) {
                continue;
            }
            match parse(number, entry)?.event.anchors() {
                Some((store, sequence)) if store == store_id => newest = newest.max(Some(sequence)),
                _ => {}
            }
        }
    }
    Ok(newest)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Directory of the anchors.
pub(crate) const DIR: &str = "anchor";

/// First line of an anchor. No checkpoint begins like this, for it has spaces and an origin has none.
const HEAD: &str = "cofferdam anchor 1";
