//! Checksums of objects and bodies: incremental, in base64 as on the wire, and the two ways to make one of many parts.
//!
//! Source: S3 User Guide, "Checking object integrity for data uploads in Amazon S3" (full object and composite types).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Digest as _;
use ring::digest;

/// A checksum algorithm that S3 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
    Md5,
}

impl Algorithm {
    /// Those with an `x-amz-checksum-` header.
    pub const WITH_HEADER: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// AWS's name, as in `ChecksumAlgorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
            Algorithm::Md5 => "MD5",
        }
    }

    /// The header or trailer that carries it.
    pub fn header(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "x-amz-checksum-crc32",
            Algorithm::Crc32c => "x-amz-checksum-crc32c",
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Sha1 => "x-amz-checksum-sha1",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
            Algorithm::Md5 => "content-md5",
        }
    }

    /// By AWS's name, in any case.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::WITH_HEADER.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// By the name of an `x-amz-checksum-` header, in any case.
    pub fn from_header(header: &str) -> Option<Algorithm> {
        Algorithm::WITH_HEADER.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(header))
    }

    /// Length of a digest in bytes.
    pub fn digest_len(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    /// Whether the checksum of a whole follows from those of its parts.
    pub fn combines(self) -> bool {
        matches!(self, Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Crc64Nvme)
    }

    /// The bit-reflected polynomial, left-aligned in its width.
    fn polynomial(self) -> Option<Polynomial> {
        match self {
            Algorithm::Crc32 => Some(Polynomial { reflected: 0xEDB8_8320, width: 32 }),
            Algorithm::Crc32c => Some(Polynomial { reflected: 0x82F6_3B78, width: 32 }),
            Algorithm::Crc64Nvme => Some(Polynomial { reflected: 0x9A6C_9329_AC4B_C9B5, width: 64 }),
            Algorithm::Sha1 | Algorithm::Sha256 | Algorithm::Md5 => None,
        }
    }
}

/// A finished checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    pub algorithm: Algorithm,
    /// Big-endian for the CRCs; `digest_len` bytes.
    pub bytes: Vec<u8>,
}

impl Checksum {
    pub fn of(algorithm: Algorithm, data: &[u8]) -> Checksum {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(data);
        hasher.finish()
    }

    /// Reads the wire's base64; `None` if it is not one, or not of the algorithm's length.
    pub fn parse(algorithm: Algorithm, base64: &str) -> Option<Checksum> {
        let bytes = STANDARD.decode(base64).ok()?;
        (bytes.len() == algorithm.digest_len()).then_some(Checksum { algorithm, bytes })
    }

    pub fn base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// Lowercase hex, as in an `ETag`.
    pub fn hex(&self) -> String {
        hex::encode(&self.bytes)
    }

    /// The checksum of this data followed by `next`, which is `next_len` bytes long. CRCs only.
    pub fn combine(&self, next: &Checksum, next_len: u64) -> Option<Checksum> {
        let polynomial = self.algorithm.polynomial().filter(|_| next.algorithm == self.algorithm)?;
        let combined = polynomial.shift(number(&self.bytes), next_len) ^ number(&next.bytes);
        let bytes = combined.to_be_bytes()[8 - self.bytes.len().min(8)..].to_vec();
        Some(Checksum { algorithm: self.algorithm, bytes })
    }
}

/// The full-object checksum of parts in order, each with its length; `None` if they do not combine or there are none.
pub fn full_object(parts: &[(Checksum, u64)]) -> Option<Checksum> {
    let ((first, _), rest) = parts.split_first()?;
    if !first.algorithm.combines() {
        return None;
    }
    rest.iter().try_fold(first.clone(), |whole, (part, length)| whole.combine(part, *length))
}

/// The composite checksum of parts: the checksum of their digests. On the wire it is followed by `-` and their number.
pub fn composite(algorithm: Algorithm, parts: &[Checksum]) -> Checksum {
    let mut hasher = Hasher::new(algorithm);
    for part in parts {
        hasher.update(&part.bytes);
    }
    hasher.finish()
}

/// Takes data piece by piece.
pub struct Hasher {
    algorithm: Algorithm,
    state: State,
}

