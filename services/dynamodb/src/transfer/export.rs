//! `ExportTableToPointInTime`, `DescribeExport`, `ListExports`.
//!
//! Source: API Reference, "ExportTableToPointInTime"; Developer Guide, "Requesting a table export in DynamoDB".

use std::time::Duration;

use pileus_api_dynamodb as api;
use pileus_core::Timestamp;
use pileus_platform::{Cx, Platform};
use pileus_store::{Lease, Stored};
use serde::{Deserialize, Serialize};

use crate::backup::restore;
use crate::error::DynamoError;
use crate::keys::{EXPORTS, TRANSFERS, TransferKey};
use crate::state::Dynamo;
use crate::table::schema::KeySchema;
use crate::table::{self, Address, recovery};
use crate::transfer::bucket::Bucket;
use crate::transfer::write::{self, Stop, Written};
use crate::transfer::{self, Goal, Requester, Transfer};

/// How long a request with the same token is the same request.
const TOKEN_LIFE: Duration = Duration::from_secs(8 * 3_600);
const SHORTEST: Duration = Duration::from_secs(15 * 60);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Full,
    /// What changed since `from`, milliseconds since 1970.
    Incremental {
        from: i64,
        has_old: bool,
    },
}

/// An export as it is stored. Moments are milliseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportRow {
    pub arn: String,
    pub table_arn: String,
    pub table_id: String,
    /// Of the table, of its changes, and of the copy that the export makes.
    pub generation: u64,
    pub history: u64,
    pub scratch: u64,
    pub schema: KeySchema,
    pub kind: Kind,
    /// The moment that is exported, or the end of the time that is.
    pub moment: i64,
    pub started_at: i64,
    pub ended_at: Option<i64>,
    pub token: Option<String>,
    pub bucket_name: String,
    pub bucket_owner: Option<String>,
    pub prefix: Option<String>,
    pub encryption: Option<String>,
    pub is_ion: bool,
    pub requester: Requester,
    pub failure: Option<(String, String)>,
    pub items: u64,
    pub bytes: u64,
    pub manifest: Option<String>,
}

impl Stored for ExportRow {}

impl ExportRow {
    pub fn bucket(&self) -> Bucket<'_> {
        Bucket {
            name: &self.bucket_name,
            owner: self.bucket_owner.as_deref(),
            encryption: self.encryption.as_deref(),
        }
    }

    /// Of an object of the export.
    pub fn key(&self, rest: &str) -> String {
        match self
            .prefix
            .as_deref()
            .map(|prefix| prefix.trim_end_matches('/'))
            .filter(|prefix| !prefix.is_empty())
        {
            Some(prefix) => format!("{prefix}/AWSDynamoDB/{rest}"),
            None => format!("AWSDynamoDB/{rest}"),
        }
    }

    fn status(&self) -> &'static str {
        match (&self.failure, self.ended_at) {
            (Some(_), _) => "FAILED",
            (None, Some(_)) => "COMPLETED",
            (None, None) => "IN_PROGRESS",
        }
    }

    fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Full => "FULL_EXPORT",
            Kind::Incremental { .. } => "INCREMENTAL_EXPORT",
        }
    }

    /// Whether another request with the same token asks for the same.
    fn is_same_request(&self, other: &ExportRow) -> bool {
        let of = |row: &ExportRow| {
            (
                row.bucket_name.clone(),
                row.bucket_owner.clone(),
                row.prefix.clone(),
                row.encryption.clone(),
                row.is_ion,
                row.kind_name(),
            )
        };
        of(self) == of(other)
    }
}

fn describe(row: &ExportRow) -> api::ExportDescription {
    let moment = Timestamp::from_millis;
    let incremental = match row.kind {
        Kind::Full => None,
        Kind::Incremental { from, has_old } => Some(api::IncrementalExportSpecification {
            export_from_time: Some(moment(from)),
            export_to_time: Some(moment(row.moment)),
            export_view_type: Some(if has_old { "NEW_AND_OLD_IMAGES" } else { "NEW_IMAGE" }.to_owned()),
        }),
    };
    let is_done = row.status() == "COMPLETED";
    api::ExportDescription {
        export_arn: Some(row.arn.clone()),
        export_status: Some(row.status().to_owned()),
        start_time: Some(moment(row.started_at)),
        end_time: row.ended_at.map(moment),
        export_manifest: row.manifest.clone(),
        table_arn: Some(row.table_arn.clone()),
        table_id: Some(row.table_id.clone()),
        export_time: (row.kind == Kind::Full).then(|| moment(row.moment)),
        client_token: row.token.clone(),
        s3_bucket: Some(row.bucket_name.clone()),
        s3_bucket_owner: row.bucket_owner.clone(),
        s3_prefix: row.prefix.clone(),
        s3_sse_algorithm: Some(row.encryption.clone().unwrap_or_else(|| "AES256".to_owned())),
        failure_code: row.failure.as_ref().map(|(code, _)| code.clone()),
        failure_message: row.failure.as_ref().map(|(_, message)| message.clone()),
        export_format: Some(if row.is_ion { "ION" } else { "DYNAMODB_JSON" }.to_owned()),
        billed_size_bytes: is_done.then_some(row.bytes as i64),
        item_count: is_done.then_some(row.items as i64),
        export_type: Some(row.kind_name().to_owned()),
        incremental_export_specification: incremental,
        ..api::ExportDescription::default()
    }
}

