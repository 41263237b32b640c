//! Signed heads of a log (C2SP tlog-checkpoint).

use crate::base64;
use crate::json::NUMBER_MAX;
use crate::merkle::Hash;
use crate::note::{Signer, VerifierKey};
use crate::verify_error::VerifyError;

/// A head of a log whose signature has been verified: how many events, and the root of their tree.
/// An auditor keeps the newest one and hands it to [`crate::verify()`] the next time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    note: Vec<u8>,
}

impl Checkpoint {
    /// Reads the file `checkpoint` of a log and verifies its signature.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`] or [`VerifyError::Signature`].
    pub fn open(note: &[u8], key: &VerifierKey) -> Result<Checkpoint, VerifyError> {
        let text = key.open(note)?;
        let mut lines = text.split('\n');
        let mut next = || lines.next().ok_or(VerifyError::Malformed);
        let (origin, size, root, end) = (next()?, next()?, next()?, next()?);
        let size = decimal(size)
            .filter(|&size| size <= NUMBER_MAX)
            .ok_or(VerifyError::Malformed)?;
        let root = base64::decode_hash(root).ok_or(VerifyError::Malformed)?;
        if origin != key.origin() || !end.is_empty() || lines.next().is_some() {
            return Err(VerifyError::Malformed);
        }
        Ok(Checkpoint {
            origin: origin.to_owned(),
            size,
            root,
            note: note.to_vec(),
        })
    }

    pub(crate) fn sign(size: u64, root: Hash, signer: &Signer) -> Checkpoint {
        let origin = signer.key.origin().to_owned();
        let note = signer.sign(&format!("{origin}\n{size}\n{}\n", base64::encode(&root)));
        Checkpoint {
            origin,
            size,
            root,
            note,
        }
    }

    /// The log it belongs to.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of events.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the Merkle tree over them.
    pub fn root(&self) -> &[u8; 32] {
        &self.root
    }

    /// The signed note, to be kept in a file.
    pub fn note(&self) -> &[u8] {
        &self.note
    }
}

/// A decimal number without sign and leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number = text.parse::<u64>().ok()?;
    (number.to_string() == text).then_some(number)
}
