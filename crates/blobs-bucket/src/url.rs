//! Where a bucket is.

use std::fmt;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::{Certificate, ClientOptions, RetryConfig};

/// For how long a request is tried again when the bucket does not answer, or answers that it cannot now.
const PATIENCE: Duration = Duration::from_secs(20);

/// `s3://bucket[/folder][?endpoint=https://host:port&region=..&path_style=false&ca=file.pem]`.
///
/// | Parameter | Meaning | Default |
/// |---|---|---|
/// | `endpoint` | the server, with `http://` or `https://` | AWS's of the region |
/// | `region` | what requests are signed for | `us-east-1` |
/// | `path_style` | `true`: the bucket is in the path; `false`: in the host name | `true` with an endpoint |
/// | `ca` | a PEM file of an authority that is trusted beside the machine's own | |
#[derive(Clone, PartialEq, Eq)]
pub struct BucketUrl {
    pub bucket: String,
    /// Without slashes at its ends; may be empty.
    pub folder: String,
    endpoint: Option<String>,
    region: String,
    path_style: bool,
    ca: Option<String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    #[error("--blobs is a bucket's URL: s3://bucket/folder?endpoint=https://host:port&region=eu-central-1")]
    Form,
    #[error("--blobs: there is no parameter {0:?}; there are endpoint, region, path_style and ca")]
    Parameter(String),
    #[error("--blobs: {name} cannot be {value:?}")]
    Value { name: &'static str, value: String },
}

/// Keys of the bucket, from the environment's `AWS_ACCESS_KEY_ID` and its like; without them the machine's own role is used.
#[derive(Clone, Default)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    pub session_token: Option<String>,
}

impl BucketUrl {
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn parse(text: &str) -> Result<BucketUrl, UrlError> {
        let rest = text.strip_prefix("s3://").ok_or(UrlError::Form)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, folder) = place.split_once('/').unwrap_or((place, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(is_name) {
            return Err(UrlError::Form);
        }
        let mut url = BucketUrl {
            bucket: bucket.to_owned(),
            folder: folder.trim_matches('/').to_owned(),
            endpoint: None,
            region: "us-east-1".to_owned(),
            path_style: false,
            ca: None,
        };
        let mut path_style = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let refused = |name| UrlError::Value { name, value: value.to_owned() };
            match name {
                "endpoint" if value.starts_with("http://") || value.starts_with("https://") => {
                    url.endpoint = Some(value.trim_end_matches('/').to_owned());
                }
                "endpoint" => return Err(refused("endpoint")),
                "region" if !value.is_empty() => url.region = value.to_owned(),
                "region" => return Err(refused("region")),
                "path_style" => {
                    path_style = Some(value.parse().map_err(|_| refused("path_style"))?);
                }
                "ca" => url.ca = Some(value.to_owned()),
                other => return Err(UrlError::Parameter(other.to_owned())),
            }
        }
        url.path_style = path_style.unwrap_or(url.endpoint.is_some());
        Ok(url)
    }

    /// The client's settings.
    ///
    /// # Errors
    /// The certificate's, in one line.
    pub(crate) fn builder(&self, keys: Option<Keys>) -> Result<AmazonS3Builder, String> {
        let mut client = ClientOptions::new().with_allow_http(self.is_plain());
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| format!("{path}: {error}"))?;
            client = client.with_root_certificate(certificate);
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_retry(RetryConfig { retry_timeout: PATIENCE, ..RetryConfig::default() })
            .with_client_options(client);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(self.endpoint_of_bucket(endpoint));
        }
        if let Some(keys) = keys {
            builder = builder.with_access_key_id(keys.id).with_secret_access_key(keys.secret);
            if let Some(token) = keys.session_token {
                builder = builder.with_token(token);
            }
        }
        Ok(builder)
    }

    /// The client takes an endpoint of virtual-hosted style with the bucket in it.
    fn endpoint_of_bucket(&self, endpoint: &str) -> String {
        match endpoint.split_once("://") {
            Some((scheme, host)) if !self.path_style => format!("{scheme}://{}.{host}", self.bucket),
            _ => endpoint.to_owned(),
        }
    }

    fn is_plain(&self) -> bool {
        self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}", self.bucket)?;
        if !self.folder.is_empty() {
            write!(f, "/{}", self.folder)?;
        }
        Ok(())
    }
}

impl fmt::Debug for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_bucket_folder_and_server() {
        let url =
            BucketUrl::parse("s3://cloud/prod/eu/?endpoint=http://10.0.0.9:9000/&region=eu-west-1").unwrap();
        assert_eq!((url.bucket.as_str(), url.folder.as_str()), ("cloud", "prod/eu"));
        assert_eq!(url.endpoint.as_deref(), Some("http://10.0.0.9:9000"));
        assert!(url.path_style && url.is_plain());
        assert_eq!(url.to_string(), "s3://cloud/prod/eu");
        let url = BucketUrl::parse("s3://cloud").unwrap();
        assert_eq!((url.folder.as_str(), url.region.as_str(), url.path_style), ("", "us-east-1", false));
        let url = BucketUrl::parse("s3://cloud?endpoint=https://s3.example&path_style=false").unwrap();
        assert_eq!(url.endpoint_of_bucket("https://s3.example"), "https://cloud.s3.example");
    }

    #[test]
    fn a_wrong_url_is_explained() {
        let value = |name, value: &str| UrlError::Value { name, value: value.to_owned() };
        for (text, expected) in [
            ("", UrlError::Form),
            ("http://cloud", UrlError::Form),
            ("s3://", UrlError::Form),
            ("s3:///folder", UrlError::Form),
            ("s3://a b", UrlError::Form),
            ("s3://cloud?endpoint=10.0.0.9", value("endpoint", "10.0.0.9")),
            ("s3://cloud?path_style=yes", value("path_style", "yes")),
            ("s3://cloud?region=", value("region", "")),
            ("s3://cloud?zone=a", UrlError::Parameter("zone".to_owned())),
        ] {
            assert_eq!(BucketUrl::parse(text).unwrap_err(), expected, "{text}");
        }
    }
}
