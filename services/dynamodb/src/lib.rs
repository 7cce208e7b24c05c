//! Amazon DynamoDB and Amazon DynamoDB Streams.
//!
//! | File                    | Holds                                                                            |
//! |-------------------------|----------------------------------------------------------------------------------|
//! | `table.rs`              | how a table is kept; `DescribeTable`, `ListTables`, `DeleteTable`, `DescribeLimits`, `DescribeEndpoints` |
//! | `table/create.rs`       | `CreateTable`, and what a definition must be                                     |
//! | `table/update.rs`       | `UpdateTable`                                                                    |
//! | `table/describe.rs`     | a table as descriptions show it                                                  |
//! | `table/count.rs`        | how many items a table has                                                       |
//! | `table/schema.rs`       | key schemas, and where an item lies: pure                                        |
//! | `table/tags.rs`         | `TagResource`, `UntagResource`, `ListTagsOfResource`                             |
//! | `table/policy.rs`       | `PutResourcePolicy`, `GetResourcePolicy`, `DeleteResourcePolicy`                 |
//! | `table/recovery.rs`     | `DescribeContinuousBackups`, `UpdateContinuousBackups`: point-in-time recovery   |
//! | `table/insights.rs`     | `UpdateContributorInsights`, `DescribeContributorInsights`, `ListContributorInsights` |
//! | `table/transition.rs`   | states that tables pass through                                                  |
//! | `table/warm_throughput.rs` | what a table can serve at once: pure                                          |
//! | `table/time_to_live.rs` | `UpdateTimeToLive`, `DescribeTimeToLive`                                         |
//! | `backup.rs`             | `CreateBackup`, `DescribeBackup`, `ListBackups`, `DeleteBackup`                  |
//! | `backup/restore.rs`     | `RestoreTableFromBackup`, `RestoreTableToPointInTime`                            |
//! | `backup/copy.rs`, `backup/snapshot.rs` | how items are copied, also those of another moment                |
//! | `global.rs`, `global/*.rs` | global tables: see `global.rs`                                                |
//! | `item/*.rs`             | reading and writing items: see `item.rs`                                         |
//! | `expression/*.rs`       | expressions: pure; see `expression.rs`                                           |
//! | `legacy.rs`             | parameters from before expressions: pure                                         |
//! | `value.rs`, `number.rs` | attribute values and numbers: pure                                               |
//! | `partiql.rs`, `partiql/*.rs` | PartiQL: see `partiql.rs`                                              |
//! | `transfer.rs`, `transfer/*.rs` | exports to and imports from Amazon S3: see `transfer.rs`                  |
//! | `capacity.rs`           | what a request consumes                                                          |
//! | `throttle.rs`           | provisioned throughput                                                           |
//! | `stream.rs`, `stream/*.rs` | `ListStreams`, `DescribeStream`, `GetShardIterator`, `GetRecords`             |
//! | `expire.rs`             | removal of items whose time to live ran out                                      |
//! | `backfill.rs`           | entries for items that were there before an index                                |
//! | `sweep.rs`              | removal of what is out of sight                                                  |
//! | `access.rs`             | what a caller must be allowed to do                                              |
//! | `state.rs`              | what a node keeps in memory                                                      |
//! | `keys.rs`, `error.rs`   | every key we write; every error a caller can see                                 |
//!
//! Where we differ from AWS, and why: `docs/services/dynamodb.md`.

mod access;
mod backfill;
mod backup;
mod capacity;
mod error;
mod expire;
mod expression;
mod global;
mod item;
mod keys;
mod legacy;
mod number;
mod partiql;
mod state;
mod stream;
mod sweep;
mod table;
mod throttle;
mod transfer;
mod value;

#[cfg(test)]
mod tests;

use pileus_api_dynamodb as api;
use pileus_api_dynamodbstreams as streams_api;
use pileus_platform::Service;

use crate::backup::restore;
use crate::global::legacy as legacy_global;
use crate::item::{batch, collection, query, single, transact};
use crate::partiql::{batch as statement_batch, run};
use crate::table::{create, insights, policy, recovery, tags, time_to_live, update};
use crate::transfer::{export, import};

pub use crate::error::DynamoError;

