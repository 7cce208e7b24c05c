//! Batch jobs: one operation on every object of a manifest.
//!
//! A job's row holds all that is known of it; a due row makes its next step. A step takes up to a thousand lines of the manifest,
//! works on them, writes its part of the report, and commits how far it has come together with the next due row.
//!
//! Source: Amazon S3 User Guide, "Performing object operations in bulk with Batch Operations"; Amazon S3 API Reference, "CreateJob",
//! "DescribeJob", "ListJobs", "UpdateJobStatus".

pub mod manifest;
mod task;
pub mod worker;

use pileus_api_s3control as api;
use pileus_core::{AccountId, Arn, Region, Timestamp};
use pileus_platform::Cx;
use pileus_platform::store::Txn;
use pileus_store::due::NewJob;
use pileus_store::{Space, Stored, Table};
use serde::{Deserialize, Serialize};

use super::account;
use crate::background::{BATCH, EFFECTS};
use crate::bucket::Bucket;
use crate::config::stored;
use crate::error::S3Error;

/// Jobs by account, region and id. Ranged over by `ListJobs`.
pub const JOBS: Table<(AccountId, Region, String), JobRow> = Table::new(Space::Meta, *b"Sj");
/// Jobs by the tokens of the requests that made them.
pub const TOKENS: Table<(AccountId, Region, String), JobToken> = Table::new(Space::Meta, *b"Sk");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// JSON of the `CreateJobRequest`.
    pub request: String,
    pub status: Status,
    pub priority: i64,
    pub created: Timestamp,
    pub ended: Option<Timestamp>,
    #[serde(default)]
    pub suspended: Option<Timestamp>,
    #[serde(default)]
    pub reason: Option<String>,
    /// Code and reason of a failure of the whole job.
    #[serde(default)]
    pub failure: Option<(String, String)>,
    #[serde(default)]
    pub total: u64,
    #[serde(default)]
    pub succeeded: u64,
    #[serde(default)]
    pub failed: u64,
    /// Bytes of the manifest that are done.
    #[serde(default)]
    pub offset: u64,
    /// Parts of the report: status, key, MD5 in hex.
    #[serde(default)]
    pub report: Vec<(String, String, String)>,
    #[serde(default)]
    pub active_seconds: i64,
    #[serde(default)]
    pub tags: Vec<(String, String)>,
}

impl Stored for JobRow {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobToken {
    pub job_id: String,
}

impl Stored for JobToken {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    New,
    Preparing,
    Suspended,
    Ready,
    Active,
    Paused,
    Complete,
    Failed,
    Cancelled,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Status::New => "New",
            Status::Preparing => "Preparing",
            Status::Suspended => "Suspended",
            Status::Ready => "Ready",
            Status::Active => "Active",
            Status::Paused => "Paused",
            Status::Complete => "Complete",
            Status::Failed => "Failed",
            Status::Cancelled => "Cancelled",
        }
    }

    pub fn is_over(self) -> bool {
        matches!(self, Status::Complete | Status::Failed | Status::Cancelled)
    }
}

impl JobRow {
    pub fn request(&self) -> Result<api::CreateJobRequest, S3Error> {
        let mut request = api::CreateJobRequest::default();
        stored::read_json(api::SERVICE, "CreateJobRequest", &self.request, &mut request)?;
        Ok(request)
    }
}

fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::refused("InvalidRequest", 400, message)
}

fn no_such() -> S3Error {
    S3Error::refused("NotFoundException", 404, "The specified job does not exist")
}

/// Makes the next step of a job.
pub fn wake(cx: &Cx, txn: &Txn, account: AccountId, region: &Region, job_id: &str) -> Result<(), S3Error> {
    let payload = format!("{account}/{region}/{job_id}");
    let id = format!("{job_id}/{}", cx.ids().hex(8));
    let job = NewJob { kind: BATCH, id: &id, due: cx.now(), destination: "", payload: payload.as_bytes() };
    Ok(EFFECTS.add(txn, &job)?)
}

