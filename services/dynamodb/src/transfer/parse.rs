//! Files of items, read as they come: pure, and blocking.

use std::io::{BufRead, BufReader, Read};

use crate::number::Number;
use crate::table::schema::{KeySchema, ScalarKind};
use crate::transfer::{ion, json};
use crate::value::{Item, Value};

/// The longest line, or Ion value: an item of the greatest size as text.
const MAX_TEXT: usize = 8 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Json,
    Ion,
    /// Keys get the types that the table gives them, everything else is a string.
    Csv {
        delimiter: u8,
        header: Option<Vec<String>>,
        definitions: Vec<(String, ScalarKind)>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Reads all items of a file, until `each` says that it is enough. What is wrong with one does not end the file.
///
/// # Errors
/// Of the file itself.
pub fn read_all(
    file: impl Read,
    compression: Compression,
    format: &Format,
    each: impl FnMut(Result<Item, String>) -> bool,
) -> Result<(), String> {
    let broken = |error: std::io::Error| error.to_string();
    match compression {
        Compression::None => read_plain(file, format, each).map_err(broken),
        Compression::Gzip => {
            read_plain(flate2::read::MultiGzDecoder::new(file), format, each).map_err(broken)
        }
        Compression::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(file).map_err(|error| error.to_string())?;
            read_plain(decoder, format, each).map_err(broken)
        }
    }
}

fn read_plain(
    file: impl Read,
    format: &Format,
    mut each: impl FnMut(Result<Item, String>) -> bool,
) -> Result<(), std::io::Error> {
    match format {
        Format::Json => for_lines(file, |line| match line {
            Ok(line) if line.trim().is_empty() => true,
            Ok(line) => each(json_line(&line)),
            Err(text) => each(Err(text)),
        }),
        Format::Ion => read_ion(file, each),
        Format::Csv { delimiter, header, definitions } => {
            read_csv(file, *delimiter, header.as_deref(), definitions, each)
        }
    }
}

/// Lines without their ends; one that is too long, or no UTF-8, is an error of its own.
fn for_lines(
    file: impl Read,
    mut each: impl FnMut(Result<String, String>) -> bool,
) -> Result<(), std::io::Error> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    loop {
        let mut line = Vec::new();
        let read = reader.by_ref().take(MAX_TEXT as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.len() >= MAX_TEXT && line.last() != Some(&b'\n') {
            reader.skip_until(b'\n')?;
            if !each(Err("a line is too long".to_owned())) {
                return Ok(());
            }
            continue;
        }
        let line = String::from_utf8(line).map_err(|_| "a line is no UTF-8".to_owned());
        if !each(line) {
            return Ok(());
        }
    }
}

fn json_line(line: &str) -> Result<Item, String> {
    let value: serde_json::Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    json::read_item(value.get("Item").ok_or("a line has no Item")?)
}

/// A value may go over several lines; a line that can be no part of one is left out.
fn read_ion(
    file: impl Read,
    mut each: impl FnMut(Result<Item, String>) -> bool,
) -> Result<(), std::io::Error> {
    let mut text = String::new();
    let mut goes_on = true;
    for_lines(file, |line| {
        match line {
            Ok(line) => text.push_str(&line),
            Err(error) => {
                text.clear();
                goes_on = each(Err(error));
                return goes_on;
            }
        }
        while goes_on {
            match ion::read_value(&text) {
                Ok(None) => {
                    text.clear();
                    break;
                }
                Ok(Some((value, rest))) => {
                    goes_on = each(ion_item(value));
                    text = rest.to_owned();
                }
                Err(ion::Fault::Incomplete) if text.len() < MAX_TEXT => break,
                Err(ion::Fault::Incomplete) => {
                    text.clear();
                    goes_on = each(Err("a value is too long".to_owned()));
                }
                Err(ion::Fault::Wrong(error)) => {
                    text.clear();
                    goes_on = each(Err(error));
                }
            }
        }
        goes_on
    })?;
    if goes_on && !text.trim().is_empty() {
        each(Err("the file ends within a value".to_owned()));
    }
    Ok(())
}

fn ion_item(value: Value) -> Result<Item, String> {
    let Value::M(mut record) = value else { return Err("a value is no struct".to_owned()) };
    match record.remove("Item") {
        Some(Value::M(item)) => Ok(item),
        _ => Err("a value has no Item".to_owned()),
    }
}

