//! `CreateTopic`, `DeleteTopic`, `ListTopics`.
//!
//! Source: Amazon SNS API Reference, the three operations; Amazon SNS Developer Guide, "Amazon SNS FIFO topics". Recorded: the sentences.

pub mod attributes;
pub mod delivery_policy;
pub mod permission;
pub mod settings;
pub mod tags;

use std::collections::BTreeMap;
use std::sync::Arc;

use pileus_api_sns as api;
use pileus_core::{AccountId, Arn, Region};
use pileus_iam::Policy;
use pileus_platform::{Cx, Fault, ResourcePolicy};
use pileus_store::{KeyRange, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::error::SnsError;
use crate::keys::{TOPICS, TopicKey};
use crate::page::Page;
use crate::state::{Sns, millis};
use crate::topic::attributes::{Attributes, Setting};
use crate::work;

pub const FIFO_SUFFIX: &str = ".fifo";

/// A topic as it is stored. Whatever changes about its subscriptions changes this row too, so who knows its version knows them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The topic's own, for as long as it exists.
    pub id: u64,
    /// Milliseconds since 1970.
    pub created_at: u64,
    pub attributes: Attributes,
    pub tags: BTreeMap<String, String>,
    pub data_protection: Option<String>,
    pub confirmed: u64,
    pub pending: u64,
    pub deleted: u64,
}

impl Stored for Record {}

/// Where a topic is: the parts of its ARN, and of its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    pub account: AccountId,
    pub region: Region,
    pub name: String,
}

impl Address {
    pub fn key(&self) -> TopicKey {
        (self.account, self.region.clone(), self.name.clone())
    }

    pub fn arn(&self) -> Arn {
        let region = &self.region;
        Arn::new(region.partition(), "sns", region.as_str(), self.account.as_str(), &self.name)
    }

    /// `None` unless it is the ARN of a topic.
    pub fn from_arn(arn: &str) -> Option<Address> {
        let arn = Arn::parse(arn).ok()?;
        let fits = arn.service() == "sns" && is_name(arn.resource());
        let (account, region) = (AccountId::parse(arn.account())?, Region::parse(arn.region())?);
        fits.then(|| Address { account, region, name: arn.resource().to_owned() })
    }

    /// Reads the parameter of a request.
    ///
    /// # Errors
    /// `InvalidParameter`
    pub fn parse(arn: Option<&str>) -> Result<Address, SnsError> {
        let text = arn.unwrap_or_default();
        if text.is_empty() {
            return Err(SnsError::invalid("TopicArn Reason: no value for required parameter"));
        }
        let parts = text.split(':').count();
        if parts < 6 {
            let reason = format!("An ARN must have at least 6 elements, not {parts}");
            return Err(SnsError::reason("TopicArn", reason));
        }
        Address::from_arn(text).ok_or_else(|| SnsError::invalid("TopicArn"))
    }

    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO_SUFFIX)
    }
}

/// Letters, digits, hyphens and underscores, at most 256; a FIFO topic's name ends in `.fifo`.
pub fn is_name(name: &str) -> bool {
    let base = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !base.is_empty() && name.len() <= 256 && base.bytes().all(is_plain)
}

/// `CreateTopic`: a topic that exists with the same attributes is answered as if it were new.
pub async fn create_topic(
    cx: &Cx,
    input: api::CreateTopicInput,
) -> Result<api::CreateTopicResponse, SnsError> {
    let name = input.name.unwrap_or_default();
    let given = input.attributes.unwrap_or_default();
    let is_fifo = given.get("FifoTopic").is_some_and(|value| value == "true");
    if !is_name(&name) {
        return Err(SnsError::invalid("Topic Name"));
    }
    if is_fifo != name.ends_with(FIFO_SUFFIX) {
        let text = if is_fifo {
            "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long."
        } else {
            "Topic Name"
        };
        return Err(SnsError::invalid(text));
    }
    let address = &Address { account: cx.account(), region: cx.region().clone(), name };
    let mut attributes = Attributes::new(is_fifo);
    for (name, value) in given.iter() {
        attributes.set(name, value, address, Setting::Create)?;
    }
    attributes.check()?;
    let tags = tags::merge(BTreeMap::new(), input.tags.unwrap_or_default())?;
    let data_protection = input.data_protection_policy.filter(|policy| !policy.is_empty());
    if let Some(policy) = &data_protection {
        settings::check_data_protection(policy)?;
    }
    let now = millis(cx.now());
    if attributes.archive_days.is_some() {
        attributes.archive_since = Some(now);
    }
    let record = &Record {
        id: cx.rng().next_u64(),
        created_at: now,
        attributes,
        tags,
        data_protection,
        confirmed: 0,
        pending: 0,
        deleted: 0,
    };
    let given = &given;
    cx.transact(|txn| async move {
        if let Some(existing) = TOPICS.get(&txn, &address.key()).await? {
            if !existing.tags.iter().eq(record.tags.iter()) && !record.tags.is_empty() {
                let reason = "Topic already exists with different tags";
                return Err(SnsError::reason("Tags", reason));
            }
            let names = given.iter().map(|(name, _)| name);
            if !existing.attributes.agrees(&record.attributes, names, address) {
                let reason = "Topic already exists with different attributes";
                return Err(SnsError::reason("Attributes", reason));
            }
            return Ok(());
        }
        if record.attributes.archive_days.is_some() {
            work::sweep_archive(&txn, address, record.id, cx.now())?;
        }
        store(&txn, address, record)
    })
    .await?;
    Ok(api::CreateTopicResponse { topic_arn: Some(address.arn().to_string()) })
}

