//! What an import reads: every object under its prefix, into the new table's generation.

use std::io::Read;

use bytes::Bytes;
use futures_util::StreamExt as _;
use pileus_platform::{Cx, Platform};
use pileus_store::{Lease, Space};
use tokio::sync::mpsc;

use crate::backup::snapshot::{self, Writer};
use crate::error::DynamoError;
use crate::keys;
use crate::table::Table;
use crate::transfer::bucket::{Bucket, Failure};
use crate::transfer::parse::{self, Compression, Format};
use crate::transfer::write::Stop;
use crate::value::{Item, encode_item};

/// Chunks of an object, and items of it, on their way between the reader's thread and the rest.
const CHUNKS: usize = 8;
const ITEMS: usize = 256;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub bytes: u64,
    pub processed: u64,
    pub imported: u64,
    pub errors: u64,
}

/// Where from and how.
pub struct Source<'a> {
    pub bucket: Bucket<'a>,
    pub prefix: &'a str,
    pub format: Format,
    pub compression: Compression,
}

/// An object's chunks as a file that blocks.
struct Chunks {
    receiver: mpsc::Receiver<Result<Bytes, std::io::Error>>,
    rest: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.rest = chunk?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// Reads everything, and makes the entries of the table's indexes. What is written twice is the same.
///
/// # Errors
/// A failure that the import's description tells, or an error after which it is tried again.
pub async fn read(
    platform: &Platform,
    lease: &Lease,
    cx: &Cx,
    source: &Source<'_>,
    table: &Table,
) -> Result<Tally, Stop> {
    let (mut tally, mut token) = (Tally::default(), None);
    let mut found = false;
    loop {
        let (objects, next) = source.bucket.list(cx, source.prefix, token).await?;
        for (key, size) in objects {
            found = true;
            if size > 0 {
                read_object(platform, lease, cx, source, table, &key, &mut tally).await?;
                tally.bytes += size;
            }
            lease.renew().await?;
        }
        match next {
            Some(next) => token = Some(next),
            None => break,
        }
    }
    if !found {
        return Err(Stop::Failed(Failure {
            code: "S3NoSuchKey".to_owned(),
            message: format!("There is no object under the prefix {:?}", source.prefix),
        }));
    }
    snapshot::make_entries(platform.store(), lease, table).await?;
    Ok(tally)
}

async fn read_object(
    platform: &Platform,
    lease: &Lease,
    cx: &Cx,
    source: &Source<'_>,
    table: &Table,
    key: &str,
    tally: &mut Tally,
) -> Result<(), Stop> {
    let mut body = source.bucket.get(cx, key).await?;
    let (chunk, chunks) = mpsc::channel(CHUNKS);
    let (item, mut items) = mpsc::channel::<Result<Item, String>>(ITEMS);
    let (format, compression) = (source.format.clone(), source.compression);
    let parsing = tokio::task::spawn_blocking(move || {
        let file = Chunks { receiver: chunks, rest: Bytes::new() };
        // Nobody wants more once the receiver is gone.
        parse::read_all(file, compression, &format, |one| item.blocking_send(one).is_ok())
    });
    let feeding = async move {
        while let Some(next) = body.next().await {
            if chunk.send(next).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        let mut writer = Writer::new(platform.store());
        while let Some(one) = items.recv().await {
            tally.processed += 1;
            let checked = one.and_then(|item| parse::check(&item, table.schema()).map(|()| item));
            match checked {
                Ok(item) => {
                    let Some(place) = table.schema().encode(&item) else { continue };
                    let row = keys::item(table.record.generation, &place);
                    writer.put(Space::Items, row, Some(encode_item(&item, None))).await?;
                    tally.imported += 1;
                }
                Err(_) => tally.errors += 1,
            }
            if tally.processed.is_multiple_of(10_000) {
                lease.renew().await?;
            }
        }
        writer.finish().await
    };
    let ((), written) = futures_util::future::join(feeding, writing).await;
    written?;
    let parsed = parsing.await.map_err(|error| DynamoError::corrupt(&format!("reading failed: {error}")))?;
    parsed.map_err(|message| {
        let message = format!("{key}: {message}");
        Stop::Failed(Failure { code: "ItemValidationError".to_owned(), message })
    })
}
