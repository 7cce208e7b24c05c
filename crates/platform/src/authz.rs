//! May they? Every request and every call between services is judged here, by the policies that apply to it.
//!
//! Source: IAM User Guide, "Policy evaluation logic", "AWS global condition context keys", "Troubleshoot access denied error
//! messages".

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use pileus_core::{AccountId, Arn};
use pileus_iam::{Context, Decision, Named, Policies, Policy, Principal, Request, evaluate};
use pileus_wire::protocol::Protocol;
use pileus_wire::schema::{Auth, Operation, Service as Api};
use pileus_wire::value::Struct;

use crate::Fault;
use crate::caller::{Caller, CallerKind};
use crate::cx::Cx;
use crate::identity::PrincipalPolicies;
use crate::service::{AccessFn, Entry};
use crate::session::SessionKind;

/// One permission that an operation needs.
#[derive(Debug, Clone)]
pub struct Access {
    /// `sqs:SendMessage`
    pub action: Cow<'static, str>,
    /// An ARN, or `*` for an action that names no resource.
    pub resource: String,
    /// Condition keys of the service: `("iam:PassedToService", ["lambda.amazonaws.com"])`.
    pub context: Vec<(Cow<'static, str>, Vec<String>)>,
    /// Whose the resource is, where its ARN does not say: buckets.
    pub owner: Option<AccountId>,
}

impl Access {
    pub fn new(action: impl Into<Cow<'static, str>>, resource: impl Into<String>) -> Access {
        Access { action: action.into(), resource: resource.into(), context: Vec::new(), owner: None }
    }

    /// The account that the resource belongs to.
    pub fn owned_by(mut self, owner: AccountId) -> Access {
        self.owner = Some(owner);
        self
    }

    /// An action that names no resource.
    pub fn any(action: impl Into<Cow<'static, str>>) -> Access {
        Access::new(action, "*")
    }

    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Access {
        self.context.push((key.into(), vec![value.into()]));
        self
    }

    pub fn with_many(mut self, key: impl Into<Cow<'static, str>>, values: Vec<String>) -> Access {
        self.context.push((key.into(), values));
        self
    }

