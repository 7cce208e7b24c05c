//! The sentence in an access denied error.
//!
//! Source: IAM User Guide, "Troubleshoot access denied error messages"; AWS Security Blog, "Enhanced access denied error messages with
//! policy ARNs".

use crate::evaluate::{Because, Deciding, Verdict};
use crate::request::{PolicyKind, Request};

/// AWS's text for a denied request. `principal_arn` is what the caller is shown as: a session's own ARN, or empty for the anonymous.
///
/// The denying policy's ARN follows an explicit deny when the policy has one and the resource is in the principal's own account. An
/// implicit denial by service control policies reads as an explicit one, as AWS has it. An empty resource is not mentioned.
pub fn denial_message(request: &Request<'_>, verdict: &Verdict, principal_arn: &str) -> String {
    let who = if principal_arn.is_empty() { "anonymous" } else { principal_arn };
    let (action, resource) = (request.action, request.resource);
    let mut text = format!("User: {who} is not authorized to perform: {action}");
    if !resource.is_empty() {
        text.push_str(&format!(" on resource: {resource}"));
    }
    match &verdict.because {
        Because::Statement(deciding) => {
            text.push_str(&format!(" with an explicit deny in {}", with_article(deciding.kind)));
            if let Some(arn) = shown_arn(request, deciding) {
                text.push_str(&format!(": {arn}"));
            }
        }
        Because::NoneAllows(kind @ (PolicyKind::ServiceControl | PolicyKind::ResourceControl)) => {
            text.push_str(&format!(" with an explicit deny in {}", with_article(*kind)));
        }
        Because::NoneAllows(PolicyKind::Trust) => {
            text.push_str(&format!(" because no role trust policy allows the {action} action"));
        }
        Because::NoneAllows(kind) => {
            text.push_str(&format!(" because no {} allows the {action} action", kind.as_str()))
        }
        Because::Root | Because::NeedsNoPermission | Because::BelongsToAws => {}
    }
    text
}

fn with_article(kind: PolicyKind) -> String {
    let article = match kind {
        PolicyKind::Identity => "an",
        PolicyKind::Trust => "the",
        _ => "a",
    };
    format!("{article} {}", kind.as_str())
}

fn shown_arn<'a>(request: &Request<'_>, deciding: &'a Deciding) -> Option<&'a str> {
    let has_one = !matches!(deciding.kind, PolicyKind::Resource | PolicyKind::Trust | PolicyKind::Endpoint);
    let own_account = !request.is_cross_account();
    (has_one && own_account && deciding.policy.name.starts_with("arn:")).then_some(&*deciding.policy.name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Context, Decision, Named, Policy, Principal, Scope};

    const USER: &str = "arn:aws:iam::123456789012:user/JohnDoe";

    #[test]
    fn denials_read_as_awss_do() {
        let deny = Arc::new(
            Policy::parse(r#"{"Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#).unwrap(),
        );
        let explicit = |kind, name: &str| {
            let policy = Named::new(name, deny.clone());
            Because::Statement(Deciding { kind, policy, statement: 0 })
        };
        let scp = "arn:aws:organizations::987654321098:policy/o-a/service_control_policy/p-b";
        let queue = "arn:aws:sqs:us-east-1:123456789012:jobs";
        let start =
            format!("User: {USER} is not authorized to perform: sqs:SendMessage on resource: {queue}");
        let none = |kind| format!(" because no {kind} allows the sqs:SendMessage action");
        use PolicyKind as Kind;
        let cases = [
            (Because::NoneAllows(Kind::Identity), none("identity-based policy")),
            (Because::NoneAllows(Kind::Resource), none("resource-based policy")),
            (Because::NoneAllows(Kind::Boundary), none("permissions boundary")),
            (Because::NoneAllows(Kind::Session), none("session policy")),
            (Because::NoneAllows(Kind::Endpoint), none("VPC endpoint policy")),
            (Because::NoneAllows(Kind::Trust), none("role trust policy")),
            (
                Because::NoneAllows(Kind::ServiceControl),
                " with an explicit deny in a service control policy".into(),
            ),
            (
                explicit(Kind::Identity, "inline policy p"),
                " with an explicit deny in an identity-based policy".into(),
            ),
            (explicit(Kind::Resource, queue), " with an explicit deny in a resource-based policy".into()),
            (explicit(Kind::Boundary, "b"), " with an explicit deny in a permissions boundary".into()),
            (explicit(Kind::Session, "s"), " with an explicit deny in a session policy".into()),
            (explicit(Kind::Endpoint, "e"), " with an explicit deny in a VPC endpoint policy".into()),
            (explicit(Kind::Trust, "t"), " with an explicit deny in the role trust policy".into()),
            (
                explicit(Kind::ResourceControl, "r"),
                " with an explicit deny in a resource control policy".into(),
            ),
            (
                explicit(Kind::ServiceControl, scp),
                format!(" with an explicit deny in a service control policy: {scp}"),
            ),
            (Because::BelongsToAws, String::new()),
        ];
        let (principal, context) = (Principal::from_arn(USER).unwrap(), Context::new());
        let request = Request {
            principal: &principal,
            action: "sqs:SendMessage",
            resource: queue,
            resource_account: None,
            context: &context,
            scope: Scope::Exactly,
        };
        for (because, expected) in cases {
            let verdict = Verdict { decision: Decision::ExplicitlyDenied, because };
            assert_eq!(denial_message(&request, &verdict, USER), format!("{start}{expected}"));
        }
    }
}
