//! `application/vnd.amazon.eventstream`: messages of typed headers and a payload, framed with two checksums.
//!
//! ```text
//! total length u32 | headers length u32 | CRC-32 of these 8 | headers | payload | CRC-32 of everything before
//! ```
//!
//! Everything is big-endian. A header is: name length u8, name, type u8, value.
//!
//! Source: Amazon Transcribe Developer Guide, "Event stream encoding"; Smithy, "Amazon Event Stream specification".

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pileus_core::Timestamp;

/// The largest headers of a message: 128 KiB.
pub const MAX_HEADERS: usize = 128 * 1_024;
/// The largest payload of a message: 16 MiB.
pub const MAX_PAYLOAD: usize = 16 * 1_024 * 1_024;
/// Two lengths and their checksum.
const PRELUDE: usize = 12;
/// What a message has besides headers and payload.
const OVERHEAD: usize = PRELUDE + 4;

/// The media type.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// A header's value. The number of each type is in the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// Types 0 (true) and 1 (false).
    Bool(bool),
    /// Type 2.
    Byte(i8),
    /// Type 3.
    Short(i16),
    /// Type 4.
    Int(i32),
    /// Type 5.
    Long(i64),
    /// Type 6; at most 65_535 bytes.
    Bytes(Bytes),
    /// Type 7; at most 65_535 bytes.
    String(String),
    /// Type 8; milliseconds on the wire.
    Timestamp(Timestamp),
    /// Type 9.
    Uuid([u8; 16]),
}

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// In order; names have 1 to 255 bytes.
    pub headers: Vec<(String, HeaderValue)>,
    pub payload: Bytes,
}

/// Why a message cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventStreamError {
    #[error("a header's name must have 1 to 255 bytes")]
    HeaderName,
    #[error("a header's value is over 65535 bytes")]
    HeaderValueTooLong,
    #[error("the headers are over 128 KiB")]
    HeadersTooLong,
    #[error("the payload is over 16 MiB")]
    PayloadTooLong,
    #[error("the lengths of a message contradict each other")]
    Length,
    #[error("the prelude's checksum does not match")]
    PreludeChecksum,
    #[error("the message's checksum does not match")]
    MessageChecksum,
    #[error("a header is malformed")]
    MalformedHeader,
    #[error("the stream ends within a message")]
    Incomplete,
}

impl Message {
    pub fn new(payload: impl Into<Bytes>) -> Message {
        Message { headers: Vec::new(), payload: payload.into() }
    }

    /// Adds a string header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Message {
        self.headers.push((name.to_owned(), HeaderValue::String(value.into())));
        self
    }

    /// An ordinary event.
    pub fn event(event_type: &str, content_type: &str, payload: impl Into<Bytes>) -> Message {
        Message::new(payload)
            .with(":event-type", event_type)
            .with(":content-type", content_type)
            .with(":message-type", "event")
    }

    /// An error that the service's model names.
    pub fn exception(exception_type: &str, content_type: &str, payload: impl Into<Bytes>) -> Message {
        Message::new(payload)
            .with(":exception-type", exception_type)
            .with(":content-type", content_type)
            .with(":message-type", "exception")
    }

    /// An error that it does not name.
    pub fn error(code: &str, message: &str) -> Message {
        Message::default()
            .with(":error-code", code)
            .with(":error-message", message)
            .with(":message-type", "error")
    }

    pub fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// A header that holds a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.header(name) {
            Some(HeaderValue::String(text)) => Some(text),
            _ => None,
        }
    }

    /// `event`, `exception` or `error`.
    pub fn message_type(&self) -> Option<&str> {
        self.text(":message-type")
    }

    /// # Errors
    /// When a name, a value, the headers or the payload are over their limit.
    pub fn encode(&self) -> Result<Bytes, EventStreamError> {
        let mut headers = BytesMut::new();
        for (name, value) in &self.headers {
            put_header(&mut headers, name, value)?;
        }
        if headers.len() > MAX_HEADERS {
            return Err(EventStreamError::HeadersTooLong);
        }
        if self.payload.len() > MAX_PAYLOAD {
            return Err(EventStreamError::PayloadTooLong);
        }
        let total = headers.len() + self.payload.len() + OVERHEAD;
        let mut out = BytesMut::with_capacity(total);
        // Both lengths are within the limits just checked, far below 4 GiB.
        out.put_u32(total as u32);
        out.put_u32(headers.len() as u32);
        out.put_u32(crc32fast::hash(&out));
        out.put_slice(&headers);
        out.put_slice(&self.payload);
        out.put_u32(crc32fast::hash(&out));
        Ok(out.freeze())
    }
}

