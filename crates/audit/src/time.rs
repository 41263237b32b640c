//! Time as the caller tells it.

use std::fmt;

/// Where an audit log takes the time from; the crate itself never reads a clock.
pub type Clock = fn() -> UnixTime;

/// An instant in UTC, counted from 1970-01-01T00:00:00Z without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime {
    /// Whole seconds.
    pub seconds: u64,
    /// Nanoseconds within the second, below 1,000,000,000.
    pub nanos: u32,
}

impl UnixTime {
    /// The last instant that has a four-digit year: 9999-12-31T23:59:59.999999999Z.
    pub const MAX: UnixTime = UnixTime {
        seconds: 253_402_300_799,
        nanos: NANOS_PER_SECOND - 1,
    };

    /// Milliseconds since 1970.
    pub fn milliseconds(self) -> u64 {
        self.seconds
            .saturating_mul(1000)
            .saturating_add(u64::from(self.nanos / 1_000_000))
    }

    /// The instant itself, or the nearest one that [`fmt::Display`] can write.
    pub fn clamped(self) -> UnixTime {
        let nanos = self.nanos.min(NANOS_PER_SECOND - 1);
        UnixTime { nanos, ..self }.min(UnixTime::MAX)
    }

    /// Reads the one form that [`fmt::Display`] writes; `None` for anything else.
    pub fn parse(text: &str) -> Option<UnixTime> {
        let digits = |range: std::ops::Range<usize>| -> Option<u64> {
            let part = text.get(range)?;
            if !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            part.parse().ok()
        };
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
        let nanos = u32::try_from(digits(20..29)?).ok()?;
        let days = days_from_civil(year, month, day)?;
        let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
        let time = UnixTime { seconds, nanos };
        // Writing it again settles separators, length and every field that was out of range.
        (time.to_string() == text).then_some(time)
    }

    /// Reads any instant of RFC 3339 from 1970 on: any number of decimals, of which nine count, and any offset;
    /// a mere date is its first instant in UTC. `None` for anything else.
    ///
    /// ```
    /// use cofferdam_audit::UnixTime;
    ///
    /// let noon = UnixTime::parse_rfc3339("2026-01-31T12:00:00.5+02:00").map(|time| time.to_string());
    /// assert_eq!(noon.as_deref(), Some("2026-01-31T10:00:00.500000000Z"));
    /// ```
    pub fn parse_rfc3339(text: &str) -> Option<UnixTime> {
        if text.len() == 10 {
            return UnixTime::parse(&format!("{text}T00:00:00.000000000Z"));
        }
        let (whole, rest) = (text.get(..19)?, text.get(19..)?);
        let (decimals, zone) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
            None => ("0", rest),
        };
        if decimals.is_empty() {
            return None;
        }
        let nanos: String = decimals
            .chars()
            .chain("0".repeat(9).chars())
            .take(9)
            .collect();
        let local = UnixTime::parse(&format!("{whole}.{nanos}Z"))?;
        let (east, offset) = match zone.as_bytes() {
            b"Z" => (true, "00:00"),
            [b'+', ..] => (true, zone.get(1..)?),
            [b'-', ..] => (false, zone.get(1..)?),
            _ => return None,
        };
        // The offset is a time of day, so a time is what reads it.
        let offset = UnixTime::parse(&format!("1970-01-01T{offset}:00.000000000Z"))?.seconds;
        let seconds = match east {
            true => local.seconds.checked_sub(offset)?,
            false => local.seconds.checked_add(offset)?,
        };
        Some(UnixTime { seconds, ..local })
    }
}

/// RFC 3339 in UTC with nine decimals: `2026-01-31T08:00:00.000000000Z`. Always 30 bytes.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.clamped();
        let (year, month, day) = civil_from_days(time.seconds / SECONDS_PER_DAY);
        let second = time.seconds % SECONDS_PER_DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
            second / 3600,
            second / 60 % 60,
            second % 60,
            time.nanos
        )
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar (years start in March here, so that the
/// leap day is the last day of a year).
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days.checked_sub(DAYS_TO_1970)
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    match month {
        0..=9 => (year, month + 3, day),
        _ => (year + 1, month - 9, day),
    }
}

const NANOS_PER_SECOND: u32 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;
const DAYS_PER_ERA: u64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_as_the_calendar_says() {
        let written = |seconds, nanos| UnixTime { seconds, nanos }.to_string();
        assert_eq!(written(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(written(951_782_400, 1), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(
            written(1_767_225_599, 999_999_999),
            "2025-12-31T23:59:59.999999999Z"
        );
        assert_eq!(written(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(UnixTime::MAX.to_string(), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(written(u64::MAX, u32::MAX), UnixTime::MAX.to_string());
    }

    #[test]
    fn instants_of_others_are_read_and_nonsense_is_not() {
        for (text, expected) in [
            (
                "2016-01-05T01:32:01.2691226Z",
                "2016-01-05T01:32:01.269122600Z",
            ),
            ("2016-01-05T01:32:01Z", "2016-01-05T01:32:01.000000000Z"),
            (
                "2016-01-05T00:32:01-01:00",
                "2016-01-05T01:32:01.000000000Z",
            ),
            (
                "2016-01-05T01:32:01.1234567891+00:00",
                "2016-01-05T01:32:01.123456789Z",
            ),
            ("2016-01-05", "2016-01-05T00:00:00.000000000Z"),
        ] {
            let read = UnixTime::parse_rfc3339(text).map(|time| time.to_string());
            assert_eq!(read.as_deref(), Some(expected), "{text}");
        }
        for wrong in [
            "",
            "2016-01-05T01:32:01",
            "2016-01-05T01:32:01.Z",
            "2016-01-05T01:32:01.1",
            "2016-01-05T01:32:01+1:00",
            "2016-01-05T01:32:01+01:0é",
            "2016-13-05T01:32:01Z",
            "1970-01-01T00:00:00+01:00",
            "yesterday",
            "日日日日日日日日日日",
        ] {
            assert_eq!(UnixTime::parse_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_day_reads_back_and_near_misses_do_not() {
        for day in 0..90_000 {
            let time = UnixTime {
                seconds: day * SECONDS_PER_DAY + day % SECONDS_PER_DAY,
                nanos: 7,
            };
            assert_eq!(UnixTime::parse(&time.to_string()), Some(time));
        }
        for wrong in [
            "",
            "1969-12-31T23:59:59.000000000Z",
            "2025-02-29T00:00:00.000000000Z",
            "2025-13-01T00:00:00.000000000Z",
            "2025-01-01T24:00:00.000000000Z",
            "2025-01-01T00:00:60.000000000Z",
            "2025-01-01 00:00:00.000000000Z",
            "2025-01-01T00:00:00.00000000Z",
            "2025-01-01T00:00:00.000000000+00:00",
            "2025-01-01T00:00:00.000000000Zz",
            "２025-01-01T00:00:00.000000000Z",
        ] {
            assert_eq!(UnixTime::parse(wrong), None, "{wrong}");
        }
    }
}
