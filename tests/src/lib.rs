//! Disks that fail, crash and count, and the suites that use them.
//!
//! Three seams are simulated: [`cofferdam_sealed_file::Disk`], by [`fault_disk`], [`crash_disk`] and
//! [`counting_disk`], [`cofferdam_sealed_file::Directory`], by [`crash_directory`], and SQLite's file system layer, by [`crash_vfs`]. [`oracle`] knows which content
//! a database may have after a crash.

pub mod counting_disk;
pub mod crash_directory;
pub mod crash_disk;
pub mod crash_vfs;
mod crash_vfs_ffi;
mod crash_vfs_files;
mod crash_vfs_locks;
mod crash_vfs_state;
pub mod disk_suite;
pub mod fault_disk;
pub mod leases;
pub mod memory;
pub mod memory_disk;
pub mod oracle;
pub mod oracle_run;
pub mod power_cut;
pub mod random;
pub mod vault_suite;
pub mod volume_model;
