//! `Marker` and `MaxItems`: a marker is the key that the page before ended with, opaque to callers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::LambdaError;

pub struct Page {
    limit: usize,
    after: Option<String>,
}

impl Page {
    /// # Errors
    /// `InvalidParameterValueException` for a marker that was not given out.
    pub fn new(marker: Option<&str>, max_items: Option<i64>) -> Result<Page, LambdaError> {
        let after = marker.filter(|marker| !marker.is_empty()).map(decode).transpose()?;
        let limit = usize::try_from(max_items.unwrap_or(50)).unwrap_or(50).clamp(1, 50);
        Ok(Page { limit, after })
    }

    /// The page of a list that is at hand, and the marker of the next one. `key` is unique and gives the order.
    pub fn cut<T>(self, items: Vec<T>, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let mut keyed: Vec<(String, T)> = items.into_iter().map(|item| (key(&item), item)).collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(after) = &self.after {
            keyed.retain(|(key, _)| key > after);
        }
        let more = keyed.len() > self.limit;
        keyed.truncate(self.limit);
        let marker = keyed.last().filter(|_| more).map(|(key, _)| URL_SAFE_NO_PAD.encode(key));
        (keyed.into_iter().map(|(_, item)| item).collect(), marker)
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The marker of the page after the one that ended with `key`.
    pub fn marker(key: &str) -> String {
        URL_SAFE_NO_PAD.encode(key)
    }
}

fn decode(marker: &str) -> Result<String, LambdaError> {
    let bytes = URL_SAFE_NO_PAD.decode(marker).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| LambdaError::invalid("Invalid Marker."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_repeating_or_skipping() {
        let items = || vec!["c", "a", "b", "e", "d"];
        let (mut seen, mut marker) = (Vec::new(), None);
        for _ in 0..3 {
            let page = Page::new(marker.as_deref(), Some(2)).expect("a marker of ours");
            let (part, next) = page.cut(items(), |item| (*item).to_owned());
            seen.extend(part);
            marker = next;
        }
        assert_eq!((seen, marker), (vec!["a", "b", "c", "d", "e"], None));
        assert!(Page::new(Some("?"), None).is_err());
    }
}
