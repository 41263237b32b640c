//! One entry of the catalogue, as bytes (format section 12.1).

use cofferdam_keys::FileId;

use super::attributes::{Attributes, Time};
use super::group::u64_at;

/// Something that the catalogue says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The node is this file from now on.
    File { number: u64, file_id: FileId },
    /// The node is a directory.
    Directory { number: u64 },
    /// The node is a symbolic link that points to `target`.
    Link { number: u64, target: Vec<u8> },
    /// Permissions, owner and times of a node.
    Attributes { number: u64, attributes: Attributes },
    /// A node has a name.
    Name {
        number: u64,
        directory: u64,
        name: Vec<u8>,
    },
    /// Nothing has this name.
    NoName { directory: u64, name: Vec<u8> },
    /// A file has lost its names, and may still be there.
    Removed { number: u64 },
}

impl Entry {
    /// Appends its bytes.
    pub(crate) fn put(&self, bytes: &mut Vec<u8>) {
        match self {
            Entry::File { number, file_id } => put(bytes, FILE, *number, &[file_id.as_bytes()]),
            Entry::Directory { number } => put(bytes, DIRECTORY, *number, &[]),
            Entry::Link { number, target } => put(bytes, LINK, *number, &[target]),
            Entry::Attributes { number, attributes } => {
                put(bytes, ATTRIBUTES, *number, &[&encode(attributes)]);
            }
            Entry::Name {
                number,
                directory,
                name,
            } => put(bytes, NAME, *number, &[&directory.to_le_bytes(), name]),
            Entry::NoName { directory, name } => {
                put(bytes, NO_NAME, 0, &[&directory.to_le_bytes(), name]);
            }
            Entry::Removed { number } => put(bytes, REMOVED, *number, &[]),
        }
    }

    /// Takes the first entry of `rest`; `None` when there is none that makes sense.
    pub(crate) fn take(rest: &mut &[u8]) -> Option<Entry> {
        let (head, behind) = rest.split_at_checked(HEAD_LEN)?;
        let len = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (bytes, behind) = behind.split_at_checked(len)?;
        *rest = behind;
        let number = u64_at(head, 8)?;
        if head[1] != 0 || head[4..8] != [0; 4] || number >= NUMBER_MAX {
            return None;
        }
        let entry = parse(head[0], number, bytes)?;
        // Only the one at the top has no number of its own.
        let top = matches!(entry, Entry::Attributes { .. } | Entry::NoName { .. });
        (top || number > 0).then_some(entry)
    }
}

fn put(bytes: &mut Vec<u8>, kind: u8, number: u64, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let len = u16::try_from(len).expect("names and targets are checked against their longest");
    bytes.extend_from_slice(&[kind, 0]);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&number.to_le_bytes());
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
}

fn parse(kind: u8, number: u64, bytes: &[u8]) -> Option<Entry> {
    Some(match kind {
        FILE => Entry::File {
            number,
            file_id: FileId::from_bytes(bytes.try_into().ok()?),
        },
        DIRECTORY if bytes.is_empty() => Entry::Directory { number },
        LINK if is_text(bytes, TARGET_LEN_MAX) => Entry::Link {
            number,
            target: bytes.to_vec(),
        },
        ATTRIBUTES => Entry::Attributes {
            number,
            attributes: decode(bytes)?,
        },
        NAME => {
            let (directory, name) = place(bytes)?;
            Entry::Name {
                number,
                directory,
                name,
            }
        }
        NO_NAME if number == 0 => {
            let (directory, name) = place(bytes)?;
            Entry::NoName { directory, name }
        }
        REMOVED if bytes.is_empty() => Entry::Removed { number },
        _ => return None,
    })
}

fn place(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let directory = u64_at(bytes, 0)?;
    let name = bytes.get(8..)?;
    (directory < NUMBER_MAX && is_text(name, NAME_LEN_MAX)).then(|| (directory, name.to_vec()))
}

