//! What a job does with one object.

use pileus_api_lambda as lambda;
use pileus_api_s3 as s3;
use pileus_api_s3control as api;
use pileus_platform::{Cx, Fault};
use serde_json::{Value, json};

use super::manifest::Entry;
use crate::error::S3Error;

/// AWS's name of the operation, as `ListJobs` tells it.
pub fn name(operation: &api::JobOperation) -> &'static str {
    let named = [
        (operation.lambda_invoke.is_some(), "LambdaInvoke"),
        (operation.s3_put_object_copy.is_some(), "S3PutObjectCopy"),
        (operation.s3_put_object_acl.is_some(), "S3PutObjectAcl"),
        (operation.s3_put_object_tagging.is_some(), "S3PutObjectTagging"),
        (operation.s3_delete_object_tagging.is_some(), "S3DeleteObjectTagging"),
        (operation.s3_initiate_restore_object.is_some(), "S3InitiateRestoreObject"),
        (operation.s3_put_object_legal_hold.is_some(), "S3PutObjectLegalHold"),
        (operation.s3_put_object_retention.is_some(), "S3PutObjectRetention"),
        (operation.s3_replicate_object.is_some(), "S3ReplicateObject"),
        (operation.s3_compute_object_checksum.is_some(), "S3ComputeObjectChecksum"),
        (operation.s3_update_object_encryption.is_some(), "S3UpdateObjectEncryption"),
    ];
    named.iter().find(|(is_set, _)| *is_set).map_or("", |(_, name)| name)
}

/// # Errors
/// `InvalidRequest`; `NotImplemented` for operations and members that are not here.
pub fn check(operation: &api::JobOperation) -> Result<(), S3Error> {
    match name(operation) {
        "LambdaInvoke"
        | "S3DeleteObjectTagging"
        | "S3PutObjectTagging"
        | "S3PutObjectLegalHold"
        | "S3PutObjectRetention" => Ok(()),
        "S3PutObjectAcl" => {
            let policy =
                operation.s3_put_object_acl.as_ref().and_then(|acl| acl.access_control_policy.as_ref());
            match policy.and_then(|policy| policy.canned_access_control_list.as_deref()) {
                Some(_) => Ok(()),
                None => Err(S3Error::lacking("AccessControlList of S3PutObjectAcl")),
            }
        }
        "S3PutObjectCopy" => {
            let copy = operation.s3_put_object_copy.clone().unwrap_or_default();
            if copy.sse_aws_kms_key_id.is_some() {
                return Err(S3Error::lacking("SSEAwsKmsKeyId"));
            }
            if copy.access_control_grants.is_some_and(|grants| !grants.is_empty()) {
                return Err(S3Error::lacking("AccessControlGrants"));
            }
            super::bucket_of(copy.target_resource.as_deref())
                .map(|_| ())
                .ok_or_else(|| super::bad("Invalid target resource"))
        }
        "" => Err(super::bad("An operation is needed")),
        other => Err(S3Error::lacking(format!("batch jobs of {other}"))),
    }
}

fn tags(given: Option<&Vec<api::S3Tag>>) -> Vec<s3::Tag> {
    let tag = |tag: &api::S3Tag| s3::Tag { key: tag.key.clone(), value: tag.value.clone() };
    given.into_iter().flatten().map(tag).collect()
}

/// Does it, as the job's role. What is answered goes into the report.
///
/// # Errors
/// What the operation itself answers.
pub async fn run(
    cx: &Cx,
    operation: &api::JobOperation,
    job_id: &str,
    entry: &Entry,
) -> Result<String, Fault> {
    let (bucket, key) = (Some(entry.bucket.clone()), Some(entry.key.clone()));
    let version_id = entry.version_id.clone();
    if let Some(tagging) = &operation.s3_put_object_tagging {
        let tagging = Some(s3::Tagging { tag_set: Some(tags(tagging.tag_set.as_ref())) });
        let input = s3::PutObjectTaggingRequest {
            bucket,
            key,
            version_id,
            tagging,
            ..s3::PutObjectTaggingRequest::default()
        };
        cx.call(s3::PUT_OBJECT_TAGGING, input).await?;
    } else if operation.s3_delete_object_tagging.is_some() {
        let input = s3::DeleteObjectTaggingRequest {
            bucket,
            key,
            version_id,
            ..s3::DeleteObjectTaggingRequest::default()
        };
        cx.call(s3::DELETE_OBJECT_TAGGING, input).await?;
    } else if let Some(acl) = &operation.s3_put_object_acl {
        let acl =
            acl.access_control_policy.as_ref().and_then(|policy| policy.canned_access_control_list.clone());
        let input =
            s3::PutObjectAclRequest { bucket, key, version_id, acl, ..s3::PutObjectAclRequest::default() };
        cx.call(s3::PUT_OBJECT_ACL, input).await?;
    } else if let Some(hold) = &operation.s3_put_object_legal_hold {
        let status = hold.legal_hold.as_ref().and_then(|hold| hold.status.clone());
        let legal_hold = Some(s3::ObjectLockLegalHold { status });
        let input = s3::PutObjectLegalHoldRequest {
            bucket,
            key,
            version_id,
            legal_hold,
            ..s3::PutObjectLegalHoldRequest::default()
        };
        cx.call(s3::PUT_OBJECT_LEGAL_HOLD, input).await?;
    } else if let Some(given) = &operation.s3_put_object_retention {
        let retention = given.retention.clone().unwrap_or_default();
        let input = s3::PutObjectRetentionRequest {
            bucket,
            key,
            version_id,
            bypass_governance_retention: given.bypass_governance_retention,
            retention: Some(s3::ObjectLockRetention {
                mode: retention.mode,
                retain_until_date: retention.retain_until_date,
                ..s3::ObjectLockRetention::default()
            }),
            ..s3::PutObjectRetentionRequest::default()
        };
        cx.call(s3::PUT_OBJECT_RETENTION, input).await?;
    } else if let Some(copy) = &operation.s3_put_object_copy {
        cx.call(s3::COPY_OBJECT, copied(copy, entry)).await?;
    } else if let Some(invoke) = &operation.lambda_invoke {
        return call(cx, invoke, job_id, entry).await;
    }
    Ok(String::new())
}

