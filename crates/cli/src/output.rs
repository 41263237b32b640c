//! Answers: lines for a person, or one JSON value for a script.

use std::io::{self, Write};

use cofferdam_audit::UnixTime;
use serde_json::Value;

use crate::failure::Failure;

/// What a command answers.
pub(crate) struct Answer {
    /// For a person, without the last line break.
    pub(crate) text: String,
    /// For a script.
    pub(crate) json: Value,
}

impl Answer {
    /// Prints one of the two.
    ///
    /// # Errors
    /// The standard output refuses.
    pub(crate) fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            print(&self.json.to_string())
        } else {
            print(&self.text)
        }
    }
}

/// Prints a line. A reader who has left is no error: `cofferdam audit show | head` is daily business.
///
/// # Errors
/// The standard output refuses.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.map_err(|error| Failure::refused(format!("writing the answer: {error}"))),
    }
}

/// Tells a person what is about to happen. Scripts read the answer only.
pub(crate) fn announce(json: bool, text: &str) {
    if !json {
        eprintln!("{text}");
    }
}

/// Columns of equal width, two blanks apart.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        line.join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Seconds since 1970 as a person reads them; `-` for a time that has not come.
pub(crate) fn time(seconds: u64) -> String {
    if seconds == 0 {
        return "-".to_owned();
    }
    let time = UnixTime { seconds, nanos: 0 };
    format!("{}Z", &time.to_string()[..19])
}

/// A date or an instant, as the option `name` takes it.
///
/// # Errors
/// It is neither.
pub(crate) fn instant(name: &str, text: &str) -> Result<UnixTime, Failure> {
    UnixTime::parse_rfc3339(text).ok_or_else(|| {
        Failure::usage(format!(
            "{name} {text:?} is neither like 2026-01-31 nor like 2026-01-31T08:00:00Z"
        ))
    })
}

/// Bytes as a person reads them.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
