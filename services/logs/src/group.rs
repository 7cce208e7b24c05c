//! Log groups: `CreateLogGroup`, `DeleteLogGroup`, `DescribeLogGroups`, `ListLogGroups`, `PutLogGroupDeletionProtection`.
//!
//! Source: CloudWatch Logs API Reference, "CreateLogGroup", "DescribeLogGroups", "ListLogGroups",
//! "PutLogGroupDeletionProtection".

pub mod retention;
pub mod tags;

use std::collections::BTreeMap;

use pileus_api_logs::{
    CreateLogGroupRequest, DeleteLogGroupRequest, DescribeLogGroupsRequest, DescribeLogGroupsResponse,
    ListLogGroupsRequest, ListLogGroupsResponse, LogGroup, LogGroupSummary,
    PutLogGroupDeletionProtectionRequest, log_group_class,
};
use pileus_platform::Cx;
use pileus_store::{KeyRange, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::error::LogsError;
use crate::keys::{GROUPS, Nothing, STATS, TRASH};
use crate::limits;
use crate::page;
use crate::pattern::Pattern;
use crate::state::{Logs, millis};
use crate::subscription::Subscription;
use crate::sweep;

/// A group as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupRecord {
    pub id: u64,
    /// Milliseconds since 1970.
    pub created_at: i64,
    pub class: String,
    pub retention_days: Option<i64>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    #[serde(default)]
    pub is_protected: bool,
    #[serde(default)]
    pub metric_filters: u32,
    #[serde(default)]
    pub subscriptions: Vec<Subscription>,
    /// Until then (milliseconds since 1970) somebody may tail the group.
    #[serde(default)]
    pub tailed_until: i64,
}

impl Stored for GroupRecord {}

/// A group as operations see it.
#[derive(Debug)]
pub struct Group {
    pub address: Address,
    pub record: GroupRecord,
    /// The patterns of its subscription filters, in their order. One that a later release wrote matches nothing.
    pub patterns: Vec<Option<Pattern>>,
}

impl Group {
    pub fn new(address: Address, record: GroupRecord) -> Group {
        let patterns =
            record.subscriptions.iter().map(|filter| Pattern::parse(&filter.pattern).ok()).collect();
        Group { address, record, patterns }
    }

    pub fn id(&self) -> u64 {
        self.record.id
    }

    /// Events before this moment are gone, whether they are swept yet or not.
    pub fn oldest_kept(&self, now: i64) -> i64 {
        self.record.retention_days.map_or(i64::MIN, |days| now - days * limits::DAY_MS)
    }

