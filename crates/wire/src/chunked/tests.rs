//! The documentation's examples, round trips over any split, and everything that can be broken.
#![allow(clippy::type_complexity, reason = "tables of cases")]

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use pileus_core::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::checksum::{Algorithm, Checksum};
use crate::sigv4::{Form, Scope, signing_key};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn signer(seed: &str) -> ChunkSigner {
    let signed = SignedRequest {
        form: Form::Header,
        access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        scope: Scope {
            date: "20130524".to_owned(),
            region: "us-east-1".to_owned(),
            service: "s3".to_owned(),
            terminator: "aws4_request".to_owned(),
        },
        time: Timestamp::from_secs(1_369_353_600),
        date: "20130524T000000Z".to_owned(),
        expires: None,
        signed_headers: vec![],
        signature: seed.to_owned(),
        session_token: None,
        payload: PayloadMode::StreamingSigned,
    };
    ChunkSigner::new(&signed, signing_key(SECRET, "20130524", "us-east-1", "s3"))
}

fn decode(setup: Setup, body: &[u8], splits: &[usize]) -> Result<(Vec<u8>, Trailers), ChunkError> {
    let mut decoder = Decoder::new(setup);
    let mut out = Vec::new();
    let mut rest = Bytes::copy_from_slice(body);
    for split in splits {
        let piece = rest.split_to((*split).min(rest.len()));
        decoder.push(piece, &mut out)?;
    }
    decoder.push(rest, &mut out)?;
    let trailers = decoder.finish()?;
    Ok((out.concat(), trailers))
}

fn unsigned(trailer: Option<Algorithm>) -> Setup {
    Setup { framing: Framing::UnsignedTrailer, signer: None, decoded_length: None, trailer }
}

const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
const TRAILER_SEED: &str = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";

#[test]
fn the_signed_example_of_the_documentation_decodes() {
    let data = [b'a'; 66_560];
    let body = [
        b"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
        &data[..65_536],
        b"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
        &data[65_536..],
        b"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
    ]
    .concat();
    let setup = || Setup {
        framing: Framing::Signed,
        signer: Some(signer(SEED)),
        decoded_length: Some(66_560),
        trailer: None,
    };
    assert_eq!(decode(setup(), &body, &[3, 70_000]).map(|(out, _)| out), Ok(data.to_vec()));
    assert_eq!(encode(Framing::Signed, Some(signer(SEED)), &[&data[..65_536], &data[65_536..]], None), body);
    let mut changed = body.clone();
    changed[66_000] = b'b';
    let error = decode(setup(), &changed, &[]).unwrap_err().describe();
    assert_eq!((error.code, error.status), ("SignatureDoesNotMatch", 403));
}

#[test]
fn the_trailer_example_of_the_documentation_decodes() {
    let data = [b'a'; 66_560];
    let head = [
        b"10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n",
        &data[..65_536],
        b"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n",
        &data[65_536..],
        b"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n",
    ]
    .concat();
    let setup = || Setup {
        framing: Framing::SignedTrailer,
        signer: Some(signer(TRAILER_SEED)),
        decoded_length: Some(66_560),
        trailer: Some(Algorithm::Crc32c),
    };
    let signature =
        "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
    // As SDKs send it, as the documentation prints it, and without the last line end.
    for between in ["\r\n", "\n\r\n\r\n"] {
        for end in ["\r\n\r\n", "\r\n", ""] {
            let tail = format!("x-amz-checksum-crc32c:sOO8/Q=={between}{signature}{end}");
            let body = [head.as_slice(), tail.as_bytes()].concat();
            let (out, trailers) = decode(setup(), &body, &[100]).unwrap();
            assert_eq!(out, data);
            assert_eq!(trailers.checksum, Some(Checksum::of(Algorithm::Crc32c, &data)));
        }
    }
    let cases = [
        ("no signature", "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n".to_owned(), "IncompleteBody"),
        ("no trailer", "\r\n".to_owned(), "MalformedTrailerError"),
        (
            "undeclared",
            format!("x-amz-checksum-crc32:sOO8/Q==\r\n{signature}\r\n\r\n"),
            "MalformedTrailerError",
        ),
        (
            "other value",
            format!("x-amz-checksum-crc32c:wdBDMA==\r\n{signature}\r\n\r\n"),
            "SignatureDoesNotMatch",
        ),
        ("no colon", "x-amz-checksum-crc32c\r\n\r\n".to_owned(), "MalformedTrailerError"),
    ];
    for (name, tail, code) in cases {
        let body = [head.as_slice(), tail.as_bytes()].concat();
        assert_eq!(decode(setup(), &body, &[]).unwrap_err().describe().code, code, "{name}");
    }
}

