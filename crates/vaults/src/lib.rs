//! Places that hold key-encryption keys.
