//! A blob on its way into the bucket. One part is sent while the next one fills, so memory stays at two parts.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::MultipartUpload;
use pileus_blobs::backend::Sink;
use pileus_blobs::{BlobError, BlobId};
use pileus_core::BoxFuture;
use ring::digest;
use tokio::task::JoinHandle;

use crate::bucket::{PART, Place, failed, put};

pub(crate) struct Upload {
    place: Arc<Place>,
    area: String,
    chance: String,
    buffer: BytesMut,
    sum: digest::Context,
    /// Once there is more than one part.
    parts: Option<Parts>,
}

/// An upload in parts: aborted when it is dropped before its end.
struct Parts {
    upload: Option<Box<dyn MultipartUpload>>,
    sending: Option<JoinHandle<object_store::Result<()>>>,
}

impl Upload {
    pub(crate) fn new(place: Arc<Place>, area: &str, chance: &str) -> Upload {
        Upload {
            place,
            area: area.to_owned(),
            chance: chance.to_owned(),
            buffer: BytesMut::new(),
            sum: digest::Context::new(&digest::SHA256),
            parts: None,
        }
    }

    /// Sends what is in the buffer as a part, when the part before is there.
    async fn send(&mut self) -> Result<(), BlobError> {
        let part = self.buffer.split().freeze();
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                let path = self.place.apart(&self.area, &self.chance);
                let upload = self.place.store.put_multipart(&path).await.map_err(failed)?;
                self.parts.insert(Parts { upload: Some(upload), sending: None })
            }
        };
        parts.settle().await?;
        if let Some(upload) = &mut parts.upload {
            parts.sending = Some(tokio::spawn(upload.put_part(part.into())));
        }
        Ok(())
    }
}

impl Parts {
    async fn settle(&mut self) -> Result<(), BlobError> {
        match self.sending.take() {
            Some(sending) => sending.await.map_err(io::Error::other)?.map_err(failed),
            None => Ok(()),
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(sending) = &self.sending {
            sending.abort();
        }
        let Some(mut upload) = self.upload.take() else { return };
        // Without a runtime the process ends: the bucket's own rule for incomplete uploads removes it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%error, "an unfinished upload stays in the bucket");
            }
        });
    }
}

impl Sink for Upload {
    fn write(&mut self, mut bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(async move {
            self.sum.update(&bytes);
            while !bytes.is_empty() {
                // A full buffer is sent when more comes: what is no longer than a part is one object.
                if self.buffer.len() == PART {
                    self.send().await?;
                }
                let room = PART - self.buffer.len();
                self.buffer.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>, id: BlobId) -> BoxFuture<'static, Result<[u8; 32], BlobError>> {
        Box::pin(async move {
            let name = self.place.blob(&id);
            if self.parts.is_none() {
                let whole = self.buffer.split().freeze();
                put(&self.place, &name, whole).await?;
            } else {
                self.send().await?;
                if let Some(parts) = &mut self.parts {
                    parts.settle().await?;
                    if let Some(upload) = &mut parts.upload {
                        upload.complete().await.map_err(failed)?;
                    }
                    parts.upload = None;
                }
                put(&self.place, &name, Bytes::new()).await?;
            }
            let sum = self.sum.clone().finish();
            Ok(sum.as_ref().try_into().expect("SHA-256 has 32 bytes"))
        })
    }
}
