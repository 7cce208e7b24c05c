//! Why a request is allowed or denied, and the smallest policies that would allow it.
//!
//! Works on copies: each thing that lacks is added as the smallest policy that supplies it, until the request is allowed but for the
//! statements that deny it. What is reported is therefore enough, and a test holds it to that.

use std::fmt::Write;
use std::sync::Arc;

use crate::evaluate::{Because, Deciding, Findings, Scan, Verdict, resource_kind};
use crate::request::{Level, Named, Policies, PolicyKind, Request, Scope};
use crate::{Policy, PrincipalKind};

/// What a person needs to know about a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// One paragraph, then one for each thing to change.
    pub text: String,
    /// Statements that must go, or be narrowed, before the request can be allowed.
    pub denials: Vec<Deciding>,
    /// Policies that would allow the request once no statement denies it.
    pub missing: Vec<Missing>,
}

/// A permission that lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub kind: PolicyKind,
    /// Where the policy belongs: a principal's, resource's or level's name.
    pub place: String,
    /// The smallest policy that supplies it, as JSON.
    pub policy: String,
}

/// Explains `verdict`, which `evaluate` gave for the same request and policies.
pub fn explain(request: &Request<'_>, verdict: &Verdict, policies: &Policies<'_>) -> Explanation {
    let mut text = opening(request, verdict);
    if verdict.is_allowed() || verdict.because == Because::BelongsToAws {
        return Explanation { text, denials: Vec::new(), missing: Vec::new() };
    }
    let scan = Scan::collecting(request, policies);
    // Never fails: a collecting scan sees past what denies.
    let _ = Findings::gather(&scan, policies);
    let denials = scan.into_denials();
    let missing = Supplied::from(policies).complete(request);
    for deny in &denials {
        let _ = write!(text, "\nTo change: {} denies it, and no policy can outweigh that.", describe(deny));
    }
    for Missing { kind, place, policy } in &missing {
        let _ = write!(text, "\nTo add: {} {} for {place}: {policy}", article(kind.as_str()), kind.as_str());
    }
    Explanation { text, denials, missing }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn opening(request: &Request<'_>, verdict: &Verdict) -> String {
    let who =
        if request.principal.arn().is_empty() { "an anonymous caller" } else { request.principal.arn() };
    let outcome = if verdict.is_allowed() { "may" } else { "may not" };
    let reason = match &verdict.because {
        Because::Statement(deciding) if verdict.is_allowed() => format!("{} allows it", describe(deciding)),
        Because::Statement(deciding) => format!("{} denies it", describe(deciding)),
        Because::NoneAllows(kind) => format!("no {} allows it", kind.as_str()),
        Because::Root => "it is the account's root user".to_owned(),
        Because::NeedsNoPermission => "the action needs no permission".to_owned(),
        Because::BelongsToAws => {
            "the resource belongs to AWS, and no policy can allow changing it".to_owned()
        }
    };
    format!("{who} {outcome} {} on {}: {reason}.", request.action, request.resource)
}

fn describe(deciding: &Deciding) -> String {
    let name = &deciding.policy.name;
    let kind = deciding.kind.as_str();
    match deciding.sid() {
        Some(sid) => format!("statement {:?} of the {kind} {name}", sid),
        None => format!("statement {} of the {kind} {name}", deciding.statement + 1),
    }
}

/// A copy of the policies to which what lacks is added.
struct Supplied {
    identity: Vec<Named<Arc<Policy>>>,
    boundary: Vec<Named<Arc<Policy>>>,
    session: Vec<Named<Arc<Policy>>>,
    resource: Vec<Named<Arc<Policy>>>,
    endpoint: Vec<Named<Arc<Policy>>>,
    service_control: Vec<Level>,
    resource_control: Vec<Level>,
    resource_must_allow: bool,
}

impl From<&Policies<'_>> for Supplied {
    fn from(policies: &Policies<'_>) -> Supplied {
        Supplied {
            identity: policies.identity.to_vec(),
            boundary: policies.boundary.to_vec(),
            session: policies.session.to_vec(),
            resource: policies.resource.to_vec(),
            endpoint: policies.endpoint.to_vec(),
            service_control: policies.service_control.to_vec(),
            resource_control: policies.resource_control.to_vec(),
            resource_must_allow: policies.resource_must_allow,
        }
    }
}

