//! Signatures in headers and links: read, checked, verified, and their refusals worded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pileus_core::Timestamp;
use pileus_fuzz::Lines;
use pileus_wire::sigv4::{self, Family, RequestView, Rules};

fuzz_target!(|bytes: &[u8]| {
    let Some(lines) = Lines::of(bytes) else { return };
    let Lines { method, path, query, headers, body } = &lines;
    let view = RequestView { method, path, query, headers, authority: None };
    let families = [Family::S3, Family::Query, Family::Json, Family::Rest];
    let now = Timestamp::from_secs(1_767_225_600);
    let signed = match sigv4::parse(headers, query) {
        Ok(None) => return,
        Ok(Some(signed)) => signed,
        Err(error) => return families.into_iter().for_each(|family| drop(error.describe(family))),
    };
    for rules in [Rules::s3(), Rules::service("sqs")] {
        let sha256 = sigv4::sha256_hex(body);
        let errors = [
            sigv4::check(&signed, &view, now, &rules),
            sigv4::verify(&signed, &view, Some(&sha256), "secret", now, &rules),
        ];
        for error in errors.into_iter().filter_map(Result::err) {
            families.into_iter().for_each(|family| drop(error.describe(family)));
        }
    }
});
