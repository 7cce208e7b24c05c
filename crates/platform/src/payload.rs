//! Bodies of requests to S3: which digest covers one, taking the `aws-chunked` framing off, and proving it as it streams.
//!
//! What a stream hands out is proved only when it has ended without an error: commit nothing before. Its errors hold the `Fault`
//! that the caller is to be told.
//!
//! Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header", "Error responses"; Amazon S3 User
//! Guide, "Checking object integrity for data uploads in Amazon S3". Recorded: the sentences.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use pileus_wire::checksum::{Algorithm, Checksum};
use pileus_wire::chunked::{self, ChunkSigner, Decoder, Setup};
use pileus_wire::schema::Operation;
use pileus_wire::sigv4::{self, Description, PayloadMode, SignedRequest, SigningKey};
use pileus_wire::value::{BoxStream, ByteStream};
use ring::digest;
use tokio::time::Timeout;

use crate::Fault;
use crate::body::Body;

/// How the body of one request is framed and covered.
pub(crate) struct Payload {
    framing: Option<Setup>,
    /// The digest of the whole that the request announced, in hex.
    sha256: Option<String>,
}

/// A body that brings nothing for so long has broken off.
const IDLE: Duration = Duration::from_secs(30);

impl Payload {
    /// Reads what the headers say, and changes them to what they would be without the framing: length, encoding.
    ///
    /// # Errors
    /// `MissingContentLength` for a framed body that does not say how long it is without the framing.
    pub fn of(
        headers: &mut HeaderMap,
        signed: Option<&SignedRequest>,
        key: Option<SigningKey>,
    ) -> Result<Payload, Fault> {
        let mode = match signed {
            Some(signed) => signed.payload.clone(),
            None => text(headers, "x-amz-content-sha256").map_or(PayloadMode::Absent, PayloadMode::parse),
        };
        let sha256 = match mode {
            PayloadMode::Sha256(digest) => Some(digest),
            _ => None,
        };
        let Some(framing) = chunked::detect(headers) else { return Ok(Payload { framing: None, sha256 }) };
        let decoded = text(headers, "x-amz-decoded-content-length").map(str::trim);
        let decoded_length = decoded.and_then(|text| text.parse::<u64>().ok());
        let Some(length) = decoded_length else { return Err(missing_length()) };
        let trailer = text(headers, "x-amz-trailer").and_then(|name| Algorithm::from_header(name.trim()));
        let signer = signed.zip(key).filter(|_| framing != chunked::Framing::UnsignedTrailer);
        let signer = signer.map(|(signed, key)| ChunkSigner::new(signed, key));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let encodings: Vec<&str> =
            headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok()).collect();
        match chunked::strip_content_encoding(&encodings.join(",")).map(HeaderValue::try_from) {
            Some(Ok(kept)) => drop(headers.insert(CONTENT_ENCODING, kept)),
            _ => drop(headers.remove(CONTENT_ENCODING)),
        }
        if let Some(trailer) = trailer {
            let name = HeaderName::from_static("x-amz-sdk-checksum-algorithm");
            headers.insert(name, HeaderValue::from_static(trailer.name()));
        }
        Ok(Payload { framing: Some(Setup { framing, signer, decoded_length, trailer }), sha256: None })
    }

    /// The body as it streams, proved at its end.
    pub fn stream(self, body: Body) -> ByteStream {
        let mut stream = body.into_stream();
        let Some(incoming) = stream.take() else { return ByteStream::default() };
        ByteStream::new(Proved {
            incoming,
            proof: self.proof(),
            ready: VecDeque::new(),
            pieces: Vec::new(),
            idle: None,
        })
    }

    /// A body that was read already.
    ///
    /// # Errors
    /// What the framing or the digest breaks.
    pub fn unframe(self, bytes: Bytes) -> Result<Bytes, Fault> {
        let says_nothing = self.framing.is_none()
            && self.sha256.as_deref().is_none_or(|declared| declared == sigv4::EMPTY_SHA256);
        if bytes.is_empty() && says_nothing {
            return Ok(bytes);
        }
        let mut proof = self.proof();
        let mut pieces = Vec::new();
        proof.take(bytes, &mut pieces)?;
        proof.finish()?;
        match pieces.as_mut_slice() {
            [] => Ok(Bytes::new()),
            [only] => Ok(std::mem::take(only)),
            several => Ok(several.concat().into()),
        }
    }

    fn proof(self) -> Proof {
        match (self.framing, self.sha256) {
            (Some(setup), _) => Proof::Framed(Box::new(Decoder::new(setup))),
            (None, Some(declared)) => {
                Proof::Digest { declared, sum: Box::new(digest::Context::new(&digest::SHA256)) }
            }
            (None, None) => Proof::None,
        }
    }
}

/// What is still to be proved.
enum Proof {
    None,
    Digest { declared: String, sum: Box<digest::Context> },
    Framed(Box<Decoder>),
    Done,
}

