//! What a request claims about its signature. Nothing here is proved yet.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::HeaderMap;
use http::header::{AUTHORIZATION, AsHeaderName, DATE, HeaderName};
use pileus_core::Timestamp;

use super::{ALGORITHM, ALGORITHM_V4A, AuthError, MAX_EXPIRES_SECONDS, percent_decode};

static AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
static SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
static CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Where the signature was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The `Authorization` header.
    Header,
    /// A presigned URL.
    Query,
    /// Fields of an S3 POST form.
    Post,
}

/// `date/region/service/aws4_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `YYYYMMDD`, as sent.
    pub date: String,
    pub region: String,
    pub service: String,
    /// `aws4_request`, or what was sent in its place.
    pub terminator: String,
}

/// What `x-amz-content-sha256` says of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadMode {
    Absent,
    /// 64 hex digits.
    Sha256(String),
    Unsigned,
    StreamingSigned,
    StreamingSignedTrailer,
    StreamingUnsignedTrailer,
    /// Anything else, such as the asymmetric streaming modes.
    Other(String),
}

impl PayloadMode {
    pub fn parse(text: &str) -> PayloadMode {
        match text {
            "UNSIGNED-PAYLOAD" => PayloadMode::Unsigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => PayloadMode::StreamingSigned,
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => PayloadMode::StreamingSignedTrailer,
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => PayloadMode::StreamingUnsignedTrailer,
            hash if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                PayloadMode::Sha256(hash.to_owned())
            }
            other => PayloadMode::Other(other.to_owned()),
        }
    }

    /// The value as sent; empty if absent.
    pub fn as_str(&self) -> &str {
        match self {
            PayloadMode::Absent => "",
            PayloadMode::Sha256(text) | PayloadMode::Other(text) => text,
            PayloadMode::Unsigned => "UNSIGNED-PAYLOAD",
            PayloadMode::StreamingSigned => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            PayloadMode::StreamingSignedTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            PayloadMode::StreamingUnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
    }

    pub fn is_streaming(&self) -> bool {
        self.as_str().starts_with("STREAMING-")
    }
}

/// A request's claim: who signed what, when, and with which result.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    pub form: Form,
    pub access_key: String,
    pub scope: Scope,
    /// When the request says it was made.
    pub time: Timestamp,
    /// The same in basic form, as it enters the string to sign.
    pub date: String,
    /// The life of a presigned URL, 1..=604_800 s; `None` in header form and where it was left out.
    pub expires: Option<Duration>,
    /// Lowercase, in the order sent.
    pub signed_headers: Vec<String>,
    pub signature: String,
    pub session_token: Option<String>,
    pub payload: PayloadMode,
}

/// Without signature and session token.
impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest")
            .field("form", &self.form)
            .field("access_key", &self.access_key)
            .field("scope", &self.scope)
            .field("date", &self.date)
            .field("expires", &self.expires)
            .field("signed_headers", &self.signed_headers)
            .finish_non_exhaustive()
    }
}

/// Reads the claim from headers or query. `Ok(None)` is an unsigned request.
///
/// # Errors
/// Anything that looks like a signature but cannot be read as Version 4; Versions 2 and 4A by name.
pub fn parse(headers: &HeaderMap, query: &str) -> Result<Option<SignedRequest>, AuthError> {
    let authorization = text_header(headers, AUTHORIZATION);
    let algorithm = query_parameter(query, "X-Amz-Algorithm");
    match (authorization, algorithm) {
        (Some(header), Some(_)) => Err(AuthError::TwoSignatures { header: header.into_owned() }),
        (Some(header), None) => parse_header(headers, &header).map(Some),
        (None, Some(algorithm)) => parse_query(headers, query, &algorithm).map(Some),
        (None, None) => {
            let version_2 = query_parameter(query, "AWSAccessKeyId").is_some()
                && query_parameter(query, "Signature").is_some();
            if version_2 { Err(AuthError::SigV2) } else { Ok(None) }
        }
    }
}

/// The first value of a query parameter, decoded.
pub fn query_parameter(query: &str, name: &str) -> Option<String> {
    if query.is_empty() {
        return None;
    }
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| String::from_utf8_lossy(&percent_decode(value)).into_owned())
}

