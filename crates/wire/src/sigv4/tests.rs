//! Published vectors, round trips, and every refusal.
#![allow(clippy::type_complexity, reason = "tables of cases")]

mod vectors;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use pileus_core::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use self::vectors::{VECTORS, Variant};
use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: Timestamp = Timestamp::from_secs(1_440_938_160); // 2015-08-30T12:36:00Z
const CREDENTIALS: Credentials<'static> =
    Credentials { access_key: "AKIDEXAMPLE", secret_key: SECRET, session_token: None };

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn view<'a>(method: &'a str, path: &'a str, query: &'a str, headers: &'a HeaderMap) -> RequestView<'a> {
    RequestView { method, path, query, headers, authority: None }
}

fn context(variant: Variant, token: &str) -> serde_json::Value {
    let mut context = json!({
        "credentials": {"access_key_id": "AKIDEXAMPLE", "secret_access_key": SECRET},
        "service": "service", "region": "us-east-1", "timestamp": "2015-08-30T12:36:00Z",
        "expiration_in_seconds": 3600,
        "normalize": variant != Variant::PathAsItIs,
        "sign_body": variant == Variant::WithBody,
        "omit_session_token": variant == Variant::TokenLater,
    });
    if !token.is_empty() {
        context["credentials"]["token"] = json!(token);
    }
    context
}

#[test]
fn the_published_vectors_sign_to_their_signatures() {
    for (name, variant, token, request, signature, _) in VECTORS {
        let answer = probe(&json!({"request": request, "context": context(*variant, token)})).unwrap();
        assert_eq!(answer["signature"], *signature, "{name}\n{}", answer["canonical"].as_str().unwrap());
    }
}

#[test]
fn the_published_vectors_verify_in_query_form() {
    for (name, variant, token, request, _, signature) in VECTORS {
        // A body would be covered by its digest, which these vectors leave to the header form.
        if *variant == Variant::WithBody {
            continue;
        }
        let mut lines = request.lines();
        let line = lines.next().unwrap();
        let (method, rest) = line.split_once(' ').unwrap();
        let target = rest.rsplit_once(' ').unwrap().0;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        // The folded header is the one that an HTTP parser would hand on as one line.
        let text = request.replace("\n  ", " ").replace("   value3", "value3");
        let pairs: Vec<(&str, &str)> = text.lines().skip(1).filter_map(|line| line.split_once(':')).collect();
        let map = headers(&pairs);
        let mut signing = Signing::new(CREDENTIALS, "us-east-1", "service", NOW);
        signing.path = PathRule { double_encode: false, normalise: *variant != Variant::PathAsItIs };
        signing.credentials.session_token = Some(*token).filter(|token| !token.is_empty());
        signing.omit_session_token = *variant == Variant::TokenLater;
        let url_query = presign(&view(method, path, query, &map), &signing, Duration::from_secs(3_600));
        assert_eq!(url_query.rsplit_once('=').unwrap().1, *signature, "{name}");

        let request = view(method, path, &url_query, &map);
        let signed = parse(&map, &url_query).unwrap().unwrap();
        let rules = Rules { path: signing.path, ..Rules::service("service") };
        assert_eq!(verify(&signed, &request, None, SECRET, NOW, &rules), Ok(()), "{name}");
    }
}

