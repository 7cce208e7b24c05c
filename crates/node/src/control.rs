//! Control endpoints: `/_pileus/`, the names that drop-in users know (`/_localstack/`), and `/metrics`.
//!
//! | Path                           | Method | Does                                                       |
//! |--------------------------------|--------|------------------------------------------------------------|
//! | `/_pileus/health`              | GET    | which services answer; 503 when another node should be asked |
//! | `/_pileus/nodes`               | GET    | the nodes that share this one's store                      |
//! | `/_pileus/version`             | GET    | the version                                                |
//! | `/_pileus/clock`               | GET    | the time, whether it stands still, how far it is ahead     |
//! | `/_pileus/clock`               | POST   | `{"advance_seconds": n}`, `{"freeze": true}`, `{"resume": true}` |
//! | `/_pileus/state/reset`         | POST   | forgets everything                                         |
//! | `/_pileus/ca`                  | GET    | the authority's certificate                                |
//! | `/_pileus/issuers/{name}/.well-known/` | GET | `openid-configuration` and `jwks.json` of an account that issues tokens |
//! | `/_pileus/iam/denials`         | GET    | the latest refusals and why (`?request_id=` for one)        |
//! | `/_pileus/mail`                | GET    | the local mailbox: mails, text messages, pushes (`?to=`, `?limit=`) |
//! | `/_pileus/sms/stop`            | POST   | `{"phone_number": n}`: its owner answers STOP (`account`, `region`) |
//! | `/metrics`                     | GET    | counters for Prometheus                                    |
//!
//! With `control` off (the `server` profile) clock, reset, refusals and mail answer 404, and the nodes are told to this machine only.
//! Where several nodes share a store, its clock cannot be moved, nor its state be dropped: the other nodes would not follow.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use pileus_core::{AccountId, Clock as _, Region};
use pileus_platform::body::Body;
use pileus_platform::mailbox;
use pileus_platform::pipeline::{self, Inbound, plain};
use pileus_wire::protocol::Response;
use pileus_wire::sigv4::query_parameter;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::node::Shared;

/// Control endpoints are answered here, everything else by the pipeline.
pub(crate) async fn or_pipeline(shared: &Arc<Shared>, inbound: Inbound) -> Response {
    let path = inbound.path.as_str();
    let is_control = path == "/metrics" || path.starts_with("/_pileus/") || path.starts_with("/_localstack/");
    // A signed request is for a service, whatever its path: a bucket may be called `metrics`.
    if is_control && !inbound.headers.contains_key(http::header::AUTHORIZATION) {
        return control(shared, inbound).await;
    }
    pipeline::handle(&shared.platform(), inbound).await
}

async fn control(shared: &Arc<Shared>, inbound: Inbound) -> Response {
    let get = inbound.method == Method::GET || inbound.method == Method::HEAD;
    let post = inbound.method == Method::POST;
    match inbound.path.as_str() {
        "/metrics" if get => {
            plain(StatusCode::OK, "text/plain; version=0.0.4", shared.platform().metrics().render())
        }
        "/_pileus/health" | "/_localstack/health" if get => health(shared),
        "/_pileus/version" if get => answer(StatusCode::OK, json!({ "version": env!("CARGO_PKG_VERSION") })),
        "/_pileus/clock" if get && shared.config.control => clock(shared),
        "/_pileus/nodes" if get && (shared.config.control || is_local(&inbound)) => nodes(shared).await,
        "/_pileus/clock" | "/_pileus/state/reset" | "/_localstack/state/reset"
            if post && shared.config.control && shared.joined.is_some() =>
        {
            refuse(StatusCode::CONFLICT, "several nodes share this cloud: the others would not follow")
        }
        "/_pileus/clock" if post && shared.config.control => move_clock(shared, inbound.body).await,
        "/_pileus/ca" if get => match &shared.ca_pem {
            Some(pem) => plain(StatusCode::OK, "application/x-pem-file", pem.clone()),
            None => refuse(StatusCode::NOT_FOUND, "this node does not answer TLS"),
        },
        path if get && path.starts_with(ISSUERS) => issuer(shared, &path[ISSUERS.len()..]).await,
        "/_pileus/iam/denials" if get && shared.config.control => {
            let request_id = inbound.query.strip_prefix("request_id=");
            let denials = shared.platform().denials().find(request_id);
            answer(StatusCode::OK, json!({ "denials": denials }))
        }
        "/_pileus/mail" if get && shared.config.control => mail(shared, &inbound.query).await,
        "/_pileus/sms/stop" if post && shared.config.control => stop_texts(shared, inbound.body).await,
        "/_pileus/state/reset" | "/_localstack/state/reset" if post && shared.config.control => {
            match shared.reset().await {
                Ok(()) => answer(StatusCode::OK, json!({ "reset": true })),
                Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            }
        }
        _ => refuse(
            StatusCode::NOT_FOUND,
            "there is no such control endpoint (or the server profile turns it off)",
        ),
    }
}

const ISSUERS: &str = "/_pileus/issuers/";

