//! The decision.
//!
//! 1. An explicit deny anywhere decides.
//! 2. Limits must each allow, where present: every level of service control policies (not for services, service-linked roles and the
//!    anonymous), the VPC endpoint's policies.
//! 3. In the resource's own account, either side may grant. A resource-based policy that names the user or session itself, or everyone,
//!    grants alone; one that names a session's role grants within boundary and session policies; one that names the account only lets
//!    the principal's own policies decide. Identity-based policies grant within boundary and session policies.
//! 4. Across accounts, both sides must grant.
//!
//! The root user needs no policy of its own. Services and the anonymous have none, so the resource's policy alone grants.
//!
//! Source: IAM User Guide, "How AWS enforcement code logic evaluates requests to allow or deny access", "Policy evaluation for requests
//! within a single account", "Cross-account policy evaluation logic", "Permissions boundaries for IAM entities"; AWS Organizations
//! User Guide, "SCP evaluation", "RCP evaluation".

use std::cell::RefCell;
use std::sync::Arc;

use crate::matching::Subject;
use crate::policy::{Effect, Statement};
use crate::principal::Closeness;
use crate::protected::{belongs_to_aws, needs_no_permission};
use crate::request::{Named, Policies, PolicyKind, Request};
use crate::{Policy, PrincipalKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    Allowed,
    /// Nothing allows it.
    ImplicitlyDenied,
    /// A statement denies it.
    ExplicitlyDenied,
}

/// A decision and its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub decision: Decision,
    pub because: Because,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Because {
    /// This statement allows or denies.
    Statement(Deciding),
    /// No policy of this kind allows.
    NoneAllows(PolicyKind),
    /// The principal is the root user of the account that owns the resource.
    Root,
    /// The action needs no permission.
    NeedsNoPermission,
    /// The resource belongs to AWS.
    BelongsToAws,
}

/// The statement that decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Deciding {
    pub kind: PolicyKind,
    pub policy: Named<Arc<Policy>>,
    /// The statement's place in the document, from zero.
    pub statement: usize,
}

impl Deciding {
    /// The statement's `Sid`, if it has one.
    pub fn sid(&self) -> Option<&str> {
        self.policy.policy.statements.get(self.statement)?.sid.as_deref()
    }
}

impl Verdict {
    pub fn is_allowed(&self) -> bool {
        self.decision == Decision::Allowed
    }

    fn allowed(because: Because) -> Verdict {
        Verdict { decision: Decision::Allowed, because }
    }

    fn implicit(because: Because) -> Verdict {
        Verdict { decision: Decision::ImplicitlyDenied, because }
    }
}

/// Decides a request.
pub fn evaluate(request: &Request<'_>, policies: &Policies<'_>) -> Verdict {
    if needs_no_permission(request.action) {
        return Verdict::allowed(Because::NeedsNoPermission);
    }
    let findings = match Findings::gather(&Scan::new(request, policies), policies) {
        Ok(findings) => findings,
        Err(deny) => {
            return Verdict { decision: Decision::ExplicitlyDenied, because: Because::Statement(deny.own()) };
        }
    };
    if belongs_to_aws(request) {
        return Verdict::implicit(Because::BelongsToAws);
    }
    match findings.decide(request, policies) {
        Ok(because) => Verdict::allowed(because),
        Err(because) => Verdict::implicit(because),
    }
}

/// A statement that fits, by reference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit<'a> {
    kind: PolicyKind,
    policy: &'a Named<Arc<Policy>>,
    statement: usize,
}

impl Fit<'_> {
    fn own(self) -> Deciding {
        Deciding { kind: self.kind, policy: self.policy.clone(), statement: self.statement }
    }
}

/// What each kind of policy says when none denies.
pub(crate) struct Findings<'a> {
    identity: Option<Fit<'a>>,
    boundary: Option<Fit<'a>>,
    session: Option<Fit<'a>>,
    resource: Option<(Closeness, Fit<'a>)>,
    endpoint: Option<Fit<'a>>,
    /// Every level of the service control policies allows.
    service_control: bool,
}

