//! Faults as each protocol frames them.

use http::StatusCode;

use super::{model, service, with_coercion};
use crate::codec::{encode_fault, fuzz};
use crate::dynamic::{Blobs, DynStruct, from_json};
use crate::fault::{Fault, Origin};
use crate::protocol::{Protocol, Response, ResponseBody};
use crate::schema::{Coercion, Service};

fn body(response: &Response) -> String {
    match &response.body {
        ResponseBody::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ResponseBody::Stream(_) => panic!("a fault is never a stream"),
    }
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.get(name).and_then(|value| value.to_str().ok())
}

fn gone(service: &'static Service) -> Fault {
    let shape = service.shape("Gone").unwrap();
    let mut members = DynStruct::new(shape);
    from_json(shape, &serde_json::json!({ "Number": 7 }), &mut members, Blobs::Text).unwrap();
    Fault::sender("Gone", "It \"left\".").with_members(members).with_extra("Key", "k&")
}

#[test]
fn a_modelled_fault_is_framed_in_every_protocol() {
    let cases = [
        ("json", Protocol::AwsJson10, r#"{"__type":"Gone","Message":"It \"left\".","Key":"k&","Number":7}"#),
        (
            "rest-json",
            Protocol::RestJson1,
            r#"{"Type":"User","Message":"It \"left\".","Key":"k&","Number":7}"#,
        ),
        (
            "query",
            Protocol::AwsQuery,
            "<ErrorResponse><Error><Type>Sender</Type><Code>Gone</Code><Message>It &quot;left&quot;.</Message>\
             <Key>k&amp;</Key><Number>7</Number></Error><RequestId>id</RequestId></ErrorResponse>",
        ),
        (
            "ec2",
            Protocol::Ec2Query,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>Gone</Code>\
             <Message>It &quot;left&quot;.</Message><Key>k&amp;</Key><Number>7</Number></Error></Errors>\
             <RequestID>id</RequestID></Response>",
        ),
    ];
    for (name, protocol, expected) in cases {
        let service = service(name);
        let response = encode_fault(Some(service), None, protocol, &gone(service), "id", false);
        assert_eq!(body(&response), expected, "{name}");
        assert_eq!(response.status, StatusCode::GONE, "{name}");
        assert_eq!(header(&response, "x-amzn-requestid"), Some("id"));
        let error_type = (protocol == Protocol::RestJson1).then_some("Gone");
        assert_eq!(header(&response, "x-amzn-errortype"), error_type);
    }
}

#[test]
fn codes_statuses_and_namespaces_follow_the_layer() {
    let service = with_coercion(Coercion::DynamoDb);
    let validation = Fault { origin: Origin::Validation, ..Fault::sender("ValidationException", "m") };
    let throttled = Fault { origin: Origin::Availability, ..Fault::sender("ThrottlingException", "m") };
    let cases = [
        (Fault::sender("Gone", ""), 410, r#"{"__type":"com.amazonaws.dynamodb.v20120810#Gone"}"#),
        (
            Fault::receiver("Other.Code", "m"),
            500,
            r#"{"__type":"com.amazonaws.dynamodb.v20120810#Coded","message":"m"}"#,
        ),
        (validation, 400, r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"m"}"#),
        (
            Fault::sender("ValidationException", "m"),
            400,
            r#"{"__type":"com.amazon.coral.validate#ValidationException","message":"m"}"#,
        ),
        (throttled, 400, r#"{"__type":"com.amazon.coral.availability#ThrottlingException","message":"m"}"#),
        (
            Fault::framework("SerializationException", 400, "m"),
            400,
            r#"{"__type":"com.amazon.coral.service#SerializationException","Message":"m"}"#,
        ),
        (
            Fault::framework("SerializationException", 400, ""),
            400,
            r#"{"__type":"com.amazon.coral.service#SerializationException"}"#,
        ),
        (
            Fault::receiver("InternalFailure", ""),
            500,
            r#"{"__type":"com.amazon.coral.service#InternalFailure"}"#,
        ),
    ];
    for (fault, status, expected) in cases {
        let response = encode_fault(Some(service), None, Protocol::AwsJson10, &fault, "id", false);
        assert_eq!(body(&response), expected);
        assert_eq!(response.status.as_u16(), status, "{expected}");
        let crc = crc32fast::hash(expected.as_bytes()).to_string();
        assert_eq!(header(&response, "x-amz-crc32"), Some(&*crc), "{expected}");
    }
}

#[test]
fn s3_answers_bare_errors_and_none_on_head() {
    let mut model = crate::botocore::model(&model("rest-xml")).unwrap();
    model.header.service_id = "S3";
    let service = crate::model::build(model).unwrap();
    let fault = Fault::sender("NoSuchKey", "m").with_status(404).with_extra("Key", "a");
    let response = encode_fault(Some(service), None, Protocol::RestXml, &fault, "id", false);
    let host = header(&response, "x-amz-id-2").unwrap();
    assert_eq!(
        body(&response),
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>m</Message>\
             <Key>a</Key><RequestId>id</RequestId><HostId>{host}</HostId></Error>"
        )
    );
    assert_eq!((host.len(), header(&response, "x-amz-request-id")), (76, Some("id")));
    let response = encode_fault(Some(service), None, Protocol::RestXml, &fault, "id", true);
    assert_eq!((body(&response), response.status), (String::new(), StatusCode::NOT_FOUND));
    let bad = fuzz::decode(service, Protocol::RestXml, b"\0\0/things/a/b?literal&page=x\n\n").unwrap_err();
    assert_eq!(
        (&*bad.code, &*bad.message),
        ("InvalidArgument", "Provided page not an integer or within integer range")
    );
}

#[test]
fn query_compatible_services_name_the_former_code() {
    let mut document = model("json");
    document["metadata"]["awsQueryCompatible"] = serde_json::json!({});
    let service = crate::botocore::load(&document).unwrap();
    let cases = [
        (Fault::receiver("Coded", "m"), "Other.Code;Receiver"),
        (Fault::sender("Gone", "m"), "Gone;Sender"),
        (Fault::sender("MissingRequiredParameterException", "m"), "MissingParameter;Sender"),
        (Fault::framework("AccessDeniedException", 400, "m"), "AccessDenied;Sender"),
        (Fault::framework("UnrecognizedClientException", 403, "m"), "InvalidClientTokenId;Sender"),
        (Fault::framework("ExpiredTokenException", 403, "m"), "ExpiredToken;Sender"),
        (Fault::framework("InvalidSignatureException", 403, "m"), "SignatureDoesNotMatch;Sender"),
    ];
    for (fault, expected) in cases {
        for protocol in [Protocol::AwsJson10, Protocol::RpcV2Cbor] {
            let response = encode_fault(Some(service), None, protocol, &fault, "id", false);
            assert_eq!(header(&response, "x-amzn-query-error"), Some(expected));
        }
        let code = format!("<Code>{}</Code>", expected.split(';').next().unwrap());
        let response = encode_fault(Some(service), None, Protocol::AwsQuery, &fault, "id", false);
        assert!(body(&response).contains(&code), "{}", body(&response));
    }
}
