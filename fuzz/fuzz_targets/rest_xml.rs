//! restXml: URI, headers and body of every operation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pileus_wire::codec::fuzz;

fuzz_target!(|bytes: &[u8]| {
    if let Some((service, rest)) =
        pileus_fuzz::service(bytes, |service| service.protocols.iter().any(|protocol| protocol.is_rest()))
    {
        fuzz::rest_xml(service, rest);
    }
});
