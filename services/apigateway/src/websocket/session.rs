//! A connection from its handshake to `$disconnect`.
//!
//! Source: "Quotas for configuring and running a WebSocket API in API Gateway" (10 minutes idle, 2 hours in all, 128 KB a message, 32 KB a
//! frame); Developer Guide, "Binary media types for WebSocket APIs" (binary frames close with 1003).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use pileus_core::{BoxFuture, Timestamp};
use pileus_platform::{Caller, Cx, Duplex, Platform, Upgrade};
use pileus_store::StoreError;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::connections::{self, Command, ConnectionRow, Connections, Handle};
use super::event::{EventType, Happening};
use super::manage::LONGEST_MESSAGE;
use super::route;
use crate::front::{By, Target};
use crate::http::compiled;
use crate::http::execute::request_id;
use crate::keys::{Kind, find_api};

const IDLE: Duration = Duration::from_secs(600);
const LONGEST: Duration = Duration::from_secs(7_200);
const LONGEST_FRAME: usize = 32 << 10;
/// Messages of one client that are worked on at a time; it is not read from while there are so many.
const AT_A_TIME: usize = 16;
/// Messages to a client that wait; whoever has more to say waits too.
const WAITING: usize = 16;
/// How long a client may take to take a message.
const WRITE: Duration = Duration::from_secs(30);
/// How long it may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);
/// How old the time of the last message in the row may be.
const ROW_AGE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<Box<dyn Duplex>>;

struct Session {
    cx: Cx,
    id: String,
    row: ConnectionRow,
    handle: Arc<Handle>,
}

/// Takes the connection over once the answer to its handshake is written.
///
/// # Errors
/// Those of the store: then there is no connection.
pub async fn begin(cx: &Cx, upgrade: Upgrade, id: String, row: ConnectionRow) -> Result<(), StoreError> {
    connections::keep(cx.store(), &id, &row).await?;
    let (commands, received) = mpsc::channel(WAITING);
    let handle = Arc::new(Handle { commands, last_active: AtomicI64::new(cx.now().as_millis()) });
    cx.state::<Connections>().add(&id, handle.clone());
    let session = Session { cx: cx.clone(), id, row, handle };
    tokio::spawn(async move {
        let closed = match upgrade.connection().await {
            Ok(connection) => session.run(connection, received).await,
            Err(error) => {
                tracing::debug!(%error, "a client left before its connection began");
                session.forget().await;
                (1006, String::new())
            }
        };
        disconnect(session.cx.platform(), &session.id, &session.row, &closed).await;
    });
    Ok(())
}

fn close(code: CloseCode, reason: &'static str) -> CloseFrame {
    CloseFrame { code, reason: reason.into() }
}

/// What to do after something happened.
enum Next {
    GoOn,
    Close(CloseFrame),
    /// The client closed, or is gone.
    Closed(u16, String),
}

