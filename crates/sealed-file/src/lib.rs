//! Files of sealed pages on a disk.