#[test]
fn s3_examples_of_the_documentation_verify() {
    // Source: S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in a Single
    // Chunk", its four examples.
    const DATE: &str = "20130524T000000Z";
    let now = Timestamp::parse_basic(DATE).unwrap();
    let body = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    let scope = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    let cases: [(&str, &str, &str, &str, &[(&str, &str)], &str, &str); 4] = [
        (
            "GET",
            "/test.txt",
            "",
            EMPTY_SHA256,
            &[("range", "bytes=0-9")],
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            "",
            body,
            &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            "lifecycle",
            EMPTY_SHA256,
            &[],
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            "max-keys=2&prefix=J",
            EMPTY_SHA256,
            &[],
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ];
    for (method, path, query, hash, more, signed_headers, signature) in cases {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={signed_headers},Signature={signature}"
        );
        let mut pairs = vec![
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-date", DATE),
            ("x-amz-content-sha256", hash),
            ("authorization", authorization.as_str()),
        ];
        pairs.extend_from_slice(more);
        let map = headers(&pairs);
        let signed = parse(&map, query).unwrap().unwrap();
        let request = view(method, path, query, &map);
        assert_eq!(
            verify(&signed, &request, None, SECRET_S3, now, &Rules::s3()),
            Ok(()),
            "{method} {path}?{query}"
        );
    }
}

const SECRET_S3: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

#[test]
fn the_presigned_example_of_the_documentation_verifies_until_it_expires() {
    // Source: S3 API Reference, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let map = headers(&[("host", "examplebucket.s3.amazonaws.com")]);
    let request = view("GET", "/test.txt", query, &map);
    let signed = parse(&map, query).unwrap().unwrap();
    let start = Timestamp::parse_basic("20130524T000000Z").unwrap();
    let at = |now| verify(&signed, &request, None, SECRET_S3, now, &Rules::s3());
    assert_eq!(at(start), Ok(()));
    assert_eq!(at(start + Duration::from_secs(86_400)), Ok(()));
    let late = at(start + Duration::from_secs(86_401)).unwrap_err().describe(Family::S3);
    assert_eq!((late.code, late.status, late.message.as_str()), ("AccessDenied", 403, "Request has expired"));
    let early = at(start - Duration::from_secs(901)).unwrap_err().describe(Family::S3);
    assert_eq!(early.message, "Request is not valid yet");
}

#[test]
fn nothing_that_is_printed_of_a_claim_or_its_refusal_holds_a_credential() {
    const SECRET_TEXT: &str = "S3cr3t";
    let authorizations = [
        "Bearer S3cr3t".to_owned(),
        "Basic S3cr3t".to_owned(),
        "S3cr3t".to_owned(),
        "AWS AKID:S3cr3t".to_owned(),
        "AWS4-HMAC-SHA256".to_owned() + " S3cr3t",
        "AWS4-HMAC-SHA256 Credential=AKID, SignedHeaders=host, Signature=S3cr3t".to_owned(),
        "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/sqs/aws4_request, Signature=S3cr3t".to_owned(),
        "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=S3cr3t"
            .to_owned(),
    ];
    for authorization in &authorizations {
        let map = headers(&[
            ("host", "h"),
            ("x-amz-date", "20150830T123600Z"),
            ("x-amz-security-token", "S3cr3t"),
            ("authorization", authorization),
        ]);
        let view = RequestView {
            method: "GET",
            path: "/",
            query: "X-Amz-Security-Token=S3cr3t",
            headers: &map,
            authority: None,
        };
        for query in ["", "X-Amz-Algorithm=AWS4-HMAC-SHA256"] {
            let claim = parse(&map, query);
            let told =
                claim.as_ref().err().map(|error| format!("{error} {:?}", error.describe(Family::Query)));
            let printed = format!("{claim:?} {view:?} {told:?}");
            assert!(!printed.contains(SECRET_TEXT), "{printed}");
        }
    }
    let token = || SECRET_TEXT.to_owned();
    let refusals = [
        AuthError::InvalidToken { token: token() },
        AuthError::ExpiredToken { token: token() },
        AuthError::SignatureMismatch {
            access_key: "AKID".to_owned(),
            provided: token(),
            string_to_sign: token(),
            canonical_request: token(),
        },
    ];
    for error in refusals {
        for family in [Family::S3, Family::Query, Family::Json, Family::Rest, Family::QueryCompatible] {
            let printed = format!("{error} {error:?} {:?}", error.describe(family));
            assert!(!printed.contains(SECRET_TEXT), "{printed}");
        }
    }
    let credentials =
        Credentials { access_key: "AKID", secret_key: SECRET_TEXT, session_token: Some(SECRET_TEXT) };
    assert_eq!(format!("{credentials:?}"), "Credentials(AKID)");
}

