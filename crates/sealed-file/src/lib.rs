//! Files of sealed pages on a disk.

mod disk;

pub use disk::{Disk, FileDisk};