fn parse_header(headers: &HeaderMap, header: &str) -> Result<SignedRequest, AuthError> {
    let (algorithm, rest) = header.split_once(char::is_whitespace).unwrap_or((header, ""));
    check_algorithm(algorithm, header, Form::Header)?;
    let parts = HeaderParts::read(rest, header)?;
    let date = date_text(headers);
    let mut missing = Vec::new();
    for (name, value) in [
        ("Credential", parts.credential),
        ("Signature", parts.signature),
        ("SignedHeaders", parts.signed_headers),
    ] {
        // An empty list of signed headers is a list; AWS then asks for `Host` in it.
        if value.is_none_or(|value| value.is_empty() && name != "SignedHeaders") {
            missing.push(name);
        }
    }
    if !missing.is_empty() || date.is_none() {
        return Err(AuthError::IncompleteHeader {
            missing,
            no_date: date.is_none(),
            components: parts.count,
            header: header.to_owned(),
        });
    }
    let (date, time) = parse_date(&date.unwrap_or_default(), Form::Header)?;
    let (access_key, scope) = parse_credential(parts.credential.unwrap_or_default(), Form::Header)?;
    Ok(SignedRequest {
        form: Form::Header,
        access_key,
        scope,
        time,
        date,
        expires: None,
        signed_headers: header_names(parts.signed_headers.unwrap_or_default()),
        signature: parts.signature.unwrap_or_default().to_owned(),
        session_token: text_header(headers, &SECURITY_TOKEN).map(Cow::into_owned),
        payload: payload_mode(headers),
    })
}

fn parse_query(headers: &HeaderMap, query: &str, algorithm: &str) -> Result<SignedRequest, AuthError> {
    const REQUIRED: [&str; 4] = ["X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"];
    let mut missing: Vec<&'static str> = if algorithm.is_empty() { vec!["X-Amz-Algorithm"] } else { vec![] };
    let mut values = REQUIRED.map(|name| match query_parameter(query, name) {
        Some(value) if !value.is_empty() => value,
        _ => {
            missing.push(name);
            String::new()
        }
    });
    if !missing.is_empty() {
        return Err(AuthError::IncompleteQuery { missing });
    }
    check_algorithm(algorithm, algorithm, Form::Query)?;
    let [credential, signature, signed_headers, date] = values.each_mut().map(std::mem::take);
    let (date, time) = parse_date(&date, Form::Query)?;
    let (access_key, scope) = parse_credential(&credential, Form::Query)?;
    let payload = match query_parameter(query, "X-Amz-Content-Sha256") {
        Some(text) => PayloadMode::parse(&text),
        None => payload_mode(headers),
    };
    Ok(SignedRequest {
        form: Form::Query,
        access_key,
        scope,
        time,
        date,
        expires: query_parameter(query, "X-Amz-Expires").map(|text| parse_expires(&text)).transpose()?,
        signed_headers: header_names(&signed_headers),
        signature,
        session_token: query_parameter(query, "X-Amz-Security-Token")
            .or_else(|| text_header(headers, &SECURITY_TOKEN).map(Cow::into_owned)),
        payload,
    })
}

fn check_algorithm(algorithm: &str, header: &str, form: Form) -> Result<(), AuthError> {
    match algorithm {
        ALGORITHM => Ok(()),
        ALGORITHM_V4A => Err(AuthError::SigV4a { form }),
        "AWS" => Err(AuthError::SigV2),
        other if other.starts_with("AWS4-") || form == Form::Query => {
            Err(AuthError::UnsupportedAlgorithm { algorithm: other.to_owned(), form })
        }
        _ => Err(AuthError::UnknownScheme { header: header.to_owned() }),
    }
}

#[derive(Default)]
struct HeaderParts<'a> {
    credential: Option<&'a str>,
    signed_headers: Option<&'a str>,
    signature: Option<&'a str>,
    count: usize,
}

