//! Time-based one-time passwords: six digits, thirty seconds, SHA-1. Pure.
//!
//! Source: RFC 6238, RFC 4226; IAM User Guide, "Assign a virtual MFA device in the AWS Management Console".

use pileus_core::Timestamp;
use ring::hmac;

const STEP_SECONDS: i64 = 30;

/// The step that `now` lies in.
pub fn step(now: Timestamp) -> i64 {
    now.as_secs().div_euclid(STEP_SECONDS)
}

/// The code of a step.
pub fn code(seed: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let digest = tag.as_ref();
    let at = usize::from(digest[digest.len() - 1] & 15);
    let number = u32::from_be_bytes([digest[at] & 0x7f, digest[at + 1], digest[at + 2], digest[at + 3]]);
    format!("{:06}", number % 1_000_000)
}

/// The step of the second of two codes in a row, the first of which lies within `drift` steps of `now`.
pub fn find_pair(seed: &[u8], first: &str, second: &str, now: Timestamp, drift: i64) -> Option<i64> {
    let now = step(now);
    let mut nearest: Vec<i64> = (now - drift..=now + drift).collect();
    nearest.sort_by_key(|at| (at - now).abs());
    let at = nearest.into_iter().find(|at| code(seed, *at) == first && code(seed, at + 1) == second)?;
    Some(at + 1)
}

/// The step of a code that is still good: the present one by the device's clock, the one before or the one after, but none up to
/// `used`.
pub fn find(seed: &[u8], given: &str, now: Timestamp, drift: i64, used: i64) -> Option<i64> {
    let present = step(now) + drift;
    (present - 1..=present + 1).find(|at| *at > used && code(seed, *at) == given)
}

/// Seeds travel in base 32 without padding.
///
/// Source: RFC 4648, section 6.
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut block = [0u8; 8];
        block[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(block);
        for index in 0..(chunk.len() * 8).div_ceil(5) {
            text.push(char::from(ALPHABET[(bits >> (35 - 5 * index)) as usize & 31]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B (SHA-1), last six digits.
        let seed = b"12345678901234567890";
        let cases = [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_234_567_890, "005924"),
            (20_000_000_000, "353130"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(code(seed, step(Timestamp::from_secs(seconds))), expected);
        }
    }

    #[test]
    fn two_codes_in_a_row_are_found_within_the_drift_only() {
        let seed = b"12345678901234567890";
        let now = Timestamp::from_secs(1_000_000);
        let at = step(now);
        let pair = |from: i64| (code(seed, from), code(seed, from + 1));
        for (from, drift, found) in [(at, 0, true), (at - 3, 3, true), (at + 3, 3, true), (at - 4, 3, false)]
        {
            let (first, second) = pair(from);
            let expected = found.then_some(from + 1);
            assert_eq!(find_pair(seed, &first, &second, now, drift), expected);
            assert_eq!(find_pair(seed, &second, &first, now, 0), None);
        }
    }

    #[test]
    fn a_code_is_good_once_and_near_its_time() {
        let seed = b"12345678901234567890";
        let now = Timestamp::from_secs(1_000_000);
        let at = step(now);
        for (code_of, drift, used, expected) in [
            (at, 0, 0, Some(at)),
            (at - 1, 0, 0, Some(at - 1)),
            (at + 1, 0, 0, Some(at + 1)),
            (at + 2, 0, 0, None),
            (at + 2, 2, 0, Some(at + 2)),
            (at, 0, at, None),
            (at + 1, 0, at, Some(at + 1)),
        ] {
            assert_eq!(find(seed, &code(seed, code_of), now, drift, used), expected);
        }
    }

    #[test]
    fn seeds_are_written_in_base_32() {
        let cases = [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")];
        for (plain, expected) in cases {
            assert_eq!(base32(plain.as_bytes()), expected);
        }
    }
}
