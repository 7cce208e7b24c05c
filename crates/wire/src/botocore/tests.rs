use serde_json::json;

use super::*;
use crate::schema::Shape;

/// A service with one operation `Do` and the given members in its input.
fn input(protocol: &str, members: Value, shapes: Value) -> &'static Shape {
    let mut document = json!({
        "metadata": {"protocol": protocol, "apiVersion": "2020-01-08", "endpointPrefix": "x"},
        "operations": {"Do": {"name": "Do", "http": {"method": "POST", "requestUri": "/"}, "input": {"shape": "In"}}},
        "shapes": {
            "S": {"type": "string"},
            "T": {"type": "timestamp"},
            "M": {"type": "map", "key": {"shape": "S", "locationName": "K"}, "value": {"shape": "S"}},
            "L": {"type": "list", "member": {"shape": "S", "locationName": "item"}},
            "In": {"type": "structure", "required": ["a"], "members": members},
        },
    });
    for (name, shape) in shapes.as_object().unwrap() {
        document["shapes"][name] = shape.clone();
    }
    load(&document).unwrap().operation("Do").unwrap().input
}

#[test]
fn body_names_count_for_the_protocol_that_the_model_speaks() {
    // protocol, JSON, XML, query, ec2
    let cases = [
        ("json", ("Foo", "a", "a", "A")),
        ("rest-json", ("Foo", "a", "a", "A")),
        ("smithy-rpc-v2-cbor", ("Foo", "a", "a", "A")),
        ("query", ("a", "Foo", "Foo", "Foo")),
        ("rest-xml", ("a", "Foo", "Foo", "Foo")),
        ("ec2", ("a", "Foo", "Foo", "Foo")),
    ];
    for (protocol, expected) in cases {
        let shape = input(protocol, json!({"a": {"shape": "S", "locationName": "Foo"}}), json!({}));
        let member = &shape.members()[0];
        assert_eq!((member.json, member.xml, member.query, member.ec2), expected, "{protocol}");
        assert!(member.is_required);
    }
}

#[test]
fn ec2_takes_its_own_name_else_a_capital() {
    let members = json!({
        "a": {"shape": "S", "locationName": "foo", "queryName": "bar"},
        "b": {"shape": "S", "locationName": "foo"},
        "c": {"shape": "S"},
    });
    let names: Vec<_> = input("ec2", members, json!({})).members().iter().map(|m| m.ec2).collect();
    assert_eq!(names, ["bar", "Foo", "C"]);
}

#[test]
fn members_travel_where_the_model_says() {
    let members = json!({
        "a": {"shape": "S", "location": "uri", "locationName": "label"},
        "b": {"shape": "S", "location": "header", "locationName": "X-B", "jsonvalue": true},
        "c": {"shape": "M", "location": "headers", "locationName": "X-Meta-"},
        "d": {"shape": "S", "location": "querystring", "locationName": "d-d"},
        "e": {"shape": "M", "location": "querystring"},
        "f": {"shape": "S", "location": "statusCode"},
        "g": {"shape": "S"},
        "h": {"shape": "S"},
    });
    let shapes = json!({"In": {"type": "structure", "payload": "g", "members": members}});
    let shape = input("rest-json", json!({}), shapes);
    let binds: Vec<_> = shape.members().iter().map(|member| member.bind.clone()).collect();
    let expected = [
        Bind::Label("label"),
        Bind::Header("X-B"),
        Bind::HeaderPrefix("x-meta-"),
        Bind::Query("d-d"),
        Bind::QueryMap,
        Bind::Status,
        Bind::Payload,
        Bind::Body,
    ];
    assert_eq!(binds, expected);
    assert!(shape.members()[1].is_json_value);
}

#[test]
fn collections_and_times_keep_their_traits() {
    let members = json!({
        "list": {"shape": "L", "flattened": true, "locationName": "custom"},
        "map": {"shape": "M", "xmlNamespace": {"uri": "http://n", "prefix": "p"}},
        "time": {"shape": "T", "timestampFormat": "rfc822"},
        "other": {"shape": "Epoch"},
        "attr": {"shape": "S", "xmlAttribute": true, "locationName": "xsi:type", "xmlNamespace": "http://m"},
        "doc": {"shape": "Doc"},
        "one": {"shape": "Union"},
    });
    let shapes = json!({
        "Epoch": {"type": "timestamp", "timestampFormat": "unixTimestamp"},
        "Doc": {"type": "structure", "document": true, "members": {}},
        "Union": {"type": "structure", "union": true, "members": {"s": {"shape": "S"}}},
    });
    let shape = input("rest-xml", members, shapes);
    let member = |name: &str| shape.member(name).unwrap().1;
    assert_eq!((member("list").xml, member("list").is_flattened), ("custom", true));
    assert_eq!(member("list").shape.element().xml, "item");
    assert_eq!(member("map").xml_namespace, Some("p http://n"));
    assert_eq!(member("map").shape.entry().0.xml, "K");
    assert_eq!(member("map").shape.entry().1.xml, "value");
    assert_eq!(member("time").time_format, Some(TimeFormat::HttpDate));
    assert_eq!(member("other").time_format, Some(TimeFormat::EpochSeconds));
    assert_eq!((member("attr").xml, member("attr").query), ("xsi:type", "type"));
    assert!(member("attr").is_xml_attribute);
    assert_eq!((member("doc").shape.kind, member("one").shape.kind), (Kind::Document, Kind::Union));
}

