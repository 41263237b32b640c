//! SQLite on sealed files.
