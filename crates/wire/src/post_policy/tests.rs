//! The documentation's example, and each way a form can fall short.
#![allow(clippy::type_complexity, reason = "tables of cases")]

use proptest::prelude::*;

use super::*;
use crate::sigv4::signing_key;

const NOW: Timestamp = Timestamp::from_secs(1_451_260_800); // 2015-12-28T00:00:00Z

fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn policy(conditions: &str) -> Result<Policy, PolicyError> {
    let json = format!("{{\"expiration\": \"2015-12-30T12:00:00.000Z\", \"conditions\": {conditions}}}");
    Policy::parse(&STANDARD.encode(json))
}

#[test]
fn the_signed_policy_of_the_documentation_verifies() {
    // Source: S3 API Reference, "Example: Browser-Based Upload using HTTP POST (Using AWS Signature Version 4)".
    let encoded = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
    let fields = form(&[
        ("key", "user/user1/photo.jpg"),
        ("acl", "public-read"),
        ("success_action_redirect", "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"),
        ("Content-Type", "image/jpeg"),
        ("x-amz-meta-uuid", "14365123651274"),
        ("x-amz-server-side-encryption", "AES256"),
        ("X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Date", "20151229T000000Z"),
        ("x-amz-meta-tag", ""),
        ("Policy", encoded),
        ("X-Amz-Signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"),
    ]);
    let signed = claim(&fields).unwrap().unwrap();
    assert_eq!(signed.access_key, "AKIAIOSFODNN7EXAMPLE");
    let key = |secret| signing_key(secret, "20151229", "us-east-1", "s3");
    assert_eq!(signed.verify(&key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")), Ok(()));
    assert_eq!(signed.verify(&key("other")).unwrap_err().describe().code, "SignatureDoesNotMatch");
    assert_eq!(signed.check_scope(&Rules::s3().in_region("us-east-1")), Ok(()));
    let elsewhere = signed.check_scope(&Rules::s3().in_region("eu-west-1")).unwrap_err().describe();
    assert_eq!(elsewhere.code, "InvalidArgument");
    let policy = Policy::parse(&signed.policy).unwrap();
    assert_eq!(policy.evaluate(&fields, "sigv4examplebucket", NOW), Ok(()));
    assert_eq!(
        policy.evaluate(&fields, "other", NOW).unwrap_err().describe().message,
        "Invalid according to Policy: Policy Condition failed: [\"eq\", \"$bucket\", \"sigv4examplebucket\"]"
    );
    let after = NOW + std::time::Duration::from_secs(3 * 86_400);
    assert_eq!(policy.evaluate(&fields, "sigv4examplebucket", after), Err(PolicyError::Expired));
}

#[test]
fn fields_are_held_against_the_conditions() {
    let cases: [(&str, &str, &[(&str, &str)], Option<&str>); 12] = [
        ("nothing asked, nothing sent", "[]", &[], None),
        (
            "exempt fields",
            "[]",
            &[("policy", "p"), ("x-amz-signature", "s"), ("X-Ignore-Me", "x"), ("file", "")],
            None,
        ),
        ("extra field", "[]", &[("acl", "private")], Some("Extra input fields: acl")),
        ("equal", r#"[{"acl": "private"}]"#, &[("ACL", "private")], None),
        (
            "not equal",
            r#"[["eq", "$acl", "private"]]"#,
            &[("acl", "public-read")],
            Some(r#"Policy Condition failed: ["eq", "$acl", "private"]"#),
        ),
        (
            "missing",
            r#"[{"acl": "private"}]"#,
            &[],
            Some(r#"Policy Condition failed: ["eq", "$acl", "private"]"#),
        ),
        ("prefix", r#"[["starts-with", "$key", "user/"]]"#, &[("key", "user/a")], None),
        (
            "other prefix",
            r#"[["starts-with", "$key", "user/"]]"#,
            &[("key", "root/a")],
            Some(r#"Policy Condition failed: ["starts-with", "$key", "user/"]"#),
        ),
        ("any value", r#"[["starts-with", "$x-amz-meta-a", ""]]"#, &[("x-amz-meta-a", "b")], None),
        (
            "content types",
            r#"[["starts-with", "$Content-Type", "image/"]]"#,
            &[("content-type", "image/png, image/gif")],
            None,
        ),
        (
            "one content type",
            r#"[["starts-with", "$Content-Type", "image/"]]"#,
            &[("content-type", "image/png, text/html")],
            Some(r#"Policy Condition failed: ["starts-with", "$Content-Type", "image/"]"#),
        ),
        ("size is not a field", r#"[["content-length-range", 1, 5]]"#, &[], None),
    ];
    for (name, conditions, fields, expected) in cases {
        let got = policy(conditions).unwrap().evaluate(&form(fields), "b", NOW);
        let message = got.err().map(|error| error.describe().message);
        assert_eq!(message, expected.map(|text| format!("Invalid according to Policy: {text}")), "{name}");
    }
}

#[test]
fn a_malformed_policy_says_what_is_wrong() {
    let cases = [
        ("{}", "Policy missing expiration."),
        ("[]", "Invalid JSON."),
        ("{", "Invalid JSON."),
        (r#"{"expiration": "2015-12-30T12:00:00Z"}"#, "Policy missing conditions."),
        (r#"{"expiration": "tomorrow", "conditions": []}"#, "Invalid 'expiration' value: 'tomorrow'"),
        (
            r#"{"expiration": "2015-12-30T12:00:00Z", "conditions": {}}"#,
            "Invalid 'conditions' value: must be a List.",
        ),
        (
            r#"{"expiration": "2015-12-30T12:00:00Z", "conditions": [1]}"#,
            "Invalid condition test: must be a List or Object.",
        ),
        (
            r#"{"expiration": "2015-12-30T12:00:00Z", "conditions": [[]]}"#,
            "Invalid Condition: missing operation identifier.",
        ),
        (
            r#"{"expiration": "2015-12-30T12:00:00Z", "conditions": [["ne", "$a", "b"]]}"#,
            "Invalid Condition: unknown operation 'ne'.",
        ),
        (
            r#"{"expiration": "2015-12-30T12:00:00Z", "conditions": [["eq", "$a"]]}"#,
            "Invalid eq: wrong number of arguments.",
        ),
        (
            r#"{"expiration": "2015-12-30T12:00:00Z", "conditions": [{"a": 1}]}"#,
            "Invalid Simple-Condition: value must be a string.",
        ),
        (
            r#"{"expiration": "2015-12-30T12:00:00Z", "conditions": [{"a": "1", "b": "2"}]}"#,
            "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
        ),
    ];
    for (json, expected) in cases {
        let error = Policy::parse(&STANDARD.encode(json)).unwrap_err().describe();
        assert_eq!((error.code, error.status), ("InvalidPolicyDocument", 400), "{json}");
        assert_eq!(error.message, format!("Invalid Policy: {expected}"), "{json}");
    }
    assert_eq!(
        Policy::parse("%").unwrap_err().describe().message,
        "Invalid Policy: invalid Base64 encoding."
    );
}

#[test]
fn the_files_size_lies_within_all_ranges() {
    let policy = policy(r#"[["content-length-range", 2, 9], ["content-length-range", "3", "10"]]"#).unwrap();
    assert_eq!(policy.size_range(), (3, 9));
    let code = |size| policy.check_size(size).map_err(|error| error.describe().code);
    assert_eq!(
        [code(2), code(3), code(9), code(10)],
        [Err("EntityTooSmall"), Ok(()), Ok(()), Err("EntityTooLarge")]
    );
}

#[test]
fn what_a_form_lacks_is_named() {
    let all = [
        ("policy", "p"),
        ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
        ("x-amz-credential", "AKID/20151229/us-east-1/s3/aws4_request"),
        ("x-amz-date", "20151229T000000Z"),
        ("x-amz-signature", "s"),
    ];
    assert!(claim(&form(&all)).unwrap().is_some());
    assert_eq!(claim(&form(&all[1..])), Ok(None));
    for (name, _) in &all[1..] {
        let fields: Vec<_> = all.iter().copied().filter(|(other, _)| other != name).collect();
        let message = claim(&form(&fields)).unwrap_err().describe().message;
        assert!(
            message.starts_with(&format!("Bucket POST must contain a field named '{name}'.")),
            "{message}"
        );
    }
    let version_2 = claim(&form(&[("policy", "p"), ("AWSAccessKeyId", "a"), ("signature", "s")]));
    assert_eq!(version_2, Err(PolicyError::Auth(AuthError::SigV2)));
}

#[test]
fn a_key_takes_the_files_name() {
    assert_eq!(expand_filename("user/${filename}", "C:\\photos\\a.jpg"), "user/a.jpg");
    assert_eq!(expand_filename("user/key", "a.jpg"), "user/key");
}

proptest! {
    #[test]
    fn no_policy_panics(json in "[\\[\\]{}\":,$a-z0-9 ]{0,60}", conditions in "[\\[\\]{}\":,$a-z0-9 ]{0,40}") {
        let _ = Policy::parse(&json);
        let _ = Policy::parse(&STANDARD.encode(&json));
        if let Ok(policy) = policy(&format!("[{conditions}]")) {
            let _ = policy.evaluate(&[], "b", NOW).map_err(|error| error.describe());
        }
    }
}
