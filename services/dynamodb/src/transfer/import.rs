//! `ImportTable`, `DescribeImport`, `ListImports`.
//!
//! Source: API Reference, "ImportTable"; Developer Guide, "Amazon S3 import formats for DynamoDB", "Import quotas and
//! validation".

use std::time::Duration;

use pileus_api_dynamodb as api;
use pileus_core::Timestamp;
use pileus_platform::{Cx, Platform};
use pileus_store::{Lease, Stored};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::keys::{IMPORTS, TABLES, TRANSFERS, TransferKey};
use crate::state::Dynamo;
use crate::table::schema::ScalarKind;
use crate::table::{self, Address, Record, Table, create};
use crate::transfer::bucket::Bucket;
use crate::transfer::export::read_arn;
use crate::transfer::parse::{Compression, Format};
use crate::transfer::read::{self, Source, Tally};
use crate::transfer::write::Stop;
use crate::transfer::{self, Goal, Requester, Transfer};

/// How long a request with the same token is the same request.
const TOKEN_LIFE: Duration = Duration::from_secs(8 * 3_600);
const DELIMITERS: &[u8] = b",\t:;| ";

/// An import as it is stored. Moments are milliseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportRow {
    pub arn: String,
    pub table_arn: String,
    pub table_id: String,
    pub generation: u64,
    /// The table as it was asked for.
    pub record: Record,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub token: Option<String>,
    pub bucket: String,
    pub bucket_owner: Option<String>,
    pub prefix: Option<String>,
    pub format: String,
    pub compression: String,
    pub delimiter: Option<String>,
    pub header: Option<Vec<String>>,
    pub requester: Requester,
    pub failure: Option<(String, String)>,
    pub processed: u64,
    pub imported: u64,
    pub errors: u64,
    pub bytes: u64,
}

impl Stored for ImportRow {}

impl ImportRow {
    fn status(&self) -> &'static str {
        match (&self.failure, self.ended_at) {
            (Some(_), _) => "FAILED",
            (None, Some(_)) => "COMPLETED",
            (None, None) => "IN_PROGRESS",
        }
    }

    fn is_same_request(&self, other: &ImportRow) -> bool {
        let of = |row: &ImportRow| {
            (
                (row.table_arn.clone(), row.bucket.clone(), row.bucket_owner.clone(), row.prefix.clone()),
                (row.format.clone(), row.compression.clone(), row.delimiter.clone(), row.header.clone()),
            )
        };
        of(self) == of(other)
    }

    fn source(&self) -> Source<'_> {
        let delimiter = self.delimiter.as_ref().and_then(|text| text.bytes().next()).unwrap_or(b',');
        Source {
            bucket: Bucket { name: &self.bucket, owner: self.bucket_owner.as_deref(), encryption: None },
            prefix: self.prefix.as_deref().unwrap_or_default(),
            format: match self.format.as_str() {
                "ION" => Format::Ion,
                "CSV" => {
                    Format::Csv { delimiter, header: self.header.clone(), definitions: self.definitions() }
                }
                _ => Format::Json,
            },
            compression: match self.compression.as_str() {
                "GZIP" => Compression::Gzip,
                "ZSTD" => Compression::Zstd,
                _ => Compression::None,
            },
        }
    }

    fn definitions(&self) -> Vec<(String, ScalarKind)> {
        self.record.definitions.clone()
    }

    fn s3_source(&self) -> api::S3BucketSource {
        api::S3BucketSource {
            s3_bucket_owner: self.bucket_owner.clone(),
            s3_bucket: Some(self.bucket.clone()),
            s3_key_prefix: self.prefix.clone(),
        }
    }
}

