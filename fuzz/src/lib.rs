//! What the fuzz targets share: how a request is made of bytes.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use pileus_wire::schema::Service;

/// The first byte chooses a service that speaks what the target reads.
pub fn service<'a>(bytes: &'a [u8], speaks: fn(&Service) -> bool) -> Option<(&'static Service, &'a [u8])> {
    let (choice, rest) = bytes.split_first()?;
    let services: Vec<&'static Service> =
        pileus_models::all().iter().map(|entry| entry.service()).filter(|service| speaks(service)).collect();
    Some((services.get(usize::from(*choice) % services.len())?, rest))
}

/// A request as text: a line with method and URI, lines with headers, an empty line, the body.
pub struct Lines<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub headers: HeaderMap,
    pub body: &'a [u8],
}

impl<'a> Lines<'a> {
    pub fn of(bytes: &'a [u8]) -> Option<Lines<'a>> {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n");
        let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
        let mut lines = std::str::from_utf8(head).ok()?.lines();
        let (method, uri) = lines.next()?.split_once(' ')?;
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let (name, value) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.trim()));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        path.starts_with('/').then_some(Lines { method, path, query, headers, body })
    }
}
