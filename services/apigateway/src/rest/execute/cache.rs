//! The cache of a stage: answers of methods, by the parameters that their integrations name as keys.
//!
//! Source: API Gateway Developer Guide, "Cache settings for REST APIs in API Gateway". Chosen: every node keeps its own, so one node may
//! ask the backend again for what another has; the size of the cluster is shown, and the memory of a node is what bounds it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use pileus_api_apigateway::MethodSetting;
use pileus_core::Timestamp;
use pileus_platform::Access;
use pileus_wire::protocol::{Response, ResponseBody};

use super::call::Call;
use super::compiled::{Method, Staged};
use super::refusal::{Refusal, set};

/// Bytes that a node keeps for all its stages.
const MAX_BYTES: usize = 64 << 20;
const OVERHEAD: usize = 256;
const IGNORED: &str = "199 Cache-control headers were ignored because the caller was unauthorized.";

#[derive(Default)]
pub struct Cache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<String, Arc<Stored>>,
    bytes: usize,
}

pub struct Stored {
    until: Timestamp,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// What a request may do with the cache.
pub struct Plan {
    pub key: String,
    ttl: Duration,
    /// The client wants a new answer, and may have it.
    skips: bool,
    /// The client wanted one, and may not.
    warns: bool,
}

impl Cache {
    fn find(&self, key: &str, now: Timestamp) -> Option<Arc<Stored>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.get(key).filter(|stored| now < stored.until).cloned()
    }

    fn keep(&self, key: String, stored: Stored) {
        let size = key.len() + stored.body.len() + OVERHEAD;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if size > MAX_BYTES / 8 {
            return;
        }
        if kept.bytes + size > MAX_BYTES {
            kept.answers.clear();
            kept.bytes = 0;
        }
        kept.bytes += size;
        kept.answers.insert(key, Arc::new(stored));
    }

    /// What is kept of one API.
    pub fn forget(&self, api: &str) {
        let start = format!("{api} ");
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.retain(|key, _| !key.starts_with(&start));
        kept.bytes = kept.answers.iter().map(|(key, stored)| key.len() + stored.body.len() + OVERHEAD).sum();
    }
}

/// `None` when the method is not cached.
///
/// # Errors
/// 403 for a client that may not invalidate, where the settings say so.
pub async fn plan(call: &Call, staged: &Staged, method: &Method) -> Result<Option<Plan>, Refusal> {
    let own = staged.stage.method_settings.as_ref().and_then(|settings| settings.get(&method.setting));
    let Some(setting) = staged.setting(method) else { return Ok(None) };
    let is_on = staged.stage.cache_cluster_enabled == Some(true)
        && setting.caching_enabled == Some(true)
        // Of all methods, only GET; others when they say so themselves.
        && (call.verb == "GET" || own.is_some());
    let ttl = setting.cache_ttl_in_seconds.unwrap_or(300);
    let uses_canary = !call.is_canary
        || staged.stage.canary_settings.as_ref().and_then(|canary| canary.use_stage_cache) == Some(true);
    if !is_on || ttl <= 0 || !uses_canary {
        return Ok(None);
    }
    let mut key = format!(
        "{} {} {} {} {} {}",
        call.api,
        call.stage,
        call.version,
        call.deployed.id,
        method.integration.cache_namespace.as_deref().unwrap_or_default(),
        call.verb
    );
    for name in method.integration.cache_key_parameters.iter().flatten() {
        let mapped = method.integration.request_parameters.as_ref().and_then(|map| map.get(name));
        let source = mapped.map_or(name.as_str(), String::as_str);
        key.push_str(&format!(" {name}={:?}", call.source(source)));
    }
    let (skips, warns) = invalidation(call, setting).await?;
    Ok(Some(Plan { key, ttl: Duration::from_secs(u64::try_from(ttl).unwrap_or_default()), skips, warns }))
}

/// `Cache-Control: max-age=0`, from one who may.
async fn invalidation(call: &Call, setting: &MethodSetting) -> Result<(bool, bool), Refusal> {
    let asks = call
        .header("cache-control")
        .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case("max-age=0")));
    if !asks || setting.require_authorization_for_cache_control == Some(false) {
        return Ok((asks, false));
    }
    let access = Access::new("execute-api:InvalidateCache", call.arn(&call.path));
    let is_known = call.context["identity"]["userArn"].is_string();
    let may = is_known && call.cx.is_allowed(pileus_api_apigateway::SERVICE, &access).await.unwrap_or(false);
    if may {
        return Ok((true, false));
    }
    match setting.unauthorized_cache_control_header_strategy.as_deref() {
        Some("FAIL_WITH_403") => Err(Refusal::denied("Missing permission to invalidate the cache")),
        Some("SUCCEED_WITHOUT_RESPONSE_HEADER") => Ok((false, false)),
        _ => Ok((false, true)),
    }
}

impl Plan {
    /// The answer that is kept, if there is one.
    pub fn answer(&self, call: &Call) -> Option<Response> {
        if self.skips {
            return None;
        }
        let stored = call.cx.state::<Cache>().find(&self.key, call.cx.now())?;
        let mut response = Response::new(stored.status, stored.body.clone());
        response.headers = stored.headers.clone();
        self.warn(&mut response);
        Some(response)
    }

    /// Keeps an answer that is good.
    pub fn keep(&self, call: &Call, response: &mut Response) {
        if let (true, ResponseBody::Bytes(body)) = (response.status.is_success(), &response.body) {
            let stored = Stored {
                until: call.cx.now() + self.ttl,
                status: response.status,
                headers: response.headers.clone(),
                body: body.clone(),
            };
            call.cx.state::<Cache>().keep(self.key.clone(), stored);
        }
        self.warn(response);
    }

    fn warn(&self, response: &mut Response) {
        if self.warns {
            set(response, "warning", IGNORED);
        }
    }
}
