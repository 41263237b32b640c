//! The loadable SQLite extension.
