//! Routing: every request means an operation of its service, or gets an answer.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use pileus_fuzz::Lines;
use pileus_wire::protocol::Request;
use pileus_wire::route::{self, FormPeek, Hosts};

fuzz_target!(|bytes: &[u8]| {
    let Some(lines) = Lines::of(bytes) else { return };
    let Ok(method) = Method::from_bytes(lines.method.as_bytes()) else { return };
    let request = Request {
        method: &method,
        path: lines.path,
        query: lines.query,
        headers: &lines.headers,
        labels: &[],
    };
    let hosts = Hosts::new(["cloud.example.com".to_owned()]);
    let scope = route::scope_of(&request);
    let form = FormPeek::read(lines.body);
    for form in [None, Some(&form)] {
        match route::route(pileus_models::catalog(), &hosts, &request, scope, form) {
            Ok(routed) => assert!(routed.service.operation(routed.operation.name).is_some()),
            Err(error) => {
                let _ = error.verbatim();
                let _ = error.into_fault();
            }
        }
    }
});
