//! How the headers of a message are stored: written with each send, read with each receive.
//!
//! A version byte; a byte that says which of the fields are there that may be absent; then the fields: texts and attributes
//! behind their length in bytes, in four bytes, the sequence in eight, the digest in sixteen. Version 1 was MessagePack with the
//! names of the fields, as tables store values.

use pileus_store::{StoreError, table};

use crate::message::Message;

const VERSION: u8 = 2;
const VERSION_NAMED: u8 = 1;

const ATTRIBUTES: u8 = 1;
const TRACE_HEADER: u8 = 1 << 1;
const GROUP: u8 = 1 << 2;
const DEDUPLICATION_ID: u8 = 1 << 3;
const DEAD_LETTER_SOURCE: u8 = 1 << 4;
const SEQUENCE: u8 = 1 << 5;
const BODY_MD5: u8 = 1 << 6;

pub fn write(message: &Message) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(128);
    let mut fields = 0;
    bytes.extend_from_slice(&[VERSION, fields]);
    put(&mut bytes, message.id.as_bytes());
    put(&mut bytes, message.sender_id.as_bytes());
    if !message.attributes.is_empty() {
        fields |= ATTRIBUTES;
        put(&mut bytes, &table::write_msgpack(&message.attributes)?);
    }
    for (field, text) in [
        (TRACE_HEADER, &message.trace_header),
        (GROUP, &message.group),
        (DEDUPLICATION_ID, &message.deduplication_id),
        (DEAD_LETTER_SOURCE, &message.dead_letter_source),
    ] {
        if let Some(text) = text {
            fields |= field;
            put(&mut bytes, text.as_bytes());
        }
    }
    if let Some(sequence) = message.sequence {
        fields |= SEQUENCE;
        bytes.extend_from_slice(&sequence.to_be_bytes());
    }
    if let Some(digest) = &message.body_md5 {
        fields |= BODY_MD5;
        bytes.extend_from_slice(digest);
    }
    bytes[1] = fields;
    Ok(bytes)
}

pub fn read(bytes: &[u8]) -> Result<Message, StoreError> {
    match bytes.first() {
        Some(&VERSION) => Reader(&bytes[1..]).message(),
        Some(&VERSION_NAMED) => table::read_msgpack(&bytes[1..]),
        _ => Err(corrupt()),
    }
}

fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
    bytes.extend_from_slice(field);
}

fn corrupt() -> StoreError {
    StoreError::corrupt("the headers of a message have another form")
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn message(mut self) -> Result<Message, StoreError> {
        let [fields] = self.fixed()?;
        let has = |field: u8| fields & field != 0;
        let (id, sender_id) = (self.text()?, self.text()?);
        let attributes = if has(ATTRIBUTES) { table::read_msgpack(self.field()?)? } else { Vec::new() };
        let message = Message {
            id,
            sender_id,
            attributes,
            trace_header: has(TRACE_HEADER).then(|| self.text()).transpose()?,
            group: has(GROUP).then(|| self.text()).transpose()?,
            deduplication_id: has(DEDUPLICATION_ID).then(|| self.text()).transpose()?,
            dead_letter_source: has(DEAD_LETTER_SOURCE).then(|| self.text()).transpose()?,
            sequence: has(SEQUENCE).then(|| self.fixed().map(u64::from_be_bytes)).transpose()?,
            body_md5: has(BODY_MD5).then(|| self.fixed()).transpose()?,
        };
        if self.0.is_empty() { Ok(message) } else { Err(corrupt()) }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn field(&mut self) -> Result<&'a [u8], StoreError> {
        let length = u32::from_be_bytes(self.fixed()?) as usize;
        let (field, rest) = self.0.split_at_checked(length).ok_or_else(corrupt)?;
        self.0 = rest;
        Ok(field)
    }

    fn text(&mut self) -> Result<String, StoreError> {
        std::str::from_utf8(self.field()?).map(str::to_owned).map_err(|_| corrupt())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::attributes::{Attribute, Value};

    fn bare() -> Message {
        Message {
            id: "0123abcd-0000-4000-8000-000000000000".to_owned(),
            sender_id: String::new(),
            attributes: Vec::new(),
            trace_header: None,
            group: None,
            deduplication_id: None,
            sequence: None,
            dead_letter_source: None,
            body_md5: None,
        }
    }

    fn full() -> Message {
        let attribute = |value| Attribute { name: "a".into(), data_type: "Binary".into(), value };
        Message {
            sender_id: "AIDA".into(),
            attributes: vec![
                attribute(Value::Binary(Bytes::from_static(b"\x00\xff"))),
                attribute(Value::Text("ü".into())),
            ],
            trace_header: Some("Root=1".into()),
            group: Some(String::new()),
            deduplication_id: Some("d".into()),
            sequence: Some(u64::MAX),
            dead_letter_source: Some("arn:aws:sqs:us-east-1:123456789012:jobs".into()),
            body_md5: Some([0xab; 16]),
            ..bare()
        }
    }

    #[test]
    fn headers_are_read_back_in_this_and_in_the_former_format() {
        for message in [bare(), full(), Message { group: None, sequence: Some(1), ..full() }] {
            let written = write(&message).expect("written");
            assert_eq!(read(&written).expect("readable"), message);
            let former = table::encode(&message).expect("written");
            assert_eq!(read(&former).expect("readable"), message);
        }
    }

    #[test]
    fn damaged_headers_are_errors() {
        let written = write(&full()).expect("written");
        for length in 0..written.len() {
            assert!(read(&written[..length]).is_err(), "{length}");
        }
        assert!(read(&[written.as_slice(), b"\0"].concat()).is_err());
        assert!(read(b"\x03").is_err());
    }
}