fn put_header(out: &mut BytesMut, name: &str, value: &HeaderValue) -> Result<(), EventStreamError> {
    let length = u8::try_from(name.len()).map_err(|_| EventStreamError::HeaderName)?;
    if length == 0 {
        return Err(EventStreamError::HeaderName);
    }
    out.put_u8(length);
    out.put_slice(name.as_bytes());
    match value {
        HeaderValue::Bool(true) => out.put_u8(0),
        HeaderValue::Bool(false) => out.put_u8(1),
        HeaderValue::Byte(number) => {
            out.put_u8(2);
            out.put_i8(*number);
        }
        HeaderValue::Short(number) => {
            out.put_u8(3);
            out.put_i16(*number);
        }
        HeaderValue::Int(number) => {
            out.put_u8(4);
            out.put_i32(*number);
        }
        HeaderValue::Long(number) => {
            out.put_u8(5);
            out.put_i64(*number);
        }
        HeaderValue::Bytes(bytes) => put_sized(out, 6, bytes)?,
        HeaderValue::String(text) => put_sized(out, 7, text.as_bytes())?,
        HeaderValue::Timestamp(time) => {
            out.put_u8(8);
            out.put_i64(time.as_millis());
        }
        HeaderValue::Uuid(uuid) => {
            out.put_u8(9);
            out.put_slice(uuid);
        }
    }
    Ok(())
}

fn put_sized(out: &mut BytesMut, kind: u8, bytes: &[u8]) -> Result<(), EventStreamError> {
    let length = u16::try_from(bytes.len()).map_err(|_| EventStreamError::HeaderValueTooLong)?;
    out.put_u8(kind);
    out.put_u16(length);
    out.put_slice(bytes);
    Ok(())
}

/// Reads messages from bytes that arrive in pieces. Holds one message at most, and that only once its lengths are proved.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    failed: Option<EventStreamError>,
}

impl Decoder {
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Takes the next piece; the messages that it completes are added to `out`. After an error every call repeats it.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<Message>) -> Result<(), EventStreamError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        while !input.is_empty() {
            if let Err(error) = self.step(&mut input, out) {
                self.failed = Some(error);
                self.buffer = BytesMut::new();
                return Err(error);
            }
        }
        Ok(())
    }

    /// The stream has ended.
    pub fn finish(self) -> Result<(), EventStreamError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.buffer.is_empty() => Ok(()),
            None => Err(EventStreamError::Incomplete),
        }
    }

    /// Fills the prelude, then the message that it announces.
    fn step(&mut self, input: &mut &[u8], out: &mut Vec<Message>) -> Result<(), EventStreamError> {
        if self.buffer.len() < PRELUDE {
            self.take(input, PRELUDE);
            if self.buffer.len() == PRELUDE {
                check_prelude(&self.buffer)?;
            }
            return Ok(());
        }
        let (total, headers) = check_prelude(&self.buffer)?;
        self.take(input, total);
        if self.buffer.len() == total {
            out.push(read_message(self.buffer.split().freeze(), headers)?);
        }
        Ok(())
    }

    fn take(&mut self, input: &mut &[u8], until: usize) {
        let (piece, rest) = input.split_at(input.len().min(until - self.buffer.len()));
        self.buffer.extend_from_slice(piece);
        *input = rest;
    }
}

