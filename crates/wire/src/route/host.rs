//! What a host name says. Names are compared label by label, from the right, never by how they begin: a bucket called
//! `pictures` or `sqs` is a bucket.

/// The domains that this installation answers to.
#[derive(Debug, Clone)]
pub struct Hosts {
    /// Lower case, without dots at the ends; longest first.
    suffixes: Vec<String>,
}

impl Default for Hosts {
    /// AWS's own domains and the local ones.
    fn default() -> Hosts {
        Hosts::new([])
    }
}

impl Hosts {
    const KNOWN: [&'static str; 9] = [
        "localhost",
        "localhost.localstack.cloud",
        "amazonaws.com",
        "amazonaws.com.cn",
        "amazonaws.eu",
        "api.aws",
        "on.aws",
        "cloudfront.net",
        "amazoncognito.com",
    ];

    /// The known domains and `configured` ones.
    pub fn new(configured: impl IntoIterator<Item = String>) -> Hosts {
        let known = Hosts::KNOWN.iter().map(|name| (*name).to_owned());
        let configured = configured.into_iter().map(|name| name.trim_matches('.').to_ascii_lowercase());
        let mut suffixes: Vec<String> = known.chain(configured).filter(|name| !name.is_empty()).collect();
        suffixes.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        suffixes.dedup();
        Hosts { suffixes }
    }

    /// The domain of ours that a host lies under.
    pub fn domain_of(&self, host: &str) -> Option<&str> {
        self.split(host).map(|(_, domain)| domain)
    }

    /// The host without its domain, and the domain. `None` if the host is of no domain of ours.
    fn split<'h>(&self, host: &'h str) -> Option<(&'h str, &str)> {
        self.suffixes.iter().find_map(|suffix| {
            let (rest, tail) = host.split_at_checked(host.len().checked_sub(suffix.len())?)?;
            let at_label = rest.is_empty() || rest.ends_with('.');
            let is_ours = at_label && tail.eq_ignore_ascii_case(suffix);
            is_ours.then(|| (rest.strip_suffix('.').unwrap_or(rest), suffix.as_str()))
        })
    }
}

