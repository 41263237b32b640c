//! What answers and time do to a lease. Knows no threads, no vaults and no clocks.

use std::time::Duration;

use super::LeasePolicy;
use crate::{Reason, Refusal, Revocation};

/// How a lease stands. Times are those of [`Monotonic`](super::Monotonic).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The vaults say *yes*.
    Ready,
    /// A vault cannot be asked; the store is served on.
    Degraded {
        /// Since when.
        since: Duration,
        /// What happened.
        refusal: Refusal,
    },
    /// The store is not served.
    Inaccessible {
        /// Since when.
        since: Duration,
        /// Why.
        refusal: Refusal,
    },
}

impl Standing {
    /// Whether the store is served.
    #[must_use]
    pub fn serves(&self) -> bool {
        !matches!(self, Self::Inaccessible { .. })
    }
}

/// A lease came to stand otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How it stood.
    pub from: Standing,
    /// How it stands.
    pub to: Standing,
    /// When.
    pub at: Duration,
}

pub(crate) struct Machine {
    policy: LeasePolicy,
    standing: Standing,
    denied: Option<Denied>,
    /// How often in a row our credentials were not accepted.
    auth_failures: u32,
    next_probe: Duration,
}

/// A *no* that is not confirmed yet.
struct Denied {
    first_at: Duration,
    count: u32,
    refusal: Refusal,
}

impl Machine {
    /// A lease that begins with an unwrap that has just succeeded.
    pub(crate) fn new(policy: LeasePolicy, now: Duration, jitter: f64) -> Machine {
        let next_probe = now + stretched(policy.probe_interval, jitter);
        Machine {
            policy,
            standing: Standing::Ready,
            denied: None,
            auth_failures: 0,
            next_probe,
        }
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// When the vaults are to be asked again.
    pub(crate) fn next_probe(&self) -> Duration {
        self.next_probe
    }

    /// What a probe answered. `jitter` in 0…1 spreads the probes of many stores.
    pub(crate) fn answered(
        &mut self,
        now: Duration,
        answer: Result<(), Refusal>,
        jitter: f64,
    ) -> Option<Change> {
        let before = self.standing.clone();
        let asked_for = match &answer {
            Err(refusal) => refusal.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX),
            Ok(()) => Duration::ZERO,
        };
        let next = match answer {
            Ok(()) => self.usable(),
            Err(refusal) => self.refused(now, refusal),
        };
        if let Some(standing) = next {
            self.enter(standing);
        }
        self.run_out(now);
        let wait = match (&self.standing, &self.denied) {
            (Standing::Inaccessible { .. }, _) => self.policy.reprobe_after(),
            (_, Some(_)) => self.policy.confirm_after(),
            (Standing::Degraded { .. }, None) => self.policy.retry_after(),
            (Standing::Ready, None) => self.policy.probe_interval,
        };
        self.next_probe = now + stretched(wait, jitter).max(asked_for);
        self.change_since(before, now)
    }

    /// What time alone does.
    pub(crate) fn passed(&mut self, now: Duration) -> Option<Change> {
        let before = self.standing.clone();
        self.run_out(now);
        self.change_since(before, now)
    }

    /// Nobody was there to ask through; time goes on.
    pub(crate) fn postpone(&mut self, now: Duration) {
        self.next_probe = self.next_probe.max(now + self.policy.retry_after());
    }

    /// The vaults should be asked at once, because there is reason to think that they say otherwise now.
    pub(crate) fn ask_now(&mut self, now: Duration) {
        self.next_probe = self.next_probe.min(now);
    }

    /// When something is to be done next.
    pub(crate) fn next_event(&self) -> Duration {
        let mut next = self.next_probe;
        if let Some(denied) = &self.denied {
            next = next.min(denied.first_at + self.policy.revoke_deadline);
        }
        if let Standing::Degraded { since, .. } = &self.standing {
            next = next.min(*since + self.policy.outage_grace);
        }
        next
    }

    /// Whether nobody has answered for so long after the vaults were to be asked that this is an outage of its own.
    pub(crate) fn is_overdue(&self, now: Duration) -> bool {
        now >= self.next_probe + OVERDUE_AFTER
    }