/// `CreateJob`
pub async fn create_job(cx: &Cx, input: api::CreateJobRequest) -> Result<api::CreateJobResult, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    check(&input)?;
    let report = input.report.clone().unwrap_or_default();
    let job_id = &cx.ids().uuid();
    let request = &stored::write_json(api::SERVICE, "CreateJobRequest", &input)?;
    let (input, report) = (&input, &report);
    let made = cx
        .transact(|txn| async move {
            let token =
                (account, cx.region().clone(), input.client_request_token.clone().unwrap_or_default());
            if let Some(known) = TOKENS.get(&txn, &token).await? {
                return Ok(known.job_id);
            }
            if report.enabled == Some(true) {
                let name =
                    bucket_of(report.bucket.as_deref()).ok_or_else(|| bad("Invalid report bucket ARN"))?;
                Bucket::find(&txn, name).await?.ok_or_else(|| bad("The report bucket does not exist"))?;
            }
            let waits = input.confirmation_required == Some(true);
            let tags = input.tags.iter().flatten();
            let row = JobRow {
                request: request.clone(),
                status: if waits { Status::Suspended } else { Status::New },
                priority: input.priority.unwrap_or(0),
                created: cx.now(),
                ended: None,
                suspended: waits.then(|| cx.now()),
                reason: None,
                failure: None,
                total: 0,
                succeeded: 0,
                failed: 0,
                offset: 0,
                report: vec![],
                active_seconds: 0,
                tags: tags
                    .map(|tag| (tag.key.clone().unwrap_or_default(), tag.value.clone().unwrap_or_default()))
                    .collect(),
            };
            JOBS.put(&txn, &(account, cx.region().clone(), job_id.clone()), &row)?;
            TOKENS.put(&txn, &token, &JobToken { job_id: job_id.clone() })?;
            if !waits {
                wake(cx, &txn, account, cx.region(), job_id)?;
            }
            Ok::<_, S3Error>(job_id.clone())
        })
        .await?;
    Ok(api::CreateJobResult { job_id: Some(made) })
}

/// The bucket in `arn:aws:s3:::bucket`.
fn bucket_of(arn: Option<&str>) -> Option<&str> {
    crate::replication::rules::bucket_name(arn?)
}

fn check(input: &api::CreateJobRequest) -> Result<(), S3Error> {
    if input.manifest_generator.is_some() {
        return Err(S3Error::lacking("ManifestGenerator"));
    }
    if input.priority.is_none_or(|priority| priority < 0) {
        return Err(bad("Priority must be a non-negative integer"));
    }
    let role = input.role_arn.as_deref().unwrap_or_default();
    if !Arn::parse(role).is_ok_and(|arn| arn.service() == "iam" && arn.resource().starts_with("role/")) {
        return Err(bad("Invalid role ARN"));
    }
    let manifest = input.manifest.as_ref().ok_or_else(|| bad("A manifest is needed"))?;
    let spec = manifest.spec.clone().unwrap_or_default();
    match spec.format.as_deref() {
        Some("S3BatchOperations_CSV_20180820") => {}
        Some(other) => return Err(S3Error::lacking(format!("manifests in the format {other}"))),
        None => return Err(S3Error::MalformedXml),
    }
    let fields = spec.fields.unwrap_or_default();
    for needed in ["Bucket", "Key"] {
        if !fields.iter().any(|field| field == needed) {
            return Err(bad("Manifest fields must hold Bucket and Key"));
        }
    }
    let location = manifest.location.clone().unwrap_or_default();
    if location.object_arn.as_deref().and_then(manifest::place).is_none() || location.e_tag.is_none() {
        return Err(bad("Invalid manifest location"));
    }
    let report = input.report.as_ref().ok_or_else(|| bad("A report is needed"))?;
    if report.enabled == Some(true) {
        if report.format.as_deref() != Some("Report_CSV_20180820") {
            return Err(bad("Invalid report format"));
        }
        if !matches!(report.report_scope.as_deref(), Some("AllTasks" | "FailedTasksOnly")) {
            return Err(bad("Invalid report scope"));
        }
    }
    task::check(input.operation.as_ref().ok_or_else(|| bad("An operation is needed"))?)
}

async fn load(cx: &Cx, given: Option<&str>, job_id: Option<&str>) -> Result<(AccountId, JobRow), S3Error> {
    let account = account(cx, given)?;
    let key = (account, cx.region().clone(), job_id.unwrap_or_default().to_owned());
    Ok((account, JOBS.get(cx.store(), &key).await?.ok_or_else(no_such)?))
}