    /// `iam:PassRole` for handing `role_arn` to `service`.
    pub fn pass_role(role_arn: &str, service: &'static str) -> Access {
        Access::new("iam:PassRole", role_arn).with("iam:PassedToService", service)
    }
}

/// The policy of a resource.
#[derive(Debug, Clone)]
pub struct ResourcePolicy {
    /// `queue policy`, or the policy's ARN.
    pub name: Arc<str>,
    pub policy: Arc<Policy>,
    /// Whatever the principal's own policies say, this one must allow too: role trust and key policies.
    pub must_allow: bool,
}

/// Lets the request pass, or says why not.
///
/// # Errors
/// `AccessDenied` (or what the service calls it) with AWS's sentence; the service's own errors for a malformed resource.
pub(crate) async fn authorise(
    cx: &Cx,
    api: &'static Api,
    operation: &'static Operation,
    entry: Option<&Entry>,
    input: &dyn Struct,
) -> Result<(), Fault> {
    let accesses = match entry.and_then(|entry| entry.access.as_ref()) {
        Some(AccessFn::Known(access)) => access(cx, input)?,
        Some(AccessFn::LookedUp(access)) => access(cx, input).await?,
        None if operation.auth == Auth::None => return Ok(()),
        None => default_access(api, operation),
    };
    if accesses.is_empty() {
        return Ok(());
    }
    let principal_policies = principal_policies(cx).await?;
    for access in &accesses {
        judge(cx, api, access, &principal_policies).await?;
    }
    Ok(())
}

/// Whether the caller may do this; only faults of ours are errors.
pub(crate) async fn is_allowed(cx: &Cx, service: &str, access: &Access) -> Result<bool, Fault> {
    let Some(api) = pileus_models::service(service) else { return Ok(false) };
    let own = principal_policies(cx).await?;
    match judge(cx, api, access, &own).await {
        Ok(()) => Ok(true),
        Err(fault) if fault.is_sender_fault => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Lets the request pass, or says why not.
pub(crate) async fn authorise_one(cx: &Cx, service: &str, access: &Access) -> Result<(), Fault> {
    let unknown = || Fault::framework("UnknownOperationException", 404, service);
    let api = pileus_models::service(service).ok_or_else(unknown)?;
    let own = principal_policies(cx).await?;
    judge(cx, api, access, &own).await
}

/// The operation's own action, or those that the overlay names, on any resource.
fn default_access(api: &Api, operation: &Operation) -> Vec<Access> {
    if operation.actions.is_empty() {
        return vec![Access::any(format!("{}:{}", api.arn_namespace, operation.name))];
    }
    operation.actions.iter().map(|action| Access::any(*action)).collect()
}

async fn principal_policies(cx: &Cx) -> Result<Arc<PrincipalPolicies>, Fault> {
    match cx.caller().kind {
        CallerKind::Root | CallerKind::Service { .. } | CallerKind::Anonymous => {
            Ok(Arc::new(PrincipalPolicies { exists: true, ..PrincipalPolicies::default() }))
        }
        _ => cx.platform().identities().policies(cx.caller()).await,
    }
}

async fn judge(cx: &Cx, api: &'static Api, access: &Access, own: &PrincipalPolicies) -> Result<(), Fault> {
    let caller = cx.caller();
    let resource_account = access.owner.or_else(|| account_in(&access.resource)).unwrap_or(caller.account);
    let resource_policy = match cx.platform().resource_policy(api.name) {
        Some(find) if access.resource != "*" => find(cx, &access.resource).await?,
        _ => None,
    };
    // The root user is limited by resource policies and organisations only.
    if resource_policy.is_none() && caller.is_root() && resource_account == caller.account {
        return Ok(());
    }
    let principal = principal(caller);
    let context = context(cx, access, &principal, resource_account, own);
    let session = session_policies(cx).await?;
    let resource: Vec<_> =
        resource_policy.iter().map(|p| Named::new(p.name.clone(), p.policy.clone())).collect();
    let request = Request {
        principal: &principal,
        action: &access.action,
        resource: &access.resource,
        resource_account: Some(resource_account),
        context: &context,
        scope: pileus_iam::Scope::Exactly,
    };
    let policies = Policies {
        identity: &own.identity,
        boundary: own.boundary.as_slice(),
        session: &session,
        resource: &resource,
        resource_must_allow: resource_policy.as_ref().is_some_and(|policy| policy.must_allow),
        ..Policies::default()
    };
    let verdict = evaluate(&request, &policies);
    if verdict.decision == Decision::Allowed && own.exists {
        return Ok(());
    }
    let message = pileus_iam::denial_message(&request, &verdict, &caller.arn);
    let explanation = pileus_iam::explain(&request, &verdict, &policies).text;
    cx.platform().denials().push(cx.request_id(), cx.now(), &message, explanation);
    let mut fault = denied(api, message);
    if encodes_refusals(api, &access.action) {
        let encoded = crate::decision::encode(
            cx.platform().sealer(),
            cx.rng().as_ref(),
            &request,
            &verdict,
            &caller.user_id,
        );
        fault.message = format!("{}. Encoded authorization failure message: {encoded}", fault.message);
    }
    Err(fault)
}

/// Whether a refusal of this action ends in what `DecodeAuthorizationMessage` decodes.
///
/// Recorded: EC2's do, but for the actions that only describe.
fn encodes_refusals(api: &Api, action: &str) -> bool {
    api.protocols.first() == Some(&Protocol::Ec2Query) && !action.starts_with("ec2:Describe")
}

/// The account in `arn:partition:service:region:account:resource`.
fn account_in(resource: &str) -> Option<AccountId> {
    let mut parts = resource.splitn(6, ':');
    let account = (parts.next()? == "arn").then(|| parts.nth(3))??;
    parts.next().and_then(|_| AccountId::parse(account))
}

/// Each family of services has its own code and status for the same refusal.
///
/// Recorded: EC2 begins with a sentence of its own, and mentions no resource where an action has none.
fn denied(api: &Api, message: String) -> Fault {
    let (code, status) = match api.protocols.first() {
        Some(Protocol::Ec2Query) => {
            let message = message.replacen(" on resource: * ", " ", 1);
            let message = format!("You are not authorized to perform this operation. {message}");
            return Fault::framework("UnauthorizedOperation", 403, message);
        }
        // Recorded: SNS has an error of its own for it.
        Some(Protocol::AwsQuery) if api.name == "sns" => ("AuthorizationError", 403),
        Some(Protocol::AwsQuery | Protocol::RestXml) => ("AccessDenied", 403),
        Some(Protocol::RestJson1) => ("AccessDeniedException", 403),
        // Recorded: SQS keeps the status that it had, and the code in `x-amzn-query-error`.
        _ if api.is_query_compatible => ("AccessDeniedException", 403),
        _ => ("AccessDeniedException", 400),
    };
    Fault::framework(code, status, message)
}

fn principal(caller: &Caller) -> Principal {
    let account = caller.account;
    let principal = match &caller.kind {
        CallerKind::Root => Principal::root(account),
        CallerKind::User { .. } => Principal::user(account, &*caller.arn),
        CallerKind::AssumedRole { role_arn, role_id, .. } => {
            return Principal::role_session(account, &*caller.arn, &**role_arn).with_unique_id(&**role_id);
        }
        CallerKind::FederatedUser { .. } => {
            let user = match caller.session.as_ref().map(|session| &session.kind) {
                Some(SessionKind::FederatedUser { user_path, user_name, .. }) if !user_name.is_empty() => {
                    format!("arn:aws:iam::{account}:user{user_path}{user_name}")
                }
                _ => format!("arn:aws:iam::{account}:root"),
            };
            Principal::federated_user(account, &*caller.arn, user)
        }
        CallerKind::Service { principal } => return Principal::service(*principal),
        CallerKind::Anonymous => return Principal::anonymous(),
    };
    principal.with_unique_id(&*caller.user_id)
}

/// Policies that narrow the caller's session. A managed one that is gone allows nothing.
async fn session_policies(cx: &Cx) -> Result<Vec<Named<Arc<Policy>>>, Fault> {
    static NOTHING: LazyLock<Arc<Policy>> = LazyLock::new(|| {
        let text = r#"{"Version":"2012-10-17","Statement":[]}"#;
        Arc::new(Policy::parse(text).expect("an empty list of statements is a policy"))
    });
    let Some(session) = &cx.caller().session else { return Ok(Vec::new()) };
    let mut policies = Vec::with_capacity(session.policies.len() + session.policy_arns.len());
    for text in &session.policies {
        let policy = cx.platform().session_policies().get(text).ok_or_else(|| {
            Fault::receiver(
                "InternalFailure",
                "a session policy that was checked when the session began does not parse",
            )
        })?;
        policies.push(Named::new("session policy", policy));
    }
    for arn in &session.policy_arns {
        let policy = cx.platform().identities().managed_policy(arn).await?;
        policies.push(Named::new(arn.as_str(), policy.unwrap_or_else(|| NOTHING.clone())));
    }
    Ok(policies)
}

/// Condition keys of the request itself, whoever makes it: time, place, origin.
pub fn request_context(cx: &Cx) -> Context {
    let origin = cx.origin();
    let mut context = Context::new();
    context.insert("aws:CurrentTime", cx.now().to_iso8601());
    context.insert("aws:EpochTime", cx.now().as_secs().to_string());
    context.insert("aws:RequestedRegion", cx.region().as_str());
    context.insert("aws:SecureTransport", origin.is_secure.to_string());
    context.insert("aws:ViaAWSService", cx.is_from_service().to_string());
    if let Some(ip) = origin.source_ip {
        context.insert("aws:SourceIp", ip.to_string());
    }
    if !origin.user_agent.is_empty() {
        context.insert("aws:UserAgent", origin.user_agent.as_str());
    }
    if !origin.referer.is_empty() {
        context.insert("aws:Referer", origin.referer.as_str());
    }
    context
}

fn context(
    cx: &Cx,
    access: &Access,
    principal: &Principal,
    resource_account: AccountId,
    own: &PrincipalPolicies,
) -> Context {
    let caller = cx.caller();
    let mut context = request_context(cx);
    principal.describe(&mut context);
    context.insert("aws:ResourceAccount", resource_account.as_str());
    context.insert("aws:userid", &*caller.user_id);
    if let CallerKind::User { name, .. } = &caller.kind {
        context.insert("aws:username", &**name);
    }
    for (key, value) in &own.tags {
        context.insert(&format!("aws:PrincipalTag/{key}"), value.as_str());
    }
    if let Some(session) = &caller.session {
        context.insert("aws:TokenIssueTime", session.issued_at.to_iso8601());
        context.insert("aws:MultiFactorAuthPresent", "false");
        if let Some(source) = &session.source_identity {
            context.insert("aws:SourceIdentity", source.as_str());
        }
        for (key, value) in &session.tags {
            context.insert(&format!("aws:PrincipalTag/{key}"), value.as_str());
        }
        // A key with several values is there once for each.
        for of_one_key in session.context.chunk_by(|(one, _), (next, _)| one == next) {
            match of_one_key {
                [(key, value)] => context.insert(key, value.as_str()),
                several => {
                    context.insert_many(&several[0].0, several.iter().map(|(_, value)| value.as_str()));
                }
            }
        }
        if session.has_mfa() {
            let age = cx.now().since(session.issued_at).as_secs();
            context.insert("aws:MultiFactorAuthAge", age.to_string());
        }
    }
    for (key, value) in cx.extra_context() {
        context.insert(key, value.as_str());
    }
    if let Some(signature) = cx.origin().signature.as_ref().filter(|_| access.action.starts_with("s3:")) {
        context.insert("s3:authType", signature.form);
        context.insert("s3:signatureversion", signature.version);
        if let Some(signed_at) = signature.signed_at {
            let age = cx.platform().clock().unmoved().since(signed_at).as_millis();
            context.insert("s3:signatureAge", age.to_string());
        }
        if let Some(digest) = &signature.content_sha256 {
            context.insert("s3:x-amz-content-sha256", digest.as_str());
        }
    }
    for (key, values) in &access.context {
        match values.as_slice() {
            [value] => context.insert(key, value.as_str()),
            values => context.insert_many(key, values.iter().map(String::as_str)),
        }
    }
    context
}

/// A session of a role for a service that was handed it, if the role's trust policy lets that service in.
pub(crate) async fn assume_for_service(
    cx: &Cx,
    role_arn: &str,
    principal: &'static str,
    session_name: &str,
) -> Result<Caller, Fault> {
    let denied = || {
        let message = format!("{principal} is unable to assume the role {role_arn}");
        Fault::framework("AccessDenied", 403, message)
    };
    let arn = Arn::parse(role_arn).map_err(|_| denied())?;
    let name = arn.resource().rsplit('/').next().unwrap_or_default();
    let account = AccountId::parse(arn.account()).ok_or_else(denied)?;
    let role = cx.platform().identities().role(account, name).await?.filter(|role| role.arn == role_arn);
    let role = role.ok_or_else(denied)?;
    let service = Principal::service(principal);
    let mut context = Context::new();
    service.describe(&mut context);
    cx.extra_context().iter().for_each(|(key, value)| context.insert(key, value.as_str()));
    let request = Request {
        principal: &service,
        action: "sts:AssumeRole",
        resource: role_arn,
        resource_account: Some(account),
        context: &context,
        scope: pileus_iam::Scope::Exactly,
    };
    let trust = [Named::new("role trust policy", role.trust_policy.clone())];
    let policies = Policies { resource: &trust, resource_must_allow: true, ..Policies::default() };
    match evaluate(&request, &policies).decision {
        Decision::Allowed => Ok(Caller::assumed_role(account, role_arn, &role.name, &role.id, session_name)),
        _ => Err(denied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_tells_its_account_if_its_arn_has_one() {
        let account = |resource| account_in(resource).map(|account| account.to_string());
        assert_eq!(account("arn:aws:sqs:us-east-1:123456789012:q:r").as_deref(), Some("123456789012"));
        for none in
            ["*", "arn:aws:s3:::bucket", "arn:aws:sqs:us-east-1:123456789012", "x:aws:sqs:r:123456789012:q"]
        {
            assert_eq!(account(none), None, "{none}");
        }
    }

    #[test]
    fn each_kind_of_service_refuses_in_its_own_way() {
        let cases = [
            ("sts", "AccessDenied", 403),
            ("sns", "AuthorizationError", 403),
            ("ec2", "UnauthorizedOperation", 403),
            ("lambda", "AccessDeniedException", 403),
            ("dynamodb", "AccessDeniedException", 400),
            // Speaks JSON, and keeps the statuses of the query protocol that it spoke before.
            ("sqs", "AccessDeniedException", 403),
        ];
        for (service, code, status) in cases {
            let api = pileus_models::service(service).unwrap();
            let fault = denied(api, "no".to_owned());
            assert_eq!((fault.code.as_ref(), fault.status), (code, status), "{service}");
        }
    }
}
