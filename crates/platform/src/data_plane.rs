//! Requests to what customers have made, as the service that owns it is handed them.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pileus_core::{AccountId, BoxFuture, Region, Timestamp};
use pileus_wire::protocol::Protocol;
use pileus_wire::sigv4::{self, RequestView};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Fault;
use crate::authn::{self, Claim};
use crate::body::{Body, BodyError};
use crate::caller::Caller;
use crate::cx::Cx;
use crate::pipeline::{Inbound, origin};
use crate::platform::Platform;

/// A connection as bytes, both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Duplex for T {}

/// A connection that can leave HTTP: it is handed over once the answer (`101 Switching Protocols`) has been written.
pub struct Upgrade(Mutex<BoxFuture<'static, io::Result<Box<dyn Duplex>>>>);

impl Upgrade {
    pub fn new(connection: impl Future<Output = io::Result<Box<dyn Duplex>>> + Send + 'static) -> Upgrade {
        Upgrade(Mutex::new(Box::pin(connection)))
    }

    /// # Errors
    /// When another answer was given, or the client has left.
    pub async fn connection(self) -> io::Result<Box<dyn Duplex>> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).await
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrade")
    }
}

pub struct DataRequest {
    pub inbound: Inbound,
    pub request_id: Arc<str>,
    platform: Platform,
    now: Timestamp,
}

impl DataRequest {
    pub(crate) fn new(
        platform: Platform,
        inbound: Inbound,
        now: Timestamp,
        request_id: Arc<str>,
    ) -> DataRequest {
        DataRequest { inbound, request_id, platform, now }
    }

    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// `Host` as the client wrote it.
    pub fn host(&self) -> &str {
        let host = self.inbound.headers.get(http::header::HOST);
        host.and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    /// The whole body, once.
    ///
    /// # Errors
    /// `TooLarge` beyond `limit` bytes; a body that broke off.
    pub async fn collect(&mut self, limit: u64) -> Result<Bytes, BodyError> {
        let body = std::mem::replace(&mut self.inbound.body, Body::empty());
        let _room = self.platform.body_room(body.length).await;
        body.collect(limit).await
    }

    /// Who signed the request for `service`; anonymous if nobody did.
    ///
    /// # Errors
    /// As for requests to the service itself: a signature that cannot be read, or is wrong.
    pub async fn caller(&self, service: &str, operation: &str, body: &Bytes) -> Result<Caller, Fault> {
        let unknown = || Fault::framework("UnknownOperationException", 404, operation);
        let api = pileus_models::service(service).ok_or_else(unknown)?;
        let operation = api.operation(operation).ok_or_else(unknown)?;
        let Inbound { method, path, query, headers, .. } = &self.inbound;
        let signed = sigv4::parse(headers, query);
        if matches!(signed, Ok(None)) {
            return Ok(Caller::anonymous(AccountId::DEFAULT));
        }
        let view = RequestView { method: method.as_str(), path, query, headers, authority: None };
        let protocol = api.protocols.first().copied().unwrap_or(Protocol::RestJson1);
        let claim =
            Claim { api, operation, protocol, view, signed: &signed, body: Some(body), now: self.now };
        authn::authenticate(&self.platform, claim).await
    }

    /// The context of what the request causes.
    pub fn cx(&self, caller: Caller, region: Region) -> Cx {
        let Inbound { headers, peer, is_secure, .. } = &self.inbound;
        let origin = Arc::new(origin(headers, *peer, *is_secure));
        Cx::new(self.platform.clone(), caller, region, self.now, self.request_id.clone(), origin)
    }
}
