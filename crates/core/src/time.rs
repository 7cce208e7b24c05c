//! Moments, and the clock they come from.
//!
//! Nothing outside the composition root asks the operating system for the time: a `Clock` is handed in, so a test moves it
//! and a whole node runs from a seed.

use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::time::Duration;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A moment in UTC with nanosecond resolution: whole seconds since 1970 (may be negative) plus `0..1_000_000_000` ns.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    pub const EPOCH: Timestamp = Timestamp { seconds: 0, nanos: 0 };

    /// Nanoseconds above a second carry over; the seconds saturate.
    pub fn new(seconds: i64, nanos: u32) -> Timestamp {
        Timestamp {
            seconds: seconds.saturating_add(i64::from(nanos / 1_000_000_000)),
            nanos: nanos % 1_000_000_000,
        }
    }

    pub const fn from_secs(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }

    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp { seconds: millis.div_euclid(1_000), nanos: (millis.rem_euclid(1_000) * 1_000_000) as u32 }
    }

    /// Whole seconds, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.seconds
    }

    /// Whole milliseconds, rounded down; saturates.
    pub const fn as_millis(self) -> i64 {
        self.seconds.saturating_mul(1_000).saturating_add((self.nanos / 1_000_000) as i64)
    }

    pub const fn subsec_nanos(self) -> u32 {
        self.nanos
    }

    /// The same moment with its sub-millisecond part cut off.
    pub const fn truncate_to_millis(self) -> Timestamp {
        Timestamp { seconds: self.seconds, nanos: self.nanos - self.nanos % 1_000_000 }
    }

    /// Time passed since `earlier`; zero if that lies in the future.
    pub fn since(self, earlier: Timestamp) -> Duration {
        let nanos = self.total_nanos() - earlier.total_nanos();
        Duration::from_nanos_u128(u128::try_from(nanos).unwrap_or(0))
    }

    fn total_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos)
    }

    /// Year, month, day, hour, minute, second in UTC (proleptic Gregorian).
    pub fn civil(self) -> (i64, u32, u32, u32, u32, u32) {
        let days = self.seconds.div_euclid(86_400);
        let second_of_day = self.seconds.rem_euclid(86_400) as u32;
        let (year, month, day) = civil_from_days(days);
        (year, month, day, second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60)
    }

    /// The moment at the given UTC date and time. Fields out of range give `None`.
    pub fn from_civil(
        year: i64,
        month: u32,
        day: u32,
        hour: u32,
        minute: u32,
        second: u32,
    ) -> Option<Timestamp> {
        let year_fits = (-9_999..=9_999).contains(&year);
        let date_fits =
            year_fits && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
        if !date_fits || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let seconds = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
        Some(Timestamp::from_secs(days_from_civil(year, month, day) * 86_400 + seconds))
    }

    /// Day of the week, Sunday is 0.
    pub fn weekday(self) -> u32 {
        (self.seconds.div_euclid(86_400) + 4).rem_euclid(7) as u32
    }

    /// `20260131T235959Z`, the form in SigV4.
    pub fn to_basic(self) -> String {
        let (year, month, day, hour, minute, second) = self.civil();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// `2026-01-31T23:59:59Z`, with `.123` (as many of 3, 6 or 9 digits as needed) when there is a fraction.
    pub fn to_iso8601(self) -> String {
        let (year, month, day, hour, minute, second) = self.civil();
        let fraction = match self.nanos {
            0 => String::new(),
            nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
            nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
            nanos => format!(".{nanos:09}"),
        };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
    }

    /// `Sat, 31 Jan 2026 23:59:59 GMT`, the form in HTTP headers.
    pub fn to_http_date(self) -> String {
        const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day, hour, minute, second) = self.civil();
        let weekday = DAYS[self.weekday() as usize];
        let month = MONTHS[month as usize - 1];
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// Reads `to_basic`'s form.
    pub fn parse_basic(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let number = |range: std::ops::Range<usize>| -> Option<u32> {
            let digits = text.get(range)?;
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        Timestamp::from_civil(
            i64::from(number(0..4)?),
            number(4..6)?,
            number(6..8)?,
            number(9..11)?,
            number(11..13)?,
            number(13..15)?,
        )
    }
}

/// Saturates at the ends of the representable range.
impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, duration: Duration) -> Timestamp {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Timestamp::new(self.seconds.saturating_add(seconds), self.nanos + duration.subsec_nanos())
    }
}

impl AddAssign<Duration> for Timestamp {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

/// Saturates at the ends of the representable range.
impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, duration: Duration) -> Timestamp {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let borrow = self.nanos < duration.subsec_nanos();
        let nanos = self.nanos + if borrow { 1_000_000_000 } else { 0 } - duration.subsec_nanos();
        Timestamp { seconds: self.seconds.saturating_sub(seconds).saturating_sub(i64::from(borrow)), nanos }
    }
}

impl SubAssign<Duration> for Timestamp {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

/// Where the time comes from. Cheap to call.
pub trait Clock: Send + Sync + 'static {
    /// The time that callers see. May be moved or frozen by the control endpoint.
    fn now(&self) -> Timestamp;

    /// The time without moves of the control endpoint: what the clock of a client shows.
    fn unmoved(&self) -> Timestamp {
        self.now()
    }

    /// Real time passed since some fixed moment: for measuring durations of our own work, never for rules.
    fn monotonic(&self) -> Duration;

    /// Returns once `now()` is at or past `deadline`, also when the clock is moved there.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'static, ()>;
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01, by counting in 400-year eras that start on the first of March.
fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = (if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 }) as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_of_a_moment() {
        let cases = [
            (0, "1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT", "19700101T000000Z"),
            (1_440_938_160, "2015-08-30T12:36:00Z", "Sun, 30 Aug 2015 12:36:00 GMT", "20150830T123600Z"),
            (951_782_400, "2000-02-29T00:00:00Z", "Tue, 29 Feb 2000 00:00:00 GMT", "20000229T000000Z"),
            (-1, "1969-12-31T23:59:59Z", "Wed, 31 Dec 1969 23:59:59 GMT", "19691231T235959Z"),
        ];
        for (seconds, iso, http, basic) in cases {
            let moment = Timestamp::from_secs(seconds);
            assert_eq!(moment.to_iso8601(), iso);
            assert_eq!(moment.to_http_date(), http);
            assert_eq!(moment.to_basic(), basic);
            assert_eq!(Timestamp::parse_basic(basic), Some(moment));
        }
        for bad in ["", "20150830T123600", "20151330T123600Z", "2015083xT123600Z", "20150230T123600Z"] {
            assert_eq!(Timestamp::parse_basic(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn civil_round_trips(seconds in -300_000_000_000i64..250_000_000_000) {
            let (year, month, day, hour, minute, second) = Timestamp::from_secs(seconds).civil();
            prop_assert_eq!(
                Timestamp::from_civil(year, month, day, hour, minute, second),
                Some(Timestamp::from_secs(seconds))
            );
        }

        #[test]
        fn adding_and_taking_away_a_duration_cancel(millis in -1i64<<40..1i64<<40, nanos in 0u64..1<<50) {
            let start = Timestamp::from_millis(millis);
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(start + duration - duration, start);
            prop_assert_eq!((start + duration).since(start), duration);
        }
    }
}
