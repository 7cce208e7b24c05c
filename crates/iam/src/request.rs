//! Everything that an evaluation reads.

use std::sync::Arc;

use pileus_core::AccountId;

use crate::matching::Subject;
use crate::{Context, Policy, Principal};

/// The question: may this principal do this to this resource?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub principal: &'a Principal,
    /// `sqs:SendMessage`. Letter case does not matter.
    pub action: &'a str,
    /// An ARN, or `*` for an action that knows no resource.
    pub resource: &'a str,
    /// Who owns the resource; `None` means the principal's own account.
    pub resource_account: Option<AccountId>,
    pub context: &'a Context,
    pub scope: Scope,
}

/// How `Request::resource` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// It is the resource.
    #[default]
    Exactly,
    /// It is a pattern, and the question is whether some resource that fits it may be used: an `Allow` counts when it meets the
    /// pattern, a `Deny` only when it covers all of it.
    AnyOf,
}

impl<'a> Request<'a> {
    pub(crate) fn subject(&self) -> Subject<'a> {
        match self.scope {
            Scope::Exactly => Subject::exactly(self.resource),
            Scope::AnyOf => Subject::any_of(self.resource),
        }
    }

    /// Whether principal and resource belong to different accounts.
    pub(crate) fn is_cross_account(&self) -> bool {
        match (self.principal.account(), self.resource_account) {
            (Some(own), Some(other)) => own != other,
            _ => false,
        }
    }
}

/// A policy and where it came from: its ARN, or a text such as `inline policy p of user ana`.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T> {
    pub name: Arc<str>,
    pub policy: T,
}

impl<T> Named<T> {
    pub fn new(name: impl Into<Arc<str>>, policy: T) -> Named<T> {
        Named { name: name.into(), policy }
    }
}

/// The policies of one level of an organisation: its root, a unit, or the account.
#[derive(Debug, Clone, PartialEq)]
pub struct Level {
    pub name: Arc<str>,
    pub policies: Vec<Named<Arc<Policy>>>,
}

/// The policies that apply to a request. An empty list means that there are none of that kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policies<'a> {
    /// Attached to the principal, in person or through its groups.
    pub identity: &'a [Named<Arc<Policy>>],
    /// The permissions boundary of the principal's user or role.
    pub boundary: &'a [Named<Arc<Policy>>],
    /// Passed when the session was made.
    pub session: &'a [Named<Arc<Policy>>],
    /// Attached to the resource: queue, bucket and key policies, a role's trust policy.
    pub resource: &'a [Named<Arc<Policy>>],
    /// Of the VPC endpoint that the request came through.
    pub endpoint: &'a [Named<Arc<Policy>>],
    /// From the organisation's root down to the principal's account. Every level must allow. Leave empty for a management account.
    pub service_control: &'a [Level],
    /// From the organisation's root down to the resource's account. They can only deny.
    pub resource_control: &'a [Level],
    /// The resource's own policy must allow, whatever the principal's policies say: role trust and KMS key policies.
    pub resource_must_allow: bool,
}

/// The kinds of policies, as AWS names them in its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    Identity,
    Boundary,
    Session,
    Resource,
    /// A role's trust policy: a resource-based policy with a name of its own.
    Trust,
    Endpoint,
    ServiceControl,
    ResourceControl,
}

impl PolicyKind {
    /// `identity-based policy` and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyKind::Identity => "identity-based policy",
            PolicyKind::Boundary => "permissions boundary",
            PolicyKind::Session => "session policy",
            PolicyKind::Resource => "resource-based policy",
            PolicyKind::Trust => "role trust policy",
            PolicyKind::Endpoint => "VPC endpoint policy",
            PolicyKind::ServiceControl => "service control policy",
            PolicyKind::ResourceControl => "resource control policy",
        }
    }
}
