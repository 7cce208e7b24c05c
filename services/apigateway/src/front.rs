//! The front door: which API and stage an address means, and who answers.
//!
//! | Address                                                | Means                                          |
//! |--------------------------------------------------------|------------------------------------------------|
//! | `{id}.execute-api.{region}.{domain}/...`               | the API; its stage is the path's first part     |
//! | `{id}.execute-api.localhost:4566/...`                  | the same                                        |
//! | `/_aws/execute-api/{id}/{stage}/...`                   | the same, on any host of ours                   |
//! | `/restapis/{id}/{stage}/_user_request_/...`            | the same, as older tools write it               |
//! | a custom domain name                                   | what its mappings say                           |
//!
//! HTTP APIs have a stage without a part of the path (`$default`), so the path is theirs to read.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pileus_core::{AccountId, Region};
use pileus_platform::{DataRequest, Platform};
use pileus_store::{StoreError, Version};
use pileus_wire::protocol::Response;
use pileus_wire::route::{HostKind, classify_host};
use serde_json::json;

use crate::domain::Names;
use crate::keys::{ApiIdRow, Kind, find_api};
use crate::{http as http_api, rest, websocket};

const BY_PATH: &str = "/_aws/execute-api/";
const REST_APIS: &str = "/restapis/";
const USER_REQUEST: &str = "/_user_request_";

/// What a request is for.
#[derive(Debug, Clone)]
pub struct Target {
    pub id: String,
    pub kind: Kind,
    pub account: AccountId,
    pub region: Region,
    /// Of everything that the API's requests depend on: the version of its row in `keys::API_IDS`.
    pub version: Version,
    /// `None` for an HTTP API where the address does not say it: its path may begin with it.
    pub stage: Option<String>,
    /// As sent, without the stage (if that is known) and what comes before it; begins with `/`.
    pub path: String,
    /// As sent, with the stage or the mapping's path, as the API's own address has it.
    pub full_path: String,
    /// The host without its port.
    pub domain_name: String,
    pub by: By,
}

/// How a request found its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The API's own address, which `disableExecuteApiEndpoint` closes.
    Endpoint,
    /// A custom domain name, by the mapping of this path.
    Domain { mapping: String },
}

impl Target {
    pub fn domain_prefix(&self) -> &str {
        self.domain_name.split('.').next().unwrap_or_default()
    }

    /// `arn:aws:execute-api:us-east-1:123456789012:abcdefghij/{rest}`
    pub fn execute_arn(&self, rest: &str) -> String {
        let Target { region, account, id, .. } = self;
        format!("arn:{}:execute-api:{region}:{account}:{id}/{rest}", region.partition())
    }
}

pub fn owns(host: &HostKind<'_>) -> bool {
    matches!(host, HostKind::ExecuteApi { .. })
}

pub fn claims(platform: &Platform, host: &HostKind<'_>, path: &str) -> bool {
    if path.starts_with(BY_PATH) || (path.starts_with(REST_APIS) && user_request(path).is_some()) {
        return matches!(host, HostKind::Bare | HostKind::Foreign(_) | HostKind::Endpoint { .. });
    }
    match host {
        HostKind::Foreign(name) => platform.state::<Names>().find(name).is_some(),
        _ => false,
    }
}

/// The parts of `/restapis/{id}/{stage}/_user_request_/...`: id, stage, path.
fn user_request(path: &str) -> Option<(&str, &str, &str)> {
    let (id, rest) = path.strip_prefix(REST_APIS)?.split_once('/')?;
    let (stage, rest) = rest.split_once('/')?;
    // The slash before the marker went with the split.
    let rest = rest.strip_prefix(&USER_REQUEST[1..])?;
    (rest.is_empty() || rest.starts_with('/')).then_some((
        id,
        stage,
        if rest.is_empty() { "/" } else { rest },
    ))
}

/// The first part of a path, and the rest, which begins with `/`.
pub fn split_first(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    match path.find('/') {
        Some(at) => (&path[..at], &path[at..]),
        None => (path, "/"),
    }
}

/// `{"message":"Forbidden"}` and its like.
pub fn message(status: StatusCode, kind: Option<&'static str>, text: &str) -> Response {
    let mut response = Response::new(status, Bytes::from(json!({ "message": text }).to_string()));
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(kind) = kind {
        response.headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
    }
    response
}

/// Answers a request to an API.
pub async fn answer(request: DataRequest) -> Response {
    match find(&request).await {
        Ok(Some(target)) => match target.kind {
            Kind::Rest => rest::execute::answer(request, target).await,
            Kind::Http => http_api::execute::answer(request, target).await,
            Kind::WebSocket => websocket::serve::answer(request, target).await,
        },
        // Source: "How do I troubleshoot HTTP 403 errors from API Gateway?" (the header with this text). Chosen: for an API that does
        // not exist too, as reports have it of hosts that no API or mapping has; there the name of such an API often does not resolve.
        Ok(None) => message(StatusCode::FORBIDDEN, Some("ForbiddenException"), "Forbidden"),
        Err(error) => {
            tracing::error!(%error, "an API's address cannot be looked up");
            message(StatusCode::INTERNAL_SERVER_ERROR, None, "Internal Server Error")
        }
    }
}

