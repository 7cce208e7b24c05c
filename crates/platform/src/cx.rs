//! `Cx`: what an operation is handed.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use pileus_blobs::Blobs;
use pileus_core::{AccountId, Clock, Ids, Region, Rng, Timestamp};
use pileus_store::{Store, StoreError, Txn};
use pileus_wire::operation::Operation;
use pileus_wire::sigv4;
use pileus_wire::value::Struct;

use tracing::Instrument as _;

use crate::caller::{Caller, CallerKind};
use crate::dispatch;
use crate::platform::{LimitsProfile, Platform};
use crate::{Arn, Fault};

/// One request's context: who asks, where and when, and the means to answer. Cheap to clone.
///
/// `now()` is fixed for the whole request, so every record that it writes agrees.
#[derive(Clone)]
pub struct Cx(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    platform: Platform,
    caller: Caller,
    region: Region,
    now: Timestamp,
    request_id: Arc<str>,
    origin: Arc<Origin>,
    trace: Trace,
    /// Condition keys that a calling service adds: `aws:SourceArn`, `aws:SourceAccount`, ..
    context: Arc<[(String, String)]>,
}

/// Where a request came from. Calls from one service to another keep the origin of the request that caused them.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub source_ip: Option<IpAddr>,
    pub user_agent: String,
    /// Over TLS.
    pub is_secure: bool,
    /// `Host` as the client wrote it; empty for work that no request caused.
    pub host: String,
    pub referer: String,
    /// How the request was signed, of those to S3.
    pub signature: Option<RequestSignature>,
    /// The signature or the host says a region; else it is this node's default.
    pub has_region: bool,
}

/// What S3's condition keys tell of a signature.
#[derive(Debug, Clone)]
pub struct RequestSignature {
    /// `REST-HEADER`, `REST-QUERY-STRING`, `POST`
    pub form: &'static str,
    /// `AWS4-HMAC-SHA256`, `AWS`
    pub version: &'static str,
    pub signed_at: Option<Timestamp>,
    /// `x-amz-content-sha256`
    pub content_sha256: Option<String>,
}

/// What joins a request to the one that caused it, across services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The trace's id; `None` on the request that began it, whose own id and time make it.
    inherited: Option<Arc<str>>,
    /// Request id of the request that caused this one; empty for the first.
    pub parent: Arc<str>,
}

impl Trace {
    /// Of a request that nothing here caused.
    pub(crate) fn begin() -> Trace {
        Trace { inherited: None, parent: "".into() }
    }
}

impl Cx {
    pub(crate) fn new(
        platform: Platform,
        caller: Caller,
        region: Region,
        now: Timestamp,
        request_id: Arc<str>,
        origin: Arc<Origin>,
    ) -> Cx {
        Cx(Arc::new(Inner {
            platform,
            caller,
            region,
            now,
            request_id,
            origin,
            trace: Trace::begin(),
            context: Arc::new([]),
        }))
    }

    /// A context for work that no request caused (a worker, a timer), acting as a service principal in `account`.
    pub fn background(
        platform: &Platform,
        principal: &'static str,
        account: AccountId,
        region: Region,
    ) -> Cx {
        let now = platform.clock().now();
        let request_id: Arc<str> = platform.ids().uuid().into();
        let caller = Caller::service(principal, account);
        Cx::new(platform.clone(), caller, region, now, request_id, Arc::new(Origin::default()))
    }

    /// The moment of the request: the same for its whole life.
    pub fn now(&self) -> Timestamp {
        self.0.now
    }

    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// The account that is acted in: the caller's.
    pub fn account(&self) -> AccountId {
        self.0.caller.account
    }

    pub fn region(&self) -> &Region {
        &self.0.region
    }

    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub fn trace(&self) -> &Trace {
        &self.0.trace
    }

