//! S3 Control: accounts' settings, access points, batch jobs.
//!
//! | File                      | Holds                                                                |
//! |---------------------------|----------------------------------------------------------------------|
//! | `control/account.rs`      | the public access block of an account                                |
//! | `control/access_point.rs` | access points and their policies                                     |
//! | `control/job.rs`          | `CreateJob`, `DescribeJob`, `ListJobs`, `UpdateJob..`, tags of jobs  |
//! | `control/job/manifest.rs` | which objects a job is about: pure                                   |
//! | `control/job/task.rs`     | what is done with one object                                         |
//! | `control/job/worker.rs`   | jobs step by step                                                    |
//! | `control/tags.rs`         | `TagResource`, `UntagResource`, `ListTagsForResource`                |

pub mod access_point;
mod account;
pub mod job;
mod tags;

use pileus_api_s3control as api;
use pileus_core::AccountId;
use pileus_platform::{Access, Cx, Fault, Service};

use crate::error::S3Error;

/// The account that a request is for, which must be the caller's.
///
/// # Errors
/// `InvalidRequest`, `AccessDenied`
pub fn account(cx: &Cx, given: Option<&str>) -> Result<AccountId, S3Error> {
    let account = given.and_then(AccountId::parse);
    let account =
        account.ok_or_else(|| S3Error::invalid("Missing or malformed account ID in request header"))?;
    if account == cx.account() { Ok(account) } else { Err(S3Error::AccessDenied) }
}

/// An ARN of S3 in the caller's account and region.
fn arn(cx: &Cx, resource: &str) -> String {
    cx.arn("s3", resource).to_string()
}

/// Operations on something whose ARN follows from a member of the request.
macro_rules! on_named {
    ($service:ident, $kind:literal, $field:ident; $($operation:ident $request:ident $action:literal $handler:path;)*) => {{
        let mut service = $service;
        $(
            service = service.op(api::$operation, $handler).access(
                api::$operation,
                |cx: &Cx, input: &api::$request| -> Result<Vec<Access>, Fault> {
                    account(cx, input.account_id.as_deref())?;
                    let name = input.$field.as_deref().unwrap_or_default();
                    Ok(vec![Access::new($action, arn(cx, &format!(concat!($kind, "/{}"), name)))])
                },
            );
        )*
        service
    }};
}

pub fn add(service: Service) -> Service {
    let service = service
        .op(api::PUT_PUBLIC_ACCESS_BLOCK, account::put_public_access_block)
        .access(api::PUT_PUBLIC_ACCESS_BLOCK, |cx, input| {
            account(cx, input.account_id.as_deref())?;
            Ok(vec![Access::any("s3:PutAccountPublicAccessBlock")])
        })
        .op(api::GET_PUBLIC_ACCESS_BLOCK, account::get_public_access_block)
        .access(api::GET_PUBLIC_ACCESS_BLOCK, |cx, input| {
            account(cx, input.account_id.as_deref())?;
            Ok(vec![Access::any("s3:GetAccountPublicAccessBlock")])
        })
        .op(api::DELETE_PUBLIC_ACCESS_BLOCK, account::delete_public_access_block)
        .access(api::DELETE_PUBLIC_ACCESS_BLOCK, |cx, input| {
            account(cx, input.account_id.as_deref())?;
            Ok(vec![Access::any("s3:PutAccountPublicAccessBlock")])
        })
        .op(api::LIST_ACCESS_POINTS, access_point::list_access_points)
        .access(api::LIST_ACCESS_POINTS, |cx, input| {
            account(cx, input.account_id.as_deref())?;
            Ok(vec![Access::any("s3:ListAccessPoints")])
        })
        .op(api::CREATE_JOB, job::create_job)
        .access(api::CREATE_JOB, |cx, input| {
            account(cx, input.account_id.as_deref())?;
            let role = input.role_arn.as_deref().unwrap_or_default();
            Ok(vec![Access::any("s3:CreateJob"), Access::pass_role(role, "batchoperations.s3.amazonaws.com")])
        })
        .op(api::LIST_JOBS, job::list_jobs)
        .access(api::LIST_JOBS, |cx, input| {
            account(cx, input.account_id.as_deref())?;
            Ok(vec![Access::any("s3:ListJobs")])
        })
        .op(api::TAG_RESOURCE, tags::tag_resource)
        .access(api::TAG_RESOURCE, |cx, input| {
            tags::needed(cx, "s3:TagResource", input.account_id.as_deref(), input.resource_arn.as_deref())
        })
        .op(api::UNTAG_RESOURCE, tags::untag_resource)
        .access(api::UNTAG_RESOURCE, |cx, input| {
            tags::needed(cx, "s3:UntagResource", input.account_id.as_deref(), input.resource_arn.as_deref())
        })
        .op(api::LIST_TAGS_FOR_RESOURCE, tags::list_tags_for_resource)
        .access(api::LIST_TAGS_FOR_RESOURCE, |cx, input| {
            tags::needed(
                cx,
                "s3:ListTagsForResource",
                input.account_id.as_deref(),
                input.resource_arn.as_deref(),
            )
        });
    jobs(access_points(service))
}

fn access_points(service: Service) -> Service {
    on_named! { service, "accesspoint", name;
        CREATE_ACCESS_POINT CreateAccessPointRequest "s3:CreateAccessPoint" access_point::create_access_point;
        GET_ACCESS_POINT GetAccessPointRequest "s3:GetAccessPoint" access_point::get_access_point;
        DELETE_ACCESS_POINT DeleteAccessPointRequest "s3:DeleteAccessPoint" access_point::delete_access_point;
        PUT_ACCESS_POINT_POLICY PutAccessPointPolicyRequest "s3:PutAccessPointPolicy"
            access_point::put_access_point_policy;
        GET_ACCESS_POINT_POLICY GetAccessPointPolicyRequest "s3:GetAccessPointPolicy"
            access_point::get_access_point_policy;
        DELETE_ACCESS_POINT_POLICY DeleteAccessPointPolicyRequest "s3:DeleteAccessPointPolicy"
            access_point::delete_access_point_policy;
        GET_ACCESS_POINT_POLICY_STATUS GetAccessPointPolicyStatusRequest "s3:GetAccessPointPolicyStatus"
            access_point::get_access_point_policy_status;
    }
}

fn jobs(service: Service) -> Service {
    on_named! { service, "job", job_id;
        DESCRIBE_JOB DescribeJobRequest "s3:DescribeJob" job::describe_job;
        UPDATE_JOB_PRIORITY UpdateJobPriorityRequest "s3:UpdateJobPriority" job::update_job_priority;
        UPDATE_JOB_STATUS UpdateJobStatusRequest "s3:UpdateJobStatus" job::update_job_status;
        PUT_JOB_TAGGING PutJobTaggingRequest "s3:PutJobTagging" job::put_job_tagging;
        GET_JOB_TAGGING GetJobTaggingRequest "s3:GetJobTagging" job::get_job_tagging;
        DELETE_JOB_TAGGING DeleteJobTaggingRequest "s3:DeleteJobTagging" job::delete_job_tagging;
    }
}