impl Supplied {
    fn policies(&self) -> Policies<'_> {
        Policies {
            identity: &self.identity,
            boundary: &self.boundary,
            session: &self.session,
            resource: &self.resource,
            endpoint: &self.endpoint,
            service_control: &self.service_control,
            resource_control: &self.resource_control,
            resource_must_allow: self.resource_must_allow,
        }
    }

    /// Adds what lacks. Every round supplies one kind, and a supplied kind never lacks again.
    fn complete(&mut self, request: &Request<'_>) -> Vec<Missing> {
        let mut missing = Vec::new();
        for _round in 0..8 {
            let policies = self.policies();
            let scan = Scan::collecting(request, &policies);
            let Ok(findings) = Findings::gather(&scan, &policies) else { break };
            let Err(Because::NoneAllows(kind)) = findings.decide(request, &policies) else { break };
            // A resource policy that names the account leaves the rest to the principal's own policies.
            let left_to_identity = kind == resource_kind(request) && findings.resource_allows();
            let kind = if left_to_identity { PolicyKind::Identity } else { kind };
            self.supply(kind, request, &mut missing);
        }
        missing
    }

    fn supply(&mut self, kind: PolicyKind, request: &Request<'_>, missing: &mut Vec<Missing>) {
        let text = smallest(kind, request);
        let Ok(policy) = Policy::parse(&text) else { return };
        let policy = Named::new("the policy to add", Arc::new(policy));
        let place = match kind {
            PolicyKind::Identity => request.principal.identity_arn().to_owned(),
            PolicyKind::Resource | PolicyKind::Trust => request.resource.to_owned(),
            PolicyKind::Session => format!("the session {}", request.principal.arn()),
            PolicyKind::Boundary => names(&self.boundary),
            PolicyKind::Endpoint => names(&self.endpoint),
            PolicyKind::ServiceControl | PolicyKind::ResourceControl => {
                return self.supply_levels(request, &policy, &text, missing);
            }
        };
        let list = match kind {
            PolicyKind::Identity => &mut self.identity,
            PolicyKind::Boundary => &mut self.boundary,
            PolicyKind::Session => &mut self.session,
            PolicyKind::Endpoint => &mut self.endpoint,
            _ => &mut self.resource,
        };
        list.push(policy);
        missing.push(Missing { kind, place, policy: text });
    }

    /// Adds the policy to each level of service control policies that does not allow the request by itself.
    fn supply_levels(
        &mut self,
        request: &Request<'_>,
        policy: &Named<Arc<Policy>>,
        text: &str,
        missing: &mut Vec<Missing>,
    ) {
        for level in &mut self.service_control {
            let alone = Policies { service_control: std::slice::from_ref(level), ..Policies::default() };
            let scan = Scan::collecting(request, &alone);
            let allowed = Findings::gather(&scan, &alone).is_ok_and(|findings| {
                findings.decide(request, &alone) != Err(Because::NoneAllows(PolicyKind::ServiceControl))
            });
            if !allowed {
                let place = level.name.to_string();
                missing.push(Missing { kind: PolicyKind::ServiceControl, place, policy: text.to_owned() });
                level.policies.push(policy.clone());
            }
        }
    }
}

fn names(policies: &[Named<Arc<Policy>>]) -> String {
    policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>().join(", ")
}

fn smallest(kind: PolicyKind, request: &Request<'_>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let principal = match kind {
        PolicyKind::Resource | PolicyKind::Trust => {
            let name = quoted(request.principal.identity_arn());
            match request.principal.kind() {
                PrincipalKind::Anonymous => r#""Principal":"*","#.to_owned(),
                PrincipalKind::Service => format!(r#""Principal":{{"Service":{name}}},"#),
                PrincipalKind::Federated => format!(r#""Principal":{{"Federated":{name}}},"#),
                _ => format!(r#""Principal":{{"AWS":{name}}},"#),
            }
        }
        _ => String::new(),
    };
    let resource = match kind {
        PolicyKind::Trust => String::new(),
        _ => format!(r#","Resource":{}"#, quoted(&literal(request))),
    };
    let action = quoted(request.action);
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow",{principal}"Action":{action}{resource}}}]}}"#
    )
}

/// The resource as a policy writes it when it means this one alone.
fn literal(request: &Request<'_>) -> String {
    if request.scope == Scope::AnyOf || request.resource == "*" {
        return request.resource.to_owned();
    }
    let mut text = String::with_capacity(request.resource.len());
    for character in request.resource.chars() {
        match character {
            '*' | '?' | '$' => text.extend(["${", character.encode_utf8(&mut [0; 4]), "}"]),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests;
