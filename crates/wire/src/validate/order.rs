//! Orders that AWS's Java servers take from their hash tables. They can be computed, so none is copied.
//!
//! Recorded: every enum list that equals a published enum is predicted by [`enum_order`]; the order of several messages
//! fits [`Table`], including the growth of the table past twelve members (DynamoDB's `Query`).

/// `String.hashCode()`.
pub fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
}

/// The order in which an enum's values are listed: a table of 32 buckets that puts newcomers first.
pub fn enum_order<'a>(values: &[&'a str]) -> Vec<&'a str> {
    let mut values: Vec<&str> = values.iter().rev().copied().collect();
    values.sort_by_key(|value| java_hash(value) & 31);
    values
}

/// A Java `HashMap` with default load factor, iterated.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    mask: u32,
    java7: bool,
}

impl Table {
    pub fn with_entries(count: usize, java7: bool) -> Table {
        let mut capacity = 16;
        while count > capacity / 4 * 3 {
            capacity *= 2;
        }
        Table { mask: (capacity - 1) as u32, java7 }
    }

    /// Where a key lies; keys in one slot keep the order in which they came.
    pub fn slot(self, key: &str) -> u32 {
        let hash = java_hash(key);
        let spread = if self.java7 {
            let hash = hash ^ (hash >> 20) ^ (hash >> 12);
            hash ^ (hash >> 7) ^ (hash >> 4)
        } else {
            hash ^ (hash >> 16)
        };
        spread & self.mask
    }
}

/// A member's name as messages write it: the first letter in lower case.
pub fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
