//! `SimulateCustomPolicy`, `SimulatePrincipalPolicy`, and the context keys that policies read. The engine is the one that judges real
//! requests, with the same policies of the principal.
//!
//! Source: IAM API Reference, "SimulateCustomPolicy", "SimulatePrincipalPolicy"; IAM User Guide, "IAM policy testing with the IAM
//! policy simulator".

mod position;

use std::collections::BTreeSet;
use std::sync::Arc;

use pileus_api_iam as api;
use pileus_core::AccountId;
use pileus_iam::{
    Because, Context, Decision, Named, Policies, Policy, Principal, Request, Scope, Verdict, evaluate,
};
use pileus_platform::Cx;

use crate::effective;
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::{GROUPS, ROLES, USERS};
use crate::names::{self, required};
use crate::page::Page;
use crate::policy;

/// A policy under test.
struct Tested {
    /// `PolicyInputList.1`, or the policy's name.
    source_id: String,
    document: String,
    policy: Arc<Policy>,
}

const IDENTITY: &str = "IAM Policy";
const RESOURCE: &str = "Resource Policy";

impl Tested {
    fn new(source_id: String, document: String) -> Result<Tested, IamError> {
        let policy = Policy::parse(&document)
            .map_err(|error| IamError::InvalidInput(format!("Invalid policy {source_id}: {error}")))?;
        Ok(Tested { source_id, document, policy: Arc::new(policy) })
    }

    fn list(name: &str, documents: Option<Vec<String>>) -> Result<Vec<Tested>, IamError> {
        let documents = documents.unwrap_or_default().into_iter().enumerate();
        documents.map(|(at, document)| Tested::new(format!("{name}.{}", at + 1), document)).collect()
    }

    fn named(tested: &[Tested]) -> Vec<Named<Arc<Policy>>> {
        tested.iter().map(|tested| Named::new(tested.source_id.as_str(), tested.policy.clone())).collect()
    }
}

/// What both operations ask.
struct Simulation {
    principal: Principal,
    identity: Vec<Tested>,
    boundary: Vec<Tested>,
    resource: Vec<Tested>,
    resource_owner: Option<AccountId>,
    context: Context,
    actions: Vec<String>,
    resources: Vec<String>,
}

