//! The framing of streamed uploads, in pieces of any size: what comes out is never more than what went in.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pileus_wire::checksum::Algorithm;
use pileus_wire::chunked::{Decoder, Framing, Setup};

fuzz_target!(|bytes: &[u8]| {
    let [how, piece, length, body @ ..] = bytes else { return };
    let framing = [Framing::Signed, Framing::SignedTrailer, Framing::UnsignedTrailer][usize::from(how % 3)];
    let trailer = Algorithm::WITH_HEADER.get(usize::from(how / 3 % 8)).copied();
    let decoded_length = (how & 0x80 != 0).then_some(u64::from(*length));
    let mut decoder = Decoder::new(Setup { framing, signer: None, decoded_length, trailer });
    let mut out = Vec::new();
    let pieces = body.chunks(usize::from(*piece).max(1)).map(Bytes::copy_from_slice);
    let result = pieces.into_iter().try_for_each(|piece| decoder.push(piece, &mut out));
    let decoded: usize = out.iter().map(Bytes::len).sum();
    assert!(decoded <= body.len(), "data came from nowhere");
    if let (Ok(()), Ok(trailers)) = (result, decoder.finish()) {
        assert_eq!(trailers.decoded_length, decoded as u64);
    }
});
