//! Pages of a hundred: a token is the name that the last page ended with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::SnsError;

/// Source: Amazon SNS API Reference, "ListTopics", "ListSubscriptions".
const SIZE: usize = 100;

pub struct Page {
    after: Option<String>,
    limit: usize,
}

impl Page {
    /// # Errors
    /// `InvalidParameter` for a token that we did not give.
    pub fn new(token: Option<&str>) -> Result<Page, SnsError> {
        let Some(token) = token.filter(|token| !token.is_empty()) else {
            return Ok(Page { after: None, limit: SIZE });
        };
        let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let name = name.ok_or_else(|| SnsError::invalid("NextToken"))?;
        Ok(Page { after: Some(name), limit: SIZE })
    }

    pub fn of(mut self, limit: Option<i64>, max: usize) -> Page {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(max);
        self.limit = limit.clamp(1, max);
        self
    }

    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn next(&self, more: bool, last: Option<&str>) -> Option<String> {
        last.filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(last))
    }
}