/// Changes a job in a transaction.
async fn change<T: Send>(
    cx: &Cx,
    given: Option<&str>,
    job_id: Option<&str>,
    body: impl Fn(&Txn, AccountId, &mut JobRow) -> Result<T, S3Error> + Send + Sync,
) -> Result<T, S3Error> {
    let account = account(cx, given)?;
    let body = &body;
    cx.transact(|txn| async move {
        let key = (account, cx.region().clone(), job_id.unwrap_or_default().to_owned());
        let mut row = JOBS.get(&txn, &key).await?.ok_or_else(no_such)?;
        let done = body(&txn, account, &mut row)?;
        JOBS.put(&txn, &key, &row)?;
        Ok(done)
    })
    .await
}

fn progress(row: &JobRow) -> api::JobProgressSummary {
    let count = |count: u64| i64::try_from(count).ok();
    api::JobProgressSummary {
        total_number_of_tasks: count(row.total),
        number_of_tasks_succeeded: count(row.succeeded),
        number_of_tasks_failed: count(row.failed),
        timers: Some(api::JobTimers { elapsed_time_in_active_seconds: Some(row.active_seconds) }),
    }
}

/// `DescribeJob`
pub async fn describe_job(
    cx: &Cx,
    input: api::DescribeJobRequest,
) -> Result<api::DescribeJobResult, S3Error> {
    let (account, row) = load(cx, input.account_id.as_deref(), input.job_id.as_deref()).await?;
    let request = row.request()?;
    let failure = |(code, reason): &(String, String)| api::JobFailure {
        failure_code: Some(code.clone()),
        failure_reason: Some(reason.clone()),
    };
    let job_id = input.job_id.unwrap_or_default();
    let region = cx.region();
    let arn = Arn::new(region.partition(), "s3", region.as_str(), account.as_str(), &format!("job/{job_id}"));
    Ok(api::DescribeJobResult {
        job: Some(api::JobDescriptor {
            job_id: Some(job_id),
            job_arn: Some(arn.to_string()),
            confirmation_required: request.confirmation_required,
            description: request.description,
            status: Some(row.status.as_str().to_owned()),
            manifest: request.manifest,
            operation: request.operation,
            priority: Some(row.priority),
            progress_summary: Some(progress(&row)),
            status_update_reason: row.reason.clone(),
            failure_reasons: row.failure.as_ref().map(|it| vec![failure(it)]),
            report: request.report,
            creation_time: Some(row.created),
            termination_date: row.ended,
            role_arn: request.role_arn,
            suspended_date: row.suspended,
            suspended_cause: row.suspended.map(|_| "AwaitingConfirmation".to_owned()),
            ..api::JobDescriptor::default()
        }),
    })
}

/// `ListJobs`
pub async fn list_jobs(cx: &Cx, input: api::ListJobsRequest) -> Result<api::ListJobsResult, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let limit = usize::try_from(input.max_results.unwrap_or(1_000).clamp(1, 1_000)).unwrap_or(1_000);
    let wanted = input.job_statuses.unwrap_or_default();
    let mut range = JOBS.under(&(account, cx.region().clone()));
    if let Some(after) = input.next_token {
        range = range.after(&JOBS.key(&(account, cx.region().clone(), after)));
    }
    let mut jobs: Vec<api::JobListDescriptor> = vec![];
    loop {
        let page = JOBS.scan(cx.store(), &range, 100).await?;
        for (key, row) in page.rows {
            range = range.after(&JOBS.key(&key));
            if !wanted.is_empty() && !wanted.iter().any(|status| status == row.status.as_str()) {
                continue;
            }
            if jobs.len() == limit {
                let next_token = jobs.last().and_then(|job| job.job_id.clone());
                return Ok(api::ListJobsResult { next_token, jobs: Some(jobs) });
            }
            let request = row.request()?;
            jobs.push(api::JobListDescriptor {
                job_id: Some(key.2),
                description: request.description,
                operation: request.operation.as_ref().map(|operation| task::name(operation).to_owned()),
                priority: Some(row.priority),
                status: Some(row.status.as_str().to_owned()),
                creation_time: Some(row.created),
                termination_date: row.ended,
                progress_summary: Some(progress(&row)),
            });
        }
        if !page.more {
            return Ok(api::ListJobsResult { next_token: None, jobs: Some(jobs) });
        }
    }
}

