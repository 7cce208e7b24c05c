//! The listener: HTTP/1.1, cleartext HTTP/2 and TLS on one port, told apart by their first bytes.

mod head_timer;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyDataStream, BodyExt as _, Either, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use pileus_platform::body::Body;
use pileus_platform::pipeline::{self, Inbound};
use pileus_platform::{Duplex, Upgrade};
use pileus_wire::protocol::{self, ResponseBody};
use pileus_wire::value::{BoxStream, ByteStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsAcceptor;

use self::head_timer::{HeadTimer, LOOK_EVERY};
use crate::control;
use crate::node::Shared;

/// First byte of a TLS record that carries a handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a client may take to send its request line and headers, or its TLS hello.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// What a connection reads ahead of its body's reader, and the longest head.
const BUFFER: usize = 128 << 10;
/// How long open requests may take to end once the node stops.
const DRAIN: Duration = Duration::from_secs(10);

type ReplyBody = Either<Full<Bytes>, StreamBody<BoxStream<Frame<Bytes>, io::Error>>>;

/// Who comes in by a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Clients, and the operator.
    Public,
    /// Functions of this node: they may call services and nothing else.
    Functions,
}

/// Accepts connections until `stop` turns true, then lets the open ones finish.
pub(crate) async fn serve(
    listener: TcpListener,
    door: Door,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (shared, tls, stop) = (shared.clone(), tls.clone(), stop.clone());
                    connections.spawn(connection(stream, peer, door, tls, shared, stop));
                }
                // Out of descriptors or a connection that was reset before we took it: neither ends the node.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::task::yield_now().await;
                }
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    let drained = tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut: they did not end in time");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    door: Door,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let mut first = [0u8; 1];
    let peeked = tokio::time::timeout(HEADER_TIMEOUT, stream.peek(&mut first)).await;
    match (peeked, tls) {
        (Ok(Ok(1)), Some(tls)) if first[0] == TLS_HANDSHAKE => {
            match tokio::time::timeout(HEADER_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => requests(stream, peer, door, true, shared, stop).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "the TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
            }
        }
        (Ok(Ok(1)), _) => requests(stream, peer, door, false, shared, stop).await,
        // Closed before it said anything.
        _ => {}
    }
}

async fn requests<S>(
    stream: S,
    peer: SocketAddr,
    door: Door,
    is_secure: bool,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(HeadTimer).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER);
    server.http2().timer(TokioTimer::new()).max_concurrent_streams(256).max_header_list_size(64 << 10);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request, peer, door, is_secure).await) }
    });
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_stopping = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut connection => break ended,
            () = stopped(&mut stop), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            // The connection is polled again, and looks whether its head is late.
            _ = look.tick() => {}
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}

async fn answer(
    shared: &Arc<Shared>,
    mut request: Request<Incoming>,
    peer: SocketAddr,
    door: Door,
    is_secure: bool,
) -> Response<ReplyBody> {
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| upgrade(&mut request));
    let (mut parts, incoming) = request.into_parts();
    if !parts.headers.contains_key(header::HOST)
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    let length = http_body::Body::size_hint(&incoming).exact();
    let expects = parts.version < Version::HTTP_2 && parts.headers.contains_key(header::EXPECT);
    let drains = parts.version < Version::HTTP_2 && !expects;
    let frames = BodyDataStream::new(Unread { incoming: Some(incoming), drains }).map_err(io::Error::other);
    let inbound = Inbound {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: Body::new(ByteStream::new(frames), length),
        peer: Some(peer),
        is_secure,
        upgrade,
    };
    let mut response = match door {
        Door::Public => control::or_pipeline(shared, inbound).await,
        Door::Functions => pipeline::handle(&shared.platform(), inbound).await,
    };
    // A client that waits to be told to go on, and gets its answer instead, is told no more on this connection: botocore would
    // read the next answer by this one's status.
    let is_refused = response.status.as_u16() >= 300;
    if expects && (length == Some(0) || is_refused) {
        response.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    into_http(response)
}

/// The connection, for when the client has been told that it changes its protocol.
fn upgrade(request: &mut Request<Incoming>) -> Upgrade {
    let upgraded = hyper::upgrade::on(request);
    Upgrade::new(async move {
        let upgraded = upgraded.await.map_err(io::Error::other)?;
        Ok(Box::new(TokioIo::new(upgraded)) as Box<dyn Duplex>)
    })
}

/// A body that reads itself to its end once nobody wants it.
///
/// A client that is still sending when its connection is closed loses the answer that says why: what it sends then resets
/// the connection. So the rest is read and thrown away, for a while. HTTP/2 closes streams, not connections; a client
/// that waits to be told to continue is never told.
struct Unread {
    incoming: Option<Incoming>,
    drains: bool,
}

/// How long the rest of a refused body is read.
const REST: Duration = Duration::from_secs(30);

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|incoming| self.drains && !incoming.is_end_stream());
        if let (Some(mut rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(REST, async move {
                while let Some(Ok(_)) = rest.frame().await {}
            }));
        }
    }
}

fn into_http(response: protocol::Response) -> Response<ReplyBody> {
    let body = match response.body {
        ResponseBody::Bytes(bytes) => Either::Left(Full::new(bytes)),
        ResponseBody::Stream(mut stream) => match stream.take() {
            Some(stream) => {
                let frames: BoxStream<Frame<Bytes>, io::Error> =
                    Box::pin(stream.map(|chunk| chunk.map(Frame::data)));
                Either::Right(StreamBody::new(frames))
            }
            None => Either::Left(Full::new(Bytes::new())),
        },
    };
    let mut reply = Response::new(body);
    *reply.status_mut() = response.status;
    *reply.headers_mut() = response.headers;
    reply
}
