//! Encryption at rest: every byte of every object is encrypted under a key of its own, in frames that can be read from anywhere.
//!
//! A frame is 64 KiB of the object (the last may be shorter) sealed with AES-256-GCM under the number of the frame, so a frame
//! that was changed, moved or exchanged does not open. The key is drawn for these bytes alone and kept beside them, sealed in
//! turn: with the cloud's key (SSE-S3, and by default), or with the customer's (SSE-C), which is never kept.
//!
//! Source: Amazon S3 User Guide, "Using server-side encryption with Amazon S3 managed keys (SSE-S3)", "Using server-side
//! encryption with customer-provided keys (SSE-C)".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use pileus_platform::{Cx, Platform, Purpose, Rng};
use pileus_wire::checksum::{Algorithm, Checksum};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::error::S3Error;
use crate::version::{Encryption, WrappedKey};

/// Bytes of the object in a frame.
pub const FRAME: u64 = 64 << 10;
const TAG: u64 = 16;
/// Bytes of a whole frame at rest.
pub const SEALED_FRAME: u64 = FRAME + TAG;

/// How long `size` bytes of an object are at rest.
pub fn sealed_length(size: u64) -> u64 {
    size + size.div_ceil(FRAME) * TAG
}

/// The key of some bytes.
pub struct DataKey {
    raw: [u8; 32],
    key: LessSafeKey,
}

impl DataKey {
    pub fn draw(rng: &dyn Rng) -> DataKey {
        let mut raw = [0; 32];
        rng.fill(&mut raw);
        DataKey::new(raw)
    }

    fn new(raw: [u8; 32]) -> DataKey {
        DataKey { raw, key: aead(&raw) }
    }

    /// Encrypts frame number `index` where it lies, and adds its tag.
    pub fn seal(&self, index: u64, frame: &mut Vec<u8>) {
        let sealed = self.key.seal_in_place_append_tag(nonce(index), Aad::empty(), frame);
        sealed.expect("a frame is far below the cipher's length limit");
    }

    /// Decrypts frame number `index` where it lies. `None` if it is not what was sealed.
    pub fn open(&self, index: u64, mut frame: BytesMut) -> Option<Bytes> {
        let length = self.key.open_in_place(nonce(index), Aad::empty(), &mut frame).ok()?.len();
        frame.truncate(length);
        Some(frame.freeze())
    }
}

fn aead(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes a key of 32 bytes"))
}

/// A key seals each frame number once, so the number alone may be the nonce.
fn nonce(index: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

/// What protects the keys of a request's bytes.
#[derive(Clone)]
pub enum Wrapping {
    Managed,
    Customer(CustomerKey),
}

/// A key that the caller brought.
#[derive(Clone)]
pub struct CustomerKey {
    key: [u8; 32],
    /// In base64.
    pub md5: String,
}

/// Headers of SSE-C, as sent: algorithm, key, MD5 of the key.
pub type CustomerHeaders<'a> = [Option<&'a str>; 3];

impl CustomerKey {
    /// # Errors
    /// `InvalidArgument` when a header is missing or wrong, `InvalidEncryptionAlgorithmError`.
    ///
    /// Recorded: the sentences.
    pub fn read(headers: CustomerHeaders<'_>) -> Result<Option<CustomerKey>, S3Error> {
        const NAME: &str = "x-amz-server-side-encryption-customer-";
        let argument =
            |name: &str, message: &'static str| S3Error::argument(format!("{NAME}{name}"), "null", message);
        let [algorithm, key, md5] = headers;
        if headers.iter().all(Option::is_none) {
            return Ok(None);
        }
        let Some(algorithm) = algorithm else {
            return Err(argument(
                "algorithm",
                "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm.",
            ));
        };
        if algorithm != "AES256" {
            return Err(S3Error::refused(
                "InvalidEncryptionAlgorithmError",
                400,
                "The Encryption request you specified is not valid. Supported value: AES256.",
            )
            .with("ArgumentName", format!("{NAME}algorithm"))
            .with("ArgumentValue", algorithm));
        }
        let Some(key) = key else {
            return Err(argument(
                "key",
                "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.",
            ));
        };
        let Some(md5) = md5 else {
            return Err(argument(
                "key-MD5",
                "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated MD5 of the secret key.",
            ));
        };
        let raw: Option<[u8; 32]> = BASE64.decode(key).ok().and_then(|key| key.try_into().ok());
        let Some(raw) = raw else {
            return Err(argument("key", "The secret key was invalid for the specified algorithm."));
        };
        if Checksum::of(Algorithm::Md5, &raw).base64() != md5 {
            return Err(argument(
                "key-MD5",
                "The calculated MD5 hash of the key did not match the hash that was provided.",
            ));
        }
        Ok(Some(CustomerKey { key: raw, md5: md5.to_owned() }))
    }
}