pub async fn simulate_custom_policy(
    cx: &Cx,
    input: api::SimulateCustomPolicyRequest,
) -> Result<api::SimulatePolicyResponse, IamError> {
    let caller = match &input.caller_arn {
        Some(arn) => parse_principal(arn)?,
        None if input.resource_policy.is_some() => {
            let text = "CallerArn is required when ResourcePolicy is given.";
            return Err(IamError::InvalidInput(text.to_owned()));
        }
        // Somebody without a name: a user that no policy can mean.
        None => Principal::user(cx.account(), names::arn("aws", cx.account(), "user", "/", "simulated")),
    };
    let simulation = Simulation {
        context: context(&caller, cx, input.context_entries.unwrap_or_default()),
        principal: caller,
        identity: Tested::list("PolicyInputList", input.policy_input_list)?,
        boundary: Tested::list(
            "PermissionsBoundaryPolicyInputList",
            input.permissions_boundary_policy_input_list,
        )?,
        resource: Tested::list("ResourcePolicy", input.resource_policy.map(|policy| vec![policy]))?,
        resource_owner: owner(&input.resource_owner)?,
        actions: actions(input.action_names)?,
        resources: input.resource_arns.unwrap_or_default(),
    };
    let page = Page::new("simulation", input.marker.as_deref(), input.max_items)?;
    let cut = page.cut(simulation.run(), |(key, _)| key.clone());
    Ok(api::SimulatePolicyResponse {
        evaluation_results: Some(cut.items.into_iter().map(|(_, result)| result).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn simulate_principal_policy(
    cx: &Cx,
    input: api::SimulatePrincipalPolicyRequest,
) -> Result<api::SimulatePolicyResponse, IamError> {
    let source = required(&input.policy_source_arn, "PolicySourceArn")?;
    let holder = source_of(cx, source).await?;
    let mut identity = Vec::new();
    for policy in effective::of(cx.store(), &holder).await? {
        identity.push(Tested::new(policy.source_id(), policy.document)?);
    }
    identity.extend(Tested::list("PolicyInputList", input.policy_input_list)?);
    let (tags, own_boundary) = state_of(cx, &holder).await?;
    let boundary = match input.permissions_boundary_policy_input_list {
        Some(given) => Tested::list("PermissionsBoundaryPolicyInputList", Some(given))?,
        None => own_boundary.into_iter().collect(),
    };
    let caller = match &input.caller_arn {
        Some(arn) => parse_principal(arn)?,
        None => match holder.kind {
            Kind::Group => {
                Principal::user(cx.account(), names::arn("aws", cx.account(), "user", "/", "simulated"))
            }
            _ => parse_principal(source)?,
        },
    };
    let mut given = context(&caller, cx, Vec::new());
    for (key, value) in tags {
        given.insert(&format!("aws:PrincipalTag/{key}"), value);
    }
    add_entries(&mut given, input.context_entries.unwrap_or_default());
    let simulation = Simulation {
        context: given,
        principal: caller.with_unique_id(holder.id.as_str()),
        identity,
        boundary,
        resource: Tested::list("ResourcePolicy", input.resource_policy.map(|policy| vec![policy]))?,
        resource_owner: owner(&input.resource_owner)?,
        actions: actions(input.action_names)?,
        resources: input.resource_arns.unwrap_or_default(),
    };
    let page = Page::new("simulation", input.marker.as_deref(), input.max_items)?;
    let cut = page.cut(simulation.run(), |(key, _)| key.clone());
    Ok(api::SimulatePolicyResponse {
        evaluation_results: Some(cut.items.into_iter().map(|(_, result)| result).collect()),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

/// The user, group or role that an ARN names.
pub async fn source_of(cx: &Cx, arn: &str) -> Result<Holder, IamError> {
    let invalid = || {
        IamError::InvalidInput(format!(
            "Invalid Entity Arn: {arn} does not clearly define entity type and name."
        ))
    };
    let named = names::parse_arn(arn).ok_or_else(invalid)?;
    let kind = match named.kind.as_str() {
        "user" => Kind::User,
        "group" => Kind::Group,
        "role" => Kind::Role,
        _ => return Err(invalid()),
    };
    if named.account != Some(cx.account()) {
        return Err(kind.not_found(&named.name));
    }
    let holder = Holder::load(cx.store(), cx.account(), kind, &named.name).await?;
    if holder.path == named.path { Ok(holder) } else { Err(kind.not_found(&named.name)) }
}

/// Tags and boundary of a user or role.
async fn state_of(cx: &Cx, holder: &Holder) -> Result<(crate::tags::Tags, Option<Tested>), IamError> {
    let key = (holder.account, names::key(&holder.name));
    let (tags, boundary) = match holder.kind {
        Kind::User => USERS.get(cx.store(), &key).await?.map(|row| (row.tags, row.boundary)),
        Kind::Role => ROLES.get(cx.store(), &key).await?.map(|row| (row.tags, row.boundary)),
        Kind::Group => GROUPS.get(cx.store(), &key).await?.map(|_| (Vec::new(), None)),
    }
    .unwrap_or_default();
    let Some(arn) = boundary else { return Ok((tags, None)) };
    let document = policy::document_of(cx.store(), holder.account, &arn).await?;
    let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
    Ok((tags, document.map(|document| Tested::new(name, document)).transpose()?))
}

fn parse_principal(arn: &str) -> Result<Principal, IamError> {
    Principal::from_arn(arn).ok_or_else(|| IamError::InvalidInput(format!("Invalid principal ARN: {arn}")))
}

fn actions(names: Option<Vec<String>>) -> Result<Vec<String>, IamError> {
    let names = names.unwrap_or_default();
    let well_formed =
        |name: &String| name.split_once(':').is_some_and(|(s, a)| !s.is_empty() && !a.is_empty());
    match names.iter().find(|name| !well_formed(name)) {
        Some(bad) => Err(IamError::InvalidInput(format!("Invalid Action: {bad}"))),
        None => Ok(names),
    }
}

/// An account's ARN (`arn:aws:iam::123456789012:root`), or its number.
fn owner(given: &Option<String>) -> Result<Option<AccountId>, IamError> {
    let Some(given) = given else { return Ok(None) };
    let account = AccountId::parse(given)
        .or_else(|| pileus_core::Arn::parse(given).ok().and_then(|arn| AccountId::parse(arn.account())));
    account.map(Some).ok_or_else(|| IamError::InvalidInput(format!("Invalid ResourceOwner: {given}")))
}

fn context(principal: &Principal, cx: &Cx, entries: Vec<api::ContextEntry>) -> Context {
    let mut context = Context::new();
    principal.describe(&mut context);
    context.insert("aws:CurrentTime", cx.now().to_iso8601());
    context.insert("aws:EpochTime", cx.now().as_secs().to_string());
    add_entries(&mut context, entries);
    context
}

fn add_entries(context: &mut Context, entries: Vec<api::ContextEntry>) {
    for entry in entries {
        let name = entry.context_key_name.unwrap_or_default();
        let values = entry.context_key_values.unwrap_or_default();
        let is_list = entry.context_key_type.is_some_and(|kind| kind.ends_with("List"));
        match (values.as_slice(), is_list) {
            ([value], false) => context.insert(&name, value.as_str()),
            _ => context.insert_many(&name, values),
        }
    }
}

impl Simulation {
    /// One result for each action and resource, in the order asked.
    fn run(&self) -> Vec<(String, api::EvaluationResult)> {
        let everything = ["*".to_owned()];
        let resources: &[String] = if self.resources.is_empty() { &everything } else { &self.resources };
        let pairs =
            self.actions.iter().flat_map(|action| resources.iter().map(move |resource| (action, resource)));
        pairs.enumerate().map(|(at, (action, arn))| (format!("{at:08}"), self.judge(action, arn))).collect()
    }

    fn judge(&self, action: &str, resource: &str) -> api::EvaluationResult {
        let (identity, boundary) = (Tested::named(&self.identity), Tested::named(&self.boundary));
        let resource_policies = Tested::named(&self.resource);
        let request = Request {
            principal: &self.principal,
            action,
            resource,
            resource_account: self.resource_owner,
            context: &self.context,
            scope: Scope::Exactly,
        };
        let policies = Policies {
            identity: &identity,
            boundary: &boundary,
            resource: &resource_policies,
            ..Policies::default()
        };
        let verdict = evaluate(&request, &policies);
        let decision = word(verdict.decision).to_owned();
        let matched = self.matched(&verdict);
        let missing = self.missing();
        let within_boundary = (!boundary.is_empty()).then(|| {
            let alone = Policies { identity: &boundary, ..Policies::default() };
            api::PermissionsBoundaryDecisionDetail {
                allowed_by_permissions_boundary: Some(evaluate(&request, &alone).is_allowed()),
            }
        });
        let specific = api::ResourceSpecificResult {
            eval_resource_name: Some(resource.to_owned()),
            eval_resource_decision: Some(decision.clone()),
            matched_statements: Some(matched.clone()),
            missing_context_values: Some(missing.clone()),
            permissions_boundary_decision_detail: within_boundary.clone(),
            ..Default::default()
        };
        api::EvaluationResult {
            eval_action_name: Some(action.to_owned()),
            eval_resource_name: Some(resource.to_owned()),
            eval_decision: Some(decision),
            matched_statements: Some(matched),
            missing_context_values: Some(missing),
            permissions_boundary_decision_detail: within_boundary,
            resource_specific_results: (!self.resources.is_empty()).then(|| vec![specific]),
            ..Default::default()
        }
    }

    /// The statement that decided, with its place in its document.
    fn matched(&self, verdict: &Verdict) -> Vec<api::Statement> {
        let Because::Statement(deciding) = &verdict.because else { return Vec::new() };
        let lists = [(&self.identity, IDENTITY), (&self.boundary, IDENTITY), (&self.resource, RESOURCE)];
        let mut found =
            lists.into_iter().flat_map(|(list, kind)| list.iter().map(move |tested| (tested, kind)));
        let found = found.find(|(tested, _)| Arc::ptr_eq(&tested.policy, &deciding.policy.policy));
        let Some((tested, kind)) = found else { return Vec::new() };
        let span = position::of_statement(&tested.document, deciding.statement);
        let position = |(line, column)| api::Position { line: Some(line), column: Some(column) };
        vec![api::Statement {
            source_policy_id: Some(tested.source_id.clone()),
            source_policy_type: Some(kind.to_owned()),
            start_position: span.map(|(start, _)| position(start)),
            end_position: span.map(|(_, end)| position(end)),
        }]
    }

    /// Context keys that the policies read and nobody gave.
    fn missing(&self) -> Vec<String> {
        let all = self.identity.iter().chain(&self.boundary).chain(&self.resource);
        let read: BTreeSet<&str> = all.flat_map(|tested| tested.policy.context_keys()).collect();
        read.into_iter().filter(|key| self.context.get(key).is_none()).map(str::to_owned).collect()
    }
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Allowed => "allowed",
        Decision::ImplicitlyDenied => "implicitDeny",
        Decision::ExplicitlyDenied => "explicitDeny",
    }
}

fn keys_of(tested: &[Tested]) -> Vec<String> {
    let keys: BTreeSet<&str> = tested.iter().flat_map(|tested| tested.policy.context_keys()).collect();
    keys.into_iter().map(str::to_owned).collect()
}

pub async fn get_context_keys_for_custom_policy(
    _: &Cx,
    input: api::GetContextKeysForCustomPolicyRequest,
) -> Result<api::GetContextKeysForPolicyResponse, IamError> {
    let tested = Tested::list("PolicyInputList", input.policy_input_list)?;
    Ok(api::GetContextKeysForPolicyResponse { context_key_names: Some(keys_of(&tested)) })
}

pub async fn get_context_keys_for_principal_policy(
    cx: &Cx,
    input: api::GetContextKeysForPrincipalPolicyRequest,
) -> Result<api::GetContextKeysForPolicyResponse, IamError> {
    let holder = source_of(cx, required(&input.policy_source_arn, "PolicySourceArn")?).await?;
    let mut tested = Tested::list("PolicyInputList", input.policy_input_list)?;
    for policy in effective::of(cx.store(), &holder).await? {
        tested.push(Tested::new(policy.source_id(), policy.document)?);
    }
    Ok(api::GetContextKeysForPolicyResponse { context_key_names: Some(keys_of(&tested)) })
}
