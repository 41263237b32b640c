//! Ratios against named peers.
