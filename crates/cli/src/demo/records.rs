//! The records: our own log, and the vaults'.

use cofferdam_audit::{
    Action, Filter, LogReader, OurCalls, Period, Reconciliation, VaultLog, VerifierKey, prove,
    reconcile, verify,
};
use cofferdam_keys::{VaultSet, WrapContext};

use super::acts::flip;
use super::stage::{Stage, copy_dir, files};
use super::telling::Telling;
use crate::commands::sentence;
use crate::failure::Failure;
use crate::store;

pub(super) fn audit(stage: &Stage, telling: &mut Telling) -> Result<(), Failure> {
    telling.step("Who did what to which key: the audit log");
    let vkey = verifier(stage)?;
    let dir = stage.log_dir();
    let report = verify(&dir, &vkey, None)?;
    telling.check(
        report.checkpoint.size() > 0,
        &format!(
            "the database's log of {} events is sound",
            report.checkpoint.size()
        ),
    );
    let mut reader = LogReader::open(&dir, &vkey)?;
    for action in [Action::StateInaccessible, Action::StateReady] {
        let found = first(&mut reader, action)?;
        telling.check(
            found.is_some(),
            &format!("the revocation is in it: {action}"),
        );
    }
    if let Some(event) = first(&mut reader, Action::KeyRewrap)? {
        telling.show(&sentence(&event));
        let proven = prove(&dir, &vkey, event.index)?.verify(&vkey, &reader.entry(event.index)?);
        telling.check(
            proven.is_ok(),
            "a proof of the rotation holds without the rest of the log",
        );
    }
    tamper(stage, telling, &vkey)?;
    telling
        .meaning("history can be read and checked by everyone, and rewritten by no one unnoticed");
    Ok(())
}

fn first(
    reader: &mut LogReader,
    action: Action,
) -> Result<Option<cofferdam_audit::LoggedEvent>, Failure> {
    let filter = Filter {
        action: Some(action),
        ..Filter::default()
    };
    Ok(reader.events(filter).next().transpose()?)
}

fn tamper(stage: &Stage, telling: &mut Telling, vkey: &VerifierKey) -> Result<(), Failure> {
    let copy = stage.dir().join("edited-audit");
    copy_dir(&stage.log_dir(), &copy).map_err(Failure::io(&copy))?;
    let entries = copy.join("tile").join("entries");
    for path in files(&entries).map_err(Failure::io(&entries))? {
        flip(&path, 40)?;
    }
    let noticed = verify(&copy, vkey, None);
    telling.check(
        noticed.is_err(),
        &match &noticed {
            Ok(_) => "one byte edited in a copy: NOT noticed".to_owned(),
            Err(error) => format!("one byte edited in a copy of it, and it is noticed: {error}"),
        },
    );
    Ok(())
}

/// The vaults' own log beside ours, before and after somebody used a credential behind our back.
pub(super) fn compare(stage: &Stage, telling: &mut Telling) -> Result<(), Failure> {
    telling.step("Our log beside the vaults' own: did anybody else use the keys?");
    let report = reconciled(stage)?;
    telling.check(
        report.agrees() && report.matched > 0,
        &format!(
            "{} wraps and unwraps are on both sides; {} not ours, {} missing there, {} disagreements",
            report.matched,
            report.not_ours.len(),
            report.missing.len(),
            report.disagreements.len()
        ),
    );
    steal(stage)?;
    let report = reconciled(stage)?;
    let stolen = report.not_ours.first();
    telling.check(
        report.not_ours.len() == 1 && report.missing.is_empty(),
        &match stolen {
            Some(call) => format!(
                "a copied credential unwraps once behind our back, and is found: {} by {} from {}",
                call.operation.name(),
                call.caller.application.as_deref().unwrap_or("nobody"),
                call.caller.ip.as_deref().unwrap_or("nowhere"),
            ),
            None => "a copied credential was used behind our back, and NOT found".to_owned(),
        },
    );
    telling.meaning("a stolen credential leaves its traces where the thief cannot reach");
    Ok(())
}

fn reconciled(stage: &Stage) -> Result<Reconciliation, Failure> {
    // First the key of our log: to find it is a call as well, and on both sides.
    let vkey = verifier(stage)?;
    let mut theirs = VaultLog::default();
    theirs
        .add(stage.cloud.audit_log()?.as_slice())
        .map_err(Failure::refused)?;
    let mut reader = LogReader::open(&stage.log_dir(), &vkey)?;
    let origin = reader.checkpoint().origin().to_owned();
    let mut ours = OurCalls::default();
    for event in reader.events(Filter::default()) {
        ours.add(&origin, &event?);
    }
    Ok(reconcile(&ours, &theirs, &Period::default()))
}

/// Unwraps the customer's root with a copy of its identity, in a session of its own, and leaves no record here.
fn steal(stage: &Stage) -> Result<(), Failure> {
    let slots = store::slots(&stage.sealed_path())?;
    let candidates = slots.candidates();
    let (_, keyring) = candidates
        .first()
        .ok_or_else(|| Failure::refused("the sealed database has no keyring"))?;
    for wrap in keyring.wraps().iter().filter(|it| it.key == stage.customer) {
        let context = WrapContext {
            store: keyring.store_id(),
            layer: wrap.layer,
        };
        let vault = stage.settings.vaults().vault(&wrap.key)?;
        vault.unwrap(&wrap.wrapped, &context)?;
    }
    Ok(())
}

fn verifier(stage: &Stage) -> Result<VerifierKey, Failure> {
    let unlocked = store::unlock(&stage.opener()?, &stage.sealed_path())?;
    store::verifier(unlocked.keyring.store_id(), &unlocked.data_keys)
}
