//! A blob on its way into a file. One buffer fills while the disk takes the other, so memory stays at two buffers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use bytes::Bytes;
use pileus_core::BoxFuture;
use ring::digest;
use tokio::task::JoinHandle;

use super::{Live, blocking, make_folder, remove, sync_folder};
use crate::backend::Sink;
use crate::{BlobError, BlobId};

/// Two of these are what an upload holds in memory, so that many may go on at once.
const BUFFER: usize = 256 << 10;

pub(super) struct FileSink {
    folder: PathBuf,
    part: Part,
    buffer: Vec<u8>,
    state: State,
}

/// Where the file is: here, with the thread that writes the last buffer, or lost with an error.
enum State {
    Idle(Box<Output>),
    Writing(JoinHandle<io::Result<(Box<Output>, Vec<u8>)>>),
    Failed,
}

struct Output {
    file: File,
    sum: digest::Context,
}

/// The unfinished file: gone when this is dropped, unless it was renamed.
struct Part {
    path: PathBuf,
    live: Live,
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "an unfinished blob stays until the next sweep");
        }
        self.live.lock().remove(&self.path);
    }
}

impl Output {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.sum.update(bytes);
        Ok(())
    }
}

impl FileSink {
    pub(super) fn create(folder: PathBuf, path: PathBuf, live: Live) -> io::Result<FileSink> {
        make_folder(&folder)?;
        live.lock().insert(path.clone());
        let part = Part { path, live };
        let file = OpenOptions::new().write(true).create_new(true).open(&part.path)?;
        let output = Box::new(Output { file, sum: digest::Context::new(&digest::SHA256) });
        Ok(FileSink { folder, part, buffer: Vec::new(), state: State::Idle(output) })
    }

    /// The file, once the last buffer is written.
    async fn idle(&mut self) -> Result<Box<Output>, BlobError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(output) => Ok(output),
            State::Writing(writing) => {
                let (output, _) = writing.await.map_err(io::Error::other)??;
                Ok(output)
            }
            State::Failed => Err(io::Error::other("an earlier part could not be written").into()),
        }
    }

    async fn flush(&mut self) -> Result<(), BlobError> {
        let (mut output, mut spare) = match std::mem::replace(&mut self.state, State::Failed) {
            State::Writing(writing) => writing.await.map_err(io::Error::other)??,
            State::Idle(output) => (output, Vec::with_capacity(BUFFER)),
            State::Failed => return Err(io::Error::other("an earlier part could not be written").into()),
        };
        spare.clear();
        let full = std::mem::replace(&mut self.buffer, spare);
        let write = move || {
            output.take(&full)?;
            Ok((output, full))
        };
        self.state = State::Writing(tokio::task::spawn_blocking(write));
        Ok(())
    }
}

impl Sink for FileSink {
    fn write(&mut self, mut bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(async move {
            while !bytes.is_empty() {
                let room = BUFFER - self.buffer.len();
                self.buffer.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
                if self.buffer.len() == BUFFER {
                    self.flush().await?;
                }
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>, id: BlobId) -> BoxFuture<'static, Result<[u8; 32], BlobError>> {
        Box::pin(async move {
            let mut output = self.idle().await?;
            let FileSink { folder, part, buffer, .. } = *self;
            let finish = move || {
                output.take(&buffer)?;
                output.file.sync_data()?;
                fs::rename(&part.path, folder.join(id.name()))?;
                sync_folder(&folder)?;
                Ok(output.sum.finish())
            };
            let sum = blocking(finish).await?;
            Ok(sum.as_ref().try_into().expect("SHA-256 has 32 bytes"))
        })
    }
}