/// The kind of an export, and its moment if it names one.
fn read_kind(
    cx: &Cx,
    input: &api::ExportTableToPointInTimeInput,
) -> Result<(Kind, Option<Timestamp>), DynamoError> {
    if input.export_type.as_deref() != Some("INCREMENTAL_EXPORT") {
        if input.incremental_export_specification.is_some() {
            return Err(DynamoError::validation(
                "IncrementalExportSpecification can only be specified with ExportType INCREMENTAL_EXPORT",
            ));
        }
        return Ok((Kind::Full, input.export_time));
    }
    let wanted = input.incremental_export_specification.clone().unwrap_or_default();
    let from = wanted
        .export_from_time
        .ok_or_else(|| DynamoError::validation("ExportFromTime is required for an incremental export"))?;
    let to = wanted.export_to_time.unwrap_or(cx.now()).min(cx.now());
    let length = if to > from { to.since(from) } else { Duration::ZERO };
    if !(SHORTEST..=LONGEST).contains(&length) {
        return Err(DynamoError::validation(
            "The time between ExportFromTime and ExportToTime must be at least 15 minutes and at most 24 hours",
        ));
    }
    let has_old = wanted.export_view_type.as_deref() != Some("NEW_IMAGE");
    Ok((Kind::Incremental { from: from.as_millis(), has_old }, Some(to)))
}

/// `ExportTableToPointInTime`
pub async fn export_table_to_point_in_time(
    cx: &Cx,
    input: api::ExportTableToPointInTimeInput,
) -> Result<api::ExportTableToPointInTimeOutput, DynamoError> {
    let refused = [
        ("FilterSpecification", input.filter_specification.is_some()),
        ("S3SseAlgorithm KMS", input.s3_sse_algorithm.as_deref() == Some("KMS")),
        ("S3SseKmsKeyId", input.s3_sse_kms_key_id.is_some()),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, is_given)| *is_given) {
        return Err(DynamoError::unsupported(name));
    }
    let address = &Address::parse(cx, input.table_arn.as_deref().unwrap_or_default())?;
    let (kind, wanted) = read_kind(cx, &input)?;
    let now = cx.now();
    let id = &format!("{:014}-{}", now.as_millis(), cx.ids().hex(8));
    let (dynamo, scratch, input) = (cx.state::<Dynamo>(), cx.rng().next_u64(), &input);
    let requester = &Requester::of(cx.caller());
    let row = cx
        .transact(|txn| async move {
            let table = dynamo.find(&txn, address).await?.filter(|table| !table.is_restoring());
            let table = table.ok_or_else(|| recovery::no_table(&address.name))?;
            if let Kind::Incremental { from, .. } = kind {
                restore::undo(&table, Some(Timestamp::from_millis(from)), now).map_err(export_time)?;
            }
            // The end of an incremental export is exclusive, and may be the present.
            let latest = wanted.filter(|_| kind == Kind::Full);
            let (undo, moment) = restore::undo(&table, latest, now).map_err(export_time)?;
            let moment = wanted.unwrap_or(moment);
            let row = ExportRow {
                arn: format!("{}/export/{id}", address.arn()),
                table_arn: address.arn().to_string(),
                table_id: table.record.id.clone(),
                generation: table.record.generation,
                history: undo.history,
                scratch,
                schema: table.record.schema.clone(),
                kind,
                moment: moment.as_millis(),
                started_at: now.as_millis(),
                ended_at: None,
                token: input.client_token.clone(),
                bucket_name: input.s3_bucket.clone().unwrap_or_default(),
                bucket_owner: input.s3_bucket_owner.clone(),
                prefix: input.s3_prefix.clone(),
                encryption: input.s3_sse_algorithm.clone(),
                is_ion: input.export_format.as_deref() == Some("ION"),
                requester: requester.clone(),
                failure: None,
                items: 0,
                bytes: 0,
                manifest: None,
            };
            let of_table = EXPORTS.under(&(address.account, &address.region, address.name.as_str()));
            if let Some(token) = &input.client_token {
                let recent = EXPORTS.scan_backward(&txn, &of_table, 300).await?.rows;
                let known = recent.into_iter().map(|(_, row)| row).find(|known| {
                    known.token.as_ref() == Some(token)
                        && Timestamp::from_millis(known.started_at) + TOKEN_LIFE > now
                });
                match known {
                    Some(known) if known.is_same_request(&row) => return Ok(known),
                    Some(_) => {
                        return Err(DynamoError::modelled(
                            "ExportConflictException",
                            "An export with the same ClientToken and other parameters was requested before",
                        ));
                    }
                    None => {}
                }
            }
            let key = (address.account, address.region.clone(), address.name.clone(), id.clone());
            EXPORTS.put(&txn, &key, &row)?;
            let needs = vec![row.generation, row.history];
            transfer::begin(&txn, &key, &Transfer { goal: Goal::Export, needs })?;
            Ok(row)
        })
        .await?;
    Ok(api::ExportTableToPointInTimeOutput { export_description: Some(describe(&row)) })
}

