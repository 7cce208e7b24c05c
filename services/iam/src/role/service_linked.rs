//! Service-linked roles: `CreateServiceLinkedRole`, `DeleteServiceLinkedRole`, `GetServiceLinkedRoleDeletionStatus`.
//!
//! Chosen: nothing here uses such a role in a way that could hold up its deletion, so a deletion task is done when it is made.
//!
//! Source: IAM User Guide, "Create a service-linked role"; the names are those of each service's own guide.

use pileus_api_iam as api;
use pileus_core::AccountId;
use pileus_platform::Cx;
use pileus_store::{Stored, Txn};
use serde::{Deserialize, Serialize};

use super::{DEFAULT_SESSION_SECONDS, RoleRow, SERVICE_LINKED_PATH};
use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::register_id;
use crate::keys::{ATTACHED, DELETIONS, Mark, ROLES, USE_PERMISSIONS, USERS_OF_POLICY};
use crate::names::{self, required};
use crate::{page, policy};

/// Service principal, what follows `AWSServiceRoleFor`, and the managed policy under `aws-service-role/`.
const SERVICES: &[(&str, &str, &str)] = &[
    ("autoscaling.amazonaws.com", "AutoScaling", "AutoScalingServiceRolePolicy"),
    ("backup.amazonaws.com", "Backup", "AWSBackupServiceLinkedRolePolicyForBackup"),
    ("cloudtrail.amazonaws.com", "CloudTrail", "CloudTrailServiceRolePolicy"),
    ("config.amazonaws.com", "Config", "AWSConfigServiceRolePolicy"),
    (
        "dynamodb.application-autoscaling.amazonaws.com",
        "ApplicationAutoScaling_DynamoDBTable",
        "AWSApplicationAutoscalingDynamoDBTablePolicy",
    ),
    (
        "lambda.application-autoscaling.amazonaws.com",
        "ApplicationAutoScaling_LambdaConcurrency",
        "AWSApplicationAutoscalingLambdaConcurrencyPolicy",
    ),
    (
        "ecs.application-autoscaling.amazonaws.com",
        "ApplicationAutoScaling_ECSService",
        "AWSApplicationAutoscalingECSServicePolicy",
    ),
    (
        "rds.application-autoscaling.amazonaws.com",
        "ApplicationAutoScaling_RDSCluster",
        "AWSApplicationAutoscalingRDSClusterPolicy",
    ),
    ("ecs.amazonaws.com", "ECS", "AmazonECSServiceRolePolicy"),
    ("elasticache.amazonaws.com", "ElastiCache", "ElastiCacheServiceRolePolicy"),
    ("elasticbeanstalk.amazonaws.com", "ElasticBeanstalk", "AWSElasticBeanstalkServiceRolePolicy"),
    (
        "elasticfilesystem.amazonaws.com",
        "AmazonElasticFileSystem",
        "AmazonElasticFileSystemServiceRolePolicy",
    ),
    (
        "elasticloadbalancing.amazonaws.com",
        "ElasticLoadBalancing",
        "AWSElasticLoadBalancingServiceRolePolicy",
    ),
    ("elasticmapreduce.amazonaws.com", "EMRCleanup", "AmazonEMRCleanupPolicy"),
    ("es.amazonaws.com", "AmazonElasticsearchService", "AmazonElasticsearchServiceRolePolicy"),
    ("events.amazonaws.com", "CloudWatchEvents", "CloudWatchEventsServiceRolePolicy"),
    ("kafka.amazonaws.com", "Kafka", "KafkaServiceRolePolicy"),
    ("lex.amazonaws.com", "LexBots", "AmazonLexBotPolicy"),
    ("ops.apigateway.amazonaws.com", "APIGateway", "APIGatewayServiceRolePolicy"),
    ("opensearchservice.amazonaws.com", "AmazonOpenSearchService", "AmazonOpenSearchServiceRolePolicy"),
    ("organizations.amazonaws.com", "Organizations", "AWSOrganizationsServiceTrustPolicy"),
    ("rds.amazonaws.com", "RDS", "AmazonRDSServiceRolePolicy"),
    ("replicator.lambda.amazonaws.com", "LambdaReplicator", "AWSLambdaReplicator"),
    ("spot.amazonaws.com", "EC2Spot", "AWSEC2SpotServiceRolePolicy"),
    ("ssm.amazonaws.com", "AmazonSSM", "AmazonSSMServiceRolePolicy"),
    ("support.amazonaws.com", "Support", "AWSSupportServiceRolePolicy"),
    ("transitgateway.amazonaws.com", "VPCTransitGateway", "AWSVPCTransitGatewayServiceRolePolicy"),
    ("trustedadvisor.amazonaws.com", "TrustedAdvisor", "AWSTrustedAdvisorServiceRolePolicy"),
    ("wafv2.amazonaws.com", "WAFV2Logging", "WAFV2LoggingServiceRolePolicy"),
];

