//! Requests to WebSocket APIs: handshakes, and `@connections` by the API's own address.
//!
//! Source: RFC 6455, section 4.2; Developer Guide, "Manage connected users and client apps: $connect and $disconnect routes".

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pileus_api_apigatewaymanagementapi as api;
use pileus_platform::{Caller, Cx, DataRequest, Fault};
use pileus_wire::codec;
use pileus_wire::protocol::{Protocol, Response};
use pileus_wire::value::Struct;

use super::authorize::authorize;
use super::connections::{CONNECTIONS, ConnectionRow, Connections};
use super::event::{EventType, Happening};
use super::manage::LONGEST_MESSAGE;
use super::{route, session};
use crate::front::{By, Target, message};
use crate::http::compiled::{self, Stage};
use crate::http::context::{percent_decoded, text};
use crate::http::execute::request_id;

fn forbidden() -> Response {
    message(StatusCode::FORBIDDEN, Some("ForbiddenException"), "Forbidden")
}

/// Answers a request to a WebSocket API.
pub async fn answer(mut request: DataRequest, target: Target) -> Response {
    let found = compiled::find(request.platform(), &target).await;
    let api = match found {
        Ok(Some(api)) => api,
        Ok(None) => return forbidden(),
        Err(error) => {
            tracing::error!(%error, "a WebSocket API cannot be read");
            return message(StatusCode::INTERNAL_SERVER_ERROR, None, "Internal server error");
        }
    };
    if target.by == By::Endpoint && api.row.disable_execute_api_endpoint == Some(true) {
        return forbidden();
    }
    let Some(stage) = target.stage.as_deref().and_then(|name| api.stages.get(name)).cloned() else {
        return forbidden();
    };
    if let Some(id) = target.path.strip_prefix("/@connections/") {
        let id = percent_decoded(id);
        return manage(&mut request, &target, id).await;
    }
    match Handshake::read(&request.inbound.headers) {
        Some(handshake) if request.inbound.method == Method::GET => {
            connect(request, target, &stage, handshake).await.unwrap_or_else(|refusal| *refusal)
        }
        _ => message(
            StatusCode::FORBIDDEN,
            Some("MissingAuthenticationTokenException"),
            "Missing Authentication Token",
        ),
    }
}

/// What a client asks for by `Upgrade: websocket`.
struct Handshake {
    accept: HeaderValue,
}

impl Handshake {
    fn read(headers: &HeaderMap) -> Option<Handshake> {
        let has = |name: &header::HeaderName, word: &str| {
            let mut words = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            words.any(|line| line.split(',').any(|own| own.trim().eq_ignore_ascii_case(word)))
        };
        let is_websocket = has(&header::UPGRADE, "websocket") && has(&header::CONNECTION, "upgrade");
        let version = text(headers, &header::SEC_WEBSOCKET_VERSION);
        let key = text(headers, &header::SEC_WEBSOCKET_KEY)?;
        let is_key = STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
        if !is_websocket || version != Some("13") || !is_key {
            return None;
        }
        Some(Handshake { accept: HeaderValue::try_from(accept(key)).ok()? })
    }
}

/// Source: RFC 6455, section 1.3.
fn accept(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let digest =
        ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    STANDARD.encode(digest.as_ref())
}

async fn connect(
    mut request: DataRequest,
    target: Target,
    stage: &Stage,
    handshake: Handshake,
) -> Result<Response, Box<Response>> {
    let cx = request.cx(Caller::anonymous(target.account), target.region.clone());
    let Some(upgrade) = request.inbound.upgrade.take() else {
        return Err(Box::new(message(StatusCode::UPGRADE_REQUIRED, None, "Upgrade Required")));
    };
    let id = request_id(&cx.ids().uuid());
    let request_id = request_id(&request.request_id);
    let variables = stage.row.stage_variables.clone().unwrap_or_default();
    let inbound = &request.inbound;
    let mut row = ConnectionRow {
        api_id: target.id.clone(),
        stage: stage.row.stage_name.clone().unwrap_or_default(),
        account: target.account,
        region: target.region.clone(),
        node: cx.state::<Connections>().node(cx.platform()).to_owned(),
        connected_at: cx.now(),
        last_active_at: cx.now(),
        source_ip: inbound.peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default(),
        user_agent: text(&inbound.headers, &header::USER_AGENT).unwrap_or_default().to_owned(),
        domain_name: target.domain_name.clone(),
        authorizer: None,
    };
    let mut extra = HeaderMap::new();
    if let Some((at, connect)) = route::by_key(stage, "$connect") {
        if !stage.admits(at, cx.clock().monotonic()) {
            return Err(Box::new(message(StatusCode::TOO_MANY_REQUESTS, None, "Too Many Requests")));
        }
        let (headers, query) = (&inbound.headers, inbound.query.as_str());
        let happening = connecting(&cx, &id, &request_id, &row, &variables, (headers, query));
        let authorizer = authorize(&cx, &request, &target, stage, connect, &happening).await?;
        row.authorizer = authorizer;
        let happening = connecting(&cx, &id, &request_id, &row, &variables, (headers, query));
        match route::integrate(&cx, stage, connect, &happening).await {
            Ok(None) => {}
            Ok(Some(answer)) if (200..300).contains(&answer.status) => extra = answer.headers,
            Ok(Some(answer)) => {
                let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
                return Err(Box::new(Response::new(status, answer.body.into())));
            }
            Err(error) => {
                tracing::warn!(api = %target.id, route = "$connect", %error, "an integration gave no answer");
                return Err(Box::new(message(StatusCode::BAD_GATEWAY, None, "Internal server error")));
            }
        }
    }
    session::begin(&cx, upgrade, id, row).await.map_err(|error| {
        tracing::error!(%error, "a connection cannot be kept");
        Box::new(message(StatusCode::INTERNAL_SERVER_ERROR, None, "Internal server error"))
    })?;
    let mut response = Response::new(StatusCode::SWITCHING_PROTOCOLS, Bytes::new());
    let headers = &mut response.headers;
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, handshake.accept);
    if let Some(protocol) = extra.remove(header::SEC_WEBSOCKET_PROTOCOL) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