/// Which kind of policy a resource policy is, for messages.
pub(crate) fn resource_kind(request: &Request<'_>) -> PolicyKind {
    let assume = |prefix: &str| {
        request.action.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if assume("sts:AssumeRole") { PolicyKind::Trust } else { PolicyKind::Resource }
}

/// Whether service control policies reach the principal.
pub(crate) fn service_control_reaches(request: &Request<'_>) -> bool {
    request.principal.account().is_some() && !request.principal.is_service_linked()
}

impl<'a> Findings<'a> {
    /// Looks at every statement; stops at the first that denies, unless the scan collects those.
    pub(crate) fn gather(scan: &Scan<'_>, policies: &Policies<'a>) -> Result<Findings<'a>, Fit<'a>> {
        let request = scan.request;
        let mut service_control = true;
        if service_control_reaches(request) {
            for level in policies.service_control {
                service_control &= scan.own(PolicyKind::ServiceControl, &level.policies)?.is_some();
            }
        }
        if !request.principal.is_service_linked() {
            for level in policies.resource_control {
                scan.addressed(PolicyKind::ResourceControl, &level.policies)?;
            }
        }
        Ok(Findings {
            identity: scan.own(PolicyKind::Identity, policies.identity)?,
            boundary: scan.own(PolicyKind::Boundary, policies.boundary)?,
            session: scan.own(PolicyKind::Session, policies.session)?,
            resource: scan.addressed(resource_kind(request), policies.resource)?,
            endpoint: scan.addressed(PolicyKind::Endpoint, policies.endpoint)?.map(|(_, fit)| fit),
            service_control,
        })
    }

    /// Some resource-based policy means the principal and allows.
    pub(crate) fn resource_allows(&self) -> bool {
        self.resource.is_some()
    }

    /// `Ok` tells what allows, `Err` what is lacking.
    pub(crate) fn decide(&self, request: &Request<'_>, policies: &Policies<'_>) -> Result<Because, Because> {
        let allows = |fit: Fit<'_>| Ok(Because::Statement(fit.own()));
        if !self.service_control {
            return Err(Because::NoneAllows(PolicyKind::ServiceControl));
        }
        if !policies.endpoint.is_empty() && self.endpoint.is_none() {
            return Err(Because::NoneAllows(PolicyKind::Endpoint));
        }
        let resource_lacking = Because::NoneAllows(resource_kind(request));
        let Some((closeness, fit)) = self.resource else {
            let needed = policies.resource_must_allow
                || request.is_cross_account()
                || request.principal.account().is_none();
            return if needed { Err(resource_lacking) } else { self.own_side(request, policies) };
        };
        if request.principal.account().is_none() {
            return allows(fit);
        }
        if request.is_cross_account() {
            // AWS blames the resource's side unless its policy names the principal more closely than by account.
            return match (self.own_side(request, policies), closeness) {
                (Err(Because::NoneAllows(PolicyKind::Identity)), Closeness::Account) => Err(resource_lacking),
                (outcome, _) => outcome,
            };
        }
        match closeness {
            Closeness::Itself => allows(fit),
            Closeness::Source => self.within_limits(policies).map_or_else(Err, |()| allows(fit)),
            Closeness::Account => self.own_side(request, policies),
        }
    }

    /// The principal's own account: its policies, within its limits.
    fn own_side(&self, request: &Request<'_>, policies: &Policies<'_>) -> Result<Because, Because> {
        if request.principal.kind() == PrincipalKind::Root {
            return self.within_limits(policies).map(|()| Because::Root);
        }
        let fit = self.identity.ok_or(Because::NoneAllows(PolicyKind::Identity))?;
        self.within_limits(policies)?;
        Ok(Because::Statement(fit.own()))
    }

    fn within_limits(&self, policies: &Policies<'_>) -> Result<(), Because> {
        if !policies.boundary.is_empty() && self.boundary.is_none() {
            return Err(Because::NoneAllows(PolicyKind::Boundary));
        }
        if !policies.session.is_empty() && self.session.is_none() {
            return Err(Because::NoneAllows(PolicyKind::Session));
        }
        Ok(())
    }
}

/// One pass over policies for one request.
pub(crate) struct Scan<'r> {
    request: &'r Request<'r>,
    subject: Subject<'r>,
    /// The principal has a permissions boundary.
    bounded: bool,
    /// Where statements that deny are collected, when they shall not end the scan.
    denials: Option<RefCell<Vec<Deciding>>>,
}

