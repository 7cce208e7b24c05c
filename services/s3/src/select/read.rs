//! Records in the bytes of an object, as they come: CSV and JSON. Pure.
//!
//! Source: Amazon S3 API Reference, "SelectObjectContent", `InputSerialization`.

use std::io::Write as _;
use std::sync::Arc;

use pileus_api_s3::{CSVInput, InputSerialization};

use super::SelectError;
use super::eval::Record;

/// Source: "SelectObjectContent", requirements: the longest record.
const MAX_RECORD: usize = 1 << 20;
/// Chosen: a JSON document is one record, and may be this long.
const MAX_DOCUMENT: usize = 16 << 20;

/// Takes bytes, gives records.
pub enum Reader {
    Csv(Box<Csv>),
    Json(Json),
}

impl Reader {
    /// # Errors
    /// `InvalidDataSource`-like codes for what is not known; `NotImplemented` for Parquet is the caller's.
    pub fn new(input: &InputSerialization) -> Result<Reader, SelectError> {
        if let Some(csv) = &input.csv {
            return Ok(Reader::Csv(Box::new(Csv::new(csv)?)));
        }
        let json = input.json.as_ref().ok_or_else(|| {
            SelectError::new("MissingRequiredParameter", "The SelectRequest entity is missing a required parameter. Check the service documentation and try again.")
        })?;
        match json.r#type.as_deref() {
            Some("LINES") => Ok(Reader::Json(Json::new(MAX_RECORD))),
            Some("DOCUMENT") => Ok(Reader::Json(Json::new(MAX_DOCUMENT))),
            _ => Err(SelectError::new(
                "InvalidJsonType",
                "The JsonType is invalid. Only DOCUMENT and LINES are supported.",
            )),
        }
    }

    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Record>) -> Result<(), SelectError> {
        match self {
            Reader::Csv(csv) => csv.push(bytes, out),
            Reader::Json(json) => json.push(bytes, out),
        }
    }

    /// After the last bytes.
    pub fn finish(&mut self, out: &mut Vec<Record>) -> Result<(), SelectError> {
        match self {
            Reader::Csv(csv) => csv.finish(out),
            Reader::Json(json) => json.finish(out),
        }
    }
}

fn one_byte(text: Option<&str>, default: u8, what: &str) -> Result<u8, SelectError> {
    match text.map(str::as_bytes) {
        None | Some([]) => Ok(default),
        Some([byte]) => Ok(*byte),
        Some(_) => Err(SelectError::new(
            "InvalidRequestParameter",
            format!("The value of a parameter in SelectRequest element is invalid: {what}."),
        )),
    }
}

/// CSV, split as it comes.
pub struct Csv {
    field_end: u8,
    record_end: Vec<u8>,
    quote: u8,
    escape: u8,
    comment: Option<u8>,
    header: Header,
    names: Option<Arc<Vec<String>>>,
    /// What is not a whole record yet, and how far it was looked through.
    rest: Vec<u8>,
    looked: usize,
    is_quoted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    None,
    Ignore,
    Use,
}

