//! Values as XML text.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::super::query::write_scalar;
use super::super::{Select, find, time};
use crate::schema::{Kind, Member, Shape, TimeFormat};
use crate::value::{Struct, View};

/// XML text as it grows.
#[derive(Default)]
pub struct Writer {
    pub out: Vec<u8>,
    /// S3 writes `.000Z` where others write `Z`.
    pub always_millis: bool,
}

impl Writer {
    pub fn declaration(&mut self) {
        self.out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    }

    /// `<name xmlns="..">`; `namespace` may carry a prefix.
    pub fn open(&mut self, name: &str, namespace: Option<&str>) {
        self.start(name, namespace);
        self.out.push(b'>');
    }

    /// A start tag that is still open for attributes.
    fn start(&mut self, name: &str, namespace: Option<&str>) {
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        if let Some(namespace) = namespace.filter(|namespace| !namespace.is_empty()) {
            let (attribute, uri) = match namespace.split_once(' ') {
                Some((prefix, uri)) => (format!("xmlns:{prefix}"), uri),
                None => ("xmlns".to_owned(), namespace),
            };
            self.attribute(&attribute, uri);
        }
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"=\"");
        escape(&mut self.out, value.as_bytes(), true);
        self.out.push(b'"');
    }

    pub fn close(&mut self, name: &str) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
    }

    /// `<name>text</name>`.
    pub fn leaf(&mut self, name: &str, text: &str) {
        self.open(name, None);
        escape(&mut self.out, text.as_bytes(), false);
        self.close(name);
    }

    /// A structure as an element.
    pub fn structure(
        &mut self,
        name: &str,
        namespace: Option<&str>,
        shape: &'static Shape,
        select: Select,
        value: &dyn Struct,
    ) {
        self.start(name, namespace);
        for (i, member) in shape.members().iter().enumerate().filter(|(_, member)| member.is_xml_attribute) {
            let view = value.get(i).view();
            if !matches!(view, View::Absent) {
                let mut text = Vec::new();
                self.scalar(&mut text, member, view);
                self.attribute(member.xml, &String::from_utf8_lossy(&text));
            }
        }
        self.out.push(b'>');
        self.members(shape, select, value);
        self.close(name);
    }

    /// The members of a structure that are elements, one after the other.
    pub fn members(&mut self, shape: &'static Shape, select: Select, value: &dyn Struct) {
        let active = value.active();
        for (i, member) in shape.members().iter().enumerate() {
            let is_shown =
                active.is_none_or(|only| only == i) && !member.is_xml_attribute && select.takes(member);
            if is_shown {
                self.element(member.xml, member, value.get(i).view());
            }
        }
    }

    /// A member's value as elements called `name`; nothing if it is absent.
    pub fn element(&mut self, name: &str, member: &'static Member, view: View<'_>) {
        self.root(name, member.xml_namespace, member, view);
    }

    /// As `element`, with the namespace given.
    pub fn root(&mut self, name: &str, namespace: Option<&str>, member: &'static Member, view: View<'_>) {
        match view {
            View::Absent | View::Stream => {}
            View::Struct(value) => self.structure(name, namespace, member.shape, Select::All, value),
            View::List(list) => {
                let element = member.shape.element();
                if !member.is_flattened {
                    self.open(name, namespace);
                }
                let item = if member.is_flattened { name } else { element.xml };
                for i in 0..list.len() {
                    match list.get(i).view() {
                        View::Absent => self.leaf(item, ""),
                        view => self.element(item, element, view),
                    }
                }
                if !member.is_flattened {
                    self.close(name);
                }
            }
            View::Map(map) => {
                let (key, value) = member.shape.entry();
                if !member.is_flattened {
                    self.open(name, namespace);
                }
                for i in 0..map.len() {
                    let (text, val) = map.entry(i);
                    if member.is_flattened {
                        self.open(name, namespace);
                    } else {
                        self.open("entry", None);
                    }
                    self.element(key.xml, key, View::Str(text));
                    self.element(value.xml, value, val.view());
                    self.close(if member.is_flattened { name } else { "entry" });
                }
                if !member.is_flattened {
                    self.close(name);
                }
            }
            scalar => {
                self.open(name, namespace);
                let is_text = matches!(member.shape.kind, Kind::String | Kind::Document);
                if is_text {
                    let mut text = Vec::new();
                    let bytes = match scalar {
                        View::Str(text) => text.as_bytes(),
                        other => {
                            self.scalar(&mut text, member, other);
                            &text
                        }
                    };
                    escape(&mut self.out, bytes, false);
                } else {
                    let mut out = std::mem::take(&mut self.out);
                    self.scalar(&mut out, member, scalar);
                    self.out = out;
                }
                self.close(name);
            }
        }
    }

    fn scalar(&self, out: &mut Vec<u8>, member: &Member, view: View<'_>) {
        match view {
            View::Blob(bytes) => out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes()),
            View::Time(moment)
                if self.always_millis && member.time_format != Some(TimeFormat::EpochSeconds) =>
            {
                let format = member.time_format.unwrap_or(TimeFormat::DateTime);
                let text = time::format(moment, format);
                match text.strip_suffix('Z').filter(|text| !text.contains('.')) {
                    Some(whole) => out.extend_from_slice(format!("{whole}.000Z").as_bytes()),
                    None => out.extend_from_slice(text.as_bytes()),
                }
            }
            view => write_scalar(out, member, view, TimeFormat::DateTime),
        }
    }
}

/// Appends text with XML's special characters escaped, as AWS does: quotes and carriage returns too. Characters that XML
/// cannot carry are written as references, which most parsers take.
fn escape(out: &mut Vec<u8>, bytes: &[u8], is_attribute: bool) {
    let is_special =
        |byte: u8| (byte == b'&') | (byte == b'<') | (byte == b'>') | (byte == b'"') | (byte < 0x20);
    let mut rest = bytes;
    while let Some(at) = find(rest, is_special) {
        out.extend_from_slice(&rest[..at]);
        let byte = rest[at];
        rest = &rest[at + 1..];
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\n' | b'\t' if !is_attribute => out.push(byte),
            byte => out.extend_from_slice(format!("&#x{byte:X};").as_bytes()),
        }
    }
    out.extend_from_slice(rest);
}