/// What an address says before anything is looked up.
#[derive(Debug, PartialEq, Eq)]
struct Address<'a> {
    id: &'a str,
    region: Option<&'a str>,
    stage: Option<&'a str>,
    path: &'a str,
    by: By,
}

fn address<'a>(host: &HostKind<'a>, path: &'a str) -> Option<Address<'a>> {
    if let HostKind::ExecuteApi { api, region } = *host {
        return Some(Address { id: api, region, stage: None, path, by: By::Endpoint });
    }
    if let Some(rest) = path.strip_prefix(BY_PATH) {
        let (id, path) = split_first(rest);
        return Some(Address { id, region: None, stage: None, path, by: By::Endpoint });
    }
    let (id, stage, path) = user_request(path)?;
    Some(Address { id, region: None, stage: Some(stage), path, by: By::Endpoint })
}

async fn find(request: &DataRequest) -> Result<Option<Target>, StoreError> {
    let platform = request.platform();
    let host = classify_host(&platform.config().hosts, request.host());
    let inbound = request.inbound.path.as_str();
    let domain;
    let address = match (address(&host, inbound), &host) {
        (Some(address), _) => address,
        (None, HostKind::Foreign(name)) => {
            let Some(found) = platform.state::<Names>().find(name) else { return Ok(None) };
            domain = found;
            let Some((mapping, row, path)) = domain.find(inbound) else { return Ok(None) };
            let by = By::Domain { mapping: mapping.to_owned() };
            let (stage, region) = (row.stage.as_deref(), Some(domain.row.region.as_str()));
            Address { id: &row.api_id, region, stage, path, by }
        }
        (None, _) => return Ok(None),
    };
    let id = address.id.to_ascii_lowercase();
    let Some((row, version)) = find_api(platform.store(), &id).await? else { return Ok(None) };
    if address.region.is_some_and(|region| region != row.region.as_str()) {
        return Ok(None);
    }
    let name = without_port(request.host()).to_ascii_lowercase();
    Ok(Some(target(id, row, version, address, name, inbound)))
}

fn target(
    id: String,
    row: ApiIdRow,
    version: Version,
    address: Address<'_>,
    domain_name: String,
    inbound: &str,
) -> Target {
    let ApiIdRow { kind, account, region } = row;
    let (stage, path) = match (address.stage, kind) {
        (Some(stage), _) => (Some(stage), address.path),
        (None, Kind::Http) => (None, address.path),
        (None, Kind::Rest | Kind::WebSocket) => {
            let (stage, path) = split_first(address.path);
            (Some(stage), path)
        }
    };
    let full_path = match (&address.by, address.stage) {
        (By::Domain { .. }, _) => inbound.to_owned(),
        (By::Endpoint, Some(stage)) => format!("/{stage}{path}"),
        (By::Endpoint, None) => address.path.to_owned(),
    };
    let (stage, path) = (stage.map(str::to_owned), path.to_owned());
    Target { id, kind, account, region, version, stage, path, full_path, domain_name, by: address.by }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_wire::route::Hosts;

    #[test]
    fn addresses_name_an_api_and_what_comes_after_it() {
        let cases = [
            (
                "abc.execute-api.us-east-1.amazonaws.com",
                "/dev/x",
                Some(("abc", Some("us-east-1"), None, "/dev/x")),
            ),
            ("abc.execute-api.localhost:4566", "/", Some(("abc", None, None, "/"))),
            ("localhost:4566", "/_aws/execute-api/abc/dev/x%20y", Some(("abc", None, None, "/dev/x%20y"))),
            ("localhost:4566", "/_aws/execute-api/abc", Some(("abc", None, None, "/"))),
            ("127.0.0.1", "/restapis/abc/dev/_user_request_/a/b", Some(("abc", None, Some("dev"), "/a/b"))),
            ("127.0.0.1", "/restapis/abc/dev/_user_request_", Some(("abc", None, Some("dev"), "/"))),
            ("127.0.0.1", "/restapis/abc/stages/dev", None),
            ("127.0.0.1", "/restapis/abc/dev/_user_request_s", None),
        ];
        let hosts = Hosts::default();
        for (host, path, expected) in cases {
            let found = address(&classify_host(&hosts, host), path);
            let found = found.map(|found| (found.id, found.region, found.stage, found.path));
            assert_eq!(found, expected, "{host}{path}");
        }
    }

    #[test]
    fn the_stage_is_the_first_part_but_for_http_apis() {
        let row = |kind| ApiIdRow { kind, account: AccountId::DEFAULT, region: Region::us_east_1() };
        let cases = [
            (Kind::Rest, None, "/dev/a/b", Some("dev"), "/a/b", "/dev/a/b"),
            (Kind::Rest, None, "/dev", Some("dev"), "/", "/dev"),
            (Kind::Rest, Some("dev"), "/a", Some("dev"), "/a", "/dev/a"),
            (Kind::Http, None, "/a/b", None, "/a/b", "/a/b"),
            (Kind::WebSocket, None, "/dev", Some("dev"), "/", "/dev"),
        ];
        for (kind, stage, path, expected_stage, rest, full) in cases {
            let address = Address { id: "abc", region: None, stage, path, by: By::Endpoint };
            let target = target("abc".into(), row(kind), 1, address, "h".into(), path);
            let got = (target.stage.as_deref(), target.path.as_str(), target.full_path.as_str());
            assert_eq!(got, (expected_stage, rest, full), "{path}");
        }
    }
}
