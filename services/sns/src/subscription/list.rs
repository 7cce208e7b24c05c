//! `ListSubscriptions`, `ListSubscriptionsByTopic`: a hundred at a time.

use pileus_api_sns as api;
use pileus_platform::Cx;

use super::Record;
use crate::error::SnsError;
use crate::keys::{OWNED, SUBSCRIPTIONS};
use crate::page::Page;
use crate::state::Sns;
use crate::topic::Address;

fn show(record: Record) -> api::Subscription {
    api::Subscription {
        subscription_arn: Some(record.shown_arn()),
        owner: Some(record.owner.to_string()),
        protocol: Some(record.protocol.name().to_owned()),
        endpoint: Some(record.endpoint.clone()),
        topic_arn: Some(record.topic.arn().to_string()),
    }
}

pub async fn list_subscriptions(
    cx: &Cx,
    input: api::ListSubscriptionsInput,
) -> Result<api::ListSubscriptionsResponse, SnsError> {
    let page = Page::new(input.next_token.as_deref())?;
    let mut range = OWNED.under(&(cx.account(), cx.region()));
    if let Some((topic, id)) = page.after().and_then(|after| after.rsplit_once('/')) {
        range = range.after(&OWNED.key(&(cx.account(), cx.region(), topic, id)));
    }
    let rows = OWNED.scan(cx.store(), &range, page.limit()).await?;
    let mut subscriptions = Vec::new();
    for ((_, _, topic, id), _) in &rows.rows {
        let Some(topic) = Address::from_arn(topic) else { continue };
        let key = (topic.account, topic.region, topic.name, id.clone());
        if let Some(record) = SUBSCRIPTIONS.get(cx.store(), &key).await? {
            subscriptions.push(show(record));
        }
    }
    let last = rows.rows.last().map(|((_, _, topic, id), _)| format!("{topic}/{id}"));
    let next_token = page.next(rows.more, last.as_deref());
    Ok(api::ListSubscriptionsResponse { subscriptions: Some(subscriptions), next_token })
}

pub async fn list_subscriptions_by_topic(
    cx: &Cx,
    input: api::ListSubscriptionsByTopicInput,
) -> Result<api::ListSubscriptionsByTopicResponse, SnsError> {
    let address = Address::parse(input.topic_arn.as_deref())?;
    let topic = cx.state::<Sns>().load(cx.store(), &address).await?;
    let page = Page::new(input.next_token.as_deref())?;
    let mut range = topic.all();
    if let Some(id) = page.after() {
        range =
            range.after(&SUBSCRIPTIONS.key(&(address.account, &address.region, address.name.as_str(), id)));
    }
    let rows = SUBSCRIPTIONS.scan(cx.store(), &range, page.limit()).await?;
    let next_token = page.next(rows.more, rows.rows.last().map(|((_, _, _, id), _)| id.as_str()));
    let own = rows.rows.into_iter().filter(|(_, record)| record.topic_id == topic.record.id);
    let subscriptions = own.map(|(_, record)| show(record)).collect();
    Ok(api::ListSubscriptionsByTopicResponse { subscriptions: Some(subscriptions), next_token })
}
