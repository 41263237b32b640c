//! Leases for tests that are about something else.

use std::time::Duration;

use cofferdam_keys::{Clock, LeasePolicy, LeaseTerms, Leases};

/// Leases for which no time passes, so that no vault is asked again.
pub fn quiet_leases(clock: Clock) -> Leases {
    Leases::new(LeaseTerms {
        policy: LeasePolicy::default(),
        clock,
        monotonic: || Duration::ZERO,
    })
}
