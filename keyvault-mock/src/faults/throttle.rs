//! The limits of the real service
//! (<https://learn.microsoft.com/azure/key-vault/general/service-limits>, in ten seconds per vault and region):
//!
//! | Key | HSM, create | HSM, other | software, create | software, other |
//! | --- | --- | --- | --- | --- |
//! | RSA 2048, EC | 10 | 2000 | 20 | 4000 |
//! | RSA 3072 | 10 | 500 | 20 | 1000 |
//! | RSA 4096 | 10 | 250 | 20 | 500 |
//!
//! They are weighted and hold for the sum: a use of an RSA 4096 key counts as eight of an RSA 2048 key.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts what each vault is asked for.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    on: bool,
    windows: BTreeMap<(String, Lane), Window>,
}

/// The sums are taken apart by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    CreateHsm,
    CreateSoftware,
    UseHsm,
    UseSoftware,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began_ms: i64,
    spent: u32,
}

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCost {
    /// Whether the key is kept in an HSM.
    pub hsm: bool,
    /// Whether a key is made.
    pub creates: bool,
    /// The modulus of an RSA key, in bits; 0 for other keys and for requests that concern none.
    pub rsa_bits: u32,
}

impl Throttle {
    /// Switches the limits on or off, and forgets what was counted.
    pub fn set_on(&self, on: bool) {
        *self.locked() = State {
            on,
            windows: BTreeMap::new(),
        };
    }

    /// Whether the limits are on.
    pub fn is_on(&self) -> bool {
        self.locked().on
    }

    /// Counts a request at `now_ms` (milliseconds since the epoch).
    ///
    /// # Errors
    /// The request is over the limit and was not counted; the number is `Retry-After` in seconds.
    pub fn admit(&self, vault: &str, cost: KeyCost, now_ms: i64) -> Result<(), u64> {
        let mut state = self.locked();
        if !state.on {
            return Ok(());
        }
        let lane = cost.lane();
        let fresh = Window {
            began_ms: now_ms,
            spent: 0,
        };
        let window = state
            .windows
            .entry((vault.to_ascii_lowercase(), lane))
            .or_insert(fresh);
        let age_ms = now_ms.saturating_sub(window.began_ms);
        // A clock that was set back begins a window, too.
        if !(0..WINDOW_MS).contains(&age_ms) {
            *window = fresh;
        }
        let spent = window.spent.saturating_add(cost.weight());
        if spent > lane.limit() {
            let rest_ms = WINDOW_MS - now_ms.saturating_sub(window.began_ms);
            return Err(rest_ms.unsigned_abs().div_ceil(1000));
        }
        window.spent = spent;
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyCost {
    fn lane(self) -> Lane {
        match (self.creates, self.hsm) {
            (true, true) => Lane::CreateHsm,
            (true, false) => Lane::CreateSoftware,
            (false, true) => Lane::UseHsm,
            (false, false) => Lane::UseSoftware,
        }
    }

    fn weight(self) -> u32 {
        match (self.creates, self.rsa_bits) {
            (true, _) => 1,
            (false, 0..=2048) => 1,
            (false, 2049..=3072) => 4,
            (false, _) => 8,
        }
    }
}

impl Lane {
    fn limit(self) -> u32 {
        match self {
            Lane::CreateHsm => 10,
            Lane::CreateSoftware => 20,
            Lane::UseHsm => 2000,
            Lane::UseSoftware => 4000,
        }
    }
}

/// The message of the 429.
pub const THROTTLED_MESSAGE: &str = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";

const WINDOW_MS: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(throttle: &Throttle, cost: KeyCost, now_ms: i64) -> usize {
        (0..5000)
            .take_while(|_| throttle.admit("v", cost, now_ms).is_ok())
            .count()
    }

    /// Goal: the table of the service's limits, cell by cell.
    #[test]
    fn limits_are_those_of_the_service() {
        for (rsa_bits, hsm, creates, limit) in [
            (2048, true, true, 10),
            (2048, true, false, 2000),
            (2048, false, true, 20),
            (2048, false, false, 4000),
            (0, false, false, 4000),
            (3072, true, false, 500),
            (3072, false, false, 1000),
            (4096, true, true, 10),
            (4096, true, false, 250),
            (4096, false, false, 500),
        ] {
            let throttle = Throttle::default();
            throttle.set_on(true);
            let cost = KeyCost {
                hsm,
                creates,
                rsa_bits,
            };
            assert_eq!(admitted(&throttle, cost, 0), limit, "{cost:?}");
        }
    }

    /// Goal: the limit is one of the sum, ends with its ten seconds, and is each vault's own.
    #[test]
    fn a_window_is_shared_and_ends() {
        let throttle = Throttle::default();
        let large = KeyCost {
            hsm: false,
            creates: false,
            rsa_bits: 4096,
        };
        let small = KeyCost {
            rsa_bits: 2048,
            ..large
        };
        throttle.set_on(true);
        for _ in 0..400 {
            throttle.admit("v", large, 500).unwrap();
        }
        assert_eq!(admitted(&throttle, small, 1_000), 800);
        assert_eq!(throttle.admit("V", small, 4_600), Err(6));
        assert_eq!(throttle.admit("v", small, 10_499), Err(1));
        assert_eq!(throttle.admit("w", small, 4_600), Ok(()));
        assert_eq!(throttle.admit("v", small, 10_500), Ok(()));
        assert_eq!(throttle.admit("v", small, -5), Ok(()));
    }

    /// Goal: nothing is limited before somebody asks for it.
    #[test]
    fn off_is_off() {
        let throttle = Throttle::default();
        let create = KeyCost {
            hsm: true,
            creates: true,
            rsa_bits: 2048,
        };
        assert!(!throttle.is_on());
        assert_eq!(admitted(&throttle, create, 0), 5000);
    }
}
