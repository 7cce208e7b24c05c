//! Amazon CloudWatch Logs.
//!
//! | File | Holds |
//! |---|---|
//! | `group.rs` | `CreateLogGroup`, `DeleteLogGroup`, `DescribeLogGroups`, `ListLogGroups`, `PutLogGroupDeletionProtection` |
//! | `group/retention.rs` | `PutRetentionPolicy`, `DeleteRetentionPolicy` |
//! | `group/tags.rs` | `TagResource`, `UntagResource`, `ListTagsForResource`, and those of log groups by name |
//! | `stream.rs` | `CreateLogStream`, `DeleteLogStream`, `DescribeLogStreams` |
//! | `event/put.rs` | `PutLogEvents` |
//! | `event/get.rs` | `GetLogEvents` |
//! | `event/filter.rs` | `FilterLogEvents` |
//! | `event/record.rs` | `GetLogRecord`, `GetLogGroupFields` |
//! | `event/chunk.rs` | events as they are kept: pure |
//! | `event/position.rs` | the order of events, their ids and tokens: pure |
//! | `event/read.rs` | readers of streams and groups |
//! | `pattern.rs`, `pattern/*.rs` | the filter pattern language: pure |
//! | `metric_filter.rs` | `PutMetricFilter`, `DeleteMetricFilter`, `DescribeMetricFilters`, `TestMetricFilter` |
//! | `subscription.rs` | `PutSubscriptionFilter`, `DeleteSubscriptionFilter`, `DescribeSubscriptionFilters`, deliveries |
//! | `resource_policy.rs` | `PutResourcePolicy`, `DeleteResourcePolicy`, `DescribeResourcePolicies` |
//! | `query.rs`, `query/*.rs` | Logs Insights: `StartQuery`, `GetQueryResults`, .., and saved queries |
//! | `tail.rs` | `StartLiveTail` |
//! | `sweep.rs` | retention carried out; removal of what is out of sight |
//! | `address.rs`, `page.rs` | names and ARNs of groups; tokens of lists |
//! | `access.rs` | what a caller must be allowed to do |
//! | `state.rs` | what a node keeps in memory |
//! | `keys.rs`, `error.rs` | every key we write; every error a caller can see |
//! | `limits.rs` | AWS's numbers |
//!
//! Where we differ from AWS, and why: `docs/services/logs.md`.

mod access;
mod address;
mod error;
mod event;
mod group;
mod keys;
mod limits;
mod metric_filter;
mod page;
mod pattern;
mod query;
mod resource_policy;
mod state;
mod stream;
mod subscription;
mod sweep;
mod tail;

use pileus_api_logs as api;
use pileus_platform::store::runner::Runner;
use pileus_platform::{Access, Platform, Service};

use crate::event::position::Pointer;
use crate::event::{filter, get, put, record};
use crate::group::{retention, tags};
use crate::query::{definition, job};

pub use crate::error::LogsError;

/// CloudWatch Logs as this node answers it.
pub fn service() -> Service {
    let service = Service::new(api::SERVICE)
        .state(state::Logs::default())
        .resource_policy(resource_policy::policy)
        .worker("sweeper", sweep::run)
        .worker("worker", work);
    queries(filters(policies(events(streams(groups(service))))))
}

/// Delivers to subscriptions and runs queries, until the node stops.
async fn work(platform: Platform) {
    let (for_subscriptions, for_queries) = (platform.clone(), platform.clone());
    Runner::new(platform.store().clone(), keys::WORK)
        .on(subscription::KIND, move |job| subscription::deliver(for_subscriptions.clone(), job))
        .on(job::KIND, move |job| job::run(for_queries.clone(), job))
        .run(std::future::pending())
        .await;
}

