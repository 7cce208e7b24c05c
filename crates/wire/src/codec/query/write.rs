//! Requests of awsQuery and ec2Query, as clients write them.

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::super::{percent, special_float_name, time, write_float, write_integer};
use crate::protocol::Protocol;
use crate::schema::{Member, Shape, TimeFormat};
use crate::value::{Struct, View};

/// Appends `&Name=value` for every scalar of the structure.
pub fn write_form(out: &mut Vec<u8>, protocol: Protocol, shape: &'static Shape, value: &dyn Struct) {
    let mut writer = Writer { out, is_ec2: protocol == Protocol::Ec2Query };
    writer.structure("", shape, value);
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    is_ec2: bool,
}

impl Writer<'_> {
    fn structure(&mut self, prefix: &str, shape: &'static Shape, value: &dyn Struct) {
        for (i, member) in shape.members().iter().enumerate() {
            let name = if self.is_ec2 { member.ec2 } else { member.query };
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            self.value(&path, member, value.get(i).view());
        }
    }

    fn value(&mut self, path: &str, member: &'static Member, view: View<'_>) {
        match view {
            View::Absent | View::Stream => {}
            View::Struct(value) => self.structure(path, member.shape, value),
            View::List(list) => {
                let element = member.shape.element();
                if list.is_empty() && !self.is_ec2 {
                    self.pair(path, |_| {});
                }
                let is_flat = member.is_flattened || self.is_ec2;
                let base = if is_flat { path.to_owned() } else { format!("{path}.{}", element.query) };
                for i in 0..list.len() {
                    self.value(&format!("{base}.{}", i + 1), element, list.get(i).view());
                }
            }
            View::Map(map) => {
                let (key, value) = member.shape.entry();
                let base = if member.is_flattened { path.to_owned() } else { format!("{path}.entry") };
                for i in 0..map.len() {
                    let (text, val) = map.entry(i);
                    let entry = format!("{base}.{}", i + 1);
                    self.value(&format!("{entry}.{}", key.query), key, View::Str(text));
                    self.value(&format!("{entry}.{}", value.query), value, val.view());
                }
            }
            scalar => self.pair(path, |out| write_scalar(out, member, scalar, TimeFormat::DateTime)),
        }
    }

    fn pair(&mut self, path: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let mut text = Vec::new();
        write(&mut text);
        self.out.push(b'&');
        percent::encode(self.out, path.as_bytes(), b"");
        self.out.push(b'=');
        percent::encode(self.out, &text, b"");
    }
}

/// Appends a scalar as text, as query parameters, headers, labels and XML carry it (not escaped).
pub fn write_scalar(out: &mut Vec<u8>, member: &Member, view: View<'_>, default: TimeFormat) {
    match view {
        View::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        View::Int(value) => write_integer(out, value),
        View::Float(value) => match special_float_name(value) {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => write_float(out, member.shape.kind, value),
        },
        View::Str(value) => out.extend_from_slice(value.as_bytes()),
        View::Blob(value) => out.extend_from_slice(BASE64_STANDARD.encode(value).as_bytes()),
        View::Time(value) => time::write(out, value, member.time_format.unwrap_or(default)),
        View::Document(value) => out.extend_from_slice(value.0.to_string().as_bytes()),
        View::Absent | View::Stream | View::List(_) | View::Map(_) | View::Struct(_) => {}
    }
}
