//! `PutMetricFilter`, `DeleteMetricFilter`, `DescribeMetricFilters`, `TestMetricFilter`. Filters are kept and tested; there is
//! no CloudWatch yet that takes their values.
//!
//! Source: CloudWatch Logs API Reference, "PutMetricFilter", "DescribeMetricFilters", "TestMetricFilter".

use std::collections::BTreeMap;

use pileus_api_logs::{
    DeleteMetricFilterRequest, DescribeMetricFiltersRequest, DescribeMetricFiltersResponse, MetricFilter,
    MetricFilterMatchRecord, MetricTransformation, PutMetricFilterRequest, TestMetricFilterRequest,
    TestMetricFilterResponse, log_group_class,
};
use pileus_platform::Cx;
use pileus_store::{KeyRange, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::error::LogsError;
use crate::group::{self, GroupRecord};
use crate::keys::{GROUPS, METRIC_FILTERS};
use crate::limits;
use crate::page;
use crate::pattern::Pattern;
use crate::state::{Logs, millis};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MetricFilterRecord {
    pub pattern: String,
    pub created_at: i64,
    pub metric_name: String,
    pub metric_namespace: String,
    pub metric_value: String,
    pub default_value: Option<f64>,
    #[serde(default)]
    pub dimensions: BTreeMap<String, String>,
    pub unit: Option<String>,
}

impl Stored for MetricFilterRecord {}

pub async fn put_metric_filter(cx: &Cx, input: PutMetricFilterRequest) -> Result<Unit, LogsError> {
    if input.apply_on_transformed_logs == Some(true) {
        return Err(LogsError::lacking("metric filters on transformed logs (applyOnTransformedLogs)"));
    }
    if input.field_selection_criteria.is_some() || input.emit_system_field_dimensions.is_some() {
        return Err(LogsError::lacking(
            "metric filters with field selection criteria or system field dimensions",
        ));
    }
    let address = &Address::named(cx, &input.log_group_name.unwrap_or_default());
    let name = &input.filter_name.unwrap_or_default();
    let pattern = input.filter_pattern.unwrap_or_default();
    Pattern::parse(&pattern)?;
    let transformation = input.metric_transformations.and_then(|mut all| all.pop()).unwrap_or_default();
    let record = &read(transformation, pattern, millis(cx.now()))?;
    let logs = cx.state::<Logs>();
    cx.transact(|txn| async move {
        let group = logs.group(&txn, address).await?;
        check_class(&group.record)?;
        let key = (group.id(), name.as_str());
        if METRIC_FILTERS.get(&txn, &key).await?.is_none() {
            if group.record.metric_filters >= limits::MAX_METRIC_FILTERS {
                return Err(LogsError::LimitExceeded);
            }
            let metric_filters = group.record.metric_filters + 1;
            group::store(&txn, address, &GroupRecord { metric_filters, ..group.record.clone() })?;
        }
        METRIC_FILTERS.put(&txn, &key, record)?;
        Ok(())
    })
    .await?;
    Ok(Unit)
}

fn read(
    transformation: MetricTransformation,
    pattern: String,
    now: i64,
) -> Result<MetricFilterRecord, LogsError> {
    let metric_value = transformation.metric_value.unwrap_or_default();
    if metric_value.parse::<f64>().is_err() && !metric_value.starts_with('$') {
        return Err(LogsError::invalid(format!(
            "Invalid metric transformation: metricValue '{metric_value}' is neither a number nor a field of the pattern."
        )));
    }
    let dimensions: BTreeMap<_, _> = transformation.dimensions.unwrap_or_default().0.into_iter().collect();
    if dimensions.len() > 3 {
        return Err(LogsError::invalid("A metric filter has at most three dimensions."));
    }
    if !dimensions.is_empty() && transformation.default_value.is_some() {
        return Err(LogsError::invalid(
            "Invalid metric transformation: dimensions and default value are mutually exclusive properties.",
        ));
    }
    Ok(MetricFilterRecord {
        pattern,
        created_at: now,
        metric_name: transformation.metric_name.unwrap_or_default(),
        metric_namespace: transformation.metric_namespace.unwrap_or_default(),
        metric_value,
        default_value: transformation.default_value,
        dimensions,
        unit: transformation.unit,
    })
}

/// # Errors
/// `InvalidOperationException`: groups of infrequent access have no filters.
pub fn check_class(record: &GroupRecord) -> Result<(), LogsError> {
    if record.class == log_group_class::STANDARD {
        return Ok(());
    }
    Err(LogsError::InvalidOperation(format!(
        "The operation is not supported for log groups of the class {}.",
        record.class
    )))
}

pub async fn delete_metric_filter(cx: &Cx, input: DeleteMetricFilterRequest) -> Result<Unit, LogsError> {
    let address = &Address::named(cx, &input.log_group_name.unwrap_or_default());
    let name = &input.filter_name.unwrap_or_default();
    let logs = cx.state::<Logs>();
    cx.transact(|txn| async move {
        let group = logs.group(&txn, address).await?;
        let key = (group.id(), name.as_str());
        if METRIC_FILTERS.get(&txn, &key).await?.is_none() {
            return Err(LogsError::NotFound("The specified metric filter does not exist.".to_owned()));
        }
        METRIC_FILTERS.delete(&txn, &key);
        let metric_filters = group.record.metric_filters.saturating_sub(1);
        group::store(&txn, address, &GroupRecord { metric_filters, ..group.record.clone() })
    })
    .await?;
    Ok(Unit)
}

/// `DescribeMetricFilters`: of one group, or of all that a metric has.
pub async fn describe_metric_filters(
    cx: &Cx,
    input: DescribeMetricFiltersRequest,
) -> Result<DescribeMetricFiltersResponse, LogsError> {
    if input.metric_name.is_some() != input.metric_namespace.is_some() {
        return Err(LogsError::invalid(
            "If you include the metricName parameter in your request, you must also include the metricNamespace parameter.",
        ));
    }
    let groups = match &input.log_group_name {
        Some(name) => {
            let address = Address::named(cx, name);
            let group = cx.state::<Logs>().group(cx.store(), &address).await?;
            vec![(address.name.clone(), group.id())]
        }
        None => groups_with_filters(cx).await?,
    };
    let takes = |filter: &MetricFilterRecord| {
        input.metric_name.as_ref().is_none_or(|name| *name == filter.metric_name)
            && input.metric_namespace.as_ref().is_none_or(|space| *space == filter.metric_namespace)
    };
    let prefix = input.filter_name_prefix.as_deref().unwrap_or_default();
    let after = page::read(input.next_token.as_deref())?;
    let after = after.as_deref().and_then(|after| after.split_once('\n'));
    let limit = page::limit(input.limit);
    let mut found: Vec<MetricFilter> = Vec::new();
    for (group, id) in groups {
        if after.is_some_and(|(last, _)| *group < *last) {
            continue;
        }
        let range = METRIC_FILTERS.builder().key(&(id,)).str_prefix(prefix);
        let rows = METRIC_FILTERS
            .scan(cx.store(), &KeyRange::prefix(range.build()), limits::MAX_METRIC_FILTERS as usize)
            .await?;
        let rows = rows.rows.into_iter().filter(|((_, name), filter)| {
            takes(filter) && after.is_none_or(|(last, filter)| *group != *last || **name > *filter)
        });
        found.extend(rows.map(|((_, name), filter)| describe(&group, name, filter)));
        if found.len() > limit {
            break;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().map(|filter| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}\n{}", part(&filter.log_group_name), part(&filter.filter_name))
    });
    let next_token = page::next(more, last.as_deref());
    Ok(DescribeMetricFiltersResponse { metric_filters: Some(found), next_token })
}

async fn groups_with_filters(cx: &Cx) -> Result<Vec<(String, u64)>, LogsError> {
    let mut range = GROUPS.under(&(cx.account(), cx.region().clone()));
    let mut groups = Vec::new();
    loop {
        let rows = GROUPS.scan(cx.store(), &range, 1_000).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(groups) };
        range = range.after(&GROUPS.key(last));
        let with = rows.rows.into_iter().filter(|(_, record)| record.metric_filters > 0);
        groups.extend(with.map(|((_, _, name), record)| (name, record.id)));
        if !rows.more {
            return Ok(groups);
        }
    }
}

