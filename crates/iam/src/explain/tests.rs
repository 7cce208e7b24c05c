use pileus_core::AccountId;
use serde_json::json;

use super::*;
use crate::{Context, Decision, Principal, evaluate};

const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:jobs";

fn policy(name: &str, statement: serde_json::Value) -> Named<Arc<Policy>> {
    let document = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    Named::new(name, Arc::new(Policy::parse(&document).unwrap()))
}

fn elsewhere() -> Named<Arc<Policy>> {
    policy("elsewhere", json!({"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}))
}

fn owner(text: &str) -> Option<AccountId> {
    AccountId::parse(text)
}

#[test]
fn the_smallest_policies_are_enough() {
    let account = owner("123456789012").unwrap();
    let user = Principal::from_arn("arn:aws:iam::123456789012:user/ana").unwrap();
    let session = Principal::role_session(
        account,
        "arn:aws:sts::123456789012:assumed-role/worker/s",
        "arn:aws:iam::123456789012:role/app/worker",
    );
    let service = Principal::service("sns.amazonaws.com");
    let anonymous = Principal::anonymous();
    let limit = [elsewhere()];
    let levels = [
        Level {
            name: "root".into(),
            policies: vec![policy("full", json!({"Effect": "Allow", "Action": "*", "Resource": "*"}))],
        },
        Level { name: "unit".into(), policies: vec![elsewhere()] },
    ];
    let by_account = [policy(
        "q",
        json!({"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "*", "Resource": "*"}),
    )];
    let none = Policies::default();
    use PolicyKind::{Boundary, Endpoint, Identity, Resource, ServiceControl, Session, Trust};
    let cases = [
        ("a user", &user, "sqs:SendMessage", QUEUE, "123456789012", none, vec![Identity]),
        (
            "a literal star",
            &user,
            "s3:GetObject",
            "arn:aws:s3:::b/*?$x",
            "123456789012",
            none,
            vec![Identity],
        ),
        ("no resource", &user, "sqs:ListQueues", "*", "123456789012", none, vec![Identity]),
        ("across accounts", &user, "sqs:SendMessage", QUEUE, "999999999999", none, vec![Resource, Identity]),
        (
            "across accounts, account named",
            &user,
            "sqs:SendMessage",
            QUEUE,
            "999999999999",
            Policies { resource: &by_account, ..none },
            vec![Identity],
        ),
        (
            "every limit",
            &session,
            "sqs:SendMessage",
            QUEUE,
            "123456789012",
            Policies {
                boundary: &limit,
                session: &limit,
                endpoint: &limit,
                service_control: &levels,
                ..none
            },
            vec![ServiceControl, Endpoint, Identity, Boundary, Session],
        ),
        ("a service", &service, "sqs:SendMessage", QUEUE, "123456789012", none, vec![Resource]),
        ("the anonymous", &anonymous, "sqs:SendMessage", QUEUE, "123456789012", none, vec![Resource]),
        (
            "a role",
            &session,
            "sts:AssumeRole",
            "arn:aws:iam::123456789012:role/r",
            "123456789012",
            Policies { resource_must_allow: true, ..none },
            vec![Trust],
        ),
    ];
    let context = Context::new();
    for (name, principal, action, resource, account, policies, expected) in cases {
        let scope = Scope::Exactly;
        let request = Request {
            principal,
            action,
            resource,
            resource_account: owner(account),
            context: &context,
            scope,
        };
        let verdict = evaluate(&request, &policies);
        let explanation = explain(&request, &verdict, &policies);
        let kinds: Vec<_> = explanation.missing.iter().map(|missing| missing.kind).collect();
        assert_eq!(kinds, expected, "{name}");

        let mut supplied = Supplied::from(&policies);
        supplied.complete(&request);
        assert_eq!(evaluate(&request, &supplied.policies()).decision, Decision::Allowed, "{name}");
        for Missing { policy, .. } in &explanation.missing {
            assert!(explanation.text.contains(policy), "{name}: {}", explanation.text);
        }
    }
}

#[test]
fn every_statement_that_denies_is_named() {
    let user = Principal::from_arn("arn:aws:iam::123456789012:user/ana").unwrap();
    let identity = [
        policy(
            "p1",
            json!({"Sid": "NoSend", "Effect": "Deny", "Action": "sqs:SendMessage", "Resource": "*"}),
        ),
        policy("p2", json!({"Effect": "Deny", "Action": "*", "Resource": "*"})),
        policy("p3", json!({"Effect": "Deny", "Action": "ec2:*", "Resource": "*"})),
    ];
    let policies = Policies { identity: &identity, ..Policies::default() };
    let context = Context::new();
    let request = Request {
        principal: &user,
        action: "sqs:SendMessage",
        resource: QUEUE,
        resource_account: owner("123456789012"),
        context: &context,
        scope: Scope::Exactly,
    };
    let explanation = explain(&request, &evaluate(&request, &policies), &policies);
    let names: Vec<_> = explanation.denials.iter().map(|deny| &*deny.policy.name).collect();
    assert_eq!(names, ["p1", "p2"]);
    assert!(
        explanation.text.contains(r#"statement "NoSend" of the identity-based policy p1 denies it"#),
        "{}",
        explanation.text
    );
    assert_eq!(
        explanation.missing,
        [Missing {
            kind: PolicyKind::Identity,
            place: "arn:aws:iam::123456789012:user/ana".into(),
            policy: format!(
                r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"{QUEUE}"}}]}}"#
            ),
        }]
    );
}

#[test]
fn an_allowed_request_names_what_allows_it() {
    let user = Principal::from_arn("arn:aws:iam::123456789012:user/ana").unwrap();
    let identity = [policy("p", json!({"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}))];
    let policies = Policies { identity: &identity, ..Policies::default() };
    let context = Context::new();
    let request = Request {
        principal: &user,
        action: "sqs:SendMessage",
        resource: QUEUE,
        resource_account: None,
        context: &context,
        scope: Scope::Exactly,
    };
    let explanation = explain(&request, &evaluate(&request, &policies), &policies);
    assert_eq!(
        explanation.text,
        format!(
            "arn:aws:iam::123456789012:user/ana may sqs:SendMessage on {QUEUE}: statement 1 of the identity-based policy p allows it."
        )
    );
    assert!(explanation.missing.is_empty() && explanation.denials.is_empty());
}