    /// The trace that this request belongs to, in the form of AWS X-Ray's ids: version, epoch seconds in hex, 24 hex digits.
    /// Made when it is asked for: the first request's own id holds the digits.
    ///
    /// Source: AWS X-Ray Developer Guide, "Sending trace data to X-Ray".
    pub fn trace_id(&self) -> Arc<str> {
        self.0.trace.inherited.clone().unwrap_or_else(|| {
            let digits: String = self.0.request_id.chars().filter(|c| *c != '-').collect();
            let unique = digits.get(digits.len().saturating_sub(24)..).unwrap_or_default();
            format!("1-{:08x}-{unique}", self.0.now.as_secs()).into()
        })
    }

    pub fn platform(&self) -> &Platform {
        &self.0.platform
    }

    pub fn store(&self) -> &Store {
        self.0.platform.store()
    }

    /// Large objects. A service takes its own: `cx.blobs().area("lambda")`.
    pub fn blobs(&self) -> &Blobs {
        self.0.platform.blobs()
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.0.platform.clock()
    }

    pub fn ids(&self) -> &Ids {
        self.0.platform.ids()
    }

    pub fn rng(&self) -> &Arc<dyn Rng> {
        self.0.platform.ids().rng()
    }

    /// Whether AWS's own quotas are in force.
    pub fn limits(&self) -> LimitsProfile {
        self.0.platform.config().limits
    }

    pub(crate) fn extra_context(&self) -> &[(String, String)] {
        &self.0.context
    }