impl Csv {
    fn new(input: &CSVInput) -> Result<Csv, SelectError> {
        let header = match input.file_header_info.as_deref() {
            None | Some("NONE" | "") => Header::None,
            Some("IGNORE") => Header::Ignore,
            Some("USE") => Header::Use,
            Some(_) => {
                return Err(SelectError::new(
                    "InvalidFileHeaderInfo",
                    "The FileHeaderInfo is invalid. Only NONE, USE, and IGNORE are supported.",
                ));
            }
        };
        let record_end = input.record_delimiter.as_deref().filter(|text| !text.is_empty()).unwrap_or("\n");
        if record_end.len() > 2 {
            return Err(SelectError::new(
                "InvalidRequestParameter",
                "The value of a parameter in SelectRequest element is invalid: RecordDelimiter.",
            ));
        }
        Ok(Csv {
            field_end: one_byte(input.field_delimiter.as_deref(), b',', "FieldDelimiter")?,
            record_end: record_end.as_bytes().to_vec(),
            quote: one_byte(input.quote_character.as_deref(), b'"', "QuoteCharacter")?,
            escape: one_byte(input.quote_escape_character.as_deref(), b'"', "QuoteEscapeCharacter")?,
            comment: input.comments.as_deref().and_then(|text| text.bytes().next()),
            header,
            names: None,
            rest: vec![],
            looked: 0,
            is_quoted: false,
        })
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<Record>) -> Result<(), SelectError> {
        self.rest.extend_from_slice(bytes);
        let mut begin = 0;
        let mut at = self.looked;
        let last = self.record_end.len();
        while at + last <= self.rest.len() {
            let byte = self.rest[at];
            if byte == self.escape && self.escape != self.quote && self.is_quoted {
                at += 2;
                continue;
            }
            if byte == self.quote {
                self.is_quoted = !self.is_quoted;
            } else if !self.is_quoted && self.rest[at..].starts_with(&self.record_end) {
                let line = self.rest[begin..at].to_vec();
                self.line(&line, out)?;
                at += last;
                begin = at;
                continue;
            }
            at += 1;
        }
        self.rest.drain(..begin);
        self.looked = at - begin;
        if self.rest.len() > MAX_RECORD {
            return Err(over());
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Record>) -> Result<(), SelectError> {
        let line = std::mem::take(&mut self.rest);
        if line.is_empty() { Ok(()) } else { self.line(&line, out) }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<Record>) -> Result<(), SelectError> {
        if line.len() > MAX_RECORD {
            return Err(over());
        }
        let line = match self.record_end.as_slice() {
            b"\n" => line.strip_suffix(b"\r").unwrap_or(line),
            _ => line,
        };
        if line.is_empty() || self.comment.is_some_and(|comment| line[0] == comment) {
            return Ok(());
        }
        let fields = self.fields(line)?;
        match self.header {
            Header::None => out.push(Record::Csv { fields, header: None }),
            Header::Ignore if self.names.is_none() => self.names = Some(Arc::default()),
            Header::Ignore => out.push(Record::Csv { fields, header: None }),
            Header::Use => match &self.names {
                None => self.names = Some(Arc::new(fields)),
                Some(names) => out.push(Record::Csv { fields, header: Some(names.clone()) }),
            },
        }
        Ok(())
    }

    fn fields(&self, line: &[u8]) -> Result<Vec<String>, SelectError> {
        let (mut fields, mut field, mut is_quoted, mut at) = (vec![], vec![], false, 0);
        let text = |field: Vec<u8>| {
            String::from_utf8(field).map_err(|_| {
                SelectError::new(
                    "InvalidTextEncoding",
                    "Invalid encoding type. Only UTF-8 encoding is supported.",
                )
            })
        };
        while at < line.len() {
            let (byte, next) = (line[at], line.get(at + 1).copied());
            if is_quoted && byte == self.escape && next == Some(self.quote) {
                field.push(self.quote);
                at += 2;
                continue;
            }
            if byte == self.quote {
                is_quoted = !is_quoted;
            } else if byte == self.field_end && !is_quoted {
                fields.push(text(std::mem::take(&mut field))?);
            } else {
                field.push(byte);
            }
            at += 1;
        }
        if is_quoted {
            return Err(SelectError::new(
                "CSVUnescapedQuote",
                "An unescaped quote was found while parsing the CSV file. To allow quoted record delimiters, set AllowQuotedRecordDelimiter to 'TRUE'.",
            ));
        }
        fields.push(text(field)?);
        Ok(fields)
    }
}

fn over() -> SelectError {
    SelectError::new(
        "OverMaxRecordSize",
        "The length of a record in the input or result is greater than the maxCharsPerRecord limit of 1 MB.",
    )
}

/// JSON values, one after the other.
pub struct Json {
    most: usize,
    rest: Vec<u8>,
    looked: usize,
    depth: usize,
    in_text: bool,
    is_escaped: bool,
}

impl Json {
    fn new(most: usize) -> Json {
        Json { most, rest: vec![], looked: 0, depth: 0, in_text: false, is_escaped: false }
    }

    fn push(&mut self, bytes: &[u8], out: &mut Vec<Record>) -> Result<(), SelectError> {
        self.rest.extend_from_slice(bytes);
        let (mut begin, mut at) = (0, self.looked);
        while at < self.rest.len() {
            let byte = self.rest[at];
            at += 1;
            if self.in_text {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.checked_sub(1).ok_or_else(json)?;
                    if self.depth == 0 {
                        out.push(value(&self.rest[begin..at])?);
                        begin = at;
                    }
                }
                // A value that is no structure ends with its line.
                b'\n' if self.depth == 0 => {
                    let line = &self.rest[begin..at];
                    if !line.trim_ascii().is_empty() {
                        out.push(value(line)?);
                    }
                    begin = at;
                }
                _ => {}
            }
        }
        self.rest.drain(..begin);
        self.looked = at - begin;
        if self.rest.len() > self.most {
            return Err(over());
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<Record>) -> Result<(), SelectError> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.trim_ascii().is_empty() {
            out.push(value(&rest)?);
        }
        Ok(())
    }
}

fn json() -> SelectError {
    SelectError::new(
        "JSONParsingError",
        "Encountered an error parsing the JSON file. Check the file and try again.",
    )
}

fn value(text: &[u8]) -> Result<Record, SelectError> {
    serde_json::from_slice(text).map(Record::Json).map_err(|_| json())
}

/// Undoes the compression of an object, piece by piece, so that a bomb never lies in memory whole.
pub enum Inflater {
    Plain,
    Gzip(Box<flate2::write::MultiGzDecoder<Vec<u8>>>),
    Bzip2(Box<bzip2::write::BzDecoder<Vec<u8>>>),
}

