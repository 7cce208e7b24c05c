//! Timestamps as text and numbers: epoch seconds, RFC 3339, HTTP dates.

use pileus_core::Timestamp;

use crate::schema::TimeFormat;

/// Reads `text` in the given format, or failing that in whichever other format it has: services do.
pub fn parse(text: &str, format: TimeFormat) -> Option<Timestamp> {
    let text = text.trim();
    let expected = match format {
        TimeFormat::EpochSeconds => parse_epoch(text),
        TimeFormat::DateTime => parse_date_time(text),
        TimeFormat::HttpDate => parse_http_date(text),
    };
    expected.or_else(|| parse_date_time(text)).or_else(|| parse_epoch(text)).or_else(|| parse_http_date(text))
}

/// Appends the moment's text (a number for epoch seconds, without quotes for the others).
pub fn write(out: &mut Vec<u8>, moment: Timestamp, format: TimeFormat) {
    match format {
        TimeFormat::EpochSeconds => write_epoch(out, moment),
        TimeFormat::DateTime => out.extend_from_slice(moment.to_iso8601().as_bytes()),
        TimeFormat::HttpDate => out.extend_from_slice(moment.to_http_date().as_bytes()),
    }
}

/// As `write`, for places that want a string.
pub fn format(moment: Timestamp, format: TimeFormat) -> String {
    let mut out = Vec::new();
    write(&mut out, moment, format);
    String::from_utf8(out).expect("every timestamp format is ASCII")
}

/// Decimal seconds; digits beyond nanoseconds are cut off. Exponents are read as floats.
pub fn parse_epoch(text: &str) -> Option<Timestamp> {
    if text.contains(['e', 'E']) {
        return text.parse().ok().and_then(from_seconds);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_negative = whole.starts_with('-');
    if whole.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos = fraction_to_nanos(fraction);
    Some(match (is_negative, nanos) {
        (true, 1..) => Timestamp::new(seconds.saturating_sub(1), 1_000_000_000 - nanos),
        _ => Timestamp::new(seconds, nanos),
    })
}

/// Seconds since 1970 as a float, to the nearest microsecond; `None` if not finite or beyond the range of `i64`.
pub fn from_seconds(seconds: f64) -> Option<Timestamp> {
    let whole = seconds.floor();
    if !seconds.is_finite() || whole.abs() > 9e18 {
        return None;
    }
    let micros = ((seconds - whole) * 1e6).round() as u32;
    Some(Timestamp::new(whole as i64, micros * 1_000))
}

/// Seconds since 1970 as a float.
pub fn to_seconds(moment: Timestamp) -> f64 {
    moment.as_secs() as f64 + f64::from(moment.subsec_nanos()) / 1e9
}

/// Epoch seconds with up to three decimals, as AWS sends them.
fn write_epoch(out: &mut Vec<u8>, moment: Timestamp) {
    let millis = moment.subsec_nanos() / 1_000_000;
    if millis == 0 {
        return super::write_integer(out, moment.as_secs());
    }
    let negative = moment.as_secs() < 0;
    let (whole, millis) =
        if negative { (moment.as_secs() + 1, 1_000 - millis) } else { (moment.as_secs(), millis) };
    if negative && whole == 0 {
        out.push(b'-');
    }
    super::write_integer(out, whole);
    let digits =
        [b'.', b'0' + (millis / 100) as u8, b'0' + (millis / 10 % 10) as u8, b'0' + (millis % 10) as u8];
    let used = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    out.extend_from_slice(&digits[..used]);
}

/// `2019-12-16T23:48:18.123Z`, with an offset instead of `Z`, or without zone (UTC); also a bare date.
pub fn parse_date_time(text: &str) -> Option<Timestamp> {
    let (year, month, day) = (number(text, 0..4)?, number(text, 5..7)?, number(text, 8..10)?);
    let bytes = text.as_bytes();
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    if bytes.len() == 10 {
        return Timestamp::from_civil(i64::from(year), month, day, 0, 0, 0);
    }
    let has_separators = matches!(bytes[10], b'T' | b't' | b' ') && bytes.get(13) == Some(&b':');
    if !has_separators || bytes.get(16) != Some(&b':') {
        return None;
    }
    let (hour, minute, second) = (number(text, 11..13)?, number(text, 14..16)?, number(text, 17..19)?);
    let moment = Timestamp::from_civil(i64::from(year), month, day, hour, minute, second)?;
    let (nanos, zone) = split_fraction(text.get(19..)?)?;
    let offset = parse_zone(zone)?;
    Some(Timestamp::new(moment.as_secs().saturating_sub(offset), nanos))
}

/// `Mon, 16 Dec 2019 23:48:18 GMT`, also with a fraction of a second.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let rest = text.split_once(',').map_or(text, |(_, rest)| rest).trim();
    let mut parts = rest.split_ascii_whitespace();
    let day: u32 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))? as u32 + 1;
    let year: i64 = parts.next()?.parse().ok()?;
    let clock = parts.next()?;
    let (hour, minute, second) = (number(clock, 0..2)?, number(clock, 3..5)?, number(clock, 6..8)?);
    let (nanos, tail) = split_fraction(clock.get(8..)?)?;
    if !tail.is_empty() || !matches!(parts.next(), Some("GMT" | "UTC")) || parts.next().is_some() {
        return None;
    }
    let moment = Timestamp::from_civil(year, month, day, hour, minute, second)?;
    Some(Timestamp::new(moment.as_secs(), nanos))
}

