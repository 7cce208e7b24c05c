//! Cross-origin requests: which rule of a bucket answers one, and with which headers. Pure.
//!
//! A rule answers when its origin, its method and, of a preflight, each of the headers that the browser wants to send fit. The first
//! rule that does is used. A `*` in a rule's origin or header stands for any text; it may occur once.
//!
//! Source: Amazon S3 User Guide, "Using cross-origin resource sharing (CORS)", "Elements of a CORS configuration". Recorded: the
//! sentences and the order of the headers.

use pileus_api_s3::CORSRule;

/// What a browser asks, before or with the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question<'a> {
    pub origin: &'a str,
    /// The method of the request itself, or `Access-Control-Request-Method` of a preflight.
    pub method: &'a str,
    /// `Access-Control-Request-Headers`; empty for an actual request.
    pub headers: &'a str,
}

/// The headers of an answer.
pub type Headers = Vec<(&'static str, String)>;

const VARY: &str = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";

/// A bucket without rules; also the answer for a bucket that is not there is the second one.
pub const NOT_ENABLED: &str = "CORSResponse: CORS is not enabled for this bucket.";
pub const NO_BUCKET: &str = "CORSResponse: Bucket not found";
pub const NOT_ALLOWED: &str = "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.";
pub const NO_ORIGIN: &str = "Insufficient information. Origin request header needed.";

/// What a preflight without a method, or with one that no rule can name, is told.
pub fn bad_method(method: Option<&str>) -> String {
    format!("Invalid Access-Control-Request-Method: {}", method.unwrap_or("null"))
}

/// The headers that let a browser go on; `None` if no rule does. For a preflight `headers` are those that it names; for an actual
/// request they are empty, and the answer lacks what only a preflight is told.
pub fn answer(rules: &[CORSRule], question: Question<'_>, is_preflight: bool) -> Option<Headers> {
    let (rule, origin) = rules.iter().find_map(|rule| fits(rule, question).map(|origin| (rule, origin)))?;
    let mut headers: Headers = vec![];
    let is_any = origin == "*";
    headers.push((
        "access-control-allow-origin",
        if is_any { "*".to_owned() } else { question.origin.to_owned() },
    ));
    let list = |values: &Option<Vec<String>>| values.as_deref().unwrap_or_default().join(", ");
    headers.push(("access-control-allow-methods", list(&rule.allowed_methods)));
    if is_preflight && names(question.headers).next().is_some() {
        let wanted: Vec<_> = names(question.headers).map(str::to_ascii_lowercase).collect();
        headers.push(("access-control-allow-headers", wanted.join(", ")));
    }
    if rule.expose_headers.as_ref().is_some_and(|exposed| !exposed.is_empty()) {
        headers.push(("access-control-expose-headers", list(&rule.expose_headers)));
    }
    if let Some(age) = rule.max_age_seconds {
        headers.push(("access-control-max-age", age.to_string()));
    }
    if !is_any {
        headers.push(("access-control-allow-credentials", "true".to_owned()));
    }
    headers.push(("vary", VARY.to_owned()));
    Some(headers)
}

/// The allowed origin of the rule that fits.
fn fits<'r>(rule: &'r CORSRule, question: Question<'_>) -> Option<&'r str> {
    let origins = rule.allowed_origins.as_deref().unwrap_or_default();
    let origin = origins.iter().find(|allowed| matches(allowed, question.origin))?;
    rule.allowed_methods.as_deref()?.iter().find(|method| *method == question.method)?;
    let allowed = rule.allowed_headers.as_deref().unwrap_or_default();
    let may = |name: &str| {
        let name = name.to_ascii_lowercase();
        allowed.iter().any(|allowed| matches(&allowed.to_ascii_lowercase(), &name))
    };
    names(question.headers).all(may).then_some(origin)
}

fn names(headers: &str) -> impl Iterator<Item = &str> {
    headers.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Whether `text` fits `pattern`, in which one `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => {
            text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
        None => pattern == text,
    }
}

/// Why a configuration is refused: code and sentence.
///
/// # Errors
/// `InvalidRequest`, `MalformedXML`
pub fn check(rules: &[CORSRule]) -> Result<(), (&'static str, String)> {
    if rules.is_empty() || rules.len() > 100 {
        return Err(("MalformedXML", crate::config::MALFORMED_XML.to_owned()));
    }
    for rule in rules {
        let methods = rule.allowed_methods.as_deref().unwrap_or_default();
        let origins = rule.allowed_origins.as_deref().unwrap_or_default();
        if methods.is_empty() || origins.is_empty() || rule.id.as_ref().is_some_and(|id| id.len() > 255) {
            return Err(("MalformedXML", crate::config::MALFORMED_XML.to_owned()));
        }
        if let Some(method) =
            methods.iter().find(|method| !["GET", "PUT", "HEAD", "POST", "DELETE"].contains(&method.as_str()))
        {
            return Err((
                "InvalidRequest",
                format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}"),
            ));
        }
        let stars = |text: &&String| text.matches('*').count() > 1;
        if let Some(origin) = origins.iter().find(stars) {
            return Err((
                "InvalidRequest",
                format!("AllowedOrigin \"{origin}\" can not have more than one wildcard."),
            ));
        }
        if let Some(header) = rule.allowed_headers.as_deref().unwrap_or_default().iter().find(stars) {
            return Err((
                "InvalidRequest",
                format!("AllowedHeader \"{header}\" can not have more than one wildcard."),
            ));
        }
        if let Some(header) =
            rule.expose_headers.as_deref().unwrap_or_default().iter().find(|h| h.contains('*'))
        {
            return Err((
                "InvalidRequest",
                format!(
                    "ExposeHeader \"{header}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CORSRule {
        let list = |values: &[&str]| Some(values.iter().map(|v| (*v).to_owned()).collect());
        CORSRule {
            allowed_origins: list(origins),
            allowed_methods: list(methods),
            allowed_headers: list(headers),
            expose_headers: Some(vec!["ETag".to_owned()]),
            max_age_seconds: Some(3_000),
            ..CORSRule::default()
        }
    }

    #[test]
    fn the_first_rule_that_fits_answers() {
        let rules = [
            rule(&["https://*.example.com"], &["GET", "PUT"], &["x-amz-*", "Content-Type"]),
            rule(&["*"], &["GET"], &[]),
        ];
        let cases = [
            // origin, method, headers, expected allowed origin
            ("https://www.example.com", "PUT", "x-amz-date, content-type", Some("https://www.example.com")),
            ("https://www.example.com", "PUT", "authorization", None),
            ("https://www.example.com", "GET", "", Some("https://www.example.com")),
            ("http://other.org", "GET", "", Some("*")),
            ("http://other.org", "GET", "x-a", None),
            ("http://other.org", "PUT", "", None),
            ("https://.example.co", "PUT", "", None),
        ];
        for (origin, method, headers, expected) in cases {
            let got = answer(&rules, Question { origin, method, headers }, true);
            let allowed = got.as_ref().map(|headers| headers[0].1.as_str());
            assert_eq!(allowed, expected, "{origin} {method} {headers}");
        }
    }

    #[test]
    fn credentials_go_only_to_origins_that_are_named() {
        let named = [rule(&["http://a"], &["GET"], &["*"])];
        let question = Question { origin: "http://a", method: "GET", headers: "X-One" };
        let got = answer(&named, question, true).expect("it fits");
        let expected = [
            ("access-control-allow-origin", "http://a"),
            ("access-control-allow-methods", "GET"),
            ("access-control-allow-headers", "x-one"),
            ("access-control-expose-headers", "ETag"),
            ("access-control-max-age", "3000"),
            ("access-control-allow-credentials", "true"),
            ("vary", VARY),
        ];
        assert_eq!(got.iter().map(|(n, v)| (*n, v.as_str())).collect::<Vec<_>>(), expected);
        let any = [rule(&["*"], &["GET"], &["*"])];
        let got = answer(&any, question, false).expect("it fits");
        assert!(
            got.iter().all(|(name, _)| !name.ends_with("credentials") && !name.ends_with("allow-headers"))
        );
    }

    #[test]
    fn rules_that_mean_nothing_are_refused() {
        let cases = [
            ("none", vec![], "MalformedXML"),
            ("no method", vec![rule(&["*"], &[], &[])], "MalformedXML"),
            ("a method that is none", vec![rule(&["*"], &["PATCH"], &[])], "InvalidRequest"),
            ("two stars", vec![rule(&["http://*.*"], &["GET"], &[])], "InvalidRequest"),
            ("two stars in a header", vec![rule(&["*"], &["GET"], &["*x*"])], "InvalidRequest"),
        ];
        for (name, rules, code) in cases {
            assert_eq!(check(&rules).map_err(|(code, _)| code), Err(code), "{name}");
        }
        assert!(check(&[rule(&["*"], &["GET", "DELETE"], &["*"])]).is_ok());
    }
}
