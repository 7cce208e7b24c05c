//! A connection that costs next to nothing, so that a load measures the server and leaves it the machine: requests are
//! bytes made beforehand, answers are read just far enough to find their end.

use std::ops::Range;

use bytes::Buf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Longest head or body of an answer: far above what any load gets.
const MAX_ANSWER: usize = 4 << 20;
/// What is read at a time of a body that is thrown away.
const DISCARDED: usize = 256 << 10;

impl Wire {
    pub async fn connect(port: u16) -> Result<Wire, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Wire { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// The body of the answer.
    ///
    /// # Errors
    /// Any status but 200, or an answer without `Content-Length`.
    pub async fn send(&mut self, request: &[u8]) -> Result<&[u8], String> {
        self.stream.write_all(request).await.map_err(|error| error.to_string())?;
        let (is_success, body) = self.read_head().await?;
        while self.buffer.len() < body.end {
            self.read_more().await?;
        }
        if is_success {
            Ok(&self.buffer[body])
        } else {
            Err(String::from_utf8_lossy(&self.buffer).into_owned())
        }
    }

    /// Sends a head and a body, and throws the body of the answer away as it comes. How long that was.
    ///
    /// # Errors
    /// As `send`.
    pub async fn exchange(&mut self, head: &[u8], body: &[u8]) -> Result<usize, String> {
        self.stream.write_all_buf(&mut Buf::chain(head, body)).await.map_err(|error| error.to_string())?;
        let (is_success, body) = self.read_head().await?;
        if !is_success {
            while self.buffer.len() < body.end {
                self.read_more().await?;
            }
            return Err(String::from_utf8_lossy(&self.buffer).into_owned());
        }
        let mut left = body.end.saturating_sub(self.buffer.len());
        while left > 0 {
            self.buffer.clear();
            self.buffer.reserve(DISCARDED.min(left));
            self.read_more().await?;
            left = left.saturating_sub(self.buffer.len());
        }
        Ok(body.len())
    }

    /// Reads until the head is there: whether its status is 200, and where the body lies.
    async fn read_head(&mut self) -> Result<(bool, Range<usize>), String> {
        self.buffer.clear();
        loop {
            self.read_more().await?;
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let body = end + 4..end + 4 + length(&self.buffer[..end])?;
                return Ok((status(&self.buffer) == Some(b"200"), body));
            }
        }
    }

    async fn read_more(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(_) if self.buffer.len() > MAX_ANSWER => Err("an answer is too long".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// `HTTP/1.1 200 OK`
fn status(head: &[u8]) -> Option<&[u8]> {
    head.get(9..12)
}

fn length(head: &[u8]) -> Result<usize, String> {
    let lines = head.split(|byte| *byte == b'\n');
    for line in lines {
        let Some((name, value)) = line.split_at_checked("content-length:".len()) else { continue };
        if name.eq_ignore_ascii_case(b"content-length:") {
            let text = std::str::from_utf8(value).unwrap_or_default().trim();
            return text.parse().map_err(|_| format!("Content-Length: {text}"));
        }
    }
    Err("an answer has no Content-Length".to_owned())
}

/// The text between `"name":"` and the next quotation mark.
pub fn text_member<'a>(json: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(json).ok()?;
    let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_its_length_and_its_members() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 12\r\ndate: x";
        assert_eq!((status(head), length(head)), (Some(&b"200"[..]), Ok(12)));
        assert!(length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked").is_err());
        assert_eq!(text_member(br#"{"A":"1","Handle":"ab=="}"#, "Handle"), Some("ab=="));
        assert_eq!(text_member(br#"{"A":"1"}"#, "Handle"), None);
    }
}
