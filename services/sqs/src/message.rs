//! A message as it is kept: headers and body, which never change; its `State` is kept apart.

pub mod attributes;
pub mod batch;
pub mod change_visibility;
pub mod delete;
pub mod fifo;
mod headers;
pub mod receipt;
pub mod receive;
pub mod send;
pub mod visibility;

use bytes::Bytes;
use pileus_store::{StoreError, Stored};
use serde::{Deserialize, Serialize};

use crate::message::attributes::Attribute;

/// What `SendMessage` keeps beside the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub id: String,
    pub sender_id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_header: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deduplication_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The queue that a receive moved it here from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_source: Option<String>,
    /// Worked out when the message was sent; earlier releases did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_md5: Option<[u8; 16]>,
}

impl Stored for Message {}

/// A message as rows of the store: headers and body in one, or the body apart where one value cannot hold both.
pub struct Rows {
    pub row: Bytes,
    pub apart: Option<Bytes>,
}

const TOGETHER: u8 = 1;
const APART: u8 = 2;

impl Message {
    /// The last part of the message's keys: tells apart what two nodes numbered alike.
    pub fn tail(&self) -> u32 {
        self.id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }

    /// # Arguments
    /// `max_value`: how large a row may be.
    pub fn rows(&self, body: &Bytes, max_value: usize) -> Result<Rows, StoreError> {
        let headers = headers::write(self)?;
        let together = 5 + headers.len() + body.len() <= max_value;
        let mut row = Vec::with_capacity(5 + headers.len() + if together { body.len() } else { 0 });
        row.push(if together { TOGETHER } else { APART });
        row.extend_from_slice(&(headers.len() as u32).to_be_bytes());
        row.extend_from_slice(&headers);
        if together {
            row.extend_from_slice(body);
        }
        Ok(Rows { row: row.into(), apart: (!together).then(|| body.clone()) })
    }

    /// The headers, and the body if the row holds it.
    pub fn read(row: &Bytes) -> Result<(Message, Option<Bytes>), StoreError> {
        let corrupt = || StoreError::corrupt("the row of a message has another form");
        let (form, rest) = row.split_first().ok_or_else(corrupt)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
        let length = u32::from_be_bytes(*length) as usize;
        let headers = rest.get(..length).ok_or_else(corrupt)?;
        let body = match *form {
            TOGETHER => Some(row.slice(5 + length..)),
            APART => None,
            _ => return Err(corrupt()),
        };
        Ok((headers::read(headers)?, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message {
            id: "0123abcd-0000-4000-8000-000000000000".to_owned(),
            sender_id: "AIDA".to_owned(),
            attributes: vec![Attribute {
                name: "a".to_owned(),
                data_type: "Binary".to_owned(),
                value: attributes::Value::Binary(Bytes::from_static(b"\x00\xff")),
            }],
            trace_header: None,
            group: Some("g".to_owned()),
            deduplication_id: None,
            sequence: Some(7),
            dead_letter_source: None,
            body_md5: Some([0xab; 16]),
        }
    }

    #[test]
    fn a_message_is_read_back_with_its_body_beside_or_apart() {
        let message = message();
        assert_eq!(message.tail(), 0x0123_abcd);
        let body = Bytes::from(vec![b'x'; 1_000]);
        let rows = message.rows(&body, 1 << 20).expect("fits");
        assert!(rows.apart.is_none());
        assert_eq!(Message::read(&rows.row).expect("readable"), (message.clone(), Some(body.clone())));
        let rows = message.rows(&body, 1_000).expect("fits apart");
        assert_eq!(rows.apart, Some(body));
        assert_eq!(Message::read(&rows.row).expect("readable"), (message, None));
        for broken in [&b""[..], b"\x01", b"\x01\x00\x00\x00\xff", b"\x09\x00\x00\x00\x00"] {
            assert!(Message::read(&Bytes::from_static(broken)).is_err());
        }
    }
}
