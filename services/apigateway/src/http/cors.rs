//! Cross-origin requests, which the gateway answers itself: pure.
//!
//! Source: Developer Guide, "Configure CORS for HTTP APIs in API Gateway".

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::context::text;
use super::rows::Cors;

/// Whether a browser asks whether it may ask.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

const OURS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// Replaces what the integration says by what the configuration says.
pub fn add(cors: &Cors, request: &HeaderMap, is_preflight: bool, headers: &mut HeaderMap) {
    for name in OURS {
        headers.remove(name);
    }
    let Some(origin) = text(request, &header::ORIGIN) else { return };
    let origins = cors.allow_origins.as_deref().unwrap_or_default();
    let all = origins.iter().any(|allowed| allowed == "*");
    if !all && !origins.iter().any(|allowed| matches(allowed, origin)) {
        return;
    }
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    set(header::ACCESS_CONTROL_ALLOW_ORIGIN, if all { "*" } else { origin }.to_owned());
    if !all {
        set(header::VARY, "Origin".to_owned());
    }
    if cors.allow_credentials == Some(true) {
        set(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true".to_owned());
    }
    let list = |values: &Option<Vec<String>>| {
        values.as_ref().filter(|values| !values.is_empty()).map(|values| values.join(","))
    };
    if !is_preflight {
        if let Some(exposed) = list(&cors.expose_headers) {
            set(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        return;
    }
    if let Some(methods) = list(&cors.allow_methods) {
        set(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(allowed) = list(&cors.allow_headers) {
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    if let Some(seconds) = cors.max_age {
        set(header::ACCESS_CONTROL_MAX_AGE, seconds.to_string());
    }
}

/// `https://*.example.com` stands for every host below it; `https://*` for every one of the scheme.
fn matches(allowed: &str, origin: &str) -> bool {
    match allowed.split_once('*') {
        None => allowed.eq_ignore_ascii_case(origin),
        Some((before, after)) => {
            origin.len() >= before.len() + after.len()
                && origin.starts_with(before)
                && origin.ends_with(after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_get_what_the_configuration_says() {
        let cors = |origins: &[&str]| Cors {
            allow_origins: Some(origins.iter().map(|origin| (*origin).to_owned()).collect()),
            allow_methods: Some(vec!["GET".into(), "POST".into()]),
            max_age: Some(5),
            ..Cors::default()
        };
        let cases = [
            (cors(&["*"]), "https://a.example", true, Some("*"), Some("GET,POST")),
            (
                cors(&["https://a.example"]),
                "https://a.example",
                true,
                Some("https://a.example"),
                Some("GET,POST"),
            ),
            (cors(&["https://a.example"]), "https://a.example", false, Some("https://a.example"), None),
            (cors(&["https://*.example"]), "https://b.example", false, Some("https://b.example"), None),
            (cors(&["https://a.example"]), "https://b.example", true, None, None),
        ];
        for (cors, origin, preflight, allowed, methods) in cases {
            let mut request = HeaderMap::new();
            request.insert("origin", HeaderValue::from_static(origin));
            let mut headers = HeaderMap::new();
            headers
                .insert("access-control-allow-origin", HeaderValue::from_static("https://function.example"));
            add(&cors, &request, preflight, &mut headers);
            let get = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(
                (get("access-control-allow-origin"), get("access-control-allow-methods")),
                (allowed, methods)
            );
        }
    }
}
