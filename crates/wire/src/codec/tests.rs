//! Tests of the codecs against small models. Every operation of the real models is in `crates/models/tests`.

mod events;
mod faults;
mod hostile;

use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::fuzz;
use crate::dynamic::{Blobs, DynStruct, from_json, to_json};
use crate::protocol::{Protocol, Request, ResponseBody};
use crate::schema::{Coercion, Service};

/// A service with one operation `Put`, whose input has a member of every kind.
fn service(protocol: &str) -> &'static Service {
    crate::botocore::load(&model(protocol)).unwrap()
}

fn model(protocol: &str) -> Value {
    let member = |shape: &str| json!({ "shape": shape });
    json!({
        "metadata": {
            "protocol": protocol, "jsonVersion": "1.0", "serviceId": "Test", "endpointPrefix": "test",
            "targetPrefix": "Test", "apiVersion": "2020-01-01",
        },
        "operations": {
            "Put": {
                "http": { "method": "POST", "requestUri": "/things/{Id}/{Rest+}?literal" },
                "input": member("Input"), "output": member("Input"), "errors": [member("Gone"), member("Coded")],
            },
        },
        "shapes": {
            "Input": { "type": "structure", "members": {
                "Id": { "shape": "Text", "location": "uri", "locationName": "Id" },
                "Rest": { "shape": "Text", "location": "uri", "locationName": "Rest" },
                "Head": { "shape": "Texts", "location": "header", "locationName": "x-head" },
                "When": { "shape": "Moments", "location": "header", "locationName": "x-when" },
                "Meta": { "shape": "TextMap", "location": "headers", "locationName": "x-meta-" },
                "Page": { "shape": "Number", "location": "querystring", "locationName": "page" },
                "More": { "shape": "TextMap", "location": "querystring" },
                "Text": member("Text"), "Number": member("Number"), "Big": member("Big"), "Real": member("Real"),
                "Flag": member("Flag"), "Blob": member("Blob"), "Moment": member("Moment"), "Any": member("Any"),
                "Texts": member("Texts"), "Map": member("TextMap"), "Sparse": member("Sparse"),
                "Self": member("Input"), "Selves": member("Inputs"), "SelfMap": member("InputMap"),
                "Choice": member("Choice"), "Flat": { "shape": "Texts", "flattened": true },
            } },
            "Choice": { "type": "structure", "union": true, "members": { "A": member("Text"), "B": member("Input") } },
            "Text": { "type": "string" }, "Number": { "type": "integer" }, "Big": { "type": "long" },
            "Real": { "type": "double" }, "Flag": { "type": "boolean" }, "Blob": { "type": "blob" },
            "Moment": { "type": "timestamp" }, "Any": { "type": "structure", "document": true, "members": {} },
            "Texts": { "type": "list", "member": member("Text") },
            "Moments": { "type": "list", "member": member("Moment") },
            "Sparse": { "type": "list", "member": member("Number"), "sparse": true },
            "Inputs": { "type": "list", "member": member("Input") },
            "TextMap": { "type": "map", "key": member("Text"), "value": member("Text") },
            "InputMap": { "type": "map", "key": member("Text"), "value": member("Input") },
            "Gone": { "type": "structure", "exception": true, "error": { "httpStatusCode": 410 },
                "members": { "Message": member("Text"), "Number": member("Number"), "Type": member("Text") } },
            "Coded": { "type": "structure", "exception": true, "fault": true, "error": { "code": "Other.Code" },
                "members": { "message": member("Text") } },
        },
    })
}

/// The same service with another way of converting; as DynamoDB is set up.
fn with_coercion(coercion: Coercion) -> &'static Service {
    let mut model = crate::botocore::model(&model("json")).unwrap();
    model.header.coercion = coercion;
    model.header.error_namespace = "com.amazonaws.dynamodb.v20120810#";
    model.header.framework_namespace = "com.amazon.coral.service#";
    crate::model::build(model).unwrap()
}

/// What a body decodes to, or the fault's message.
fn read(service: &'static Service, protocol: Protocol, body: &[u8]) -> Result<Value, String> {
    let bytes = [b"\0\0", body].concat();
    fuzz::decode(service, protocol, &bytes).map_err(|fault| format!("{}:{}", fault.code, fault.message))
}