/// `UpdateJobPriority`
pub async fn update_job_priority(
    cx: &Cx,
    input: api::UpdateJobPriorityRequest,
) -> Result<api::UpdateJobPriorityResult, S3Error> {
    let priority = input.priority.unwrap_or(0);
    change(cx, input.account_id.as_deref(), input.job_id.as_deref(), |_, _, row| {
        if row.status.is_over() {
            return Err(status_error(row.status, "its priority cannot be changed"));
        }
        row.priority = priority;
        Ok(())
    })
    .await?;
    Ok(api::UpdateJobPriorityResult { job_id: input.job_id, priority: Some(priority) })
}

fn status_error(status: Status, what: &str) -> S3Error {
    S3Error::refused("JobStatusException", 400, format!("The job is {}, and {what}", status.as_str()))
}

/// `UpdateJobStatus`: confirms a job that waits for it, or ends one.
pub async fn update_job_status(
    cx: &Cx,
    input: api::UpdateJobStatusRequest,
) -> Result<api::UpdateJobStatusResult, S3Error> {
    let wanted = match input.requested_job_status.as_deref() {
        Some("Ready") => Status::Ready,
        Some("Cancelled") => Status::Cancelled,
        _ => return Err(bad("RequestedJobStatus must be Cancelled or Ready")),
    };
    let job_id = input.job_id.as_deref();
    let reason = input.status_update_reason.clone();
    change(cx, input.account_id.as_deref(), job_id, |txn, account, row| {
        match (row.status, wanted) {
            (Status::Suspended, Status::Ready) => {
                row.suspended = None;
                row.status = Status::Ready;
                wake(cx, txn, account, cx.region(), job_id.unwrap_or_default())?;
            }
            (status, Status::Cancelled) if !status.is_over() => {
                row.status = Status::Cancelled;
                row.ended = Some(cx.now());
            }
            (status, _) => return Err(status_error(status, "cannot come into the requested one")),
        }
        row.reason.clone_from(&reason);
        Ok(())
    })
    .await?;
    Ok(api::UpdateJobStatusResult {
        job_id: input.job_id,
        status: Some(wanted.as_str().to_owned()),
        status_update_reason: input.status_update_reason,
    })
}

/// `PutJobTagging`
pub async fn put_job_tagging(
    cx: &Cx,
    input: api::PutJobTaggingRequest,
) -> Result<api::PutJobTaggingResult, S3Error> {
    let given: Vec<(String, String)> = input
        .tags
        .unwrap_or_default()
        .into_iter()
        .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
        .collect();
    if given.len() > 50 {
        let message = "The number of tags exceeds the limit of 50";
        return Err(S3Error::refused("TooManyTagsException", 400, message));
    }
    change(cx, input.account_id.as_deref(), input.job_id.as_deref(), |_, _, row| {
        row.tags.clone_from(&given);
        Ok(())
    })
    .await?;
    Ok(api::PutJobTaggingResult::default())
}

/// `GetJobTagging`
pub async fn get_job_tagging(
    cx: &Cx,
    input: api::GetJobTaggingRequest,
) -> Result<api::GetJobTaggingResult, S3Error> {
    let (_, row) = load(cx, input.account_id.as_deref(), input.job_id.as_deref()).await?;
    let tag = |(key, value)| api::S3Tag { key: Some(key), value: Some(value) };
    Ok(api::GetJobTaggingResult { tags: Some(row.tags.into_iter().map(tag).collect()) })
}

/// `DeleteJobTagging`
pub async fn delete_job_tagging(
    cx: &Cx,
    input: api::DeleteJobTaggingRequest,
) -> Result<api::DeleteJobTaggingResult, S3Error> {
    change(cx, input.account_id.as_deref(), input.job_id.as_deref(), |_, _, row| {
        row.tags.clear();
        Ok(())
    })
    .await?;
    Ok(api::DeleteJobTaggingResult::default())
}
