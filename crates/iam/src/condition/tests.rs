use proptest::prelude::*;

use super::*;

/// `values` is JSON: a string, or a list for a multi-valued key; empty for a key that is missing.
fn check(operator: &str, policy: &[&str], request: &str) -> bool {
    let mut context = Context::new();
    context.insert("v", "a*");
    match serde_json::from_str(request) {
        Ok(serde_json::Value::Array(values)) => {
            context.insert_many("the:Key", values.iter().map(|value| value.as_str().unwrap()));
        }
        Ok(serde_json::Value::String(value)) => context.insert("the:Key", value),
        _ => assert!(request.is_empty(), "{request}"),
    }
    let values: Vec<String> = policy.iter().map(|value| (*value).to_owned()).collect();
    Condition::new(Operator::parse(operator).expect(operator), "The:key", &values, true).is_met(&context)
}

#[test]
fn text_operators() {
    let cases: &[(&str, &[&str], &str, bool)] = &[
        ("StringEquals", &["a"], r#""a""#, true),
        ("StringEquals", &["b", "a"], r#""a""#, true),
        ("StringEquals", &["A"], r#""a""#, false),
        ("StringEquals", &["a*"], r#""abc""#, false),
        ("StringEquals", &[], r#""a""#, false),
        ("StringEquals", &["${v}"], r#""a*""#, true),
        ("StringEquals", &["${w}", "a"], r#""a""#, true),
        ("StringNotEquals", &["a"], r#""a""#, false),
        ("StringNotEquals", &["a", "b"], r#""b""#, false),
        ("StringNotEquals", &["a", "b"], r#""c""#, true),
        ("StringNotEquals", &[], r#""a""#, true),
        ("StringNotEquals", &["${w}"], r#""a""#, false),
        ("StringEqualsIgnoreCase", &["ÄB"], r#""äb""#, true),
        ("StringEqualsIgnoreCase", &["A*"], r#""abc""#, false),
        ("StringNotEqualsIgnoreCase", &["A"], r#""a""#, false),
        ("StringLike", &["a*"], r#""abc""#, true),
        ("StringLike", &["a?"], r#""abc""#, false),
        ("StringLike", &["${v}"], r#""abc""#, false),
        ("StringLike", &["a${*}"], r#""a*""#, true),
        ("StringNotLike", &["a*"], r#""abc""#, false),
        ("stringlike", &["a*"], r#""abc""#, true),
    ];
    table(cases);
}

#[test]
fn typed_operators() {
    let cases: &[(&str, &[&str], &str, bool)] = &[
        ("NumericEquals", &["10"], r#""10.0""#, true),
        ("NumericNotEquals", &["10"], r#""11""#, true),
        ("NumericNotEquals", &["10"], r#""ten""#, false),
        ("NumericNotEquals", &["ten"], r#""10""#, false),
        ("NumericLessThan", &["10"], r#""9.99""#, true),
        ("NumericLessThan", &["10"], r#""10""#, false),
        ("NumericLessThanEquals", &["10"], r#""10""#, true),
        ("NumericGreaterThan", &["5", "10"], r#""7""#, true),
        ("NumericGreaterThanEquals", &["7"], r#""7""#, true),
        ("DateEquals", &["2020-01-01T00:00:00Z"], r#""1577836800""#, true),
        ("DateNotEquals", &["2020-01-01T00:00:00Z"], r#""yesterday""#, false),
        ("DateLessThan", &["2020-01-01"], r#""2019-12-31T23:59:59Z""#, true),
        ("DateGreaterThan", &["2019"], r#""2018-06-01T00:00:00Z""#, false),
        ("DateGreaterThanEquals", &["2020-01-01T00:00:00Z"], r#""2020-01-01T01:00:00+01:00""#, true),
        ("DateLessThanEquals", &["2020-01-01T00:00:00Z"], r#""2020-01-01T00:00:00.001Z""#, false),
        ("Bool", &["true"], r#""True""#, true),
        ("Bool", &["false"], r#""true""#, false),
        ("Bool", &["yes"], r#""yes""#, false),
        ("BinaryEquals", &["QQ=="], r#""QQ""#, true),
        ("BinaryEquals", &["QQ=="], r#""Qg==""#, false),
        ("IpAddress", &["203.0.113.0/24", "2001:DB8::/32"], r#""2001:db8::1""#, true),
        ("IpAddress", &["203.0.113.0/24"], r#""203.0.114.1""#, false),
        ("NotIpAddress", &["203.0.113.0/24"], r#""203.0.114.1""#, true),
        ("NotIpAddress", &["203.0.113.0/24"], r#""nowhere""#, false),
        ("ArnLike", &["arn:aws:sns:*:*:t*"], r#""arn:aws:sns:us-east-1:1:topic:x""#, true),
        ("ArnEquals", &["arn:aws:sns:*:*:t*"], r#""arn:aws:sns:us-east-1:1:topic""#, true),
        ("ArnLike", &["arn:aws:sns:*:topic"], r#""arn:aws:sns:us-east-1:1:topic""#, false),
        ("ArnLike", &["arn:aws:sns:*:*:${v}"], r#""arn:aws:sns:us-east-1:1:a*""#, true),
        ("ArnLike", &["topic"], r#""topic""#, false),
        ("ArnNotEquals", &["arn:aws:sns:*:*:t*"], r#""arn:aws:sns:us-east-1:1:topic""#, false),
        ("ArnNotLike", &["arn:aws:sns:*:*:t*"], r#""arn:aws:sns:us-east-1:1:queue""#, true),
        ("ArnNotLike", &["arn:aws:sns:*:*:t*"], r#""topic""#, false),
        ("Null", &["true"], "", true),
        ("Null", &["false"], "", false),
        ("Null", &["true"], r#""a""#, false),
        ("Null", &["false"], r#""""#, true),
        ("Null", &["true"], "[]", true),
    ];
    table(cases);
}

#[test]
fn missing_keys_and_set_operators() {
    let cases: &[(&str, &[&str], &str, bool)] = &[
        ("StringEquals", &["a"], "", false),
        ("StringNotEquals", &["a"], "", true),
        ("NotIpAddress", &["10.0.0.0/8"], "", true),
        ("StringEqualsIfExists", &["a"], "", true),
        ("StringEqualsIfExists", &["a"], r#""b""#, false),
        ("StringNotEqualsIfExists", &["a"], "", true),
        ("NumericLessThanIfExists", &["1"], "", true),
        ("ForAllValues:StringEquals", &["a"], "", true),
        ("ForAllValues:StringNotEquals", &["a"], "", true),
        ("ForAnyValue:StringEquals", &["a"], "", false),
        ("ForAnyValue:StringNotEquals", &["a"], "", false),
        ("ForAllValues:StringEquals", &["a", "b"], r#"["a","b"]"#, true),
        ("ForAllValues:StringEquals", &["a"], r#"["a","b"]"#, false),
        ("ForAllValues:StringEquals", &["a"], "[]", true),
        ("ForAllValues:StringNotEquals", &["a"], r#"["a","b"]"#, false),
        ("ForAllValues:StringNotEquals", &["z"], r#"["a","b"]"#, true),
        ("ForAnyValue:StringEquals", &["b"], r#"["a","b"]"#, true),
        ("ForAnyValue:StringEquals", &["c"], r#"["a","b"]"#, false),
        ("ForAnyValue:StringEquals", &["a"], "[]", false),
        ("ForAnyValue:StringNotEquals", &["a"], r#"["a","b"]"#, true),
        ("ForAnyValue:StringNotEquals", &["a", "b"], r#"["a","b"]"#, false),
        ("ForAnyValue:StringLike", &["a*"], r#""abc""#, true),
        ("foranyvalue:stringequalsifexists", &["a"], r#""a""#, true),
        // A multi-valued key needs a set operator.
        ("StringEquals", &["a"], r#"["a"]"#, false),
        ("StringNotEquals", &["z"], r#"["a"]"#, false),
    ];
    table(cases);
}

fn table(cases: &[(&str, &[&str], &str, bool)]) {
    for (operator, policy, request, expected) in cases {
        assert_eq!(check(operator, policy, request), *expected, "{operator} {policy:?} against {request}");
    }
}

#[test]
fn there_are_no_other_operators() {
    for name in [
        "",
        "String",
        "StringEqualsX",
        "ForAnyValue",
        "ForSome:StringEquals",
        "IfExists",
        "ForAnyValue::StringEquals",
    ] {
        assert_eq!(Operator::parse(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn on_a_readable_single_value_the_negated_operator_is_the_opposite(
        policy in prop::collection::vec("[ab*?]{0,3}", 1..4),
        request in "[ab]{0,3}",
    ) {
        let policy: Vec<&str> = policy.iter().map(String::as_str).collect();
        let request = serde_json::Value::from(request).to_string();
        for (positive, negated) in [("StringEquals", "StringNotEquals"), ("StringLike", "StringNotLike")] {
            prop_assert_ne!(check(positive, &policy, &request), check(negated, &policy, &request));
        }
    }

    #[test]
    fn no_value_makes_a_test_panic(operator in 0usize..8, policy in "\\PC{0,12}", request in "\\PC{0,12}") {
        let operators = ["NumericLessThan", "DateEquals", "Bool", "BinaryEquals", "IpAddress", "ArnLike", "Null", "StringLike"];
        check(operators[operator], &[&policy], &serde_json::Value::from(request).to_string());
    }
}
