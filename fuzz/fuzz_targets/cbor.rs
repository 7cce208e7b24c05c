//! rpc-v2-cbor bodies of every operation, and those of x-amz-cbor-1.1.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pileus_wire::codec::fuzz;

fuzz_target!(|bytes: &[u8]| {
    if let Some((service, rest)) = pileus_fuzz::service(bytes, |_| true) {
        fuzz::cbor(service, rest);
    }
});
