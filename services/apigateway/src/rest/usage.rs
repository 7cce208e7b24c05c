//! Usage of plans, key by key and day by day: `GetUsage`, `UpdateUsage`, and the quota that requests are held to.
//!
//! Source: API Gateway API Reference, "GetUsage", "UpdateUsage"; API Gateway Developer Guide, "Usage plans and API keys for REST APIs
//! in API Gateway".

use std::collections::BTreeMap;

use pileus_api_apigateway as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Map;
use serde::{Deserialize, Serialize};

use super::document::Doc;
use super::keys::{PLAN_KEYS, USAGE};
use super::{page, usage_plan};
use crate::error::GatewayError;

const DAY: u64 = 86_400;

/// What a key used of a plan on one day.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct UsageRow {
    pub used: i64,
    /// `UpdateUsage` granted so much more (or less) in the period of this day.
    #[serde(default)]
    pub granted: i64,
}

impl Stored for UsageRow {}

/// Days since 1970.
pub fn day_of(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_secs()).unwrap_or_default() / DAY
}

fn moment_of(day: u64) -> Timestamp {
    Timestamp::new(i64::try_from(day * DAY).unwrap_or_default(), 0)
}

/// The first day of the quota's period that `day` lies in. `offset` requests are taken from a plan's first period only, so it
/// moves no days.
pub fn period_start(period: &str, day: u64) -> u64 {
    match period {
        // 1970 began on a Thursday; weeks begin on Sunday.
        "WEEK" => day - (day + 4) % 7,
        "MONTH" => {
            let (_, _, of_month, ..) = moment_of(day).civil();
            day - u64::from(of_month - 1)
        }
        _ => day,
    }
}

/// `2020-01-31` as days since 1970.
fn read_day(text: &str) -> Result<u64, GatewayError> {
    let bad = || GatewayError::bad(format!("Invalid date format specified: {text}. It must be YYYY-MM-DD"));
    let mut parts = text.splitn(3, '-').map(|part| part.parse::<u32>().ok());
    let (Some(Some(year)), Some(Some(month)), Some(Some(day))) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(bad());
    };
    let moment = Timestamp::from_civil(i64::from(year), month, day, 0, 0, 0).ok_or_else(bad)?;
    Ok(day_of(moment))
}

/// What is used and granted from `start` up to and with `end`.
async fn sum(
    reader: &impl Reader,
    plan: &str,
    key: &str,
    start: u64,
    end: u64,
) -> Result<UsageRow, GatewayError> {
    let mut total = UsageRow::default();
    for ((_, _, day), row) in USAGE.scan(reader, &USAGE.under(&(plan, key)), 1_000).await?.rows {
        if (start..=end).contains(&day) {
            total.used += row.used;
            total.granted += row.granted;
        }
    }
    Ok(total)
}

/// Counts one request; false, and nothing counted, when the quota is spent.
///
/// # Errors
/// Those of the store.
pub async fn count(
    txn: &Txn,
    plan: &str,
    quota: Option<&api::QuotaSettings>,
    key: &str,
    now: Timestamp,
) -> Result<bool, GatewayError> {
    let day = day_of(now);
    if let Some(quota) = quota {
        let start = period_start(quota.period.as_deref().unwrap_or_default(), day);
        let spent = sum(txn, plan, key, start, day).await?;
        if spent.used >= quota.limit.unwrap_or(i64::MAX).saturating_add(spent.granted) {
            return Ok(false);
        }
    }
    let row = (plan.to_owned(), key.to_owned(), day);
    let mut usage = USAGE.get(txn, &row).await?.unwrap_or_default();
    usage.used += 1;
    USAGE.put(txn, &row, &usage)?;
    Ok(true)
}

/// For each key a pair for each day: used, and what is left of the quota.
pub async fn get_usage(cx: &Cx, input: api::GetUsageRequest) -> Result<api::Usage, GatewayError> {
    let plan_id = input.usage_plan_id.as_deref().unwrap_or_default();
    let plan = usage_plan::load(cx, cx.store(), plan_id).await?;
    let (start, end) = (input.start_date.unwrap_or_default(), input.end_date.unwrap_or_default());
    let (first, last) = (read_day(&start)?, read_day(&end)?);
    if last < first || last - first > 90 {
        return Err(GatewayError::bad(
            "Usage can be queried for at most 90 days, and must not end before it begins",
        ));
    }
    let under = (cx.account(), cx.region().clone(), plan_id);
    let wanted = input.key_id;
    let shows = |Doc(key): &Doc<api::UsagePlanKey>| wanted.is_none() || key.id == wanted;
    let (keys, position) =
        page::of(cx.store(), PLAN_KEYS, &under, input.position.as_deref(), input.limit, shows).await?;
    let mut items = Map::default();
    for Doc(key) in keys {
        let id = key.id.unwrap_or_default();
        let rows = USAGE.scan(cx.store(), &USAGE.under(&(plan_id, id.as_str())), 1_000).await?.rows;
        let by_day: BTreeMap<u64, UsageRow> = rows.into_iter().map(|((.., day), row)| (day, row)).collect();
        let days = (first..=last).map(|day| {
            let used = by_day.get(&day).map_or(0, |row| row.used);
            vec![used, left(plan.quota.as_ref(), &by_day, day)]
        });
        items.insert(id, days.collect());
    }
    Ok(api::Usage {
        usage_plan_id: Some(plan_id.to_owned()),
        start_date: Some(start),
        end_date: Some(end),
        position,
        items: Some(items),
    })
}

