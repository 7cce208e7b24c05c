//! What exports and imports ask of Amazon S3, as the one who asked for them.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use pileus_api_s3 as s3;
use pileus_platform::{Cx, Fault};
use pileus_wire::value::ByteStream;

/// Why a transfer ended without success, as its description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    pub message: String,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let code = match fault.code.as_ref() {
            "AccessDenied" | "AccessDeniedException" => "S3AccessDenied".to_owned(),
            "NoSuchBucket" => "S3NoSuchBucket".to_owned(),
            other => other.to_owned(),
        };
        Failure { code, message: fault.message }
    }
}

/// Where objects go.
#[derive(Debug, Clone, Copy)]
pub struct Bucket<'a> {
    pub name: &'a str,
    pub owner: Option<&'a str>,
    pub encryption: Option<&'a str>,
}

impl Bucket<'_> {
    /// Returns the object's entity tag.
    pub async fn put(&self, cx: &Cx, key: &str, body: Bytes) -> Result<String, Fault> {
        let input = s3::PutObjectRequest {
            bucket: Some(self.name.to_owned()),
            key: Some(key.to_owned()),
            content_length: Some(body.len() as i64),
            body: ByteStream::once(body),
            server_side_encryption: self.encryption.map(str::to_owned),
            expected_bucket_owner: self.owner.map(str::to_owned),
            ..s3::PutObjectRequest::default()
        };
        let put = cx.call(s3::PUT_OBJECT, input).await?;
        Ok(put.e_tag.unwrap_or_default().trim_matches('"').to_owned())
    }

    /// The object's bytes as they come.
    pub async fn get(
        &self,
        cx: &Cx,
        key: &str,
    ) -> Result<impl Stream<Item = Result<Bytes, std::io::Error>> + Send + Unpin, Fault> {
        let input = s3::GetObjectRequest {
            bucket: Some(self.name.to_owned()),
            key: Some(key.to_owned()),
            expected_bucket_owner: self.owner.map(str::to_owned),
            ..s3::GetObjectRequest::default()
        };
        let mut got = cx.call(s3::GET_OBJECT, input).await?;
        Ok(futures_util::stream::iter(got.body.take()).flatten())
    }

    /// A page of keys, and where the next one begins.
    pub async fn list(
        &self,
        cx: &Cx,
        prefix: &str,
        token: Option<String>,
    ) -> Result<(Vec<(String, u64)>, Option<String>), Fault> {
        let input = s3::ListObjectsV2Request {
            bucket: Some(self.name.to_owned()),
            prefix: Some(prefix.to_owned()),
            continuation_token: token,
            expected_bucket_owner: self.owner.map(str::to_owned),
            ..s3::ListObjectsV2Request::default()
        };
        let page = cx.call(s3::LIST_OBJECTS_V2, input).await?;
        let objects = page.contents.unwrap_or_default().into_iter();
        let keys = objects.filter_map(|object| Some((object.key?, object.size.unwrap_or(0).max(0) as u64)));
        Ok((keys.collect(), page.next_continuation_token))
    }
}
