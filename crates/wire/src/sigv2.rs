//! Signature Version 2 of S3: what older clients, and the AWS SDK for Python when it presigns for us-east-1, still send.
//!
//! Source: Amazon S3 User Guide, "Signing and authenticating REST requests (AWS signature version 2)".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use pileus_core::Timestamp;
use ring::hmac;

use crate::sigv4::{Form, RequestView, percent_decode, query_parameter};

/// Parameters that are part of what is signed.
const SIGNED_PARAMETERS: [&str; 38] = [
    "accelerate",
    "acl",
    "analytics",
    "cors",
    "defaultObjectAcl",
    "delete",
    "encryption",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "retention",
    "select",
    "select-type",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];

/// Who claims to have signed. Nothing here is proved yet.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// `Header`, or `Query` for a presigned URL.
    pub form: Form,
    pub access_key: String,
    /// In base64.
    pub signature: String,
    pub session_token: Option<String>,
    /// When a presigned URL ends; when a request with a header was made.
    pub time: Timestamp,
}

/// Reads the claim. `None` for what is no signature of this version, or cannot be read.
pub fn parse(headers: &HeaderMap, query: &str) -> Option<SignedRequest> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let token = |name: &str| text(name).map(str::to_owned);
    if let Some(access_key) = query_parameter(query, "AWSAccessKeyId") {
        return Some(SignedRequest {
            form: Form::Query,
            access_key,
            signature: query_parameter(query, "Signature")?,
            session_token: query_parameter(query, "x-amz-security-token")
                .or_else(|| token("x-amz-security-token")),
            time: Timestamp::from_secs(query_parameter(query, "Expires")?.parse().ok()?),
        });
    }
    let (access_key, signature) = text("authorization")?.strip_prefix("AWS ")?.split_once(':')?;
    let date = text("x-amz-date").or_else(|| text("date"))?;
    Some(SignedRequest {
        form: Form::Header,
        access_key: access_key.to_owned(),
        signature: signature.to_owned(),
        session_token: token("x-amz-security-token"),
        time: crate::sigv4::parse_http_date(date)?,
    })
}

impl SignedRequest {
    /// What has to be signed. `bucket` is the one that the host names.
    pub fn string_to_sign(&self, request: &RequestView<'_>, bucket: Option<&str>) -> String {
        let header = |name: &str| {
            let value = request.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            value.unwrap_or_default().trim().to_owned()
        };
        let date = match self.form {
            Form::Header if request.headers.contains_key("x-amz-date") => String::new(),
            Form::Header => header("date"),
            Form::Query | Form::Post => query_parameter(request.query, "Expires").unwrap_or_default(),
        };
        let mut text =
            format!("{}\n{}\n{}\n{date}\n", request.method, header("content-md5"), header("content-type"));
        let mut names: Vec<&str> = request
            .headers
            .keys()
            .map(|name| name.as_str())
            .filter(|name| name.starts_with("x-amz-"))
            .collect();
        names.sort_unstable();
        for name in names {
            let values: Vec<String> = request
                .headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
                .collect();
            text += &format!("{name}:{}\n", values.join(","));
        }
        if let Some(bucket) = bucket {
            text += &format!("/{bucket}");
        }
        text += if request.path.is_empty() { "/" } else { request.path };
        let mut parameters: Vec<String> = request.query.split('&').filter_map(signed_parameter).collect();
        parameters.sort_unstable();
        if !parameters.is_empty() {
            text += &format!("?{}", parameters.join("&"));
        }
        text
    }

    /// Whether the secret signed the text.
    pub fn verifies(&self, secret: &str, text: &str) -> bool {
        verifies(secret, text, &self.signature)
    }
}

/// Whether the secret signed the text; of a POST form, the text is its policy in base64.
pub fn verifies(secret: &str, text: &str, signature: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    STANDARD.decode(signature).is_ok_and(|tag| hmac::verify(&key, text.as_bytes(), &tag).is_ok())
}

fn signed_parameter(pair: &str) -> Option<String> {
    let (name, value) = match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    };
    let is_signed = SIGNED_PARAMETERS.contains(&name) || name == "x-amz-security-token";
    is_signed.then(|| match value {
        Some(value) if !value.is_empty() => {
            format!("{name}={}", String::from_utf8_lossy(&percent_decode(value)))
        }
        _ => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{HeaderName, HeaderValue};

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    /// Source: Amazon S3 User Guide, "Signing and authenticating REST requests (AWS signature version 2)", the examples.
    #[test]
    fn the_examples_of_the_guide() {
        let cases = [
            (
                "GET",
                "/photos/puppy.jpg",
                "",
                vec![("date", "Tue, 27 Mar 2007 19:36:42 +0000")],
                "qgk2+6Sv9/oM7G3qLEjTH1a1l1g=",
            ),
            (
                "PUT",
                "/photos/puppy.jpg",
                "",
                vec![
                    ("content-type", "image/jpeg"),
                    ("content-length", "94328"),
                    ("date", "Tue, 27 Mar 2007 21:15:45 +0000"),
                ],
                "iqRzw+ileNPu1fhspnRs8nOjjIA=",
            ),
            (
                "GET",
                "/",
                "prefix=photos&max-keys=50&marker=puppy",
                vec![("date", "Tue, 27 Mar 2007 19:42:41 +0000")],
                "m0WP8eCtspQl5Ahe6L1SozdX9YA=",
            ),
            (
                "GET",
                "/",
                "acl",
                vec![("date", "Tue, 27 Mar 2007 19:44:46 +0000")],
                "82ZHiFIjc+WbcwFKGUVEQspPn+0=",
            ),
        ];
        for (method, path, query, headers, signature) in cases {
            let mut map: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let authorization = format!("AWS AKIAIOSFODNN7EXAMPLE:{signature}");
            map.insert("authorization", HeaderValue::from_str(&authorization).expect("a header"));
            let signed = parse(&map, query).expect("a claim");
            let view = RequestView { method, path, query, headers: &map, authority: None };
            let text = signed.string_to_sign(&view, Some("awsexamplebucket1"));
            assert!(signed.verifies(SECRET, &text), "{text}");
            assert!(!signed.verifies("other", &text));
        }
    }

    #[test]
    fn a_presigned_url_is_read() {
        let query = "AWSAccessKeyId=AK&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D&Expires=1141889120";
        let signed = parse(&HeaderMap::new(), query).expect("a claim");
        assert_eq!((signed.access_key.as_str(), signed.time), ("AK", Timestamp::from_secs(1_141_889_120)));
        assert_eq!(signed.signature, "vjbyPxybdZaNmGa+yT272YEAiv4=");
        for bad in ["", "AWSAccessKeyId=AK", "AWSAccessKeyId=AK&Signature=x&Expires=soon"] {
            assert!(parse(&HeaderMap::new(), bad).is_none(), "{bad}");
        }
    }
}
