//! Proofs that travel without the log: that an event is in it, and that it has only grown.

use std::path::Path;

use crate::base64;
use crate::checkpoint::{Checkpoint, decimal};
use crate::merkle::{Hash, consistent, inclusion, inclusion_root, leaf};
use crate::note::VerifierKey;
use crate::reader::LogReader;
use crate::verify::consistency_path;
use crate::verify_error::VerifyError;

/// A proof that an event is in a log (C2SP tlog-proof). It says nothing until [`Proof::verify`] has
/// looked at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    index: u64,
    path: Vec<Hash>,
    note: Vec<u8>,
}

/// Proves that the event `index` is in the log in `dir`.
///
/// # Errors
/// There is no such event; the log is damaged or not signed by `key`; or the disk refused.
pub fn prove(dir: &Path, key: &VerifierKey, index: u64) -> Result<Proof, VerifyError> {
    let mut reader = LogReader::open(dir, key)?;
    let entry = reader.entry(index)?;
    let size = reader.checkpoint().size();
    let path = inclusion(&mut reader, index, size)?;
    let proof = Proof {
        index,
        path,
        note: reader.checkpoint().note().to_vec(),
    };
    proof.verify(key, &entry)?;
    Ok(proof)
}

impl Proof {
    /// Number of the event it speaks of.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Checks that `entry`, the canonical JSON of an event, stands at [`Proof::index`] of the log of
    /// `key`, and returns the checkpoint that covers it.
    ///
    /// # Errors
    /// The checkpoint is not signed by `key`, or the proof does not lead to it.
    pub fn verify(&self, key: &VerifierKey, entry: &[u8]) -> Result<Checkpoint, VerifyError> {
        let checkpoint = Checkpoint::open(&self.note, key)?;
        let root = inclusion_root(leaf(entry), self.index, checkpoint.size(), &self.path);
        if root.as_ref() == Some(checkpoint.root()) {
            Ok(checkpoint)
        } else {
            Err(VerifyError::Proof)
        }
    }

    /// The text of the proof, for a file `*.tlog-proof`.
    pub fn to_text(&self) -> Vec<u8> {
        write(
            &format!("{HEAD}\nindex {}\n", self.index),
            &self.path,
            &self.note,
        )
    }

    /// Reads the text of a proof.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<Proof, VerifyError> {
        let (lines, note) = split(text)?;
        let [HEAD, index, path @ ..] = &lines[..] else {
            return Err(VerifyError::Malformed);
        };
        let index = index
            .strip_prefix("index ")
            .and_then(decimal)
            .ok_or(VerifyError::Malformed)?;
        Ok(Proof {
            index,
            path: hashes(path)?,
            note,
        })
    }
}

/// A proof that a log only grew since an older checkpoint, in the form a C2SP tlog-witness takes. It
/// says nothing until [`ConsistencyProof::verify`] has looked at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    old: u64,
    path: Vec<Hash>,
    note: Vec<u8>,
}

/// Proves that the log in `dir` continues the one that had `old` events.
///
/// # Errors
/// The log is shorter than that; it is damaged or not signed by `key`; or the disk refused.
pub fn prove_consistency(
    dir: &Path,
    key: &VerifierKey,
    old: u64,
) -> Result<ConsistencyProof, VerifyError> {
    let mut reader = LogReader::open(dir, key)?;
    let path = consistency_path(&mut reader, old)?;
    Ok(ConsistencyProof {
        old,
        path,
        note: reader.checkpoint().note().to_vec(),
    })
}

impl ConsistencyProof {
    /// Checks that the log of `key` continues `old`, and returns its newer checkpoint.
    ///
    /// # Errors
    /// The newer checkpoint is not signed by `key`, or the proof does not lead from one to the other.
    pub fn verify(&self, key: &VerifierKey, old: &Checkpoint) -> Result<Checkpoint, VerifyError> {
        let new = Checkpoint::open(&self.note, key)?;
        let found = old.origin() == new.origin()
            && old.size() == self.old
            && consistent(self.old, old.root(), new.size(), new.root(), &self.path);
        if found {
            Ok(new)
        } else {
            Err(VerifyError::Proof)
        }
    }

    /// The text of the proof.
    pub fn to_text(&self) -> Vec<u8> {
        write(&format!("old {}\n", self.old), &self.path, &self.note)
    }

    /// Reads the text of a proof.
    ///
    /// # Errors
    /// [`VerifyError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<ConsistencyProof, VerifyError> {
        let (lines, note) = split(text)?;
        let [old, path @ ..] = &lines[..] else {
            return Err(VerifyError::Malformed);
        };
        let old = old
            .strip_prefix("old ")
            .and_then(decimal)
            .ok_or(VerifyError::Malformed)?;
        Ok(ConsistencyProof {
            old,
            path: hashes(path)?,
            note,
        })
    }
}

fn write(head: &str, path: &[Hash], note: &[u8]) -> Vec<u8> {
    let mut text = head.to_owned();
    for hash in path {
        text.push_str(&base64::encode(hash));
        text.push('\n');
    }
    text.push('\n');
    [text.as_bytes(), note].concat()
}

/// The lines before the first empty one, and the checkpoint after it.
fn split(text: &[u8]) -> Result<(Vec<&str>, Vec<u8>), VerifyError> {
    let end = text
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .ok_or(VerifyError::Malformed)?;
    let head = std::str::from_utf8(&text[..end]).map_err(|_| VerifyError::Malformed)?;
    let lines: Vec<&str> = head.split('\n').take(LINE_COUNT_MAX + 1).collect();
    if lines.len() > LINE_COUNT_MAX {
        return Err(VerifyError::Malformed);
    }
    Ok((lines, text[end + 2..].to_vec()))
}

fn hashes(lines: &[&str]) -> Result<Vec<Hash>, VerifyError> {
    lines
        .iter()
        .map(|line| base64::decode_hash(line).ok_or(VerifyError::Malformed))
        .collect()
}

const HEAD: &str = "c2sp.org/tlog-proof@v1";
/// Two lines of head and one per level of the tallest tree.
const LINE_COUNT_MAX: usize = 2 + 63;
