//! The journals of `tests/vectors/journal`, which another implementation recovered (`tests/crosscheck/volume.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cofferdam_keys::StoreId;

use super::directory::{Directory, Part};
use super::file_directory::FileDirectory;
use super::recovery::{begin_lives, recover};
use crate::error::Error;

#[test]
fn every_journal_vector_brings_home_what_another_implementation_found() {
    let (mut recovered, mut refused) = (0, 0);
    for path in paths() {
        let vector = Vector::read(&path);
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = vector.lay_out(place.path());
        let found = recover(
            &directory,
            vector.store(),
            vector.one("accept-damage") == "yes",
        );
        match (vector.one("expect"), found) {
            ("accepted", Ok(found)) => {
                recovered += 1;
                assert_eq!(
                    homes(&directory),
                    vector.files("after."),
                    "{}",
                    path.display()
                );
                let sound = "a recovered journal is sound";
                let accept = found.damage.is_some();
                // An opening that is refused then finds the same again; one that succeeds gives the journal up.
                for (groups, accept) in [(found.groups, accept), (0, false)] {
                    let again = recover(&directory, vector.store(), accept).expect(sound);
                    assert_eq!(again.groups, groups, "{}", path.display());
                    let (home, checksum) = (again.sequence, again.checksum);
                    assert_eq!(
                        homes(&directory),
                        vector.files("after."),
                        "{}",
                        path.display()
                    );
                    begin_lives(&directory, vector.store(), home, checksum).expect(sound);
                }
            }
            ("rejected", Err(error)) => {
                refused += 1;
                let reason = match error {
                    Error::JournalDamaged(_) => "damaged",
                    Error::JournalOld { .. } => "old",
                    other => panic!("{}: {other}", path.display()),
                };
                assert_eq!(vector.one("reason"), reason, "{}", path.display());
                assert_eq!(
                    homes(&directory),
                    vector.files("before."),
                    "{}",
                    path.display()
                );
            }
            (expected, found) => panic!("{}: {expected}, but {found:?}", path.display()),
        }
    }
    assert!(recovered > 50 && refused > 40, "{recovered} and {refused}");
}

struct Vector(BTreeMap<String, String>);

impl Vector {
    fn read(path: &Path) -> Vector {
        let text = std::fs::read_to_string(path).expect("a vector is text");
        let lines = text.lines().map(|line| {
            let (name, value) = line.split_once(": ").expect("a line is `name: value`");
            (name.to_owned(), value.to_owned())
        });
        Vector(lines.collect())
    }

    fn one(&self, name: &str) -> &str {
        &self.0[name]
    }

    fn store(&self) -> StoreId {
        let id = bytes(self.one("store"));
        StoreId::from_bytes(id.try_into().expect("a store id has 16 bytes"))
    }

    fn files(&self, prefix: &str) -> BTreeMap<u64, Vec<u8>> {
        let numbered = self.0.iter().filter_map(|(name, value)| {
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some((number, dense(value)))
        });
        numbered.collect()
    }

    /// A directory with what the vector says.
    fn lay_out(&self, place: &Path) -> FileDirectory {
        let directory = FileDirectory::create(place).expect("a directory for a volume");
        for (number, bytes) in self.files("before.") {
            put(&directory, Part::of_file(number), &bytes);
        }
        for index in 0..2 {
            if let Some(segment) = self.0.get(&format!("journal-{index}")) {
                put(&directory, Part::Segment(index), &dense(segment));
            }
        }
        directory
    }
}

fn put(directory: &FileDirectory, part: Part, bytes: &[u8]) {
    let disk = directory.create(part).expect("a part is made");
    disk.write_at(bytes, 0).expect("a part is written");
}

/// What is at home, by number.
fn homes(directory: &FileDirectory) -> BTreeMap<u64, Vec<u8>> {
    let numbers = directory.files().expect("the files are listed");
    let parts = numbers.into_iter().chain([0]).filter_map(|number| {
        let disk = directory.open(Part::of_file(number)).expect("a part")?;
        let len = disk.len().expect("a length");
        let mut bytes = vec![0; usize::try_from(len).expect("a vector is small")];
        disk.read_at(&mut bytes, 0).expect("a part is read");
        Some((number, bytes))
    });
    parts.collect()
}

/// `LENGTH PLACE:HEX…`: a length, and what is not zero.
fn dense(text: &str) -> Vec<u8> {
    let mut words = text.split(' ');
    let number = |word: &str| word.parse::<usize>().expect("a number");
    let mut dense = vec![0; number(words.next().expect("a length"))];
    for word in words {
        let (at, hex) = word.split_once(':').expect("a place and bytes");
        let piece = bytes(hex);
        dense[number(at)..][..piece.len()].copy_from_slice(&piece);
    }
    dense
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn paths() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/journal");
    let entries = std::fs::read_dir(folder).expect("the vectors are there");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}
