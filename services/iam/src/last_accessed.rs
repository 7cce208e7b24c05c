//! Which services principals may use, through which policies, and when they last did: `ListPoliciesGrantingServiceAccess`,
//! `GenerateServiceLastAccessedDetails` and what it answers.
//!
//! A job is done when it is made; it keeps its question for seven days, and the answer is read when it is asked for.
//!
//! Source: IAM User Guide, "Refine permissions in AWS using last accessed information".

use std::collections::BTreeMap;
use std::time::Duration;

use pileus_api_iam as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Stored, Txn};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access_key::LastUse;
use crate::change;
use crate::effective::{self, Effective};
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::{ACCESSED, JOBS, MEMBERS};
use crate::names::{self, required};
use crate::page::{self, Page};
use crate::simulate::source_of;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobRow {
    pub arn: String,
    pub created: Timestamp,
}

impl Stored for JobRow {}

/// How long a job can be asked about.
const JOB_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// Drops what was kept of a principal that goes.
pub async fn forget(txn: &Txn, id: &str) -> Result<(), IamError> {
    for (key, _) in page::all(txn, ACCESSED, ACCESSED.under(&(id.to_owned(),))).await? {
        ACCESSED.delete(txn, &key);
    }
    Ok(())
}

/// Whether a document allows anything of a service (`sqs`).
pub fn grants(document: &str, namespace: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(document) else { return false };
    let names = |action: &str| match action.split_once(':') {
        Some((service, _)) => service.eq_ignore_ascii_case(namespace) || service == "*",
        None => action == "*",
    };
    let takes_all = |action: &str| action == "*" || action.eq_ignore_ascii_case(&format!("{namespace}:*"));
    items(&document["Statement"]).filter(|statement| statement["Effect"] == "Allow").any(|statement| {
        let allows = items(&statement["Action"]).filter_map(Value::as_str).any(names);
        let excepts = &statement["NotAction"];
        let leaves = !excepts.is_null() && !items(excepts).filter_map(Value::as_str).any(takes_all);
        allows || leaves
    })
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(items) => items.iter(),
        Value::Null => [].iter(),
        single => std::slice::from_ref(single).iter(),
    }
}

