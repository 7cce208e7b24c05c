//! `SelectObjectContent`: queries over one object, answered as a stream of events.
//!
//! | File                | Holds                                         |
//! |---------------------|-----------------------------------------------|
//! | `select/sql.rs`     | the language: pure                            |
//! | `select/value.rs`   | values: pure                                  |
//! | `select/moments.rs` | dates: pure                                   |
//! | `select/eval.rs`    | queries over records: pure                    |
//! | `select/read.rs`    | records of CSV and JSON, compressed too: pure |
//! | `select/write.rs`   | rows as CSV and JSON: pure                    |
//!
//! The object is read as it comes, and no faster than the answer is taken.
//!
//! Source: Amazon S3 API Reference, "SelectObjectContent"; Amazon S3 User Guide, "SQL reference for Amazon S3 Select".

mod eval;
mod moments;
mod read;
mod sql;
mod value;
mod write;

use bytes::Bytes;
use futures_util::StreamExt as _;
use pileus_api_s3 as api;
use pileus_platform::{Access, Cx, Fault, Service};
use pileus_wire::value::{ABSENT, BoxStream, Event, EventStream, Struct, Val};
use tokio::sync::mpsc;

use self::eval::{Record, Row, Run};
use self::read::{Inflater, Reader};
use self::write::Writer;
use crate::access;
use crate::error::S3Error;

/// Why a query is refused or ends: AWS's code and sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectError {
    pub code: &'static str,
    pub message: String,
}

impl SelectError {
    pub fn new(code: &'static str, message: impl Into<String>) -> SelectError {
        SelectError { code, message: message.into() }
    }
}

impl From<SelectError> for S3Error {
    fn from(error: SelectError) -> S3Error {
        S3Error::refused(error.code, 400, error.message)
    }
}

impl From<SelectError> for Fault {
    fn from(error: SelectError) -> Fault {
        S3Error::from(error).into()
    }
}

/// Bytes of rows in one event.
const CHUNK: usize = 64 << 10;
/// Bytes of the object between two events of progress.
const PROGRESS: u64 = 8 << 20;

pub fn add(service: Service) -> Service {
    service
        .op(api::SELECT_OBJECT_CONTENT, select_object_content)
        .access_async(api::SELECT_OBJECT_CONTENT, needed)
}

async fn needed(cx: &Cx, input: &api::SelectObjectContentRequest) -> Result<Vec<Access>, Fault> {
    let bucket = access::bucket(cx, input.bucket.as_deref(), input.expected_bucket_owner.as_deref()).await?;
    Ok(vec![access::on_object("s3:GetObject", &bucket, input.key.as_deref().unwrap_or_default())])
}

/// `SelectObjectContent`
pub async fn select_object_content(
    cx: &Cx,
    input: api::SelectObjectContentRequest,
) -> Result<api::SelectObjectContentOutput, S3Error> {
    if input.expression_type.as_deref() != Some("SQL") {
        return Err(SelectError::new(
            "InvalidExpressionType",
            "The ExpressionType is invalid. Only SQL expressions are supported.",
        )
        .into());
    }
    if input.scan_range.is_some() {
        return Err(S3Error::lacking("ScanRange"));
    }
    let given = input.input_serialization.unwrap_or_default();
    if given.parquet.is_some() {
        return Err(S3Error::lacking("queries over Parquet"));
    }
    let reader = Reader::new(&given)?;
    let inflater = Inflater::new(given.compression_type.as_deref())?;
    let writer = Writer::new(&input.output_serialization.unwrap_or_default())?;
    let query = sql::parse(input.expression.as_deref().unwrap_or_default())?;
    let get = api::GetObjectRequest {
        bucket: input.bucket,
        key: input.key,
        sse_customer_algorithm: input.sse_customer_algorithm,
        sse_customer_key: input.sse_customer_key,
        sse_customer_key_md5: input.sse_customer_key_md5,
        expected_bucket_owner: input.expected_bucket_owner,
        ..api::GetObjectRequest::default()
    };
    let mut object = cx.call(api::GET_OBJECT, get).await?;
    let wants_progress = input.request_progress.and_then(|progress| progress.enabled) == Some(true);
    let (sender, receiver) = mpsc::channel(2);
    let work = Work {
        run: Run::new(query, cx.now()),
        reader,
        inflater,
        writer,
        out: Vec::new(),
        scanned: 0,
        processed: 0,
        returned: 0,
        wants_progress,
    };
    if let Some(body) = object.body.take() {
        tokio::spawn(work.go(body, sender));
    }
    Ok(api::SelectObjectContentOutput { payload: EventStream::new(Answers(receiver)) })
}

struct Answers(mpsc::Receiver<Result<Event, Fault>>);

