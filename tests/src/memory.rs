//! Looks for keys in the memory of this process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// What each byte of a key is changed with, so that the list of keys is not what is found.
pub const MASK: u8 = 0xa5;

/// How often the masked keys are in a part of the memory.
#[must_use]
pub fn count(part: &[u8], needles: &[[u8; 32]]) -> usize {
    needles.iter().map(|needle| count_one(part, needle)).sum()
}

fn count_one(part: &[u8], needle: &[u8; 32]) -> usize {
    let first = needle[0] ^ MASK;
    let is_there = |window: &[u8]| {
        window
            .iter()
            .zip(needle)
            .all(|(&byte, &n)| byte ^ MASK == n)
    };
    let mut found = 0;
    let mut at = 0;
    while let Some(next) = part[at..].iter().position(|&byte| byte == first) {
        at += next;
        if part.get(at..at + 32).is_some_and(is_there) {
            found += 1;
        }
        at += 1;
    }
    found
}

/// Every writable part of the memory, but for the buffer that it is read into.
///
/// # Panics
/// Where there is no `/proc`.
pub fn for_each_part(mut look: impl FnMut(&[u8])) {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0; PART + 31];
    let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") || line.contains("[v") {
            continue;
        }
        let (begin, end) = range.split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (mut at, end) = (number(begin), number(end));
        while at < end {
            let len = (end - at).min(buffer.len() as u64);
            if at < own.end && own.start < at + len {
                // Step around the buffer; its neighbourhood is looked at in smaller parts.
                if own.contains(&at) {
                    at = own.end;
                    continue;
                }
                let len = (own.start - at).min(len);
                read_and_look(&memory, at, &mut buffer[..len as usize], &mut look);
                at = own.end;
                continue;
            }
            read_and_look(&memory, at, &mut buffer[..len as usize], &mut look);
            at += len
                .saturating_sub(31)
                .max(if at + len == end { len } else { 1 });
        }
    }
    buffer.fill(0);
}

fn read_and_look(memory: &File, at: u64, part: &mut [u8], look: &mut impl FnMut(&[u8])) {
    // A part that was given back to the system meanwhile is no place for keys.
    if memory.read_exact_at(part, at).is_ok() {
        look(part);
    }
    part.fill(0);
}

const PART: usize = 1 << 20;
