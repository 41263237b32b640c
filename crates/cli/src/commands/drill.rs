//! `cofferdam drill`

use std::sync::Arc;
use std::time::Duration;

use cofferdam_audit::{Action, Event, Object, Outcome, Sink};
use cofferdam_keys::{LeasePolicy, LeaseTerms, Leases};
use serde_json::json;

use crate::args::Store;
use crate::context::{Context, absolute};
use crate::drill::{DrillVaults, Measured, hold};
use crate::failure::Failure;
use crate::output::{Answer, announce};
use crate::store;

/// Holds the drill, prints what was measured, and puts it on record.
pub(crate) fn run(context: &Context, options: &Store) -> Result<Answer, Failure> {
    let path = absolute(&options.store);
    let mut opener = context.opener()?;
    let unlocked = store::unlock(&opener, &path)?;
    let log = store::log(&opener, &path, &unlocked)?;
    announce(
        context.json,
        &format!(
            "reading {} while its keys are taken away from this program alone; nobody else is disturbed",
            path.display()
        ),
    );
    let terms = opener.leases.terms().clone();
    let vaults = DrillVaults::over(opener.vaults.clone());
    opener.vaults = Arc::new(vaults.clone());
    opener.leases = Leases::new(LeaseTerms {
        policy: LeasePolicy {
            probe_interval: DRILL_PROBE_INTERVAL,
            ..terms.policy.clone()
        },
        ..terms.clone()
    });
    let measured = hold(Arc::new(opener), &vaults, &path)?;
    let passed = measured.wiped && measured.last_read_after <= FENCE_MAX;
    let store = unlocked.keyring.store_id();
    log.record(
        &Event::new(
            Action::CustodyDrill,
            if passed {
                Outcome::Success
            } else {
                Outcome::Error
            },
        )
        .with_object(Object::store(store.to_string()).with_path(path.display().to_string()))
        .with_reason(format!(
            "last_read_{}_ms_wiped_{}_ms_restored_{}_ms",
            measured.last_read_after.as_millis(),
            measured.wiped_after.as_millis(),
            measured.restored_after.as_millis()
        )),
    )?;
    let answer = tell(&measured, &terms.policy, passed);
    match passed {
        true => Ok(answer),
        false => {
            answer.print(context.json)?;
            Err(Failure::refused("the drill was not passed"))
        }
    }
}

fn tell(measured: &Measured, policy: &LeasePolicy, passed: bool) -> Answer {
    let noticed = policy.probe_interval + policy.revoke_deadline;
    let text = format!(
        "reads served before          {}\n\
         the vault says no\n\
         \x20 confirmed after            {}\n\
         \x20 last read served           {} after that\n\
         \x20 no key left in memory      {} after the gate closed{}\n\
         \x20 reads refused              {}\n\
         \x20 readers are told           {}\n\
         the vault says yes\n\
         \x20 first read served          {} after that\n\
         a program with these settings notices a no within {} s, and acts on it as above\n\
         drill {}",
        measured.reads_before,
        ms(measured.confirmed_after),
        ms(measured.last_read_after),
        ms(measured.wiped_after),
        if measured.wiped {
            ""
        } else {
            ": NOT all were wiped"
        },
        measured.refused,
        measured.words,
        ms(measured.restored_after),
        noticed.as_secs_f64(),
        if passed { "passed" } else { "FAILED" },
    );
    Answer {
        text,
        json: json!({
            "passed": passed,
            "reads_before": measured.reads_before,
            "confirmed_after_ms": measured.confirmed_after.as_secs_f64() * 1e3,
            "last_read_after_ms": measured.last_read_after.as_secs_f64() * 1e3,
            "wiped": measured.wiped,
            "wiped_after_ms": measured.wiped_after.as_secs_f64() * 1e3,
            "reads_refused": measured.refused,
            "restored_after_ms": measured.restored_after.as_secs_f64() * 1e3,
            "noticed_within_s": noticed.as_secs_f64(),
        }),
    }
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// A drill must not take minutes. What it measures begins with the vault's answer, whenever that is asked for.
const DRILL_PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// Within which the last read is served after a confirmed *no*.
const FENCE_MAX: Duration = Duration::from_secs(1);
