//! No head of a main file makes its reader panic, and nothing that has pages counts as unfinished.

#![no_main]

use cofferdam_sealed_file::fuzzing::head;
use libfuzzer_sys::fuzz_target;

// The first two bytes are the length in units of 16, so that short inputs reach behind the slots.
fuzz_target!(|bytes: &[u8]| {
    let Some((len, bytes)) = bytes.split_first_chunk() else {
        return;
    };
    let mut head_bytes = bytes.to_vec();
    head_bytes.resize(usize::from(u16::from_le_bytes(*len)) * 16, 0);
    let _ = head(&head_bytes);
});
