//! The client's side: tests, the load generator, internal uploads.

use super::{ChunkSigner, Framing};
use crate::checksum::{Algorithm, Hasher};
use crate::sigv4::sha256_hex;

/// Frames `chunks` (none of them empty) and closes the body; with `trailer`, the checksum of all of them follows.
///
/// Without a signer the chunks go unsigned, whatever `framing` says.
pub fn encode(
    framing: Framing,
    mut signer: Option<ChunkSigner>,
    chunks: &[&[u8]],
    trailer: Option<Algorithm>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut hasher = trailer.map(Hasher::new);
    for chunk in chunks.iter().copied().filter(|chunk| !chunk.is_empty()).chain([&b""[..]]) {
        if let Some(hasher) = &mut hasher {
            hasher.update(chunk);
        }
        out.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
        if let Some(signer) = &mut signer {
            let text = signer.chunk_text(&sha256_hex(chunk));
            out.extend_from_slice(format!(";chunk-signature={}", signer.sign(&text)).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        if !chunk.is_empty() {
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some(hasher) = hasher {
        let name = hasher.algorithm().header();
        let value = hasher.finish().base64();
        out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
        if let Some(signer) = signer.as_mut().filter(|_| framing == Framing::SignedTrailer) {
            let text = signer.trailer_text(&format!("{name}:{value}\n"));
            out.extend_from_slice(format!("x-amz-trailer-signature:{}\r\n", signer.sign(&text)).as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
