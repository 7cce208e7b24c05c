//! `CreateDeployment` and its sisters.
//!
//! Source: API Gateway Version 2 API Reference, "Deployments".

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use super::keys::{Part, SNAPSHOTS};
use super::parts::{freeze, list, load, new_deployment, open, page};
use super::rows::{DeploymentRow, Kept, RouteRow, StageRow, show};
use crate::error::GatewayError;
use crate::keys::touch;

macro_rules! answer {
    ($row:expr => $wire:ident) => {
        show!($row => $wire: auto_deployed, created_date, deployment_id, deployment_status, deployment_status_message,
            description)
    };
}

pub async fn create_deployment(
    cx: &Cx,
    input: api::CreateDeploymentRequest,
) -> Result<api::CreateDeploymentResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                if list::<RouteRow>(&txn, &opened.id).await?.is_empty() {
                    return Err(GatewayError::bad(
                        "At least one route is required before deploying the Api.",
                    ));
                }
                let id = cx.ids().lower(6);
                let row =
                    DeploymentRow { description: input.description.clone(), ..new_deployment(&id, cx.now()) };
                freeze(&txn, &opened, &id).await?;
                DeploymentRow::TABLE.put(&txn, &(opened.id.clone(), id.clone()), &row)?;
                if let Some(name) = &input.stage_name {
                    let mut stage: StageRow = load(&txn, &opened, Some(name)).await?;
                    if stage.auto_deploy == Some(true) {
                        return Err(GatewayError::bad(
                            "Deployment ID cannot be set on stages with AutoDeploy enabled",
                        ));
                    }
                    stage.deployment_id = Some(id);
                    stage.last_updated_date = Some(cx.now());
                    StageRow::TABLE.put(&txn, &(opened.id.clone(), name.clone()), &stage)?;
                    touch(&txn, &opened.id, &opened.id_row())?;
                }
                Ok(row)
            }
        })
        .await?;
    Ok(answer!(row => CreateDeploymentResponse))
}

pub async fn get_deployment(
    cx: &Cx,
    input: api::GetDeploymentRequest,
) -> Result<api::GetDeploymentResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let row: DeploymentRow = load(cx.store(), &opened, input.deployment_id.as_deref()).await?;
    Ok(answer!(row => GetDeploymentResponse))
}

pub async fn get_deployments(
    cx: &Cx,
    input: api::GetDeploymentsRequest,
) -> Result<api::GetDeploymentsResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let rows = list::<DeploymentRow>(cx.store(), &opened.id).await?;
    let items = rows.into_iter().map(|(id, row)| (id, row.wire())).collect();
    let (items, next_token) = page(items, input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetDeploymentsResponse { items: Some(items), next_token })
}

pub async fn update_deployment(
    cx: &Cx,
    input: api::UpdateDeploymentRequest,
) -> Result<api::UpdateDeploymentResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let mut row: DeploymentRow = load(&txn, &opened, input.deployment_id.as_deref()).await?;
                row.description = input.description.clone().or(row.description);
                let id = row.deployment_id.clone().unwrap_or_default();
                DeploymentRow::TABLE.put(&txn, &(opened.id.clone(), id), &row)?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => UpdateDeploymentResponse))
}

pub async fn delete_deployment(cx: &Cx, input: api::DeleteDeploymentRequest) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let row: DeploymentRow = load(&txn, &opened, input.deployment_id.as_deref()).await?;
            let stages = list::<StageRow>(&txn, &opened.id).await?;
            if stages.iter().any(|(_, stage)| stage.deployment_id == row.deployment_id) {
                return Err(GatewayError::bad(
                    "Active stages pointing to this deployment must be moved or deleted",
                ));
            }
            let key = (opened.id.clone(), row.deployment_id.unwrap_or_default());
            DeploymentRow::TABLE.delete(&txn, &key);
            SNAPSHOTS.delete(&txn, &key);
            Ok(())
        }
    })
    .await?;
    Ok(Unit)
}
