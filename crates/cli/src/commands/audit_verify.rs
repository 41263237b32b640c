//! `cofferdam audit verify`

use std::fs;

use cofferdam_audit::{Checkpoint, verify};
use serde_json::json;

use crate::args::AuditVerify;
use crate::context::Context;
use crate::failure::Failure;
use crate::logs;
use crate::output::{Answer, announce};

/// Checks every byte of a log.
pub(crate) fn run(context: &Context, options: &AuditVerify) -> Result<Answer, Failure> {
    let found = logs::find(context, &options.log.log, options.log.vkey.as_deref())?;
    announce(
        context.json,
        &format!(
            "checking {} against {}",
            found.dir.display(),
            found.trust.words()
        ),
    );
    let remembered = match &options.remembered {
        None => None,
        Some(path) => {
            let note = fs::read(path).map_err(Failure::io(path))?;
            let checkpoint = Checkpoint::open(&note, &found.vkey);
            Some(checkpoint.map_err(|error| Failure::from(error).about(path))?)
        }
    };
    let report = verify(&found.dir, &found.vkey, remembered.as_ref())
        .map_err(|error| Failure::from(error).about(&found.dir))?;
    let checkpoint = String::from_utf8_lossy(report.checkpoint.note()).into_owned();
    let mut lines = vec![format!(
        "sound: {} events from {} to {}",
        report.checkpoint.size(),
        report.first_time.map_or("-".to_owned(), |t| t.to_string()),
        report.last_time.map_or("-".to_owned(), |t| t.to_string()),
    )];
    if !report.clock_steps_back.is_empty() {
        lines.push(format!(
            "the clock stepped back before event {:?}",
            report.clock_steps_back
        ));
    }
    match &remembered {
        Some(old) => lines.push(format!("it continues the checkpoint of {} events", old.size())),
        None => lines.push(format!(
            "keep {} somewhere else and give it as --remembered next time: only that shows a log that was put back",
            found.dir.join("checkpoint").display()
        )),
    }
    Ok(Answer {
        text: lines.join("\n"),
        json: json!({
            "log": found.dir,
            "vkey": found.vkey.to_string(),
            "size": report.checkpoint.size(),
            "first_time": report.first_time.map(|t| t.to_string()),
            "last_time": report.last_time.map(|t| t.to_string()),
            "clock_steps_back": report.clock_steps_back,
            "stores": report.stores,
            "checkpoint": checkpoint,
        }),
    })
}