fn export_time(error: DynamoError) -> DynamoError {
    match error.code() {
        "InvalidRestoreTimeException" => DynamoError::modelled(
            "InvalidExportTimeException",
            "An invalid export time was specified. The export time must be between EarliestRestorableDateTime and LatestRestorableDateTime.",
        ),
        _ => error,
    }
}

/// Of the ARN of an export or import: `kind` is `export` or `import`.
pub fn read_arn(text: &str, kind: &str) -> Option<TransferKey> {
    let (address, rest) = Address::from_arn(text)?;
    let id = rest?.strip_prefix(kind)?.strip_prefix('/')?.to_owned();
    Some((address.account, address.region, address.name, id))
}

/// `DescribeExport`
pub async fn describe_export(
    cx: &Cx,
    input: api::DescribeExportInput,
) -> Result<api::DescribeExportOutput, DynamoError> {
    let arn = input.export_arn.unwrap_or_default();
    let key = read_arn(&arn, "export")
        .ok_or_else(|| DynamoError::validation(format!("Invalid ExportArn: {arn}")))?;
    let row = EXPORTS.get(cx.store(), &key).await?.ok_or_else(|| {
        DynamoError::modelled("ExportNotFoundException", format!("Export not found: {arn}"))
    })?;
    Ok(api::DescribeExportOutput { export_description: Some(describe(&row)) })
}

/// `ListExports`: by table and age, up to 25 at a time.
pub async fn list_exports(
    cx: &Cx,
    input: api::ListExportsInput,
) -> Result<api::ListExportsOutput, DynamoError> {
    let limit = input.max_results.unwrap_or(25).clamp(1, 25) as usize;
    let mut range = match &input.table_arn {
        Some(arn) => {
            let address = Address::parse(cx, arn)?;
            EXPORTS.under(&(address.account, &address.region, address.name.as_str()))
        }
        None => EXPORTS.under(&(cx.account(), cx.region())),
    };
    if let Some(token) = &input.next_token {
        let key = read_arn(token, "export").ok_or_else(|| DynamoError::validation("Invalid NextToken"))?;
        range = range.after(&EXPORTS.key(&key));
    }
    let page = EXPORTS.scan(cx.store(), &range, limit).await?;
    let next_token = page.rows.last().filter(|_| page.more).map(|(_, row)| row.arn.clone());
    let summaries = page.rows.iter().map(|(_, row)| api::ExportSummary {
        export_arn: Some(row.arn.clone()),
        export_status: Some(row.status().to_owned()),
        export_type: Some(row.kind_name().to_owned()),
    });
    Ok(api::ListExportsOutput { export_summaries: Some(summaries.collect()), next_token })
}

/// Carries out an export and notes how it ended.
///
/// # Errors
/// After which it is tried again.
pub async fn carry_out(platform: &Platform, lease: &Lease, key: &TransferKey) -> Result<(), DynamoError> {
    let store = platform.store();
    let Some(row) = EXPORTS.get(store, key).await? else {
        return store
            .transact(|txn| async move {
                TRANSFERS.delete(&txn, key);
                Ok(())
            })
            .await;
    };
    let (account, region, _, id) = key.clone();
    let cx = Cx::background(platform, "dynamodb.amazonaws.com", account, region);
    let cx = cx.with_caller(row.requester.clone().caller(account));
    let (written, failure) = match write::write(platform, lease, &cx, &row, &id).await {
        Ok(written) => (written, None),
        Err(Stop::Failed(failure)) => (Written::default(), Some((failure.code, failure.message))),
        Err(Stop::Later(error)) => return Err(error),
    };
    let ended = ExportRow {
        ended_at: Some(platform.clock().now().as_millis()),
        failure,
        items: written.items,
        bytes: written.bytes,
        manifest: Some(written.manifest).filter(|manifest| !manifest.is_empty()),
        ..row
    };
    let ended = &ended;
    store
        .transact(|txn| async move {
            EXPORTS.put(&txn, key, ended)?;
            TRANSFERS.delete(&txn, key);
            table::discard(&txn, ended.scratch)
        })
        .await
}