/// What is left of the quota at the end of a day.
fn left(quota: Option<&api::QuotaSettings>, by_day: &BTreeMap<u64, UsageRow>, day: u64) -> i64 {
    let Some(quota) = quota else { return i64::from(i32::MAX) };
    let start = period_start(quota.period.as_deref().unwrap_or_default(), day);
    let spent = by_day.range(start..=day).fold(0, |sum, (_, row)| sum + row.used - row.granted);
    (quota.limit.unwrap_or_default() - spent).max(0)
}

/// `UpdateUsage`: a new remainder of a key's quota in the period that is now.
pub async fn update_usage(cx: &Cx, input: api::UpdateUsageRequest) -> Result<api::Usage, GatewayError> {
    let (plan_id, key) =
        (input.usage_plan_id.as_deref().unwrap_or_default(), input.key_id.as_deref().unwrap_or_default());
    let mut remaining = None;
    for operation in input.patch_operations.iter().flatten() {
        let is_known =
            operation.path.as_deref() == Some("/remaining") && operation.op.as_deref() == Some("replace");
        let value = operation.value.as_deref().and_then(|value| value.parse::<i64>().ok());
        remaining = value.filter(|value| is_known && *value >= 0);
        if remaining.is_none() {
            return Err(GatewayError::bad(
                "Invalid patch operation specified: replace /remaining with a number",
            ));
        }
    }
    let Some(remaining) = remaining else {
        return Err(GatewayError::bad("Invalid patch operation specified: replace /remaining with a number"));
    };
    let day = day_of(cx.now());
    let left = cx
        .transact(|txn| async move {
            let plan = usage_plan::load(cx, &txn, plan_id).await?;
            let row = (cx.account(), cx.region().clone(), plan_id.to_owned(), key.to_owned());
            if PLAN_KEYS.get(&txn, &row).await?.is_none() {
                return Err(GatewayError::NotFound("Invalid Usage Plan Key identifier specified".to_owned()));
            }
            let quota = plan.quota.ok_or_else(|| GatewayError::bad("The usage plan has no quota"))?;
            let start = period_start(quota.period.as_deref().unwrap_or_default(), day);
            let spent = sum(&txn, plan_id, key, start, day).await?;
            let row = (plan_id.to_owned(), key.to_owned(), day);
            let mut usage = USAGE.get(&txn, &row).await?.unwrap_or_default();
            usage.granted += remaining - (quota.limit.unwrap_or_default() + spent.granted - spent.used);
            USAGE.put(&txn, &row, &usage)?;
            Ok(vec![usage.used, remaining])
        })
        .await?;
    let date = moment_of(day).to_iso8601().chars().take(10).collect::<String>();
    Ok(api::Usage {
        usage_plan_id: Some(plan_id.to_owned()),
        start_date: Some(date.clone()),
        end_date: Some(date),
        position: None,
        items: Some([(key.to_owned(), vec![left])].into_iter().collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_begins_with_its_day_week_or_month() {
        // 2024-02-29 is a Thursday.
        let day = read_day("2024-02-29").unwrap();
        assert_eq!(period_start("DAY", day), day);
        assert_eq!(period_start("WEEK", day), read_day("2024-02-25").unwrap());
        assert_eq!(period_start("MONTH", day), read_day("2024-02-01").unwrap());
        assert!(read_day("2024-2").is_err() && read_day("x").is_err() && read_day("2024-13-01").is_err());
    }

    #[test]
    fn what_is_left_follows_use_and_grants_within_the_period() {
        let quota = api::QuotaSettings { limit: Some(10), offset: None, period: Some("DAY".into()) };
        let by_day =
            BTreeMap::from([(7, UsageRow { used: 4, granted: 0 }), (8, UsageRow { used: 9, granted: 5 })]);
        let left = |day| super::left(Some(&quota), &by_day, day);
        assert_eq!((left(6), left(7), left(8)), (10, 6, 6));
    }
}