impl Session {
    /// Until the connection has ended, and nobody finds it any more; its code and reason.
    async fn run(&self, connection: Box<dyn Duplex>, mut commands: mpsc::Receiver<Command>) -> (u16, String) {
        let config = WebSocketConfig::default()
            .read_buffer_size(2 << 10)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * LONGEST_MESSAGE)
            .max_message_size(Some(LONGEST_MESSAGE))
            .max_frame_size(Some(LONGEST_FRAME));
        let mut socket = WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await;
        let mut working: JoinSet<Option<String>> = JoinSet::new();
        let mut timer = self.timer();
        loop {
            let next = tokio::select! {
                biased;
                frame = socket.next(), if working.len() < AT_A_TIME => self.received(frame, &mut working).await,
                Some(command) = commands.recv() => match command {
                    Command::Send(data) => {
                        self.handle.last_active.store(self.now().as_millis(), Ordering::Relaxed);
                        let message = match String::from_utf8(data.into()) {
                            Ok(text) => Message::text(text),
                            Err(bytes) => Message::binary(bytes.into_bytes()),
                        };
                        send(&mut socket, message).await
                    }
                    Command::Close => Next::Close(close(CloseCode::Normal, "Connection Closed Normally")),
                },
                Some(done) = working.join_next() => match done {
                    Ok(Some(answer)) => send(&mut socket, Message::text(answer)).await,
                    Ok(None) => Next::GoOn,
                    Err(error) => {
                        tracing::error!(%error, "the work for a message ended with a panic");
                        Next::GoOn
                    }
                },
                () = &mut timer => {
                    timer = self.timer();
                    self.late()
                }
            };
            match next {
                Next::GoOn => {}
                Next::Closed(code, reason) => {
                    self.forget().await;
                    return (code, reason);
                }
                Next::Close(frame) => {
                    // Whoever is told that the connection ends finds it gone.
                    self.forget().await;
                    let (code, reason) = (u16::from(frame.code), frame.reason.to_string());
                    let _ = tokio::time::timeout(GOODBYE, goodbye(&mut socket, frame)).await;
                    return (code, reason);
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.cx.clock().now()
    }

    fn ends_at(&self) -> Timestamp {
        (self.handle.last_active() + IDLE).min(self.row.connected_at + LONGEST)
    }

    fn timer(&self) -> BoxFuture<'static, ()> {
        self.cx.clock().sleep_until(self.ends_at())
    }

    fn late(&self) -> Next {
        match self.now() >= self.ends_at() {
            true => Next::Close(close(CloseCode::Away, "Going away")),
            false => Next::GoOn,
        }
    }

    async fn received(
        &self,
        frame: Option<Result<Message, Error>>,
        working: &mut JoinSet<Option<String>>,
    ) -> Next {
        let now = self.now();
        self.handle.last_active.store(now.as_millis(), Ordering::Relaxed);
        match frame {
            None => Next::Closed(1006, String::new()),
            Some(Ok(Message::Text(text))) => {
                if now > self.row.last_active_at + ROW_AGE && self.cx.store().kv().shared_time().is_some() {
                    let row = ConnectionRow { last_active_at: now, ..self.row.clone() };
                    if let Err(error) = connections::keep(self.cx.store(), &self.id, &row).await {
                        tracing::debug!(%error, "the time of a connection's last message cannot be kept");
                    }
                }
                let (platform, id, row) = (self.cx.platform().clone(), self.id.clone(), self.row.clone());
                let region = self.row.region.clone();
                let cx = Cx::background(&platform, crate::PRINCIPAL, row.account, region);
                let cx = cx.with_caller(Caller::anonymous(row.account));
                working.spawn(async move { message(&cx, &id, &row, text.as_str()).await });
                Next::GoOn
            }
            Some(Ok(Message::Binary(_))) => {
                Next::Close(close(CloseCode::Unsupported, "Binary frames are not supported"))
            }
            Some(Ok(Message::Close(frame))) => match frame {
                Some(frame) => Next::Closed(frame.code.into(), frame.reason.to_string()),
                None => Next::Closed(1005, "Client-side close frame status not set".to_owned()),
            },
            Some(Ok(_)) => Next::GoOn,
            Some(Err(Error::Capacity(_))) => Next::Close(close(CloseCode::Size, "Message too long")),
            Some(Err(Error::Utf8(_))) => Next::Close(close(CloseCode::Invalid, "Invalid text")),
            Some(Err(Error::Protocol(_))) => Next::Close(close(CloseCode::Protocol, "Protocol error")),
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection broke");
                Next::Closed(1006, String::new())
            }
        }
    }

    async fn forget(&self) {
        self.cx.state::<Connections>().remove(&self.id);
        if let Err(error) = connections::forget(self.cx.store(), &self.id).await {
            tracing::warn!(%error, "a connection that ended cannot be forgotten");
        }
    }
}