#[test]
fn errors_say_whose_fault_they_are() {
    let document = |metadata: Value| {
        json!({
            "metadata": metadata,
            "operations": {},
            "shapes": {
                "A": {"type": "structure", "members": {}, "exception": true},
                "B": {"type": "structure", "members": {}, "exception": true, "fault": true},
                "C": {"type": "structure", "members": {}, "exception": true,
                    "error": {"code": "Customized", "httpStatusCode": 402, "senderFault": true}},
                "D": {"type": "structure", "members": {}, "exception": true, "error": {"httpStatusCode": 503}},
            },
        })
    };
    let plain = load(&document(json!({"protocol": "query"}))).unwrap();
    let traits = |service: &Service, name: &str| {
        let error = service.shape(name).unwrap().error.clone().unwrap();
        (error.code, error.query_code, error.status, error.is_sender_fault)
    };
    assert_eq!(traits(plain, "A"), (None, None, 0, true));
    assert_eq!(traits(plain, "B"), (None, None, 0, false));
    assert_eq!(traits(plain, "C"), (Some("Customized"), None, 402, true));
    assert_eq!(traits(plain, "D"), (None, None, 503, false));
    let compatible = load(&document(json!({"protocol": "json", "awsQueryCompatible": {}}))).unwrap();
    assert_eq!(traits(compatible, "C"), (None, Some("Customized"), 402, true));
    assert_eq!(compatible.protocols, [Protocol::AwsJson11, Protocol::AwsQuery]);
}

#[test]
fn operations_keep_what_frames_them() {
    let document = json!({
        "metadata": {"protocol": "json", "protocols": ["smithy-rpc-v2-cbor", "json"], "jsonVersion": "1.0"},
        "operations": {"Do": {
            "name": "Do2020", "http": {"method": "PUT", "requestUri": "/{A}?x", "responseCode": 201},
            "input": {"shape": "In", "locationName": "Root", "xmlNamespace": {"uri": "http://r"}},
            "errors": [{"shape": "E"}], "authtype": "none", "deprecated": true, "httpChecksumRequired": true,
            "endpoint": {"hostPrefix": "{A}."},
        }},
        "shapes": {
            "S": {"type": "string"},
            "In": {"type": "structure", "members": {"A": {"shape": "S", "hostLabel": true, "idempotencyToken": true}}},
            "E": {"type": "structure", "members": {}, "exception": true},
        },
    });
    let service = load(&document).unwrap();
    assert_eq!(service.protocols, [Protocol::RpcV2Cbor, Protocol::AwsJson10]);
    let operation = service.operation("Do").unwrap();
    assert_eq!((operation.method, operation.uri, operation.status), ("PUT", "/{A}?x", 201));
    assert_eq!((operation.input_element, operation.input_namespace), (Some("Root"), Some("http://r")));
    assert_eq!((operation.auth, operation.host_prefix), (Auth::None, Some("{A}.")));
    assert!(operation.is_deprecated && operation.requires_checksum && operation.output.is_unit());
    assert_eq!(operation.errors[0].name, "E");
    let member = &operation.input.members()[0];
    assert!(member.is_host_label && member.is_idempotency_token);
}

#[test]
fn a_document_that_is_no_model_is_refused() {
    let cases = [
        (json!(null), "the model has no `metadata`"),
        (json!({"metadata": {}, "operations": {}}), "the model has no `shapes`"),
        (json!({"metadata": {"protocol": "soap"}, "operations": {}, "shapes": {}}), "no protocol `soap`"),
        (
            json!({"metadata": {}, "operations": {}, "shapes": {"A": {"type": "list"}}}),
            "shape A: no `member`",
        ),
        (json!({"metadata": {}, "operations": {}, "shapes": {"A": {}}}), "shape A: no type ``"),
        (
            json!({"metadata": {}, "operations": {"X": {"input": {"shape": "Y"}}}, "shapes": {}}),
            "`X` refers to `Y`, which is not in the model",
        ),
    ];
    for (document, reason) in cases {
        assert_eq!(load(&document).unwrap_err(), reason, "{document}");
    }
}