impl Wrapping {
    /// How a request wants its object encrypted.
    ///
    /// # Errors
    /// As `CustomerKey::read`; `NotImplemented` for keys of KMS; `InvalidArgument` for both kinds at once.
    pub fn wanted(
        server_side: Option<&str>,
        kms_key: Option<&str>,
        customer: CustomerHeaders<'_>,
    ) -> Result<Wrapping, S3Error> {
        let own = CustomerKey::read(customer)?;
        match server_side {
            None if kms_key.is_none() => Ok(own.map_or(Wrapping::Managed, Wrapping::Customer)),
            Some("AES256") if kms_key.is_none() => match own {
                None => Ok(Wrapping::Managed),
                Some(_) => Err(S3Error::argument(
                    "x-amz-server-side-encryption",
                    "AES256",
                    "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
                )),
            },
            None | Some("AES256") => Err(S3Error::argument(
                "x-amz-server-side-encryption",
                server_side.unwrap_or_default(),
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            )),
            Some(kms @ ("aws:kms" | "aws:kms:dsse" | "aws:fsx")) => {
                Err(S3Error::lacking(format!("x-amz-server-side-encryption: {kms}")))
            }
            Some(other) => Err(S3Error::argument(
                "x-amz-server-side-encryption",
                other,
                "The encryption method specified is not supported",
            )),
        }
    }

    pub fn encryption(&self) -> Encryption {
        match self {
            Wrapping::Managed => Encryption::Managed,
            Wrapping::Customer(key) => Encryption::Customer { key_md5: key.md5.clone() },
        }
    }

    /// Seals a key.
    pub fn wrap(&self, cx: &Cx, key: &DataKey) -> WrappedKey {
        let rng = cx.rng().as_ref();
        match self {
            Wrapping::Managed => {
                cx.platform().sealer().lock(Purpose::ObjectKey, key.raw.to_vec(), rng).into()
            }
            Wrapping::Customer(own) => {
                let mut nonce = [0; NONCE_LEN];
                rng.fill(&mut nonce);
                let mut sealed = key.raw.to_vec();
                aead(&own.key)
                    .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
                    .expect("a key is far below the cipher's length limit");
                [&nonce[..], &sealed].concat().into()
            }
        }
    }

    /// Opens a key.
    ///
    /// # Errors
    /// `AccessDenied` for another customer's key; `Internal` when a key of ours does not open.
    pub fn unwrap(&self, platform: &Platform, wrapped: &WrappedKey) -> Result<DataKey, S3Error> {
        let raw = match self {
            Wrapping::Managed => {
                let opened = platform.sealer().unlock(Purpose::ObjectKey, wrapped.to_vec());
                opened.ok_or_else(|| S3Error::Internal("the key of an object does not open".to_owned()))?
            }
            Wrapping::Customer(own) => {
                let opened = (wrapped.len() > NONCE_LEN).then(|| {
                    let nonce = Nonce::try_assume_unique_for_key(&wrapped[..NONCE_LEN]).ok()?;
                    let mut sealed = wrapped[NONCE_LEN..].to_vec();
                    aead(&own.key)
                        .open_in_place(nonce, Aad::empty(), &mut sealed)
                        .ok()
                        .map(|raw| raw.to_vec())
                });
                opened.flatten().ok_or(S3Error::AccessDenied)?
            }
        };
        let raw = <[u8; 32]>::try_from(raw.as_slice());
        raw.map(DataKey::new).map_err(|_| S3Error::Internal("the key of an object is too short".to_owned()))
    }

