//! Bytes from anywhere: nothing panics, nothing grows beyond its limits.

use proptest::prelude::*;
use serde_json::json;

use super::{read, service};
use crate::codec::{MAX_DEPTH, client, fuzz};
use crate::dynamic::{Blobs, DynStruct, from_json};
use crate::protocol::Protocol;
use crate::schema::Service;

const PROTOCOLS: [(&str, Protocol); 7] = [
    ("json", Protocol::AwsJson10),
    ("json", Protocol::RpcV2Cbor),
    ("json", Protocol::AmzCbor11),
    ("query", Protocol::AwsQuery),
    ("ec2", Protocol::Ec2Query),
    ("rest-json", Protocol::RestJson1),
    ("rest-xml", Protocol::RestXml),
];

fn services() -> Vec<(&'static Service, Protocol)> {
    static ALL: std::sync::OnceLock<Vec<(&'static Service, Protocol)>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| PROTOCOLS.iter().map(|(name, protocol)| (service(name), *protocol)).collect()).clone()
}

/// A valid request in the form that the fuzzing entries take.
fn valid(service: &'static Service, protocol: Protocol) -> Vec<u8> {
    let shape = service.operations[0].input;
    let inner =
        json!({ "Text": "<&>", "Number": -7, "Flag": true, "Real": 1.5, "Blob": "\u{1}", "Moment": 1.25 });
    let value = json!({
        "Id": "a b", "Rest": "c/d", "Head": ["x", "y,z"], "Meta": { "k": "v" }, "Page": 3, "Text": "\u{e4}\n\"",
        "Big": i64::MIN, "Texts": ["a", "b"], "Map": { "k": "v" }, "Self": inner.clone(), "Selves": [inner.clone(), {}],
        "SelfMap": { "m": inner }, "Choice": { "A": "x" }, "Flat": ["p", "q"], "Sparse": [1, 2], "Any": { "x": [1, {}] },
    });
    let mut input = DynStruct::new(shape);
    from_json(shape, &value, &mut input, Blobs::Text).unwrap();
    let request = client::encode_request(service, &service.operations[0], protocol, &input);
    let mut bytes = vec![0, 0];
    if protocol.is_rest() {
        bytes.extend_from_slice(format!("{}?{}\n", request.path, request.query).as_bytes());
        for (name, value) in &request.headers {
            bytes.extend_from_slice(format!("{name}: {}\n", value.to_str().unwrap()).as_bytes());
        }
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(&request.body);
    bytes
}

fn run_all(service: &'static Service, bytes: &[u8]) {
    fuzz::json(service, bytes);
    fuzz::cbor(service, bytes);
    fuzz::query(service, bytes);
    fuzz::rest_json(service, bytes);
    fuzz::rest_xml(service, bytes);
    fuzz::answers(service, bytes);
}

#[test]
fn the_valid_requests_are_valid() {
    for (service, protocol) in services() {
        fuzz::decode(service, protocol, &valid(service, protocol))
            .unwrap_or_else(|f| panic!("{protocol:?}: {f}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        run_all(services()[0].0, &bytes);
    }

    #[test]
    fn any_mutation_of_a_valid_request_is_read_or_refused(
        which in 0..PROTOCOLS.len(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let (service, protocol) = services()[which];
        let mut bytes = valid(service, protocol);
        for (at, byte, edit) in edits {
            let at = 2 + at.index(bytes.len() - 2);
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at.max(3)),
                _ => bytes.extend_from_within(at..),
            }
        }
        let _ = fuzz::decode(service, protocol, &bytes);
        run_all(service, &bytes);
    }
}

#[test]
fn deep_values_are_refused() {
    let nest = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    for depth in [MAX_DEPTH + 2, 100_000] {
        let json = nest(r#"{"Self":"#, "}", depth).replace(":}", ":{}}");
        let unknown = format!(r#"{{"x":{}}}"#, nest("[", "]", depth));
        let xml = format!("/\n\n<Input>{}</Input>", nest("<Self>", "</Self>", depth));
        let form = "Self.".repeat(depth) + "Text=x";
        let cbor = [&b"\xa1\x64Self".repeat(depth)[..], b"\xa0"].concat();
        assert!(read(service("json"), Protocol::AwsJson10, json.as_bytes()).is_err());
        assert!(read(service("json"), Protocol::AwsJson10, unknown.as_bytes()).is_err());
        assert!(read(service("json"), Protocol::RpcV2Cbor, &cbor).is_err());
        assert!(read(service("rest-xml"), Protocol::RestXml, xml.as_bytes()).is_err());
        assert!(read(service("query"), Protocol::AwsQuery, form.as_bytes()).is_err());
    }
}

/// Two bytes on the wire must not become a kilobyte in memory without end.
#[test]
fn small_elements_of_large_structures_spend_the_budget() {
    let body = format!(r#"{{"Selves":[{}]}}"#, vec!["{}"; 400_000].join(","));
    let refused = read(service("json"), Protocol::AwsJson10, body.as_bytes());
    assert_eq!(refused, Err("SerializationException:The request holds too many values.".into()));
    let body = format!(r#"{{"Selves":[{}]}}"#, vec!["{}"; 10_000].join(","));
    assert!(read(service("json"), Protocol::AwsJson10, body.as_bytes()).is_ok());
}