impl<'a> HeaderParts<'a> {
    /// `key=value` pairs parted by commas, white space, or both.
    fn read(rest: &'a str, header: &str) -> Result<HeaderParts<'a>, AuthError> {
        let mut parts = HeaderParts::default();
        for part in words(rest) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(AuthError::NotKeyValue { part: part.to_owned(), header: header.to_owned() });
            };
            parts.count += 1;
            match name {
                "Credential" => parts.credential = Some(value),
                "SignedHeaders" => parts.signed_headers = Some(value),
                "Signature" => parts.signature = Some(value),
                _ => {}
            }
        }
        Ok(parts)
    }
}

/// What commas, spaces and tabs part. By bytes: a signed request spends much of its way to here.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let end = rest.bytes().position(|byte| matches!(byte, b',' | b' ' | b'\t'));
            let (word, tail) = match end {
                Some(end) => (&rest[..end], &rest[end + 1..]),
                None if rest.is_empty() => return None,
                None => (rest, ""),
            };
            rest = tail;
            if !word.is_empty() {
                return Some(word);
            }
        }
    })
}

/// `AKID/date/region/service/aws4_request`; the access key may itself hold slashes.
pub(crate) fn parse_credential(text: &str, form: Form) -> Result<(String, Scope), AuthError> {
    let mut access_key = text.trim_end_matches('/');
    let mut last = || {
        let slash = access_key.bytes().rposition(|byte| byte == b'/')?;
        let part = &access_key[slash + 1..];
        access_key = &access_key[..slash];
        Some(part)
    };
    let [Some(terminator), Some(service), Some(region), Some(date)] = [last(), last(), last(), last()] else {
        return Err(AuthError::MalformedCredential { credential: text.to_owned(), form });
    };
    if access_key.is_empty() {
        return Err(AuthError::MalformedCredential { credential: text.to_owned(), form });
    }
    if date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AuthError::MalformedScopeDate { date: date.to_owned(), form });
    }
    let scope = Scope {
        date: date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        terminator: terminator.to_owned(),
    };
    Ok((access_key.to_owned(), scope))
}

fn parse_expires(text: &str) -> Result<Duration, AuthError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(AuthError::ExpiresNotANumber { text: text.to_owned() });
    }
    if digits.len() < text.len() {
        return Err(AuthError::ExpiresNegative { text: text.to_owned() });
    }
    match digits.parse::<u64>() {
        Ok(seconds) if seconds <= MAX_EXPIRES_SECONDS => Ok(Duration::from_secs(seconds)),
        _ => Err(AuthError::ExpiresTooLong { text: text.to_owned() }),
    }
}

fn date_text(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    text_header(headers, &AMZ_DATE).or_else(|| text_header(headers, DATE))
}

fn parse_date(text: &str, form: Form) -> Result<(String, Timestamp), AuthError> {
    if let Some(time) = Timestamp::parse_basic(text) {
        return Ok((text.to_owned(), time));
    }
    match parse_http_date(text) {
        Some(time) if form == Form::Header => Ok((time.to_basic(), time)),
        _ => Err(AuthError::MalformedDate { text: text.to_owned(), form }),
    }
}

/// `Sun, 30 Aug 2015 12:36:00 GMT`.
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(',')?.1.split_ascii_whitespace();
    let day = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u32 + 1;
    let year = words.next()?.parse().ok()?;
    let mut clock = words.next()?.splitn(3, ':').map(|part| part.parse::<u32>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    match words.next()? {
        "GMT" | "UTC" | "+0000" => Timestamp::from_civil(year, month, day, hour, minute, second),
        _ => None,
    }
}

fn header_names(list: &str) -> Vec<String> {
    let names = list.split(';').filter(|name| !name.is_empty());
    let mut names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    names.iter_mut().for_each(|name| name.make_ascii_lowercase());
    names
}

fn payload_mode(headers: &HeaderMap) -> PayloadMode {
    match text_header(headers, &CONTENT_SHA256) {
        Some(text) => PayloadMode::parse(&text),
        None => PayloadMode::Absent,
    }
}

fn text_header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, str>> {
    let value = headers.get(name)?;
    Some(match value.to_str() {
        Ok(text) => Cow::Borrowed(text.trim()),
        Err(_) => Cow::Owned(String::from_utf8_lossy(value.as_bytes()).trim().to_owned()),
    })
}
