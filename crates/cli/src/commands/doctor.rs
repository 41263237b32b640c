//! `cofferdam doctor`: what is wrong before it hurts, and what to do about it.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cofferdam_keys::{
    Finding, KeyUri, KeyVault, Layer, RootWrap, Secret, Severity, StoreId, WrapContext, preflight,
};
use cofferdam_sealed_file::Opener;
use serde_json::{Value, json};

use crate::args::Doctor;
use crate::context::{Context, absolute};
use crate::failure::{Exit, Failure};
use crate::output::Answer;
use crate::store;

/// One thing that was looked at.
struct Check {
    about: String,
    findings: Vec<Finding>,
    /// What is well, for a person.
    well: Vec<String>,
}

/// Examines a store with its keys, or a key alone.
pub(crate) fn run(context: &Context, options: &Doctor) -> Result<ExitCode, Failure> {
    let opener = context.opener()?;
    let path = absolute(Path::new(&options.subject));
    let checks = if path.is_file() {
        store_checks(&opener, &path)?
    } else {
        let key = context.key(&options.subject).map_err(|failure| {
            Failure::usage(format!(
                "{}: no such database, and no key's name: {failure}",
                options.subject
            ))
        })?;
        vec![key_check(&opener, &key, None)?]
    };
    let worst = checks
        .iter()
        .flat_map(|check| &check.findings)
        .map(|finding| finding.severity)
        .max();
    tell(&checks).print(context.json)?;
    Ok(match worst {
        Some(Severity::Error) => ExitCode::from(Exit::Refused as u8),
        _ => ExitCode::SUCCESS,
    })
}

fn store_checks(opener: &Opener, path: &Path) -> Result<Vec<Check>, Failure> {
    let slots = store::slots(path)?;
    let mut checks = Vec::new();
    if let Some((_, keyring)) = slots.candidates().first() {
        for wrap in keyring.wraps() {
            checks.push(key_check(
                opener,
                &wrap.key,
                Some((keyring.store_id(), wrap)),
            )?);
        }
    }
    checks.push(whole_store(opener, path));
    Ok(checks)
}

/// The key's description, and the proof that it wraps and unwraps: neither permissions nor attributes are one.
fn key_check(
    opener: &Opener,
    key: &KeyUri,
    used_by: Option<(StoreId, &RootWrap)>,
) -> Result<Check, Failure> {
    let vault = opener.vaults.vault(key)?;
    let mut check = Check {
        about: key.to_string(),
        findings: Vec::new(),
        well: Vec::new(),
    };
    let started = Instant::now();
    match vault.describe() {
        Ok(described) => {
            check.well.push(format!(
                "{}, {} bits of strength, {} versions",
                described.kind, described.strength_bits, described.version_count
            ));
            check.findings = preflight(&described, (opener.clock)());
            if let (Some(latest), Some((_, wrap))) = (&described.latest, used_by)
                && *latest != wrap.wrapped.version
            {
                check.findings.push(Finding::warning(
                    "rotation-not-followed",
                    format!("the store is wrapped under version {}, and {latest} is newer", wrap.wrapped.version),
                    "run `cofferdam rotate kek`, or let a program that has the store open follow",
                ));
            }
        }
        Err(refusal) => check.findings.push(Finding::warning(
            "not-described",
            refusal.to_string(),
            "permit reading the key, so that its dates and its protection against deletion can be judged",
        )),
    }
    let asked = started.elapsed();
    if asked > SLOW {
        check.findings.push(Finding::warning(
            "slow",
            format!("the vault took {:.1} s to answer", asked.as_secs_f64()),
            "look at the network between here and the vault; openings wait for it",
        ));
    }
    match used_by {
        Some((store, wrap)) => prove_unwrap(&*vault, store, wrap, &mut check),
        None => prove_both(&*vault, &mut check)?,
    }
    Ok(check)
}

fn prove_unwrap(vault: &dyn KeyVault, store: StoreId, wrap: &RootWrap, check: &mut Check) {
    let context = WrapContext {
        store,
        layer: wrap.layer,
    };
    match vault.unwrap(&wrap.wrapped, &context) {
        Ok(_) => check.well.push(format!(
            "unwraps what version {} has wrapped for this store",
            wrap.wrapped.version
        )),
        Err(refusal) => check.findings.push(Finding::error(
            "does-not-unwrap",
            refusal.to_string(),
            "until the key unwraps, the store does not open",
        )),
    }
}

/// A key that nothing hangs on yet is tried with 80 random bytes.
fn prove_both(vault: &dyn KeyVault, check: &mut Check) -> Result<(), Failure> {
    let sample = Secret::random()?;
    let context = WrapContext {
        store: StoreId::random()?,
        layer: Layer::Customer,
    };
    let proved = vault
        .wrap(&sample, &context)
        .and_then(|wrapped| vault.unwrap(&wrapped, &context));
    match proved {
        Ok(unwrapped) if unwrapped.expose() == sample.expose() => {
            check.well.push("wraps and unwraps".to_owned());
        }
        Ok(_) => check.findings.push(Finding::error(
            "unwraps-something-else",
            "what was unwrapped is not what was wrapped".to_owned(),
            "do not use this key",
        )),
        Err(refusal) => check.findings.push(Finding::error(
            "does-not-work",
            refusal.to_string(),
            "permit wrapKey and unwrapKey, no more is needed",
        )),
    }
    Ok(())
}

fn whole_store(opener: &Opener, path: &Path) -> Check {
    let mut check = Check {
        about: path.display().to_string(),
        findings: Vec::new(),
        well: Vec::new(),
    };
    match store::unlock(opener, path) {
        Ok(unlocked) => {
            check
                .well
                .push("opens, and its keyring authenticates".to_owned());
            let store = unlocked.keyring.store_id();
            match opener.log_dir(path, store).filter(|dir| dir.is_dir()) {
                Some(dir) => check.well.push(format!("audit log {}", dir.display())),
                None => check.findings.push(Finding::error(
                    "no-audit-log",
                    "there is no audit log: an old copy put back goes unnoticed, and no key can be changed".to_owned(),
                    "put it back where it was, or say where it is with --audit",
                )),
            }
            if unlocked.keyring.suite().layer_count() == 1 {
                check
                    .well
                    .push("one wall; a second one needs an infrastructure key".to_owned());
            }
        }
        Err(failure) => check.findings.push(Finding::error(
            "does-not-open",
            failure.to_string(),
            "see what the keys' own checks say",
        )),
    }
    check
}

fn tell(checks: &[Check]) -> Answer {
    let mut lines = Vec::new();
    let mut list = Vec::new();
    for check in checks {
        lines.push(check.about.clone());
        lines.extend(check.well.iter().map(|well| format!("  ok       {well}")));
        for finding in &check.findings {
            let word = severity_name(finding.severity);
            lines.push(format!("  {word:<7}  {} ({})", finding.what, finding.code));
            lines.push(format!("           -> {}", finding.fix));
        }
        list.push(json!({
            "about": check.about,
            "ok": check.well,
            "findings": check.findings.iter().map(finding_json).collect::<Vec<Value>>(),
        }));
    }
    Answer {
        text: lines.join("\n"),
        json: json!({ "checks": list }),
    }
}

fn finding_json(finding: &Finding) -> Value {
    json!({
        "code": finding.code,
        "severity": severity_name(finding.severity),
        "what": finding.what,
        "fix": finding.fix,
    })
}

fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// A vault in the same region answers in a tenth of this.
const SLOW: Duration = Duration::from_secs(1);