fn number(text: &str, range: std::ops::Range<usize>) -> Option<u32> {
    let digits = text.get(range)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Takes `.123` off the front: nanoseconds and the rest.
fn split_fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| (fraction_to_nanos(&rest[..digits]), &rest[digits..]))
}

fn fraction_to_nanos(digits: &str) -> u32 {
    let scaled = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
    scaled.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'))
}

/// Seconds east of UTC.
fn parse_zone(zone: &str) -> Option<i64> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = zone.get(1..)?;
    let minutes_at = if digits.as_bytes().get(2) == Some(&b':') { 3 } else { 2 };
    if digits.len() != minutes_at + 2 {
        return None;
    }
    let (hours, minutes) = (number(digits, 0..2)?, number(digits, minutes_at..minutes_at + 2)?);
    (hours < 24 && minutes < 60).then(|| sign * (i64::from(hours) * 3_600 + i64::from(minutes) * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_is_read() {
        let moment = Timestamp::from_secs(1_576_540_098);
        let fraction = Timestamp::new(1_576_540_098, 123_000_000);
        let cases = [
            ("2019-12-16T23:48:18Z", Some(moment)),
            ("2019-12-16T23:48:18", Some(moment)),
            ("2019-12-17T00:48:18+01:00", Some(moment)),
            ("2019-12-16T22:48:18-0100", Some(moment)),
            ("2019-12-16T23:48:18.123Z", Some(fraction)),
            ("2019-12-16", Some(Timestamp::from_secs(1_576_454_400))),
            ("Mon, 16 Dec 2019 23:48:18 GMT", Some(moment)),
            ("Mon, 16 Dec 2019 23:48:18.123 GMT", Some(fraction)),
            ("1576540098", Some(moment)),
            ("1576540098.123", Some(fraction)),
            ("1.576540098e9", Some(moment)),
            ("-0.5", Some(Timestamp::new(-1, 500_000_000))),
            ("", None),
            ("2019-12-16T23:48:18+1:00", None),
            ("2019-13-16T23:48:18Z", None),
            ("2019-12-16Tä3:48:18Z", None),
            ("tomorrow", None),
            ("NaN", None),
            ("1e99", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, TimeFormat::DateTime), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in -1i64 << 40..1i64 << 42) {
            let moment = Timestamp::from_millis(millis);
            for way in [TimeFormat::EpochSeconds, TimeFormat::DateTime] {
                prop_assert_eq!(parse(&format(moment, way), way), Some(moment));
            }
            let whole = Timestamp::from_secs(moment.as_secs());
            prop_assert_eq!(parse(&format(whole, TimeFormat::HttpDate), TimeFormat::HttpDate), Some(whole));
            prop_assert_eq!(from_seconds(to_seconds(moment)), Some(moment));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            for way in [TimeFormat::EpochSeconds, TimeFormat::DateTime, TimeFormat::HttpDate] {
                let _ = parse(&text, way);
            }
        }
    }
}
