//! Events in the words of other systems: one event, one line.
//!
//! Every exporter is a function of the log's name and the event alone, so that the same log gives the same
//! bytes wherever and whenever it is exported. What a schema has no place for goes where it puts such
//! things; only [`Format::JsonLines`] is the event itself, to the byte.

mod azure;
mod cef;
mod ecs;
mod ocsf;
mod words;

use crate::entry::LoggedEvent;
use crate::names::named;

named! {
    /// A schema to export events in.
    Format {
        /// Azure Key Vault's `AuditEvent`, as Azure Monitor writes it.
        Azure = "azure",
        /// ArcSight Common Event Format, version 0.
        Cef = "cef",
        /// Elastic Common Schema.
        Ecs = "ecs",
        /// The canonical events, one a line: the bytes of the log.
        JsonLines = "jsonl",
        /// OCSF class API Activity (6003).
        Ocsf = "ocsf",
    }
}

impl Format {
    /// One event of the log called `origin`, in one line without its line break.
    ///
    /// ```
    /// use cofferdam_audit::{Format, LoggedEvent};
    ///
    /// # fn main() -> Result<(), cofferdam_audit::VerifyError> {
    /// let event = LoggedEvent::parse(br#"{"action":"key.rotate","category":"key","id":"01KDVDNA0004106105GR3GG28A","outcome":"success","schema_version":1,"seq":0,"time":"2026-01-01T00:00:00.000000000Z"}"#)?;
    /// assert!(Format::Cef.line("audit.example/orders", &event).starts_with("CEF:0|Cofferdam|"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn line(self, origin: &str, event: &LoggedEvent) -> String {
        match self {
            Format::Azure => json_line(azure::members(origin, event).encode()),
            Format::Cef => cef::line(origin, event),
            Format::Ecs => json_line(ecs::members(origin, event).encode()),
            Format::JsonLines => text(event.to_json()),
            Format::Ocsf => json_line(ocsf::members(origin, event).encode()),
        }
    }
}

/// JSON leaves these as they are, and some readers of lines take them for the end of one. They can only
/// stand in strings, where their escapes mean the same.
fn json_line(json: Vec<u8>) -> String {
    let json = text(json);
    if !json.contains(is_break) {
        return json;
    }
    let mut line = String::with_capacity(json.len());
    for character in json.chars() {
        if is_break(character) {
            line.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            line.push(character);
        }
    }
    line
}

/// DEL, the controls of ISO 8859 (NEL among them) and Unicode's separators of lines and paragraphs.
fn is_break(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).expect("what is written from strings is UTF-8")
}
