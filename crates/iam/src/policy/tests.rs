use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::{Principal, Scope};

/// JSON documents that are policies, almost policies, or nothing of the kind.
pub(crate) fn documents() -> impl Strategy<Value = String> {
    let names = vec![
        "Version",
        "Statement",
        "Id",
        "Sid",
        "Effect",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Principal",
        "NotPrincipal",
        "Condition",
        "AWS",
        "Service",
        "StringLike",
        "DateLessThan",
        "ForAllValues:ArnLikeIfExists",
        "aws:username",
        "x",
    ];
    let texts = vec![
        "2012-10-17",
        "2008-10-17",
        "Allow",
        "Deny",
        "*",
        "s3:*",
        "s3:Get*",
        "arn:aws:s3:::b/${aws:username}/*",
        "arn:aws:iam::1:root",
        "123456789012",
        "2020-01-01T00:00:00Z",
        "${",
        "${*}",
        "a,b",
        "",
    ];
    let leaf = prop_oneof![
        6 => select(texts).prop_map(serde_json::Value::from),
        1 => "\\PC{0,8}".prop_map(serde_json::Value::from),
        1 => any::<i64>().prop_map(serde_json::Value::from),
        1 => any::<bool>().prop_map(serde_json::Value::from),
        1 => Just(serde_json::Value::Null),
    ];
    let any_json = leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(select(names.clone()), inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    });
    // Half of them are a whole statement with a few elements of their own.
    (any::<bool>(), any_json).prop_map(|(whole, json)| {
        if !whole {
            return json.to_string();
        }
        let mut statement = serde_json::json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"});
        if let (Some(statement), serde_json::Value::Object(more)) = (statement.as_object_mut(), json) {
            statement.extend(more);
        }
        serde_json::json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    })
}

fn applies(statement: &str, action: &str, resource: &str) -> bool {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",{statement}}}]}}"#);
    let policy = Policy::parse(&text).unwrap();
    let (principal, mut context) = (Principal::anonymous(), Context::new());
    context.insert("aws:username", "ana");
    let request = Request {
        principal: &principal,
        action,
        resource,
        resource_account: None,
        context: &context,
        scope: Scope::Exactly,
    };
    policy.statements[0].fits(&request, &Subject::exactly(resource))
}

#[test]
fn actions_match_without_regard_to_case() {
    let cases = [
        (r#""*""#, true),
        (r#""**""#, true),
        (r#""*:*""#, true),
        (r#""s3:*""#, true),
        (r#""S3:getobject""#, true),
        (r#""s3:Get*""#, true),
        (r#""s3:?etObject""#, true),
        (r#"["sqs:*","s3:GetObject"]"#, true),
        (r#""s3:Put*""#, false),
        (r#""s3""#, false),
        (r#""s3:""#, false),
        (r#""s*:*""#, false),
        (r#""*Object""#, false),
        (r#""s3:GetObject ""#, false),
        (r#""s3:GetObject,PutObject""#, false),
        (r#""""#, false),
        (r#"[]"#, false),
    ];
    for (pattern, expected) in cases {
        let statement = format!(r#""Action":{pattern},"Resource":"*""#);
        assert_eq!(applies(&statement, "s3:GetObject", "arn:aws:s3:::b/k"), expected, "Action {pattern}");
        let statement = format!(r#""NotAction":{pattern},"Resource":"*""#);
        assert_eq!(applies(&statement, "s3:GetObject", "arn:aws:s3:::b/k"), !expected, "NotAction {pattern}");
    }
}

#[test]
fn resources_match_with_regard_to_case() {
    let cases = [
        // pattern, Resource applies, NotResource applies
        ("*", true, false),
        ("arn:aws:s3:::b/*", true, false),
        ("arn:aws:s3:::b/${aws:username}", true, false),
        ("arn:aws:s3:::B/*", false, true),
        ("arn:aws:s3:::b", false, true),
        // A variable without a value voids the statement either way.
        ("arn:aws:s3:::b/${aws:userid}", false, false),
        ("arn:aws:sqs:::b/${aws:userid}", false, true),
    ];
    for (pattern, positive, negative) in cases {
        let check = |element: &str| {
            applies(&format!(r#""Action":"*","{element}":"{pattern}""#), "s3:GetObject", "arn:aws:s3:::b/ana")
        };
        assert_eq!((check("Resource"), check("NotResource")), (positive, negative), "{pattern}");
    }
}

#[test]
fn only_the_newer_version_has_variables() {
    let text = r#"{"Version":"2008-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b/${aws:username}"}}"#;
    assert!(Policy::parse(text).unwrap().context_keys().is_empty());
    let text = text.replace("2008", "2012");
    assert_eq!(Policy::parse(&text).unwrap().context_keys(), ["aws:username"]);
}

#[test]
fn context_keys_are_listed_once_as_first_spelled() {
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::${aws:UserName}",
        "Condition":{"StringEquals":{"aws:username":"${s3:prefix, 'x'}","aws:PrincipalTag/Team":"red"}}}}"#;
    assert_eq!(
        Policy::parse(text).unwrap().context_keys(),
        ["aws:PrincipalTag/Team", "aws:UserName", "s3:prefix"]
    );
}

#[test]
fn what_has_no_meaning_is_refused() {
    let cases = [
        ("{", "not valid JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "Statement is missing"),
        (r#"{"Version":"2011-01-01","Statement":[]}"#, "Version"),
        (r#"{"Statement":[{"Action":"*"}]}"#, "Effect is missing"),
        (r#"{"Statement":[{"Effect":"allow","Action":"*"}]}"#, "Effect must be"),
        (r#"{"Statement":[{"Effect":"Allow"}]}"#, "Action or NotAction"),
        (r#"{"Statement":[{"Effect":"Allow","Action":"*","NotAction":"*"}]}"#, "NotAction"),
        (r#"{"Statement":[{"Effect":"Allow","Action":1}]}"#, "must hold strings"),
        (r#"{"Statement":[{"Effect":"Allow","Action":"*","Colour":"red"}]}"#, "Colour"),
        (r#"{"Statement":[{"Effect":"Allow","Action":"*","Principal":"ana"}]}"#, "Principal"),
        (r#"{"Statement":[{"Effect":"Allow","Action":"*","Principal":{"Aws":"*"}}]}"#, "Aws"),
        (r#"{"Statement":[{"Effect":"Allow","Action":"*","Condition":{"Sounds":{"a":"b"}}}]}"#, "Sounds"),
        (r#"{"Statement":[{"Effect":"Allow","Action":"*","Condition":{"Bool":{"a":null}}}]}"#, "value"),
    ];
    for (text, expected) in cases {
        let error = Policy::parse(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(document in documents()) {
        let _ = Policy::parse(&document);
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Policy::parse(&String::from_utf8_lossy(&bytes));
    }
}