#[test]
fn what_is_wrong_with_a_claim_is_said_in_the_words_of_the_service() {
    const GOOD: &str = "AWS4-HMAC-SHA256 Credential=AKID/20150830/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=x";
    let cases: [(&str, &str, Family, &str, u16, &str); 14] = [
        (
            "no pair",
            "AWS4-HMAC-SHA256 Credential",
            Family::Json,
            "IncompleteSignatureException",
            400,
            "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): 'KfSoC26UaBDGXxo5AUFS45c1cmAbyLKDOxOTKcZYWt4='.",
        ),
        (
            "nothing",
            "AWS4-HMAC-SHA256",
            Family::Query,
            "IncompleteSignature",
            400,
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. (Hashed with SHA-256 and encoded with Base64) Authorization=YI2YWea8FSxnksZL2ETHbs5elHm9HQufxTLK0W0ffV0=",
        ),
        (
            "nothing on S3",
            "AWS4-HMAC-SHA256",
            Family::S3,
            "AuthorizationHeaderMalformed",
            400,
            "The authorization header is malformed; the authorization header requires three components: Credential, SignedHeaders, and Signature.",
        ),
        (
            "algorithm",
            "AWS4-HMAC-SHA25 a=b",
            Family::Json,
            "IncompleteSignatureException",
            400,
            "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA25' (only AWS4-HMAC-SHA256 for now). ",
        ),
        (
            "version 2",
            "AWS AKID:sig",
            Family::S3,
            "InvalidRequest",
            400,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ),
        (
            "version 4A",
            "AWS4-ECDSA-P256-SHA256 a=b",
            Family::Rest,
            "IncompleteSignatureException",
            403,
            "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now). ",
        ),
        ("bearer", "Bearer x", Family::S3, "InvalidArgument", 400, "Unsupported Authorization Type"),
        (
            "bearer on JSON",
            "Bearer x",
            Family::Json,
            "MissingAuthenticationTokenException",
            400,
            "Request is missing Authentication Token",
        ),
        (
            "short credential",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=x",
            Family::Json,
            "IncompleteSignatureException",
            400,
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c/d'",
        ),
        (
            "short credential on S3",
            "AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=x",
            Family::S3,
            "AuthorizationHeaderMalformed",
            400,
            "The authorization header is malformed; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".",
        ),
        (
            "wrong service",
            GOOD,
            Family::Query,
            "SignatureDoesNotMatch",
            403,
            "Credential should be scoped to correct service: 'sts'. ",
        ),
        (
            "wrong region and service",
            &GOOD.replace("us-east-1", "mars"),
            Family::Json,
            "InvalidSignatureException",
            400,
            "Credential should be scoped to a valid region. Credential should be scoped to correct service: 'sts'. ",
        ),
        (
            "wrong term",
            &GOOD.replace("sqs/aws4", "sts/aws5"),
            Family::Json,
            "InvalidSignatureException",
            400,
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. ",
        ),
        (
            "other day",
            &GOOD.replace("30/us", "29/us").replace("sqs", "sts"),
            Family::Json,
            "InvalidSignatureException",
            400,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != '20150830', from '20150830T123600Z'. ",
        ),
    ];
    for (name, authorization, family, code, status, message) in cases {
        let map =
            headers(&[("host", "h"), ("x-amz-date", "20150830T123600Z"), ("authorization", authorization)]);
        let rules = Rules::service("sts").in_region("us-east-1");
        let error = parse(&map, "")
            .and_then(|signed| check(&signed.unwrap(), &view("GET", "/", "", &map), NOW, &rules))
            .unwrap_err();
        let description = error.describe(family);
        assert_eq!(
            (description.code, description.status, description.message.as_str()),
            (code, status, message),
            "{name}"
        );
    }
}

