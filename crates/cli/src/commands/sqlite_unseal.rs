//! `cofferdam sqlite unseal`

use std::path::Path;
use std::sync::Arc;

use cofferdam_audit::{Action, Event, Object, ObjectKind, Outcome, Sink};
use cofferdam_sealed_file::{AuditPlace, Opener};
use cofferdam_sqlite::{Sealed, Snapshot, Transfer, unseal};
use serde_json::json;

use crate::args::Unseal;
use crate::context::{Context, absolute};
use crate::failure::{Exit, Failure};
use crate::output::{Answer, announce, hex, size};
use crate::progress::Progress;
use crate::{store, terminal};

/// Makes a plain copy, once that is on record.
pub(crate) fn run(context: &Context, options: &Unseal) -> Result<Answer, Failure> {
    let (source, target) = (absolute(&options.source), absolute(&options.target));
    let opener = Arc::new(context.opener()?);
    // Whatever is wrong with keys and keyring is told in their own words before SQLite has a say.
    store::unlock(&opener, &source)?;
    announce(
        context.json,
        &format!(
            "writing the contents of {} in the open, to {}",
            source.display(),
            target.display()
        ),
    );
    if !options.yes && !terminal::confirm("do that? [y/N] ") {
        return Err(Failure::usage(
            "nothing was written: say yes at the terminal, or give --yes",
        ));
    }
    let sealed = Sealed::new(opener.clone()).map_err(Failure::from)?;
    let snapshot = Snapshot::of_sealed(&sealed, &source)?;
    let mut progress = Progress::interruptible("unsealing");
    let copy = unseal(&snapshot, &target, &mut |done, total| {
        progress.at(done, total)
    })?;
    record(&opener, &source, &target, &copy, "unsealed")?;
    let (bytes, sha256) = (copy.bytes(), hex(&copy.sha256()));
    copy.publish()?;
    Ok(Answer {
        text: format!(
            "wrote {}: {} in the open, readable by its owner alone\nsha256 {sha256}",
            target.display(),
            size(bytes)
        ),
        json: json!({ "target": target, "bytes": bytes, "sha256": sha256 }),
    })
}

/// That a copy comes into being, in the open or under other keys, is on record before it has a name.
///
/// # Errors
/// The log is missing or cannot be written.
pub(crate) fn record(
    opener: &Opener,
    source: &Path,
    target: &Path,
    copy: &Transfer,
    how: &str,
) -> Result<(), Failure> {
    if opener.audit == AuditPlace::Nowhere {
        return Ok(());
    }
    let unlocked = store::unlock_only(opener, source, &store::slots(source)?)?;
    let object = Object {
        id: Some(unlocked.keyring.store_id().to_string()),
        path: Some(target.display().to_string()),
        bytes: Some(copy.bytes()),
        ..Object::new(ObjectKind::Backup)
    };
    let event = Event::new(Action::BackupCreated, Outcome::Success)
        .with_reason(how)
        .with_object(object);
    let recorded = store::log(opener, source, &unlocked).and_then(|log| Ok(log.record(&event)?));
    recorded.map_err(|failure| Failure {
        exit: match failure.exit {
            Exit::Integrity => Exit::Integrity,
            _ => Exit::Refused,
        },
        text: format!("nothing was written, because it cannot be recorded: {failure}"),
    })?;
    Ok(())
}
