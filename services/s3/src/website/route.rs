//! Where a request to a website leads: index documents, redirects, error documents. Pure.
//!
//! Source: Amazon S3 User Guide, "Configuring an index document", "(Optional) Configuring a webpage redirect", "Configuring a custom
//! error document".

use std::fmt::Write as _;

use pileus_api_s3::{Redirect, RedirectAllRequestsTo, RoutingRule, WebsiteConfiguration};

/// A redirect: status and `Location`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    pub status: u16,
    pub location: String,
}

/// Where the request came from, for redirects that keep part of it.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// `http` or `https`
    pub scheme: &'a str,
    /// With the port, if the client named one.
    pub host: &'a str,
}

/// A redirect that applies before the object is looked for.
pub fn before(site: &WebsiteConfiguration, here: Here<'_>, key: &str) -> Option<Elsewhere> {
    if let Some(all) = &site.redirect_all_requests_to {
        return Some(redirect_all(all, here, key));
    }
    let fits = |rule: &&RoutingRule| {
        let condition = rule.condition.as_ref();
        condition.is_none_or(|condition| condition.http_error_code_returned_equals.is_none())
            && has_prefix(rule, key)
    };
    let rule = site.routing_rules.as_deref()?.iter().find(fits)?;
    Some(redirect(rule, here, key))
}

/// A redirect that applies because the request would else end with this error.
pub fn on_error(site: &WebsiteConfiguration, here: Here<'_>, key: &str, status: u16) -> Option<Elsewhere> {
    let code = status.to_string();
    let fits = |rule: &&RoutingRule| {
        let condition = rule.condition.as_ref();
        condition.and_then(|c| c.http_error_code_returned_equals.as_deref()) == Some(&code)
            && has_prefix(rule, key)
    };
    let rule = site.routing_rules.as_deref()?.iter().find(fits)?;
    Some(redirect(rule, here, key))
}

/// The object that a path means: a folder means its index document.
pub fn object_key(site: &WebsiteConfiguration, path_key: &str) -> String {
    if path_key.is_empty() || path_key.ends_with('/') {
        return format!("{path_key}{}", suffix(site));
    }
    path_key.to_owned()
}

/// The index document that would stand under a key that has no object itself.
pub fn folder_index(site: &WebsiteConfiguration, path_key: &str) -> Option<String> {
    let is_folder = path_key.is_empty() || path_key.ends_with('/');
    (!is_folder).then(|| format!("{path_key}/{}", suffix(site)))
}

fn suffix(site: &WebsiteConfiguration) -> &str {
    site.index_document.as_ref().and_then(|index| index.suffix.as_deref()).unwrap_or_default()
}

pub fn error_key(site: &WebsiteConfiguration) -> Option<&str> {
    site.error_document.as_ref().and_then(|document| document.key.as_deref())
}

fn has_prefix(rule: &RoutingRule, key: &str) -> bool {
    let prefix = rule.condition.as_ref().and_then(|condition| condition.key_prefix_equals.as_deref());
    key.starts_with(prefix.unwrap_or_default())
}

fn redirect_all(all: &RedirectAllRequestsTo, here: Here<'_>, key: &str) -> Elsewhere {
    let scheme = all.protocol.as_deref().unwrap_or(here.scheme);
    let host = all.host_name.as_deref().unwrap_or(here.host);
    // Recorded: clients keep paths in the target's host name (`example.com/docs`).
    Elsewhere { status: 301, location: format!("{scheme}://{host}/{}", escape(key)) }
}

fn redirect(rule: &RoutingRule, here: Here<'_>, key: &str) -> Elsewhere {
    let none = Redirect::default();
    let to = rule.redirect.as_ref().unwrap_or(&none);
    let prefix = rule.condition.as_ref().and_then(|condition| condition.key_prefix_equals.as_deref());
    let target = match (&to.replace_key_with, &to.replace_key_prefix_with) {
        (Some(key), _) => key.clone(),
        (None, Some(with)) => {
            let rest = key.strip_prefix(prefix.unwrap_or_default()).unwrap_or(key);
            format!("{with}{rest}")
        }
        (None, None) => key.to_owned(),
    };
    let status = to.http_redirect_code.as_deref().and_then(|code| code.parse().ok()).unwrap_or(301);
    let scheme = to.protocol.as_deref().unwrap_or(here.scheme);
    let host = to.host_name.as_deref().unwrap_or(here.host);
    Elsewhere { status, location: format!("{scheme}://{host}/{}", escape(&target)) }
}