impl Proof {
    fn take(&mut self, bytes: Bytes, out: &mut Vec<Bytes>) -> Result<(), Fault> {
        match self {
            Proof::None => out.push(bytes),
            Proof::Digest { sum, .. } => {
                sum.update(&bytes);
                out.push(bytes);
            }
            Proof::Framed(decoder) => {
                decoder.push(bytes, out).map_err(|error| fault(error.describe()))?;
            }
            Proof::Done => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Fault> {
        match std::mem::replace(self, Proof::Done) {
            Proof::None | Proof::Done => Ok(()),
            Proof::Digest { declared, sum } => {
                let computed = hex_of(sum.finish().as_ref());
                if declared.eq_ignore_ascii_case(&computed) {
                    return Ok(());
                }
                let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
                Err(Fault::framework("XAmzContentSHA256Mismatch", 400, message)
                    .with_extra("ClientComputedContentSHA256", declared)
                    .with_extra("S3ComputedContentSHA256", computed))
            }
            Proof::Framed(decoder) => decoder.finish().map(|_| ()).map_err(|error| fault(error.describe())),
        }
    }
}

struct Proved {
    incoming: BoxStream<Bytes, io::Error>,
    proof: Proof,
    ready: VecDeque<Bytes>,
    pieces: Vec<Bytes>,
    /// Runs while nothing comes.
    idle: Option<Pin<Box<Timeout<std::future::Pending<()>>>>>,
}

impl Stream for Proved {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(bytes)));
            }
            if matches!(this.proof, Proof::Done) {
                return Poll::Ready(None);
            }
            let frame = match this.incoming.as_mut().poll_next(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let idle = this
                        .idle
                        .get_or_insert_with(|| Box::pin(tokio::time::timeout(IDLE, std::future::pending())));
                    let _ = ready!(idle.as_mut().poll(cx));
                    this.proof = Proof::Done;
                    return Poll::Ready(Some(Err(io::Error::other(timed_out()))));
                }
            };
            this.idle = None;
            let taken = match frame {
                Some(Ok(bytes)) => this.proof.take(bytes, &mut this.pieces),
                Some(Err(_)) => Err(broken()),
                None => this.proof.finish(),
            };
            if let Err(fault) = taken {
                this.proof = Proof::Done;
                return Poll::Ready(Some(Err(io::Error::other(fault))));
            }
            this.ready.extend(this.pieces.drain(..).filter(|piece| !piece.is_empty()));
        }
    }
}

/// Checks what the headers say of a body that is no object: `Content-MD5`, and the checksum of operations that must have one.
///
/// # Errors
/// `InvalidDigest`, `BadDigest`, `InvalidRequest`.
pub(crate) fn check_digests(operation: &Operation, headers: &HeaderMap, body: &[u8]) -> Result<(), Fault> {
    let mut is_covered = false;
    if let Some(declared) = text(headers, "content-md5") {
        is_covered = true;
        let Some(declared) = Checksum::parse(Algorithm::Md5, declared) else {
            let message = "The Content-MD5 you specified was invalid.";
            return Err(Fault::framework("InvalidDigest", 400, message).with_extra("Content-MD5", declared));
        };
        let computed = Checksum::of(Algorithm::Md5, body);
        if declared != computed {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err(Fault::framework("BadDigest", 400, message)
                .with_extra("ExpectedDigest", declared.base64())
                .with_extra("CalculatedDigest", computed.base64()));
        }
    }
    if !operation.requires_checksum {
        return Ok(());
    }
    for algorithm in Algorithm::WITH_HEADER {
        let Some(declared) = text(headers, algorithm.header()) else { continue };
        is_covered = true;
        let parsed = Checksum::parse(algorithm, declared).ok_or_else(|| {
            let message = format!("Value for {} header is invalid.", algorithm.header());
            Fault::framework("InvalidRequest", 400, message)
        })?;
        if parsed != Checksum::of(algorithm, body) {
            let message =
                format!("The {} you specified did not match the calculated checksum.", algorithm.name());
            return Err(Fault::framework("BadDigest", 400, message));
        }
    }
    if is_covered || headers.contains_key("x-amz-trailer") {
        return Ok(());
    }
    let message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*";
    Err(Fault::framework("InvalidRequest", 400, message))
}

/// Refuses a stream that does not say how long it is. `length` is the body's as HTTP frames it: a body that no header announces is
/// an empty one for HTTP/1.1, and must be announced as such here.
///
/// # Errors
/// `MissingContentLength`; `NotImplemented` for HTTP's own chunks, which S3 does not take but around its own.
pub(crate) fn check_length(headers: &HeaderMap, length: Option<u64>) -> Result<(), Fault> {
    let is_framed = length.is_none() && headers.contains_key("x-amz-decoded-content-length");
    if headers.contains_key(CONTENT_LENGTH) || is_framed {
        return Ok(());
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let message = "A header you provided implies functionality that is not implemented";
        return Err(
            Fault::framework("NotImplemented", 501, message).with_extra("Header", "Transfer-Encoding")
        );
    }
    Err(missing_length())
}

fn missing_length() -> Fault {
    Fault::framework("MissingContentLength", 411, "You must provide the Content-Length HTTP header.")
}

