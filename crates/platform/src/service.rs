//! How a service describes itself: its operations, who may call them on what, its state, its background work.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use pileus_core::BoxFuture;
use pileus_wire::operation::Operation;
use pileus_wire::protocol::Response;
use pileus_wire::route::HostKind;
use pileus_wire::value::Struct;

use crate::Fault;
use crate::authz::{Access, ResourcePolicy};
use crate::cx::Cx;
use crate::data_plane::DataRequest;
use crate::edge::Edge;
use crate::platform::Platform;

/// One AWS API as this node answers it.
///
/// ```ignore
/// pub fn service() -> Service {
///     Service::new(sqs::SERVICE)
///         .state(Queues::default())
///         .resource_policy(queue::policy)
///         .op(sqs::SEND_MESSAGE, message::send_message)
///         .access(sqs::SEND_MESSAGE, |cx, input| access::queue(cx, "sqs:SendMessage", input.queue_url.as_deref()))
/// }
/// ```
pub struct Service {
    pub(crate) name: &'static str,
    pub(crate) operations: HashMap<&'static str, Entry>,
    pub(crate) resource_policy: Option<ResourcePolicyFn>,
    pub(crate) states: Vec<(TypeId, Box<dyn Any + Send + Sync>)>,
    pub(crate) workers: Vec<(&'static str, WorkerFn)>,
    pub(crate) data_plane: Option<DataPlane>,
    pub(crate) edge: Option<Box<dyn Edge>>,
    pub(crate) claims: Option<Claims>,
}

/// Whether a request to a host of AWS's own, or of no domain of ours, belongs to what a customer has made.
pub(crate) type Claims = fn(&Platform, &HostKind<'_>, &str) -> bool;

/// Requests to what customers have made, by the host that they are sent to.
pub(crate) struct DataPlane {
    pub(crate) owns: fn(&HostKind<'_>) -> bool,
    pub(crate) answer: Box<dyn Fn(DataRequest) -> BoxFuture<'static, Response> + Send + Sync>,
}

#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) new_input: Option<fn() -> Box<dyn Struct>>,
    pub(crate) run: Option<RunFn>,
    pub(crate) access: Option<AccessFn>,
}

type RunFn = Box<
    dyn for<'a> Fn(&'a Cx, Box<dyn Struct>) -> BoxFuture<'a, Result<Box<dyn Struct>, Fault>> + Send + Sync,
>;
/// How the permissions that a request needs are found out.
pub(crate) enum AccessFn {
    /// From the request alone: nothing is allocated for asking.
    Known(Box<KnownAccessFn>),
    /// From what is stored.
    LookedUp(Box<LookedUpAccessFn>),
}
type KnownAccessFn = dyn Fn(&Cx, &dyn Struct) -> Result<Vec<Access>, Fault> + Send + Sync;
type LookedUpAccessFn =
    dyn for<'a> Fn(&'a Cx, &'a dyn Struct) -> BoxFuture<'a, Result<Vec<Access>, Fault>> + Send + Sync;
pub(crate) type ResourcePolicyFn = Box<
    dyn for<'a> Fn(&'a Cx, &'a str) -> BoxFuture<'a, Result<Option<ResourcePolicy>, Fault>> + Send + Sync,
>;
pub(crate) type WorkerFn = Box<dyn Fn(Platform) -> BoxFuture<'static, ()> + Send + Sync>;

/// An `async fn(&Cx, Input) -> Result<Output, E>`. Implemented for every such function; the trait exists because bounds on
/// the function itself cannot say that its future may borrow the context.
pub trait Handler<'a, I, R>: Send + Sync + 'static {
    type Future: Future<Output = R> + Send + 'a;
    fn call(&self, cx: &'a Cx, input: I) -> Self::Future;
}

impl<'a, I, R, F, Fut> Handler<'a, I, R> for F
where
    F: Fn(&'a Cx, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'a,
{
    type Future = Fut;
    fn call(&self, cx: &'a Cx, input: I) -> Fut {
        self(cx, input)
    }
}

impl Service {
    /// `name` is the model's: `sqs`. Operations that are not added answer that they are not implemented.
    pub fn new(name: &'static str) -> Service {
        Service {
            name,
            operations: HashMap::new(),
            resource_policy: None,
            states: Vec::new(),
            workers: Vec::new(),
            data_plane: None,
            edge: None,
            claims: None,
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the operation was added.
    pub fn implements(&self, operation: &str) -> bool {
        self.operations.get(operation).is_some_and(|entry| entry.run.is_some())
    }

    /// Adds an operation.
    pub fn op<I, O, E, H>(mut self, operation: Operation<I, O>, handler: H) -> Service
    where
        I: Struct + Default,
        O: Struct,
        E: Into<Fault> + 'static,
        H: for<'a> Handler<'a, I, Result<O, E>>,
    {
        let handler = Arc::new(handler);
        let entry = self.entry(operation.service, operation.name);
        entry.new_input = Some(|| Box::new(I::default()));
        entry.run = Some(Box::new(move |cx, input| {
            let handler = handler.clone();
            Box::pin(async move {
                let input = typed::<I>(input)?;
                match handler.call(cx, input).await {
                    Ok(output) => Ok(Box::new(output) as Box<dyn Struct>),
                    Err(error) => Err(error.into()),
                }
            })
        }));
        self
    }

    /// What a caller of the operation must be allowed to do. Without this it is the operation's own action on `*`. An empty
    /// list means that the operation needs no permission.
    pub fn access<I, O, F>(mut self, operation: Operation<I, O>, access: F) -> Service
    where
        I: Struct + Default,
        O: Struct,
        F: Fn(&Cx, &I) -> Result<Vec<Access>, Fault> + Send + Sync + 'static,
    {
        let known: Box<KnownAccessFn> = Box::new(move |cx, input| access(cx, typed_ref(input)?));
        self.entry(operation.service, operation.name).access = Some(AccessFn::Known(known));
        self
    }

    /// As [`Service::access`], for what the request does not say itself: a resource's path, its tags.
    pub fn access_async<I, O, F>(mut self, operation: Operation<I, O>, access: F) -> Service
    where
        I: Struct + Default,
        O: Struct,
        F: for<'a> AccessFinder<'a, I>,
    {
        let looked_up: Box<LookedUpAccessFn> = Box::new(move |cx, input| match typed_ref(input) {
            Ok(input) => Box::pin(access.find(cx, input)),
            Err(fault) => Box::pin(std::future::ready(Err(fault))),
        });
        self.entry(operation.service, operation.name).access = Some(AccessFn::LookedUp(looked_up));
        self
    }

    /// The policy of a resource of this service, by its ARN.
    pub fn resource_policy<F>(mut self, find: F) -> Service
    where
        F: for<'a> PolicyFinder<'a>,
    {
        self.resource_policy = Some(Box::new(move |cx, arn| Box::pin(find.find(cx, arn))));
        self
    }

    /// State in memory for `Cx::state`: caches, cursors and waiters, never truth.
    pub fn state<T: Send + Sync + 'static>(mut self, state: T) -> Service {
        self.states.push((TypeId::of::<T>(), Box::new(state)));
        self
    }

    /// Background work that every node runs from its start until it stops. Work that one node at a time may do takes a lease.
    pub fn worker<F, Fut>(mut self, name: &'static str, worker: F) -> Service
    where
        F: Fn(Platform) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.workers.push((name, Box::new(move |platform| Box::pin(worker(platform)))));
        self
    }

    /// Answers requests to hosts that belong to what customers have made: function URLs, APIs, websites. Nothing has been checked
    /// of them: neither a signature nor a permission.
    pub fn data_plane<F, Fut>(mut self, owns: fn(&HostKind<'_>) -> bool, answer: F) -> Service
    where
        F: Fn(DataRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response> + Send + 'static,
    {
        let answer = Box::new(move |request| -> BoxFuture<'static, Response> { Box::pin(answer(request)) });
        self.data_plane = Some(DataPlane { owns, answer });
        self
    }

    /// What the service does with requests beyond their operations. See [`Edge`].
    pub fn edge(mut self, edge: impl Edge) -> Service {
        self.edge = Some(Box::new(edge));
        self
    }

    /// Lets the data plane also answer requests to other hosts, told by their path (`/_aws/execute-api/..`) or by a name that a
    /// customer has registered. It is asked for every request, so it looks at memory only.
    pub fn claims(mut self, claims: fn(&Platform, &HostKind<'_>, &str) -> bool) -> Service {
        self.claims = Some(claims);
        self
    }

    fn entry(&mut self, service: &'static str, operation: &'static str) -> &mut Entry {
        assert_eq!(service, self.name, "{operation} belongs to another service");
        self.operations.entry(operation).or_default()
    }
}

/// An `async fn(&Cx, &str) -> Result<Option<ResourcePolicy>, Fault>`.
pub trait PolicyFinder<'a>: Send + Sync + 'static {
    type Future: Future<Output = Result<Option<ResourcePolicy>, Fault>> + Send + 'a;
    fn find(&self, cx: &'a Cx, arn: &'a str) -> Self::Future;
}

impl<'a, F, Fut> PolicyFinder<'a> for F
where
    F: Fn(&'a Cx, &'a str) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<ResourcePolicy>, Fault>> + Send + 'a,
{
    type Future = Fut;
    fn find(&self, cx: &'a Cx, arn: &'a str) -> Fut {
        self(cx, arn)
    }
}

/// An `async fn(&Cx, &Input) -> Result<Vec<Access>, Fault>`.
pub trait AccessFinder<'a, I>: Send + Sync + 'static {
    type Future: Future<Output = Result<Vec<Access>, Fault>> + Send + 'a;
    fn find(&self, cx: &'a Cx, input: &'a I) -> Self::Future;
}

impl<'a, I, F, Fut> AccessFinder<'a, I> for F
where
    I: 'a,
    F: Fn(&'a Cx, &'a I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<Access>, Fault>> + Send + 'a,
{
    type Future = Fut;
    fn find(&self, cx: &'a Cx, input: &'a I) -> Fut {
        self(cx, input)
    }
}

fn typed_ref<I: Struct>(input: &dyn Struct) -> Result<&I, Fault> {
    let input: &dyn Any = input;
    input
        .downcast_ref()
        .ok_or_else(|| Fault::receiver("InternalFailure", "an input reached authorisation in another type"))
}

/// The input in its own type: `dispatch` has read dynamic values over into it before.
fn typed<I: Struct>(input: Box<dyn Struct>) -> Result<I, Fault> {
    let input: Box<dyn Any> = input;
    match input.downcast::<I>() {
        Ok(input) => Ok(*input),
        Err(_) => Err(Fault::receiver("InternalFailure", "an input reached its handler in another type")),
    }
}
