//! Guards: rows that batches with range checks lock, so that no two of them that could meet run at a time.
//!
//! A key belongs to the slot of its first bytes; a range to the slot of those that all its keys begin with, or to every
//! slot when they differ. Part of what nodes agree on: nodes of different releases must compute the same.

use pileus_store::{KeyRange, Space};

pub const SLOTS: u16 = 64;

/// As many bytes as the tag of a family of keys and one number after it.
const PREFIX: usize = 10;

/// The slots of what a batch ranges over and of what it writes, ascending.
pub fn slots<'a>(
    ranges: impl Iterator<Item = (Space, &'a KeyRange)>,
    written: impl Iterator<Item = (Space, &'a [u8])>,
) -> Vec<i16> {
    let mut slots = std::collections::BTreeSet::new();
    for (space, range) in ranges {
        match of_range(space, range) {
            Some(slot) => slots.insert(slot),
            None => return (0..SLOTS as i16).collect(),
        };
    }
    slots.extend(written.map(|(space, key)| of_key(space, key)));
    slots.into_iter().collect()
}

fn of_key(space: Space, key: &[u8]) -> i16 {
    // FNV-1a.
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ space as u64;
    for byte in &key[..key.len().min(PREFIX)] {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    ((hash >> 32) % u64::from(SLOTS)) as i16
}

fn of_range(space: Space, range: &KeyRange) -> Option<i16> {
    let prefix = range.start.get(..PREFIX)?;
    let whole = KeyRange::prefix(prefix.to_vec());
    let inside = match (&range.end, &whole.end) {
        (_, None) => true,
        (Some(end), Some(last)) => end <= last,
        (None, Some(_)) => false,
    };
    inside.then(|| of_key(space, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_shares_a_slot_with_every_key_inside_it() {
        let key = |group: u8, tail: &[u8]| [&[7, 7, 0, 0, 0, 0, 0, 0, 0, group], tail].concat();
        let range = |start: Vec<u8>, end: Vec<u8>| KeyRange::new(start, end);
        let cases = [
            ("prefix", KeyRange::prefix(key(1, b""))),
            ("prefix of the last byte", KeyRange::prefix(key(0xff, b""))),
            ("longer prefix", KeyRange::prefix(key(1, b"ab"))),
            ("part", range(key(1, b"a"), key(1, b"q"))),
            ("two groups", range(key(1, b"a"), key(2, b"a"))),
            ("short", KeyRange::prefix(vec![7, 7])),
            ("open", KeyRange { start: key(1, b"").into(), end: None }),
            ("all", KeyRange::default()),
        ];
        for (name, range) in cases {
            let slots = slots([(Space::Index, &range)].into_iter(), [].into_iter());
            for group in [0, 1, 2, 0xff] {
                for tail in [&b""[..], b"a", b"ab", b"abz", b"p", b"zz"] {
                    let key = key(group, tail);
                    if range.contains(&key) {
                        assert!(slots.contains(&of_key(Space::Index, &key)), "{name}: {key:?}");
                    }
                }
            }
            assert_eq!(slots.len() == 1, name.contains("prefix") || name == "part", "{name}");
        }
    }
}
