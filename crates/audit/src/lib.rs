//! Append-only Merkle log of key-lifecycle events.
