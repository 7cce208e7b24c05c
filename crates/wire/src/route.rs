//! Which operation of which service a request means.
//!
//! | File             | Holds                                                                            |
//! |------------------|----------------------------------------------------------------------------------|
//! | `route.rs`       | [`route`]: service, then protocol, then operation                                |
//! | `route/host.rs`  | [`classify_host`]: what a host name says, label by label                         |
//! | `route/rest.rs`  | REST operations: a trie over raw path segments                                   |
//! | `route/s3.rs`    | S3: bucket in the host or in the path, many operations on few paths              |
//! | `route/peek.rs`  | [`FormPeek`] and [`scope_of`]: what is looked at before anything is verified     |
//! | `route/error.rs` | [`RouteError`]: a request that means nothing, in the service's own words         |
//!
//! Routing is pure and reads neither body nor state. A service is found by, in this order: `X-Amz-Target` and the path of
//! rpc-v2-cbor, which name it outright (AWS follows them even under a wrong scope); the service in the credential scope;
//! `Action` and `Version`; the host; paths that no other service has; and S3, last, for what only S3 takes. Data-plane hosts
//! (user APIs, function URLs, websites, distributions) come before all this: whoever knows the registered names asks
//! [`classify_host`] first.
//!
//! Paths are matched as sent: nothing is merged, normalised or decoded before matching, and labels are decoded once.

mod error;
mod host;
mod peek;
mod rest;
mod s3;

pub use error::RouteError;
pub use host::{HostKind, Hosts, classify_host, is_region};
pub use peek::{FormPeek, scope_of};

use error::Reason;
use http::HeaderName;
use http::header::{CONTENT_TYPE, HOST};

use crate::model::ModelHeader;
use crate::protocol::{Protocol, Request};
use crate::schema::{Operation, Service};

/// Every API there is. Headers are cheap; services are read when first asked for.
pub trait Catalog: Sync {
    fn headers(&self) -> &'static [ModelHeader];
    /// By our name: `sqs`.
    fn service(&self, name: &str) -> Option<&'static Service>;
}

/// What a request means.
#[derive(Debug)]
pub struct Routed<'a> {
    pub service: &'static Service,
    pub operation: &'static Operation,
    pub protocol: Protocol,
    /// The URI template's labels in its order, decoded: [`Request::labels`]. On an SQS query request to a queue's URL:
    /// `QueueUrl`, the path as sent.
    pub labels: Vec<(&'static str, String)>,
    /// From the host name, or the path of a queue's URL.
    pub region_hint: Option<&'a str>,
    /// From the host name, or the path of a queue's URL.
    pub account_hint: Option<&'a str>,
}

/// Finds the service, protocol and operation. `request.labels` is not looked at. An HTTP/2 `:authority` is expected as the
/// `host` header.
///
/// `scope` is the service in the credential scope, from wherever the signature is ([`scope_of`], a POST policy's form);
/// `form` is what a form-encoded body says.
///
/// # Errors
/// [`RouteError`] says what is unknown, and how the service answers that.
pub fn route<'a>(
    catalog: &dyn Catalog,
    hosts: &Hosts,
    request: &Request<'a>,
    scope: Option<&str>,
    form: Option<&FormPeek>,
) -> Result<Routed<'a>, RouteError> {
    let from_query = if form.is_none() { FormPeek::of(request.query) } else { FormPeek::default() };
    let clues = Clues {
        target: text(request, &TARGET),
        rpc: rpc_path(request),
        content_type: text(request, &CONTENT_TYPE).map_or("", media_type),
        host: classify_host(hosts, text(request, &HOST).unwrap_or_default()),
        form: form.unwrap_or(&from_query),
        scope,
        request,
    };
    let mut routed = find(catalog, &clues)?;
    routed.region_hint = clues.host.region().or(routed.region_hint);
    routed.account_hint = clues.host.account().or(routed.account_hint);
    Ok(routed)
}

static TARGET: HeaderName = HeaderName::from_static("x-amz-target");
static SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");

/// As `Request::header`, without having to parse the header's name.
fn text<'a>(request: &Request<'a>, name: &HeaderName) -> Option<&'a str> {
    request.headers.get(name).and_then(|value| value.to_str().ok())
}

