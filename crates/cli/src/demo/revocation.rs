//! Keys are taken away from a database that is being read, and given back.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cofferdam_keys::{KeyUri, Lease, Standing};

use super::stage::{OUTAGE_GRACE, PROBE_INTERVAL, Stage};
use super::telling::Telling;
use crate::drill::Reader;
use crate::failure::Failure;

/// One reader reads through all of it, on one connection.
pub(super) fn live(stage: &Stage, telling: &mut Telling) -> Result<(), Failure> {
    let reader = Reader::start(stage.sealed()?, &stage.sealed_path())?;
    let scene = Scene {
        lease: stage.lease()?,
        reader: &reader,
    };
    let cloud = &stage.cloud;
    telling
        .step("Revocation, live: somebody reads all the time, and the customer disables the key");
    telling.show(&format!(
        "the vaults are asked every {} ms here; the default is every minute (COFFERDAM_PROBE_INTERVAL)",
        PROBE_INTERVAL.as_millis()
    ));
    scene.revoke(
        telling,
        &stage.customer,
        ("the key is disabled", "disabled"),
        &mut || cloud.enable(&cloud.customer, None, false),
    )?;
    scene.restore(telling, "enabled again", &mut || {
        cloud.enable(&cloud.customer, None, true)
    })?;
    telling.meaning(
        "the key's owner has a switch that acts on running programs, and nothing is lost by it",
    );

    telling.step("The infrastructure's key alone is taken: its identity loses its role");
    scene.revoke(
        telling,
        &stage.infrastructure,
        ("the role is removed", "not ours to use"),
        &mut || {
            cloud.permit(&cloud.infrastructure, false);
            Ok(())
        },
    )?;
    scene.restore(telling, "given back", &mut || {
        cloud.permit(&cloud.infrastructure, true);
        Ok(())
    })?;
    telling.meaning("either authority is enough to stop it, and neither is enough to open it");

    telling.step("An outage is no revocation: every connection to the vaults is cut for a second");
    scene.outage(telling, stage)?;
    telling.meaning(&format!(
        "a vault that cannot be reached is waited for, here {} s, by default ten minutes; a vault that says no is not",
        OUTAGE_GRACE.as_secs()
    ));
    reader.stop()
}

struct Scene<'a> {
    lease: Arc<Lease>,
    reader: &'a Reader,
}

impl Scene<'_> {
    fn revoke(
        &self,
        telling: &mut Telling,
        key: &KeyUri,
        (how, word): (&str, &str),
        take: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.await_reads()?;
        let (reads, refused_before) = (self.reader.served(), self.reader.refused());
        let taken = Instant::now();
        take()?;
        until("the database was not closed", || {
            !self.lease.standing().serves()
        })?;
        // Whoever would still be served, shows it now; and the keys are given up by then.
        thread::sleep(SETTLE);
        let Standing::Inaccessible { since, .. } = self.lease.standing() else {
            return Err(Failure::refused("the database came back without its key"));
        };
        let ago = cofferdam_wiring::monotonic().saturating_sub(since);
        let confirmed = Instant::now().checked_sub(ago).unwrap_or(taken);
        let last = self.reader.last_served().unwrap_or(taken);
        let late = last.saturating_duration_since(confirmed);
        telling.show(&format!(
            "{} reads were served before; {how}, and {} ms later the vault's no was confirmed by a second one",
            reads,
            ms(confirmed.saturating_duration_since(taken))
        ));
        telling.check(
            late <= FENCE_MAX && self.reader.refused() > refused_before,
            &format!(
                "the last read was served {} ms after the confirmed no; {} were refused since",
                ms(late),
                self.reader.refused() - refused_before
            ),
        );
        let words = self.reader.words();
        telling.check(
            words.contains(key.as_str()) && words.contains(word) && words.contains("closed since"),
            &format!("the reader is told: {words}"),
        );
        let wiped = self.lease.wiped();
        telling.check(
            wiped.is_some_and(|wiped| wiped.complete),
            &match wiped {
                Some(wiped) => format!(
                    "no key of the database is left in memory, {} ms after the gate closed",
                    ms(wiped.after)
                ),
                None => "the keys were NOT wiped".to_owned(),
            },
        );
        Ok(())
    }

    fn restore(
        &self,
        telling: &mut Telling,
        how: &str,
        give: &mut dyn FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let given = Instant::now();
        give()?;
        until("the database did not come back", || {
            self.reader.last_served().is_some_and(|last| last > given)
        })?;
        let after = self.reader.first_served_after(given).unwrap_or_default();
        until("the lease is not well again", || {
            self.lease.standing() == Standing::Ready
        })?;
        telling.check(
            after < PATIENCE,
            &format!(
                "{how}: {} ms later the same connection is served, without being opened again",
                ms(after)
            ),
        );
        Ok(())
    }

    fn outage(&self, telling: &mut Telling, stage: &Stage) -> Result<(), Failure> {
        self.await_reads()?;
        let (served, refused) = (self.reader.served(), self.reader.refused());
        stage.cloud.cut_off(true)?;
        let noticed = until("the outage was not noticed", || {
            matches!(self.lease.standing(), Standing::Degraded { .. })
        });
        thread::sleep(OUTAGE);
        stage.cloud.cut_off(false)?;
        noticed?;
        until("the lease is not well again", || {
            self.lease.standing() == Standing::Ready
        })?;
        telling.check(
            self.reader.refused() == refused && self.reader.served() > served,
            &format!(
                "{} reads were served meanwhile, none was refused",
                self.reader.served() - served
            ),
        );
        Ok(())
    }

    fn await_reads(&self) -> Result<(), Failure> {
        let before = self.reader.served();
        until("nobody reads", || self.reader.served() > before + 50)
    }
}

fn until(failed: &str, mut done: impl FnMut() -> bool) -> Result<(), Failure> {
    let started = Instant::now();
    while !done() {
        if started.elapsed() > PATIENCE {
            return Err(Failure::refused(failed));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn ms(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1e3)
}

/// Within which the last read is served after a confirmed *no*.
const FENCE_MAX: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_millis(300);
const OUTAGE: Duration = Duration::from_secs(1);
/// Much longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