/// Says why the connection ends, and waits until the client knows.
async fn goodbye(socket: &mut Socket, frame: CloseFrame) {
    let _ = socket.close(Some(frame)).await;
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() {
            return;
        }
    }
    // After a frame that was not read to its end there is no next one. What the client still sends must be taken all the same:
    // a connection that is dropped with something unread is reset, and the client may never see the reason.
    let stream = socket.get_mut();
    let _ = stream.shutdown().await;
    let mut rest = vec![0; 4 << 10];
    while let Ok(1..) = stream.read(&mut rest).await {}
}

async fn send(socket: &mut Socket, message: Message) -> Next {
    match tokio::time::timeout(WRITE, socket.send(message)).await {
        Ok(Ok(())) => Next::GoOn,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a message cannot be sent");
            Next::Closed(1006, String::new())
        }
        Err(_) => Next::Closed(1006, "the client did not read".to_owned()),
    }
}

/// The stage that a connection belongs to, as it is now.
async fn stage_of(cx: &Cx, row: &ConnectionRow) -> Option<Arc<compiled::Stage>> {
    let (id_row, version) = find_api(cx.store(), &row.api_id).await.ok()??;
    let target = Target {
        id: row.api_id.clone(),
        kind: Kind::WebSocket,
        account: id_row.account,
        region: id_row.region,
        version,
        stage: Some(row.stage.clone()),
        path: "/".to_owned(),
        full_path: "/".to_owned(),
        domain_name: row.domain_name.clone(),
        by: By::Endpoint,
    };
    let api = compiled::find(cx.platform(), &target).await.ok()??;
    api.stages.get(&row.stage).cloned()
}

/// Works on a message; what the client is told of it.
async fn message(cx: &Cx, id: &str, row: &ConnectionRow, text: &str) -> Option<String> {
    let request_id = request_id(cx.request_id());
    let refuse = |message: &str| {
        Some(json!({ "message": message, "connectionId": id, "requestId": request_id }).to_string())
    };
    let Some(stage) = stage_of(cx, row).await else { return refuse("Forbidden") };
    let Some((at, route)) = route::of_message(&stage, text) else { return refuse("Forbidden") };
    if !stage.admits(at, cx.clock().monotonic()) {
        return refuse("Too Many Requests");
    }
    let none = BTreeMap::new();
    let happening = Happening {
        kind: EventType::Message,
        connection_id: id,
        row,
        route_key: route.route_key.as_deref().unwrap_or_default(),
        request_id: &request_id,
        at: cx.now(),
        variables: stage.row.stage_variables.as_ref().unwrap_or(&none),
        body: Some(text),
        request: None,
        closed: None,
    };
    match route::integrate(cx, &stage, route, &happening).await {
        Ok(Some(answer)) if route::answers(&stage, route) && !answer.body.is_empty() => Some(answer.body),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(api = %row.api_id, route = happening.route_key, %error, "an integration gave no answer");
            refuse("Internal server error")
        }
    }
}

async fn disconnect(platform: &Platform, id: &str, row: &ConnectionRow, closed: &(u16, String)) {
    let cx = Cx::background(platform, crate::PRINCIPAL, row.account, row.region.clone());
    let cx = cx.with_caller(Caller::anonymous(row.account));
    let Some(stage) = stage_of(&cx, row).await else { return };
    let Some((_, route)) = route::by_key(&stage, "$disconnect") else { return };
    let request_id = request_id(cx.request_id());
    let none = BTreeMap::new();
    let happening = Happening {
        kind: EventType::Disconnect,
        connection_id: id,
        row,
        route_key: "$disconnect",
        request_id: &request_id,
        at: cx.now(),
        variables: stage.row.stage_variables.as_ref().unwrap_or(&none),
        body: None,
        request: None,
        closed: Some((closed.0, &closed.1)),
    };
    if let Err(error) = route::integrate(&cx, &stage, route, &happening).await {
        tracing::warn!(api = %row.api_id, route = "$disconnect", %error, "an integration gave no answer");
    }
}

/// `$disconnect` for a connection whose node is gone.
pub async fn disconnect_lost(platform: &Platform, id: &str, row: ConnectionRow) {
    disconnect(platform, id, &row, &(1006, String::new())).await;
}
