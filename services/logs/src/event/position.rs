//! Where an event stands in its stream, and the ids and tokens that say so. Pure.
//!
//! Events are ordered by their time, then by the order in which their batches came. A token is a boundary between two events:
//! forward reads what lies at it or after, backward what lies before.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::error::LogsError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Milliseconds since 1970.
    pub at: i64,
    /// Of the chunk: grows with every batch, and no two chunks share one.
    pub ordinal: u64,
    /// Within the chunk.
    pub index: u32,
}

/// The events that a reader gives: from `from` on, before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub from: Position,
    pub to: Position,
}

impl Bounds {
    /// Whether nothing lies between.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }

    pub fn contains(&self, position: Position) -> bool {
        self.from <= position && position < self.to
    }

    /// What lies in both.
    pub fn and(self, other: Bounds) -> Bounds {
        Bounds { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

impl Position {
    pub const END: Position = Position { at: i64::MAX, ordinal: u64::MAX, index: u32::MAX };

    /// Before all events of this time.
    pub const fn first_at(at: i64) -> Position {
        Position { at, ordinal: 0, index: 0 }
    }

    /// The boundary behind the event.
    pub const fn after(self) -> Position {
        match self.index.checked_add(1) {
            Some(index) => Position { index, ..self },
            None => Position { ordinal: self.ordinal.saturating_add(1), index: 0, ..self },
        }
    }

    /// 56 digits that sort as positions do, like AWS's event ids.
    pub fn event_id(self) -> String {
        let at = self.at.clamp(0, 999_999_999_999_999);
        format!("3{at:015}{:020}{:020}", self.ordinal, self.index)
    }

    pub fn from_event_id(id: &str) -> Option<Position> {
        let digits = id.strip_prefix('3').filter(|rest| rest.len() == 55)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Position {
            at: digits[..15].parse().ok()?,
            ordinal: digits[15..35].parse().ok()?,
            index: digits[35..].parse().ok()?,
        })
    }
}

/// A token of `GetLogEvents`: `f/<id>/s` reads on, `b/<id>/s` reads back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Forward(Position),
    Backward(Position),
}

impl Token {
    pub fn write(self) -> String {
        match self {
            Token::Forward(boundary) => format!("f/{}/s", boundary.event_id()),
            Token::Backward(boundary) => format!("b/{}/s", boundary.event_id()),
        }
    }

    /// # Errors
    /// `InvalidParameterException`
    pub fn read(text: &str) -> Result<Token, LogsError> {
        let read = || {
            let (direction, rest) = text.split_once('/')?;
            let boundary = Position::from_event_id(rest.strip_suffix("/s")?)?;
            match direction {
                "f" => Some(Token::Forward(boundary)),
                "b" => Some(Token::Backward(boundary)),
                _ => None,
            }
        };
        read().ok_or_else(LogsError::bad_token)
    }
}

/// Names one event of one stream among all: `@ptr` of Logs Insights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    pub group_arn: String,
    pub group: u64,
    pub stream: u64,
    pub stream_name: String,
    pub position: Position,
}

impl Pointer {
    pub fn write(&self) -> String {
        let Pointer { group_arn, group, stream, stream_name, position } = self;
        BASE64.encode(format!("{group_arn}\n{group:x}\n{stream:x}\n{}\n{stream_name}", position.event_id()))
    }

    pub fn read(text: &str) -> Option<Pointer> {
        let text = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
        let mut parts = text.splitn(5, '\n');
        Some(Pointer {
            group_arn: parts.next()?.to_owned(),
            group: u64::from_str_radix(parts.next()?, 16).ok()?,
            stream: u64::from_str_radix(parts.next()?, 16).ok()?,
            position: Position::from_event_id(parts.next()?)?,
            stream_name: parts.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn positions() -> impl Strategy<Value = Position> {
        (0i64..4_000_000_000_000, any::<u64>(), any::<u32>()).prop_map(|(at, ordinal, index)| Position {
            at,
            ordinal,
            index,
        })
    }

    proptest! {
        #[test]
        fn ids_sort_as_positions_and_are_read_back(a in positions(), b in positions()) {
            prop_assert_eq!(a.event_id().len(), 56);
            prop_assert_eq!(a.event_id().cmp(&b.event_id()), a.cmp(&b));
            prop_assert_eq!(Position::from_event_id(&a.event_id()), Some(a));
            prop_assert_eq!(Token::read(&Token::Backward(a).write()).unwrap(), Token::Backward(a));
            prop_assert!(a.after() > a);
            let pointer = Pointer {
                group_arn: "arn:aws:logs:us-east-1:000000000000:log-group:g".into(),
                group: a.ordinal, stream: b.ordinal, stream_name: "s\n[1]".into(), position: b,
            };
            prop_assert_eq!(Pointer::read(&pointer.write()), Some(pointer));
        }

        #[test]
        fn foreign_text_is_no_token(text in "[fb3/s0-9é]{0,70}") {
            let _ = (Token::read(&text), Pointer::read(&text), Position::from_event_id(&text));
        }
    }

    #[test]
    fn nonsense_is_no_token() {
        for bad in ["", "f/1/s", "x/3", "f/", "nonsense"] {
            assert!(Token::read(bad).is_err(), "{bad}");
        }
    }
}
