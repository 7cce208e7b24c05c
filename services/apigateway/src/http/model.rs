//! `CreateModel` and its sisters, `GetModelTemplate`.
//!
//! Source: Developer Guide, "Data transformations for WebSocket APIs in API Gateway"; API Reference, "Models".

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use super::keys::Part;
use super::parts::{Opened, changed, list, load, open, page, room_for};
use super::rows::{Kept, ModelRow, show, take};
use crate::error::GatewayError;
use crate::keys::Kind;

macro_rules! answer {
    ($row:expr => $wire:ident) => {
        show!($row => $wire: content_type, description, model_id, name, schema)
    };
}

fn check(opened: &Opened, row: &ModelRow, others: &[(String, ModelRow)]) -> Result<(), GatewayError> {
    if opened.kind() != Kind::WebSocket {
        return Err(GatewayError::bad("Models are only supported for WebSocket APIs"));
    }
    let name = row.name.as_deref().unwrap_or_default();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(GatewayError::bad(format!("Model name must be alphanumeric: {name}")));
    }
    if others.iter().any(|(_, other)| other.name == row.name && other.model_id != row.model_id) {
        return Err(GatewayError::Conflict(format!("Model name already exists for this Api: {name}")));
    }
    match serde_json::from_str::<serde_json::Value>(row.schema.as_deref().unwrap_or_default()) {
        Ok(schema) if schema.is_object() => Ok(()),
        _ => Err(GatewayError::bad("Model schema must be a valid JSON schema")),
    }
}

pub async fn create_model(
    cx: &Cx,
    input: api::CreateModelRequest,
) -> Result<api::CreateModelResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                room_for::<ModelRow>(&txn, &opened, 60).await?;
                let id = cx.ids().lower(6);
                let mut row = ModelRow {
                    model_id: Some(id.clone()),
                    content_type: Some("application/json".to_owned()),
                    ..Default::default()
                };
                take!(input => row: content_type, description, name, schema);
                check(&opened, &row, &list(&txn, &opened.id).await?)?;
                ModelRow::TABLE.put(&txn, &(opened.id.clone(), id), &row)?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => CreateModelResponse))
}

pub async fn get_model(cx: &Cx, input: api::GetModelRequest) -> Result<api::GetModelResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let row: ModelRow = load(cx.store(), &opened, input.model_id.as_deref()).await?;
    Ok(answer!(row => GetModelResponse))
}

pub async fn get_models(
    cx: &Cx,
    input: api::GetModelsRequest,
) -> Result<api::GetModelsResponse, GatewayError> {
    let opened = open(cx.store(), cx, input.api_id.as_deref()).await?;
    let rows = list::<ModelRow>(cx.store(), &opened.id).await?;
    let items = rows.into_iter().map(|(id, row)| (id, row.wire())).collect();
    let (items, next_token) = page(items, input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetModelsResponse { items: Some(items), next_token })
}

pub async fn update_model(
    cx: &Cx,
    input: api::UpdateModelRequest,
) -> Result<api::UpdateModelResponse, GatewayError> {
    let row = cx
        .transact(|txn| {
            let mut input = input.clone();
            async move {
                let opened = open(&txn, cx, input.api_id.as_deref()).await?;
                let mut row: ModelRow = load(&txn, &opened, input.model_id.as_deref()).await?;
                take!(input => row: content_type, description, name, schema);
                check(&opened, &row, &list(&txn, &opened.id).await?)?;
                ModelRow::TABLE.put(
                    &txn,
                    &(opened.id.clone(), row.model_id.clone().unwrap_or_default()),
                    &row,
                )?;
                changed(&txn, cx, &opened).await?;
                Ok::<_, GatewayError>(row)
            }
        })
        .await?;
    Ok(answer!(row => UpdateModelResponse))
}

pub async fn delete_model(cx: &Cx, input: api::DeleteModelRequest) -> Result<Unit, GatewayError> {
    cx.transact(|txn| {
        let input = input.clone();
        async move {
            let opened = open(&txn, cx, input.api_id.as_deref()).await?;
            let row: ModelRow = load(&txn, &opened, input.model_id.as_deref()).await?;
            ModelRow::TABLE.delete(&txn, &(opened.id.clone(), row.model_id.unwrap_or_default()));
            changed(&txn, cx, &opened).await
        }
    })
    .await?;
    Ok(Unit)
}
