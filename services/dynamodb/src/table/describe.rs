//! A table as `TableDescription` shows it.

use pileus_api_dynamodb as api;
use pileus_core::Timestamp;

use crate::global;
use crate::table::count::Counts;
use crate::table::schema::KeySchema;
use crate::table::warm_throughput::Warm;
use crate::table::{Index, OnDemandLimits, Projection, Table, Throughput};

/// When a description is given: the answer to a change shows the state that AWS passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Creating,
    Updating,
    Deleting,
    Later,
}

pub fn key_schema(schema: &KeySchema) -> Vec<api::KeySchemaElement> {
    let element = |name: &str, kind: &str| api::KeySchemaElement {
        attribute_name: Some(name.to_owned()),
        key_type: Some(kind.to_owned()),
    };
    let partition = element(&schema.partition.name, "HASH");
    let sort = schema.sort.as_ref().map(|sort| element(&sort.name, "RANGE"));
    std::iter::once(partition).chain(sort).collect()
}

pub fn projection(projection: &Projection) -> api::Projection {
    let (kind, names) = match projection {
        Projection::All => ("ALL", None),
        Projection::KeysOnly => ("KEYS_ONLY", None),
        Projection::Include(names) => ("INCLUDE", Some(names.clone())),
    };
    api::Projection { projection_type: Some(kind.to_owned()), non_key_attributes: names }
}

fn throughput(throughput: &Throughput) -> api::ProvisionedThroughputDescription {
    api::ProvisionedThroughputDescription {
        last_increase_date_time: throughput.increased_at.map(Timestamp::from_millis),
        last_decrease_date_time: throughput.decreased_at.map(Timestamp::from_millis),
        number_of_decreases_today: Some(0),
        read_capacity_units: Some(throughput.read as i64),
        write_capacity_units: Some(throughput.write as i64),
    }
}

pub fn on_demand(limits: &OnDemandLimits) -> Option<api::OnDemandThroughput> {
    (limits.read.is_some() || limits.write.is_some()).then(|| api::OnDemandThroughput {
        max_read_request_units: Some(limits.read.unwrap_or(-1)),
        max_write_request_units: Some(limits.write.unwrap_or(-1)),
    })
}

/// # Panics
/// Never.
pub fn describe(table: &Table, counts: &Counts, moment: Moment) -> api::TableDescription {
    let record = &table.record;
    let arn = table.address.arn();
    let own = counts.of(record.generation);
    let status = match moment {
        Moment::Creating => "CREATING",
        Moment::Updating => "UPDATING",
        Moment::Deleting => "DELETING",
        Moment::Later if table.is_restoring() => "CREATING",
        Moment::Later if record.indexes.iter().any(|index| index.is_backfilling) => "UPDATING",
        Moment::Later => "ACTIVE",
    };
    let warm = Warm::of(record.warm, record.is_on_demand, &record.throughput);
    let global: Vec<_> = record
        .indexes
        .iter()
        .filter(|index| index.is_global)
        .map(|index| global_index(table, index, counts, moment))
        .collect();
    let local: Vec<_> = record
        .indexes
        .iter()
        .filter(|index| !index.is_global)
        .map(|index| api::LocalSecondaryIndexDescription {
            index_name: Some(index.name.clone()),
            key_schema: Some(key_schema(&index.schema)),
            projection: Some(projection(&index.projection)),
            index_size_bytes: Some(counts.of(index.generation).bytes as i64),
            item_count: Some(counts.of(index.generation).items as i64),
            index_arn: Some(format!("{arn}/index/{}", index.name)),
        })
        .collect();
    let definitions = record.definitions.iter().map(|(name, kind)| api::AttributeDefinition {
        attribute_name: Some(name.clone()),
        attribute_type: Some(kind.name().to_owned()),
    });
    let billing =
        (record.is_on_demand || record.on_demand_since.is_some()).then(|| api::BillingModeSummary {
            billing_mode: Some(
                if record.is_on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" }.to_owned(),
            ),
            last_update_to_pay_per_request_date_time: record.on_demand_since.map(Timestamp::from_millis),
        });
    api::TableDescription {
        attribute_definitions: Some(definitions.collect()),
        table_name: Some(table.address.name.clone()),
        key_schema: Some(key_schema(&record.schema)),
        table_status: Some(status.to_owned()),
        creation_date_time: Some(Timestamp::from_millis(record.created_at)),
        provisioned_throughput: Some(throughput(&record.throughput)),
        table_size_bytes: Some(own.bytes as i64),
        item_count: Some(own.items as i64),
        table_arn: Some(arn.to_string()),
        table_id: Some(record.id.clone()),
        billing_mode_summary: billing,
        local_secondary_indexes: (!local.is_empty()).then_some(local),
        global_secondary_indexes: (!global.is_empty()).then_some(global),
        stream_specification: record.stream.as_ref().map(|stream| api::StreamSpecification {
            stream_enabled: Some(true),
            stream_view_type: Some(stream.view.name().to_owned()),
        }),
        latest_stream_label: record.latest_stream.clone(),
        latest_stream_arn: record.latest_stream.as_ref().map(|label| format!("{arn}/stream/{label}")),
        table_class_summary: record.class.as_ref().map(|class| api::TableClassSummary {
            table_class: Some(class.clone()),
            last_update_date_time: record.class_changed_at.map(Timestamp::from_millis),
        }),
        restore_summary: record.restore.as_ref().map(|restore| api::RestoreSummary {
            source_backup_arn: Some(restore.backup.clone()).filter(|arn| !arn.is_empty()),
            source_table_arn: Some(restore.table.clone()),
            restore_date_time: Some(Timestamp::from_millis(restore.at)),
            restore_in_progress: Some(restore.is_running),
        }),
        replicas: global::describe(table, moment),
        global_table_version: record.global_version.clone().filter(|_| !record.replicas.is_empty()),
        deletion_protection_enabled: Some(record.is_protected),
        on_demand_throughput: on_demand(&record.on_demand),
        warm_throughput: Some(api::TableWarmThroughputDescription {
            read_units_per_second: Some(warm.read),
            write_units_per_second: Some(warm.write),
            status: Some("ACTIVE".to_owned()),
        }),
        ..api::TableDescription::default()
    }
}

fn global_index(
    table: &Table,
    index: &Index,
    counts: &Counts,
    moment: Moment,
) -> api::GlobalSecondaryIndexDescription {
    let warm = Warm::of(index.warm, table.record.is_on_demand, &index.throughput);
    let status = match moment {
        Moment::Creating => "CREATING",
        Moment::Deleting => "DELETING",
        _ if index.is_backfilling => "CREATING",
        _ => "ACTIVE",
    };
    api::GlobalSecondaryIndexDescription {
        index_name: Some(index.name.clone()),
        key_schema: Some(key_schema(&index.schema)),
        projection: Some(projection(&index.projection)),
        index_status: Some(status.to_owned()),
        backfilling: index.is_backfilling.then_some(true),
        provisioned_throughput: Some(throughput(&index.throughput)),
        index_size_bytes: Some(counts.of(index.generation).bytes as i64),
        item_count: Some(counts.of(index.generation).items as i64),
        index_arn: Some(format!("{}/index/{}", table.address.arn(), index.name)),
        on_demand_throughput: on_demand(&index.on_demand),
        warm_throughput: Some(api::GlobalSecondaryIndexWarmThroughputDescription {
            read_units_per_second: Some(warm.read),
            write_units_per_second: Some(warm.write),
            status: Some("ACTIVE".to_owned()),
        }),
    }
}
