//! `cofferdam audit reconcile`

use std::fs::File;
use std::process::ExitCode;

use cofferdam_audit::{
    Disagreement, Filter, LogReader, OurCall, OurCalls, Period, Reconciliation, UnixTime,
    Unmatched, VaultCall, VaultLog, VaultLogError, reconcile, verify,
};
use serde_json::{Value, json};

use crate::args::AuditReconcile;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::logs;
use crate::output::{Answer, announce, instant};

/// Compares our logs with the vault's.
pub(crate) fn run(context: &Context, options: &AuditReconcile) -> Result<ExitCode, Failure> {
    let period = period(options)?;
    let theirs = vault_log(options)?;
    let ours = our_calls(context, options)?;
    if ours.key_count() == 0 {
        return Err(Failure::usage(
            "there is nothing to compare: these logs name no key in an Azure key vault",
        ));
    }
    let report = reconcile(&ours, &theirs, &period);
    Answer {
        text: text(&report, &theirs),
        json: value(&report, &theirs),
    }
    .print(context.json)?;
    Ok(match report.agrees() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(Exit::Unmatched as u8),
    })
}

fn period(options: &AuditReconcile) -> Result<Period, Failure> {
    let time = |name: &str, text: &Option<String>| -> Result<Option<UnixTime>, Failure> {
        text.as_deref().map(|text| instant(name, text)).transpose()
    };
    let (from, to) = (time("--from", &options.from)?, time("--to", &options.to)?);
    if from.is_some_and(|from| to.is_some_and(|to| from >= to)) {
        return Err(Failure::usage("--from is not before --to"));
    }
    Ok(Period {
        from,
        to,
        skew_seconds: options.skew,
    })
}

fn vault_log(options: &AuditReconcile) -> Result<VaultLog, Failure> {
    let mut log = VaultLog::default();
    for path in &options.kms_log {
        let file = File::open(path).map_err(Failure::io(path))?;
        log.add(file).map_err(|error| {
            let exit = match error {
                VaultLogError::Record { .. } => Exit::Usage,
                _ => Exit::Refused,
            };
            Failure::new(exit, error).about(path)
        })?;
    }
    Ok(log)
}

fn our_calls(context: &Context, options: &AuditReconcile) -> Result<OurCalls, Failure> {
    if !options.vkey.is_empty() && options.vkey.len() != options.logs.len() {
        return Err(Failure::usage(format!(
            "{} logs and {} times --vkey: give one for each, or none",
            options.logs.len(),
            options.vkey.len()
        )));
    }
    let mut ours = OurCalls::default();
    let mut seen = Vec::new();
    for (number, log) in options.logs.iter().enumerate() {
        let vkey = options.vkey.get(number).map(String::as_str);
        let found = logs::find(context, log, vkey)?;
        announce(
            context.json,
            &format!(
                "checking {} against {}",
                found.dir.display(),
                found.trust.words()
            ),
        );
        let about = |error| Failure::from(error).about(&found.dir);
        let mut reader = LogReader::open(&found.dir, &found.vkey).map_err(about)?;
        verify(&found.dir, &found.vkey, None).map_err(about)?;
        let origin = reader.checkpoint().origin().to_owned();
        if seen.contains(&origin) {
            return Err(Failure::usage(format!("the log {origin} is named twice")));
        }
        for event in reader.events(Filter::default()) {
            ours.add(&origin, &event.map_err(about)?);
        }
        seen.push(origin);
    }
    Ok(ours)
}

