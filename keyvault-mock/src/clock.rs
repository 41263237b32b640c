//! The emulator's clock, which tests can move.
//!
//! Everything that Key Vault decides by time (`nbf`, `exp`, retention, rotation, token lifetimes, the
//! propagation of permissions) asks this clock. Certificates of the TLS connection are the exception:
//! a client judges them by its own clock, which nobody here can move.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock that runs at the system's pace, some milliseconds away from it, or stands still.
///
/// Times are milliseconds or seconds since the Unix epoch, UTC.
#[derive(Debug)]
pub struct VirtualClock(Mutex<Hand>);

/// Where the clock's hand is.
#[derive(Clone, Copy, Debug)]
enum Hand {
    /// Runs: the system's time plus so many milliseconds.
    Runs { offset_ms: i64 },
    /// Stands at this time.
    Stands { at_ms: i64 },
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl VirtualClock {
    /// A running clock that shows the system's time.
    pub fn new() -> Self {
        Self(Mutex::new(Hand::Runs { offset_ms: 0 }))
    }

    /// A clock that stands at `seconds` since the epoch, until it is advanced, set or thawed.
    pub fn frozen_at(seconds: i64) -> Self {
        Self(Mutex::new(Hand::Stands {
            at_ms: seconds.saturating_mul(1000),
        }))
    }

    /// The time, in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        match *self.hand() {
            Hand::Runs { offset_ms } => system_ms().saturating_add(offset_ms),
            Hand::Stands { at_ms } => at_ms,
        }
    }

    /// The time, in whole seconds since the epoch, as `created`, `nbf` and `exp` are written.
    pub fn now(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    /// Moves the clock by so many milliseconds; a negative number moves it back.
    pub fn advance_ms(&self, by_ms: i64) {
        let mut hand = self.hand();
        *hand = match *hand {
            Hand::Runs { offset_ms } => Hand::Runs {
                offset_ms: offset_ms.saturating_add(by_ms),
            },
            Hand::Stands { at_ms } => Hand::Stands {
                at_ms: at_ms.saturating_add(by_ms),
            },
        };
    }

    /// Moves the clock by so many seconds; a negative number moves it back.
    pub fn advance(&self, seconds: i64) {
        self.advance_ms(seconds.saturating_mul(1000));
    }

    /// Sets the clock to `seconds` since the epoch. A running clock runs on from there.
    pub fn set(&self, seconds: i64) {
        let at_ms = seconds.saturating_mul(1000);
        let mut hand = self.hand();
        *hand = match *hand {
            Hand::Runs { .. } => Hand::Runs {
                offset_ms: at_ms.saturating_sub(system_ms()),
            },
            Hand::Stands { .. } => Hand::Stands { at_ms },
        };
    }

    /// Stops the clock at the time it shows.
    pub fn freeze(&self) {
        let mut hand = self.hand();
        if let Hand::Runs { offset_ms } = *hand {
            *hand = Hand::Stands {
                at_ms: system_ms().saturating_add(offset_ms),
            };
        }
    }

    /// Lets the clock run on from the time it shows.
    pub fn thaw(&self) {
        let mut hand = self.hand();
        if let Hand::Stands { at_ms } = *hand {
            *hand = Hand::Runs {
                offset_ms: at_ms.saturating_sub(system_ms()),
            };
        }
    }

    /// Shows the system's time again, running.
    pub fn reset(&self) {
        *self.hand() = Hand::Runs { offset_ms: 0 };
    }

    /// Whether the clock stands still.
    pub fn is_frozen(&self) -> bool {
        matches!(*self.hand(), Hand::Stands { .. })
    }

    /// A `Hand` is replaced whole, so one left behind by a panicking thread is as good as any.
    fn hand(&self) -> std::sync::MutexGuard<'_, Hand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since the epoch as ISO 8601 in UTC, `2026-01-31T23:59:59Z`.
pub fn iso8601(seconds: i64) -> String {
    let (date, time) = civil(seconds);
    format!("{date}T{time}Z")
}

/// Milliseconds since the epoch as Azure's diagnostic logs write it, with seven decimals:
/// `2026-01-31T23:59:59.1230000Z`.
pub fn iso8601_ticks(milliseconds: i64) -> String {
    let (date, time) = civil(milliseconds.div_euclid(1000));
    let fraction = milliseconds.rem_euclid(1000);
    format!("{date}T{time}.{fraction:03}0000Z")
}

/// Seconds since the epoch as Entra's error bodies write it, `2026-01-31 23:59:59Z`.
pub fn entra_timestamp(seconds: i64) -> String {
    let (date, time) = civil(seconds);
    format!("{date} {time}Z")
}

fn civil(seconds: i64) -> (String, String) {
    let (year, month, day) = calendar_day(seconds);
    let second = seconds.rem_euclid(86_400);
    (
        format!("{year:04}-{month:02}-{day:02}"),
        format!(
            "{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        ),
    )
}

/// Year, month and day in UTC of the proleptic Gregorian calendar, after Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the leap day is the last
/// one, and eras have 146,097 days.
pub(crate) fn calendar_day(seconds: i64) -> (i64, u8, u8) {
    let day_count = seconds.div_euclid(86_400) + 719_468;
    let era = day_count.div_euclid(146_097);
    let day_of_era = day_count.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |number: i64| u8::try_from(number).expect("months end at 12 and days at 31");
    (year, small(month), small(day))
}

/// The system's time in seconds since the epoch, which certificates are judged by.
pub fn system_now() -> i64 {
    system_ms().div_euclid(1000)
}

/// The one place where the emulator reads the system's clock.
#[allow(clippy::disallowed_methods)]
fn system_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a running clock follows the system's, and keeps its distance when it is moved.
    #[test]
    fn a_running_clock_keeps_its_distance() {
        let clock = VirtualClock::new();
        assert!((clock.now_ms() - system_ms()).abs() < 5_000);
        clock.advance(86_400);
        assert!((clock.now() - system_ms() / 1000 - 86_400).abs() <= 5);
        clock.set(1_000_000);
        assert!((1_000_000..1_000_005).contains(&clock.now()));
        clock.reset();
        assert!((clock.now_ms() - system_ms()).abs() < 5_000);
    }

    /// Goal: a frozen clock moves only when it is told to, to the millisecond.
    #[test]
    fn a_frozen_clock_stands() {
        let clock = VirtualClock::frozen_at(1_700_000_000);
        assert!(clock.is_frozen());
        clock.advance_ms(1_500);
        assert_eq!(clock.now_ms(), 1_700_000_001_500);
        clock.advance(-2);
        assert_eq!(clock.now(), 1_699_999_999);
        clock.set(5);
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(clock.now_ms(), 5_000);
    }

    /// Goal: freezing and thawing neither gain nor lose time.
    #[test]
    fn freeze_and_thaw_go_on_from_the_time_shown() {
        let clock = VirtualClock::new();
        clock.advance(3_600);
        clock.freeze();
        let stopped = clock.now_ms();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(clock.now_ms(), stopped);
        clock.thaw();
        assert!(!clock.is_frozen());
        let gone = clock.now_ms() - stopped;
        assert!((0..5_000).contains(&gone), "{gone} ms went by");
    }

    /// Goal: no number given from outside overflows the clock.
    #[test]
    fn the_ends_of_time_are_not_passed() {
        let clock = VirtualClock::frozen_at(i64::MAX);
        clock.advance(i64::MAX);
        assert_eq!(clock.now_ms(), i64::MAX);
        clock.advance(i64::MIN);
        clock.advance(i64::MIN);
        assert_eq!(clock.now_ms(), i64::MIN);
        assert!(iso8601(clock.now()).ends_with('Z'));
    }

    /// Goal: dates are those of `date -u -d @SECONDS`, leap days and years before the epoch included.
    #[test]
    fn dates_are_gregorian() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(iso8601(seconds), text);
        }
        assert_eq!(iso8601_ticks(1_234), "1970-01-01T00:00:01.2340000Z");
        assert_eq!(entra_timestamp(0), "1970-01-01 00:00:00Z");
    }
}