pub async fn list_policies_granting_service_access(
    cx: &Cx,
    input: api::ListPoliciesGrantingServiceAccessRequest,
) -> Result<api::ListPoliciesGrantingServiceAccessResponse, IamError> {
    let holder = source_of(cx, required(&input.arn, "Arn")?).await?;
    let page = Page::new("granting", input.marker.as_deref(), None)?;
    let policies = effective::of(cx.store(), &holder).await?;
    let entry = |namespace: &String| api::ListPoliciesGrantingServiceAccessEntry {
        service_namespace: Some(namespace.clone()),
        policies: Some(
            policies.iter().filter(|policy| grants(&policy.document, namespace)).map(granting).collect(),
        ),
    };
    let namespaces = input.service_namespaces.unwrap_or_default();
    let cut =
        page.cut(namespaces.iter().map(entry), |entry| entry.service_namespace.clone().unwrap_or_default());
    Ok(api::ListPoliciesGrantingServiceAccessResponse {
        policies_granting_service_access: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

fn granting(policy: &Effective) -> api::PolicyGrantingServiceAccess {
    let holder = &policy.holder;
    let inline = policy.arn.is_none();
    api::PolicyGrantingServiceAccess {
        policy_name: Some(policy.policy_name.clone()),
        policy_type: Some(if inline { "INLINE" } else { "MANAGED" }.to_owned()),
        policy_arn: policy.arn.clone(),
        entity_type: inline.then(|| holder.kind.noun().to_ascii_uppercase()),
        entity_name: inline.then(|| holder.name.clone()),
    }
}

pub async fn generate_service_last_accessed_details(
    cx: &Cx,
    input: api::GenerateServiceLastAccessedDetailsRequest,
) -> Result<api::GenerateServiceLastAccessedDetailsResponse, IamError> {
    if input.granularity.as_deref() == Some("ACTION_LEVEL") {
        return Err(IamError::NotImplemented("last accessed information of single actions (ACTION_LEVEL)"));
    }
    let arn = required(&input.arn, "Arn")?;
    if arn.contains(":policy/") {
        return Err(IamError::NotImplemented("last accessed information of managed policies"));
    }
    source_of(cx, arn).await?;
    let id = cx.ids().uuid();
    let row = JobRow { arn: arn.to_owned(), created: change::now(cx) };
    let (key, row) = (&(cx.account(), id.clone()), &row);
    cx.transact(move |txn| async move {
        for (old, job) in page::all(&txn, JOBS, JOBS.under(&(cx.account(),))).await? {
            if cx.now().since(job.created) >= JOB_LIFETIME {
                JOBS.delete(&txn, &old);
            }
        }
        Ok::<(), IamError>(JOBS.put(&txn, key, row)?)
    })
    .await?;
    Ok(api::GenerateServiceLastAccessedDetailsResponse { job_id: Some(id) })
}

pub async fn get_service_last_accessed_details(
    cx: &Cx,
    input: api::GetServiceLastAccessedDetailsRequest,
) -> Result<api::GetServiceLastAccessedDetailsResponse, IamError> {
    let job = load_job(cx, required(&input.job_id, "JobId")?).await?;
    let holder = source_of(cx, &job.arn).await?;
    let page = Page::new("last-accessed", input.marker.as_deref(), input.max_items)?;
    let policies = effective::of(cx.store(), &holder).await?;
    let uses = uses_of(cx, holder.kind, &holder.id).await?;
    let mut services = Vec::new();
    for (namespace, name) in services_known() {
        if policies.iter().any(|policy| grants(&policy.document, namespace)) {
            services.push(service(namespace, name, uses.get(namespace)));
        }
    }
    let cut = page.cut(services, |service| service.service_namespace.clone().unwrap_or_default());
    Ok(api::GetServiceLastAccessedDetailsResponse {
        job_status: Some("COMPLETED".to_owned()),
        job_type: Some("SERVICE_LEVEL".to_owned()),
        job_creation_date: Some(job.created),
        job_completion_date: Some(job.created),
        services_last_accessed: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
        ..Default::default()
    })
}

/// Who could have used a group's policies for a service, or that user or role itself; the latest use first.
///
/// Source: IAM API Reference, "GetServiceLastAccessedDetailsWithEntities".
pub async fn get_service_last_accessed_details_with_entities(
    cx: &Cx,
    input: api::GetServiceLastAccessedDetailsWithEntitiesRequest,
) -> Result<api::GetServiceLastAccessedDetailsWithEntitiesResponse, IamError> {
    let job = load_job(cx, required(&input.job_id, "JobId")?).await?;
    let namespace = required(&input.service_namespace, "ServiceNamespace")?;
    let holder = source_of(cx, &job.arn).await?;
    let page = Page::new("last-accessed-entities", input.marker.as_deref(), input.max_items)?;
    let policies = effective::of(cx.store(), &holder).await?;
    let mut entities = Vec::new();
    if policies.iter().any(|policy| grants(&policy.document, namespace)) {
        for id in ids_of(cx, holder.kind, &holder.id).await? {
            let Some(entity) = Holder::find(cx.store(), &id).await? else { continue };
            let used = ACCESSED.get(cx.store(), &(id, namespace.to_owned())).await?;
            entities.push(details(cx, &entity, used.map(|last| last.at)));
        }
    }
    let cut = page.cut(entities, latest_first);
    Ok(api::GetServiceLastAccessedDetailsWithEntitiesResponse {
        job_status: Some("COMPLETED".to_owned()),
        job_creation_date: Some(job.created),
        job_completion_date: Some(job.created),
        entity_details_list: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
        ..Default::default()
    })
}

fn details(cx: &Cx, entity: &Holder, used: Option<Timestamp>) -> api::EntityDetails {
    let word = entity.kind.word();
    api::EntityDetails {
        entity_info: Some(api::EntityInfo {
            arn: Some(names::arn(cx.region().partition(), entity.account, word, &entity.path, &entity.name)),
            name: Some(entity.name.clone()),
            r#type: Some(word.to_ascii_uppercase()),
            id: Some(entity.id.clone()),
            path: Some(entity.path.clone()),
        }),
        last_authenticated: used,
    }
}

/// Sorts by the time of use, the latest first and none at the end, then by ARN.
fn latest_first(entity: &api::EntityDetails) -> String {
    let at = entity.last_authenticated.map_or(0, Timestamp::as_secs);
    let arn = entity.entity_info.as_ref().and_then(|info| info.arn.as_deref()).unwrap_or_default();
    format!("{:020} {arn}", i64::MAX - at)
}

async fn load_job(cx: &Cx, id: &str) -> Result<JobRow, IamError> {
    let row = JOBS.get(cx.store(), &(cx.account(), id.to_owned())).await?;
    let row = row.filter(|job| cx.now().since(job.created) < JOB_LIFETIME);
    row.ok_or_else(|| IamError::NoSuchEntity(format!("Job {id} cannot be found.")))
}

/// IAM namespace and name of every service that we have a model of.
fn services_known() -> BTreeMap<&'static str, &'static str> {
    pileus_models::all().iter().map(|entry| (entry.header.arn_namespace, entry.header.service_id)).collect()
}

/// The ids of a group's members, or of the principal itself.
async fn ids_of(cx: &Cx, kind: Kind, id: &str) -> Result<Vec<String>, IamError> {
    if kind != Kind::Group {
        return Ok(vec![id.to_owned()]);
    }
    let members = page::all(cx.store(), MEMBERS, MEMBERS.under(&(id.to_owned(),))).await?;
    Ok(members.into_iter().map(|((_, user), _)| user).collect())
}

/// The uses of services by a principal, or by the members of a group: how many used each, and the last of them.
async fn uses_of(cx: &Cx, kind: Kind, id: &str) -> Result<BTreeMap<String, (i64, LastUse)>, IamError> {
    let mut uses: BTreeMap<String, (i64, LastUse)> = BTreeMap::new();
    for id in ids_of(cx, kind, id).await? {
        for ((_, service), last) in page::all(cx.store(), ACCESSED, ACCESSED.under(&(id,))).await? {
            uses.entry(service)
                .and_modify(|(count, latest)| {
                    *count += 1;
                    if last.at > latest.at {
                        *latest = last.clone();
                    }
                })
                .or_insert((1, last));
        }
    }
    Ok(uses)
}

fn service(namespace: &str, name: &str, used: Option<&(i64, LastUse)>) -> api::ServiceLastAccessed {
    api::ServiceLastAccessed {
        service_name: Some(name.to_owned()),
        service_namespace: Some(namespace.to_owned()),
        last_authenticated: used.map(|(_, last)| last.at),
        last_authenticated_entity: used.map(|(_, last)| last.entity.clone()),
        last_authenticated_region: used.map(|(_, last)| last.region.clone()),
        total_authenticated_entities: Some(used.map_or(0, |(count, _)| *count)),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_grants_what_it_allows() {
        let cases = [
            (r#"{"Statement":{"Effect":"Allow","Action":"sqs:SendMessage","Resource":"*"}}"#, true),
            (r#"{"Statement":[{"Effect":"Allow","Action":["s3:*","SQS:*"],"Resource":"*"}]}"#, true),
            (r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#, true),
            (r#"{"Statement":{"Effect":"Deny","Action":"sqs:*","Resource":"*"}}"#, false),
            (r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#, false),
            (r#"{"Statement":{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}}"#, true),
            (r#"{"Statement":{"Effect":"Allow","NotAction":["sqs:*"],"Resource":"*"}}"#, false),
            ("not json", false),
        ];
        for (document, expected) in cases {
            assert_eq!(grants(document, "sqs"), expected, "{document}");
        }
    }
}