/// Total length and headers length.
fn check_prelude(buffer: &[u8]) -> Result<(usize, usize), EventStreamError> {
    let mut prelude = buffer.get(..PRELUDE).ok_or(EventStreamError::Incomplete)?;
    let checksum = crc32fast::hash(&prelude[..8]);
    let (total, headers) = (prelude.get_u32() as usize, prelude.get_u32() as usize);
    if prelude.get_u32() != checksum {
        return Err(EventStreamError::PreludeChecksum);
    }
    if headers > MAX_HEADERS {
        return Err(EventStreamError::HeadersTooLong);
    }
    match total.checked_sub(headers + OVERHEAD) {
        None => Err(EventStreamError::Length),
        Some(payload) if payload > MAX_PAYLOAD => Err(EventStreamError::PayloadTooLong),
        Some(_) => Ok((total, headers)),
    }
}

fn read_message(frame: Bytes, headers: usize) -> Result<Message, EventStreamError> {
    let end = frame.len() - 4;
    if crc32fast::hash(&frame[..end]) != (&frame[end..]).get_u32() {
        return Err(EventStreamError::MessageChecksum);
    }
    let mut rest = frame.slice(PRELUDE..PRELUDE + headers);
    let payload = frame.slice(PRELUDE + headers..end);
    let mut list = Vec::new();
    while rest.has_remaining() {
        list.push(read_header(&mut rest).ok_or(EventStreamError::MalformedHeader)?);
    }
    Ok(Message { headers: list, payload })
}

fn read_header(rest: &mut Bytes) -> Option<(String, HeaderValue)> {
    let length = usize::from(rest.try_get_u8().ok()?);
    if length == 0 {
        return None;
    }
    let name = String::from_utf8(take(rest, length)?.to_vec()).ok()?;
    let value = match rest.try_get_u8().ok()? {
        0 => HeaderValue::Bool(true),
        1 => HeaderValue::Bool(false),
        2 => HeaderValue::Byte(rest.try_get_i8().ok()?),
        3 => HeaderValue::Short(rest.try_get_i16().ok()?),
        4 => HeaderValue::Int(rest.try_get_i32().ok()?),
        5 => HeaderValue::Long(rest.try_get_i64().ok()?),
        6 => HeaderValue::Bytes(take_sized(rest)?),
        7 => HeaderValue::String(String::from_utf8(take_sized(rest)?.to_vec()).ok()?),
        8 => HeaderValue::Timestamp(Timestamp::from_millis(rest.try_get_i64().ok()?)),
        9 => HeaderValue::Uuid(take(rest, 16)?.as_ref().try_into().ok()?),
        _ => return None,
    };
    Some((name, value))
}

