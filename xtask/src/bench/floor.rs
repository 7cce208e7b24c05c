//! The floor of every request: hyper, answering constants of the size of real answers, swallowing bodies, streaming a file.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

const ANSWER: &[u8] = br#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><UserId>000000000000</UserId><Account>000000000000</Account><Arn>arn:aws:iam::000000000000:root</Arn></GetCallerIdentityResult><ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata></GetCallerIdentityResponse>"#;

/// An object of 4 KB.
const OBJECT: &[u8] = &[b'x'; 4 << 10];

/// An answer of 1 KB.
const ITEM: &[u8] = &[b'x'; 1 << 10];

/// What is read of a file at a time.
const PIECE: u64 = 256 << 10;

type Pieces = futures_util::stream::BoxStream<'static, io::Result<Frame<Bytes>>>;
type Answer = Response<Either<Full<Bytes>, StreamBody<Pieces>>>;

pub async fn serve(port: u16) -> Result<(), String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    loop {
        let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(request).await) });
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// `/object`, `/item`, `/sink`, `/file?path`; anything else is somebody who asks who they are.
async fn answer(request: Request<Incoming>) -> Answer {
    let (parts, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    match parts.uri.path() {
        "/object" => constant(OBJECT),
        "/item" => constant(ITEM),
        "/sink" => constant(b""),
        "/file" => file(parts.uri.query().unwrap_or_default()).await.unwrap_or_else(|_| {
            let mut answer = constant(b"no such file");
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }),
        _ => constant(ANSWER),
    }
}

fn constant(bytes: &'static [u8]) -> Answer {
    Response::new(Either::Left(Full::new(Bytes::from_static(bytes))))
}

async fn file(path: &str) -> io::Result<Answer> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok::<_, io::Error>((file, length))
    });
    let (file, length) = opened.await.map_err(io::Error::other)??;
    let pieces: Pieces = Box::pin(pieces(file, length));
    let mut answer = Response::new(Either::Right(StreamBody::new(pieces)));
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    Ok(answer)
}

fn pieces(file: File, length: u64) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    futures_util::stream::try_unfold((Arc::new(file), 0), move |(file, start)| async move {
        let size = PIECE.min(length - start);
        if size == 0 {
            return Ok(None);
        }
        let reading = file.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; size as usize];
            reading.read_exact_at(&mut piece, start)?;
            Ok::<_, io::Error>(Bytes::from(piece))
        });
        let piece = read.await.map_err(io::Error::other)??;
        Ok(Some((Frame::data(piece), (file, start + size))))
    })
}