#[test]
fn an_unsigned_request_claims_nothing() {
    assert_eq!(parse(&headers(&[("host", "h")]), "a=b"), Ok(None));
}

#[test]
fn a_signature_holds_for_fifteen_minutes_either_way() {
    let map = headers(&[("host", "sqs.us-east-1.amazonaws.com")]);
    let request = view("POST", "/", "", &map);
    let signed = sign(&request, &Signing::new(CREDENTIALS, "us-east-1", "sqs", NOW));
    let request = RequestView { headers: &signed.headers, ..request };
    let claim = parse(&signed.headers, "").unwrap().unwrap();
    let cases = [
        (
            -901,
            Some(
                "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)",
            ),
        ),
        (-900, None),
        (0, None),
        (900, None),
        (
            901,
            Some(
                "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)",
            ),
        ),
    ];
    for (seconds, expected) in cases {
        let now = Timestamp::from_secs(NOW.as_secs() + seconds);
        let got = verify(&claim, &request, None, SECRET, now, &Rules::service("sqs"));
        let message = got.err().map(|error| error.describe(Family::Json).message);
        assert_eq!(message.as_deref(), expected, "{seconds} s");
    }
    let error =
        check(&claim, &request, NOW + Duration::from_secs(901), &Rules { service: None, ..Rules::s3() });
    let skewed = error.unwrap_err().describe(Family::S3);
    assert_eq!((skewed.code, skewed.status), ("RequestTimeTooSkewed", 403));
    assert_eq!(
        skewed.extras,
        [
            ("RequestTime", "20150830T123600Z".to_owned()),
            ("ServerTime", "2015-08-30T12:51:01Z".to_owned()),
            ("MaxAllowedSkewMilliseconds", "900000".to_owned())
        ]
    );
}

#[test]
fn s3_lets_no_amz_header_through_unsigned() {
    let map = headers(&[("host", "b.s3.amazonaws.com")]);
    let request = view("PUT", "/k", "", &map);
    let mut signed = sign(&request, &Signing::new(CREDENTIALS, "us-east-1", "s3", NOW));
    signed.headers.insert("x-amz-acl", HeaderValue::from_static("public-read"));
    let claim = parse(&signed.headers, "").unwrap().unwrap();
    let request = RequestView { headers: &signed.headers, ..request };
    let error = verify(&claim, &request, None, SECRET, NOW, &Rules::s3()).unwrap_err().describe(Family::S3);
    assert_eq!(error.extras, [("HeadersNotSigned", "x-amz-acl".to_owned())]);
}

#[test]
fn s3_demands_the_payload_hash_and_compares_it() {
    let map = headers(&[("host", "b.s3.amazonaws.com")]);
    let request = view("PUT", "/k", "", &map);
    let mut signing = Signing::new(CREDENTIALS, "us-east-1", "s3", NOW);
    signing.send_payload_hash = false;
    let check = |signing: &Signing<'_>, body: Option<&str>| {
        let signed = sign(&request, signing);
        let claim = parse(&signed.headers, "").unwrap().unwrap();
        let request = RequestView { headers: &signed.headers, ..request };
        verify(&claim, &request, body, SECRET, NOW, &Rules::s3())
            .map_err(|error| error.describe(Family::S3).code)
    };
    assert_eq!(check(&signing, None), Err("InvalidRequest"));
    signing.send_payload_hash = true;
    signing.payload = PayloadMode::Sha256(sha256_hex(b"one"));
    assert_eq!(check(&signing, Some(&sha256_hex(b"one"))), Ok(()));
    assert_eq!(check(&signing, Some(&sha256_hex(b"two"))), Err("XAmzContentSHA256Mismatch"));
    signing.payload = PayloadMode::Unsigned;
    assert_eq!(check(&signing, Some(&sha256_hex(b"two"))), Ok(()));
    signing.payload = PayloadMode::Other("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD".to_owned());
    assert_eq!(check(&signing, None), Err("InvalidArgument"));
}