/// DynamoDB as this node answers it.
pub fn service() -> Service {
    let service = Service::new(api::SERVICE)
        .state(state::Dynamo::default())
        .resource_policy(policy::find)
        .worker("sweeper", sweep::run)
        .worker("back-filler", backfill::run)
        .worker("transfers", transfer::run)
        .worker("item collections", collection::run)
        .worker("expiry", expire::run);
    transfers(global_tables(backups(statements(items(settings(tables(service)))))))
}

fn tables(service: Service) -> Service {
    service
        .op(api::CREATE_TABLE, create::create_table)
        .access(api::CREATE_TABLE, |cx, input| {
            access::table(cx, "dynamodb:CreateTable", input.table_name.as_deref())
        })
        .op(api::DESCRIBE_TABLE, table::describe_table)
        .access(api::DESCRIBE_TABLE, |cx, input| {
            access::table(cx, "dynamodb:DescribeTable", input.table_name.as_deref())
        })
        .op(api::UPDATE_TABLE, update::update_table)
        .access(api::UPDATE_TABLE, access::update_table)
        .op(api::DELETE_TABLE, table::delete_table)
        .access(api::DELETE_TABLE, |cx, input| {
            access::table(cx, "dynamodb:DeleteTable", input.table_name.as_deref())
        })
        .op(api::LIST_TABLES, table::list_tables)
        .op(api::DESCRIBE_LIMITS, table::describe_limits)
        .op(api::DESCRIBE_ENDPOINTS, table::describe_endpoints)
}

fn settings(service: Service) -> Service {
    service
        .op(api::TAG_RESOURCE, tags::tag_resource)
        .access(api::TAG_RESOURCE, |_, input| {
            access::resource("dynamodb:TagResource", input.resource_arn.as_deref())
        })
        .op(api::UNTAG_RESOURCE, tags::untag_resource)
        .access(api::UNTAG_RESOURCE, |_, input| {
            access::resource("dynamodb:UntagResource", input.resource_arn.as_deref())
        })
        .op(api::LIST_TAGS_OF_RESOURCE, tags::list_tags_of_resource)
        .access(api::LIST_TAGS_OF_RESOURCE, |_, input| {
            access::resource("dynamodb:ListTagsOfResource", input.resource_arn.as_deref())
        })
        .op(api::PUT_RESOURCE_POLICY, policy::put_resource_policy)
        .access(api::PUT_RESOURCE_POLICY, |_, input| {
            access::resource("dynamodb:PutResourcePolicy", input.resource_arn.as_deref())
        })
        .op(api::GET_RESOURCE_POLICY, policy::get_resource_policy)
        .access(api::GET_RESOURCE_POLICY, |_, input| {
            access::resource("dynamodb:GetResourcePolicy", input.resource_arn.as_deref())
        })
        .op(api::DELETE_RESOURCE_POLICY, policy::delete_resource_policy)
        .access(api::DELETE_RESOURCE_POLICY, |_, input| {
            access::resource("dynamodb:DeleteResourcePolicy", input.resource_arn.as_deref())
        })
        .op(api::UPDATE_CONTRIBUTOR_INSIGHTS, insights::update_contributor_insights)
        .access(api::UPDATE_CONTRIBUTOR_INSIGHTS, |cx, input| {
            let (table, index) = (input.table_name.as_deref(), input.index_name.as_deref());
            access::index(cx, "dynamodb:UpdateContributorInsights", table, index)
        })
        .op(api::DESCRIBE_CONTRIBUTOR_INSIGHTS, insights::describe_contributor_insights)
        .access(api::DESCRIBE_CONTRIBUTOR_INSIGHTS, |cx, input| {
            let (table, index) = (input.table_name.as_deref(), input.index_name.as_deref());
            access::index(cx, "dynamodb:DescribeContributorInsights", table, index)
        })
        .op(api::LIST_CONTRIBUTOR_INSIGHTS, insights::list_contributor_insights)
        .op(api::UPDATE_TIME_TO_LIVE, time_to_live::update_time_to_live)
        .access(api::UPDATE_TIME_TO_LIVE, |cx, input| {
            access::table(cx, "dynamodb:UpdateTimeToLive", input.table_name.as_deref())
        })
        .op(api::DESCRIBE_CONTINUOUS_BACKUPS, recovery::describe_continuous_backups)
        .access(api::DESCRIBE_CONTINUOUS_BACKUPS, |cx, input| {
            access::table(cx, "dynamodb:DescribeContinuousBackups", input.table_name.as_deref())
        })
        .op(api::UPDATE_CONTINUOUS_BACKUPS, recovery::update_continuous_backups)
        .access(api::UPDATE_CONTINUOUS_BACKUPS, |cx, input| {
            access::table(cx, "dynamodb:UpdateContinuousBackups", input.table_name.as_deref())
        })
        .op(api::DESCRIBE_TIME_TO_LIVE, time_to_live::describe_time_to_live)
        .access(api::DESCRIBE_TIME_TO_LIVE, |cx, input| {
            access::table(cx, "dynamodb:DescribeTimeToLive", input.table_name.as_deref())
        })
}