fn read_csv(
    file: impl Read,
    delimiter: u8,
    header: Option<&[String]>,
    definitions: &[(String, ScalarKind)],
    mut each: impl FnMut(Result<Item, String>) -> bool,
) -> Result<(), std::io::Error> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(BufReader::new(file));
    let mut names: Option<Vec<String>> = header.map(<[String]>::to_vec);
    for row in reader.records() {
        let row = match row {
            Ok(row) => row,
            Err(error) if error.is_io_error() => return Err(std::io::Error::other(error)),
            Err(error) => {
                if !each(Err(error.to_string())) {
                    return Ok(());
                }
                continue;
            }
        };
        let Some(names) = &names else {
            names = Some(row.iter().map(str::to_owned).collect());
            continue;
        };
        if !each(csv_item(names, &row, definitions)) {
            return Ok(());
        }
    }
    Ok(())
}

fn csv_item(
    names: &[String],
    row: &csv::StringRecord,
    definitions: &[(String, ScalarKind)],
) -> Result<Item, String> {
    if row.len() != names.len() {
        return Err(format!("a row has {} fields, and the header {}", row.len(), names.len()));
    }
    let field = |(name, text): (&String, &str)| -> Result<_, String> {
        let kind = definitions.iter().find(|(known, _)| known == name).map(|(_, kind)| *kind);
        let value = match kind {
            Some(ScalarKind::N) => Value::N(Number::parse(text).map_err(|error| error.to_string())?),
            Some(ScalarKind::B) => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                Value::B(bytes.map_err(|error| format!("a binary is not base64: {error}"))?.into())
            }
            _ => Value::S(text.to_owned()),
        };
        Ok((name.clone(), value))
    };
    names.iter().zip(row.iter()).map(field).collect()
}

/// What a table with this schema refuses of an item.
///
/// # Errors
/// The sentence of the refusal.
pub fn check(item: &Item, schema: &KeySchema) -> Result<(), String> {
    let checked = schema.encode_item(item).map(|_| ());
    checked
        .and_then(|()| crate::item::write::check_size(item))
        .and_then(|()| crate::value::check_depth(item))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::tests::{item, n, s};
    use std::io::Write as _;

    fn read(text: &[u8], compression: Compression, format: &Format) -> (Vec<Item>, usize) {
        let (mut items, mut errors) = (Vec::new(), 0);
        read_all(text, compression, format, |one| {
            match one {
                Ok(item) => items.push(item),
                Err(_) => errors += 1,
            }
            true
        })
        .unwrap();
        (items, errors)
    }

    #[test]
    fn every_format_gives_its_items_and_counts_what_is_wrong() {
        let csv = |header: Option<Vec<String>>, delimiter| Format::Csv {
            delimiter,
            header,
            definitions: vec![("pk".to_owned(), ScalarKind::S), ("sk".to_owned(), ScalarKind::N)],
        };
        let one = item(&[("pk", s("a, b")), ("sk", n("1")), ("v", s("x"))]);
        let two = item(&[("pk", s("c")), ("sk", n("2")), ("v", s("y"))]);
        let both = vec![one, two];
        let names = ["pk", "sk", "v"].map(str::to_owned).to_vec();
        let cases: Vec<(Format, &str, usize)> = vec![
            (csv(None, b','), "pk,sk,v\n\"a, b\",1,x\nc,2,y\n", 0),
            (csv(Some(names), b'|'), "a, b|1|x\r\nc|2|y", 0),
            (csv(None, b','), "pk,sk,v\n\"a, b\",1,x\nc,zwei,y\nc,2,y\nshort,1\n", 2),
            (
                Format::Json,
                "{\"Item\":{\"pk\":{\"S\":\"a, b\"},\"sk\":{\"N\":\"1\"},\"v\":{\"S\":\"x\"}}}\n\nnonsense\n{\"Item\":{\"pk\":{\"S\":\"c\"},\"sk\":{\"N\":\"2.0\"},\"v\":{\"S\":\"y\"}}}\n{\"Other\":1}\n{\"Item\":{\"pk\":{\"X\":1}}}",
                3,
            ),
            (
                Format::Ion,
                "$ion_1_0 {Item:{pk:\"a, b\",sk:1.,\n v:\"x\"}}\n{Item:{pk:\"c\",sk:2,v:\"y\"}} {Other:1}\n{Item:{pk:",
                2,
            ),
        ];
        for (format, text, errors) in cases {
            assert_eq!(read(text.as_bytes(), Compression::None, &format), (both.clone(), errors), "{text}");
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(text.as_bytes()).unwrap();
            let gzip = gzip.finish().unwrap();
            assert_eq!(read(&gzip, Compression::Gzip, &format), (both.clone(), errors), "{text}");
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), level);
            assert_eq!(read(&zstd, Compression::Zstd, &format), (both.clone(), errors), "{text}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_an_error() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            assert!(read_all(&b"plain text"[..], compression, &Format::Json, |_| true).is_err());
        }
    }
}
