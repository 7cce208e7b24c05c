//! `GetTopicAttributes`, `SetTopicAttributes`, `GetDataProtectionPolicy`, `PutDataProtectionPolicy`.
//!
//! Source: Amazon SNS API Reference, the four operations. Chosen: a data protection policy is kept and shown; payloads are not scanned.

use pileus_api_sns as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_wire::value::Unit;
use serde_json::Value;

use super::{Address, change};
use crate::error::SnsError;
use crate::keys::TOPICS;
use crate::state::millis;
use crate::topic::attributes::Setting;
use crate::work;

pub async fn get_topic_attributes(
    cx: &Cx,
    input: api::GetTopicAttributesInput,
) -> Result<api::GetTopicAttributesResponse, SnsError> {
    let address = Address::parse(input.topic_arn.as_deref())?;
    let record = TOPICS.get(cx.store(), &address.key()).await?.ok_or(SnsError::NO_TOPIC)?;
    let mut shown = record.attributes.show(&address);
    shown.insert("TopicArn", address.arn().to_string());
    shown.insert("Owner", address.account.to_string());
    shown.insert("SubscriptionsConfirmed", record.confirmed.to_string());
    shown.insert("SubscriptionsPending", record.pending.to_string());
    shown.insert("SubscriptionsDeleted", record.deleted.to_string());
    if let Some(since) = record.attributes.archive_since.filter(|_| record.attributes.archive_days.is_some())
    {
        let days = u64::from(record.attributes.archive_days.unwrap_or(0));
        let oldest = millis(cx.now()).saturating_sub(days * 86_400_000).max(since);
        let oldest = Timestamp::from_millis(i64::try_from(oldest).unwrap_or(0));
        shown.insert("BeginningArchiveTime", oldest.to_iso8601());
    }
    let attributes = shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(api::GetTopicAttributesResponse { attributes: Some(attributes) })
}

pub async fn set_topic_attributes(cx: &Cx, input: api::SetTopicAttributesInput) -> Result<Unit, SnsError> {
    let address = &Address::parse(input.topic_arn.as_deref())?;
    let name = input.attribute_name.unwrap_or_default();
    let value = input.attribute_value.unwrap_or_default();
    let (name, value, now) = (&name, &value, cx.now());
    change(cx, address, |txn, record| {
        let was_archived = record.attributes.archive_days.is_some();
        record.attributes.set(name, value, address, Setting::Change)?;
        record.attributes.check()?;
        match (was_archived, record.attributes.archive_days.is_some()) {
            (false, true) => {
                record.attributes.archive_since = Some(millis(now));
                work::sweep_archive(txn, address, record.id, now)?;
            }
            (true, false) => record.attributes.archive_since = None,
            _ => {}
        }
        Ok(())
    })
    .await?;
    Ok(Unit)
}

/// # Errors
/// `InvalidParameter`
pub fn check_data_protection(policy: &str) -> Result<(), SnsError> {
    let parsed = serde_json::from_str::<Value>(policy).ok();
    let has_statements = parsed.as_ref().is_some_and(|policy| {
        policy.get("Statement").is_some_and(Value::is_array)
            && policy.get("Name").is_some_and(Value::is_string)
    });
    if !has_statements || policy.len() > 30_720 {
        return Err(SnsError::invalid("DataProtectionPolicy"));
    }
    Ok(())
}

pub async fn get_data_protection_policy(
    cx: &Cx,
    input: api::GetDataProtectionPolicyInput,
) -> Result<api::GetDataProtectionPolicyResponse, SnsError> {
    let address = Address::parse(input.resource_arn.as_deref())?;
    let record = TOPICS.get(cx.store(), &address.key()).await?.ok_or(SnsError::NO_TOPIC)?;
    let policy = record.data_protection.unwrap_or_default();
    Ok(api::GetDataProtectionPolicyResponse { data_protection_policy: Some(policy) })
}

pub async fn put_data_protection_policy(
    cx: &Cx,
    input: api::PutDataProtectionPolicyInput,
) -> Result<Unit, SnsError> {
    let address = Address::parse(input.resource_arn.as_deref())?;
    let policy = input.data_protection_policy.filter(|policy| !policy.is_empty());
    if let Some(policy) = &policy {
        check_data_protection(policy)?;
    }
    change(cx, &address, |_, record| {
        record.data_protection.clone_from(&policy);
        Ok(())
    })
    .await?;
    Ok(Unit)
}