/// What a host name addresses. Names and regions are as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind<'h> {
    /// An address, or a domain of ours alone: any service.
    Bare,
    /// A name under none of our domains.
    Foreign(&'h str),
    /// `sqs.us-east-1.amazonaws.com`; the account of `123456789012.ddb.us-east-1.amazonaws.com`.
    Endpoint { prefix: &'h str, region: Option<&'h str>, account: Option<&'h str> },
    /// `bucket.with.dots.s3.us-east-1.amazonaws.com`
    S3Bucket { bucket: &'h str, region: Option<&'h str>, is_express: bool },
    /// `name-123456789012.s3-accesspoint.us-east-1.amazonaws.com`, also of S3 Object Lambda.
    S3AccessPoint { name: &'h str, account: &'h str, region: Option<&'h str>, is_object_lambda: bool },
    /// `123456789012.s3-control.us-east-1.amazonaws.com`
    S3Control { account: Option<&'h str>, region: Option<&'h str> },
    /// `bucket.s3-website.us-east-1.amazonaws.com`, `bucket.s3-website-us-east-1.amazonaws.com`
    S3Website { bucket: &'h str, region: Option<&'h str> },
    /// `id.execute-api.us-east-1.amazonaws.com`
    ExecuteApi { api: &'h str, region: Option<&'h str> },
    /// `id.lambda-url.us-east-1.on.aws`
    LambdaUrl { id: &'h str, region: Option<&'h str> },
    /// `d111111abcdef8.cloudfront.net`
    CloudFront { distribution: &'h str },
    /// `name-1234567890.us-east-1.elb.amazonaws.com`
    LoadBalancer { name: &'h str, region: Option<&'h str> },
    /// `prefix.auth.us-east-1.amazoncognito.com`
    CognitoDomain { prefix: &'h str, region: Option<&'h str> },
}

impl<'h> HostKind<'h> {
    pub fn region(&self) -> Option<&'h str> {
        match self {
            HostKind::Bare | HostKind::Foreign(_) | HostKind::CloudFront { .. } => None,
            HostKind::Endpoint { region, .. }
            | HostKind::S3Bucket { region, .. }
            | HostKind::S3AccessPoint { region, .. }
            | HostKind::S3Control { region, .. }
            | HostKind::S3Website { region, .. }
            | HostKind::ExecuteApi { region, .. }
            | HostKind::LambdaUrl { region, .. }
            | HostKind::LoadBalancer { region, .. }
            | HostKind::CognitoDomain { region, .. } => *region,
        }
    }

    pub fn account(&self) -> Option<&'h str> {
        match self {
            HostKind::Endpoint { account, .. } | HostKind::S3Control { account, .. } => *account,
            HostKind::S3AccessPoint { account, .. } => Some(account),
            _ => None,
        }
    }

    /// Whether the host belongs to what customers have made, not to AWS's own API.
    pub fn is_data_plane(&self) -> bool {
        matches!(
            self,
            HostKind::S3Website { .. }
                | HostKind::ExecuteApi { .. }
                | HostKind::LambdaUrl { .. }
                | HostKind::CloudFront { .. }
                | HostKind::LoadBalancer { .. }
                | HostKind::CognitoDomain { .. }
        )
    }

    /// The model's endpoint prefix of the service that the host names.
    pub(super) fn endpoint_prefix(&self) -> Option<&'h str> {
        match self {
            HostKind::Endpoint { prefix, .. } => Some(prefix_alias(prefix)),
            HostKind::S3Bucket { .. } | HostKind::S3AccessPoint { .. } => Some("s3"),
            HostKind::S3Control { .. } => Some("s3-control"),
            HostKind::ExecuteApi { .. } => Some("execute-api"),
            _ => None,
        }
    }
}

/// Hosts whose first label is not the model's endpoint prefix.
fn prefix_alias(prefix: &str) -> &str {
    match prefix.strip_suffix("-fips").unwrap_or(prefix) {
        "ddb" => "dynamodb",
        "streams-ddb" => "streams.dynamodb",
        "queue" => "sqs",
        "sync-states" => "states",
        "stream-logs" | "streaming-logs" => "logs",
        "s3express-control" => "s3",
        other => other,
    }
}

/// Reads a `Host` header, with or without a port.
pub fn classify_host<'h>(hosts: &Hosts, host: &'h str) -> HostKind<'h> {
    let name = without_port(host);
    if name.is_empty() || name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok() {
        return HostKind::Bare;
    }
    match hosts.split(name) {
        None => HostKind::Foreign(name),
        Some(("", _)) => HostKind::Bare,
        Some((distribution, "cloudfront.net")) => HostKind::CloudFront { distribution },
        Some((rest, _)) => classify(rest),
    }
}

fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// What comes before one of our domains: `[owner.]service[.dualstack][.region]`.
fn classify(rest: &str) -> HostKind<'_> {
    let (head, region) = split_region(rest);
    let (head, region) = (strip_label(head, "dualstack").unwrap_or(head), region);
    if head.is_empty() {
        return HostKind::Bare;
    }
    let (owner, service) = split_last(head);
    let mut room = [0; 63];
    let lower = lower_case(service, &mut room);
    match (owner, lower.strip_suffix("-fips").unwrap_or(lower)) {
        (Some(bucket), "s3" | "s3-accelerate") => HostKind::S3Bucket { bucket, region, is_express: false },
        (None, "s3") => HostKind::Endpoint { prefix: "s3", region, account: None },
        (Some(owner), "s3-accesspoint") => {
            access_point(owner, region, false).unwrap_or(HostKind::Foreign(rest))
        }
        (Some(owner), "s3-object-lambda") => {
            access_point(owner, region, true).unwrap_or(HostKind::Foreign(rest))
        }
        (account, "s3-control") => HostKind::S3Control { account, region },
        (Some(bucket), "s3-website") => HostKind::S3Website { bucket, region },
        (Some(api), "execute-api") => HostKind::ExecuteApi { api, region },
        (Some(id), "lambda-url") => HostKind::LambdaUrl { id, region },
        (Some(distribution), "cloudfront") => HostKind::CloudFront { distribution },
        (Some(owner), "elb") => {
            let (name, before) = split_region(owner);
            HostKind::LoadBalancer { name, region: region.or(before) }
        }
        (Some(prefix), "auth") => HostKind::CognitoDomain { prefix, region },
        (Some(owner), "queue") if is_region(owner) => {
            HostKind::Endpoint { prefix: "queue", region: Some(owner), account: None }
        }
        (Some(account), "ddb" | "streams-ddb") if is_account(account) => {
            HostKind::Endpoint { prefix: service, region, account: Some(account) }
        }
        _ => legacy_s3(owner, service).unwrap_or(HostKind::Endpoint { prefix: head, region, account: None }),
    }
}