impl futures_util::Stream for Answers {
    type Item = Result<Event, Fault>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// A query that is being answered.
struct Work {
    run: Run,
    reader: Reader,
    inflater: Inflater,
    writer: Writer,
    /// Rows that are not sent yet.
    out: Vec<u8>,
    /// Bytes of the object that were read; bytes that they were inflated to; bytes that were sent.
    scanned: u64,
    processed: u64,
    returned: u64,
    wants_progress: bool,
}

type Sender = mpsc::Sender<Result<Event, Fault>>;

/// Why a query ends early.
enum End {
    /// Nobody listens any more.
    Gone,
    Fault(Fault),
}

impl From<SelectError> for End {
    fn from(error: SelectError) -> End {
        End::Fault(error.into())
    }
}

impl Work {
    async fn go(mut self, body: BoxStream<Bytes, std::io::Error>, sender: Sender) {
        let ended = match self.read(body, &sender).await {
            Ok(()) => self.close(&sender).await,
            Err(end) => Err(end),
        };
        if let Err(End::Fault(fault)) = ended {
            // Nobody may be there to hear it.
            let _ = sender.send(Err(fault)).await;
        }
    }

    async fn read(&mut self, mut body: BoxStream<Bytes, std::io::Error>, sender: &Sender) -> Result<(), End> {
        let mut told = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| {
                tracing::warn!(%error, "an object broke off under a query");
                End::Fault(Fault::receiver(
                    "InternalError",
                    "We encountered an internal error. Please try again.",
                ))
            })?;
            for part in piece.chunks(self.inflater.step()) {
                let bytes = self.inflater.push(part)?;
                self.scanned += part.len() as u64;
                self.take(&bytes, sender).await?;
                if self.run.is_done() {
                    return Ok(());
                }
            }
            if self.wants_progress && self.scanned - told >= PROGRESS {
                told = self.scanned;
                self.tell(sender, api::SelectObjectContentEventStream::Progress(self.progress())).await?;
            }
            tokio::task::yield_now().await;
        }
        let bytes = self.inflater.finish()?;
        self.take(&bytes, sender).await?;
        let mut records = vec![];
        self.reader.finish(&mut records)?;
        self.records(&records, sender).await
    }

    async fn take(&mut self, bytes: &[u8], sender: &Sender) -> Result<(), End> {
        self.processed += bytes.len() as u64;
        let mut records = vec![];
        self.reader.push(bytes, &mut records)?;
        self.records(&records, sender).await
    }

    async fn records(&mut self, records: &[Record], sender: &Sender) -> Result<(), End> {
        let mut rows: Vec<Row> = vec![];
        for record in records {
            self.run.record(record, &mut rows)?;
            for row in rows.drain(..) {
                self.writer.write(&row, &mut self.out);
            }
            if self.out.len() >= CHUNK {
                self.flush(sender).await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self, sender: &Sender) -> Result<(), End> {
        let rows = Bytes::from(std::mem::take(&mut self.out));
        self.returned += rows.len() as u64;
        // An event holds at most so much that no client's buffer runs over.
        for at in (0..rows.len()).step_by(CHUNK * 2) {
            let part = rows.slice(at..rows.len().min(at + CHUNK * 2));
            self.send(sender, Box::new(Records(Payload(part)))).await?;
        }
        Ok(())
    }

    async fn close(&mut self, sender: &Sender) -> Result<(), End> {
        let mut rows = vec![];
        self.run.finish(&mut rows)?;
        for row in &rows {
            self.writer.write(row, &mut self.out);
        }
        self.flush(sender).await?;
        if self.wants_progress {
            self.tell(sender, api::SelectObjectContentEventStream::Progress(self.progress())).await?;
        }
        let count = |count: u64| i64::try_from(count).ok();
        let stats = api::Stats {
            bytes_scanned: count(self.scanned),
            bytes_processed: count(self.processed),
            bytes_returned: count(self.returned),
        };
        let stats = api::StatsEvent { details: Some(stats) };
        self.tell(sender, api::SelectObjectContentEventStream::Stats(stats)).await?;
        self.tell(sender, api::SelectObjectContentEventStream::End(api::EndEvent::default())).await
    }

    fn progress(&self) -> api::ProgressEvent {
        let count = |count: u64| i64::try_from(count).ok();
        let details = api::Progress {
            bytes_scanned: count(self.scanned),
            bytes_processed: count(self.processed),
            bytes_returned: count(self.returned),
        };
        api::ProgressEvent { details: Some(details) }
    }

    async fn tell(&self, sender: &Sender, event: api::SelectObjectContentEventStream) -> Result<(), End> {
        self.send(sender, Box::new(event)).await
    }

    async fn send(&self, sender: &Sender, event: Event) -> Result<(), End> {
        sender.send(Ok(event)).await.map_err(|_| End::Gone)
    }
}

/// An event of rows: the first member of the union, whose payload is bytes that are there already.
struct Records(Payload);

impl Struct for Records {
    fn get(&self, i: usize) -> &dyn Val {
        if i == 0 { &self.0 } else { &ABSENT }
    }
    fn get_mut(&mut self, _: usize) -> Option<&mut dyn Val> {
        None
    }
    fn active(&self) -> Option<usize> {
        Some(0)
    }
}

struct Payload(Bytes);

impl Struct for Payload {
    fn get(&self, i: usize) -> &dyn Val {
        if i == 0 { &self.0 } else { &ABSENT }
    }
    fn get_mut(&mut self, _: usize) -> Option<&mut dyn Val> {
        None
    }
}