fn read_json(service: &'static Service, body: &str) -> Result<Value, String> {
    read(service, Protocol::AwsJson10, body.as_bytes())
}

#[test]
fn json_follows_the_rules() {
    let service = service("json");
    let cases = [
        ("", json!({})),
        (" { } ", json!({})),
        (r#"{"Unknown":[{"x":[1,{}]},null],"Text":"a"}"#, json!({ "Text": "a" })),
        (r#"{"Text":"a","Text":"b"}"#, json!({ "Text": "b" })),
        (r#"{"Texts":["a"],"Texts":["b"]}"#, json!({ "Texts": ["b"] })),
        (r#"{"Text":"a","Text":null}"#, json!({})),
        (
            r#"{"Texts":["a",null,"b"],"Sparse":[1,null]}"#,
            json!({ "Texts": ["a", "b"], "Sparse": [1, null] }),
        ),
        (r#"{"Map":{"k":"1","k":"2","l":null}}"#, json!({ "Map": { "k": "2" } })),
        (r#"{"Big":9007199254740993}"#, json!({ "Big": 9_007_199_254_740_993_i64 })),
        (r#"{"Number":1.9,"Big":1e3}"#, json!({ "Number": 1, "Big": 1_000 })),
        (r#"{"Number":99999999999}"#, json!({ "Number": i32::MAX })),
        (r#"{"Real":"NaN"}"#, json!({ "Real": "NaN" })),
        (r#"{"Real":1}"#, json!({ "Real": 1.0 })),
        (r#"{"Moment":1.5}"#, json!({ "Moment": 1.5 })),
        (r#"{"Moment":"2019-12-16T23:48:18Z"}"#, json!({ "Moment": 1_576_540_098 })),
        (r#"{"Text":"\u00e4\ud83d\ude00\ud800\n"}"#, json!({ "Text": "ä😀\u{fffd}\n" })),
        (r#"{"Any":{"x":[1,null]}}"#, json!({ "Any": { "x": [1, null] } })),
        (r#"{"Flag":"true"}"#, json!({ "Flag": true })),
        (r#"{"Choice":{"A":"x","B":null}}"#, json!({ "Choice": { "A": "x" } })),
    ];
    for (body, expected) in cases {
        assert_eq!(read_json(service, body), Ok(expected), "{body}");
    }
    let malformed = [
        "{",
        "}",
        "null x",
        r#"{"Text":"a"} x"#,
        r#"{"Text" "a"}"#,
        r#"{"Text":"a",}"#,
        r#"{"Number":01}"#,
        r#"{'a':1}"#,
        r#"{"Choice":{"A":"x","B":{}}}"#,
    ];
    for body in malformed {
        assert_eq!(read_json(service, body), Err("SerializationException:".into()), "{body}");
    }
}

#[test]
fn wrong_types_are_refused_in_the_words_of_the_service() {
    let coral = with_coercion(Coercion::Coral);
    let dynamo = with_coercion(Coercion::DynamoDb);
    let big = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to";
    let map = "Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>";
    let structure = "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.Input";
    // body, Coral's text, DynamoDB's text
    let cases = [
        (
            r#"{"Flag":"23"}"#,
            "'23' can not be converted to an Boolean",
            "Unexpected token received from parser",
        ),
        (r#"{"Flag":23}"#, &format!("{big} an Boolean"), "NUMBER_VALUE cannot be converted to Boolean"),
        (
            r#"{"Text":true}"#,
            "class java.lang.Boolean can not be converted to an String",
            "TRUE_VALUE cannot be converted to String",
        ),
        (r#"{"Text":34.56}"#, &format!("{big} an String"), "DECIMAL_VALUE cannot be converted to String"),
        (
            r#"{"Text":[]}"#,
            "Start of list found where not expected",
            "Unrecognized collection type class java.lang.String",
        ),
        (
            r#"{"Text":{}}"#,
            "Start of structure or map found where not expected.",
            "Start of structure or map found where not expected",
        ),
        (
            r#"{"Number":"23"}"#,
            "class java.lang.String can not be converted to an Integer",
            "STRING_VALUE cannot be converted to Integer",
        ),
        (
            r#"{"Big":false}"#,
            "class java.lang.Boolean can not be converted to an Long",
            "FALSE_VALUE cannot be converted to Long",
        ),
        (r#"{"Blob":23}"#, &format!("{big} a Blob"), "only base-64-encoded strings are convertible to bytes"),
        (
            r#"{"Blob":[]}"#,
            "Start of list found where not expected",
            "Unrecognized collection type class java.nio.ByteBuffer",
        ),
        (
            r#"{"Blob":"23456"}"#,
            "'23456' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 5",
            "Base64 encoded length is expected a multiple of 4 bytes but found: 5",
        ),
        (
            r#"{"Blob":"=+/="}"#,
            "'=+/=' can not be converted to a Blob: Invalid Base64 character: '='",
            "Invalid last non-pad Base64 character dectected",
        ),
        (
            r#"{"Blob":"+/+="}"#,
            "'+/+=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected",
            "Invalid last non-pad Base64 character dectected",
        ),
        (r#"{"Texts":"23"}"#, "Expected list or null", "Unexpected field type"),
        (
            r#"{"Texts":{}}"#,
            "Start of structure or map found where not expected.",
            "Start of structure or map found where not expected",
        ),
        (r#"{"Map":true}"#, "Expected map or null", "Unexpected field type"),
        (r#"{"Map":[]}"#, "Start of list found where not expected", map),
        (r#"{"Self":23}"#, "Expected null", "Unexpected field type"),
        (r#"{"Self":[]}"#, "Start of list found where not expected", structure),
        (r#"{"Selves":[23]}"#, "Expected null", "Unexpected value type in payload"),
        (r#"{"SelfMap":{"a":[]}}"#, "Start of list found where not expected", structure),
        ("[]", "Start of list found where not expected", structure),
    ];
    for (body, for_coral, for_dynamo) in cases {
        assert_eq!(read_json(coral, body), Err(format!("SerializationException:{for_coral}")), "{body}");
        assert_eq!(read_json(dynamo, body), Err(format!("SerializationException:{for_dynamo}")), "{body}");
    }
    let free = with_coercion(Coercion::Jackson);
    let read = read_json(free, r#"{"Text":12,"Number":"34","Real":"1.5","Texts":[true]}"#);
    assert_eq!(read, Ok(json!({ "Text": "12", "Number": 34, "Real": 1.5, "Texts": ["true"] })));
}

#[test]
fn forms_spell_lists_and_maps_in_many_ways() {
    let service = service("query");
    let cases = [
        ("Texts.member.1=a&Texts.member.2=b", json!({ "Texts": ["a", "b"] })),
        ("Texts.2=b&Texts.1=a", json!({ "Texts": ["a", "b"] })),
        ("Texts.member.10=c&Texts.member.9=b&Texts.member.2=a", json!({ "Texts": ["a", "b", "c"] })),
        ("Texts=", json!({ "Texts": [] })),
        ("Flat.1=a+b%2B", json!({ "Flat": ["a b+"] })),
        ("Map.entry.1.key=k&Map.entry.1.value=v", json!({ "Map": { "k": "v" } })),
        ("Map.1.value=v&Map.1.key=k&Map.2.key=l", json!({ "Map": { "k": "v", "l": "" } })),
        ("Self.Self.Text=x&Action=Put&Version=1", json!({ "Self": { "Self": { "Text": "x" } } })),
        (
            "Selves.member.1.Number=1&Selves.member.2.Number=2",
            json!({ "Selves": [{ "Number": 1 }, { "Number": 2 }] }),
        ),
        ("Text=a&Text=b&Flag=TRUE", json!({ "Text": "b", "Flag": true })),
        ("Text-x=1&Text=a&Texts.1=b", json!({ "Text": "a", "Texts": ["b"] })),
        ("&&=&Moment=2019-12-16T23%3A48%3A18Z\n", json!({ "Moment": 1_576_540_098 })),
    ];
    for (body, expected) in cases {
        assert_eq!(read(service, Protocol::AwsQuery, body.as_bytes()), Ok(expected), "{body}");
    }
    let bad = [
        "Number=x",
        "Number=",
        "Number=99999999999",
        "Text.1=a",
        "Texts=a",
        "Self=x",
        "Blob=%ff",
        "Flag=maybe",
    ];
    for body in bad {
        let error = read(service, Protocol::AwsQuery, body.as_bytes()).unwrap_err();
        assert!(error.starts_with("MalformedInput:"), "{body}: {error}");
    }
    let error = read(service, Protocol::Ec2Query, b"Number=x").unwrap_err();
    assert_eq!(error, "InvalidParameterValue:Value (x) for parameter Number is invalid.");
}

#[test]
fn rest_requests_are_put_together() {
    let request = "/things/a%2Fb/c/d?literal&page=2&x=1&X-Amz-Date=z\n\
        x-head: a, \"b,c\"\nx-when: Mon, 16 Dec 2019 23:48:18 GMT, Mon, 16 Dec 2019 23:48:18 GMT\n\
        x-meta-k: v\nx-meta-l: \u{e4}\n\n";
    let expected = json!({
        "Id": "a/b", "Rest": "c/d", "Page": 2, "Head": ["a", "b,c"], "When": [1_576_540_098, 1_576_540_098],
        "Meta": { "k": "v", "l": "ä" }, "Text": "<&\"'\r\n",
    });
    let mut with_map = expected.clone();
    with_map["More"] = json!({ "x": "1" });
    let xml = "<?xml version='1.0'?><!-- c --><Input xmlns='u'><Text>&lt;&amp;&quot;&#39;&#xD;\r\n</Text><Unknown><a/></Unknown></Input>";
    let read_xml = read(service("rest-xml"), Protocol::RestXml, (request.to_owned() + xml).as_bytes());
    assert_eq!(read_xml, Ok(with_map.clone()));
    with_map["More"] = json!({ "x": "1", "page": "2" });
    let body = r#"{"Text":"<&\"'\r\n","Id":"not from here"}"#;
    let read_json = read(service("rest-json"), Protocol::RestJson1, (request.to_owned() + body).as_bytes());
    assert_eq!(read_json, Ok(with_map));
}

#[test]
fn xml_that_is_not_xml_is_malformed() {
    let service = service("rest-xml");
    let bad = [
        "<Input>",
        "<Input></Other>",
        "text",
        "<Input><Number>x</Number></Input>",
        "<Input/><Input/>",
        "<!DOCTYPE x [<!ENTITY e 'e'>]><Input><Text>&e;</Text></Input>",
        "<Input><Text>&e;</Text></Input>",
        "<Input><Text><b/></Text></Input>",
        "<Input><Flag>maybe</Flag></Input>",
    ];
    for body in bad {
        let error = read(service, Protocol::RestXml, format!("/\n\n{body}").as_bytes()).unwrap_err();
        assert!(error.starts_with("MalformedXML:The XML you provided"), "{body}: {error}");
    }
}

#[test]
fn a_queue_in_the_path_stands_in_for_the_parameter() {
    let service = service("query");
    let operation = &service.operations[0];
    let labels = [("Text", "/000000000000/queue".to_owned()), ("Other", "x".to_owned())];
    let headers = HeaderMap::new();
    let request = Request { method: &Method::POST, path: "/", query: "", headers: &headers, labels: &labels };
    for (body, expected) in [("Number=1", "/000000000000/queue"), ("Text=mine", "mine")] {
        let mut input = DynStruct::new(operation.input);
        super::decode(service, operation, Protocol::AwsQuery, &request, body.into(), &mut input).unwrap();
        assert_eq!(to_json(operation.input, &input, Blobs::Text)["Text"], expected);
    }
}

#[test]
fn an_output_that_does_not_fit_its_headers_is_a_fault_of_ours() {
    let service = service("rest-json");
    let operation = &service.operations[0];
    let mut output = DynStruct::new(operation.output);
    let value = json!({ "Head": ["a\nb"], "Text": "x" });
    from_json(operation.output, &value, &mut output, Blobs::Text).unwrap();
    let response = super::encode(service, operation, Protocol::RestJson1, &mut output, "id");
    assert_eq!(response.status, 500);
    let ResponseBody::Bytes(body) = response.body else { panic!("a fault is never a stream") };
    assert_eq!(&body[..], br#"{"message":"The answer's `Head` does not fit into a header."}"#);
}
