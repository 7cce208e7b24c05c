//! Requests of the REST protocols.

use std::borrow::Cow;

use bytes::Bytes;

use super::super::coercion::{self, Found, Place};
use super::super::xml::parse_scalar;
use super::super::{Select, is_s3, json, mismatch, percent, put_blob, xml};
use super::{has_body, headers, payload};
use crate::fault::Fault;
use crate::protocol::{Protocol, Request};
use crate::schema::{Bind, Kind, Member, Operation, Service, TimeFormat};
use crate::value::{Slot, Struct, View};

/// Reads labels, query, headers and body into a structure. A streaming payload is left alone.
///
/// # Errors
/// `SerializationException` for what does not fit; S3's `InvalidArgument` and `MalformedXML`.
pub fn decode(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    request: &Request<'_>,
    body: Bytes,
    into: &mut dyn Struct,
) -> Result<(), Fault> {
    let shape = operation.input;
    let refuse = |member: &'static Member, name: &str, text: &str| refuse(service, member, name, text);
    for (at, member) in shape.members().iter().enumerate() {
        let Bind::Label(name) = member.bind else { continue };
        let Some((_, text)) = request.labels.iter().find(|(label, _)| *label == name) else { continue };
        let slot = into.get_mut(at).ok_or_else(|| mismatch(member))?;
        parse_scalar(member, text, TimeFormat::DateTime, slot)?.ok_or_else(|| refuse(member, name, text))?;
    }
    if !request.query.is_empty() {
        query(operation, protocol, request.query, into, &refuse)?;
    }
    headers::read(shape, request.headers, into, &refuse)?;
    match payload(shape) {
        Some((_, member)) if member.is_streaming => Ok(()),
        Some((at, member)) => read_payload(service, protocol, at, member, body, into),
        None if body.is_empty() || !has_body(protocol, shape, Select::Body) => Ok(()),
        None if protocol == Protocol::RestXml => xml::decode(shape, Select::Body, &body, into),
        None => json::decode(service, shape, Select::Body, &body, into),
    }
}

fn read_payload(
    service: &'static Service,
    protocol: Protocol,
    at: usize,
    member: &'static Member,
    body: Bytes,
    into: &mut dyn Struct,
) -> Result<(), Fault> {
    if body.is_empty() {
        return Ok(());
    }
    let slot = into.get_mut(at).ok_or_else(|| mismatch(member))?;
    match member.shape.kind {
        Kind::Blob => put_blob(member, slot, body),
        Kind::String => {
            let Slot::Str(slot) = slot.slot() else { return Err(mismatch(member)) };
            *slot = String::from_utf8(body.into()).map_err(|_| coercion::malformed())?;
            Ok(())
        }
        _ if protocol == Protocol::RestXml => xml::decode_value(member, &body, slot),
        _ => {
            json::decode_value(service, member, &body, slot)?;
            // Clients write `{}` for a structure that they do not have.
            let is_unset = match slot.view() {
                View::Struct(value) => (0..member.shape.members().len()).all(|i| !value.get(i).is_present()),
                _ => false,
            };
            if is_unset && !member.is_required {
                slot.clear();
            }
            Ok(())
        }
    }
}

fn query(
    operation: &'static Operation,
    protocol: Protocol,
    query: &str,
    into: &mut dyn Struct,
    refuse: &dyn Fn(&'static Member, &str, &str) -> Fault,
) -> Result<(), Fault> {
    let members = operation.input.members();
    let mut rest: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = percent::decode_form(key).zip(percent::decode_form(value));
        let (key, value) = decoded.ok_or_else(coercion::malformed)?;
        let named = members.iter().enumerate().filter(|(_, member)| member.bind_query() == Some(&*key));
        let mut is_bound = false;
        for (at, member) in named {
            is_bound = true;
            let slot = into.get_mut(at).ok_or_else(|| mismatch(member))?;
            let fits = match member.shape.kind {
                Kind::List => {
                    let Slot::List(list) = slot.slot() else { return Err(mismatch(member)) };
                    parse_scalar(member.shape.element(), &value, TimeFormat::DateTime, list.push())?
                }
                _ => parse_scalar(member, &value, TimeFormat::DateTime, slot)?,
            };
            fits.ok_or_else(|| refuse(member, &key, &value))?;
        }
        // In restJson1 the map holds what other members take, too; in restXml it does not.
        let is_for_map = protocol == Protocol::RestJson1 || !is_bound;
        if is_for_map && !is_literal(operation.uri, &key) && !key.starts_with("X-Amz-") {
            rest.push((key, value));
        }
    }
    let map = members.iter().enumerate().find(|(_, member)| member.bind == Bind::QueryMap);
    match map {
        Some((at, member)) if !rest.is_empty() => query_map(member, at, rest, into),
        _ => Ok(()),
    }
}

/// A map of all parameters: of strings, or of lists of strings.
///
/// Source: Smithy, "httpQueryParams trait", and the protocol tests of restJson1 and restXml, which differ.
fn query_map(
    member: &'static Member,
    at: usize,
    mut params: Vec<(Cow<'_, str>, Cow<'_, str>)>,
    into: &mut dyn Struct,
) -> Result<(), Fault> {
    let (_, value) = member.shape.entry();
    let Slot::Map(map) = into.get_mut(at).ok_or_else(|| mismatch(member))?.slot() else {
        return Err(mismatch(member));
    };
    params.sort_by(|a, b| a.0.cmp(&b.0));
    for group in params.chunk_by(|a, b| a.0 == b.0) {
        let slot = map.push(group[0].0.clone().into_owned());
        match slot.slot() {
            Slot::List(list) => {
                for (_, text) in group {
                    let _ = parse_scalar(value.shape.element(), text, TimeFormat::DateTime, list.push())?;
                }
            }
            // Of several values a plain map takes the first.
            _ => drop(parse_scalar(value, &group[0].1, TimeFormat::DateTime, slot)?),
        }
    }
    map.finish();
    Ok(())
}

/// Whether the URI template itself has this parameter: `/{Bucket}?acl`.
fn is_literal(template: &str, key: &str) -> bool {
    let literal = template.split_once('?').map_or("", |(_, query)| query);
    literal.split('&').any(|pair| pair.split('=').next() == Some(key) && !key.is_empty())
}

fn refuse(service: &'static Service, member: &'static Member, name: &str, text: &str) -> Fault {
    if !is_s3(service) {
        return coercion::refuse(service, member.shape, Found::Text(text), Place::Member);
    }
    let message = match member.shape.kind {
        kind if kind.is_integer() => format!("Provided {name} not an integer or within integer range"),
        _ => format!("Invalid value for {name}"),
    };
    Fault::framework("InvalidArgument", 400, message)
        .with_extra("ArgumentName", name.to_owned())
        .with_extra("ArgumentValue", text.to_owned())
}
