//! The picture that an authenticator app reads a seed from: a QR code as PNG. Pure.
//!
//! Source: W3C, "Portable Network Graphics (PNG) Specification"; RFC 1950 and RFC 1951 (stored blocks: a code is small).

use qrcodegen::{QrCode, QrCodeEcc};

const BORDER: i32 = 4;
const SCALE: i32 = 4;

/// `None` when the text is too long for a code.
pub fn png(text: &str) -> Option<Vec<u8>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let side = (code.size() + 2 * BORDER) * SCALE;
    let mut pixels = Vec::with_capacity((side * (side / 8 + 2)) as usize);
    for y in 0..side {
        pixels.push(0); // no filter
        let dark = |x: i32| code.get_module(x / SCALE - BORDER, y / SCALE - BORDER);
        for start in (0..side).step_by(8) {
            let bits = (start..start + 8).map(|x| u8::from(x < side && !dark(x)));
            pixels.push(bits.fold(0, |byte, bit| byte << 1 | bit));
        }
    }
    let mut header = Vec::with_capacity(13);
    header.extend_from_slice(&side.to_be_bytes());
    header.extend_from_slice(&side.to_be_bytes());
    header.extend_from_slice(&[1, 0, 0, 0, 0]); // one bit of grey, no interlace
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"IDAT", &zlib(&pixels));
    chunk(&mut png, b"IEND", &[]);
    Some(png)
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend_from_slice(&(data.len() as u32).to_be_bytes());
    let from = png.len();
    png.extend_from_slice(kind);
    png.extend_from_slice(data);
    let checksum = crc32fast::hash(&png[from..]);
    png.extend_from_slice(&checksum.to_be_bytes());
}

fn zlib(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend_from_slice(&length.to_le_bytes());
        stream.extend_from_slice(&(!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&adler32(data).to_be_bytes());
    stream
}

fn adler32(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_parts_and_their_checksums() {
        let png = png("otpauth://totp/x?secret=ABC").unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"));
        // The last twelve bytes of every PNG.
        assert!(png.ends_with(&[0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82]));
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert!(super::png(&"x".repeat(5_000)).is_none());
    }
}