fn describe(group: &str, name: String, filter: MetricFilterRecord) -> MetricFilter {
    let dimensions = Some(filter.dimensions).filter(|dimensions| !dimensions.is_empty());
    let transformation = MetricTransformation {
        metric_name: Some(filter.metric_name),
        metric_namespace: Some(filter.metric_namespace),
        metric_value: Some(filter.metric_value),
        default_value: filter.default_value,
        dimensions: dimensions.map(|dimensions| dimensions.into_iter().collect()),
        unit: filter.unit,
    };
    MetricFilter {
        filter_name: Some(name),
        filter_pattern: Some(filter.pattern),
        metric_transformations: Some(vec![transformation]),
        creation_time: Some(filter.created_at),
        log_group_name: Some(group.to_owned()),
        apply_on_transformed_logs: Some(false),
        ..MetricFilter::default()
    }
}

/// `TestMetricFilter`. Events are counted from zero.
pub async fn test_metric_filter(
    _cx: &Cx,
    input: TestMetricFilterRequest,
) -> Result<TestMetricFilterResponse, LogsError> {
    let pattern = Pattern::parse(&input.filter_pattern.unwrap_or_default())?;
    let messages = (0i64..).zip(input.log_event_messages.unwrap_or_default());
    let matches = messages.filter(|(_, message)| pattern.matches(message)).map(|(number, message)| {
        MetricFilterMatchRecord {
            event_number: Some(number),
            extracted_values: Some(pattern.extract(&message).into_iter().collect()),
            event_message: Some(message),
        }
    });
    Ok(TestMetricFilterResponse { matches: Some(matches.collect()) })
}
