//! Contributor insights: `UpdateContributorInsights`, `DescribeContributorInsights`, `ListContributorInsights`. What a table or a global
//! index is set to is kept; there are no rules as long as there is nobody to evaluate them.
//!
//! Source: API Reference, the three operations; Developer Guide, "Using CloudWatch Contributor Insights for DynamoDB".

use pileus_api_dynamodb as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::keys::TABLES;
use crate::state::Dynamo;
use crate::table::{self, Address, Record, update};

const ALL_KEYS: &str = "ACCESSED_AND_THROTTLED_KEYS";
const MAX_RESULTS: i64 = 100;
/// Tables that are looked at together.
const PAGE: usize = 100;

/// What a table or an index is set to, once it was set at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Insights {
    pub is_enabled: bool,
    pub mode: String,
    /// Milliseconds since 1970.
    pub changed_at: i64,
}

impl Insights {
    fn status(&self) -> &'static str {
        if self.is_enabled { "ENABLED" } else { "DISABLED" }
    }
}

/// The setting of a table, or of its global index.
///
/// # Errors
/// `ResourceNotFoundException`
fn place<'a>(record: &'a mut Record, index: Option<&str>) -> Result<&'a mut Option<Insights>, DynamoError> {
    let Some(name) = index else { return Ok(&mut record.insights) };
    let found = record.indexes.iter_mut().find(|index| index.is_global && index.name == name);
    found.map(|index| &mut index.insights).ok_or_else(|| update::no_index(name))
}

/// `UpdateContributorInsights`
pub async fn update_contributor_insights(
    cx: &Cx,
    input: api::UpdateContributorInsightsInput,
) -> Result<api::UpdateContributorInsightsOutput, DynamoError> {
    let address = &Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    let (dynamo, index) = (cx.state::<Dynamo>(), input.index_name.as_deref());
    let is_enabled = input.contributor_insights_action.as_deref() == Some("ENABLE");
    let (wanted, changed_at) = (input.contributor_insights_mode.as_deref(), cx.now().as_millis());
    let mode = cx
        .transact(|txn| async move {
            let table = dynamo.load_named(&txn, address).await?;
            let mut record = table.record.clone();
            let insights = place(&mut record, index)?;
            let known = insights.as_ref().map(|known| known.mode.as_str());
            let mode = wanted.or(known).unwrap_or(ALL_KEYS).to_owned();
            *insights = Some(Insights { is_enabled, mode: mode.clone(), changed_at });
            table::store(&txn, address, &record)?;
            Ok::<_, DynamoError>(mode)
        })
        .await?;
    Ok(api::UpdateContributorInsightsOutput {
        table_name: Some(address.name.clone()),
        contributor_insights_status: Some(if is_enabled { "ENABLING" } else { "DISABLING" }.to_owned()),
        contributor_insights_mode: Some(mode),
        index_name: input.index_name,
    })
}

/// `DescribeContributorInsights`
pub async fn describe_contributor_insights(
    cx: &Cx,
    input: api::DescribeContributorInsightsInput,
) -> Result<api::DescribeContributorInsightsOutput, DynamoError> {
    let address = Address::parse(cx, input.table_name.as_deref().unwrap_or_default())?;
    let table = cx.state::<Dynamo>().load_named(cx.store(), &address).await?;
    let mut record = table.record.clone();
    let insights = place(&mut record, input.index_name.as_deref())?.take();
    let status = insights.as_ref().map_or("DISABLED", Insights::status);
    Ok(api::DescribeContributorInsightsOutput {
        table_name: Some(address.name),
        index_name: input.index_name,
        contributor_insights_rule_list: Some(Vec::new()),
        contributor_insights_status: Some(status.to_owned()),
        last_update_date_time: insights.as_ref().map(|known| Timestamp::from_millis(known.changed_at)),
        failure_exception: None,
        contributor_insights_mode: insights.map(|known| known.mode),
    })
}

/// `ListContributorInsights`: of what was ever set, by table and then by index.
pub async fn list_contributor_insights(
    cx: &Cx,
    input: api::ListContributorInsightsInput,
) -> Result<api::ListContributorInsightsOutput, DynamoError> {
    let most = input.max_results.unwrap_or(MAX_RESULTS).clamp(1, MAX_RESULTS) as usize;
    // The last place that was shown: a table, a slash, and an index, neither of which has a slash in its name.
    let after = match input.next_token.as_deref() {
        None => None,
        Some(token) => {
            let place = token.split_once('/').ok_or_else(|| DynamoError::validation("Invalid NextToken"))?;
            Some(place)
        }
    };
    let mut found = Vec::new();
    if let Some(name) = &input.table_name {
        let address = Address::parse(cx, name)?;
        let table = cx.state::<Dynamo>().load_named(cx.store(), &address).await?;
        found.extend(summaries(&address.name, &table.record, after));
    } else {
        let mut range = TABLES.under(&(cx.account(), cx.region()));
        if let Some((table, _)) = after {
            range = range.starting_at(TABLES.key(&(cx.account(), cx.region(), table)));
        }
        while found.len() <= most {
            let page = TABLES.scan(cx.store(), &range, PAGE).await?;
            for ((_, _, name), record) in &page.rows {
                found.extend(summaries(name, record, after));
            }
            match page.rows.last().filter(|_| page.more) {
                Some((key, _)) => range = range.after(&TABLES.key(key)),
                None => break,
            }
        }
    }
    let has_more = found.len() > most;
    found.truncate(most);
    let next_token = found.last().filter(|_| has_more).map(|last| {
        let (table, index) = (last.table_name.as_deref(), last.index_name.as_deref());
        format!("{}/{}", table.unwrap_or_default(), index.unwrap_or_default())
    });
    Ok(api::ListContributorInsightsOutput { contributor_insights_summaries: Some(found), next_token })
}

/// What is set of one table, after a place.
fn summaries(
    table: &str,
    record: &Record,
    after: Option<(&str, &str)>,
) -> Vec<api::ContributorInsightsSummary> {
    let mut own: Vec<(&str, &Insights)> = record.insights.iter().map(|insights| ("", insights)).collect();
    let of_indexes = record.indexes.iter().filter_map(|index| Some((&*index.name, index.insights.as_ref()?)));
    own.extend(of_indexes);
    own.sort_by_key(|(name, _)| *name);
    own.into_iter()
        .filter(|(index, _)| after.is_none_or(|after| (table, *index) > after))
        .map(|(index, insights)| api::ContributorInsightsSummary {
            table_name: Some(table.to_owned()),
            index_name: (!index.is_empty()).then(|| index.to_owned()),
            contributor_insights_status: Some(insights.status().to_owned()),
            contributor_insights_mode: Some(insights.mode.clone()),
        })
        .collect()
}
