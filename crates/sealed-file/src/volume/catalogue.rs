//! Which name is which file's: the content of the keyring file (format section 12.1).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cofferdam_keys::FileId;
use zeroize::Zeroize;

use super::group::u64_at;
use super::journaled_disk::JournaledDisk;
use crate::error::Error;
use crate::file::SealedFile;
use crate::plaintext::Plaintext;

/// A name's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) number: u64,
    pub(crate) file_id: FileId,
}

/// The names of a volume's files.
pub(crate) struct Catalogue {
    file: SealedFile<JournaledDisk>,
    names: BTreeMap<Vec<u8>, Named>,
    by_number: HashMap<u64, Vec<u8>>,
    /// Files that have lost their name, and may still be there because somebody has them open.
    removed: BTreeSet<u64>,
    next: u64,
    end: u64,
    /// Bytes of the entries that count.
    live: u64,
}

impl Catalogue {
    pub(crate) fn load(mut file: SealedFile<JournaledDisk>) -> Result<Catalogue, Error> {
        let len = file.len()?;
        let mut bytes = Plaintext::default();
        bytes.resize(usize::try_from(len).map_err(|_| Error::CatalogueAltered)?);
        file.read_at(&mut bytes, 0)?;
        let mut catalogue = Catalogue {
            file,
            names: BTreeMap::new(),
            by_number: HashMap::new(),
            removed: BTreeSet::new(),
            next: 1,
            end: len,
            live: 0,
        };
        if len > 0 {
            catalogue.parse(&bytes).ok_or(Error::CatalogueAltered)?;
        }
        Ok(catalogue)
    }

