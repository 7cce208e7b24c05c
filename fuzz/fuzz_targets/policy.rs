//! IAM policy documents: whatever is accepted when it is saved can be used afterwards.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pileus_iam::{DocumentKind, Policy, counted_size, validate};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let parsed = Policy::parse(text);
    let _ = counted_size(text);
    for kind in [DocumentKind::Identity, DocumentKind::Resource, DocumentKind::Trust, DocumentKind::Boundary]
    {
        if validate(text, kind).is_ok() {
            let policy = parsed.as_ref().expect("a document that may be saved can be read");
            let _ = policy.context_keys();
        }
    }
});