/// The label in lower case, in `room`, which holds the longest that DNS has; longer ones are no service's.
fn lower_case<'r>(label: &str, room: &'r mut [u8; 63]) -> &'r str {
    let Some(room) = room.get_mut(..label.len()) else { return "" };
    room.copy_from_slice(label.as_bytes());
    room.make_ascii_lowercase();
    std::str::from_utf8(room).unwrap_or_default()
}

/// `s3-us-west-2`, `s3-external-1`, `s3-website-us-east-1`, `s3express-use1-az5`.
fn legacy_s3<'h>(owner: Option<&'h str>, service: &'h str) -> Option<HostKind<'h>> {
    if let (Some(bucket), Some(zone)) = (owner, service.strip_prefix("s3express-"))
        && zone != "control"
    {
        return Some(HostKind::S3Bucket { bucket, region: None, is_express: true });
    }
    if let Some(region) = service.strip_prefix("s3-website-").filter(|region| is_region(region)) {
        return owner.map(|bucket| HostKind::S3Website { bucket, region: Some(region) });
    }
    let region = match service.strip_prefix("s3-")? {
        "external-1" => "us-east-1",
        region if is_region(region) => region,
        _ => return None,
    };
    Some(match owner {
        Some(bucket) => HostKind::S3Bucket { bucket, region: Some(region), is_express: false },
        None => HostKind::Endpoint { prefix: "s3", region: Some(region), account: None },
    })
}

fn access_point<'h>(owner: &'h str, region: Option<&'h str>, is_object_lambda: bool) -> Option<HostKind<'h>> {
    let (name, account) = owner.rsplit_once('-').filter(|(_, account)| is_account(account))?;
    Some(HostKind::S3AccessPoint { name, account, region, is_object_lambda })
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Takes a region off the right end.
fn split_region(name: &str) -> (&str, Option<&str>) {
    let (owner, last) = split_last(name);
    if is_region(last) { (owner.unwrap_or(""), Some(last)) } else { (name, None) }
}

fn strip_label<'h>(name: &'h str, label: &str) -> Option<&'h str> {
    let (owner, last) = split_last(name);
    last.eq_ignore_ascii_case(label).then_some(owner.unwrap_or(""))
}

fn split_last(name: &str) -> (Option<&str>, &str) {
    name.rsplit_once('.').map_or((None, name), |(owner, last)| (Some(owner).filter(|o| !o.is_empty()), last))
}

/// The form of a region's code: `us-east-1`, `us-gov-west-1`, `eusc-de-east-1`.
pub fn is_region(label: &str) -> bool {
    let Some((name, number)) = label.rsplit_once('-') else { return false };
    let is_numbered = !number.is_empty() && number.len() <= 2 && number.bytes().all(|b| b.is_ascii_digit());
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic());
    let Some((area, _)) = name.split_once('-') else { return false };
    is_numbered && (2..=4).contains(&area.len()) && name.split('-').all(is_word)
}