    fn parse(&mut self, bytes: &[u8]) -> Option<()> {
        let (head, mut rest) = bytes.split_at_checked(HEAD_LEN)?;
        self.next = u64_at(head, 16)?;
        let next = 1..=NUMBER_MAX;
        if head[..16] != HEAD || head[24..] != [0; 8] || !next.contains(&self.next) {
            return None;
        }
        while !rest.is_empty() {
            let (entry, behind) = rest.split_at_checked(ENTRY_LEN)?;
            let name_len = usize::from(u16::from_le_bytes([entry[2], entry[3]]));
            let (name, behind) = behind.split_at_checked(name_len)?;
            rest = behind;
            let number = u64_at(entry, 8)?;
            let file_id = FileId::from_bytes(entry[16..].try_into().ok()?);
            if number == 0 || number >= NUMBER_MAX || entry[1] != 0 || entry[4..8] != [0; 4] {
                return None;
            }
            match entry[0] {
                NAMED => {
                    check_name(name).ok()?;
                    self.note(name, Named { number, file_id });
                    self.next = self.next.max(number + 1);
                }
                REMOVED if name_len == 0 && *file_id.as_bytes() == [0; 16] => {
                    (number < self.next).then_some(())?;
                    self.take_name(number);
                }
                _ => return None,
            }
        }
        Some(())
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<Named> {
        self.names.get(name).copied()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.keys().map(Vec::as_slice)
    }

    pub(crate) fn has_number(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    /// Whether a file was removed, and not merely is none that is known here.
    pub(crate) fn has_removed(&self, number: u64) -> bool {
        self.removed.contains(&number)
    }

    pub(crate) fn page_size(&self) -> Option<cofferdam_cipher::PageSize> {
        self.file.page_size()
    }

    pub(crate) fn slot_count(&self) -> cofferdam_cipher::SlotCount {
        self.file.slot_count()
    }

    /// The number of the file that is made next. None is used twice.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Gives a file this name and no other. Answers which file has lost it, and so is removed.
    pub(crate) fn name(&mut self, name: &[u8], file: Named) -> Result<Option<Named>, Error> {
        self.append(NAMED, name, file)?;
        self.next = self.next.max(file.number + 1);
        Ok(self.note(name, file))
    }

    /// The name of a file, by its number.
    pub(crate) fn name_of(&self, number: u64) -> Option<Vec<u8>> {
        self.by_number.get(&number).cloned()
    }

    /// Removes a file.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Result<Named, Error> {
        let named = self.find(name).ok_or(Error::NoSuchFile)?;
        self.append(REMOVED, b"", nobody(named.number))?;
        self.take_name(named.number);
        Ok(named)
    }

    fn take_name(&mut self, number: u64) {
        if let Some(name) = self.by_number.remove(&number) {
            self.forget(&name);
        }
        self.removed.insert(number);
    }

    /// Leaves out numbers that files have which are not known here.
    pub(crate) fn skip_to(&mut self, next: u64) -> Result<(), Error> {
        self.next = self.next.max(next);
        self.rewrite()
    }

    /// Takes over an entry. Answers which other file had the name.
    fn note(&mut self, name: &[u8], file: Named) -> Option<Named> {
        self.removed.remove(&file.number);
        if let Some(before) = self.by_number.insert(file.number, name.to_vec()) {
            self.forget(&before);
        }
        self.live += entry_len(name);
        let replaced = self.names.insert(name.to_vec(), file)?;
        self.live -= entry_len(name);
        self.by_number.remove(&replaced.number);
        self.removed.insert(replaced.number);
        Some(replaced)
    }

    fn forget(&mut self, name: &[u8]) {
        if self.names.remove(name).is_some() {
            self.live -= entry_len(name);
        }
    }

    fn append(&mut self, kind: u8, name: &[u8], file: Named) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(HEAD_LEN + ENTRY_LEN + name.len());
        if self.end == 0 {
            bytes.extend_from_slice(&head(self.next));
        }
        put_entry(&mut bytes, kind, name, file);
        self.file.write_at(&bytes, self.end)?;
        self.file.flush()?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Writes the entries that count over all of them, when most do not. A removed file counts while it `may_be_there`.
    pub(crate) fn compact_if_worth_it(
        &mut self,
        may_be_there: impl Fn(u64) -> bool,
    ) -> Result<(), Error> {
        if self.end < COMPACT_MIN {
            return Ok(());
        }
        self.removed.retain(|number| may_be_there(*number));
        let removed = (ENTRY_LEN * self.removed.len()) as u64;
        match self.end < 4 * (self.live + removed) {
            true => Ok(()),
            false => self.rewrite(),
        }
    }

    /// It is one operation, so a power cut leaves the old entries or the new.
    fn rewrite(&mut self) -> Result<(), Error> {
        let mut bytes = head(self.next).to_vec();
        for (name, file) in &self.names {
            put_entry(&mut bytes, NAMED, name, *file);
        }
        for number in &self.removed {
            put_entry(&mut bytes, REMOVED, b"", nobody(*number));
        }
        self.file.set_len(0)?;
        self.file.write_at(&bytes, 0)?;
        self.file.flush()?;
        self.end = bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        // A fence takes the names as well.
        for (mut name, _) in std::mem::take(&mut self.names) {
            name.zeroize();
        }
        self.by_number.values_mut().for_each(Zeroize::zeroize);
    }
}

fn nobody(number: u64) -> Named {
    Named {
        number,
        file_id: FileId::from_bytes([0; 16]),
    }
}

/// Refuses what is no name of a file.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Error> {
    match name.is_empty() || name.len() > NAME_LEN_MAX || name.contains(&0) {
        true => Err(Error::NotAName),
        false => Ok(()),
    }
}

fn head(next: u64) -> [u8; HEAD_LEN] {
    let mut bytes = [0; HEAD_LEN];
    bytes[..16].copy_from_slice(&HEAD);
    bytes[16..24].copy_from_slice(&next.to_le_bytes());
    bytes
}

fn put_entry(bytes: &mut Vec<u8>, kind: u8, name: &[u8], file: Named) {
    let name_len = u16::try_from(name.len()).expect("names are checked against NAME_LEN_MAX");
    bytes.extend_from_slice(&[kind, 0]);
    bytes.extend_from_slice(&name_len.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&file.number.to_le_bytes());
    bytes.extend_from_slice(file.file_id.as_bytes());
    bytes.extend_from_slice(name);
}

fn entry_len(name: &[u8]) -> u64 {
    (ENTRY_LEN + name.len()) as u64
}

/// No file has this number or a higher one.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// Longest name of a file, in bytes.
pub const NAME_LEN_MAX: usize = 4096;

/// "CDAMCATL", format 1, and zeros.
const HEAD: [u8; 16] = *b"CDAMCATL\x01\0\0\0\0\0\0\0";
const HEAD_LEN: usize = 32;
const ENTRY_LEN: usize = 32;
const NAMED: u8 = 1;
const REMOVED: u8 = 2;
const COMPACT_MIN: u64 = 64 * 1024;