#[test]
fn another_body_breaks_the_signature_of_other_services() {
    let map = headers(&[("host", "sqs.us-east-1.amazonaws.com")]);
    let request = view("POST", "/", "", &map);
    let body = sha256_hex(b"one");
    let signing =
        Signing::new(CREDENTIALS, "us-east-1", "sqs", NOW).payload(PayloadMode::Sha256(body.clone()));
    for send in [false, true] {
        let signed = sign(&request, &Signing { send_payload_hash: send, ..signing.clone() });
        let claim = parse(&signed.headers, "").unwrap().unwrap();
        let request = RequestView { headers: &signed.headers, ..request };
        let with = |body: &str| verify(&claim, &request, Some(body), SECRET, NOW, &Rules::service("sqs"));
        assert_eq!(with(&body), Ok(()));
        let error = with(&sha256_hex(b"two")).unwrap_err().describe(Family::Query);
        assert_eq!((error.code, error.status), ("SignatureDoesNotMatch", 403));
    }
}

#[test]
fn the_authority_stands_for_an_absent_host() {
    let map = HeaderMap::new();
    let request =
        RequestView { authority: Some("kinesis.us-east-1.amazonaws.com"), ..view("POST", "/", "", &map) };
    let signed = sign(&request, &Signing::new(CREDENTIALS, "us-east-1", "kinesis", NOW));
    let claim = parse(&signed.headers, "").unwrap().unwrap();
    assert_eq!(claim.signed_headers, ["host", "x-amz-date"]);
    let request = RequestView { headers: &signed.headers, ..request };
    let at = |authority| {
        let request = RequestView { authority: Some(authority), ..request };
        verify(&claim, &request, None, SECRET, NOW, &Rules::service("kinesis")).is_ok()
    };
    assert!(at("kinesis.us-east-1.amazonaws.com"));
    assert!(!at("kinesis.us-west-2.amazonaws.com"));
}

#[test]
fn paths_become_canonical() {
    let cases = [
        ("/test/@connections/JBD%3D", PathRule::STANDARD, "/test/%40connections/JBD%253D"),
        ("/a//b/../c/", PathRule::STANDARD, "/a/c/"),
        ("/../../", PathRule::STANDARD, "/"),
        ("", PathRule::STANDARD, "/"),
        ("/a//b/../c/", PathRule::S3, "/a//b/../c/"),
        ("/a=b%2Fc%zz", PathRule::S3, "/a%3Db%2Fc%25zz"),
    ];
    for (path, rule, expected) in cases {
        assert_eq!(canonical::canonical_path(path, rule, CanonicalForm::Standard), expected, "{path}");
    }
}

#[test]
fn derived_keys_are_remembered_within_bounds() {
    let keys = SigningKeys::new(2);
    let fresh = signing_key(SECRET, "20150830", "us-east-1", "iam").sign(b"x");
    for day in ["20150830", "20150831", "20150901", "20150830"] {
        let key = keys.get(SECRET, day, "us-east-1", "iam");
        assert!(keys.len() <= 2);
        assert_eq!(key.sign(b"x") == fresh, day == "20150830");
    }
    assert_ne!(keys.get("a", "b", "c", "d").sign(b"x"), keys.get("ab", "", "c", "d").sign(b"x"));
}

#[test]
fn http_dates_are_read() {
    assert_eq!(parse::parse_http_date("Sun, 30 Aug 2015 12:36:00 GMT"), Some(NOW));
    for bad in [
        "",
        "Sun",
        "Sun, 30 Aug 2015 12:36 GMT",
        "Sun, 30 Aux 2015 12:36:00 GMT",
        "Sun, 99 Aug 2015 12:36:00 GMT",
    ] {
        assert_eq!(parse::parse_http_date(bad), None, "{bad}");
    }
}