/// What is known before the service is.
struct Clues<'c, 'a> {
    target: Option<&'a str>,
    /// Service and operation of an rpc-v2-cbor path.
    rpc: Option<(&'a str, &'a str)>,
    /// Without parameters.
    content_type: &'a str,
    host: HostKind<'a>,
    form: &'c FormPeek,
    scope: Option<&'c str>,
    request: &'c Request<'a>,
}

type Headers = fn(&ModelHeader, &str) -> bool;

fn find<'a>(catalog: &dyn Catalog, clues: &Clues<'_, 'a>) -> Result<Routed<'a>, RouteError> {
    let target_prefix = clues.target.and_then(|target| target.rsplit_once('.')).map(|(prefix, _)| prefix);
    let named = target_prefix.or(clues.rpc.map(|(service, _)| service));
    let by_target: Headers = |header, name| header.target_prefix == name;
    if let Some(service) = named.and_then(|name| first(catalog, by_target, name)) {
        return in_service(service, clues);
    }
    if let Some(scope) = clues.scope {
        let by_scope: Headers = |header, scope| header.signing_name == scope;
        let scope = scope_alias(scope);
        return among(catalog, by_scope, scope, clues)
            .unwrap_or_else(|| Err(RouteError::new(Reason::UnknownService(scope.to_owned()), clues)));
    }
    unsigned(catalog, clues)
}

/// Services sign under other names for some of their hosts.
fn scope_alias(scope: &str) -> &str {
    match scope {
        "s3express" | "s3-object-lambda" | "s3-outposts" => "s3",
        other => other,
    }
}

fn first(catalog: &dyn Catalog, matches: Headers, name: &str) -> Option<&'static Service> {
    let header = catalog.headers().iter().find(|header| !name.is_empty() && matches(header, name))?;
    catalog.service(header.name)
}

/// Routes within the services that share a name. `None` if none has it.
fn among<'a>(
    catalog: &dyn Catalog,
    matches: Headers,
    name: &str,
    clues: &Clues<'_, 'a>,
) -> Option<Result<Routed<'a>, RouteError>> {
    let mut found = catalog.headers().iter().filter(|header| !name.is_empty() && matches(header, name));
    let (one, another) = (found.next()?, found.next());
    if another.is_none() {
        return Some(in_service(catalog.service(one.name)?, clues));
    }
    let mut shared: Vec<&'static Service> = [one]
        .into_iter()
        .chain(another)
        .chain(found)
        .filter_map(|header| catalog.service(header.name))
        .filter(|service| s3::may_be_control(service, clues))
        .collect();
    // S3's paths match everything, so it is asked last.
    shared.sort_by_key(|service| service.name == s3::SERVICE);
    let answer = shared.iter().find_map(|service| in_service(service, clues).ok());
    Some(match (answer, shared.first()) {
        (Some(routed), _) => Ok(routed),
        (None, Some(service)) => in_service(best_fit(&shared, clues).unwrap_or(service), clues),
        (None, None) => Err(RouteError::new(Reason::UnknownService(name.to_owned()), clues)),
    })
}