fn copied(copy: &api::S3CopyObjectOperation, entry: &Entry) -> s3::CopyObjectRequest {
    let mut source = String::new();
    let mut encoded = vec![];
    pileus_wire::codec::percent::encode(&mut encoded, entry.key.as_bytes(), b"/");
    source.push_str(&entry.bucket);
    source.push('/');
    source.push_str(&String::from_utf8_lossy(&encoded));
    if let Some(version) = &entry.version_id {
        source = format!("{source}?versionId={version}");
    }
    let prefix = copy.target_key_prefix.as_deref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
    let new_tags = copy.new_object_tagging.as_ref().map(|tags| {
        let encode = crate::notification::record::encode_key;
        let pair = |tag: &api::S3Tag| {
            let (key, value) =
                (tag.key.as_deref().unwrap_or_default(), tag.value.as_deref().unwrap_or_default());
            format!("{}={}", encode(key).replace('/', "%2F"), encode(value).replace('/', "%2F"))
        };
        tags.iter().map(pair).collect::<Vec<_>>().join("&")
    });
    let metadata = copy.new_object_metadata.clone();
    let has_metadata = metadata.is_some();
    let metadata = metadata.unwrap_or_default();
    let directive = if has_metadata { Some("REPLACE".to_owned()) } else { copy.metadata_directive.clone() };
    s3::CopyObjectRequest {
        bucket: super::bucket_of(copy.target_resource.as_deref()).map(str::to_owned),
        key: Some(format!("{prefix}{}", entry.key)),
        copy_source: Some(source),
        acl: copy.canned_access_control_list.clone(),
        metadata_directive: directive,
        metadata: metadata.user_metadata.filter(|_| has_metadata),
        cache_control: metadata.cache_control,
        content_type: metadata.content_type,
        content_encoding: metadata.content_encoding,
        content_disposition: metadata.content_disposition,
        content_language: metadata.content_language,
        copy_source_if_modified_since: copy.modified_since_constraint,
        copy_source_if_unmodified_since: copy.un_modified_since_constraint,
        tagging_directive: new_tags.as_ref().map(|_| "REPLACE".to_owned()),
        tagging: new_tags,
        storage_class: copy.storage_class.clone(),
        website_redirect_location: copy.redirect_location.clone(),
        checksum_algorithm: copy.checksum_algorithm.clone(),
        object_lock_mode: copy.object_lock_mode.clone(),
        object_lock_retain_until_date: copy.object_lock_retain_until_date,
        object_lock_legal_hold_status: copy.object_lock_legal_hold_status.clone(),
        ..s3::CopyObjectRequest::default()
    }
}

/// Source: Amazon S3 User Guide, "Invoke AWS Lambda function": one task in each event.
async fn call(
    cx: &Cx,
    invoke: &api::LambdaInvokeOperation,
    job_id: &str,
    entry: &Entry,
) -> Result<String, Fault> {
    let task_id = cx.ids().hex(32);
    let is_newer = invoke.invocation_schema_version.as_deref() == Some("2.0");
    let mut encoded = vec![];
    pileus_wire::codec::percent::encode(&mut encoded, entry.key.as_bytes(), b"/");
    let key = String::from_utf8_lossy(&encoded).into_owned();
    let mut task = json!({
        "taskId": task_id,
        "s3Key": if is_newer { entry.key.clone() } else { key },
        "s3VersionId": entry.version_id,
    });
    let mut job = json!({ "id": job_id });
    if is_newer {
        task["s3Bucket"] = json!(entry.bucket);
        let arguments: serde_json::Map<String, Value> = invoke
            .user_arguments
            .iter()
            .flat_map(|arguments| arguments.iter())
            .map(|(name, value)| (name.to_owned(), Value::from(value.as_str())))
            .collect();
        job["userArguments"] = Value::Object(arguments);
    } else {
        task["s3BucketArn"] = json!(format!("arn:aws:s3:::{}", entry.bucket));
    }
    let event = json!({
        "invocationSchemaVersion": if is_newer { "2.0" } else { "1.0" },
        "invocationId": cx.ids().hex(32),
        "job": job,
        "tasks": [task],
    });
    let input = lambda::InvocationRequest {
        function_name: invoke.function_arn.clone(),
        payload: Some(event.to_string().into()),
        ..lambda::InvocationRequest::default()
    };
    let output = cx.call(lambda::INVOKE, input).await?;
    let failed = |message: String| Fault::sender("FunctionError", message);
    let payload = output.payload.unwrap_or_default();
    if output.function_error.is_some() {
        return Err(failed(String::from_utf8_lossy(&payload).into_owned()));
    }
    let answer: Value = serde_json::from_slice(&payload).map_err(|error| failed(error.to_string()))?;
    let result =
        answer["results"].as_array().and_then(|results| results.first()).cloned().unwrap_or_default();
    let text = result["resultString"].as_str().unwrap_or_default().to_owned();
    match result["resultCode"].as_str() {
        Some("Succeeded") => Ok(text),
        Some("TemporaryFailure") => Err(Fault::sender("TemporaryFailure", text)),
        Some("PermanentFailure") => Err(Fault::sender("PermanentFailure", text)),
        _ => Err(failed("The function's answer has no result for the task".to_owned())),
    }
}