/// What proves the tokens of `sts:GetWebIdentityToken`: public, as it must be.
async fn issuer(shared: &Shared, rest: &str) -> Response {
    let nothing = || refuse(StatusCode::NOT_FOUND, "there is no such issuer or document");
    let Some((name, document)) = rest.split_once("/.well-known/") else { return nothing() };
    let platform = shared.platform();
    match (platform.identities().token_issuer_named(name).await, document) {
        (Ok(Some(issuer)), "openid-configuration") => answer(StatusCode::OK, issuer.configuration()),
        (Ok(Some(issuer)), "jwks.json") => answer(StatusCode::OK, issuer.key_set()),
        (Ok(_), _) => nothing(),
        (Err(fault), _) => refuse(StatusCode::SERVICE_UNAVAILABLE, &fault.message),
    }
}

const MAILS_SHOWN: usize = 50;
const MAX_MAILS_SHOWN: usize = 1_000;

async fn mail(shared: &Shared, query: &str) -> Response {
    let value = |name: &str| query_parameter(query, name);
    let limit =
        value("limit").and_then(|limit| limit.parse().ok()).unwrap_or(MAILS_SHOWN).min(MAX_MAILS_SHOWN);
    match mailbox::list(shared.platform().store(), value("to").as_deref(), limit).await {
        Ok(mails) => {
            answer(StatusCode::OK, json!({ "mails": mails.iter().map(show_mail).collect::<Vec<_>>() }))
        }
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn show_mail(mail: &mailbox::Mail) -> Value {
    json!({
        "id": mail.id,
        "at": mail.at.to_iso8601(),
        "channel": mail.channel,
        "account": mail.account.as_str(),
        "from": mail.from,
        "to": mail.to,
        "subject": mail.subject,
        "body": mail.body,
        "source": mail.source,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stop {
    phone_number: String,
    account: Option<String>,
    region: Option<String>,
}

async fn stop_texts(shared: &Shared, body: Body) -> Response {
    let bytes = body.collect(4 << 10).await.ok();
    let stop = bytes.and_then(|bytes| serde_json::from_slice::<Stop>(&bytes).ok());
    let Some(stop) = stop else {
        return refuse(StatusCode::BAD_REQUEST, "the body is {\"phone_number\": \"+12065550100\"}");
    };
    let platform = shared.platform();
    let account = stop.account.as_deref().map_or(Some(AccountId::DEFAULT), AccountId::parse);
    let region = stop.region.as_deref().map_or(Some(platform.config().default_region.clone()), Region::parse);
    let Some((account, region)) = account.zip(region) else {
        return refuse(StatusCode::BAD_REQUEST, "that is no account, or no region");
    };
    match pileus_svc_sns::opt_out(&platform, account, region, &stop.phone_number).await {
        Ok(true) => answer(StatusCode::OK, json!({ "stopped": true })),
        Ok(false) => refuse(StatusCode::BAD_REQUEST, "that is no phone number"),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn health(shared: &Shared) -> Response {
    let services = shared.platform().services();
    let states: serde_json::Map<String, Value> =
        services.iter().map(|name| ((*name).to_owned(), json!("running"))).collect();
    let mut body = json!({ "services": states, "edition": "pileus", "version": env!("CARGO_PKG_VERSION") });
    match shared.joined.as_ref().and_then(|joined| joined.refusal()) {
        None => answer(StatusCode::OK, body),
        Some(reason) => {
            body["error"] = json!(reason);
            answer(StatusCode::SERVICE_UNAVAILABLE, body)
        }
    }
}

async fn nodes(shared: &Shared) -> Response {
    let name = &shared.config.name;
    let Some(joined) = &shared.joined else {
        return answer(StatusCode::OK, json!({ "asked": name, "nodes": [] }));
    };
    match joined.members().await {
        Ok(nodes) => answer(StatusCode::OK, json!({ "asked": name, "nodes": nodes })),
        Err(error) => refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

fn is_local(inbound: &Inbound) -> bool {
    inbound.peer.is_some_and(|peer| peer.ip().is_loopback())
}

fn clock(shared: &Shared) -> Response {
    let clock = &shared.clock;
    let body = json!({
        "now": clock.now().to_iso8601(),
        "frozen": clock.is_frozen(),
        "ahead_seconds": clock.ahead().as_secs_f64(),
    });
    answer(StatusCode::OK, body)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    advance_seconds: Option<f64>,
    #[serde(default)]
    freeze: bool,
    #[serde(default)]
    resume: bool,
}

/// A hundred years: no rule of any service looks further.
const MAX_ADVANCE_SECONDS: f64 = 100.0 * 366.0 * 86_400.0;

async fn move_clock(shared: &Shared, body: Body) -> Response {
    let body = match body.collect(4 << 10).await {
        Ok(body) => body,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let wanted: Move = match serde_json::from_slice(&body) {
        Ok(wanted) => wanted,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let advance = wanted.advance_seconds.unwrap_or(0.0);
    if !(0.0..=MAX_ADVANCE_SECONDS).contains(&advance) {
        return refuse(StatusCode::BAD_REQUEST, "advance_seconds must lie between 0 and a hundred years");
    }
    if wanted.freeze && wanted.resume {
        return refuse(StatusCode::BAD_REQUEST, "the clock can freeze or resume, not both");
    }
    if wanted.freeze {
        shared.clock.freeze();
    }
    if wanted.resume {
        shared.clock.resume();
    }
    shared.clock.advance(Duration::from_secs_f64(advance));
    match shared.save_clock().await {
        Ok(()) => clock(shared),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn answer(status: StatusCode, body: Value) -> Response {
    plain(status, "application/json", body.to_string() + "\n")
}

fn refuse(status: StatusCode, message: &str) -> Response {
    answer(status, json!({ "error": message }))
}
