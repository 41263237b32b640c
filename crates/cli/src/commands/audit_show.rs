//! `cofferdam audit show`

use std::collections::VecDeque;
use std::process::ExitCode;

use cofferdam_audit::{Action, Filter, LogReader, LoggedEvent};

use crate::args::AuditShow;
use crate::context::Context;
use crate::failure::Failure;
use crate::logs;
use crate::output::{instant, print};

/// Shows events, oldest first; as JSON, one event a line, in the log's own canonical form.
pub(crate) fn run(context: &Context, options: &AuditShow) -> Result<ExitCode, Failure> {
    let filter = filter(context, options)?;
    let found = logs::find(context, &options.log.log, options.log.vkey.as_deref())?;
    let mut reader = LogReader::open(&found.dir, &found.vkey)
        .map_err(|error| Failure::from(error).about(&found.dir))?;
    let mut last = VecDeque::new();
    for event in reader.events(filter) {
        let event = event.map_err(|error| Failure::from(error).about(&found.dir))?;
        match options.limit {
            None => show(context.json, &event)?,
            Some(limit) => {
                last.push_back(event);
                if last.len() > limit {
                    last.pop_front();
                }
            }
        }
    }
    for event in &last {
        show(context.json, event)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(json: bool, event: &LoggedEvent) -> Result<(), Failure> {
    if json {
        print(&String::from_utf8_lossy(&event.to_json()))
    } else {
        print(&sentence(event))
    }
}

/// One event in one line.
pub(crate) fn sentence(logged: &LoggedEvent) -> String {
    let event = &logged.event;
    let mut line = format!(
        "{:>5}  {}Z  {:<18} {}",
        logged.index,
        &logged.time.to_string()[..19],
        event.action.name(),
        event.outcome.name()
    );
    if let Some(reason) = &event.reason_code {
        line.push_str(&format!(" ({reason})"));
    }
    if let Some(key) = &event.key {
        if let Some(layer) = key.layer {
            line.push_str(&format!("  layer {layer}"));
        }
        if let Some(uri) = &key.uri {
            line.push_str(&format!("  {uri}"));
        }
        if let Some(version) = &key.version {
            line.push_str(&format!(" version {version}"));
        }
    }
    if let Some(object) = &event.object {
        if let Some(sequence) = object.keyring_sequence {
            line.push_str(&format!("  keyring {sequence}"));
        } else if let Some(path) = &object.path {
            line.push_str(&format!("  {path}"));
        }
    }
    if let Some(actor) = &event.actor {
        line.push_str(&format!("  by {}", actor.id));
    }
    line
}

fn filter(context: &Context, options: &AuditShow) -> Result<Filter, Failure> {
    let action = match &options.action {
        None => None,
        Some(name) => Some(Action::from_name(name).ok_or_else(|| {
            let known: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
            Failure::usage(format!("--action {name:?} is none of {}", known.join(", ")))
        })?),
    };
    let key_uri = match &options.key {
        None => None,
        Some(key) => Some(context.key(key)?.to_string()),
    };
    let from = match &options.since {
        None => None,
        Some(text) => Some(instant("--since", text)?),
    };
    Ok(Filter {
        action,
        key_uri,
        from,
        ..Filter::default()
    })
}
