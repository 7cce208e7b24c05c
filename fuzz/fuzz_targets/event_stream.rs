//! Event streams: in pieces or at once they are the same messages, and each is written back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pileus_wire::eventstream::{Decoder, Message};

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Message>, bool) {
    let mut decoder = Decoder::new();
    let mut messages = Vec::new();
    let mut is_well = true;
    for piece in pieces {
        is_well &= decoder.push(piece, &mut messages).is_ok();
        if !is_well {
            break;
        }
    }
    (messages, is_well && decoder.finish().is_ok())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((piece, body)) = bytes.split_first() else { return };
    let whole = read([body].into_iter());
    assert_eq!(whole, read(body.chunks(usize::from(*piece).max(1))));
    for message in &whole.0 {
        let written = message.encode().expect("a message that was read can be written");
        assert_eq!(read([&written[..]].into_iter()), (vec![message.clone()], true));
    }
});