fn connecting<'a>(
    cx: &Cx,
    connection_id: &'a str,
    request_id: &'a str,
    row: &'a ConnectionRow,
    variables: &'a BTreeMap<String, String>,
    request: (&'a HeaderMap, &'a str),
) -> Happening<'a> {
    Happening {
        kind: EventType::Connect,
        connection_id,
        row,
        route_key: "$connect",
        request_id,
        at: cx.now(),
        variables,
        body: None,
        request: Some(request),
        closed: None,
    }
}

/// `@connections` at `https://{api}.execute-api..../{stage}/@connections/{id}`.
async fn manage(request: &mut DataRequest, target: &Target, id: String) -> Response {
    let operation = match request.inbound.method {
        Method::POST => "PostToConnection",
        Method::GET => "GetConnection",
        Method::DELETE => "DeleteConnection",
        _ => return forbidden(),
    };
    let modelled = pileus_models::service(api::SERVICE);
    let Some((service, modelled)) =
        modelled.and_then(|service| Some((service, service.operation(operation)?)))
    else {
        return forbidden();
    };
    match managed(request, target, operation, id).await {
        Ok((cx, mut output)) => {
            codec::encode(service, modelled, Protocol::RestJson1, output.as_mut(), cx.request_id())
        }
        Err(fault) => codec::encode_fault(
            Some(service),
            Some(modelled),
            Protocol::RestJson1,
            &fault,
            &request.request_id,
            false,
        ),
    }
}

async fn managed(
    request: &mut DataRequest,
    target: &Target,
    operation: &'static str,
    id: String,
) -> Result<(Cx, Box<dyn Struct>), Fault> {
    let too_long = || Fault::framework("PayloadTooLargeException", 413, "Message too long");
    let data = request.collect(LONGEST_MESSAGE as u64).await.map_err(|_| too_long())?;
    let caller = request.caller(api::SERVICE, operation, &data).await?;
    let cx = request.cx(caller, target.region.clone());
    let row = CONNECTIONS.get(cx.store(), &id).await.map_err(crate::error::GatewayError::from)?;
    // An address leads to its own API's connections only.
    if row.is_some_and(|row| row.api_id != target.id || target.stage.as_deref() != Some(&row.stage)) {
        return Err(super::connections::gone().into());
    }
    let connection_id = Some(id);
    let output = match operation {
        "PostToConnection" => {
            let input = api::PostToConnectionRequest { data: Some(data), connection_id };
            cx.call_dynamic(api::SERVICE, operation, Box::new(input)).await?
        }
        "GetConnection" => {
            let input = api::GetConnectionRequest { connection_id };
            cx.call_dynamic(api::SERVICE, operation, Box::new(input)).await?
        }
        _ => {
            let input = api::DeleteConnectionRequest { connection_id };
            cx.call_dynamic(api::SERVICE, operation, Box::new(input)).await?
        }
    };
    Ok((cx, output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_the_standard_says() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let headers = |connection: &'static str, key: &'static str, version: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("upgrade", HeaderValue::from_static("WebSocket"));
            headers.insert("connection", HeaderValue::from_static(connection));
            headers.insert("sec-websocket-key", HeaderValue::from_static(key));
            headers.insert("sec-websocket-version", HeaderValue::from_static(version));
            headers
        };
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let cases = [
            (headers("keep-alive, Upgrade", key, "13"), true),
            (headers("close", key, "13"), false),
            (headers("upgrade", "short", "13"), false),
            (headers("upgrade", key, "8"), false),
            (HeaderMap::new(), false),
        ];
        for (headers, expected) in cases {
            assert_eq!(Handshake::read(&headers).is_some(), expected, "{headers:?}");
        }
    }
}
