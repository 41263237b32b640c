//! Whatever a group of a volume's journal says under a right checksum, it is one that the writer writes, or refused.

#![no_main]

use cofferdam_sealed_file::fuzzing::journal_group;
use libfuzzer_sys::fuzz_target;

// The first byte counts the entries.
fuzz_target!(|bytes: &[u8]| {
    if let Some((&count, entries)) = bytes.split_first() {
        let _ = journal_group(u32::from(count), entries);
    }
});
