//! A contender: runs the SQL that it is told to on its standard input, and answers what that cost.
//!
//! | Line | Meaning | Answer |
//! | --- | --- | --- |
//! | `open PATH` | opens the database, closing the one before | `ok VERSION` |
//! | `run COUNT` | the next COUNT lines are one statement each; every row is fetched | `ok CPU WALL LAST` |
//!
//! CPU is the processor time of this process, user and system, and WALL what a clock shows, in nanoseconds; LAST is
//! the first column of the last row. `error TEXT` instead of any answer ends the contender. SQLCipher's own package
//! compiles this file too, and `sqlite3mc.py` speaks the same.

use std::io::{self, BufRead, Write};
use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use rustix::time::{ClockId, clock_gettime};

/// Serves until the standard input ends.
///
/// # Errors
/// A text, when the parent is gone or asks for something else.
pub(crate) fn serve(open: impl Fn(&Path) -> Result<Connection, String>) -> Result<(), String> {
    let mut lines = io::stdin().lock().lines();
    let mut connection = None;
    let mut next = || match lines.next() {
        None => Ok(None),
        Some(line) => line.map(Some).map_err(|error| error.to_string()),
    };
    while let Some(line) = next()? {
        let answer = match line.split_once(' ') {
            Some(("open", path)) => {
                drop(connection.take());
                connection = Some(open(Path::new(path))?);
                format!("ok {}", rusqlite::version())
            }
            Some(("run", count)) => {
                let count: usize = count.parse().map_err(|_| line.clone())?;
                let connection = connection.as_ref().ok_or("nothing is open")?;
                let mut statements = Vec::with_capacity(count);
                for _ in 0..count {
                    statements.push(next()?.ok_or("too few statements")?);
                }
                run(connection, &statements).map_err(|error| error.to_string())?
            }
            _ => return Err(format!("what does {line:?} mean?")),
        };
        println!("{answer}");
        io::stdout().flush().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn run(connection: &Connection, statements: &[String]) -> rusqlite::Result<String> {
    let wall = Instant::now();
    let cpu = cpu_nanos();
    let mut last = String::from("-");
    for statement in statements {
        let mut statement = connection.prepare(statement)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            last = match row.get_ref(0)? {
                ValueRef::Integer(value) => value.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{:?}", other.data_type()),
            };
        }
    }
    let cpu = cpu_nanos() - cpu;
    Ok(format!("ok {cpu} {} {last}", wall.elapsed().as_nanos()))
}

/// User and system time of this process, all threads together.
fn cpu_nanos() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