fn items(service: Service) -> Service {
    service
        .op(api::GET_ITEM, single::get_item)
        .access_async(api::GET_ITEM, access::get_item)
        .op(api::PUT_ITEM, single::put_item)
        .access_async(api::PUT_ITEM, access::put_item)
        .op(api::UPDATE_ITEM, single::update_item)
        .access_async(api::UPDATE_ITEM, access::update_item)
        .op(api::DELETE_ITEM, single::delete_item)
        .access_async(api::DELETE_ITEM, access::delete_item)
        .op(api::QUERY, query::query)
        .access_async(api::QUERY, access::query)
        .op(api::SCAN, query::scan)
        .access_async(api::SCAN, access::scan)
        .op(api::BATCH_GET_ITEM, batch::batch_get_item)
        .access_async(api::BATCH_GET_ITEM, access::batch_get_item)
        .op(api::BATCH_WRITE_ITEM, batch::batch_write_item)
        .access_async(api::BATCH_WRITE_ITEM, access::batch_write_item)
        .op(api::TRANSACT_GET_ITEMS, transact::transact_get_items)
        .access_async(api::TRANSACT_GET_ITEMS, access::transact_get_items)
        .op(api::TRANSACT_WRITE_ITEMS, transact::transact_write_items)
        .access_async(api::TRANSACT_WRITE_ITEMS, access::transact_write_items)
}

fn backups(service: Service) -> Service {
    service
        .op(api::CREATE_BACKUP, backup::create_backup)
        .access(api::CREATE_BACKUP, |cx, input| {
            access::table(cx, "dynamodb:CreateBackup", input.table_name.as_deref())
        })
        .op(api::DESCRIBE_BACKUP, backup::describe_backup)
        .access(api::DESCRIBE_BACKUP, |_, input| {
            access::resource("dynamodb:DescribeBackup", input.backup_arn.as_deref())
        })
        .op(api::DELETE_BACKUP, backup::delete_backup)
        .access(api::DELETE_BACKUP, |_, input| {
            access::resource("dynamodb:DeleteBackup", input.backup_arn.as_deref())
        })
        .op(api::LIST_BACKUPS, backup::list_backups)
        .op(api::RESTORE_TABLE_TO_POINT_IN_TIME, restore::restore_table_to_point_in_time)
        .access(api::RESTORE_TABLE_TO_POINT_IN_TIME, |cx, input| {
            let action = "dynamodb:RestoreTableToPointInTime";
            let source = input.source_table_arn.as_deref().or(input.source_table_name.as_deref());
            let mut needed = access::table(cx, action, source)?;
            needed.extend(access::table(cx, action, input.target_table_name.as_deref())?);
            Ok(needed)
        })
        .op(api::RESTORE_TABLE_FROM_BACKUP, restore::restore_table_from_backup)
        .access(api::RESTORE_TABLE_FROM_BACKUP, |cx, input| {
            let mut needed =
                access::resource("dynamodb:RestoreTableFromBackup", input.backup_arn.as_deref())?;
            needed.extend(access::table(
                cx,
                "dynamodb:RestoreTableFromBackup",
                input.target_table_name.as_deref(),
            )?);
            Ok(needed)
        })
}