    fn usable(&mut self) -> Option<Standing> {
        self.denied = None;
        self.auth_failures = 0;
        Some(Standing::Ready)
    }

    fn refused(&mut self, now: Duration, refusal: Refusal) -> Option<Standing> {
        let refusal = self.judge_credentials(refusal);
        match refusal.reason {
            Reason::Revoked(_) | Reason::PolicyMismatch | Reason::Corrupt => {
                self.denied(now, refusal)
            }
            Reason::AuthBroken | Reason::Unreachable | Reason::Throttled => {
                self.outage(now, refusal)
            }
        }
    }

    /// Credentials that are refused again and again were taken away (key-vaults reference, section 3, rule 2).
    fn judge_credentials(&mut self, mut refusal: Refusal) -> Refusal {
        if refusal.reason != Reason::AuthBroken {
            self.auth_failures = 0;
            return refusal;
        }
        self.auth_failures = self.auth_failures.saturating_add(1);
        if self.auth_failures >= AUTH_FAILURES_MAX {
            refusal.reason = Reason::Revoked(Revocation::Permission);
        }
        refusal
    }

    fn denied(&mut self, now: Duration, refusal: Refusal) -> Option<Standing> {
        let (first_at, count) = match &self.denied {
            Some(denied) => (denied.first_at, denied.count + 1),
            None => (now, 1),
        };
        let settled = count >= self.policy.confirmations
            || now >= first_at + self.policy.revoke_deadline
            || !self.standing.serves();
        if settled {
            self.denied = None;
            return Some(Standing::Inaccessible {
                since: now,
                refusal,
            });
        }
        self.denied = Some(Denied {
            first_at,
            count,
            refusal,
        });
        None
    }

    fn outage(&mut self, now: Duration, refusal: Refusal) -> Option<Standing> {
        let since = match &self.standing {
            // A *no* is not taken back by silence.
            Standing::Inaccessible { .. } => return None,
            Standing::Degraded { since, .. } => *since,
            Standing::Ready => now,
        };
        if now >= since + self.policy.outage_grace {
            return Some(Standing::Inaccessible {
                since: now,
                refusal,
            });
        }
        Some(Standing::Degraded { since, refusal })
    }

    /// Ends a doubt that lasted to the deadline, and an outage that lasted for the grace.
    fn run_out(&mut self, now: Duration) {
        if !self.standing.serves() {
            return;
        }
        let run_out = match (&self.denied, &self.standing) {
            (Some(denied), _) if now >= denied.first_at + self.policy.revoke_deadline => {
                Some(&denied.refusal)
            }
            (_, Standing::Degraded { since, refusal })
                if now >= *since + self.policy.outage_grace =>
            {
                Some(refusal)
            }
            _ => None,
        };
        if let Some(refusal) = run_out.cloned() {
            self.enter(Standing::Inaccessible {
                since: now,
                refusal,
            });
        }
    }

    /// A lease that stays inaccessible keeps its beginning.
    fn enter(&mut self, mut to: Standing) {
        if let (Standing::Inaccessible { since: began, .. }, Standing::Inaccessible { since, .. }) =
            (&self.standing, &mut to)
        {
            *since = *began;
        }
        if !to.serves() {
            self.denied = None;
        }
        self.standing = to;
    }

    fn change_since(&self, from: Standing, at: Duration) -> Option<Change> {
        let same = match (&from, &self.standing) {
            (Standing::Ready, Standing::Ready)
            | (Standing::Degraded { .. }, Standing::Degraded { .. }) => true,
            (
                Standing::Inaccessible { refusal: old, .. },
                Standing::Inaccessible { refusal: new, .. },
            ) => old.reason == new.reason,
            _ => false,
        };
        (!same).then(|| Change {
            from,
            to: self.standing.clone(),
            at,
        })
    }
}

/// Up to a tenth less than `wait`, so that a promised interval is kept.
fn stretched(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 10.0)
}

/// Refusals of our credentials in a row that count as a *no*.
const AUTH_FAILURES_MAX: u32 = 3;
/// What a vault may ask for when it wants fewer calls: no vault may keep a lease from being judged.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// More than any vault takes to answer, and than a keeper is late on a busy machine.
const OVERDUE_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