pub fn store(txn: &Txn, address: &Address, record: &Record) -> Result<(), SnsError> {
    Ok(TOPICS.put(txn, &address.key(), record)?)
}

/// Changes a topic's row.
///
/// # Errors
/// `NotFound`
pub async fn change<T: Send>(
    cx: &Cx,
    address: &Address,
    change: impl Fn(&Txn, &mut Record) -> Result<T, SnsError> + Send + Sync,
) -> Result<T, SnsError> {
    let change = &change;
    cx.transact(|txn| async move {
        let mut record = TOPICS.get(&txn, &address.key()).await?.ok_or(SnsError::NO_TOPIC)?;
        let answer = change(&txn, &mut record)?;
        store(&txn, address, &record)?;
        Ok(answer)
    })
    .await
}

/// `DeleteTopic`: of what is not there as well. Subscriptions and messages on their way go after it.
pub async fn delete_topic(cx: &Cx, input: api::DeleteTopicInput) -> Result<Unit, SnsError> {
    let address = &Address::parse(input.topic_arn.as_deref())?;
    cx.transact(|txn| async move {
        let Some(record) = TOPICS.get(&txn, &address.key()).await? else { return Ok(()) };
        TOPICS.delete(&txn, &address.key());
        work::sweep_topic(&txn, address, record.id, cx.now())
    })
    .await?;
    Ok(Unit)
}

/// `ListTopics`: a hundred at a time.
pub async fn list_topics(cx: &Cx, input: api::ListTopicsInput) -> Result<api::ListTopicsResponse, SnsError> {
    let page = Page::new(input.next_token.as_deref())?;
    let range = TOPICS.under(&(cx.account(), cx.region()));
    let range: KeyRange = match page.after() {
        Some(name) => range.after(&TOPICS.key(&(cx.account(), cx.region(), name))),
        None => range,
    };
    let rows = TOPICS.scan(cx.store(), &range, page.limit()).await?;
    let next_token = page.next(rows.more, rows.rows.last().map(|((_, _, name), _)| name.as_str()));
    let topics = rows.rows.into_iter().map(|((account, region, name), _)| api::Topic {
        topic_arn: Some(Address { account, region, name }.arn().to_string()),
    });
    Ok(api::ListTopicsResponse { topics: Some(topics.collect()), next_token })
}

/// The policy of the topic with this ARN. The one that a topic is made with opens nothing that its account's identities do not have.
pub async fn policy(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    let Some(address) = Address::from_arn(arn) else { return Ok(None) };
    let topic = cx.state::<Sns>().find_now(cx.store(), &address).await.map_err(SnsError::from)?;
    let policy: Option<Arc<Policy>> = topic.and_then(|topic| topic.policy.clone());
    Ok(policy.map(|policy| ResourcePolicy { name: arn.into(), policy, must_allow: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topics_arn_is_read_and_others_are_not() {
        let good = Address::parse(Some("arn:aws:sns:us-east-1:123456789012:a_b-C.fifo")).unwrap();
        assert!(good.is_fifo());
        assert_eq!(good.arn().as_str(), "arn:aws:sns:us-east-1:123456789012:a_b-C.fifo");
        let long = format!("arn:aws:sns:us-east-1:123456789012:{}", "a".repeat(257));
        for bad in [
            "",
            "topic",
            "arn:aws:sqs:us-east-1:123456789012:t",
            "arn:aws:sns:us-east-1:123456789012:a.b",
            "arn:aws:sns:us-east-1:123456789012:t:sub",
            "arn:aws:sns:us-east-1:123456789012:.fifo",
            &long,
        ] {
            assert!(Address::parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