enum State {
    Crc32(crc32fast::Hasher),
    Crc32c(u32),
    Crc64Nvme(Box<crc64fast_nvme::Digest>),
    Ring(Box<digest::Context>),
    Md5(Box<md5::Md5>),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Hasher {
        let state = match algorithm {
            Algorithm::Crc32 => State::Crc32(crc32fast::Hasher::new()),
            Algorithm::Crc32c => State::Crc32c(0),
            Algorithm::Crc64Nvme => State::Crc64Nvme(Box::new(crc64fast_nvme::Digest::new())),
            Algorithm::Sha1 => State::Ring(Box::new(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY))),
            Algorithm::Sha256 => State::Ring(Box::new(digest::Context::new(&digest::SHA256))),
            Algorithm::Md5 => State::Md5(Box::new(md5::Md5::new())),
        };
        Hasher { algorithm, state }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub fn update(&mut self, data: &[u8]) {
        match &mut self.state {
            State::Crc32(hasher) => hasher.update(data),
            State::Crc32c(crc) => *crc = crc32c::crc32c_append(*crc, data),
            State::Crc64Nvme(digest) => digest.write(data),
            State::Ring(context) => context.update(data),
            State::Md5(md5) => md5.update(data),
        }
    }

    pub fn finish(self) -> Checksum {
        let bytes = match self.state {
            State::Crc32(hasher) => hasher.finalize().to_be_bytes().to_vec(),
            State::Crc32c(crc) => crc.to_be_bytes().to_vec(),
            State::Crc64Nvme(digest) => digest.sum64().to_be_bytes().to_vec(),
            State::Ring(context) => context.finish().as_ref().to_vec(),
            State::Md5(md5) => md5.finalize().to_vec(),
        };
        Checksum { algorithm: self.algorithm, bytes }
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Arithmetic modulo a CRC's polynomial over GF(2), bits reflected: the highest bit is the constant term.
#[derive(Clone, Copy)]
struct Polynomial {
    reflected: u64,
    width: u32,
}

impl Polynomial {
    /// `crc` times x to the number of bits in `bytes`: what `bytes` further bytes do to it.
    fn shift(self, crc: u64, bytes: u64) -> u64 {
        let mut result = crc;
        let mut power = 1 << (self.width - 2); // x
        for _ in 0..3 {
            power = self.multiply(power, power);
        }
        let mut left = bytes;
        while left > 0 {
            if left & 1 == 1 {
                result = self.multiply(result, power);
            }
            power = self.multiply(power, power);
            left >>= 1;
        }
        result
    }

    fn multiply(self, a: u64, b: u64) -> u64 {
        let (mut product, mut shifted) = (0, b);
        for bit in (0..self.width).rev() {
            if a >> bit & 1 == 1 {
                product ^= shifted;
            }
            shifted = if shifted & 1 == 1 { shifted >> 1 ^ self.reflected } else { shifted >> 1 };
        }
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_values_of_the_catalogues() {
        // Source: the check values ("123456789") of each algorithm's definition.
        let cases = [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
            (Algorithm::Md5, "25f9e794323b453885f5181f1b624d0b"),
        ];
        for (algorithm, expected) in cases {
            let checksum = Checksum::of(algorithm, b"123456789");
            assert_eq!(checksum.hex(), expected);
            assert_eq!(checksum.bytes.len(), algorithm.digest_len());
            assert_eq!(Checksum::parse(algorithm, &checksum.base64()), Some(checksum));
            assert_eq!(Checksum::parse(algorithm, "AA=="), None);
        }
    }

    #[test]
    fn names_and_headers_lead_back() {
        for algorithm in Algorithm::WITH_HEADER {
            assert_eq!(Algorithm::from_name(&algorithm.name().to_lowercase()), Some(algorithm));
            assert_eq!(Algorithm::from_header(&algorithm.header().to_uppercase()), Some(algorithm));
        }
        assert_eq!(Algorithm::from_header("x-amz-checksum-md4"), None);
    }

    #[test]
    fn a_composite_is_the_checksum_of_the_digests() {
        let parts = [Checksum::of(Algorithm::Md5, b"a"), Checksum::of(Algorithm::Md5, b"b")];
        let digests = [parts[0].bytes.clone(), parts[1].bytes.clone()].concat();
        assert_eq!(composite(Algorithm::Md5, &parts), Checksum::of(Algorithm::Md5, &digests));
        assert_eq!(full_object(&[(parts[0].clone(), 1)]), None);
        assert_eq!(full_object(&[]), None);
    }

    proptest! {
        #[test]
        fn parts_combine_to_the_whole(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6)) {
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
                let summed: Vec<(Checksum, u64)> =
                    parts.iter().map(|part| (Checksum::of(algorithm, part), part.len() as u64)).collect();
                prop_assert_eq!(full_object(&summed), Some(Checksum::of(algorithm, &parts.concat())));
            }
        }

        #[test]
        fn pieces_hash_as_the_whole(data in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..300) {
            let (head, tail) = data.split_at(at.min(data.len()));
            for algorithm in Algorithm::WITH_HEADER.into_iter().chain([Algorithm::Md5]) {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(head);
                hasher.update(tail);
                prop_assert_eq!(hasher.finish(), Checksum::of(algorithm, &data));
            }
        }
    }
}