fn any_request() -> impl Strategy<Value = (String, String, String, Vec<(String, String)>, bool)> {
    let header = ("x-[a-z]{1,8}", "[ -~é]{0,20}");
    (
        prop_oneof!["GET", "PUT", "POST", "DELETE"],
        "(/[a-zA-Z0-9%=@:+ ~.$é-]{0,8}){0,4}",
        "([a-zA-Z0-9%+=&~:/é.-]{0,30})",
        proptest::collection::vec(header, 0..4),
        any::<bool>(),
    )
}

proptest! {
    #[test]
    fn what_was_signed_verifies_and_one_changed_bit_does_not(
        (method, path, query, more, s3) in any_request(), bit in 0usize..256, token in proptest::option::of("[a-zA-Z0-9/+=]{1,20}"),
    ) {
        let mut pairs = vec![("host", "example.com")];
        pairs.extend(more.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut map = HeaderMap::new();
        for (name, value) in &pairs {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let service = if s3 { "s3" } else { "sqs" };
        let rules = if s3 { Rules::s3() } else { Rules::service("sqs") };
        let credentials = Credentials { session_token: token.as_deref(), ..CREDENTIALS };
        let signing = Signing::new(credentials, "us-east-1", service, NOW);
        let request = view(&method, &path, &query, &map);

        let signed = sign(&request, &signing);
        let claim = parse(&signed.headers, "").unwrap().unwrap();
        let sent = RequestView { headers: &signed.headers, ..request };
        prop_assert_eq!(verify(&claim, &sent, None, SECRET, NOW, &rules), Ok(()));
        prop_assert_eq!(&claim.session_token, &token);

        let mut bytes = claim.signature.clone().into_bytes();
        bytes[bit / 8 % 64] ^= 1 << (bit % 7);
        let changed = SignedRequest { signature: String::from_utf8_lossy(&bytes).into_owned(), ..claim.clone() };
        prop_assert!(verify(&changed, &sent, None, SECRET, NOW, &rules).is_err());
        let other = format!("{path}x");
        let moved = RequestView { path: &other, ..sent };
        prop_assert!(verify(&claim, &moved, None, SECRET, NOW, &rules).is_err());
        prop_assert!(verify(&claim, &sent, None, "other", NOW, &rules).is_err());

        let link = presign(&request, &signing, Duration::from_secs(60));
        let claim = parse(&map, &link).unwrap().unwrap();
        let sent = RequestView { query: &link, ..request };
        prop_assert_eq!(verify(&claim, &sent, None, SECRET, NOW, &rules), Ok(()));
        let longer = link.replace("X-Amz-Expires=60", "X-Amz-Expires=61");
        let claim = parse(&map, &longer).unwrap().unwrap();
        let stretched = RequestView { query: &longer, ..sent };
        prop_assert!(verify(&claim, &stretched, None, SECRET, NOW, &rules).is_err());
    }

    #[test]
    fn no_header_or_query_panics(header in "\\PC{0,80}", query in "\\PC{0,80}", algorithm in any::<bool>()) {
        let mut map = HeaderMap::new();
        let prefix = if algorithm { "AWS4-HMAC-SHA256 " } else { "" };
        if let Ok(value) = HeaderValue::from_bytes(format!("{prefix}{header}").as_bytes()) {
            map.insert("authorization", value);
        }
        for error in [parse(&map, "").err(), parse(&HeaderMap::new(), &format!("X-Amz-Algorithm={query}")).err()].into_iter().flatten() {
            for family in [Family::S3, Family::Query, Family::Json, Family::Rest, Family::QueryCompatible] {
                prop_assert!(error.describe(family).status >= 400);
            }
        }
    }
}