/// Services whose roles may be several, told apart by a suffix.
const WITH_SUFFIX: &[&str] = &["autoscaling.amazonaws.com", "lex.amazonaws.com"];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeletionRow {
    pub role_name: String,
}

impl Stored for DeletionRow {}

pub async fn create_service_linked_role(
    cx: &Cx,
    input: api::CreateServiceLinkedRoleRequest,
) -> Result<api::CreateServiceLinkedRoleResponse, IamError> {
    let service = required(&input.aws_service_name, "AWSServiceName")?;
    let unknown =
        || IamError::InvalidInput(format!("{service} is not a service that has a service-linked role."));
    let (_, noun, policy) =
        SERVICES.iter().find(|(principal, ..)| *principal == service).ok_or_else(unknown)?;
    if input.custom_suffix.is_some() && !WITH_SUFFIX.contains(&service) {
        return Err(IamError::InvalidInput(format!("Custom suffix is not allowed for {service}")));
    }
    let suffix = input.custom_suffix.map(|suffix| format!("_{suffix}")).unwrap_or_default();
    let trust = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{"Action": ["sts:AssumeRole"], "Principal": {"Service": [service]}, "Effect": "Allow"}],
    });
    let row = RoleRow {
        name: format!("AWSServiceRoleFor{noun}{suffix}"),
        path: format!("{SERVICE_LINKED_PATH}{service}/"),
        id: cx.ids().iam("AROA", 17),
        created: change::now(cx),
        trust: trust.to_string(),
        trusted: Vec::new(),
        description: input.description,
        max_session_seconds: DEFAULT_SESSION_SECONDS,
        tags: Vec::new(),
        boundary: None,
    };
    let (row, policy) = (&row, *policy);
    change(cx, move |txn| async move { insert(cx, &txn, row, policy).await }).await?;
    Ok(api::CreateServiceLinkedRoleResponse { role: Some(row.base(cx)) })
}

async fn insert(cx: &Cx, txn: &Txn, row: &RoleRow, policy: &str) -> Result<(), IamError> {
    let account = cx.account();
    if !ROLES.put_if_absent(txn, &(account, names::key(&row.name)), row).await? {
        return Err(IamError::InvalidInput(format!(
            "Service role name {} has been taken in this account, please try a different suffix.",
            row.name
        )));
    }
    let arn = format!("arn:{}:iam::aws:policy{SERVICE_LINKED_PATH}{policy}", cx.region().partition());
    if policy::aws::find(&arn).is_some() {
        let mark = Mark { since: row.created };
        ATTACHED.put(txn, &(row.id.clone(), arn.clone()), &mark)?;
        USERS_OF_POLICY.put(txn, &(account, arn, USE_PERMISSIONS, row.id.clone()), &mark)?;
    }
    register_id(txn, account, &row.id, &row.name)
}

pub async fn delete_service_linked_role(
    cx: &Cx,
    input: api::DeleteServiceLinkedRoleRequest,
) -> Result<api::DeleteServiceLinkedRoleResponse, IamError> {
    let name = required(&input.role_name, "RoleName")?;
    let uuid = &cx.ids().uuid();
    let task = change(cx, move |txn| async move {
        let account = cx.account();
        let row = RoleRow::load(&txn, account, name).await?;
        if !row.is_service_linked() {
            return Err(IamError::InvalidInput(format!("The role {name} is not a service-linked role.")));
        }
        let task = format!("task{}{}/{uuid}", row.path, row.name);
        detach_all(&txn, account, &row.id).await?;
        super::remove(&txn, account, &row).await?;
        DELETIONS.put(&txn, &(account, task.clone()), &DeletionRow { role_name: row.name })?;
        Ok(task)
    })
    .await?;
    Ok(api::DeleteServiceLinkedRoleResponse { deletion_task_id: Some(task) })
}

async fn detach_all(txn: &Txn, account: AccountId, id: &str) -> Result<(), IamError> {
    for (key, _) in page::all(txn, ATTACHED, ATTACHED.under(&(id.to_owned(),))).await? {
        USERS_OF_POLICY.delete(txn, &(account, key.1.clone(), USE_PERMISSIONS, id.to_owned()));
        ATTACHED.delete(txn, &key);
    }
    Ok(())
}

pub async fn get_service_linked_role_deletion_status(
    cx: &Cx,
    input: api::GetServiceLinkedRoleDeletionStatusRequest,
) -> Result<api::GetServiceLinkedRoleDeletionStatusResponse, IamError> {
    let task = required(&input.deletion_task_id, "DeletionTaskId")?;
    match DELETIONS.get(cx.store(), &(cx.account(), task.to_owned())).await? {
        Some(_) => Ok(api::GetServiceLinkedRoleDeletionStatusResponse {
            status: Some("SUCCEEDED".to_owned()),
            ..Default::default()
        }),
        None => Err(IamError::NoSuchEntity(format!("The deletion task {task} cannot be found."))),
    }
}
