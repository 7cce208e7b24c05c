use proptest::prelude::*;

use super::*;
use crate::Policy;

fn fault(document: &str, kind: DocumentKind) -> String {
    validate(document, kind).err().map(|fault| fault.to_string()).unwrap_or_default()
}

/// A document of version 2012-10-17 with these statements.
fn statements(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":{statements}}}"#)
}

const PATHS: &str = "IAM resource path must either be \"*\" or start with user/, federated-user/, role/, group/, instance-profile/, \
                     mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, access-report/.";

#[test]
fn documents_are_refused_in_awss_words() {
    let version = "Policy document must be version 2012-10-17 or greater.";
    let statement = r#"{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}"#;
    let cases = [
        ("not json".to_owned(), SYNTAX),
        (format!(r#"{{"Statement":{statement}}}"#), version),
        (format!(r#"{{"Version":"2008-10-17","Statement":{statement}}}"#), version),
        (format!(r#"{{"Version":"2013-10-17","Statement":{statement}}}"#), SYNTAX),
        (r#"{"Version":"2012-10-17"}"#.to_owned(), SYNTAX),
        (statements(r#"["x"]"#), SYNTAX),
        (statements("[]"), SYNTAX),
        (format!(r#"{{"Version":"2012-10-17","Statement":{statement},"Extra":1}}"#), SYNTAX),
        (format!(r#"{{"Version":"2012-10-17","Id":{{}},"Statement":{statement}}}"#), SYNTAX),
        (format!(r#"{{"Version":"2012-10-17","Version":"2012-10-17","Statement":{statement}}}"#), SYNTAX),
        (statements(statement), ""),
    ];
    for (document, expected) in cases {
        assert_eq!(fault(&document, DocumentKind::Identity), expected, "{document}");
    }
}

#[test]
fn statements_are_refused_in_awss_words() {
    let vendor = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
    let colon = "Actions/Condition can contain only one colon.";
    let cases = [
        // the statement without its braces, expected
        (r#""Effect":"Allow","Action":"s3:x","Resource":"*","Extra":"x""#, SYNTAX),
        (r#""Effect":"maybe","Action":"s3:x","Resource":"*""#, SYNTAX),
        (r#""Action":"s3:x","Resource":"*""#, SYNTAX),
        (r#""Effect":"denY","Action":"s3:x","Resource":"*""#, LEGACY),
        (r#""Effect":"Allow","Action":"invalid","Resource":"*""#, vendor),
        (r#""Effect":"Allow","Action":"invalid""#, vendor),
        (r#""Effect":"Allow","NotAction":"","Resource":"*""#, vendor),
        (r#""Effect":"Allow","Action":"a a:x","Resource":"*""#, "Vendor a a is not valid"),
        (r#""Effect":"Allow","Action":"s3:x:y","Resource":"*""#, colon),
        (
            r#""Effect":"Allow","Action":"s:3:x","Resource":"sdf""#,
            "Resource sdf must be in ARN format or \"*\".",
        ),
        (r#""Effect":"Allow","Action":"s3:x","Resource":"""#, "Resource  must be in ARN format or \"*\"."),
        (r#""Effect":"Allow""#, "Policy statement must contain actions."),
        (r#""Effect":"Allow","Action":[],"Resource":"*""#, "Policy statement must contain actions."),
        (r#""Effect":"Allow","Action":"s3:x""#, "Policy statement must contain resources."),
        (r#""Effect":"Allow","Action":"s3:x","Resource":[]"#, "Policy statement must contain resources."),
        (r#""Effect":"Allow","Action":"s3:x","Resource":"*","NotResource":"*""#, SYNTAX),
        (r#""Effect":"Allow","Action":"s3:x","NotAction":[],"Resource":"*""#, SYNTAX),
        (r#""Effect":"Allow","Action":{},"Resource":"*""#, SYNTAX),
        (r#""Effect":"Allow","Action":[[]],"Resource":"*""#, SYNTAX),
        (r#""Effect":"Allow","Action":"s3:x","Resource":["adf",{}]"#, SYNTAX),
        (
            r#""Effect":"Allow","Action":"s3:x","Resource":"*","Principal":"*""#,
            "Policy document should not specify a principal.",
        ),
        (r#""Sid":{},"Effect":"Allow","Action":"s3:x","Resource":"*""#, SYNTAX),
        (
            r#""Sid":"a-b","Effect":"Allow","Action":"s3:x","Resource":"*""#,
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
        ),
        (r#""Effect":"Allow","Action":"iam: asdf ","Resource":"*""#, ""),
        (r#""Effect":"Allow","Action":"s3-s:x","Resource":"*""#, ""),
        (r#""Effect":"Allow","NotAction":"s3:x","NotResource":"*""#, ""),
    ];
    for (statement, expected) in cases {
        assert_eq!(
            fault(&statements(&format!("{{{statement}}}")), DocumentKind::Identity),
            expected,
            "{statement}"
        );
    }
    let twice =
        r#"[{"Sid":"s","Effect":"Allow","Action":"s3:x","Resource":"*"},{"Sid":"s","Effect":"Allow"}]"#;
    let unique = "Statement IDs (SID) in a single policy must be unique.";
    assert_eq!(fault(&statements(twice), DocumentKind::Identity), unique);
}

#[test]
fn resources_are_refused_in_awss_words() {
    let regexes = "Resource vendor must be fully qualified and cannot contain regexes.";
    let cases = [
        ("a:bsd", "Partition \"bsd\" is not valid for resource \"arn:bsd:*:*:*:*\"."),
        ("a:b:cad", "Partition \"b\" is not valid for resource \"arn:b:cad:*:*:*\"."),
        ("a:b:c:d:e:f:g:h", "Partition \"b\" is not valid for resource \"arn:b:c:d:e:f:g:h\"."),
        ("aws:s3:::bucket", "Partition \"s3\" is not valid for resource \"arn:s3:::bucket:*\"."),
        ("arn:aws", regexes),
        ("arn:aws:*:::x", regexes),
        ("arn:aws:iam:::example", PATHS),
        ("arn:aws:iam::123456789012:*", ""),
        (
            "arn:aws:iam:us-east-1::x",
            "IAM resource arn:aws:iam:us-east-1::x cannot contain region information.",
        ),
        ("arn:aws:s3:us-east-1::x", "Resource arn:aws:s3:us-east-1::x can not contain region information."),
        ("arn:aws:s3:us-east-1:123456789012:accesspoint/p", ""),
        ("arn:aws:s3::bucket", LEGACY),
        ("arn:aws::::bucket", LEGACY),
        ("arn:aws::fdsasf", LEGACY),
        ("arn:aws:fdsasf", ""),
        ("arn:aws:s33:::bucket", ""),
        ("arn:aws:iam:::user/${aws:username}", ""),
        ("arn:aws-cn:s3:::bucket", ""),
        ("arn:*:ssm:*:*:session/*", ""),
        ("arn:aws:iam::*:root", ""),
    ];
    for (resource, expected) in cases {
        let document =
            statements(&format!(r#"{{"Effect":"Allow","Action":"s3:x","Resource":"{resource}"}}"#));
        assert_eq!(fault(&document, DocumentKind::Identity), expected, "{resource}");
    }
    let list = r#"{"Effect":"Allow","Action":"s3:x","Resource":["arn:error:s3:::b","arn:error:s3::b"]}"#;
    let expected = "Partition \"error\" is not valid for resource \"arn:error:s3:::b\".";
    assert_eq!(fault(&statements(list), DocumentKind::Identity), expected);
}

#[test]
fn conditions_are_refused_in_awss_words() {
    let cases = [
        ("[]", SYNTAX),
        (r#""a""#, SYNTAX),
        (r#"{"a":"b"}"#, SYNTAX),
        (r#"{"DateGreaterThan":[]}"#, SYNTAX),
        (r#"{"DateGreaterThan":{"a":{}}}"#, SYNTAX),
        (r#"{"x":{"a":"1"}}"#, SYNTAX),
        (r#"{"ForAnyValue::StringEquals":{"a":"1"}}"#, SYNTAX),
        (r#"{"DateGreaterThan":{"a":"sdfdsf"}}"#, LEGACY),
        (r#"{"DateLessThanEquals":{"a":"234-13"}}"#, LEGACY),
        ("{}", ""),
        (r#"{"x":{},"y":{}}"#, ""),
        (r#"{"DateGreaterThan":{}}"#, ""),
        (r#"{"DateGreaterThan":{"a":[]}}"#, ""),
        (r#"{"DateLessThanEquals":{"a":"2016-12-13T21:20:37.593194+00:00"}}"#, ""),
        (r#"{"ForAnyValue:StringEqualsIfExists":{"a":"x"}}"#, ""),
        (r#"{"Bool":{"aws:SecureTransport":true}}"#, ""),
    ];
    for (condition, expected) in cases {
        let document = statements(&format!(
            r#"{{"Effect":"Allow","Action":"s3:x","Resource":"*","Condition":{condition}}}"#
        ));
        assert_eq!(fault(&document, DocumentKind::Identity), expected, "{condition}");
    }
}

#[test]
fn trust_policies_are_refused_in_awss_words() {
    let invalid = |name: &str| format!("Invalid principal in policy: \"AWS\":\"{name}\"");
    let sts = "AssumeRole policy may only specify STS AssumeRole actions.";
    let cases = [
        (r#""Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole""#, String::new()),
        (
            r#""Principal":{"Service":"lambda.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]"#,
            String::new(),
        ),
        (r#""Principal":"*","Action":"sts:AssumeRole""#, String::new()),
        (r#""Action":"sts:AssumeRole""#, "Missing required field Principal".into()),
        (
            r#""Principal":"*","Action":"sts:AssumeRole","Resource":"*""#,
            "Has prohibited field Resource".into(),
        ),
        (r#""Principal":"*","Action":"s3:GetObject""#, sts.into()),
        (
            r#""Principal":{"AWS":"arn:aws:iam::1234567890:root"},"Action":"sts:AssumeRole""#,
            invalid("arn:aws:iam::1234567890:root"),
        ),
        (r#""Principal":{"AWS":"ana"},"Action":"sts:AssumeRole""#, invalid("ana")),
        (r#""Principal":{"Who":"ana"},"Action":"sts:AssumeRole""#, SYNTAX.into()),
    ];
    for (statement, expected) in cases {
        let document = statements(&format!(r#"{{"Effect":"Allow",{statement}}}"#));
        assert_eq!(fault(&document, DocumentKind::Trust), expected, "{statement}");
    }
    assert_eq!(fault("{", DocumentKind::Trust), "This policy contains invalid Json");
    let old = r#"{"Version":"2008-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}"#;
    assert_eq!(fault(old, DocumentKind::Trust), "");
}

#[test]
fn white_space_does_not_count() {
    assert_eq!(counted_size("{ \"a\" :\n\t1 }"), 7);
}

proptest! {
    #[test]
    fn what_passes_compiles(document in crate::policy::tests::documents()) {
        for kind in [DocumentKind::Identity, DocumentKind::Resource, DocumentKind::Trust, DocumentKind::Boundary] {
            if validate(&document, kind).is_ok() {
                prop_assert!(Policy::parse(&document).is_ok(), "{}", document);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = validate(&text, DocumentKind::Identity);
        let _ = validate(&text, DocumentKind::Trust);
        let _ = Policy::parse(&text);
    }
}
