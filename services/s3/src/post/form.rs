//! `multipart/form-data` as it streams: the fields first, then the file, of which no more than a piece is in memory.
//!
//! Source: RFC 7578; Amazon S3 API Reference, "POST Object", "Error responses".

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use pileus_wire::value::{BoxStream, ByteStream};

use crate::data::of_stream;
use crate::error::S3Error;

/// Bytes of all fields before the file.
const MAX_FIELDS: usize = 20 << 10;

/// The boundary of a form, from its content type.
///
/// # Errors
/// `PreconditionFailed` for another content type.
pub fn boundary(content_type: Option<&str>) -> Result<String, S3Error> {
    let text = content_type.unwrap_or_default();
    let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
    let found = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('=')).find_map(
        |(name, value)| name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"').to_owned()),
    );
    match found.filter(|boundary| (1..=70).contains(&boundary.len())) {
        Some(boundary) if kind.trim().eq_ignore_ascii_case("multipart/form-data") => Ok(boundary),
        _ => Err(S3Error::refused(
            "PreconditionFailed",
            412,
            "At least one of the pre-conditions you specified did not hold",
        )
        .with("Condition", "Bucket POST must be of the enclosure-type multipart/form-data")),
    }
}

fn malformed() -> S3Error {
    S3Error::refused(
        "MalformedPOSTRequest",
        400,
        "The body of your POST request is not well-formed multipart/form-data.",
    )
}

/// A form on its way in.
pub struct Form {
    stream: Option<BoxStream<Bytes, std::io::Error>>,
    buffer: BytesMut,
    /// Line end, two hyphens and the boundary: what parts the parts.
    mark: Vec<u8>,
    file_name: String,
    is_done: bool,
}

impl Form {
    pub fn new(mut body: ByteStream, boundary: &str) -> Form {
        // The first mark has no line end before it.
        Form {
            stream: body.take(),
            buffer: BytesMut::from(&b"\r\n"[..]),
            mark: format!("\r\n--{boundary}").into_bytes(),
            file_name: String::new(),
            is_done: false,
        }
    }

    /// Reads more. False at the end.
    async fn fill(&mut self) -> Result<bool, S3Error> {
        let Some(stream) = &mut self.stream else { return Ok(false) };
        match stream.next().await {
            Some(piece) => {
                self.buffer.extend_from_slice(&piece.map_err(of_stream)?);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Everything up to `mark`, which is taken away with it.
    async fn until(&mut self, mark: &[u8], limit: usize) -> Result<Bytes, S3Error> {
        loop {
            if let Some(at) = find(&self.buffer, mark) {
                let found = self.buffer.split_to(at).freeze();
                let _ = self.buffer.split_to(mark.len());
                return Ok(found);
            }
            if self.buffer.len() > limit {
                return Err(S3Error::refused(
                    "MaxPostPreDataLengthExceeded",
                    400,
                    "Your POST request fields preceding the upload file were too large.",
                ));
            }
            if !self.fill().await? {
                return Err(malformed());
            }
        }
    }

    /// The fields before the file, in their order. The file comes by `next`.
    ///
    /// # Errors
    /// `MalformedPOSTRequest`, `MaxPostPreDataLengthExceeded`, `InvalidArgument` for a form without a file.
    pub async fn fields(&mut self) -> Result<Vec<(String, String)>, S3Error> {
        let mark = self.mark.clone();
        if !self.until(&mark, MAX_FIELDS).await?.is_empty() {
            return Err(malformed());
        }
        let mut fields = Vec::new();
        let mut size = 0;
        loop {
            let rest = self.until(b"\r\n", 80).await?;
            if rest.starts_with(b"--") {
                return Err(S3Error::argument(
                    "file",
                    "0",
                    "POST requires exactly one file upload per request.",
                ));
            }
            if !rest.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                return Err(malformed());
            }
            let headers = self.until(b"\r\n\r\n", MAX_FIELDS).await?;
            let part = Part::read(&headers)?;
            if part.name.eq_ignore_ascii_case("file") {
                self.file_name = part.file_name;
                // A browser's own type of the file counts where the form has no field for it.
                return Ok(fields);
            }
            let value = self.until(&mark, MAX_FIELDS).await?;
            size += part.name.len() + value.len();
            if size > MAX_FIELDS {
                return Err(S3Error::refused(
                    "MaxPostPreDataLengthExceeded",
                    400,
                    "Your POST request fields preceding the upload file were too large.",
                ));
            }
            let value = String::from_utf8(value.into()).map_err(|_| malformed())?;
            fields.push((part.name, value));
        }
    }

    /// As the browser named the file.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The next bytes of the file; `None` at its end. What follows the file is not read.
    ///
    /// # Errors
    /// `MalformedPOSTRequest` when the form ends before the file does.
    pub async fn next(&mut self) -> Result<Option<Bytes>, S3Error> {
        loop {
            if self.is_done {
                return Ok(None);
            }
            if let Some(at) = find(&self.buffer, &self.mark) {
                self.is_done = true;
                return Ok(Some(self.buffer.split_to(at).freeze()));
            }
            // The end may be the beginning of a mark.
            let safe = (self.buffer.len() + 1).saturating_sub(self.mark.len());
            if safe > 0 {
                return Ok(Some(self.buffer.split_to(safe).freeze()));
            }
            if !self.fill().await? {
                return Err(malformed());
            }
        }
    }
}

/// The headers of a part.
struct Part {
    name: String,
    file_name: String,
}

impl Part {
    fn read(headers: &[u8]) -> Result<Part, S3Error> {
        let text = std::str::from_utf8(headers).map_err(|_| malformed())?;
        let disposition =
            text.split("\r\n").filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
                name.trim().eq_ignore_ascii_case("content-disposition").then_some(value.trim())
            });
        let disposition = disposition.filter(|value| value.starts_with("form-data")).ok_or_else(malformed)?;
        let name = parameter(disposition, "name").ok_or_else(malformed)?;
        Ok(Part { name, file_name: parameter(disposition, "filename").unwrap_or_default() })
    }
}

