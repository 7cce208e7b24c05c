//! Pages of everything but events: a token is the last name of the page before.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::error::LogsError;
use crate::limits;

pub fn limit(wanted: Option<i64>) -> usize {
    wanted.and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(limits::DEFAULT_PAGE)
}

/// The name after which a page begins.
///
/// # Errors
/// `InvalidParameterException` for what `next` did not write.
pub fn read(token: Option<&str>) -> Result<Option<String>, LogsError> {
    let Some(token) = token else { return Ok(None) };
    let bytes = BASE64.decode(token).map_err(|_| LogsError::bad_token())?;
    String::from_utf8(bytes).map(Some).map_err(|_| LogsError::bad_token())
}

/// The token of the page after `last`, if there is one.
pub fn next(more: bool, last: Option<&str>) -> Option<String> {
    last.filter(|_| more).map(|last| BASE64.encode(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_last_of_its_page() {
        let token = next(true, Some("/aws/lambda/é")).expect("more");
        assert_eq!(read(Some(&token)).expect("ours"), Some("/aws/lambda/é".to_owned()));
        assert_eq!((next(false, Some("x")), next(true, None)), (None, None));
        for bad in ["!", "_w"] {
            assert!(read(Some(bad)).is_err(), "{bad}");
        }
    }
}
