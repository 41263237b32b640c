//! How long keys may stay in memory on what answer.

use std::fmt;
use std::time::Duration;

use cofferdam_audit::Clock;

/// The time since some fixed moment. It never goes back, and it goes on while the machine sleeps.
pub type Monotonic = fn() -> Duration;

/// What a lease is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// How often the vaults are asked while all is well. Default: 60 s.
    pub probe_interval: Duration,
    /// How long a store is served on when a vault cannot be reached. Default: 10 min; zero: not at all.
    pub outage_grace: Duration,
    /// How many answers in a row make a *no*. Default: 2.
    pub confirmations: u32,
    /// When a *no* counts although it could not be confirmed. Default: 60 s after the first.
    pub revoke_deadline: Duration,
}

/// A policy, and the clocks it is kept by.
#[derive(Clone, Debug)]
pub struct LeaseTerms {
    /// The policy.
    pub policy: LeasePolicy,
    /// The time of day, for what people are told.
    pub clock: Clock,
    /// The time that passes, for what is decided.
    pub monotonic: Monotonic,
}

/// A policy that promises nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAPolicy {
    /// What is wrong, and what is allowed.
    pub what: &'static str,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(60),
            outage_grace: Duration::from_secs(600),
            confirmations: 2,
            revoke_deadline: Duration::from_secs(60),
        }
    }
}

impl LeasePolicy {
    /// Checks the bounds.
    ///
    /// # Errors
    ///
    /// [`NotAPolicy`] when vaults would never be asked, or asked all the time, or an outage would be served for more than a day.
    pub fn check(&self) -> Result<(), NotAPolicy> {
        let refuse = |what| Err(NotAPolicy { what });
        if !(PROBE_INTERVAL_MIN..=PROBE_INTERVAL_MAX).contains(&self.probe_interval) {
            return refuse("the probe interval is 0.1 s to 1 h");
        }
        if self.outage_grace > OUTAGE_GRACE_MAX {
            return refuse("the outage grace is at most 24 h");
        }
        if !(1..=CONFIRMATIONS_MAX).contains(&self.confirmations) {
            return refuse("a no is confirmed by 1 to 10 answers");
        }
        if self.revoke_deadline > REVOKE_DEADLINE_MAX {
            return refuse("the revoke deadline is at most 1 h");
        }
        Ok(())
    }

    /// When to ask again after a *no* that is not confirmed yet.
    pub(crate) fn confirm_after(&self) -> Duration {
        let share = self.revoke_deadline / (self.confirmations + 1);
        share.min(self.probe_interval).min(CONFIRM_AFTER_MAX)
    }

    /// When to ask again while a vault cannot be reached.
    pub(crate) fn retry_after(&self) -> Duration {
        self.probe_interval.min(RETRY_AFTER_MAX)
    }

    /// When to ask again while a store is fenced.
    pub(crate) fn reprobe_after(&self) -> Duration {
        self.probe_interval.min(REPROBE_AFTER_MAX)
    }
}

impl fmt::Display for NotAPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for NotAPolicy {}

const PROBE_INTERVAL_MIN: Duration = Duration::from_millis(100);
const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(3600);
const OUTAGE_GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
const REVOKE_DEADLINE_MAX: Duration = Duration::from_secs(3600);
const CONFIRMATIONS_MAX: u32 = 10;
/// A *no* is confirmed while the first one is fresh.
const CONFIRM_AFTER_MAX: Duration = Duration::from_secs(2);
/// An outage that ends is noticed this soon.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);
/// A key that is given back is noticed this soon, without anybody asking.
const REPROBE_AFTER_MAX: Duration = Duration::from_secs(60);