fn groups(service: Service) -> Service {
    service
        .op(api::CREATE_LOG_GROUP, group::create_log_group)
        .access(api::CREATE_LOG_GROUP, |cx, input| {
            let needed = access::group(cx, "logs:CreateLogGroup", input.log_group_name.as_deref())?;
            Ok(needed.into_iter().map(|access| access::with_tags(access, input.tags.as_ref())).collect())
        })
        .op(api::DELETE_LOG_GROUP, group::delete_log_group)
        .access(api::DELETE_LOG_GROUP, |cx, input| {
            access::group(cx, "logs:DeleteLogGroup", input.log_group_name.as_deref())
        })
        .op(api::DESCRIBE_LOG_GROUPS, group::describe_log_groups)
        .access(api::DESCRIBE_LOG_GROUPS, |cx, _| access::group(cx, "logs:DescribeLogGroups", None))
        .op(api::LIST_LOG_GROUPS, group::list_log_groups)
        .access(api::LIST_LOG_GROUPS, |cx, _| access::group(cx, "logs:ListLogGroups", None))
        .op(api::PUT_LOG_GROUP_DELETION_PROTECTION, group::put_log_group_deletion_protection)
        .access(api::PUT_LOG_GROUP_DELETION_PROTECTION, |cx, input| {
            let identifier = input.log_group_identifier.as_deref();
            access::identified(cx, "logs:PutLogGroupDeletionProtection", None, identifier)
        })
        .op(api::PUT_RETENTION_POLICY, retention::put_retention_policy)
        .access(api::PUT_RETENTION_POLICY, |cx, input| {
            access::group(cx, "logs:PutRetentionPolicy", input.log_group_name.as_deref())
        })
        .op(api::DELETE_RETENTION_POLICY, retention::delete_retention_policy)
        .access(api::DELETE_RETENTION_POLICY, |cx, input| {
            access::group(cx, "logs:DeleteRetentionPolicy", input.log_group_name.as_deref())
        })
        .op(api::TAG_RESOURCE, tags::tag_resource)
        .access(api::TAG_RESOURCE, |cx, input| {
            access::tagged(cx, "logs:TagResource", input.resource_arn.as_deref(), input.tags.as_ref())
        })
        .op(api::UNTAG_RESOURCE, tags::untag_resource)
        .access(api::UNTAG_RESOURCE, |cx, input| {
            access::tagged(cx, "logs:UntagResource", input.resource_arn.as_deref(), None)
        })
        .op(api::LIST_TAGS_FOR_RESOURCE, tags::list_tags_for_resource)
        .access(api::LIST_TAGS_FOR_RESOURCE, |cx, input| {
            access::tagged(cx, "logs:ListTagsForResource", input.resource_arn.as_deref(), None)
        })
        .op(api::TAG_LOG_GROUP, tags::tag_log_group)
        .access(api::TAG_LOG_GROUP, |cx, input| {
            let needed = access::group(cx, "logs:TagLogGroup", input.log_group_name.as_deref())?;
            Ok(needed.into_iter().map(|access| access::with_tags(access, input.tags.as_ref())).collect())
        })
        .op(api::UNTAG_LOG_GROUP, tags::untag_log_group)
        .access(api::UNTAG_LOG_GROUP, |cx, input| {
            access::group(cx, "logs:UntagLogGroup", input.log_group_name.as_deref())
        })
        .op(api::LIST_TAGS_LOG_GROUP, tags::list_tags_log_group)
        .access(api::LIST_TAGS_LOG_GROUP, |cx, input| {
            access::group(cx, "logs:ListTagsLogGroup", input.log_group_name.as_deref())
        })
}

fn streams(service: Service) -> Service {
    service
        .op(api::CREATE_LOG_STREAM, stream::create_log_stream)
        .access(api::CREATE_LOG_STREAM, |cx, input| {
            let stream = input.log_stream_name.as_deref();
            access::stream(cx, "logs:CreateLogStream", input.log_group_name.as_deref(), stream)
        })
        .op(api::DELETE_LOG_STREAM, stream::delete_log_stream)
        .access(api::DELETE_LOG_STREAM, |cx, input| {
            let stream = input.log_stream_name.as_deref();
            access::stream(cx, "logs:DeleteLogStream", input.log_group_name.as_deref(), stream)
        })
        .op(api::DESCRIBE_LOG_STREAMS, stream::describe_log_streams)
        .access(api::DESCRIBE_LOG_STREAMS, |cx, input| {
            let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
            access::identified(cx, "logs:DescribeLogStreams", name, identifier)
        })
}