/// Whether this is a name or target of 1 to `max` bytes.
pub(crate) fn is_text(bytes: &[u8], max: usize) -> bool {
    !bytes.is_empty() && bytes.len() <= max && !bytes.contains(&0)
}

fn encode(attributes: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ATTRIBUTES_LEN);
    bytes.extend_from_slice(&attributes.mode.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&attributes.uid.to_le_bytes());
    bytes.extend_from_slice(&attributes.gid.to_le_bytes());
    for time in [attributes.read, attributes.written, attributes.changed] {
        bytes.extend_from_slice(&time.seconds.to_le_bytes());
        bytes.extend_from_slice(&time.nanos.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Attributes> {
    let bytes: &[u8; ATTRIBUTES_LEN] = bytes.try_into().ok()?;
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let time = |at: usize| {
        let seconds = u64_at(bytes, at)?.cast_signed();
        let nanos = u32_at(at + 8)?;
        (nanos < 1_000_000_000).then_some(Time { seconds, nanos })
    };
    let mode = u16::from_le_bytes([bytes[0], bytes[1]]);
    if mode > MODE_MAX || bytes[2..4] != [0; 2] {
        return None;
    }
    Some(Attributes {
        mode,
        uid: u32_at(4)?,
        gid: u32_at(8)?,
        read: time(12)?,
        written: time(24)?,
        changed: time(36)?,
    })
}

/// Longest name, in bytes.
pub const NAME_LEN_MAX: usize = 4096;
/// Longest target of a symbolic link, in bytes.
pub const TARGET_LEN_MAX: usize = 4095;
/// No node has this number or a higher one.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

const HEAD_LEN: usize = 16;
const ATTRIBUTES_LEN: usize = 48;
const MODE_MAX: u16 = 0o7777;
const FILE: u8 = 1;
const DIRECTORY: u8 = 2;
const LINK: u8 = 3;
const ATTRIBUTES: u8 = 4;
const NAME: u8 = 5;
const NO_NAME: u8 = 6;
const REMOVED: u8 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Entry> {
        let name = b"a name\xff".to_vec();
        vec![
            Entry::File {
                number: 5,
                file_id: FileId::from_bytes([7; 16]),
            },
            Entry::Directory { number: 6 },
            Entry::Link {
                number: 7,
                target: b"../elsewhere".to_vec(),
            },
            Entry::Attributes {
                number: 0,
                attributes: Attributes {
                    mode: 0o4755,
                    uid: 1,
                    gid: 2,
                    read: Time {
                        seconds: -1,
                        nanos: 999_999_999,
                    },
                    ..Attributes::default()
                },
            },
            Entry::Name {
                number: 5,
                directory: 6,
                name: name.clone(),
            },
            Entry::NoName { directory: 6, name },
            Entry::Removed { number: 5 },
        ]
    }

    #[test]
    fn entries_come_back() {
        let mut bytes = Vec::new();
        all().iter().for_each(|entry| entry.put(&mut bytes));
        let mut rest = &bytes[..];
        let found: Vec<Entry> = std::iter::from_fn(|| Entry::take(&mut rest)).collect();
        assert_eq!(found, all());
        assert!(rest.is_empty());
    }

    /// Goal: whatever is not exactly what the encoder writes is refused.
    #[test]
    fn every_byte_that_is_taken_counts() {
        for entry in all() {
            let mut bytes = Vec::new();
            entry.put(&mut bytes);
            for len in 0..bytes.len() {
                assert_eq!(Entry::take(&mut &bytes[..len]), None);
            }
            for bit in 0..bytes.len() * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                let Some(found) = Entry::take(&mut &other[..]) else {
                    continue;
                };
                let mut again = Vec::new();
                found.put(&mut again);
                assert_ne!(found, entry);
                assert!(other.starts_with(&again));
            }
        }
    }
}