fn describe(row: &ImportRow) -> api::ImportTableDescription {
    let address = Address::from_arn(&row.table_arn).map(|(address, _)| address);
    let record = &row.record;
    let shown = address.map(|address| {
        let table = Table { address, record: record.clone(), policy: None };
        table::describe::describe(&table, &Default::default(), table::describe::Moment::Later)
    });
    let shown = shown.unwrap_or_default();
    let throughput = |units: Option<&api::ProvisionedThroughputDescription>| {
        units.filter(|_| !record.is_on_demand).map(|units| api::ProvisionedThroughput {
            read_capacity_units: units.read_capacity_units,
            write_capacity_units: units.write_capacity_units,
        })
    };
    let indexes = shown.global_secondary_indexes.as_ref().map(|indexes| {
        let index = |index: &api::GlobalSecondaryIndexDescription| api::GlobalSecondaryIndex {
            index_name: index.index_name.clone(),
            key_schema: index.key_schema.clone(),
            projection: index.projection.clone(),
            provisioned_throughput: throughput(index.provisioned_throughput.as_ref()),
            on_demand_throughput: index.on_demand_throughput.clone(),
            ..api::GlobalSecondaryIndex::default()
        };
        indexes.iter().map(index).collect()
    });
    let csv = (row.delimiter.is_some() || row.header.is_some())
        .then(|| api::CsvOptions { delimiter: row.delimiter.clone(), header_list: row.header.clone() });
    api::ImportTableDescription {
        import_arn: Some(row.arn.clone()),
        import_status: Some(row.status().to_owned()),
        table_arn: Some(row.table_arn.clone()),
        table_id: Some(row.table_id.clone()),
        client_token: row.token.clone(),
        s3_bucket_source: Some(row.s3_source()),
        error_count: Some(row.errors as i64),
        input_format: Some(row.format.clone()),
        input_format_options: csv.map(|csv| api::InputFormatOptions { csv: Some(csv) }),
        input_compression_type: Some(row.compression.clone()),
        table_creation_parameters: Some(api::TableCreationParameters {
            table_name: shown.table_name.clone(),
            attribute_definitions: shown.attribute_definitions.clone(),
            key_schema: shown.key_schema.clone(),
            billing_mode: Some(
                if record.is_on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" }.to_owned(),
            ),
            provisioned_throughput: throughput(shown.provisioned_throughput.as_ref()),
            on_demand_throughput: shown.on_demand_throughput.clone(),
            global_secondary_indexes: indexes,
            ..api::TableCreationParameters::default()
        }),
        start_time: Some(Timestamp::from_millis(row.started_at)),
        end_time: row.ended_at.map(Timestamp::from_millis),
        processed_size_bytes: Some(row.bytes as i64),
        processed_item_count: Some(row.processed as i64),
        imported_item_count: Some(row.imported as i64),
        failure_code: row.failure.as_ref().map(|(code, _)| code.clone()),
        failure_message: row.failure.as_ref().map(|(_, message)| message.clone()),
        ..api::ImportTableDescription::default()
    }
}

/// The table that an import makes.
fn read_record(cx: &Cx, wanted: &api::TableCreationParameters) -> Result<Record, DynamoError> {
    if wanted.vector_indexes.is_some() {
        return Err(DynamoError::unsupported("VectorIndexes"));
    }
    let input = api::CreateTableInput {
        table_name: wanted.table_name.clone(),
        attribute_definitions: wanted.attribute_definitions.clone(),
        key_schema: wanted.key_schema.clone(),
        billing_mode: wanted.billing_mode.clone(),
        provisioned_throughput: wanted.provisioned_throughput.clone(),
        on_demand_throughput: wanted.on_demand_throughput.clone(),
        sse_specification: wanted.sse_specification.clone(),
        global_secondary_indexes: wanted.global_secondary_indexes.clone(),
        ..api::CreateTableInput::default()
    };
    create::read(cx, &input)
}

/// `ImportTable`: a new table, `CREATING` until everything is there.
pub async fn import_table(
    cx: &Cx,
    input: api::ImportTableInput,
) -> Result<api::ImportTableOutput, DynamoError> {
    let wanted = input.table_creation_parameters.clone().unwrap_or_default();
    let address = &Address::parse(cx, wanted.table_name.as_deref().unwrap_or_default())?;
    let record = read_record(cx, &wanted)?;
    let format = input.input_format.clone().unwrap_or_default();
    let csv = input.input_format_options.and_then(|options| options.csv);
    if csv.is_some() && format != "CSV" {
        return Err(DynamoError::validation("Csv options can only be specified when InputFormat is CSV"));
    }
    let delimiter = csv.as_ref().and_then(|csv| csv.delimiter.clone());
    let is_delimiter = |text: &String| text.len() == 1 && DELIMITERS.contains(&text.as_bytes()[0]);
    if delimiter.as_ref().is_some_and(|text| !is_delimiter(text)) {
        return Err(DynamoError::validation(
            "The delimiter is not one of comma, tab, colon, semicolon, pipe, space",
        ));
    }
    let source = input.s3_bucket_source.unwrap_or_default();
    let now = cx.now();
    let id = format!("{:014}-{}", now.as_millis(), cx.ids().hex(8));
    let arn = format!("{}/import/{id}", address.arn());
    let record = Record { filled_from: Some(arn.clone()), ..record };
    let row = &ImportRow {
        arn,
        table_arn: address.arn().to_string(),
        table_id: record.id.clone(),
        generation: record.generation,
        record: record.clone(),
        started_at: now.as_millis(),
        ended_at: None,
        token: input.client_token,
        bucket: source.s3_bucket.unwrap_or_default(),
        bucket_owner: source.s3_bucket_owner,
        prefix: source.s3_key_prefix,
        format,
        compression: input.input_compression_type.unwrap_or_else(|| "NONE".to_owned()),
        delimiter,
        header: csv.and_then(|csv| csv.header_list),
        requester: Requester::of(cx.caller()),
        failure: None,
        processed: 0,
        imported: 0,
        errors: 0,
        bytes: 0,
    };
    let (dynamo, record, id) = (cx.state::<Dynamo>(), &record, &id);
    let row = cx
        .transact(|txn| async move {
            if let Some(token) = &row.token {
                let ours = IMPORTS.under(&(address.account, &address.region));
                let recent = IMPORTS.scan(&txn, &ours, 1_000).await?.rows;
                let known = recent.into_iter().map(|(_, row)| row).find(|known| {
                    known.token.as_ref() == Some(token)
                        && Timestamp::from_millis(known.started_at) + TOKEN_LIFE > now
                });
                match known {
                    Some(known) if known.is_same_request(row) => return Ok(known),
                    Some(_) => {
                        return Err(DynamoError::modelled(
                            "ImportConflictException",
                            "An import with the same ClientToken and other parameters was requested before",
                        ));
                    }
                    None => {}
                }
            }
            if dynamo.find(&txn, address).await?.is_some() {
                return Err(table::in_use(&address.name, "Table already exists"));
            }
            TABLES.put(&txn, &address.key(), record)?;
            let key = (address.account, address.region.clone(), address.name.clone(), id.clone());
            IMPORTS.put(&txn, &key, row)?;
            transfer::begin(&txn, &key, &Transfer { goal: Goal::Import, needs: vec![row.generation] })?;
            Ok(row.clone())
        })
        .await?;
    Ok(api::ImportTableOutput { import_table_description: Some(describe(&row)) })
}

