//! Policies of browser uploads.
#![no_main]

use base64::prelude::{BASE64_STANDARD, Engine as _};
use libfuzzer_sys::fuzz_target;
use pileus_core::Timestamp;
use pileus_wire::post_policy::{Policy, claim};

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (document, form) = text.split_once('\n').unwrap_or((&text, ""));
    let mut fields: Vec<(String, String)> = form
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let encoded = BASE64_STANDARD.encode(document);
    fields.push(("policy".to_owned(), encoded.clone()));
    let _ = claim(&fields);
    let _ = Policy::parse(&text);
    if let Ok(policy) = Policy::parse(&encoded) {
        let _ = policy.evaluate(&fields, "bucket", Timestamp::from_secs(1_767_225_600));
        let (low, high) = policy.size_range();
        let _ = (policy.check_size(low), policy.check_size(high));
    }
});
