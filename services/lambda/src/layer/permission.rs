//! `AddLayerVersionPermission`, `RemoveLayerVersionPermission`, `GetLayerVersionPolicy`.
//!
//! Source: AWS Lambda API Reference, "AddLayerVersionPermission". Recorded: the statements' form and the sentences.

use pileus_api_lambda as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;
use serde_json::json;

use super::{load, version_key, version_number};
use crate::error::LambdaError;
use crate::keys::LAYER_VERSIONS;
use crate::name::LayerName;
use crate::permission::{check_document, principal};

/// `AddLayerVersionPermission`
pub async fn add_layer_version_permission(
    cx: &Cx,
    input: api::AddLayerVersionPermissionRequest,
) -> Result<api::AddLayerVersionPermissionResponse, LambdaError> {
    let name = &LayerName::parse(cx, input.layer_name.as_deref())?;
    let version = version_number(input.version_number)?;
    let input = &input;
    let sid = input.statement_id.as_deref().unwrap_or_default();
    let mut statement = json!({
        "Sid": sid,
        "Effect": "Allow",
        "Principal": principal(input.principal.as_deref().unwrap_or_default(), name.region.partition())?,
        "Action": input.action.as_deref().unwrap_or_default(),
        "Resource": name.version_arn(version),
    });
    if let Some(organization) = &input.organization_id {
        statement["Condition"] = json!({ "StringEquals": { "aws:PrincipalOrgID": organization } });
    }
    let statement = &statement;
    let revision = cx
        .transact(|txn| async move {
            let mut row = load(&txn, name, version).await?;
            row.policy.check_revision(input.revision_id.as_deref())?;
            row.policy.add(sid, statement)?;
            row.policy.revision = cx.ids().uuid();
            check_document(&row.policy)?;
            LAYER_VERSIONS.put(&txn, &version_key(name, version), &row)?;
            Ok::<_, LambdaError>(row.policy.revision)
        })
        .await?;
    Ok(api::AddLayerVersionPermissionResponse {
        statement: Some(statement.to_string()),
        revision_id: Some(revision),
    })
}

/// `RemoveLayerVersionPermission`
pub async fn remove_layer_version_permission(
    cx: &Cx,
    input: api::RemoveLayerVersionPermissionRequest,
) -> Result<Unit, LambdaError> {
    let name = &LayerName::parse(cx, input.layer_name.as_deref())?;
    let version = version_number(input.version_number)?;
    let input = &input;
    cx.transact(|txn| async move {
        let mut row = load(&txn, name, version).await?;
        if row.policy.statements.is_empty() {
            return Err(LambdaError::ResourceNotFound(
                "No policy is associated with the given resource.".to_owned(),
            ));
        }
        row.policy.check_revision(input.revision_id.as_deref())?;
        row.policy.remove(input.statement_id.as_deref().unwrap_or_default())?;
        row.policy.revision = cx.ids().uuid();
        Ok(LAYER_VERSIONS.put(&txn, &version_key(name, version), &row)?)
    })
    .await?;
    Ok(Unit)
}

/// `GetLayerVersionPolicy`
pub async fn get_layer_version_policy(
    cx: &Cx,
    input: api::GetLayerVersionPolicyRequest,
) -> Result<api::GetLayerVersionPolicyResponse, LambdaError> {
    let name = LayerName::parse(cx, input.layer_name.as_deref())?;
    let row = load(cx.store(), &name, version_number(input.version_number)?).await?;
    if row.policy.statements.is_empty() {
        return Err(LambdaError::ResourceNotFound(
            "No policy is associated with the given resource.".to_owned(),
        ));
    }
    Ok(api::GetLayerVersionPolicyResponse {
        policy: Some(row.policy.document()),
        revision_id: Some(row.policy.revision),
    })
}
