//! Numbers, dates, networks and binary values inside conditions.
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Condition operators".

use std::net::IpAddr;

use pileus_core::Timestamp;

/// A decimal number, exact to twelve places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decimal(i128);

const PLACES: usize = 12;

impl Decimal {
    /// Digits with an optional sign and fraction, at most 24 digits before the point.
    pub(crate) fn parse(text: &str) -> Option<Decimal> {
        let text = text.trim();
        let (negative, digits) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
        if !all_digits || (whole.is_empty() && fraction.is_empty()) || whole.len() > 24 {
            return None;
        }
        let kept = &fraction[..fraction.len().min(PLACES)];
        let scaled: i128 = format!("0{whole}{kept:0<PLACES$}").parse().ok()?;
        Some(Decimal(if negative { -scaled } else { scaled }))
    }
}

/// A moment: ISO 8601 in W3C's profile (from a bare year to fractions of a second), or seconds since 1970; more digits than any date of
/// ours needs are milliseconds.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits && text.len() != 4 {
        let number: i64 = text.parse().ok()?;
        return Some(if number >= 100_000_000_000 {
            Timestamp::from_millis(number)
        } else {
            Timestamp::from_secs(number)
        });
    }
    let (date, time) = text.split_once(['T', 't']).map_or((text, None), |(date, time)| (date, Some(time)));
    let mut fields = date.split('-');
    let year = i64::from(digits(fields.next()?, 4)?);
    let month = fields.next().map_or(Some(1), |text| digits(text, 2))?;
    let day = fields.next().map_or(Some(1), |text| digits(text, 2))?;
    if fields.next().is_some() {
        return None;
    }
    let Some(time) = time else { return Timestamp::from_civil(year, month, day, 0, 0, 0) };
    let (time, offset_minutes) = zone(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut fields = clock.split(':');
    let (hour, minute) = (digits(fields.next()?, 2)?, digits(fields.next()?, 2)?);
    let second = fields.next().map_or(Some(0), |text| digits(text, 2))?;
    if fields.next().is_some() || fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{:0<9}", &fraction[..fraction.len().min(9)]).parse().ok()?;
    let local = Timestamp::from_civil(year, month, day, hour, minute, second)?;
    Some(Timestamp::new(local.as_secs() - offset_minutes * 60, nanos))
}

/// The time without its zone, and the zone's distance from UTC in minutes. No zone is UTC.
fn zone(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.find(['+', '-']) else { return Some((time, 0)) };
    let sign = if time.as_bytes()[at] == b'-' { -1 } else { 1 };
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours < 24 && minutes < 60).then(|| (&time[..at], sign * i64::from(hours * 60 + minutes)))
}

fn digits(text: &str, length: usize) -> Option<u32> {
    let fits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

/// An address range in CIDR form; a bare address is a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    v6: bool,
    address: u128,
    mask: u128,
}

impl Network {
    pub(crate) fn parse(text: &str) -> Option<Network> {
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let (v6, address) = address_bits(address)?;
        let bits: u32 = if v6 { 128 } else { 32 };
        let length = match prefix {
            None => bits,
            Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok()?
            }
            Some(_) => return None,
        };
        let host_bits = bits.checked_sub(length)?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Network { v6, address: address & mask, mask })
    }

    /// Whether the range holds all of `other`.
    pub(crate) fn contains(&self, other: &Network) -> bool {
        self.v6 == other.v6
            && self.mask & other.mask == self.mask
            && other.address & self.mask == self.address
    }
}

fn address_bits(text: &str) -> Option<(bool, u128)> {
    match text.parse().ok()? {
        IpAddr::V4(address) => Some((false, u128::from(u32::from(address)))),
        IpAddr::V6(address) => Some((true, u128::from(address))),
    }
}

/// The bytes of standard base64; padding may be left out.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut buffer, mut bits) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
            buffer &= (1 << bits) - 1;
        }
    }
    (bits < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        let parse = |text: &str| Decimal::parse(text);
        assert_eq!(parse("1.0"), parse("1"));
        assert_eq!(parse("+1"), parse("1"));
        assert!(parse("-2") < parse("-1.5"));
        assert!(parse("9007199254740993") > parse("9007199254740992"));
        for bad in ["", "-", ".", "1e2", "0x10", "one", "1.2.3", "1111111111111111111111111"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_iso_8601_or_epoch() {
        let cases = [
            ("2020-01-01T00:00:00Z", Some(1_577_836_800_000)),
            ("2020-01-01T01:30:00+01:30", Some(1_577_836_800_000)),
            ("2019-12-31T23:00:00-01:00", Some(1_577_836_800_000)),
            ("2020-01-01T00:00Z", Some(1_577_836_800_000)),
            ("2020-01-01T00:00:00.5Z", Some(1_577_836_800_500)),
            ("2020-01-01", Some(1_577_836_800_000)),
            ("2020-01", Some(1_577_836_800_000)),
            ("2020", Some(1_577_836_800_000)),
            ("1577836800", Some(1_577_836_800_000)),
            ("1577836800123", Some(1_577_836_800_123)),
            ("2020-13-01", None),
            ("2020-02-30T00:00:00Z", None),
            ("2020-01-01T", None),
            ("2020-01-01T00:00:00+1", None),
            ("2020-01-01T00:00:00.Z", None),
            ("sdfdsf", None),
            ("", None),
            ("-5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(date(text).map(Timestamp::as_millis), expected, "{text}");
        }
    }

    #[test]
    fn networks_hold_addresses() {
        let cases = [
            ("203.0.113.0/24", "203.0.113.7", true),
            ("203.0.113.9/24", "203.0.113.7", true),
            ("203.0.113.0/24", "203.0.114.7", false),
            ("203.0.113.7", "203.0.113.7", true),
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:DB8:1234:5678::/64", "2001:db8:1234:5678::9", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", false),
        ];
        for (range, address, expected) in cases {
            let (range, address) = (Network::parse(range).unwrap(), Network::parse(address).unwrap());
            assert_eq!(range.contains(&address), expected, "{range:?} {address:?}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0", "10.0.0.0/", "10.0.0.0/-1", "::/129", "bad"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn base64_is_standard() {
        assert_eq!(base64("QmluYXJ5").as_deref(), Some(&b"Binary"[..]));
        assert_eq!(base64("QQ=="), base64("QQ"));
        assert_eq!(base64("Q"), None);
        assert_eq!(base64("Q-=="), None);
    }
}