impl<'r> Scan<'r> {
    fn new(request: &'r Request<'r>, policies: &Policies<'_>) -> Scan<'r> {
        Scan { request, subject: request.subject(), bounded: !policies.boundary.is_empty(), denials: None }
    }

    /// A scan that sees past statements that deny, and remembers them.
    pub(crate) fn collecting(request: &'r Request<'r>, policies: &Policies<'_>) -> Scan<'r> {
        Scan { denials: Some(RefCell::default()), ..Scan::new(request, policies) }
    }

    pub(crate) fn into_denials(self) -> Vec<Deciding> {
        self.denials.map(RefCell::into_inner).unwrap_or_default()
    }

    fn denied<'a>(&self, fit: Fit<'a>) -> Result<(), Fit<'a>> {
        let denials = self.denials.as_ref().ok_or(fit)?;
        denials.borrow_mut().push(fit.own());
        Ok(())
    }

    /// Policies of the principal: who is meant goes without saying. The first statement that allows, or else the one that denies.
    fn own<'a>(
        &self,
        kind: PolicyKind,
        policies: &'a [Named<Arc<Policy>>],
    ) -> Result<Option<Fit<'a>>, Fit<'a>> {
        let mut allow = None;
        for policy in policies {
            for (index, statement) in policy.policy.statements.iter().enumerate() {
                let skip = statement.effect == Effect::Allow && allow.is_some();
                if skip || !statement.fits(self.request, &self.subject) {
                    continue;
                }
                let fit = Fit { kind, policy, statement: index };
                match statement.effect {
                    Effect::Deny => self.denied(fit)?,
                    Effect::Allow => allow = Some(fit),
                }
            }
        }
        Ok(allow)
    }

    /// Policies that say whom they mean. Of the statements that allow, the one that names the principal most closely.
    fn addressed<'a>(
        &self,
        kind: PolicyKind,
        policies: &'a [Named<Arc<Policy>>],
    ) -> Result<Option<(Closeness, Fit<'a>)>, Fit<'a>> {
        let mut closest: Option<(Closeness, Fit<'a>)> = None;
        for policy in policies {
            for (index, statement) in policy.policy.statements.iter().enumerate() {
                let Some(closeness) = self.means(kind, statement) else { continue };
                let skip =
                    statement.effect == Effect::Allow && closest.is_some_and(|(found, _)| found >= closeness);
                if skip || !statement.fits(self.request, &self.subject) {
                    continue;
                }
                let fit = Fit { kind, policy, statement: index };
                match statement.effect {
                    Effect::Deny => self.denied(fit)?,
                    Effect::Allow => closest = Some((closeness, fit)),
                }
            }
        }
        Ok(closest)
    }

    /// How closely the statement means the principal. A resource's policy without a principal means nobody; the other kinds mean all.
    fn means(&self, kind: PolicyKind, statement: &Statement) -> Option<Closeness> {
        let names_others = matches!(kind, PolicyKind::Resource | PolicyKind::Trust);
        let Some(principals) = &statement.principals else {
            return (!names_others).then_some(Closeness::Itself);
        };
        // `Deny` with `NotPrincipal` denies every principal with a permissions boundary, whomever it excepts.
        // Source: IAM User Guide, "Permissions boundaries for IAM entities".
        let excepts_nobody = principals.not && statement.effect == Effect::Deny && self.bounded;
        if excepts_nobody && names_others {
            return Some(Closeness::Itself);
        }
        principals.closeness(self.request.principal)
    }
}

#[cfg(test)]
mod tests;
