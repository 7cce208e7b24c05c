//! `Subscribe`, `ConfirmSubscription`, `Unsubscribe`, `ListSubscriptions`, `ListSubscriptionsByTopic`.
//!
//! Source: Amazon SNS API Reference, the operations; Amazon SNS Developer Guide, "Creating a subscription to an Amazon SNS topic",
//! "Sending Amazon SNS messages to an Amazon SQS queue in a different account". Recorded: the sentences.

pub mod attributes;
mod confirm;
mod endpoint;
mod list;

use pileus_api_sns as api;
use pileus_core::{AccountId, Arn};
use pileus_platform::Cx;
use pileus_store::{Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::error::SnsError;
use crate::filter;
use crate::keys::{ENDPOINTS, Named, Nothing, OWNED, SUBSCRIPTIONS, SubscriptionKey, TOPICS};
use crate::state::{Sns, millis};
use crate::topic::{self, Address};
use crate::work;

pub use attributes::Attributes;
pub use confirm::{confirm_subscription, unsubscribe};
pub use endpoint::Protocol;
pub use list::{list_subscriptions, list_subscriptions_by_topic};

/// A subscription as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub topic: Address,
    pub topic_id: u64,
    pub id: String,
    pub owner: AccountId,
    pub protocol: Protocol,
    pub endpoint: String,
    /// ARN of who subscribed.
    pub principal: String,
    pub is_confirmed: bool,
    /// What the endpoint confirms with; `None` where it never had to.
    pub token: Option<String>,
    pub was_authenticated: bool,
    /// Only its owner may end it.
    pub is_guarded: bool,
    pub attributes: Attributes,
    /// Milliseconds since 1970.
    pub created_at: u64,
}

impl Stored for Record {}

impl Record {
    pub fn key(&self) -> SubscriptionKey {
        (self.topic.account, self.topic.region.clone(), self.topic.name.clone(), self.id.clone())
    }

    pub fn arn(&self) -> String {
        format!("{}:{}", self.topic.arn(), self.id)
    }

    /// What `Subscribe` and the lists say of it.
    pub fn shown_arn(&self) -> String {
        if self.is_confirmed { self.arn() } else { "PendingConfirmation".to_owned() }
    }
}

/// A subscription as deliveries see it.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub record: Record,
    pub arn: String,
    /// Of a policy that cannot be read any more: nothing passes.
    pub filter: Option<Result<filter::Policy, ()>>,
}

impl Subscription {
    pub fn new(record: Record) -> Subscription {
        let scope = record.attributes.scope();
        let policy = record.attributes.filter_policy.as_deref();
        let filter = policy.map(|policy| filter::parse(policy, scope).map_err(|_| ()));
        Subscription { arn: record.arn(), filter, record }
    }
}

/// The topic and the id in a subscription's ARN.
///
/// # Errors
/// `InvalidParameter`
pub fn parse_arn(arn: Option<&str>) -> Result<SubscriptionKey, SnsError> {
    let text = arn.unwrap_or_default();
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() < 6 {
        let reason = format!("An ARN must have at least 6 elements, not {}", parts.len());
        return Err(SnsError::reason("SubscriptionArn", reason));
    }
    let invalid = || SnsError::invalid("SubscriptionArn");
    let (topic, id) = text.rsplit_once(':').filter(|_| parts.len() == 7).ok_or_else(invalid)?;
    let topic = Address::from_arn(topic).ok_or_else(invalid)?;
    if id.is_empty() || id.len() > 64 {
        return Err(invalid());
    }
    Ok((topic.account, topic.region, topic.name, id.to_owned()))
}

/// `Subscribe`: an endpoint that is subscribed with the same attributes is answered as if it were new.
pub async fn subscribe(cx: &Cx, input: api::SubscribeInput) -> Result<api::SubscribeResponse, SnsError> {
    let address = &Address::parse(input.topic_arn.as_deref())?;
    let protocol = Protocol::parse(input.protocol.as_deref().unwrap_or_default())?;
    let endpoint = endpoint::check(protocol, input.endpoint.as_deref().unwrap_or_default(), address)?;
    let mut attributes = Attributes::default();
    for (name, value) in input.attributes.iter().flat_map(|given| given.iter()) {
        attributes.set(name, value, protocol, true)?;
    }
    attributes.check(true)?;
    attributes::check_redrive(cx, &attributes, address).await?;
    let is_confirmed = match protocol {
        Protocol::Sqs | Protocol::Lambda => owner_of(&endpoint) == Some(cx.account()),
        Protocol::Application | Protocol::Sms => true,
        Protocol::Http | Protocol::Https | Protocol::Email | Protocol::EmailJson => false,
    };
    let topic = cx.state::<Sns>().load(cx.store(), address).await?;
    attributes.check_replay(&topic.record)?;
    let id = cx.ids().uuid();
    let token = (!is_confirmed).then(|| confirm::new_token(&id, &cx.ids().hex(86)));
    let record = &Record {
        topic: address.clone(),
        topic_id: topic.record.id,
        id,
        owner: cx.account(),
        protocol,
        endpoint,
        principal: cx.caller().arn.to_string(),
        is_confirmed,
        token,
        was_authenticated: is_confirmed,
        is_guarded: is_confirmed,
        attributes,
        created_at: millis(cx.now()),
    };
    let known = cx.transact(|txn| put(cx, txn, address, record)).await?;
    let shows_arn = known.is_confirmed || input.return_subscription_arn == Some(true);
    let arn = if shows_arn { known.arn() } else { "pending confirmation".to_owned() };
    Ok(api::SubscribeResponse { subscription_arn: Some(arn) })
}