fn transfers(service: Service) -> Service {
    service
        .op(api::EXPORT_TABLE_TO_POINT_IN_TIME, export::export_table_to_point_in_time)
        .access(api::EXPORT_TABLE_TO_POINT_IN_TIME, |cx, input| {
            access::table(cx, "dynamodb:ExportTableToPointInTime", input.table_arn.as_deref())
        })
        .op(api::DESCRIBE_EXPORT, export::describe_export)
        .access(api::DESCRIBE_EXPORT, |_, input| {
            access::resource("dynamodb:DescribeExport", input.export_arn.as_deref())
        })
        .op(api::LIST_EXPORTS, export::list_exports)
        .op(api::IMPORT_TABLE, import::import_table)
        .access(api::IMPORT_TABLE, |cx, input| {
            let table =
                input.table_creation_parameters.as_ref().and_then(|wanted| wanted.table_name.as_deref());
            access::table(cx, "dynamodb:ImportTable", table)
        })
        .op(api::DESCRIBE_IMPORT, import::describe_import)
        .access(api::DESCRIBE_IMPORT, |_, input| {
            access::resource("dynamodb:DescribeImport", input.import_arn.as_deref())
        })
        .op(api::LIST_IMPORTS, import::list_imports)
}

fn global_tables(service: Service) -> Service {
    service
        .op(api::CREATE_GLOBAL_TABLE, legacy_global::create_global_table)
        .access(api::CREATE_GLOBAL_TABLE, |cx, input| {
            let mut needed =
                access::global_table(cx, "dynamodb:CreateGlobalTable", input.global_table_name.as_deref())?;
            needed.extend(access::table(
                cx,
                "dynamodb:CreateGlobalTable",
                input.global_table_name.as_deref(),
            )?);
            Ok(needed)
        })
        .op(api::UPDATE_GLOBAL_TABLE, legacy_global::update_global_table)
        .access(api::UPDATE_GLOBAL_TABLE, |cx, input| {
            let mut needed =
                access::global_table(cx, "dynamodb:UpdateGlobalTable", input.global_table_name.as_deref())?;
            needed.extend(access::table(
                cx,
                "dynamodb:UpdateGlobalTable",
                input.global_table_name.as_deref(),
            )?);
            Ok(needed)
        })
        .op(api::DESCRIBE_GLOBAL_TABLE, legacy_global::describe_global_table)
        .access(api::DESCRIBE_GLOBAL_TABLE, |cx, input| {
            access::global_table(cx, "dynamodb:DescribeGlobalTable", input.global_table_name.as_deref())
        })
        .op(api::DESCRIBE_GLOBAL_TABLE_SETTINGS, legacy_global::describe_global_table_settings)
        .access(api::DESCRIBE_GLOBAL_TABLE_SETTINGS, |cx, input| {
            access::global_table(
                cx,
                "dynamodb:DescribeGlobalTableSettings",
                input.global_table_name.as_deref(),
            )
        })
        .op(api::LIST_GLOBAL_TABLES, legacy_global::list_global_tables)
}

fn statements(service: Service) -> Service {
    service
        .op(api::EXECUTE_STATEMENT, run::execute_statement)
        .access_async(api::EXECUTE_STATEMENT, access::execute_statement)
        .op(api::BATCH_EXECUTE_STATEMENT, statement_batch::batch_execute_statement)
        .access_async(api::BATCH_EXECUTE_STATEMENT, access::batch_execute_statement)
        .op(api::EXECUTE_TRANSACTION, statement_batch::execute_transaction)
        .access_async(api::EXECUTE_TRANSACTION, access::execute_transaction)
}

/// DynamoDB Streams as this node answers it.
pub fn streams() -> Service {
    Service::new(streams_api::SERVICE)
        .resource_policy(policy::find)
        .op(streams_api::LIST_STREAMS, stream::list_streams)
        .access(streams_api::LIST_STREAMS, |cx, input| access::all_streams(cx, input.table_name.as_deref()))
        .op(streams_api::DESCRIBE_STREAM, stream::describe_stream)
        .access(streams_api::DESCRIBE_STREAM, |_, input| {
            access::resource("dynamodb:DescribeStream", input.stream_arn.as_deref())
        })
        .op(streams_api::GET_SHARD_ITERATOR, stream::read::get_shard_iterator)
        .access(streams_api::GET_SHARD_ITERATOR, |_, input| {
            access::resource("dynamodb:GetShardIterator", input.stream_arn.as_deref())
        })
        .op(streams_api::GET_RECORDS, stream::read::get_records)
        .access(streams_api::GET_RECORDS, |_, input| {
            let stream = input.shard_iterator.as_deref().and_then(stream::read::iterator_stream);
            access::resource("dynamodb:GetRecords", stream.as_deref())
        })
}
