//! Disks that fail, crash and count, and the suites that use them.
