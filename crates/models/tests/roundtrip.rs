//! For every operation of every model, in every protocol its service accepts: what a client writes, the codec reads, and
//! what the codec answers, the client reads.

use bytes::Bytes;
use http::HeaderMap;
use pileus_core::Timestamp;
use pileus_wire::codec::{self, client};
use pileus_wire::dynamic::{Blobs, DynStruct, to_json};
use pileus_wire::protocol::{Protocol, Request, ResponseBody};
use pileus_wire::schema::{Bind, Kind, Member, Operation, Service, Shape, TimeFormat};
use pileus_wire::value::{Document, Slot, Struct, Val};
use serde_json::{Value, json};

/// A small generator of numbers: a failure names its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn protocols(service: &Service) -> Vec<Protocol> {
    let declared = &service.protocols;
    if declared.iter().any(|protocol| protocol.is_rest()) || declared.contains(&Protocol::Ec2Query) {
        return declared.clone();
    }
    let mut all = vec![Protocol::AwsJson10, Protocol::AwsJson11, Protocol::RpcV2Cbor, Protocol::AmzCbor11];
    all.extend(declared.iter().copied().filter(|protocol| *protocol == Protocol::AwsQuery));
    all
}

/// Fills a structure at random; deeper ones more sparsely.
fn fill(dice: &mut Dice, shape: &'static Shape, into: &mut dyn Struct, depth: usize, is_top: bool) {
    let members = shape.members();
    if shape.kind == Kind::Union {
        let plain: Vec<_> =
            (0..members.len()).filter(|i| depth < 3 || is_scalar(members[*i].shape)).collect();
        if let Some(at) = plain.get(dice.roll(plain.len().max(1) as u64) as usize) {
            fill_member(dice, &members[*at], slot(into, *at), depth, false);
        }
        return;
    }
    let keep = if members.len() > 12 { 12 * 16 / members.len() as u64 } else { 12 };
    for (at, member) in members.iter().enumerate() {
        let must = is_top && matches!(member.bind, Bind::Label(_) | Bind::Status);
        // Deprecated twins share their name on the wire with what replaced them.
        let is_twin =
            members.iter().filter(|other| other.xml == member.xml && other.bind == member.bind).count() > 1;
        let is_stream = member.is_streaming || member.shape.kind == Kind::EventStream;
        let is_deep = depth > 3 && !is_scalar(member.shape);
        if is_stream || is_deep || is_twin || (!must && dice.roll(16) > keep.max(2)) {
            continue;
        }
        fill_member(dice, member, slot(into, at), depth, is_top);
    }
}

fn slot(into: &mut dyn Struct, at: usize) -> &mut dyn Val {
    into.get_mut(at).expect("a dynamic structure has a slot for every member")
}

fn is_scalar(shape: &Shape) -> bool {
    !matches!(shape.kind, Kind::Structure | Kind::Union | Kind::List | Kind::Map | Kind::EventStream)
}

fn fill_member(dice: &mut Dice, member: &'static Member, into: &mut dyn Val, depth: usize, is_top: bool) {
    let shape = member.shape;
    // What travels in headers, labels and query has a narrower alphabet and coarser times.
    let is_bound = is_top && !matches!(member.bind, Bind::Body | Bind::Payload);
    match into.slot() {
        Slot::Bool(slot) => *slot = dice.roll(2) == 1,
        Slot::Int(slot) if is_top && member.bind == Bind::Status => *slot = 200 + dice.roll(5) as i64,
        Slot::Int(slot) => {
            let (min, max) = shape.kind.integer_range();
            *slot = [0, 1, -1, min, max, (1 << 53) + 1, 1_234][dice.roll(7) as usize].clamp(min, max);
        }
        Slot::Float(slot) => {
            let special = [0.25, -1.5, 1e10, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
            *slot = special[dice.roll(6) as usize];
        }
        Slot::Str(slot) => *slot = text(dice, shape, is_bound),
        Slot::Blob(slot) => {
            *slot = Bytes::from((0..=dice.roll(20)).map(|_| dice.roll(256) as u8).collect::<Vec<_>>());
        }
        Slot::Time(slot) => {
            let is_coarse = is_bound || member.time_format == Some(TimeFormat::HttpDate);
            let millis = dice.roll(4_000_000_000_000) as i64 - 1_000_000_000_000;
            *slot = Timestamp::from_millis(if is_coarse { millis / 1_000 * 1_000 } else { millis });
        }
        Slot::Document(slot) => *slot = Document(json!({ "a": [1, "x", null, true, 2.5], "b": {} })),
        Slot::List(list) => {
            for _ in 0..=dice.roll(3) {
                let element = shape.element();
                fill_element(dice, element, list.push(), depth + 1, is_bound);
            }
        }
        Slot::Map(map) => {
            for i in 0..=dice.roll(3) {
                let (key, value) = shape.entry();
                let text = match key.shape.limits.values.get(i as usize) {
                    Some(value) => (*value).to_owned(),
                    None => format!("zz{i}{}", text(dice, key.shape, true).to_lowercase()),
                };
                fill_element(dice, value, map.push(text), depth + 1, is_bound);
            }
            map.finish();
        }
        Slot::Struct(value) => fill(dice, shape, value, depth + 1, false),
        Slot::Bytes(_) | Slot::Events(_) => {}
    }
}

fn fill_element(dice: &mut Dice, member: &'static Member, into: &mut dyn Val, depth: usize, is_bound: bool) {
    match into.slot() {
        Slot::Str(slot) => *slot = text(dice, member.shape, is_bound),
        Slot::Time(slot) if is_bound => *slot = Timestamp::from_secs(dice.roll(4_000_000_000) as i64),
        _ => fill_member(dice, member, into, depth, false),
    }
}

fn text(dice: &mut Dice, shape: &Shape, is_bound: bool) -> String {
    let values = &shape.limits.values;
    if !values.is_empty() {
        return values[dice.roll(values.len() as u64) as usize].to_owned();
    }
    let alphabet: &[char] = if is_bound {
        &['a', 'Z', '0', '9', '-', '_', '.']
    } else {
        &[
            'a', 'Z', '0', ' ', '<', '>', '&', '"', '\'', '\\', '/', '\r', '\n', '\t', '+', '%', '=', 'ä',
            '漢', '😀',
        ]
    };
    let length = (shape.limits.min.unwrap_or(1.0) as u64).clamp(1, 64) + dice.roll(8);
    (0..length).map(|_| alphabet[dice.roll(alphabet.len() as u64) as usize]).collect()
}

/// Forms, headers and XML cannot tell an empty collection or structure from none.
fn prune(value: &mut Value) -> bool {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, value| !prune(value));
            entries.is_empty()
        }
        Value::Array(items) => {
            items.retain_mut(|value| !prune(value));
            items.is_empty()
        }
        _ => false,
    }
}