    /// # Errors
    /// `ValidationException`
    pub fn check_deletable(&self) -> Result<(), LogsError> {
        if self.record.is_protected {
            return Err(LogsError::Validation(
                "The log group has deletion protection enabled. Disable it before the log group or its log streams are deleted."
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Writes a group that has changed.
pub fn store(txn: &Txn, address: &Address, record: &GroupRecord) -> Result<(), LogsError> {
    Ok(GROUPS.put(txn, &address.key(), record)?)
}

/// Changes a group that exists.
///
/// # Errors
/// `ResourceNotFoundException`, and what `change` refuses.
pub async fn change(
    cx: &Cx,
    address: &Address,
    change: impl Fn(&mut GroupRecord) -> Result<(), LogsError> + Sync,
) -> Result<Unit, LogsError> {
    let (logs, change) = (cx.state::<Logs>(), &change);
    cx.transact(|txn| async move {
        let mut record = logs.group(&txn, address).await?.record.clone();
        change(&mut record)?;
        store(&txn, address, &record)
    })
    .await?;
    Ok(Unit)
}

pub async fn create_log_group(cx: &Cx, input: CreateLogGroupRequest) -> Result<Unit, LogsError> {
    let address = Address::named(cx, &input.log_group_name.unwrap_or_default());
    if input.kms_key_id.is_some() {
        return Err(LogsError::lacking("encryption of log groups with KMS keys (kmsKeyId)"));
    }
    let class = input.log_group_class.unwrap_or_else(|| log_group_class::STANDARD.to_owned());
    if class != log_group_class::STANDARD && class != log_group_class::INFREQUENT_ACCESS {
        return Err(LogsError::lacking(format!("the log group class {class}")));
    }
    let record = GroupRecord {
        id: cx.rng().next_u64(),
        created_at: millis(cx.now()),
        class,
        retention_days: None,
        tags: tags::merge(BTreeMap::new(), input.tags.unwrap_or_default(), &address.name)?,
        is_protected: input.deletion_protection_enabled.unwrap_or(false),
        metric_filters: 0,
        subscriptions: Vec::new(),
        tailed_until: 0,
    };
    let (address, record) = (&address, &record);
    cx.transact(|txn| async move {
        let is_new = GROUPS.put_if_absent(&txn, &address.key(), record).await?;
        if is_new { Ok(()) } else { Err(LogsError::GroupExists) }
    })
    .await?;
    Ok(Unit)
}

/// `DeleteLogGroup`: the name is free at once; the sweeper removes the events.
pub async fn delete_log_group(cx: &Cx, input: DeleteLogGroupRequest) -> Result<Unit, LogsError> {
    let address = &Address::named(cx, &input.log_group_name.unwrap_or_default());
    let logs = cx.state::<Logs>();
    cx.transact(|txn| async move {
        let group = logs.group(&txn, address).await?;
        group.check_deletable()?;
        GROUPS.delete(&txn, &address.key());
        TRASH.put(&txn, &(group.id(), 0u64), &Nothing {})?;
        txn.notify(sweep::TOPIC);
        Ok::<_, LogsError>(())
    })
    .await?;
    Ok(Unit)
}

pub async fn put_log_group_deletion_protection(
    cx: &Cx,
    input: PutLogGroupDeletionProtectionRequest,
) -> Result<Unit, LogsError> {
    let address = Address::identified(cx, &input.log_group_identifier.unwrap_or_default())?;
    let is_protected = input.deletion_protection_enabled.unwrap_or(false);
    change(cx, &address, |record| {
        record.is_protected = is_protected;
        Ok(())
    })
    .await
}

/// Which groups a listing wants.
#[derive(Default)]
struct Wanted {
    prefix: Option<String>,
    /// Upper or lower case do not matter to it.
    contains: Option<String>,
    class: Option<String>,
    names: Option<Vec<String>>,
    tags: Vec<(String, Vec<String>)>,
}

impl Wanted {
    fn takes(&self, name: &str, record: &GroupRecord) -> bool {
        let contains = |part: &String| name.to_lowercase().contains(&part.to_lowercase());
        let has_tag = |(key, values): &(String, Vec<String>)| {
            record.tags.get(key).is_some_and(|value| values.is_empty() || values.contains(value))
        };
        self.contains.as_ref().is_none_or(contains)
            && self.class.as_ref().is_none_or(|class| *class == record.class)
            && self.names.as_ref().is_none_or(|names| names.iter().any(|wanted| wanted == name))
            && self.tags.iter().all(has_tag)
    }

    /// Up to `limit` groups in the order of their names, and whether there are more.
    async fn page(
        &self,
        cx: &Cx,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<(Address, GroupRecord)>, bool), LogsError> {
        let (account, region) = (cx.account(), cx.region().clone());
        let prefix = GROUPS.builder().key(&(account, &region));
        let mut range =
            KeyRange::prefix(prefix.str_prefix(self.prefix.as_deref().unwrap_or_default()).build());
        if let Some(after) = after {
            range = range.after(&GROUPS.key(&(account, &region, after)));
        }
        let mut found = Vec::new();
        loop {
            let rows = GROUPS.scan(cx.store(), &range, 500).await?;
            let Some((last, _)) = rows.rows.last() else { return Ok((found, false)) };
            range = range.after(&GROUPS.key(last));
            for ((account, region, name), record) in rows.rows {
                if self.takes(&name, &record) {
                    if found.len() == limit {
                        return Ok((found, true));
                    }
                    found.push((Address { account, region, name }, record));
                }
            }
            if !rows.more {
                return Ok((found, false));
            }
        }
    }
}

pub async fn describe_log_groups(
    cx: &Cx,
    input: DescribeLogGroupsRequest,
) -> Result<DescribeLogGroupsResponse, LogsError> {
    let (prefix, pattern) = (input.log_group_name_prefix, input.log_group_name_pattern);
    if prefix.is_some() && pattern.is_some() {
        return Err(LogsError::invalid(
            "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
        ));
    }
    check_accounts(cx, input.account_identifiers.as_deref(), input.include_linked_accounts)?;
    let names = input.log_group_identifiers.map(|identifiers| {
        let name = |identifier: &String| Ok(Address::identified(cx, identifier)?.name);
        identifiers.iter().map(name).collect::<Result<Vec<_>, LogsError>>()
    });
    let wanted = Wanted {
        prefix,
        contains: pattern,
        class: input.log_group_class,
        names: names.transpose()?,
        ..Wanted::default()
    };
    let (after, limit) = (page::read(input.next_token.as_deref())?, page::limit(input.limit));
    let (found, more) = wanted.page(cx, after.as_deref(), limit).await?;
    let next_token = page::next(more, found.last().map(|(address, _)| address.name.as_str()));
    let mut groups = Vec::with_capacity(found.len());
    for (address, record) in found {
        groups.push(describe(cx, &address, record).await?);
    }
    Ok(DescribeLogGroupsResponse { log_groups: Some(groups), next_token })
}

async fn describe(cx: &Cx, address: &Address, record: GroupRecord) -> Result<LogGroup, LogsError> {
    Ok(LogGroup {
        log_group_name: Some(address.name.clone()),
        creation_time: Some(record.created_at),
        retention_in_days: record.retention_days,
        metric_filter_count: Some(i64::from(record.metric_filters)),
        arn: Some(format!("{}:*", address.arn())),
        stored_bytes: Some(stored_bytes(cx, record.id).await?),
        log_group_class: Some(record.class),
        log_group_arn: Some(address.arn()),
        deletion_protection_enabled: Some(record.is_protected),
        ..LogGroup::default()
    })
}

/// The bytes of all streams of a group, as `PutLogEvents` counts them.
async fn stored_bytes(cx: &Cx, group: u64) -> Result<i64, LogsError> {
    let (mut range, mut sum) = (STATS.under(&(group,)), 0);
    loop {
        let rows = STATS.scan(cx.store(), &range, 1_000).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(sum) };
        range = range.after(&STATS.key(last));
        sum += rows.rows.iter().map(|(_, stats)| stats.bytes).sum::<i64>();
        if !rows.more {
            return Ok(sum);
        }
    }
}

/// `ListLogGroups`. The pattern is up to five parts of names, any of which may match, at the beginning with `^`.
pub async fn list_log_groups(
    cx: &Cx,
    input: ListLogGroupsRequest,
) -> Result<ListLogGroupsResponse, LogsError> {
    check_accounts(cx, input.account_identifiers.as_deref(), input.include_linked_accounts)?;
    if input.data_sources.is_some() || input.field_index_names.is_some() {
        return Err(LogsError::lacking("listing log groups by data sources or field indexes"));
    }
    let tags = input.log_group_tags.unwrap_or_default().into_iter();
    let wanted = Wanted {
        class: input.log_group_class,
        tags: tags.map(|tag| (tag.key.unwrap_or_default(), tag.values.unwrap_or_default())).collect(),
        ..Wanted::default()
    };
    let limit = page::limit(input.limit);
    let mut after = page::read(input.next_token.as_deref())?;
    let mut found = Vec::new();
    let more = loop {
        let (groups, more) = wanted.page(cx, after.as_deref(), limit).await?;
        after = groups.last().map(|(address, _)| address.name.clone());
        let matching = groups.into_iter().filter(|(address, _)| {
            input.log_group_name_pattern.as_deref().is_none_or(|pattern| matches(pattern, &address.name))
        });
        found.extend(matching);
        if !more || found.len() > limit {
            break more || found.len() > limit;
        }
    };
    found.truncate(limit);
    let next_token = page::next(more, found.last().map(|(address, _)| address.name.as_str()));
    let summaries = found.into_iter().map(|(address, record)| LogGroupSummary {
        log_group_arn: Some(address.arn()),
        log_group_name: Some(address.name),
        log_group_class: Some(record.class),
    });
    Ok(ListLogGroupsResponse { log_groups: Some(summaries.collect()), next_token })
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.split('|').any(|part| match part.strip_prefix('^') {
        Some(prefix) => name.starts_with(prefix),
        None => name.contains(part),
    })
}

/// There are no linked accounts here; naming one's own is fine.
fn check_accounts(cx: &Cx, accounts: Option<&[String]>, linked: Option<bool>) -> Result<(), LogsError> {
    let other = accounts.unwrap_or_default().iter().find(|account| *account != cx.account().as_str());
    match other {
        Some(_) if linked == Some(true) => {
            Err(LogsError::lacking("log groups of linked accounts (accountIdentifiers)"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_list_log_groups_is_parts_of_names() {
        let cases = [
            ("^/aws/", "/aws/lambda/f", true),
            ("^/aws/", "/my/aws/", false),
            ("lambda", "/aws/lambda/f", true),
            ("ecs|^/aws", "/aws/lambda/f", true),
            ("ecs|rds", "/aws/lambda/f", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