    /// How an object is read that is encrypted so, by a request with these headers.
    ///
    /// # Errors
    /// `InvalidRequest` for a customer's key where there is none, or none where there is one; `AccessDenied` for a wrong one.
    pub fn to_read(encryption: &Encryption, customer: CustomerHeaders<'_>) -> Result<Wrapping, S3Error> {
        match (encryption, CustomerKey::read(customer)?) {
            (Encryption::Managed, None) => Ok(Wrapping::Managed),
            (Encryption::Managed, Some(_)) => {
                Err(S3Error::invalid("The encryption parameters are not applicable to this object."))
            }
            (Encryption::Customer { .. }, None) => Err(S3Error::invalid(
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
            )),
            (Encryption::Customer { key_md5 }, Some(key)) if *key_md5 == key.md5 => {
                Ok(Wrapping::Customer(key))
            }
            (Encryption::Customer { .. }, Some(_)) => Err(S3Error::AccessDenied),
        }
    }
}

impl Encryption {
    /// `x-amz-server-side-encryption`
    pub fn server_side(&self) -> Option<String> {
        matches!(self, Encryption::Managed).then(|| "AES256".to_owned())
    }

    /// `x-amz-server-side-encryption-customer-algorithm`
    pub fn customer_algorithm(&self) -> Option<String> {
        matches!(self, Encryption::Customer { .. }).then(|| "AES256".to_owned())
    }

    pub fn customer_key_md5(&self) -> Option<String> {
        match self {
            Encryption::Customer { key_md5 } => Some(key_md5.clone()),
            Encryption::Managed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::SeededRng;

    #[test]
    fn a_frame_opens_in_its_place_and_unchanged_only() {
        let key = DataKey::draw(&SeededRng::new(1));
        let mut frame = b"hello".to_vec();
        key.seal(3, &mut frame);
        assert_eq!(frame.len() as u64, sealed_length(5));
        assert_eq!(key.open(3, frame.as_slice().into()).as_deref(), Some(&b"hello"[..]));
        assert_eq!(key.open(2, frame.as_slice().into()), None);
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(3, changed.as_slice().into()), None, "byte {at}");
        }
        assert_eq!(key.open(0, BytesMut::new()), None);
    }

    #[test]
    fn a_customers_key_is_read_or_refused_by_what_is_wrong() {
        let key = BASE64.encode([7; 32]);
        let md5 = Checksum::of(Algorithm::Md5, &[7; 32]).base64();
        let read =
            |headers| CustomerKey::read(headers).map(|key| key.is_some()).map_err(|e| e.code().to_owned());
        let invalid = |code: &str| Err(code.to_owned());
        assert_eq!(read([None, None, None]), Ok(false));
        assert_eq!(read([Some("AES256"), Some(&key), Some(&md5)]), Ok(true));
        assert_eq!(
            read([Some("AES128"), Some(&key), Some(&md5)]),
            invalid("InvalidEncryptionAlgorithmError")
        );
        assert_eq!(read([Some("AES256"), None, Some(&md5)]), invalid("InvalidArgument"));
        assert_eq!(read([Some("AES256"), Some(&key), None]), invalid("InvalidArgument"));
        assert_eq!(read([Some("AES256"), Some("AAAA"), Some(&md5)]), invalid("InvalidArgument"));
        assert_eq!(read([Some("AES256"), Some(&key), Some(&key)]), invalid("InvalidArgument"));
    }

    #[test]
    fn lengths_at_rest() {
        for (size, sealed) in [(0, 0), (1, 17), (FRAME, FRAME + 16), (FRAME + 1, FRAME + 33)] {
            assert_eq!(sealed_length(size), sealed, "{size}");
        }
    }
}