/// Of services that share a name and do not know the operation, the one that answers so.
fn best_fit(shared: &[&'static Service], clues: &Clues<'_, '_>) -> Option<&'static Service> {
    let speaks_query = |service: &&'static Service| query_protocol(service).is_some();
    let has_action = clues.form.action.is_some();
    shared.iter().copied().find(|service| has_action == speaks_query(service))
}

/// Without a signature that names the service.
fn unsigned<'a>(catalog: &dyn Catalog, clues: &Clues<'_, 'a>) -> Result<Routed<'a>, RouteError> {
    if let Some(service) = by_action(catalog, clues) {
        return in_service(service, clues);
    }
    if let Some(prefix) = clues.host.endpoint_prefix() {
        let by_prefix: Headers = |header, prefix| header.endpoint_prefix.eq_ignore_ascii_case(prefix);
        if let Some(answer) = among(catalog, by_prefix, prefix, clues) {
            return answer;
        }
    }
    if let Some(service) = by_dated_path(catalog, clues) {
        return in_service(service, clues);
    }
    let unknown = || RouteError::new(Reason::UnknownService(String::new()), clues);
    let storage = catalog.service(s3::SERVICE).filter(|_| s3::may_be_anonymous(clues)).ok_or_else(unknown)?;
    in_service(storage, clues)
}

/// The query service whose version and action these are. A queue's URL needs no version.
fn by_action(catalog: &dyn Catalog, clues: &Clues<'_, '_>) -> Option<&'static Service> {
    let action = clues.form.action.as_deref()?;
    if QueuePath::parse(clues.request.path).is_some() {
        return catalog.service(SQS);
    }
    let speaks_query = |header: &&ModelHeader| {
        header.protocols.iter().any(|p| matches!(p, Protocol::AwsQuery | Protocol::Ec2Query))
    };
    let version = clues.form.version.as_deref();
    let of_version = |header: &&ModelHeader| version.is_none_or(|version| header.api_version == version);
    let mut services = catalog
        .headers()
        .iter()
        .filter(speaks_query)
        .filter(of_version)
        .filter_map(|header| catalog.service(header.name));
    services.find(|service| service.operation(action).is_some())
}

/// Services whose paths begin with a date, such as Lambda's: no bucket is meant by them if the whole path fits.
fn by_dated_path(catalog: &dyn Catalog, clues: &Clues<'_, '_>) -> Option<&'static Service> {
    let first = clues.request.path.split('/').nth(1)?;
    if !is_date(first) {
        return None;
    }
    let is_rest = |header: &&ModelHeader| header.protocols.iter().any(|protocol| protocol.is_rest());
    let mut services = catalog
        .headers()
        .iter()
        .filter(is_rest)
        .filter(|header| header.name != s3::SERVICE)
        .filter_map(|header| catalog.service(header.name));
    services.find(|service| rest::find(service, clues.request, clues.request.path).is_some())
}

fn is_date(text: &str) -> bool {
    let fits = |(i, b): (usize, u8)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() };
    text.len() == 10 && text.bytes().enumerate().all(fits)
}

const SQS: &str = "sqs";

/// The path of a queue's URL: `/123456789012/name`, of the first generation `/queue/name`, and the emulators'
/// `/queue/us-east-1/123456789012/name`.
struct QueuePath<'a> {
    account: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> QueuePath<'a> {
    fn parse(path: &'a str) -> Option<QueuePath<'a>> {
        let mut segments = path.strip_prefix('/')?.split('/');
        let first = segments.next()?;
        let parts = (segments.next()?, segments.next(), segments.next(), segments.next());
        match (first, parts) {
            ("queue", (region, Some(account), Some(name), None)) => {
                let fits = is_region(region) && host::is_account(account) && !name.is_empty();
                fits.then_some(QueuePath { account: Some(account), region: Some(region) })
            }
            (_, ("", ..) | (_, Some(_), ..)) => None,
            ("queue", _) => Some(QueuePath { account: None, region: None }),
            (account, _) => {
                host::is_account(account).then_some(QueuePath { account: Some(account), region: None })
            }
        }
    }
}

/// Protocol, then operation.
fn in_service<'a>(service: &'static Service, clues: &Clues<'_, 'a>) -> Result<Routed<'a>, RouteError> {
    let speaks_rpc = service.protocols.iter().any(|protocol| !protocol.is_rest());
    if speaks_rpc {
        if let Some((_, name)) = clues.rpc {
            return by_name(service, Protocol::RpcV2Cbor, Some(name), clues);
        }
        if let Some(protocol) = target_protocol(service, clues) {
            let name = clues.target.map(|target| target.rsplit_once('.').map_or(target, |(_, name)| name));
            return by_name(service, protocol, name, clues);
        }
        if let Some(protocol) = query_protocol(service)
            && (clues.form.action.is_some() || !service.protocols.iter().any(|p| p.is_rest()))
        {
            return by_action_name(service, protocol, clues);
        }
    }
    if service.protocols.iter().any(|protocol| protocol.is_rest()) {
        return by_path(service, clues);
    }
    by_name(service, default_protocol(service), None, clues)
}

fn default_protocol(service: &Service) -> Protocol {
    service.protocols.first().copied().unwrap_or(Protocol::AwsJson11)
}

fn query_protocol(service: &Service) -> Option<Protocol> {
    service.protocols.iter().copied().find(|p| matches!(p, Protocol::AwsQuery | Protocol::Ec2Query))
}

