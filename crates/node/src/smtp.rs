//! The operator's mail relay: hands it mails over SMTP, each on a connection of its own.
//!
//! `smtp://[user:password@]host[:port]` speaks in the clear (port 25), `smtps://` over TLS from the beginning (port 465).
//!
//! Source: RFC 5321 (SMTP), RFC 4616 (PLAIN), RFC 2045 and 2047 (MIME).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use pileus_platform::{OutboundError, RelayedMail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Of one line of the relay's, and of the lines of one answer.
const MAX_ANSWER_BYTES: usize = 16 << 10;

#[derive(Clone, PartialEq, Eq)]
pub struct Relay {
    pub host: String,
    pub port: u16,
    pub is_secure: bool,
    /// Name and password, as they stand in the URL.
    credentials: Option<(String, String)>,
}

/// Its password is never shown.
impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Relay({}:{})", self.host, self.port)
    }
}

impl Relay {
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(url: &str) -> Result<Relay, String> {
        let malformed = || "the mail relay is smtp://[user:password@]host[:port], or smtps://".to_owned();
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let is_secure = match uri.scheme_str() {
            Some("smtp") => false,
            Some("smtps") => true,
            _ => return Err(malformed()),
        };
        let authority = uri.authority().ok_or_else(malformed)?;
        let credentials = authority.as_str().rsplit_once('@').map(|(credentials, _)| credentials);
        let credentials = match credentials {
            Some(text) => {
                let (name, password) = text.split_once(':').ok_or_else(malformed)?;
                let decode = |text: &str| {
                    String::from_utf8_lossy(&pileus_wire::sigv4::percent_decode(text)).into_owned()
                };
                Some((decode(name), decode(password)))
            }
            None => None,
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_secure { 465 } else { 25 });
        Ok(Relay { host, port, is_secure, credentials })
    }

    /// Hands a mail over a connection that was made.
    pub async fn send<S>(&self, stream: S, mail: &RelayedMail) -> Result<(), OutboundError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let exchange = async {
            let mut talk = Talk(BufStream::new(stream));
            talk.expect(220).await?;
            talk.say("EHLO pileus", 250).await?;
            if let Some((name, password)) = &self.credentials {
                let secret = STANDARD.encode(format!("\0{name}\0{password}"));
                talk.say(&format!("AUTH PLAIN {secret}"), 235).await?;
            }
            talk.say(&format!("MAIL FROM:<{}>", address(&mail.from)), 250).await?;
            for to in &mail.to {
                talk.say(&format!("RCPT TO:<{}>", address(to)), 250).await?;
            }
            talk.say("DATA", 354).await?;
            talk.say(&format!("{}\r\n.", message(mail)), 250).await?;
            // The mail is taken: how the talk ends does not matter.
            let _ = talk.say("QUIT", 221).await;
            Ok(())
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(OutboundError::TimedOut))
    }
}

