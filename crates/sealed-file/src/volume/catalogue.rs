//! The nodes of a volume and their names: the content of the keyring file (format section 12.1).

use super::entry::Entry;
use super::group::u64_at;
use super::journaled_disk::JournaledDisk;
use super::tree::Tree;
use crate::error::Error;
use crate::file::SealedFile;
use crate::plaintext::Plaintext;

/// The nodes of a volume, on the disk and in memory.
pub(crate) struct Catalogue {
    file: SealedFile<JournaledDisk>,
    tree: Tree,
    end: u64,
    /// Bytes with which it is worth looking how many of the entries count.
    look_at: u64,
}

impl Catalogue {
    pub(crate) fn load(mut file: SealedFile<JournaledDisk>) -> Result<Catalogue, Error> {
        let len = file.len()?;
        let mut bytes = Plaintext::default();
        bytes.resize(usize::try_from(len).map_err(|_| Error::CatalogueAltered)?);
        file.read_at(&mut bytes, 0)?;
        let tree = match len {
            0 => Some(Tree::new()),
            _ => parse(&bytes),
        };
        Ok(Catalogue {
            file,
            tree: tree.ok_or(Error::CatalogueAltered)?,
            end: len,
            look_at: COMPACT_MIN,
        })
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(crate) fn page_size(&self) -> Option<cofferdam_cipher::PageSize> {
        self.file.page_size()
    }

    pub(crate) fn slot_count(&self) -> cofferdam_cipher::SlotCount {
        self.file.slot_count()
    }

    /// One operation: its entries are appended. Answers which files are gone by it. After an error the catalogue is to be loaded again.
    pub(crate) fn append(&mut self, entries: Vec<Entry>) -> Result<Vec<u64>, Error> {
        let mut text = Vec::new();
        if self.end == 0 {
            text.extend_from_slice(&head(self.tree.next()));
        }
        entries.iter().for_each(|entry| entry.put(&mut text));
        self.file.write_at(&text, self.end)?;
        self.file.flush()?;
        self.end += text.len() as u64;
        let taken = entries
            .into_iter()
            .try_for_each(|entry| self.tree.take(entry));
        let gone = taken.and_then(|()| self.tree.settle());
        gone.ok_or(Error::Misuse {
            what: "an operation on a volume's names that does not fit them",
        })
    }

    /// Leaves out numbers that files have which are not known here.
    pub(crate) fn skip_to(&mut self, next: u64) -> Result<(), Error> {
        self.tree.skip_to(next);
        self.rewrite()
    }

    /// Writes the entries that count over all of them, when most do not. A removed file counts while it `may_be_there`.
    pub(crate) fn compact_if_worth_it(
        &mut self,
        may_be_there: impl Fn(u64) -> bool,
    ) -> Result<(), Error> {
        if self.end < self.look_at {
            return Ok(());
        }
        self.tree.forget_removed(may_be_there);
        let live = self.live().len() as u64;
        self.look_at = COMPACT_MIN.max(4 * live);
        match self.end < self.look_at {
            true => Ok(()),
            false => self.rewrite(),
        }
    }

    /// The head, and the entries that count.
    fn live(&self) -> Vec<u8> {
        let mut bytes = head(self.tree.next()).to_vec();
        self.tree.entries().for_each(|entry| entry.put(&mut bytes));
        bytes
    }

    /// It is one operation, so a power cut leaves the old entries or the new.
    fn rewrite(&mut self) -> Result<(), Error> {
        let bytes = self.live();
        self.file.set_len(0)?;
        self.file.write_at(&bytes, 0)?;
        self.file.flush()?;
        self.end = bytes.len() as u64;
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Option<Tree> {
    let (head, mut rest) = bytes.split_at_checked(HEAD_LEN)?;
    let next = u64_at(head, 16)?;
    if head[..16] != HEAD || head[24..] != [0; 8] || !(1..=NUMBER_MAX).contains(&next) {
        return None;
    }
    let mut tree = Tree::new();
    while !rest.is_empty() {
        tree.take(Entry::take(&mut rest)?)?;
    }
    tree.settle()?;
    tree.skip_to(next);
    tree.is_whole().then_some(tree)
}

fn head(next: u64) -> [u8; HEAD_LEN] {
    let mut bytes = [0; HEAD_LEN];
    bytes[..16].copy_from_slice(&HEAD);
    bytes[16..24].copy_from_slice(&next.to_le_bytes());
    bytes
}

pub(crate) use super::entry::NUMBER_MAX;

/// "CDAMCATL", format 1, and zeros.
const HEAD: [u8; 16] = *b"CDAMCATL\x01\0\0\0\0\0\0\0";
const HEAD_LEN: usize = 32;
const COMPACT_MIN: u64 = 64 * 1024;
