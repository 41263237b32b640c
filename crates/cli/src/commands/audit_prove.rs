//! `cofferdam audit prove`: one event for somebody who does not get the log.
//!
//! The text is the event, a line break, and a C2SP tlog-proof.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use cofferdam_audit::{LogReader, LoggedEvent, Proof, prove};
use serde_json::json;

use crate::args::AuditProve;
use crate::commands::sentence;
use crate::context::Context;
use crate::failure::Failure;
use crate::logs;
use crate::output::{Answer, print};

/// Writes or checks a proof.
pub(crate) fn run(context: &Context, options: &AuditProve) -> Result<ExitCode, Failure> {
    match (&options.check, &options.log, options.index, &options.vkey) {
        (Some(file), _, _, Some(vkey)) => check(context, file, vkey)?,
        (None, Some(log), Some(index), vkey) => {
            write(context, log, index, vkey.as_deref())?;
        }
        _ => {
            return Err(Failure::usage(
                "give LOG and INDEX, or --check FILE --vkey VKEY",
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write(context: &Context, log: &Path, index: u64, vkey: Option<&str>) -> Result<(), Failure> {
    let found = logs::find(context, log, vkey)?;
    let about = |error| Failure::from(error).about(&found.dir);
    let entry = LogReader::open(&found.dir, &found.vkey)
        .and_then(|mut reader| reader.entry(index))
        .map_err(about)?;
    let proof = prove(&found.dir, &found.vkey, index).map_err(about)?;
    let event = String::from_utf8_lossy(&entry).into_owned();
    let proof = String::from_utf8_lossy(&proof.to_text()).into_owned();
    if context.json {
        let value = json!({ "event": event, "proof": proof, "vkey": found.vkey.to_string() });
        return print(&value.to_string());
    }
    print(&format!("{event}\n{}", proof.trim_end_matches('\n')))?;
    eprintln!(
        "check it with: cofferdam audit prove --check FILE --vkey '{}'",
        found.vkey
    );
    Ok(())
}

fn check(context: &Context, file: &Path, vkey: &str) -> Result<(), Failure> {
    let vkey = logs::read_vkey(vkey)?;
    let text = fs::read(file).map_err(Failure::io(file))?;
    let about = |error| Failure::from(error).about(file);
    let end = text
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| Failure::usage(format!("{} is no proof", file.display())))?;
    let (entry, proof) = (&text[..end], &text[end + 1..]);
    let proof = Proof::parse(proof).map_err(about)?;
    let checkpoint = proof.verify(&vkey, entry).map_err(about)?;
    let event = LoggedEvent::parse(entry).map_err(about)?;
    Answer {
        text: format!(
            "proven: in the log {} of {} events\n{}",
            checkpoint.origin(),
            checkpoint.size(),
            sentence(&event)
        ),
        json: json!({
            "proven": true,
            "origin": checkpoint.origin(),
            "size": checkpoint.size(),
            "index": proof.index(),
        }),
    }
    .print(context.json)
}
