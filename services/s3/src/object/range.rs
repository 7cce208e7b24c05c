//! Which bytes of an object a read asks for: pure.
//!
//! Source: RFC 9110, section 14; Amazon S3 API Reference, "GetObject": several ranges at once are not taken.

use std::ops::Range;

use crate::error::S3Error;

/// The bytes that a `Range` header asks for of `size`. `None`: the whole, also for a header that cannot be read.
///
/// # Errors
/// `InvalidRange` when none of the bytes is there.
pub fn of_header(header: Option<&str>, size: u64) -> Result<Option<Range<u64>>, S3Error> {
    let Some(header) = header else { return Ok(None) };
    let Some(spec) = header.trim().strip_prefix("bytes=").map(str::trim) else { return Ok(None) };
    let Some((first, last)) = spec.split_once('-') else { return Ok(None) };
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    let range = match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            None => return Ok(None),
            Some(length) => size.saturating_sub(length)..size,
        },
        (first, "") => match number(first) {
            None => return Ok(None),
            Some(first) => first..size,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
            _ => return Ok(None),
        },
    };
    if range.start < range.end { Ok(Some(range)) } else { Err(unsatisfiable(header, size)) }
}

fn unsatisfiable(header: &str, size: u64) -> S3Error {
    let fault =
        pileus_platform::Fault::framework("InvalidRange", 416, "The requested range is not satisfiable")
            .with_extra("RangeRequested", header)
            .with_extra("ActualObjectSize", size.to_string())
            .with_header("content-range", format!("bytes */{size}"));
    S3Error::from(fault)
}

/// `bytes 0-9/100`
pub fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

/// The range of a copy's source, which must be whole: `bytes=first-last`.
///
/// # Errors
/// `InvalidArgument`
pub fn of_copy(header: &str, size: u64) -> Result<Range<u64>, S3Error> {
    let invalid = || {
        S3Error::argument(
            "x-amz-copy-source-range",
            header,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
        )
    };
    let (first, last) =
        header.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')).ok_or_else(invalid)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| invalid());
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(invalid());
    }
    if last >= size {
        return Err(S3Error::argument(
            "x-amz-copy-source-range",
            header,
            format!("Range specified is not valid for source object of size: {size}"),
        ));
    }
    Ok(first..last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_object() {
        let cases = [
            (None, 10, Ok(None)),
            (Some("bytes=0-0"), 10, Ok(Some(0..1))),
            (Some("bytes=2-"), 10, Ok(Some(2..10))),
            (Some("bytes=2-100"), 10, Ok(Some(2..10))),
            (Some("bytes=-3"), 10, Ok(Some(7..10))),
            (Some("bytes=-30"), 10, Ok(Some(0..10))),
            (Some("bytes=10-"), 10, Err("InvalidRange")),
            (Some("bytes=-0"), 10, Err("InvalidRange")),
            (Some("bytes=0-0"), 0, Err("InvalidRange")),
            (Some("bytes=3-2"), 10, Ok(None)),
            (Some("bytes=0-1,3-4"), 10, Ok(None)),
            (Some("lines=0-1"), 10, Ok(None)),
            (Some("bytes=99999999999999999999999-"), 10, Err("InvalidRange")),
        ];
        for (header, size, expected) in cases {
            let got = of_header(header, size);
            assert_eq!(
                got.map_err(|error| error.code().to_owned()),
                expected.map_err(str::to_owned),
                "{header:?}"
            );
        }
    }
}