fn owner_of(endpoint: &str) -> Option<AccountId> {
    AccountId::parse(Arn::parse(endpoint).ok()?.account())
}

async fn put(cx: &Cx, txn: Txn, address: &Address, record: &Record) -> Result<Record, SnsError> {
    let mut topic = TOPICS.get(&txn, &address.key()).await?.ok_or(SnsError::NO_TOPIC)?;
    let record = Record { topic_id: topic.id, ..record.clone() };
    let endpoint = (topic.id, record.protocol.name().to_owned(), record.endpoint.clone());
    if let Some(Named { id }) = ENDPOINTS.get(&txn, &endpoint).await? {
        let key = (address.account, address.region.clone(), address.name.clone(), id);
        if let Some(known) = SUBSCRIPTIONS.get(&txn, &key).await? {
            if known.attributes != record.attributes {
                let reason = "Subscription already exists with different attributes";
                return Err(SnsError::reason("Attributes", reason));
            }
            if !known.is_confirmed {
                work::confirm(&txn, &known, cx)?;
            }
            return Ok(known);
        }
    }
    ENDPOINTS.put(&txn, &endpoint, &Named { id: record.id.clone() })?;
    OWNED.put(&txn, &owned_key(&record), &Nothing {})?;
    if record.is_confirmed {
        topic.confirmed += 1;
    } else {
        topic.pending += 1;
        work::confirm(&txn, &record, cx)?;
        work::expire_pending(&txn, &record, cx.now())?;
    }
    if record.attributes.replay_policy.is_some() {
        work::replay(&txn, &record, cx.now())?;
    }
    SUBSCRIPTIONS.put(&txn, &record.key(), &record)?;
    topic::store(&txn, address, &topic)?;
    Ok(record)
}

pub fn owned_key(record: &Record) -> (AccountId, pileus_core::Region, String, String) {
    let topic = record.topic.arn().to_string();
    (record.owner, record.topic.region.clone(), topic, record.id.clone())
}

/// Takes a subscription out of its topic.
pub async fn remove(txn: &Txn, record: &Record) -> Result<(), SnsError> {
    forget(txn, record);
    if let Some(mut topic) = TOPICS.get(txn, &record.topic.key()).await?
        && topic.id == record.topic_id
    {
        let count = if record.is_confirmed { &mut topic.confirmed } else { &mut topic.pending };
        *count = count.saturating_sub(1);
        topic.deleted += 1;
        topic::store(txn, &record.topic, &topic)?;
    }
    Ok(())
}

/// Removes a subscription's rows, where its topic is gone too.
pub fn forget(txn: &Txn, record: &Record) {
    SUBSCRIPTIONS.delete(txn, &record.key());
    OWNED.delete(txn, &owned_key(record));
    ENDPOINTS.delete(txn, &(record.topic_id, record.protocol.name().to_owned(), record.endpoint.clone()));
}

/// Changes a subscription's row, and so its topic's.
pub async fn change(
    cx: &Cx,
    key: &SubscriptionKey,
    change: impl Fn(&Txn, &mut Record) -> Result<(), SnsError> + Send + Sync,
) -> Result<Unit, SnsError> {
    let change = &change;
    cx.transact(|txn| async move {
        let mut record = SUBSCRIPTIONS.get(&txn, key).await?.ok_or(SnsError::NO_SUBSCRIPTION)?;
        change(&txn, &mut record)?;
        SUBSCRIPTIONS.put(&txn, key, &record)?;
        if let Some(topic) = TOPICS.get(&txn, &record.topic.key()).await? {
            topic::store(&txn, &record.topic, &topic)?;
        }
        Ok(Unit)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriptions_arn_is_its_topics_and_an_id() {
        let key = parse_arn(Some("arn:aws:sns:us-east-1:123456789012:t:abc-1")).unwrap();
        assert_eq!((key.2.as_str(), key.3.as_str()), ("t", "abc-1"));
        for bad in [
            "",
            "x",
            "arn:aws:sns:us-east-1:123456789012:t",
            "arn:aws:sqs:us-east-1:123456789012:t:a",
            "arn:aws:sns:us-east-1:123456789012:t:",
        ] {
            assert!(parse_arn(Some(bad)).is_err(), "{bad}");
        }
    }
}
