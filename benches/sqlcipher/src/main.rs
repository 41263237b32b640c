//! SQLCipher as a contender of `benches/src/bin/sqlite`, with its default cipher and a raw key; without a key, and then
//! a plain SQLite, when the first argument is `plain`.

use std::path::Path;

use rusqlite::Connection;

#[path = "../../src/bin/sqlite/server.rs"]
mod server;

fn main() -> Result<(), String> {
    let plain = std::env::args().nth(1).as_deref() == Some("plain");
    server::serve(|path| open(path, plain).map_err(|error| error.to_string()))
}

fn open(path: &Path, plain: bool) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    if !plain {
        // A raw key: no time goes into deriving it from a passphrase.
        connection.execute_batch(&format!("PRAGMA key = \"x'{}'\"", "2b".repeat(32)))?;
    }
    Ok(connection)
}
