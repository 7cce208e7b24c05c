//! Event streams as they leave.

use std::task::{Context, Poll, Waker};

use serde_json::json;

use crate::codec::encode;
use crate::dynamic::{Blobs, DynStruct, from_json};
use crate::eventstream::{CONTENT_TYPE, Decoder, Message};
use crate::fault::Fault;
use crate::protocol::{Protocol, ResponseBody};
use crate::schema::Service;
use crate::value::{Event, EventStream, Ready, Slot, Struct};

fn service(protocol: &str) -> &'static Service {
    let member = |shape: &str| json!({ "shape": shape });
    let document = json!({
        "metadata": { "protocol": protocol, "jsonVersion": "1.1", "apiVersion": "2020-01-01" },
        "operations": { "Watch": { "http": { "method": "POST", "requestUri": "/watch" }, "output": member("Output") } },
        "shapes": {
            "Output": { "type": "structure", "members": { "Name": member("Text"), "Events": member("Events") } },
            "Events": { "type": "structure", "eventstream": true, "members": {
                "Record": member("Record"), "Chunk": member("Chunk"), "Gone": member("Gone"),
            } },
            "Record": { "type": "structure", "event": true, "members": {
                "Text": member("Text"), "Count": { "shape": "Number", "eventheader": true } } },
            "Chunk": { "type": "structure", "event": true, "members": { "Data": { "shape": "Blob", "eventpayload": true } } },
            "Gone": { "type": "structure", "exception": true, "members": { "message": member("Text") } },
            "Text": { "type": "string" }, "Number": { "type": "integer" }, "Blob": { "type": "blob" },
        },
    });
    crate::botocore::load(&document).unwrap()
}

/// Every message of an answer whose stream has these events and ends with this fault.
fn messages(protocol: &str, wire: Protocol, events: &[serde_json::Value], fault: Fault) -> Vec<Message> {
    let service = service(protocol);
    let operation = &service.operations[0];
    let mut output = DynStruct::new(operation.output);
    from_json(operation.output, &json!({ "Name": "n" }), &mut output, Blobs::Text).unwrap();
    let shape = operation.output.members()[1].shape;
    let events = events.iter().map(|event| {
        let mut value = DynStruct::new(shape);
        from_json(shape, event, &mut value, Blobs::Text).unwrap();
        Ok(Box::new(value) as Event)
    });
    let Some(Slot::Events(slot)) = output.get_mut(1).map(|value| value.slot()) else { panic!("no stream") };
    *slot = EventStream::new(Flat(Ready::new(events.chain([Err(fault)]).collect())));
    let response = encode(service, operation, wire, &mut output, "id");
    assert_eq!(response.headers["content-type"], CONTENT_TYPE);
    let ResponseBody::Stream(mut body) = response.body else { panic!("no stream") };
    let mut body = body.take().unwrap();
    let (mut decoder, mut out) = (Decoder::new(), Vec::new());
    while let Poll::Ready(Some(bytes)) = body.as_mut().poll_next(&mut Context::from_waker(Waker::noop())) {
        decoder.push(&bytes.unwrap(), &mut out).unwrap();
    }
    decoder.finish().unwrap();
    out
}

/// Results that are there already.
struct Flat(Ready<Result<Event, Fault>, std::convert::Infallible>);

impl futures_core::Stream for Flat {
    type Item = Result<Event, Fault>;
    fn poll_next(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::pin::Pin::new(&mut self.0).poll_next(context);
        next.map(|item| item.map(|Ok(result)| result))
    }
}

#[test]
fn rpc_streams_begin_with_the_output_and_end_with_the_exception() {
    let events = [json!({ "Record": { "Text": "t", "Count": 3 } }), json!({ "Chunk": { "Data": "raw" } })];
    let got = messages("json", Protocol::AwsJson11, &events, Fault::sender("Gone", "bye"));
    let seen: Vec<_> = got
        .iter()
        .map(|m| {
            let kind = m.text(":event-type").or(m.text(":exception-type")).unwrap();
            (kind, m.text(":message-type").unwrap(), std::str::from_utf8(&m.payload).unwrap())
        })
        .collect();
    let expected = [
        ("initial-response", "event", r#"{"Name":"n"}"#),
        ("Record", "event", r#"{"Text":"t"}"#),
        ("Chunk", "event", "raw"),
        ("Gone", "exception", r#"{"message":"bye"}"#),
    ];
    assert_eq!(seen, expected);
    assert_eq!(got[1].header("Count"), Some(&crate::eventstream::HeaderValue::Int(3)));
    assert_eq!(got[2].text(":content-type"), Some("application/octet-stream"));
}

#[test]
fn a_fault_that_the_stream_does_not_know_is_an_error_message() {
    let got = messages("json", Protocol::RpcV2Cbor, &[], Fault::receiver("InternalFailure", "oh"));
    let last = got.last().unwrap();
    let seen = (last.text(":message-type"), last.text(":error-code"), last.text(":error-message"));
    assert_eq!(seen, (Some("error"), Some("InternalFailure"), Some("oh")));
}