#[test]
fn broken_framing_has_its_own_error() {
    let small = "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
    let cases: [(&str, &str, Option<Algorithm>, Option<u64>, Result<&str, &str>); 14] = [
        ("plain", "5\r\nhello\r\n0\r\n\r\n", None, Some(5), Ok("hello")),
        ("no last line end", "5\r\nhello\r\n0\r\n", None, Some(5), Ok("hello")),
        ("empty", "0\r\n\r\n", None, Some(0), Ok("")),
        ("extension", "5;x=y\r\nhello\r\n0;x=y\r\n\r\n", None, None, Ok("hello")),
        (
            "trailer",
            "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
            Some(Algorithm::Crc32),
            None,
            Ok("hello"),
        ),
        (
            "wrong checksum",
            "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
            Some(Algorithm::Crc32),
            None,
            Err("BadDigest"),
        ),
        (
            "no checksum",
            "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n",
            Some(Algorithm::Crc32),
            None,
            Err("InvalidRequest"),
        ),
        ("small chunk", small, None, None, Err("InvalidChunkSizeError")),
        ("too long", "5\r\nhello\r\n0\r\n\r\n", None, Some(4), Err("IncompleteBody")),
        ("too short", "5\r\nhello\r\n0\r\n\r\n", None, Some(6), Err("IncompleteBody")),
        ("cut", "5\r\nhel", None, None, Err("IncompleteBody")),
        ("not hex", "zz\r\n", None, None, Err("IncompleteBody")),
        ("signed number", "+5\r\nhello\r\n0\r\n\r\n", None, None, Err("IncompleteBody")),
        ("more after the end", "0\r\n\r\nGET /", None, None, Err("IncompleteBody")),
    ];
    for (name, body, trailer, decoded_length, expected) in cases {
        let setup = Setup { decoded_length, ..unsigned(trailer) };
        let got = decode(setup, body.as_bytes(), &[]);
        let got = got.map(|(out, _)| String::from_utf8(out).unwrap()).map_err(|error| error.describe().code);
        assert_eq!(got, expected.map(str::to_owned), "{name}");
    }
    let error = decode(unsigned(None), small.as_bytes(), &[]).unwrap_err();
    assert_eq!(error, ChunkError::InvalidChunkSize { chunk: 2, size: 5 });
}

#[test]
fn an_endless_line_is_not_kept() {
    let mut decoder = Decoder::new(unsigned(None));
    let mut out = Vec::new();
    let zeros = Bytes::from_static(&[b'0'; 1_000]);
    let results: Vec<_> = (0..10).map(|_| decoder.push(zeros.clone(), &mut out).is_ok()).collect();
    assert_eq!(results, [true, true, true, true, false, false, false, false, false, false]);
    assert_eq!(decoder.finish(), Err(ChunkError::IncompleteBody));
}

#[test]
fn framing_is_detected_from_any_of_its_marks() {
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let cases: [(&[(&str, &str)], Option<Framing>); 9] = [
        (&[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")], Some(Framing::Signed)),
        (
            &[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")],
            Some(Framing::SignedTrailer),
        ),
        (&[("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")], Some(Framing::UnsignedTrailer)),
        (
            &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), ("content-encoding", "gzip, aws-chunked")],
            Some(Framing::UnsignedTrailer),
        ),
        (&[("x-amz-decoded-content-length", "5")], Some(Framing::UnsignedTrailer)),
        (&[("x-amz-content-sha256", digest), ("x-amz-decoded-content-length", "5")], None),
        (&[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")], None),
        (&[("content-encoding", "gzip")], None),
        (&[], None),
    ];
    for (pairs, expected) in cases {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert_eq!(detect(&headers), expected, "{pairs:?}");
    }
    assert_eq!(strip_content_encoding("aws-chunked"), None);
    assert_eq!(strip_content_encoding("aws-chunked, gzip"), Some("gzip".to_owned()));
}

proptest! {
    #[test]
    fn any_split_decodes_to_what_was_encoded(
        framing in prop_oneof![Just(Framing::Signed), Just(Framing::SignedTrailer), Just(Framing::UnsignedTrailer)],
        algorithm in proptest::sample::select(&Algorithm::WITH_HEADER[..]),
        last in proptest::collection::vec(any::<u8>(), 0..50),
        full in 0usize..3,
        splits in proptest::collection::vec(0usize..9_000, 0..20),
        broken in proptest::option::of(0usize..30_000),
    ) {
        let trailer = (framing != Framing::Signed).then_some(algorithm);
        let signer = (framing != Framing::UnsignedTrailer).then(|| signer(SEED));
        let chunk = vec![7u8; 8_192];
        let mut chunks = vec![chunk.as_slice(); full];
        chunks.push(&last);
        let data = chunks.concat();
        let mut body = encode(framing, signer.clone(), &chunks, trailer);
        let setup = || Setup { framing, signer: signer.clone(), decoded_length: Some(data.len() as u64), trailer };
        let (out, trailers) = decode(setup(), &body, &splits).unwrap();
        prop_assert_eq!(&out, &data);
        prop_assert_eq!(trailers.decoded_length, data.len() as u64);
        prop_assert_eq!(trailers.checksum, trailer.map(|algorithm| Checksum::of(algorithm, &data)));

        if let Some(at) = broken {
            // The same verdict over a broken body, however it is split.
            let at = at % body.len();
            body[at] ^= 1;
            let whole = decode(setup(), &body, &[]);
            prop_assert_eq!(decode(setup(), &body, &splits), whole.clone());
            // Only the case of a hex digit, or of a trailer's name, may change and mean the same.
            if let Ok((out, _)) = whole {
                prop_assert_eq!(out, data);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_pile_up(body in proptest::collection::vec(any::<u8>(), 0..500), framing in any::<bool>()) {
        let signer = framing.then(|| signer(SEED));
        let framing = if framing { Framing::SignedTrailer } else { Framing::UnsignedTrailer };
        let setup = Setup { framing, signer, decoded_length: None, trailer: Some(Algorithm::Crc32) };
        if let Ok((out, _)) = decode(setup, &body, &[10, 10]) {
            prop_assert!(out.len() <= body.len());
        }
    }
}