/// The protocol of a request that names its operation in `X-Amz-Target`: as the content type says, else the service's own.
fn target_protocol(service: &Service, clues: &Clues<'_, '_>) -> Option<Protocol> {
    match clues.content_type {
        "application/x-amz-json-1.0" => Some(Protocol::AwsJson10),
        "application/x-amz-json-1.1" => Some(Protocol::AwsJson11),
        "application/x-amz-cbor-1.1" => Some(Protocol::AmzCbor11),
        _ if clues.target.is_none() => None,
        _ => {
            let is_json = |p: &Protocol| matches!(p, Protocol::AwsJson10 | Protocol::AwsJson11);
            Some(service.protocols.iter().copied().find(is_json).unwrap_or(Protocol::AwsJson11))
        }
    }
}

fn by_name<'a>(
    service: &'static Service,
    protocol: Protocol,
    name: Option<&str>,
    clues: &Clues<'_, 'a>,
) -> Result<Routed<'a>, RouteError> {
    match name.and_then(|name| service.operation(name)) {
        Some(operation) => Ok(Routed::new(service, operation, protocol)),
        None => Err(RouteError::unknown_operation(service, protocol, name, clues)),
    }
}

/// `Action`, if the version is one that the service has had.
fn by_action_name<'a>(
    service: &'static Service,
    protocol: Protocol,
    clues: &Clues<'_, 'a>,
) -> Result<Routed<'a>, RouteError> {
    let queue = if service.name == SQS { QueuePath::parse(clues.request.path) } else { None };
    let version = clues.form.version.as_deref();
    let is_known = version
        .map_or(service.name == SQS, |version| version == service.api_version || is_older(service, version));
    let name = clues.form.action.as_deref();
    let mut routed = match name.and_then(|name| service.operation(name)) {
        Some(operation) if is_known => Routed::new(service, operation, protocol),
        _ => return Err(RouteError::unknown_operation(service, protocol, name, clues)),
    };
    if let Some(queue) = queue {
        (routed.account_hint, routed.region_hint) = (queue.account, queue.region);
        routed.labels.push(("QueueUrl", clues.request.path.to_owned()));
    }
    Ok(routed)
}

/// EC2, RDS and SQS still answer their earlier versions; the others have had one.
fn is_older(service: &Service, version: &str) -> bool {
    let has_several = matches!(service.name, "ec2" | "rds" | SQS);
    has_several && is_date(version) && version < service.api_version
}

fn by_path<'a>(service: &'static Service, clues: &Clues<'_, 'a>) -> Result<Routed<'a>, RouteError> {
    let protocol = service.protocols.iter().copied().find(|protocol| protocol.is_rest());
    let protocol = protocol.unwrap_or(Protocol::RestJson1);
    let matched = if service.name == s3::SERVICE {
        s3::find(service, clues)
    } else {
        rest::find(service, clues.request, rest::path_within(service, clues.request.path))
    };
    let Some(matched) = matched else {
        return Err(RouteError::unknown_operation(service, protocol, None, clues));
    };
    let operation = matched.operation;
    let labels = matched.labels().ok_or_else(|| RouteError::new(Reason::BadUri(service, protocol), clues))?;
    Ok(Routed { labels, ..Routed::new(service, operation, protocol) })
}

impl Routed<'_> {
    fn new(service: &'static Service, operation: &'static Operation, protocol: Protocol) -> Self {
        Routed { service, operation, protocol, labels: Vec::new(), region_hint: None, account_hint: None }
    }
}

/// `/service/{name}/operation/{name}` at the end of the path, when the request says it is rpc-v2-cbor.
fn rpc_path<'a>(request: &Request<'a>) -> Option<(&'a str, &'a str)> {
    if text(request, &SMITHY_PROTOCOL) != Some("rpc-v2-cbor") {
        return None;
    }
    let (rest, operation) = request.path.rsplit_once("/operation/")?;
    let (_, service) = rest.rsplit_once("/service/")?;
    (!service.contains('/') && !operation.contains('/')).then_some((service, operation))
}

fn media_type(content_type: &str) -> &str {
    content_type.split_once(';').map_or(content_type, |(kind, _)| kind).trim()
}

#[cfg(test)]
mod tests;