/// Percent-encodes what may not stand in a URL's path; what may is kept, `/` too.
fn escape(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
            | b',' | b';' | b'=' | b':' | b'@' | b'#' | b'?' => out.push(char::from(byte)),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

/// Why a configuration is refused: code and sentence.
///
/// # Errors
/// `InvalidArgument`, `InvalidRequest`, `MalformedXML`
pub fn check(site: &WebsiteConfiguration) -> Result<(), (&'static str, String)> {
    let protocol = |given: &Option<String>| {
        match given.as_deref() {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err((
            "InvalidRequest",
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically.".to_owned(),
        )),
    }
    };
    if let Some(all) = &site.redirect_all_requests_to {
        if site.index_document.is_some() || site.error_document.is_some() || site.routing_rules.is_some() {
            return Err(("MalformedXML", crate::config::MALFORMED_XML.to_owned()));
        }
        if all.host_name.as_deref().unwrap_or_default().is_empty() {
            return Err(("MalformedXML", crate::config::MALFORMED_XML.to_owned()));
        }
        return protocol(&all.protocol);
    }
    let Some(index) = &site.index_document else {
        return Err((
            "InvalidArgument",
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty".to_owned(),
        ));
    };
    let suffix = index.suffix.as_deref().unwrap_or_default();
    if suffix.is_empty() || suffix.contains('/') {
        return Err(("InvalidArgument", "The IndexDocument Suffix is not well formed".to_owned()));
    }
    if site.error_document.as_ref().is_some_and(|d| d.key.as_deref().unwrap_or_default().is_empty()) {
        return Err(("InvalidArgument", "The ErrorDocument Key is not well formed".to_owned()));
    }
    let rules = site.routing_rules.as_deref().unwrap_or_default();
    if rules.len() > 50 {
        return Err((
            "InvalidRequest",
            format!(
                "{} routing rules provided, the number of routing rules in a website configuration is limited to 50.",
                rules.len()
            ),
        ));
    }
    for rule in rules {
        let Some(to) = &rule.redirect else {
            return Err(("MalformedXML", crate::config::MALFORMED_XML.to_owned()));
        };
        protocol(&to.protocol)?;
        if to.replace_key_with.is_some() && to.replace_key_prefix_with.is_some() {
            return Err((
                "InvalidRequest",
                "You can only define ReplaceKeyPrefix or ReplaceKey but not both.".to_owned(),
            ));
        }
        if let Some(code) = &to.http_redirect_code
            && !["301", "302", "303", "304", "305", "307", "308"].contains(&code.as_str())
        {
            return Err((
                "InvalidRequest",
                format!(
                    "The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300."
                ),
            ));
        }
        if let Some(condition) = &rule.condition {
            if condition.key_prefix_equals.is_none() && condition.http_error_code_returned_equals.is_none() {
                return Err((
                    "InvalidRequest",
                    "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.".to_owned(),
                ));
            }
            if let Some(code) = &condition.http_error_code_returned_equals
                && !(code.len() == 3 && (code.starts_with('4') || code.starts_with('5')))
            {
                return Err((
                    "InvalidRequest",
                    format!(
                        "The provided HTTP error code ({code}) is not valid. Valid codes are 4XX or 5XX."
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// The page that tells of an error, in AWS's form.
///
/// Recorded: its lines.
pub fn error_page(
    status: u16,
    reason: &str,
    facts: &[(&str, &str)],
    custom_fault: Option<&[(&str, &str)]>,
) -> String {
    let list = |facts: &[(&str, &str)]| {
        facts.iter().fold(String::new(), |mut out, (name, value)| {
            let _ = writeln!(out, "<li>{name}: {}</li>", text(value));
            out
        })
    };
    let mut page = format!(
        "<html>\n<head><title>{status} {reason}</title></head>\n<body>\n<h1>{status} {reason}</h1>\n<ul>\n{}</ul>\n",
        list(facts)
    );
    if let Some(fault) = custom_fault {
        let _ = write!(
            page,
            "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n<ul>\n{}</ul>\n",
            list(fault)
        );
    }
    page.push_str("<hr/>\n</body>\n</html>\n");
    page
}

fn text(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_api_s3::{Condition, ErrorDocument, IndexDocument};

    const HERE: Here<'_> = Here { scheme: "http", host: "b.s3-website.localhost:4566" };

    fn site(rules: Vec<RoutingRule>) -> WebsiteConfiguration {
        WebsiteConfiguration {
            index_document: Some(IndexDocument { suffix: Some("index.html".into()) }),
            error_document: Some(ErrorDocument { key: Some("404.html".into()) }),
            routing_rules: Some(rules),
            ..WebsiteConfiguration::default()
        }
    }

    fn rule(prefix: Option<&str>, code: Option<&str>, redirect: Redirect) -> RoutingRule {
        let condition = Condition {
            http_error_code_returned_equals: code.map(str::to_owned),
            key_prefix_equals: prefix.map(str::to_owned),
        };
        let has_condition = prefix.is_some() || code.is_some();
        RoutingRule { condition: has_condition.then_some(condition), redirect: Some(redirect) }
    }

    #[test]
    fn folders_mean_their_index_document() {
        let site = site(vec![]);
        let cases = [
            ("", "index.html", None),
            ("docs/", "docs/index.html", None),
            ("docs", "docs", Some("docs/index.html")),
            ("a/b.html", "a/b.html", Some("a/b.html/index.html")),
        ];
        for (path, key, index) in cases {
            assert_eq!(object_key(&site, path), key, "{path}");
            assert_eq!(folder_index(&site, path).as_deref(), index, "{path}");
        }
    }

    #[test]
    fn the_first_rule_whose_condition_holds_redirects() {
        let site = site(vec![
            rule(
                Some("docs/"),
                None,
                Redirect { replace_key_prefix_with: Some("documents/".into()), ..Redirect::default() },
            ),
            rule(
                Some("images/"),
                None,
                Redirect {
                    replace_key_with: Some("gone.html".into()),
                    http_redirect_code: Some("302".into()),
                    ..Redirect::default()
                },
            ),
            rule(
                Some("api/"),
                Some("404"),
                Redirect {
                    host_name: Some("example.com".into()),
                    protocol: Some("https".into()),
                    replace_key_prefix_with: Some("report-404/".into()),
                    ..Redirect::default()
                },
            ),
        ]);
        let cases = [
            ("docs/a b", None, Some((301, "http://b.s3-website.localhost:4566/documents/a%20b"))),
            ("images/x.png", None, Some((302, "http://b.s3-website.localhost:4566/gone.html"))),
            ("api/x", None, None),
            ("api/x", Some(404), Some((301, "https://example.com/report-404/x"))),
            ("api/x", Some(403), None),
            ("other", Some(404), None),
        ];
        for (key, status, expected) in cases {
            let got = match status {
                None => before(&site, HERE, key),
                Some(status) => on_error(&site, HERE, key, status),
            };
            let got = got.as_ref().map(|got| (got.status, got.location.as_str()));
            assert_eq!(got, expected, "{key} {status:?}");
        }
        let all = WebsiteConfiguration {
            redirect_all_requests_to: Some(RedirectAllRequestsTo {
                host_name: Some("example.com".into()),
                protocol: Some("https".into()),
            }),
            ..WebsiteConfiguration::default()
        };
        let got = before(&all, HERE, "a/b").map(|to| to.location);
        assert_eq!(got.as_deref(), Some("https://example.com/a/b"));
    }

    #[test]
    fn configurations_that_mean_nothing_are_refused() {
        let index = |suffix: &str| WebsiteConfiguration {
            index_document: Some(IndexDocument { suffix: Some(suffix.into()) }),
            ..WebsiteConfiguration::default()
        };
        let cases = [
            ("nothing", WebsiteConfiguration::default(), Err("InvalidArgument")),
            ("a slash", index("a/b"), Err("InvalidArgument")),
            ("an empty suffix", index(""), Err("InvalidArgument")),
            ("fine", index("index.html"), Ok(())),
            (
                "both replacements",
                site(vec![rule(
                    None,
                    None,
                    Redirect {
                        replace_key_with: Some("a".into()),
                        replace_key_prefix_with: Some("b".into()),
                        ..Redirect::default()
                    },
                )]),
                Err("InvalidRequest"),
            ),
            (
                "a code that is none",
                site(vec![rule(
                    None,
                    None,
                    Redirect { http_redirect_code: Some("200".into()), ..Redirect::default() },
                )]),
                Err("InvalidRequest"),
            ),
        ];
        for (name, site, expected) in cases {
            assert_eq!(check(&site).map_err(|(code, _)| code), expected, "{name}");
        }
    }

    #[test]
    fn an_error_page_escapes_what_it_shows() {
        let page = error_page(404, "Not Found", &[("Code", "NoSuchKey"), ("Key", "<a>")], None);
        assert!(page.contains("<li>Key: &lt;a&gt;</li>"), "{page}");
        assert!(page.starts_with("<html>\n<head><title>404 Not Found</title></head>"));
    }
}
