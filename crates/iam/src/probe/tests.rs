use serde_json::json;

use super::*;

#[test]
fn questions_are_answered_in_the_conformance_form() {
    let allow = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*"}});
    let public = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*",
         "Condition": {"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}}]});
    let user = json!("arn:aws:iam::123456789012:user/ana");
    let ask = |principal: &Value, resource: &str, more: Value| {
        let mut line = json!({"id": 1, "kind": "iam", "request": {"action": "s3:GetObject", "principal": principal, "context": {},
            "resource": {"resource": resource, "accountId": "123456789012"}}, "identityPolicies": []});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        if let Some(context) = line.get("context").cloned() {
            line["request"]["context"] = context;
        }
        probe(&line)
    };
    let cases = [
        (&user, "arn:aws:s3:::b/k", json!({}), "ImplicitlyDenied"),
        (&user, "arn:aws:s3:::b/k", json!({"identityPolicies": [allow]}), "Allowed"),
        (&user, "*", json!({"identityPolicies": [allow]}), "Allowed"),
        (&user, "arn:aws:s3:::b/k", json!({"resourcePolicy": public}), "ImplicitlyDenied"),
        (
            &user,
            "arn:aws:s3:::b/k",
            json!({"resourcePolicies": [public], "context": {"aws:TagKeys": ["a", "b"]}}),
            "Allowed",
        ),
        (
            &json!({"type": "Anonymous"}),
            "arn:aws:s3:::b/k",
            json!({"resourcePolicy": public, "context": {"aws:TagKeys": ["a"]}}),
            "Allowed",
        ),
        (
            &user,
            "arn:aws:s3:::b/k",
            json!({"identityPolicies": [allow], "serviceControlPolicies": [{"orgIdentifier": "o", "policies": []}]}),
            "ImplicitlyDenied",
        ),
    ];
    for (principal, resource, more, expected) in cases {
        assert_eq!(ask(principal, resource, more.clone()), Ok(expected), "{principal} {resource} {more}");
    }
}

#[test]
fn an_action_without_resources_needs_a_star() {
    let line = |resource: &str, wildcard_only: bool| {
        json!({"request": {"action": "s3:ListAllMyBuckets", "principal": "arn:aws:iam::123456789012:user/ana",
            "resource": {"resource": "*", "accountId": "123456789012"}, "wildcardOnlyAction": wildcard_only},
            "identityPolicies": [{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": resource}]}]})
    };
    assert_eq!(probe(&line("arn:aws:s3:::b", true)), Ok("ImplicitlyDenied"));
    assert_eq!(probe(&line("arn:aws:s3:::b", false)), Ok("Allowed"));
    assert_eq!(probe(&line("*", true)), Ok("Allowed"));
}

#[test]
fn a_malformed_question_is_an_error_that_names_the_fault() {
    let good = json!({"action": "a:b", "principal": "x.amazonaws.com", "resource": {"resource": "*"}});
    let with = |field: &str, value: Value| {
        let mut request = good.clone();
        request[field] = value;
        json!({"request": request})
    };
    let cases = [
        (json!({}), "request is missing"),
        (json!({"request": {}}), "principal is missing"),
        (with("principal", json!(7)), "principal must be"),
        (with("principal", json!("arn:aws:s3:::b")), "not a principal"),
        (with("action", json!(null)), "action must be"),
        (with("resource", json!("*")), "resource must be"),
        (with("context", json!([])), "context must be"),
        (with("context", json!({"k": {}})), "context key k"),
        (json!({"request": good, "identityPolicies": [{"Statement": 1}]}), "identityPolicies[0]"),
        (json!({"request": good, "serviceControlPolicies": {}}), "serviceControlPolicies"),
    ];
    for (line, expected) in cases {
        let error = probe(&line).expect_err("malformed");
        assert!(error.contains(expected), "{line}: {error}");
    }
}
