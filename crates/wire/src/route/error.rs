//! A request that means nothing, answered in the service's own words.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::Clues;
use crate::fault::Fault;
use crate::protocol::{Protocol, Response};
use crate::schema::Service;

/// Why a request could not be routed, and what the caller is told.
#[derive(Debug)]
pub struct RouteError {
    reason: Reason,
    /// Whether the request claims a signature.
    is_signed: bool,
    method: http::Method,
    /// The content type is one of the service's RPC protocols.
    is_framed: bool,
    /// What the path is about, if it is S3's.
    resource: &'static str,
}

#[derive(Debug)]
pub(super) enum Reason {
    /// The service's name in the credential scope; empty: nothing names one.
    UnknownService(String),
    UnknownOperation {
        service: &'static Service,
        protocol: Protocol,
        name: Option<String>,
        version: Option<String>,
    },
    /// A label is not percent-encoded UTF-8.
    BadUri(&'static Service, Protocol),
}

impl RouteError {
    pub(super) fn new(reason: Reason, clues: &Clues<'_, '_>) -> RouteError {
        let is_framed = clues.rpc.is_some() || clues.content_type.starts_with("application/x-amz-");
        let is_signed = clues.scope.is_some() || clues.request.headers.contains_key("authorization");
        let resource = super::s3::resource(clues);
        RouteError { reason, is_signed, method: clues.request.method.clone(), is_framed, resource }
    }

    pub(super) fn unknown_operation(
        service: &'static Service,
        protocol: Protocol,
        name: Option<&str>,
        clues: &Clues<'_, '_>,
    ) -> RouteError {
        let version = clues.form.version.as_deref().map(str::to_owned);
        let name = name.map(str::to_owned);
        RouteError::new(Reason::UnknownOperation { service, protocol, name, version }, clues)
    }

    /// The service that answers, if it is known.
    pub fn service(&self) -> Option<&'static Service> {
        match &self.reason {
            Reason::UnknownService(_) => None,
            Reason::UnknownOperation { service, .. } | Reason::BadUri(service, _) => Some(service),
        }
    }

    /// The protocol of the answer, if the service is known.
    pub fn protocol(&self) -> Option<Protocol> {
        match &self.reason {
            Reason::UnknownService(_) => None,
            Reason::UnknownOperation { protocol, .. } | Reason::BadUri(_, protocol) => Some(*protocol),
        }
    }

    /// The operation that was asked for, if the request names one.
    pub fn operation(&self) -> Option<&str> {
        match &self.reason {
            Reason::UnknownOperation { name, .. } => name.as_deref(),
            _ => None,
        }
    }

    /// The answer that no protocol frames: JSON services tell requests that are not in their protocol so.
    ///
    /// Recorded: DynamoDB and Kinesis.
    pub fn verbatim(&self) -> Option<Response> {
        let Reason::UnknownOperation { protocol, .. } = &self.reason else { return None };
        let is_json = matches!(protocol, Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::AmzCbor11);
        if !is_json || self.is_framed {
            return None;
        }
        let body = Bytes::from_static(b"<UnknownOperationException/>\n");
        let mut response = Response::new(StatusCode::NOT_FOUND, body);
        response.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        Some(response)
    }

    /// The fault to frame in [`RouteError::protocol`], where there is no [`RouteError::verbatim`] answer.
    pub fn into_fault(self) -> Fault {
        match &self.reason {
            Reason::UnknownService(name) if name.is_empty() => unsigned_and_unknown(),
            // Chosen: AWS has no host that all services share, so it has no words for this.
            Reason::UnknownService(name) => Fault::framework(
                "UnknownOperationException",
                404,
                format!("The service {name} is not known here."),
            ),
            Reason::UnknownOperation { service, protocol, name, version } => match protocol {
                Protocol::AwsQuery | Protocol::Ec2Query => {
                    unknown_action(name.as_deref(), version.as_deref())
                }
                Protocol::RestJson1 if !self.is_signed => unsigned_and_unknown(),
                Protocol::RestJson1 => undetermined(),
                Protocol::RestXml if service.name == super::s3::SERVICE => self.method_not_allowed(),
                Protocol::RestXml => Fault::framework("UnknownOperationException", 404, ""),
                Protocol::RpcV2Cbor => Fault::framework("UnknownOperationException", 404, ""),
                Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::AmzCbor11 => {
                    Fault::framework("UnknownOperationException", 400, "")
                }
            },
            Reason::BadUri(..) => Fault::framework("InvalidURI", 400, "Couldn't parse the specified URI."),
        }
    }

    fn method_not_allowed(&self) -> Fault {
        Fault::framework(
            "MethodNotAllowed",
            405,
            "The specified method is not allowed against this resource.",
        )
        .with_extra("Method", self.method.as_str())
        .with_extra("ResourceType", self.resource)
    }
}

/// What AWS's front answers to a path that nothing owns, unsigned.
fn unsigned_and_unknown() -> Fault {
    Fault::framework("MissingAuthenticationTokenException", 403, "Missing Authentication Token")
}

/// What it answers to the same, signed.
fn undetermined() -> Fault {
    Fault::framework(
        "AccessDeniedException",
        403,
        "Unable to determine service/operation name to be authorized",
    )
}

fn unknown_action(name: Option<&str>, version: Option<&str>) -> Fault {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Fault::framework("MissingAction", 400, "Missing Action");
    };
    let version = version.unwrap_or("NO_VERSION_SPECIFIED");
    Fault::framework("InvalidAction", 400, format!("Could not find operation {name} for version {version}"))
}
