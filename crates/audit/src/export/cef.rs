//! ArcSight Common Event Format, version 0: `CEF:0|vendor|product|version|event class|name|severity|extension`.
//!
//! In the header `\` and `|` are escaped, in values of the extension `\`, `=` and line breaks. What CEF has no escape
//! for and a receiver might break a line at is written as `\\u0007` would be read: a backslash and the code.

use std::net::IpAddr;

use crate::entry::LoggedEvent;
use crate::event::{Event, Object};
use crate::export::is_break;
use crate::export::words::{PRODUCT_VERSION, Severity, pascal_case};

pub(super) fn line(origin: &str, logged: &LoggedEvent) -> String {
    let severity = match Severity::of(logged) {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    let action = logged.event.action;
    let mut line = String::from("CEF:0|Cofferdam|Cofferdam");
    for field in [
        PRODUCT_VERSION,
        action.name(),
        &pascal_case(action.name()),
        &severity.to_string(),
    ] {
        line.push('|');
        escape(&mut line, field, '|');
    }
    line.push('|');
    let mut extension = Extension {
        line,
        is_empty: true,
    };
    extension.event(origin, logged);
    extension.line
}

struct Extension {
    line: String,
    is_empty: bool,
}

impl Extension {
    fn event(&mut self, origin: &str, logged: &LoggedEvent) {
        let event = &logged.event;
        self.add("rt", Some(logged.time.milliseconds()));
        self.add("externalId", Some(logged.id));
        self.add("cat", Some(event.action.category()));
        self.add("outcome", Some(event.outcome));
        self.add("reason", event.reason_code.as_ref());
        self.add("cnt", event.count);
        self.who(event);
        self.labelled("cs1", "logName", Some(origin));
        self.labelled("cn1", "logSequence", Some(logged.index));
        let key = event.key.as_ref();
        self.labelled("cs2", "keyId", key.and_then(|key| key.uri.as_ref()));
        let version = key.and_then(|key| key.version.as_ref());
        self.labelled("cs3", "keyVersion", version);
        self.labelled("cs4", "correlationId", event.correlation_id.as_ref());
        self.labelled("cs5", "provider", event.provider.as_ref());
        self.labelled("cs6", "approvals", list(&event.approvals));
        self.labelled("cn2", "keyLayer", key.and_then(|key| key.layer));
        self.labelled("flexString1", "requestId", event.request_id.as_ref());
        let states = key.map(|key| [key.state_before, key.state_after]);
        let states = states.filter(|states| states.iter().any(Option::is_some));
        let states = states.map(|states| states.map(|state| state.map_or("-", |s| s.name())));
        let states = states.map(|[before, after]| format!("{before} > {after}"));
        self.labelled("flexString2", "keyStates", states);
        if let Some(object) = &event.object {
            self.object(object);
        }
        let justification = event.justification.as_ref();
        self.add("msg", justification.and_then(|j| j.text.as_ref()));
    }

    fn who(&mut self, event: &Event) {
        let actor = event.actor.as_ref();
        self.add("suser", actor.map(|actor| &actor.id));
        self.add("spriv", actor.map(|actor| actor.kind));
        self.add("duser", event.on_behalf_of.as_ref());
        let Some(source) = &event.source else { return };
        self.add("shost", source.host.as_ref());
        self.add("spid", source.pid);
        let Some(ip) = &source.ip else { return };
        match ip.parse() {
            Ok(IpAddr::V4(address)) => self.add("src", Some(address)),
            Ok(IpAddr::V6(address)) => {
                self.labelled("c6a2", "Source IPv6 Address", Some(address));
            }
            Err(_) => self.add("sourceServiceName", Some(ip)),
        }
    }

    fn object(&mut self, object: &Object) {
        self.add("fileType", Some(object.kind));
        self.add("fileId", object.id.as_ref());
        self.add("filePath", object.path.as_ref());
        self.add("fsize", object.bytes);
        self.labelled("cn3", "keyringSequence", object.keyring_sequence);
    }

    fn labelled(&mut self, key: &str, label: &str, value: Option<impl ToString>) {
        if value.is_some() {
            self.add(key, value);
            self.add(&format!("{key}Label"), Some(label));
        }
    }

    fn add(&mut self, key: &str, value: Option<impl ToString>) {
        let Some(value) = value else { return };
        if !std::mem::take(&mut self.is_empty) {
            self.line.push(' ');
        }
        self.line.push_str(key);
        self.line.push('=');
        escape(&mut self.line, &value.to_string(), '=');
    }
}

fn list(items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| items.join(", "))
}

/// `special` is what ends a value here: `|` in the header, `=` in the extension.
fn escape(line: &mut String, value: &str, special: char) {
    for character in value.chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\\' => line.push_str("\\\\"),
            _ if character == special => line.extend(['\\', character]),
            _ if character < ' ' || is_break(character) => {
                line.push_str(&format!("\\\\u{:04x}", u32::from(character)));
            }
            _ => line.push(character),
        }
    }
}