fn compare(
    what: &str,
    shape: &'static Shape,
    sent: &DynStruct,
    read: &DynStruct,
    protocol: Protocol,
) -> Result<(), String> {
    let mut sent = to_json(shape, sent, Blobs::Base64);
    let mut read = to_json(shape, read, Blobs::Base64);
    if !matches!(
        protocol,
        Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RpcV2Cbor | Protocol::AmzCbor11
    ) {
        prune(&mut sent);
        prune(&mut read);
    }
    for member in shape.members().iter().filter(|member| member.bind == Bind::QueryMap) {
        for side in [&mut sent, &mut read] {
            if let Some(map) = side.get_mut(member.name).and_then(Value::as_object_mut) {
                map.retain(|key, _| key.starts_with("zz"));
            }
        }
    }
    if sent == read { Ok(()) } else { Err(format!("{what}:\n  sent {sent}\n  read {read}")) }
}

fn request(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    dice: &mut Dice,
) -> Result<(), String> {
    let what = format!("{}:{} as {protocol:?}, input", service.name, operation.name);
    let mut sent = DynStruct::new(operation.input);
    fill(dice, operation.input, &mut sent, 0, true);
    let wire = client::encode_request(service, operation, protocol, &sent);
    let labels = client::labels(operation.uri, &wire.path);
    let request = Request {
        method: &wire.method,
        path: &wire.path,
        query: &wire.query,
        headers: &wire.headers,
        labels: &labels,
    };
    let mut read = DynStruct::new(operation.input);
    codec::decode(service, operation, protocol, &request, wire.body.clone(), &mut read)
        .map_err(|fault| format!("{what}: {fault}: {wire:?}"))?;
    compare(&what, operation.input, &sent, &read, protocol)
}

fn answer(
    service: &'static Service,
    operation: &'static Operation,
    protocol: Protocol,
    dice: &mut Dice,
) -> Result<(), String> {
    let what = format!("{}:{} as {protocol:?}, output", service.name, operation.name);
    let mut sent = DynStruct::new(operation.output);
    fill(dice, operation.output, &mut sent, 0, true);
    let response = codec::encode(service, operation, protocol, &mut sent, "id");
    let ResponseBody::Bytes(body) = response.body else { panic!("{what}: a stream") };
    let headers: &HeaderMap = &response.headers;
    let mut read = DynStruct::new(operation.output);
    let done = client::decode_response(
        service,
        operation,
        protocol,
        response.status,
        headers,
        body.clone(),
        &mut read,
    );
    done.map_err(|fault| format!("{what}: {fault}: {}", String::from_utf8_lossy(&body)))?;
    compare(&what, operation.output, &sent, &read, protocol)
}

#[test]
fn what_a_client_writes_the_codec_reads_and_back() {
    let (mut count, mut problems) = (0, Vec::new());
    let entries = pileus_models::all().iter();
    for (entry, round) in entries.flat_map(|entry| (0..3).map(move |round| (entry, round))) {
        let service = entry.service();
        let mut dice = Dice(round);
        for operation in &service.operations {
            for protocol in protocols(service) {
                problems.extend(request(service, operation, protocol, &mut dice).err());
                problems.extend(answer(service, operation, protocol, &mut dice).err());
                count += 1;
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} of {count}:\n{}",
        problems.len(),
        problems[..problems.len().min(10)].join("\n")
    );
    assert!(count > 30_000, "only {count} pairs of operation and protocol");
}