    /// State that a service keeps in memory (caches, cursors, waiters), registered with `Service::state`.
    ///
    /// # Panics
    /// When the service did not register a `T`: a fault in its `service()` function.
    pub fn state<T: Send + Sync + 'static>(&self) -> &T {
        self.0.platform.state::<T>()
    }

    /// `http://localhost:4566`: how the client reached us, for URLs in answers. Falls back to the configured endpoint.
    pub fn endpoint(&self) -> String {
        let origin = self.origin();
        if origin.host.is_empty() {
            return self.0.platform.config().endpoint.clone();
        }
        format!("{}://{}", if origin.is_secure { "https" } else { "http" }, origin.host)
    }

    /// An ARN in this request's partition, region and account.
    pub fn arn(&self, service: &str, resource: &str) -> Arn {
        let region = self.region();
        Arn::new(region.partition(), service, region.as_str(), self.account().as_str(), resource)
    }

    /// Runs `body` in a transaction, again after each conflict, so it only reads and writes. See `Store::transact`.
    pub async fn transact<T, E, F, Fut>(&self, body: F) -> Result<T, E>
    where
        F: FnMut(Txn) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send,
        E: From<StoreError>,
    {
        self.store().transact(body).await
    }

    /// The same request seen as another principal's.
    pub fn with_caller(&self, caller: Caller) -> Cx {
        Cx(Arc::new(Inner { caller, ..(*self.0).clone() }))
    }

    pub fn with_region(&self, region: Region) -> Cx {
        Cx(Arc::new(Inner { region, ..(*self.0).clone() }))
    }

    /// For calls that a service makes in its own name on behalf of a resource: `source` becomes `aws:SourceArn`, its
    /// account `aws:SourceAccount`.
    pub fn as_service(&self, principal: &'static str, source: &Arn) -> Cx {
        let account = AccountId::parse(source.account()).unwrap_or(self.account());
        let context = Arc::new([
            ("aws:SourceArn".to_owned(), source.as_str().to_owned()),
            ("aws:SourceAccount".to_owned(), account.as_str().to_owned()),
        ]);
        Cx(Arc::new(Inner { caller: Caller::service(principal, account), context, ..(*self.0).clone() }))
    }

    /// For calls that a service makes with a role that it was given. The role's trust policy must let `principal` in.
    ///
    /// # Errors
    /// `AccessDenied` when the role is missing or does not trust `principal`.
    pub async fn as_role(
        &self,
        role_arn: &str,
        principal: &'static str,
        session_name: &str,
    ) -> Result<Cx, Fault> {
        let caller = crate::authz::assume_for_service(self, role_arn, principal, session_name).await?;
        Ok(self.with_caller(caller))
    }

    /// Whether the caller may do this, by the policies that apply: for a service that must tell before it acts.
    pub async fn is_allowed(&self, service: &str, access: &crate::Access) -> Result<bool, Fault> {
        crate::authz::is_allowed(self, service, access).await
    }

    /// Lets the request pass, or says why not, by the policies that apply: for a service whose permissions follow from what an
    /// operation finds on its way.
    ///
    /// # Errors
    /// `AccessDenied` with AWS's sentence.
    pub async fn authorise(&self, service: &str, access: &crate::Access) -> Result<(), Fault> {
        crate::authz::authorise_one(self, service, access).await
    }

    /// The same request, made by whoever signed the policy of an S3 POST form.
    ///
    /// # Errors
    /// As for any signature: unknown key, expired token, wrong signature.
    pub async fn as_signer_of(&self, policy: &pileus_wire::post_policy::SignedPolicy) -> Result<Cx, Fault> {
        let caller = crate::authn::authenticate_policy(self.platform(), policy, self.now()).await?;
        Ok(self.signed_by_form(caller, sigv4::ALGORITHM))
    }

    /// As `as_signer_of`, of a form signed with Version 2: access key, policy in base64, signature, session token.
    ///
    /// # Errors
    /// As `as_signer_of`.
    pub async fn as_signer_of_v2(
        &self,
        access_key: &str,
        policy: &str,
        signature: &str,
        token: Option<&str>,
    ) -> Result<Cx, Fault> {
        let caller = crate::authn::authenticate_policy_v2(
            self.platform(),
            (access_key, token),
            (policy, signature),
            self.now(),
        );
        Ok(self.signed_by_form(caller.await?, "AWS"))
    }

    fn signed_by_form(&self, caller: Caller, version: &'static str) -> Cx {
        let signature = RequestSignature { form: "POST", version, signed_at: None, content_sha256: None };
        let origin = Origin { signature: Some(signature), ..self.origin().clone() };
        Cx(Arc::new(Inner { caller, origin: Arc::new(origin), ..(*self.0).clone() }))
    }

    /// Calls an operation of another service by the door that requests use: validated, authorised as `caller()`, recorded.
    pub async fn call<I: Struct, O: Struct>(&self, operation: Operation<I, O>, input: I) -> Result<O, Fault> {
        let output = self.call_dynamic(operation.service, operation.name, Box::new(input)).await?;
        let output: Box<dyn std::any::Any> = output;
        match output.downcast::<O>() {
            Ok(output) => Ok(*output),
            Err(_) => Err(Fault::receiver(
                "InternalFailure",
                "an operation answered with another type than its own",
            )),
        }
    }

    /// As `call`, with the operation named at run time and its input a dynamic (or the right generated) value.
    pub async fn call_dynamic(
        &self,
        service: &str,
        operation: &str,
        input: Box<dyn Struct>,
    ) -> Result<Box<dyn Struct>, Fault> {
        let unknown = || Fault::framework("UnknownOperationException", 404, format!("{service}:{operation}"));
        let api = pileus_models::service(service).ok_or_else(unknown)?;
        let modelled = api.operation(operation).ok_or_else(unknown)?;
        let cx = self.caused_by_this();
        // Inside the span of the request that caused it, so that a log line shows the whole way.
        let span = tracing::debug_span!("call", request_id = cx.request_id(), service = api.name, operation);
        dispatch::dispatch(&cx, api, modelled, input).instrument(span).await
    }

    /// A new request id whose parent is this request.
    fn caused_by_this(&self) -> Cx {
        let trace = Trace { inherited: Some(self.trace_id()), parent: self.0.request_id.clone() };
        let request_id = self.ids().uuid().into();
        Cx(Arc::new(Inner { trace, request_id, ..(*self.0).clone() }))
    }

    /// Whether a service principal makes this request.
    pub fn is_from_service(&self) -> bool {
        matches!(self.caller().kind, CallerKind::Service { .. })
    }
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cx({} as {})", self.0.request_id, self.0.caller.arn)
    }
}
