//! `PostToConnection`, `GetConnection`, `DeleteConnection`.
//!
//! Source: Developer Guide, "Use @connections commands in your backend service"; "Control access to WebSocket APIs with IAM authorization"
//! (`execute-api:ManageConnections`).

use bytes::Bytes;
use pileus_api_apigatewaymanagementapi as api;
use pileus_platform::{Access, Cx, Fault};
use pileus_wire::value::Unit;

use super::connections::{CONNECTIONS, Command, ConnectionRow, Connections, gone, tell};
use crate::error::GatewayError;

/// Source: "Quotas for configuring and running a WebSocket API" (message payload size).
pub const LONGEST_MESSAGE: usize = 128 << 10;

async fn row(cx: &Cx, id: Option<&str>) -> Result<(String, ConnectionRow), GatewayError> {
    let id = id.unwrap_or_default().to_owned();
    let row = CONNECTIONS.get(cx.store(), &id).await?.ok_or_else(gone)?;
    Ok((id, row))
}

async fn access(cx: &Cx, method: &str, id: Option<&str>) -> Result<Vec<Access>, Fault> {
    let (id, row) = row(cx, id).await?;
    let ConnectionRow { api_id, stage, account, region, .. } = row;
    let arn = format!(
        "arn:{}:execute-api:{region}:{account}:{api_id}/{stage}/{method}/@connections/{id}",
        region.partition()
    );
    Ok(vec![Access::new("execute-api:ManageConnections", arn)])
}

pub async fn may_post(cx: &Cx, input: &api::PostToConnectionRequest) -> Result<Vec<Access>, Fault> {
    access(cx, "POST", input.connection_id.as_deref()).await
}

pub async fn may_get(cx: &Cx, input: &api::GetConnectionRequest) -> Result<Vec<Access>, Fault> {
    access(cx, "GET", input.connection_id.as_deref()).await
}

pub async fn may_delete(cx: &Cx, input: &api::DeleteConnectionRequest) -> Result<Vec<Access>, Fault> {
    access(cx, "DELETE", input.connection_id.as_deref()).await
}

pub async fn post_to_connection(cx: &Cx, input: api::PostToConnectionRequest) -> Result<Unit, GatewayError> {
    let data: Bytes = input.data.unwrap_or_default();
    if data.len() > LONGEST_MESSAGE {
        return Err(GatewayError::PayloadTooLarge("Message too long".to_owned()));
    }
    tell(cx, input.connection_id.as_deref().unwrap_or_default(), Command::Send(data)).await?;
    Ok(Unit)
}

pub async fn get_connection(
    cx: &Cx,
    input: api::GetConnectionRequest,
) -> Result<api::GetConnectionResponse, GatewayError> {
    let (id, row) = row(cx, input.connection_id.as_deref()).await?;
    let live = cx.state::<Connections>().find(&id);
    let last_active = live.map_or(row.last_active_at, |handle| handle.last_active());
    Ok(api::GetConnectionResponse {
        connected_at: Some(row.connected_at),
        identity: Some(api::Identity { source_ip: Some(row.source_ip), user_agent: Some(row.user_agent) }),
        last_active_at: Some(last_active),
    })
}

pub async fn delete_connection(cx: &Cx, input: api::DeleteConnectionRequest) -> Result<Unit, GatewayError> {
    tell(cx, input.connection_id.as_deref().unwrap_or_default(), Command::Close).await?;
    Ok(Unit)
}
