//! A file being read, one piece ahead of its reader.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use pileus_core::BoxFuture;
use tokio::task::JoinHandle;

use crate::BlobError;
use crate::backend::Source;

/// Four of the frames that S3 seals objects in, so that a reader who begins at a frame gets whole ones.
const PIECE: u64 = 4 * ((64 << 10) + 16);

pub(super) struct FileSource {
    file: Arc<File>,
    /// What nobody has begun to read.
    rest: Range<u64>,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileSource {
    pub(super) fn new(file: File, range: Range<u64>) -> FileSource {
        FileSource { file: Arc::new(file), rest: range, ahead: None }
    }

    /// Begins with the next piece, if there is one.
    fn begin(&mut self) -> Option<JoinHandle<io::Result<Bytes>>> {
        let start = self.rest.start;
        let length = (self.rest.end - start).min(PIECE);
        if length == 0 {
            return None;
        }
        self.rest.start += length;
        let file = self.file.clone();
        // Not by the thread that reads: each of a hundred would keep some for its next piece.
        let mut piece = vec![0; length as usize];
        Some(tokio::task::spawn_blocking(move || {
            file.read_exact_at(&mut piece, start)?;
            Ok(Bytes::from(piece))
        }))
    }
}

impl Source for FileSource {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, BlobError>> {
        Box::pin(async move {
            let Some(current) = self.ahead.take().or_else(|| self.begin()) else { return Ok(None) };
            self.ahead = self.begin();
            Ok(Some(current.await.map_err(io::Error::other)??))
        })
    }
}