struct Talk<S>(BufStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    async fn say(&mut self, line: &str, wanted: u16) -> Result<(), OutboundError> {
        let broken = |error: std::io::Error| OutboundError::Broken(error.to_string());
        self.0.write_all(line.as_bytes()).await.map_err(broken)?;
        self.0.write_all(b"\r\n").await.map_err(broken)?;
        self.0.flush().await.map_err(broken)?;
        self.expect(wanted).await
    }

    /// Reads an answer of one or more lines (`250-more`, `250 last`).
    async fn expect(&mut self, wanted: u16) -> Result<(), OutboundError> {
        let mut read = 0;
        loop {
            let mut line = Vec::new();
            loop {
                let part =
                    self.0.fill_buf().await.map_err(|error| OutboundError::Broken(error.to_string()))?;
                if part.is_empty() {
                    return Err(OutboundError::Broken("the relay ended the connection".to_owned()));
                }
                let end = part.iter().position(|byte| *byte == b'\n');
                let taken = end.map_or(part.len(), |end| end + 1);
                line.extend_from_slice(&part[..taken]);
                read += taken;
                self.0.consume(taken);
                if read > MAX_ANSWER_BYTES {
                    return Err(OutboundError::TooLong(MAX_ANSWER_BYTES));
                }
                if end.is_some() {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let goes_on = text.as_bytes().get(3) == Some(&b'-');
            let code: Option<u16> = text.get(..3).and_then(|code| code.parse().ok());
            // Any success will do for a recipient (251).
            let fits = code.is_some_and(|code| code == wanted || (wanted == 250 && code == 251));
            if !fits {
                return Err(OutboundError::Broken(format!("the relay answered: {text}")));
            }
            if !goes_on {
                return Ok(());
            }
        }
    }
}

/// The address in `Name <address>`.
fn address(text: &str) -> String {
    let inner = text.rsplit_once('<').map_or(text, |(_, rest)| rest.trim_end_matches('>'));
    inner.chars().filter(|c| !c.is_control() && !c.is_whitespace() && *c != '<' && *c != '>').collect()
}

/// Text of a header: one line, and encoded where it is not ASCII.
fn header(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.is_ascii() { line } else { format!("=?UTF-8?B?{}?=", STANDARD.encode(line)) }
}

/// `Name <address>` as a header.
fn mailbox(text: &str) -> String {
    match text.rsplit_once('<') {
        Some((name, _)) => format!("{} <{}>", header(name.trim()), address(text)),
        None => address(text),
    }
}

fn message(mail: &RelayedMail) -> String {
    let to: Vec<String> = mail.to.iter().map(|to| mailbox(to)).collect();
    // Base64 has neither long lines nor lines that begin with a dot.
    let encoded = STANDARD.encode(&mail.body);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!(
        "From: {}\r\nTo: {}\r\nSubject: {}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n{}",
        mailbox(&mail.from),
        to.join(", "),
        header(&mail.subject),
        lines.join("\r\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, duplex};

    #[test]
    fn relays_are_named_by_urls() {
        let relay = Relay::parse("smtp://ann:se%40cret@mail.example.com:2525").unwrap();
        assert_eq!((relay.host.as_str(), relay.port, relay.is_secure), ("mail.example.com", 2525, false));
        assert_eq!(relay.credentials, Some(("ann".to_owned(), "se@cret".to_owned())));
        assert!(!format!("{relay:?}").contains("cret"));
        assert_eq!(Relay::parse("smtps://h").unwrap().port, 465);
        for bad in ["http://h", "smtp://", "h:25", "smtp://ann@h"] {
            assert!(Relay::parse(bad).is_err(), "{bad}");
        }
    }

    fn mail(subject: &str) -> RelayedMail {
        RelayedMail {
            from: "News <no-reply@example.com>".to_owned(),
            to: vec!["ann@example.com".to_owned()],
            subject: subject.to_owned(),
            body: ".\r\nhello".to_owned(),
        }
    }

    #[test]
    fn a_mail_cannot_forge_headers() {
        let text = message(&mail("a\r\nBcc: eve@example.com"));
        assert!(text.contains("Subject: a  Bcc: eve@example.com\r\n"));
        assert!(message(&mail("Grüße")).contains("Subject: =?UTF-8?B?"));
        assert_eq!(address("x <a\r\nRCPT@b>"), "aRCPT@b");
    }

    #[tokio::test]
    async fn a_mail_is_handed_over_or_the_reason_is_told() {
        for (answer, is_taken) in [("250 taken", true), ("554 no", false)] {
            let (ours, mut theirs) = duplex(1 << 16);
            let server = tokio::spawn(async move {
                let mut said = Vec::new();
                let answers = [
                    "220-hi\r\n220 there",
                    "250-pileus\r\n250 OK",
                    "250 OK",
                    "251 forwarded",
                    "354 go",
                    answer,
                    "221 bye",
                ];
                for line in answers {
                    if theirs.write_all(format!("{line}\r\n").as_bytes()).await.is_err() {
                        break;
                    }
                    let mut part = vec![0; 4_096];
                    match theirs.read(&mut part).await {
                        Ok(read @ 1..) => said.extend_from_slice(&part[..read]),
                        _ => break,
                    }
                }
                String::from_utf8(said).unwrap()
            });
            let relay = Relay::parse("smtp://h").unwrap();
            let sent = relay.send(ours, &mail("s")).await;
            assert_eq!(sent.is_ok(), is_taken, "{sent:?}");
            let said = server.await.unwrap();
            assert!(
                said.contains("MAIL FROM:<no-reply@example.com>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n"),
                "{said}"
            );
        }
    }
}
