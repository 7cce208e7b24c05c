//! `PutResourcePolicy`, `DeleteResourcePolicy`, `DescribeResourcePolicies`: who else may write into an account's groups.
//!
//! Source: CloudWatch Logs API Reference, "PutResourcePolicy" (ten policies for each region, 5,120 characters). Recorded: the
//! sentences.

use std::sync::{Arc, PoisonError};

use pileus_api_logs::{
    DeleteResourcePolicyRequest, DescribeResourcePoliciesRequest, DescribeResourcePoliciesResponse,
    PutResourcePolicyRequest, PutResourcePolicyResponse, ResourcePolicy as Described, policy_scope,
};
use pileus_core::{AccountId, Arn, Region};
use pileus_iam::Policy;
use pileus_platform::{Cx, Fault, ResourcePolicy};
use pileus_store::{Stored, table};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::LogsError;
use crate::keys::POLICIES;
use crate::limits;
use crate::page;
use crate::state::{Logs, millis};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyRecord {
    pub document: String,
    pub updated_at: i64,
}

impl Stored for PolicyRecord {}

pub async fn put_resource_policy(
    cx: &Cx,
    input: PutResourcePolicyRequest,
) -> Result<PutResourcePolicyResponse, LogsError> {
    if input.resource_arn.is_some() || input.expected_revision_id.is_some() {
        return Err(LogsError::lacking("policies of single log groups (resourceArn)"));
    }
    let name = &input.policy_name.filter(|name| !name.is_empty());
    let name = name.as_deref().ok_or_else(|| LogsError::invalid("The policy name must not be empty."))?;
    let document = input.policy_document.unwrap_or_default();
    if document.len() > limits::MAX_POLICY_BYTES {
        return Err(LogsError::invalid("The policy document is longer than 5120 characters."));
    }
    Policy::parse(&document).map_err(|_| LogsError::invalid("This resource policy is not valid JSON."))?;
    let record = &PolicyRecord { document, updated_at: millis(cx.now()) };
    let (account, region) = (cx.account(), cx.region());
    cx.transact(|txn| async move {
        let present = POLICIES.scan(&txn, &POLICIES.under(&(account, region)), 100).await?.rows;
        let is_new = present.iter().all(|((_, _, other), _)| other != name);
        if is_new && present.len() >= limits::MAX_RESOURCE_POLICIES {
            return Err(LogsError::LimitExceeded);
        }
        POLICIES.put(&txn, &(account, region, name), record)?;
        Ok(())
    })
    .await?;
    let resource_policy = Some(describe(name.to_owned(), record.clone()));
    Ok(PutResourcePolicyResponse { resource_policy, revision_id: None })
}

fn describe(name: String, record: PolicyRecord) -> Described {
    Described {
        policy_name: Some(name),
        policy_document: Some(record.document),
        last_updated_time: Some(record.updated_at),
        policy_scope: Some(policy_scope::ACCOUNT.to_owned()),
        ..Described::default()
    }
}

pub async fn delete_resource_policy(cx: &Cx, input: DeleteResourcePolicyRequest) -> Result<Unit, LogsError> {
    if input.resource_arn.is_some() || input.expected_revision_id.is_some() {
        return Err(LogsError::lacking("policies of single log groups (resourceArn)"));
    }
    let name = &input.policy_name.unwrap_or_default();
    let (account, region) = (cx.account(), cx.region());
    cx.transact(|txn| async move {
        let key = (account, region, name.as_str());
        if POLICIES.get(&txn, &key).await?.is_none() {
            return Err(LogsError::NotFound(format!("Policy with name [{name}] does not exist.")));
        }
        POLICIES.delete(&txn, &key);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn describe_resource_policies(
    cx: &Cx,
    input: DescribeResourcePoliciesRequest,
) -> Result<DescribeResourcePoliciesResponse, LogsError> {
    if input.resource_arn.is_some() || input.policy_scope.is_some_and(|scope| scope != policy_scope::ACCOUNT)
    {
        return Err(LogsError::lacking("policies of single log groups (resourceArn)"));
    }
    let (account, region) = (cx.account(), cx.region());
    let after = page::read(input.next_token.as_deref())?;
    let mut range = POLICIES.under(&(account, region));
    if let Some(after) = after {
        range = range.after(&POLICIES.key(&(account, region, after.as_str())));
    }
    let rows = POLICIES.scan(cx.store(), &range, page::limit(input.limit)).await?;
    let next_token = page::next(rows.more, rows.rows.last().map(|((_, _, name), _)| name.as_str()));
    let policies = rows.rows.into_iter().map(|((_, _, name), record)| describe(name, record)).collect();
    Ok(DescribeResourcePoliciesResponse { resource_policies: Some(policies), next_token })
}

/// The policies of the account that a resource belongs to, as one. Read anew when one of them has changed.
pub async fn policy(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    let Ok(arn) = Arn::parse(arn) else { return Ok(None) };
    let (Some(account), Some(region)) = (AccountId::parse(arn.account()), Region::parse(arn.region())) else {
        return Ok(None);
    };
    let range = POLICIES.under(&(account, &region));
    let page = cx.store().scan(POLICIES.space(), &range, limits::MAX_RESOURCE_POLICIES).await;
    let entries = page.map_err(LogsError::from)?.entries;
    if entries.is_empty() {
        return Ok(None);
    }
    let versions: Vec<_> = entries.iter().map(|entry| entry.version).collect();
    let cached = &cx.state::<Logs>().policies;
    let key = (account.as_str().to_owned(), region.as_str().to_owned());
    let known = cached.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    let policy = match known.filter(|(known, _)| *known == versions) {
        Some((_, policy)) => policy,
        None => {
            let records = entries.iter().map(|entry| table::decode::<PolicyRecord>(&entry.value));
            let records = records.collect::<Result<Vec<_>, _>>().map_err(LogsError::from)?;
            let policy = join(&records).map(Arc::new);
            cached.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (versions, policy.clone()));
            policy
        }
    };
    Ok(policy.map(|policy| ResourcePolicy { name: "resource policy".into(), policy, must_allow: false }))
}

/// All statements in one document.
fn join(records: &[PolicyRecord]) -> Option<Policy> {
    let mut statements = Vec::new();
    for record in records {
        let document: Value = serde_json::from_str(&record.document).ok()?;
        match document.get("Statement")? {
            Value::Array(all) => statements.extend(all.iter().cloned()),
            one => statements.push(one.clone()),
        }
    }
    let joined = json!({"Version": "2012-10-17", "Statement": statements});
    Policy::parse(&joined.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_judged_as_one() {
        let statement = |service: &str| {
            format!(
                r#"{{"Effect":"Allow","Principal":{{"Service":"{service}"}},"Action":"logs:PutLogEvents","Resource":"*"}}"#
            )
        };
        let record = |statement: String| PolicyRecord {
            document: format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#),
            updated_at: 0,
        };
        let one = record(statement("route53.amazonaws.com"));
        let many =
            record(format!("[{},{}]", statement("es.amazonaws.com"), statement("events.amazonaws.com")));
        assert_eq!(join(&[one, many]).map(|policy| policy.len()), Some(3));
    }
}