fn take_sized(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(rest.try_get_u16().ok()?);
    take(rest, length)
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (rest.len() >= length).then(|| rest.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8], splits: &[usize]) -> Result<Vec<Message>, EventStreamError> {
        let mut decoder = Decoder::new();
        let mut out = Vec::new();
        let mut rest = bytes;
        for split in splits {
            let (piece, tail) = rest.split_at((*split).min(rest.len()));
            decoder.push(piece, &mut out)?;
            rest = tail;
        }
        decoder.push(rest, &mut out)?;
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn the_published_vectors_encode_to_their_bytes() {
        // Source: the event stream test vectors shared by AWS's SDKs ("payload_no_headers", "payload_one_str_header").
        let no_headers = Message::new("{'foo':'bar'}");
        assert_eq!(
            hex::encode(no_headers.encode().unwrap()),
            "0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936"
        );
        let one = Message::new("{'foo':'bar'}").with("content-type", "application/json");
        assert_eq!(
            hex::encode(one.encode().unwrap()),
            "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1"
        );
    }

    #[test]
    fn limits_hold_both_ways() {
        let long = |length: usize| "x".repeat(length);
        let many = Message {
            headers: vec![("n".to_owned(), HeaderValue::String(long(65_535))); 3],
            ..Message::default()
        };
        let cases = [
            (Message::default().with("", "v"), EventStreamError::HeaderName),
            (Message::default().with(&long(256), "v"), EventStreamError::HeaderName),
            (Message::default().with("n", long(65_536)), EventStreamError::HeaderValueTooLong),
            (many, EventStreamError::HeadersTooLong),
            (Message::new(vec![0; MAX_PAYLOAD + 1]), EventStreamError::PayloadTooLong),
        ];
        for (message, expected) in cases {
            assert_eq!(message.encode(), Err(expected));
        }
        let prelude = |total: u32, headers: u32| {
            let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
            bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
            decode(&bytes, &[])
        };
        assert_eq!(prelude(u32::MAX, 0), Err(EventStreamError::PayloadTooLong));
        assert_eq!(prelude(u32::MAX, 200_000), Err(EventStreamError::HeadersTooLong));
        assert_eq!(prelude(15, 0), Err(EventStreamError::Length));
        assert_eq!(prelude(20, 5), Err(EventStreamError::Length));
        assert_eq!(prelude(16, 0), Err(EventStreamError::Incomplete));
        assert_eq!(decode(&[0; 12], &[]), Err(EventStreamError::PreludeChecksum));
    }

    fn value() -> impl Strategy<Value = HeaderValue> {
        prop_oneof![
            any::<bool>().prop_map(HeaderValue::Bool),
            any::<i8>().prop_map(HeaderValue::Byte),
            any::<i16>().prop_map(HeaderValue::Short),
            any::<i32>().prop_map(HeaderValue::Int),
            any::<i64>().prop_map(HeaderValue::Long),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| HeaderValue::Bytes(bytes.into())),
            "\\PC{0,20}".prop_map(HeaderValue::String),
            (-1i64 << 50..1 << 50).prop_map(|millis| HeaderValue::Timestamp(Timestamp::from_millis(millis))),
            any::<[u8; 16]>().prop_map(HeaderValue::Uuid),
        ]
    }

    fn message() -> impl Strategy<Value = Message> {
        let header = ("[a-z:é-]{1,20}", value());
        (proptest::collection::vec(header, 0..12), proptest::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(headers, payload)| Message { headers, payload: payload.into() })
    }

    proptest! {
        #[test]
        fn messages_come_back_over_any_split(
            messages in proptest::collection::vec(message(), 0..4),
            splits in proptest::collection::vec(0usize..200, 0..20),
            broken in proptest::option::of((0usize..4_000, 0u8..8)),
        ) {
            let mut bytes: Vec<u8> = Vec::new();
            for message in &messages {
                bytes.extend_from_slice(&message.encode().unwrap());
            }
            prop_assert_eq!(decode(&bytes, &splits), Ok(messages));
            if let (Some((at, bit)), false) = (broken, bytes.is_empty()) {
                let at = at % bytes.len();
                bytes[at] ^= 1 << bit;
                prop_assert!(decode(&bytes, &splits).is_err(), "a changed bit went unnoticed");
            }
        }

        #[test]
        fn headers_of_arbitrary_bytes_never_panic(headers in proptest::collection::vec(any::<u8>(), 0..100)) {
            // Correct lengths and checksums around nonsense.
            let mut bytes = BytesMut::new();
            bytes.put_u32((headers.len() + OVERHEAD) as u32);
            bytes.put_u32(headers.len() as u32);
            bytes.put_u32(crc32fast::hash(&bytes));
            bytes.put_slice(&headers);
            bytes.put_u32(crc32fast::hash(&bytes));
            if let Ok(messages) = decode(&bytes, &[]) {
                prop_assert_eq!(messages[0].encode().map(|bytes| bytes.len()), Ok(bytes.len()));
            }
        }
    }
}
