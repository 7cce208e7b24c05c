//! Identifiers in AWS's forms, drawn from the injected `Rng`.

use std::sync::Arc;

use crate::Rng;

/// Makes identifiers. Cheap to clone.
#[derive(Clone)]
pub struct Ids(Arc<dyn Rng>);

const UPPER_BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const ALPHANUMERIC: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const LOWER: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const SECRET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl Ids {
    pub fn new(rng: Arc<dyn Rng>) -> Ids {
        Ids(rng)
    }

    pub fn rng(&self) -> &Arc<dyn Rng> {
        &self.0
    }

    /// A version 4 UUID: 36 characters, lower case.
    pub fn uuid(&self) -> String {
        let mut b = [0u8; 16];
        self.0.fill(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(36);
        for (i, byte) in b.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text
    }

    /// An IAM unique id or access key id: a four-letter `prefix` (`AIDA`, `AROA`, `AKIA`, `ASIA`, ..) and 16 or 17 of `A-Z2-7`.
    ///
    /// Source: IAM User Guide, "IAM identifiers".
    pub fn iam(&self, prefix: &str, length: usize) -> String {
        self.draw(prefix, UPPER_BASE32, length)
    }

    /// A 40-character secret access key.
    pub fn secret_access_key(&self) -> String {
        self.draw("", SECRET, 40)
    }

    pub fn alphanumeric(&self, length: usize) -> String {
        self.draw("", ALPHANUMERIC, length)
    }

    /// Lower-case letters and digits, as in API ids and change ids.
    pub fn lower(&self, length: usize) -> String {
        self.draw("", LOWER, length)
    }

    /// Lower-case hexadecimal of `length` digits.
    pub fn hex(&self, length: usize) -> String {
        self.draw("", b"0123456789abcdef", length)
    }

    /// Uniform: bytes at or above the largest multiple of the alphabet's size are thrown away.
    fn draw(&self, prefix: &str, alphabet: &[u8], length: usize) -> String {
        let fair = 256 - 256 % alphabet.len();
        let mut text = String::with_capacity(prefix.len() + length);
        text.push_str(prefix);
        let whole = prefix.len() + length;
        while text.len() < whole {
            let mut bytes = [0u8; 64];
            let bytes = &mut bytes[..(whole - text.len()).min(64)];
            self.0.fill(bytes);
            let drawn = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
            text.extend(drawn.map(|byte| char::from(alphabet[byte % alphabet.len()])));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRng;

    #[test]
    fn identifiers_have_awss_forms_and_repeat_with_their_seed() {
        let ids = Ids::new(Arc::new(SeededRng::new(7)));
        let uuid = ids.uuid();
        assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'4'));
        assert!(matches!(uuid.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        let key = ids.iam("AKIA", 16);
        assert!(key.starts_with("AKIA") && key.len() == 20);
        assert_eq!(ids.secret_access_key().len(), 40);
        assert_eq!(ids.alphanumeric(1_000).len(), 1_000);
        assert!(ids.hex(24).bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert_ne!(ids.uuid(), uuid);
        assert_eq!(Ids::new(Arc::new(SeededRng::new(7))).uuid(), uuid);
    }
}