fn events(service: Service) -> Service {
    service
        .op(api::PUT_LOG_EVENTS, put::put_log_events)
        .access(api::PUT_LOG_EVENTS, |cx, input| {
            let stream = input.log_stream_name.as_deref();
            access::stream(cx, "logs:PutLogEvents", input.log_group_name.as_deref(), stream)
        })
        .op(api::GET_LOG_EVENTS, get::get_log_events)
        .access(api::GET_LOG_EVENTS, |cx, input| {
            let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
            let stream = input.log_stream_name.as_deref();
            access::identified_stream(cx, "logs:GetLogEvents", name, identifier, stream)
        })
        .op(api::FILTER_LOG_EVENTS, filter::filter_log_events)
        .access(api::FILTER_LOG_EVENTS, |cx, input| {
            let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
            access::identified(cx, "logs:FilterLogEvents", name, identifier)
        })
        .op(api::GET_LOG_RECORD, record::get_log_record)
        .access(api::GET_LOG_RECORD, |cx, input| {
            let pointer = input.log_record_pointer.as_deref().and_then(Pointer::read);
            let group = pointer.map(|pointer| pointer.group_arn);
            access::identified(cx, "logs:GetLogRecord", None, group.as_deref())
        })
        .op(api::GET_LOG_GROUP_FIELDS, record::get_log_group_fields)
        .access(api::GET_LOG_GROUP_FIELDS, |cx, input| {
            let (name, identifier) = (input.log_group_name.as_deref(), input.log_group_identifier.as_deref());
            access::identified(cx, "logs:GetLogGroupFields", name, identifier)
        })
        .op(api::START_LIVE_TAIL, tail::start_live_tail)
        .access(api::START_LIVE_TAIL, |cx, input| {
            let groups = input.log_group_identifiers.iter().flatten().map(String::as_str);
            access::groups(cx, "logs:StartLiveTail", groups)
        })
}

fn policies(service: Service) -> Service {
    service
        .op(api::PUT_RESOURCE_POLICY, resource_policy::put_resource_policy)
        .op(api::DELETE_RESOURCE_POLICY, resource_policy::delete_resource_policy)
        .op(api::DESCRIBE_RESOURCE_POLICIES, resource_policy::describe_resource_policies)
}

fn filters(service: Service) -> Service {
    service
        .op(api::PUT_METRIC_FILTER, metric_filter::put_metric_filter)
        .access(api::PUT_METRIC_FILTER, |cx, input| {
            access::group(cx, "logs:PutMetricFilter", input.log_group_name.as_deref())
        })
        .op(api::DELETE_METRIC_FILTER, metric_filter::delete_metric_filter)
        .access(api::DELETE_METRIC_FILTER, |cx, input| {
            access::group(cx, "logs:DeleteMetricFilter", input.log_group_name.as_deref())
        })
        .op(api::DESCRIBE_METRIC_FILTERS, metric_filter::describe_metric_filters)
        .access(api::DESCRIBE_METRIC_FILTERS, |cx, input| {
            access::group(cx, "logs:DescribeMetricFilters", input.log_group_name.as_deref())
        })
        .op(api::TEST_METRIC_FILTER, metric_filter::test_metric_filter)
        .op(api::PUT_SUBSCRIPTION_FILTER, subscription::put_subscription_filter)
        .access(api::PUT_SUBSCRIPTION_FILTER, |cx, input| {
            access::group(cx, "logs:PutSubscriptionFilter", input.log_group_name.as_deref())
        })
        .op(api::DELETE_SUBSCRIPTION_FILTER, subscription::delete_subscription_filter)
        .access(api::DELETE_SUBSCRIPTION_FILTER, |cx, input| {
            access::group(cx, "logs:DeleteSubscriptionFilter", input.log_group_name.as_deref())
        })
        .op(api::DESCRIBE_SUBSCRIPTION_FILTERS, subscription::describe_subscription_filters)
        .access(api::DESCRIBE_SUBSCRIPTION_FILTERS, |cx, input| {
            access::group(cx, "logs:DescribeSubscriptionFilters", input.log_group_name.as_deref())
        })
}

fn queries(service: Service) -> Service {
    service
        .op(api::START_QUERY, job::start_query)
        .access(api::START_QUERY, |cx, input| {
            let names = input.log_group_names.iter().chain(&input.log_group_identifiers).flatten();
            let groups = input.log_group_name.iter().chain(names).map(String::as_str);
            let needed = access::groups(cx, "logs:StartQuery", groups)?;
            Ok(if needed.is_empty() { vec![Access::any("logs:StartQuery")] } else { needed })
        })
        .op(api::STOP_QUERY, job::stop_query)
        .op(api::GET_QUERY_RESULTS, job::get_query_results)
        .op(api::DESCRIBE_QUERIES, job::describe_queries)
        .op(api::LIST_LOG_GROUPS_FOR_QUERY, job::list_log_groups_for_query)
        .op(api::PUT_QUERY_DEFINITION, definition::put_query_definition)
        .op(api::DELETE_QUERY_DEFINITION, definition::delete_query_definition)
        .op(api::DESCRIBE_QUERY_DEFINITIONS, definition::describe_query_definitions)
}