/// `; name="value"`, where the value may hold escaped quotation marks and semicolons.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        let after = after.trim_start();
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut value = String::new();
                let mut chars = quoted.char_indices();
                let mut end = None;
                while let Some((at, c)) = chars.next() {
                    match c {
                        '"' => {
                            end = Some(at + 1);
                            break;
                        }
                        // Browsers escape quotation marks only; a path of Windows keeps its slashes.
                        '\\' if quoted[at + 1..].starts_with('"') => {
                            value.push('"');
                            chars.next();
                        }
                        c => value.push(c),
                    }
                }
                (value, &quoted[end?..])
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        if is_wanted {
            return Some(value);
        }
        rest = behind.split_once(';')?.1;
    }
}

/// Where `wanted` begins.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, rest) = wanted.split_first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| byte == first) {
        let start = from + at;
        if bytes[start + 1..].starts_with(rest) {
            return Some(start);
        }
        from = start + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(pieces: &[&[u8]]) -> Form {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Form::new(ByteStream::new(futures_util::stream::iter(pieces)), "X")
    }

    async fn read(mut form: Form) -> Result<(Vec<(String, String)>, Vec<u8>), String> {
        let code = |error: S3Error| error.code().to_owned();
        let fields = form.fields().await.map_err(code)?;
        let mut file = Vec::new();
        while let Some(piece) = form.next().await.map_err(code)? {
            file.extend_from_slice(&piece);
        }
        Ok((fields, file))
    }

    fn written(file: &[u8]) -> Vec<u8> {
        let head = b"--X\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na/${filename}\r\n--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x;y\\\"z\"\r\nContent-Type: text/plain\r\n\r\n";
        [head, file, b"\r\n--X--\r\n"].concat()
    }

    #[tokio::test]
    async fn a_form_without_a_file_or_an_end_is_refused() {
        let no_file = b"--X\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na\r\n--X--\r\n";
        let cases: [(&[u8], &str); 5] = [
            (no_file, "InvalidArgument"),
            (b"", "MalformedPOSTRequest"),
            (b"nonsense", "MalformedPOSTRequest"),
            (b"--X\r\nContent-Type: x\r\n\r\na\r\n--X--", "MalformedPOSTRequest"),
            (&written(b"abc")[..165], "MalformedPOSTRequest"),
        ];
        for (body, expected) in cases {
            assert_eq!(read(form(&[body])).await.map(|_| ()), Err(expected.to_owned()));
        }
        let long =
            [b"--X\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n".to_vec(), vec![b'a'; 30 << 10]]
                .concat();
        assert_eq!(read(form(&[&long])).await.map(|_| ()), Err("MaxPostPreDataLengthExceeded".to_owned()));
    }

    #[test]
    fn boundaries_are_read_from_content_types() {
        assert_eq!(boundary(Some("multipart/form-data; boundary=\"a b\"")).ok().as_deref(), Some("a b"));
        assert_eq!(boundary(Some("Multipart/Form-Data;charset=x;Boundary=ab")).ok().as_deref(), Some("ab"));
        for bad in [None, Some("multipart/form-data"), Some("text/plain; boundary=x")] {
            assert!(boundary(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_file_comes_whole_however_it_is_cut(
            file in proptest::collection::vec(proptest::sample::select(b"\r\n-X ab".to_vec()), 0..200),
            size in 1usize..50,
        ) {
            prop_assume!(find(&file, b"\r\n--X").is_none() && !file.starts_with(b"--X"));
            let body = written(&file);
            let pieces: Vec<&[u8]> = body.chunks(size).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let (fields, got) = runtime.block_on(read(form(&pieces))).expect("a form");
            prop_assert_eq!(fields, vec![("key".to_owned(), "a/${filename}".to_owned())]);
            prop_assert_eq!(got, file);
        }
    }
}