fn text(report: &Reconciliation, theirs: &VaultLog) -> String {
    let mut lines = Vec::new();
    for call in &report.not_ours {
        lines.push(format!("not ours       {}", vaults_words(call)));
    }
    for unmatched in &report.missing {
        lines.push(format!("missing there  {}", our_words(unmatched)));
    }
    for Disagreement { ours, vaults } in &report.disagreements {
        lines.push(format!(
            "disagreement   event {} of {} says {}, the vault says {}",
            ours.index,
            ours.log,
            ours.outcome,
            vaults_words(vaults)
        ));
    }
    for unmatched in &report.never_arrived {
        lines.push(format!("never arrived  {}", our_words(unmatched)));
    }
    lines.push(format!(
        "{} calls on both sides, {} not ours, {} missing there, {} disagreements",
        report.matched,
        report.not_ours.len(),
        sum(&report.missing),
        report.disagreements.len()
    ));
    lines.push(format!(
        "not compared: {} at the edges of the period, {} failed here and never arrived there, {} repeated attempts, {} on other keys, {} other operations, {} duplicates",
        report.at_the_edges,
        sum(&report.never_arrived),
        report.retries,
        report.other_keys,
        theirs.other_operations(),
        theirs.duplicates()
    ));
    if !report.not_ours.is_empty() {
        lines.push(
            "calls that are not ours mean a credential in other hands, a store whose log was not given, or a process that died before it recorded them"
                .to_owned(),
        );
    }
    lines.join("\n")
}

fn vaults_words(call: &VaultCall) -> String {
    let unknown = || "-".to_owned();
    let caller = &call.caller;
    let names = [&caller.user, &caller.application, &caller.object];
    let who: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
    printable(&format!(
        "{} {} {}/{} {} by {} from {} as {}",
        call.time,
        call.operation.name(),
        call.key,
        call.version.clone().unwrap_or_else(unknown),
        call.result,
        if who.is_empty() {
            unknown()
        } else {
            who.join(" ")
        },
        caller.ip.clone().unwrap_or_else(unknown),
        call.request_id.clone().unwrap_or_else(unknown),
    ))
}

fn our_words(unmatched: &Unmatched) -> String {
    let call = &unmatched.call;
    let ids = call.ids();
    printable(&format!(
        "{} {} {}/{} {} {} of {} calls, event {} of {} as {}",
        call.time,
        call.action,
        call.key,
        call.version.as_deref().unwrap_or("-"),
        call.outcome,
        unmatched.count,
        call.count,
        call.index,
        call.log,
        if ids.is_empty() {
            "-".to_owned()
        } else {
            ids.join(" ")
        },
    ))
}

/// The vault's log has words of strangers in it; they do not get to write on the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn value(report: &Reconciliation, theirs: &VaultLog) -> Value {
    let list = |unmatched: &[Unmatched]| -> Vec<Value> {
        let of = |one: &Unmatched| {
            let mut value = ours_value(&one.call);
            value["unmatched"] = one.count.into();
            value
        };
        unmatched.iter().map(of).collect()
    };
    let disagreements: Vec<Value> = report
        .disagreements
        .iter()
        .map(|pair| json!({ "ours": ours_value(&pair.ours), "vaults": vaults_value(&pair.vaults) }))
        .collect();
    json!({
        "agrees": report.agrees(),
        "matched": report.matched,
        "not_ours": report.not_ours.iter().map(vaults_value).collect::<Vec<_>>(),
        "missing": list(&report.missing),
        "disagreements": disagreements,
        "never_arrived": list(&report.never_arrived),
        "at_the_edges": report.at_the_edges,
        "retries": report.retries,
        "other_keys": report.other_keys,
        "other_operations": theirs.other_operations(),
        "duplicates": theirs.duplicates(),
    })
}

fn vaults_value(call: &VaultCall) -> Value {
    json!({
        "time": call.time.to_string(),
        "operation": call.operation.name(),
        "key": call.key,
        "version": call.version,
        "request_id": call.request_id,
        "succeeded": call.succeeded,
        "result": call.result,
        "ip": call.caller.ip,
        "user": call.caller.user,
        "application": call.caller.application,
        "object": call.caller.object,
    })
}

fn ours_value(call: &OurCall) -> Value {
    json!({
        "log": call.log,
        "seq": call.index,
        "time": call.time.to_string(),
        "action": call.action.name(),
        "outcome": call.outcome.name(),
        "operation": call.operation.name(),
        "key": call.key,
        "version": call.version,
        "count": call.count,
        "ids": call.ids(),
    })
}

fn sum(unmatched: &[Unmatched]) -> u64 {
    let counts = unmatched.iter().map(|one| one.count);
    counts.fold(0, u64::saturating_add)
}