/// `DescribeImport`
pub async fn describe_import(
    cx: &Cx,
    input: api::DescribeImportInput,
) -> Result<api::DescribeImportOutput, DynamoError> {
    let arn = input.import_arn.unwrap_or_default();
    let key = read_arn(&arn, "import")
        .ok_or_else(|| DynamoError::validation(format!("Invalid ImportArn: {arn}")))?;
    let row = IMPORTS.get(cx.store(), &key).await?.ok_or_else(|| {
        DynamoError::modelled("ImportNotFoundException", format!("Import not found: {arn}"))
    })?;
    Ok(api::DescribeImportOutput { import_table_description: Some(describe(&row)) })
}

/// `ListImports`: by table and age, up to 25 at a time.
pub async fn list_imports(
    cx: &Cx,
    input: api::ListImportsInput,
) -> Result<api::ListImportsOutput, DynamoError> {
    let limit = input.page_size.unwrap_or(25).clamp(1, 25) as usize;
    let mut range = match &input.table_arn {
        Some(arn) => {
            let address = Address::parse(cx, arn)?;
            IMPORTS.under(&(address.account, &address.region, address.name.as_str()))
        }
        None => IMPORTS.under(&(cx.account(), cx.region())),
    };
    if let Some(token) = &input.next_token {
        let key = read_arn(token, "import").ok_or_else(|| DynamoError::validation("Invalid NextToken"))?;
        range = range.after(&IMPORTS.key(&key));
    }
    let page = IMPORTS.scan(cx.store(), &range, limit).await?;
    let next_token = page.rows.last().filter(|_| page.more).map(|(_, row)| row.arn.clone());
    let summaries = page.rows.iter().map(|(_, row)| api::ImportSummary {
        import_arn: Some(row.arn.clone()),
        import_status: Some(row.status().to_owned()),
        table_arn: Some(row.table_arn.clone()),
        s3_bucket_source: Some(row.s3_source()),
        input_format: Some(row.format.clone()),
        start_time: Some(Timestamp::from_millis(row.started_at)),
        end_time: row.ended_at.map(Timestamp::from_millis),
        ..api::ImportSummary::default()
    });
    Ok(api::ListImportsOutput { import_summary_list: Some(summaries.collect()), next_token })
}

/// Carries out an import and notes how it ended. A table whose import failed is removed. Chosen: it could never be read.
///
/// # Errors
/// After which it is tried again.
pub async fn carry_out(platform: &Platform, lease: &Lease, key: &TransferKey) -> Result<(), DynamoError> {
    let store = platform.store();
    let Some(row) = IMPORTS.get(store, key).await? else {
        return store
            .transact(|txn| async move {
                TRANSFERS.delete(&txn, key);
                Ok(())
            })
            .await;
    };
    let (account, region, name, _) = key.clone();
    let cx = Cx::background(platform, "dynamodb.amazonaws.com", account, region.clone());
    let cx = cx.with_caller(row.requester.clone().caller(account));
    let address = &Address { account, region, name };
    let table = Table { address: address.clone(), record: row.record.clone(), policy: None };
    let (tally, failure) = match read::read(platform, lease, &cx, &row.source(), &table).await {
        Ok(tally) => (tally, None),
        Err(Stop::Failed(failure)) => (Tally::default(), Some((failure.code, failure.message))),
        Err(Stop::Later(error)) => return Err(error),
    };
    let ended = &ImportRow {
        ended_at: Some(platform.clock().now().as_millis()),
        processed: tally.processed,
        imported: tally.imported,
        errors: tally.errors,
        bytes: tally.bytes,
        failure,
        ..row
    };
    store
        .transact(|txn| async move {
            IMPORTS.put(&txn, key, ended)?;
            TRANSFERS.delete(&txn, key);
            let present = TABLES.get(&txn, &address.key()).await?;
            let Some(record) = present.filter(|record| record.generation == ended.generation) else {
                return Ok(());
            };
            if ended.failure.is_none() {
                return table::store(&txn, address, &Record { filled_from: None, ..record });
            }
            TABLES.delete(&txn, &address.key());
            table::discard(&txn, record.generation)?;
            record.indexes.iter().try_for_each(|index| table::discard(&txn, index.generation))
        })
        .await
}