impl Inflater {
    /// # Errors
    /// `InvalidCompressionFormat`
    pub fn new(kind: Option<&str>) -> Result<Inflater, SelectError> {
        match kind {
            None | Some("NONE" | "") => Ok(Inflater::Plain),
            Some("GZIP") => Ok(Inflater::Gzip(Box::new(flate2::write::MultiGzDecoder::new(vec![])))),
            Some("BZIP2") => Ok(Inflater::Bzip2(Box::new(bzip2::write::BzDecoder::new(vec![])))),
            Some(_) => Err(SelectError::new(
                "InvalidCompressionFormat",
                "The file is not in a supported compression format. Only GZIP and BZIP2 are supported.",
            )),
        }
    }

    /// How many compressed bytes may be given at a time.
    pub fn step(&self) -> usize {
        match self {
            Inflater::Plain => 64 << 10,
            Inflater::Gzip(_) => 4 << 10,
            Inflater::Bzip2(_) => 256,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, SelectError> {
        match self {
            Inflater::Plain => Ok(bytes.to_vec()),
            Inflater::Gzip(decoder) => {
                decoder.write_all(bytes).map_err(|_| truncated())?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Inflater::Bzip2(decoder) => {
                decoder.write_all(bytes).map_err(|_| truncated())?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }

    pub fn finish(&mut self) -> Result<Vec<u8>, SelectError> {
        match self {
            Inflater::Plain => Ok(vec![]),
            Inflater::Gzip(decoder) => {
                decoder.try_finish().map_err(|_| truncated())?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Inflater::Bzip2(decoder) => {
                decoder.try_finish().map_err(|_| truncated())?;
                Ok(std::mem::take(decoder.get_mut()))
            }
        }
    }
}

fn truncated() -> SelectError {
    SelectError::new(
        "TruncatedInput",
        "Object decompression failed. Check that the object is properly compressed using the format specified in the request.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_api_s3::JSONInput;

    fn read(reader: &mut Reader, text: &[u8], step: usize) -> Result<Vec<Record>, &'static str> {
        let mut out = vec![];
        for piece in text.chunks(step) {
            reader.push(piece, &mut out).map_err(|error| error.code)?;
        }
        reader.finish(&mut out).map_err(|error| error.code)?;
        Ok(out)
    }

    fn csv(input: CSVInput) -> Reader {
        Reader::new(&InputSerialization { csv: Some(input), ..InputSerialization::default() }).expect("known")
    }

    #[test]
    fn csv_is_split_wherever_its_pieces_end() {
        let text = b"a,b\r\n\"x,1\",\"say \"\"hi\"\"\"\r\n# no\r\n\"two\nlines\",\n";
        let input = CSVInput {
            file_header_info: Some("USE".into()),
            comments: Some("#".into()),
            ..CSVInput::default()
        };
        for step in 1..text.len() {
            let records = read(&mut csv(input.clone()), text, step).expect("it is CSV");
            let fields: Vec<&[String]> = records
                .iter()
                .map(|record| match record {
                    Record::Csv { fields, .. } => fields.as_slice(),
                    Record::Json(_) => &[],
                })
                .collect();
            assert_eq!(fields, [["x,1", "say \"hi\""].as_slice(), ["two\nlines", ""].as_slice()], "{step}");
        }
        let other = CSVInput {
            field_delimiter: Some("|".into()),
            record_delimiter: Some(";".into()),
            quote_escape_character: Some("\\".into()),
            ..CSVInput::default()
        };
        let records = read(&mut csv(other), br#"a|"b\"|;c";d|e"#, 3).expect("it is CSV");
        assert_eq!(records.len(), 2);
        assert_eq!(read(&mut csv(CSVInput::default()), b"\"a", 9).map(|_| ()), Err("CSVUnescapedQuote"));
    }

    #[test]
    fn json_values_follow_each_other() {
        let input = InputSerialization {
            json: Some(JSONInput { r#type: Some("LINES".into()) }),
            ..InputSerialization::default()
        };
        let text = b"{\"a\": \"}\\\"\"}\n{\"b\": [1, {}]} [2]\n7\n";
        for step in 1..text.len() {
            let records = read(&mut Reader::new(&input).expect("known"), text, step).expect("it is JSON");
            assert_eq!(records.len(), 4, "{step}");
        }
        for bad in ["{", "}", "{\"a\" 1}", "x"] {
            let got = read(&mut Reader::new(&input).expect("known"), bad.as_bytes(), 9).map(|_| ());
            assert_eq!(got, Err("JSONParsingError"), "{bad}");
        }
    }

    #[test]
    fn compressed_bytes_are_undone() {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
        encoder.write_all(b"hello").expect("memory");
        let packed = encoder.finish().expect("memory");
        let mut inflater = Inflater::new(Some("GZIP")).expect("known");
        let mut got = inflater.push(&packed).expect("gzip");
        got.extend(inflater.finish().expect("gzip"));
        assert_eq!(got, b"hello");
        let mut broken = Inflater::new(Some("GZIP")).expect("known");
        assert!(broken.push(b"no gzip at all").is_err() || broken.finish().is_err());
        assert!(Inflater::new(Some("ZIP")).is_err());
    }
}
