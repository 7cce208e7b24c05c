//! `Filters` of `Describe..` operations: pure.
//!
//! Filters are joined with "and", the values of one with "or"; names and values are case-sensitive; `*` stands for any
//! characters and `?` for one, unless a backslash precedes them.
//!
//! Source: Amazon EC2 API Reference, "Filter"; Amazon EC2 User Guide, "Filter your resources".

use pileus_api_ec2::Filter;

use crate::error::Ec2Error;

/// Source: Amazon EC2 User Guide, "Filter your resources".
const MAX_FILTERS: usize = 50;
const MAX_VALUES: usize = 200;

/// Filters whose names are among those of the operation.
#[derive(Debug)]
pub struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    /// # Errors
    /// `UnknownFilter` for a name that is not in `known`; too many filters or values.
    pub fn read(filters: Option<Vec<Filter>>, known: &[&str]) -> Result<Filters, Ec2Error> {
        let filters = filters.unwrap_or_default();
        if filters.len() > MAX_FILTERS {
            return Err(Ec2Error::TooManyFilters(MAX_FILTERS));
        }
        let values = filters.iter().map(|filter| filter.values.as_ref().map_or(0, Vec::len));
        if values.sum::<usize>() > MAX_VALUES {
            return Err(Ec2Error::TooManyFilterValues(MAX_VALUES));
        }
        let read = |filter: Filter| {
            let name = filter.name.unwrap_or_else(|| "null".to_owned());
            match known.contains(&&*name) {
                true => Ok((name, filter.values.unwrap_or_default())),
                false => Err(Ec2Error::UnknownFilter(name)),
            }
        };
        Ok(Filters(filters.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Whether every filter has a value that fits. `of` gives what the thing holds under a filter's name.
    pub fn fit<'a>(&self, of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|(name, patterns)| {
            of(name).is_some_and(|value| patterns.iter().any(|pattern| fits(pattern, value)))
        })
    }
}

/// Greedy, with one point to return to: linear but for hostile patterns, and quadratic at worst.
fn fits(pattern: &str, value: &str) -> bool {
    let pattern = parse(pattern);
    let value: Vec<char> = value.chars().collect();
    let (mut at, mut matched, mut star) = (0, 0, None);
    while matched < value.len() {
        match pattern.get(at) {
            Some(Token::Any) => {
                star = Some((at, matched));
                at += 1;
            }
            Some(Token::One) => (at, matched) = (at + 1, matched + 1),
            Some(Token::Exactly(c)) if *c == value[matched] => (at, matched) = (at + 1, matched + 1),
            _ => match star {
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    (at, matched) = (star_at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|token| *token == Token::Any)
}

#[derive(PartialEq, Eq)]
enum Token {
    Any,
    One,
    Exactly(char),
}

fn parse(pattern: &str) -> Vec<Token> {
    let mut chars = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Exactly(chars.next_if(|next| "*?\\".contains(*next)).unwrap_or(c)),
            c => Token::Exactly(c),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(name: Option<&str>, values: &[&str]) -> Filter {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Filter { name: name.map(str::to_owned), values: Some(values) }
    }

    #[test]
    fn wildcards_stand_for_characters_unless_escaped() {
        let cases = [
            ("us-east-1", "us-east-1", true),
            ("us-east-1", "US-EAST-1", false),
            ("us-*", "us-east-1", true),
            ("*us*", "ec2.us-east-1.amazonaws.com", true),
            ("*east-?", "us-east-1", true),
            ("*east-?", "us-east-", false),
            ("us", "us-east-1", false),
            ("*-*-2", "us-east-1-2", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
            (r"a\\*", r"a\b", true),
            (r"a\b", r"a\b", true),
        ];
        for (pattern, value, expected) in cases {
            assert_eq!(fits(pattern, value), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn filters_are_joined_with_and_their_values_with_or() {
        let of = |name: &str| match name {
            "colour" => Some("red"),
            "size" => Some("small"),
            _ => None,
        };
        let known = ["colour", "size", "weight"];
        let cases = [
            (vec![], true),
            (vec![("colour", vec!["blue", "red"])], true),
            (vec![("colour", vec!["red"]), ("size", vec!["large"])], false),
            (vec![("colour", vec![])], false),
            (vec![("weight", vec!["*"])], false),
        ];
        for (filters, expected) in cases {
            let read = filters.iter().map(|(name, values)| filter(Some(name), values)).collect();
            assert_eq!(Filters::read(Some(read), &known).unwrap().fit(of), expected, "{filters:?}");
        }
    }

    #[test]
    fn unknown_names_and_too_many_values_are_refused() {
        let refused = |filters: Vec<Filter>| Filters::read(Some(filters), &["size"]).unwrap_err();
        assert_eq!(refused(vec![filter(Some("Size"), &["1"])]), Ec2Error::UnknownFilter("Size".into()));
        assert_eq!(refused(vec![filter(None, &["1"])]), Ec2Error::UnknownFilter("null".into()));
        assert_eq!(refused(vec![filter(Some("size"), &["1"; 201])]), Ec2Error::TooManyFilterValues(200));
        assert_eq!(refused(vec![filter(Some("size"), &["1"]); 51]), Ec2Error::TooManyFilters(50));
        assert!(Filters::read(Some(vec![filter(Some("size"), &["1"; 4]); 50]), &["size"]).is_ok());
    }
}
