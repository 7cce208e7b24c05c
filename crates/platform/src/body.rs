//! Request bodies: collected up to a limit, or handed on as they arrive.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use pileus_wire::value::ByteStream;

/// A body that has not been read yet.
pub struct Body {
    stream: ByteStream,
    /// `Content-Length`, if the client said so.
    pub length: Option<u64>,
}

/// Why a body could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is longer than {limit} bytes")]
    TooLarge { limit: u64 },
    /// The client went away or sent a malformed transfer coding.
    #[error("the body ended early: {0}")]
    Broken(io::Error),
    #[error("the client sent nothing for {} seconds", IDLE.as_secs())]
    TimedOut,
}

/// How long a client may pause within a body.
const IDLE: Duration = Duration::from_secs(30);

impl Body {
    pub fn new(stream: ByteStream, length: Option<u64>) -> Body {
        Body { stream, length }
    }

    pub fn empty() -> Body {
        Body { stream: ByteStream::default(), length: Some(0) }
    }

    pub fn from_bytes(bytes: Bytes) -> Body {
        let length = Some(bytes.len() as u64);
        Body { stream: ByteStream::new(futures_util::stream::iter([Ok(bytes)])), length }
    }

    /// The whole body. One that comes in a single frame is not copied.
    ///
    /// # Errors
    /// `TooLarge` as soon as the declared or the received length passes `limit`.
    pub async fn collect(mut self, limit: u64) -> Result<Bytes, BodyError> {
        if self.length.is_some_and(|length| length > limit) {
            return Err(BodyError::TooLarge { limit });
        }
        let Some(mut stream) = self.stream.take() else { return Ok(Bytes::new()) };
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            // What is there already needs no timer: most bodies come with their headers.
            let next = match poll_fn(|cx| Poll::Ready(stream.poll_next_unpin(cx))).await {
                Poll::Ready(next) => next,
                Poll::Pending => {
                    tokio::time::timeout(IDLE, stream.next()).await.map_err(|_| BodyError::TimedOut)?
                }
            };
            let Some(frame) = next else { break };
            let frame = frame.map_err(BodyError::Broken)?;
            if (first.len() + rest.len() + frame.len()) as u64 > limit {
                return Err(BodyError::TooLarge { limit });
            }
            match (first.is_empty(), rest.is_empty()) {
                (true, true) => first = frame,
                (false, true) => {
                    rest.reserve(first.len() + frame.len());
                    rest.extend_from_slice(&std::mem::take(&mut first));
                    rest.extend_from_slice(&frame);
                }
                _ => rest.extend_from_slice(&frame),
            }
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    }

    pub fn into_stream(self) -> ByteStream {
        self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(frames: &[&'static str]) -> Body {
        let frames: Vec<_> = frames.iter().map(|f| Ok(Bytes::from_static(f.as_bytes()))).collect();
        Body::new(ByteStream::new(futures_util::stream::iter(frames)), None)
    }

    #[tokio::test]
    async fn a_body_is_collected_whole_or_refused_by_its_length() {
        assert_eq!(body(&["ab", "", "cd", "e"]).collect(5).await.expect("fits"), "abcde");
        assert_eq!(body(&[]).collect(0).await.expect("fits"), "");
        assert!(matches!(body(&["ab", "cd"]).collect(3).await, Err(BodyError::TooLarge { limit: 3 })));
        let declared = Body { length: Some(10), ..body(&["ab"]) };
        assert!(matches!(declared.collect(9).await, Err(BodyError::TooLarge { limit: 9 })));
    }
}
