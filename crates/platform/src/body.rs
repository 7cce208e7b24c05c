//! Request bodies: collected up to a limit, or handed on as they arrive.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use pileus_wire::value::{BoxStream, ByteStream};

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
    #[error("the client sent under {MIN_PER_WINDOW} bytes in {} seconds", WINDOW.as_secs())]
    TimedOut,
}

/// A body in memory takes room from others, so it must go on: so many bytes, or its end, within every window.
const WINDOW: Duration = Duration::from_secs(30);
const MIN_PER_WINDOW: usize = 64 << 10;

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
        let mut read = Read { limit, first: Bytes::new(), rest: BytesMut::new() };
        loop {
            let mut window = pin!(read.window(&mut stream));
            // What is there already needs no timer: most bodies come with their headers.
            let goes_on = match poll_fn(|cx| Poll::Ready(window.as_mut().poll(cx))).await {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    tokio::time::timeout(WINDOW, window).await.map_err(|_| BodyError::TimedOut)??
                }
            };
            if !goes_on {
                break;
            }
        }
        Ok(if read.rest.is_empty() { read.first } else { read.rest.freeze() })
    }

    pub fn into_stream(self) -> ByteStream {
        self.stream
    }
}

/// What came so far.
struct Read {
    limit: u64,
    first: Bytes,
    rest: BytesMut,
}

impl Read {
    /// Reads as much as one window must bring. `false` at the end.
    async fn window(&mut self, stream: &mut BoxStream<Bytes, io::Error>) -> Result<bool, BodyError> {
        let enough = self.len() + MIN_PER_WINDOW;
        while self.len() < enough {
            let Some(frame) = stream.next().await else { return Ok(false) };
            self.push(frame.map_err(BodyError::Broken)?)?;
        }
        Ok(true)
    }

    fn push(&mut self, frame: Bytes) -> Result<(), BodyError> {
        if (self.len() + frame.len()) as u64 > self.limit {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        match (self.first.is_empty(), self.rest.is_empty()) {
            (true, true) => self.first = frame,
            (false, true) => {
                self.rest.reserve(self.first.len() + frame.len());
                self.rest.extend_from_slice(&std::mem::take(&mut self.first));
                self.rest.extend_from_slice(&frame);
            }
            _ => self.rest.extend_from_slice(&frame),
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
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

    /// So many pieces of a size, one every so many seconds.
    fn slow(pieces: usize, size: usize, seconds: u64) -> Body {
        let frames = futures_util::stream::unfold(pieces, move |left| async move {
            let next = left.checked_sub(1)?;
            let pause = std::future::pending::<()>();
            let _ = tokio::time::timeout(Duration::from_secs(seconds), pause).await;
            Some((Ok(Bytes::from(vec![0; size])), next))
        });
        Body::new(ByteStream::new(frames), None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_dribbles_is_cut_off_and_one_that_is_slow_is_not() {
        assert!(matches!(slow(1000, 1, 20).collect(1 << 20).await, Err(BodyError::TimedOut)));
        assert!(matches!(slow(1, 1, 31).collect(1 << 20).await, Err(BodyError::TimedOut)));
        assert_eq!(slow(29, 1, 1).collect(1 << 20).await.expect("ends in time").len(), 29);
        assert_eq!(slow(100, 4 << 10, 1).collect(1 << 20).await.expect("goes on").len(), 400 << 10);
    }
}