fn broken() -> Fault {
    let message = "You did not provide the number of bytes specified by the Content-Length HTTP header";
    Fault::framework("IncompleteBody", 400, message)
}

fn timed_out() -> Fault {
    let message =
        "Your socket connection to the server was not read from or written to within the timeout period.";
    Fault::framework("RequestTimeout", 400, message)
}

pub(crate) fn fault(description: Description) -> Fault {
    let fault = Fault::framework(description.code, description.status, description.message);
    description.extras.into_iter().fold(fault, |fault, (name, value)| fault.with_extra(name, value))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn hex_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = pairs.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"))
        });
        parsed.collect()
    }

    async fn read(payload: Payload, frames: &[&'static str]) -> Result<String, String> {
        let frames: Vec<_> = frames.iter().map(|f| Ok(Bytes::from_static(f.as_bytes()))).collect();
        let body = Body::new(ByteStream::new(futures_util::stream::iter(frames)), None);
        let mut stream = payload.stream(body).take().expect("a stream");
        let mut all = Vec::new();
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(error) => {
                    return Err(error.downcast::<Fault>().expect("a fault").code.into_owned());
                }
            }
        }
        Ok(String::from_utf8(all).expect("text"))
    }

    #[tokio::test]
    async fn a_digest_is_proved_at_the_end() {
        let right = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let of = |sha256| Payload::of(&mut headers(&[("x-amz-content-sha256", sha256)]), None, None);
        assert_eq!(read(of(right).expect("fits"), &["hel", "lo"]).await, Ok("hello".to_owned()));
        let wrong = read(of(right).expect("fits"), &["hell"]).await;
        assert_eq!(wrong, Err("XAmzContentSHA256Mismatch".to_owned()));
        assert_eq!(read(of("UNSIGNED-PAYLOAD").expect("fits"), &["x"]).await, Ok("x".to_owned()));
    }

    #[tokio::test]
    async fn framing_is_taken_off_and_the_headers_say_what_is_left() {
        let mut headers = headers(&[
            ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            ("x-amz-decoded-content-length", "5"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
            ("content-encoding", "aws-chunked,gzip"),
            ("content-length", "50"),
        ]);
        let payload = Payload::of(&mut headers, None, None).expect("fits");
        assert_eq!(headers[CONTENT_LENGTH], "5");
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert_eq!(headers["x-amz-sdk-checksum-algorithm"], "CRC32");
        let framed = ["5\r\nhel", "lo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"];
        assert_eq!(read(payload, &framed).await, Ok("hello".to_owned()));
    }

    #[test]
    fn a_stream_says_how_long_it_is() {
        let chunked = ("transfer-encoding", "chunked");
        let decoded = ("x-amz-decoded-content-length", "5");
        let cases: [(&str, &[(&'static str, &str)], Option<u64>, Result<(), &str>); 7] = [
            ("as announced", &[("content-length", "5")], Some(5), Ok(())),
            ("empty, as announced", &[("content-length", "0")], Some(0), Ok(())),
            ("empty, for HTTP says so", &[], Some(0), Err("MissingContentLength")),
            ("S3's chunks, that never come", &[decoded], Some(0), Err("MissingContentLength")),
            ("HTTP's chunks", &[chunked], None, Err("NotImplemented")),
            ("S3's chunks in HTTP's", &[chunked, decoded], None, Ok(())),
            ("a stream of HTTP/2", &[], None, Err("MissingContentLength")),
        ];
        for (name, pairs, length, expected) in cases {
            let got = check_length(&headers(pairs), length).map_err(|fault| fault.code.into_owned());
            assert_eq!(got, expected.map_err(str::to_owned), "{name}");
        }
    }

    #[test]
    fn digests_of_documents_are_checked() {
        let operation = |name| pileus_models::service("s3").expect("known").operation(name).expect("known");
        let check = |name, pairs: &[(&'static str, &str)]| {
            check_digests(operation(name), &headers(pairs), b"hello").map_err(|fault| fault.code.into_owned())
        };
        let invalid = |code: &str| Err(code.to_owned());
        assert_eq!(check("DeleteObjects", &[]), invalid("InvalidRequest"));
        assert_eq!(check("DeleteObjects", &[("content-md5", "XUFAKrxLKna5cZ2REBfFkg==")]), Ok(()));
        assert_eq!(
            check("DeleteObjects", &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")]),
            invalid("BadDigest")
        );
        assert_eq!(check("DeleteObjects", &[("content-md5", "no")]), invalid("InvalidDigest"));
        assert_eq!(check("DeleteObjects", &[("x-amz-checksum-crc32", "NhCmhg==")]), Ok(()));
        assert_eq!(check("DeleteObjects", &[("x-amz-checksum-crc32", "AAAAAA==")]), invalid("BadDigest"));
        // Here it is the object's, not the document's.
        assert_eq!(check("CompleteMultipartUpload", &[("x-amz-checksum-crc32", "AAAAAA==")]), Ok(()));
    }
}
