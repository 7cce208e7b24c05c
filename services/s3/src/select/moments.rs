//! Parts of timestamps. Pure.
//!
//! Source: Amazon S3 User Guide, "SQL functions", "Date functions".

use pileus_core::Timestamp;

/// `EXTRACT`
pub fn part(moment: Timestamp, part: &str) -> i64 {
    let (year, month, day, hour, minute, second) = moment.civil();
    match part {
        "year" => year,
        "month" => i64::from(month),
        "day" => i64::from(day),
        "hour" => i64::from(hour),
        "minute" => i64::from(minute),
        "second" => i64::from(second),
        // Every timestamp is kept in UTC.
        _ => 0,
    }
}

fn seconds_of(part: &str) -> Option<i64> {
    match part {
        "day" => Some(86_400),
        "hour" => Some(3_600),
        "minute" => Some(60),
        "second" => Some(1),
        _ => None,
    }
}

/// `DATE_ADD`
pub fn add(moment: Timestamp, part: &str, count: i64) -> Timestamp {
    if let Some(seconds) = seconds_of(part) {
        let moved = moment.as_secs().saturating_add(seconds.saturating_mul(count));
        return Timestamp::new(moved, moment.subsec_nanos());
    }
    let (year, month, day, hour, minute, second) = moment.civil();
    let months = if part == "year" { count.saturating_mul(12) } else { count };
    let whole = year.saturating_mul(12).saturating_add(i64::from(month) - 1).saturating_add(months);
    let (year, month) = (whole.div_euclid(12).clamp(-9_999, 9_999), whole.rem_euclid(12) as u32 + 1);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    Timestamp::from_civil(year, month, day.min(longest), hour, minute, second).unwrap_or(moment)
}

/// `DATE_DIFF`: whole parts from one to the other.
pub fn between(from: Timestamp, to: Timestamp, part: &str) -> i64 {
    if let Some(seconds) = seconds_of(part) {
        return (to.as_secs() - from.as_secs()) / seconds;
    }
    let ((y1, m1, ..), (y2, m2, ..)) = (from.civil(), to.civil());
    let mut months = (y2 - y1) * 12 + i64::from(m2) - i64::from(m1);
    if months > 0 && add(from, "month", months) > to {
        months -= 1;
    }
    if months < 0 && add(from, "month", months) < to {
        months += 1;
    }
    if part == "year" { months / 12 } else { months }
}

/// `TO_STRING`: `y`, `M`, `d`, `a`, `h`, `H`, `m`, `s`, `S`, `X` as in AWS's patterns; other letters stand for themselves.
pub fn show(moment: Timestamp, pattern: &str) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (year, month, day, hour, minute, second) = moment.civil();
    let mut out = String::new();
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let letter = chars[at];
        let count = chars[at..].iter().take_while(|c| **c == letter).count();
        at += count;
        let padded = |number: u32| if count >= 2 { format!("{number:02}") } else { number.to_string() };
        let name = MONTHS.get(month.saturating_sub(1) as usize).copied().unwrap_or_default();
        match letter {
            'y' if count == 2 => out.push_str(&format!("{:02}", year.rem_euclid(100))),
            'y' => out.push_str(&format!("{year:0count$}")),
            'M' if count >= 5 => out.push_str(&name[..1]),
            'M' if count == 4 => out.push_str(name),
            'M' if count == 3 => out.push_str(&name[..3]),
            'M' => out.push_str(&padded(month)),
            'd' => out.push_str(&padded(day)),
            'a' => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            'h' => out.push_str(&padded((hour + 11) % 12 + 1)),
            'H' => out.push_str(&padded(hour)),
            'm' => out.push_str(&padded(minute)),
            's' => out.push_str(&padded(second)),
            'S' => {
                let digits = format!("{:09}", moment.subsec_nanos());
                out.push_str(&digits[..count.min(9)]);
            }
            'X' => out.push('Z'),
            other => (0..count).for_each(|_| out.push(other)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        super::super::value::read_time(text).expect("a timestamp")
    }

    #[test]
    fn dates_are_moved_measured_and_shown() {
        assert_eq!(add(at("2024-01-31"), "month", 1), at("2024-02-29"));
        assert_eq!(add(at("2024-02-29"), "year", 1), at("2025-02-28"));
        assert_eq!(add(at("2024-01-01"), "day", -1), at("2023-12-31"));
        assert_eq!(between(at("2024-01-31"), at("2024-02-28"), "month"), 0);
        assert_eq!(between(at("2010-01-01"), at("2011-01-01"), "year"), 1);
        assert_eq!(between(at("2010-01-01"), at("2010-01-02"), "hour"), 24);
        assert_eq!(show(at("1969-07-20T20:18Z"), "MMMM d, yyyy h:m a"), "July 20, 1969 8:18 PM");
        assert_eq!(part(at("1969-07-20T20:18Z"), "minute"), 18);
    }
}
