//! Checksums that requests bring and objects keep: pure.
//!
//! Source: Amazon S3 User Guide, "Checking object integrity for data uploads in Amazon S3". Recorded: the sentences.

use pileus_wire::checksum::{Algorithm, Checksum};

use crate::error::S3Error;
use crate::version::StoredChecksum;

/// The checksum that an upload has: which one, and what the caller says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub algorithm: Algorithm,
    pub declared: Option<Checksum>,
}

/// What a request's headers say: values by algorithm, and `x-amz-sdk-checksum-algorithm`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    pub crc32: Option<&'a str>,
    pub crc32c: Option<&'a str>,
    pub crc64nvme: Option<&'a str>,
    pub sha1: Option<&'a str>,
    pub sha256: Option<&'a str>,
    /// The first of those that we lack, by name.
    pub unknown: Option<&'static str>,
    pub algorithm: Option<&'a str>,
}

/// The headers of a request whose type has these members.
macro_rules! headers {
    ($input:expr, $algorithm:expr) => {
        $crate::checksum::Headers {
            crc32: $input.checksum_crc32.as_deref(),
            crc32c: $input.checksum_crc32c.as_deref(),
            crc64nvme: $input.checksum_crc64nvme.as_deref(),
            sha1: $input.checksum_sha1.as_deref(),
            sha256: $input.checksum_sha256.as_deref(),
            unknown: $crate::checksum::first_unknown([
                $input.checksum_sha512.is_some(),
                $input.checksum_md5.is_some(),
                $input.checksum_xxhash64.is_some(),
                $input.checksum_xxhash3.is_some(),
                $input.checksum_xxhash128.is_some(),
            ]),
            algorithm: $algorithm,
        }
    };
}
pub(crate) use headers;

pub fn first_unknown(are_given: [bool; 5]) -> Option<&'static str> {
    const NAMES: [&str; 5] = [
        "x-amz-checksum-sha512",
        "x-amz-checksum-md5",
        "x-amz-checksum-xxhash64",
        "x-amz-checksum-xxhash3",
        "x-amz-checksum-xxhash128",
    ];
    are_given.iter().position(|is_given| *is_given).map(|at| NAMES[at])
}

impl<'a> Headers<'a> {
    /// The checksum asked for, if any.
    ///
    /// # Errors
    /// `InvalidRequest` for several, for an unknown algorithm, and for a value that is none; `NotImplemented` for algorithms
    /// that we lack.
    pub fn wanted(&self) -> Result<Option<Wanted>, S3Error> {
        if let Some(unknown) = self.unknown {
            return Err(S3Error::lacking(unknown));
        }
        let values = [
            (Algorithm::Crc32, self.crc32),
            (Algorithm::Crc32c, self.crc32c),
            (Algorithm::Crc64Nvme, self.crc64nvme),
            (Algorithm::Sha1, self.sha1),
            (Algorithm::Sha256, self.sha256),
        ];
        let mut given = values.iter().filter_map(|(algorithm, value)| Some((*algorithm, (*value)?)));
        let first = given.next();
        if given.next().is_some() {
            return Err(S3Error::invalid(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        let named = self.algorithm.filter(|name| !name.is_empty()).map(algorithm).transpose()?;
        let Some((algorithm, value)) = first else {
            return Ok(named.map(|algorithm| Wanted { algorithm, declared: None }));
        };
        if named.is_some_and(|named| named != algorithm) {
            return Err(S3Error::invalid("Value for x-amz-sdk-checksum-algorithm header is invalid."));
        }
        let declared = Checksum::parse(algorithm, value).ok_or_else(|| {
            S3Error::invalid(format!("Value for {} header is invalid.", algorithm.header()))
        })?;
        Ok(Some(Wanted { algorithm, declared: Some(declared) }))
    }
}

/// # Errors
/// `InvalidRequest` for no algorithm of S3's; `NotImplemented` for those that we lack.
pub fn algorithm(name: &str) -> Result<Algorithm, S3Error> {
    Algorithm::from_name(name).ok_or_else(|| match name.to_ascii_uppercase().as_str() {
        "SHA512" | "MD5" | "XXHASH64" | "XXHASH3" | "XXHASH128" => {
            S3Error::lacking(format!("checksum algorithm {name}"))
        }
        _ => S3Error::invalid("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"),
    })
}

impl Wanted {
    /// # Errors
    /// `BadDigest` when the caller said otherwise.
    pub fn check(&self, computed: &Checksum) -> Result<(), S3Error> {
        match &self.declared {
            Some(declared) if declared != computed => Err(S3Error::refused(
                "BadDigest",
                400,
                format!("The {} you specified did not match the calculated checksum.", self.algorithm.name()),
            )),
            _ => Ok(()),
        }
    }
}

/// `Content-MD5`
///
/// # Errors
/// `InvalidDigest`
pub fn content_md5(header: Option<&str>) -> Result<Option<Checksum>, S3Error> {
    let Some(text) = header else { return Ok(None) };
    let parsed = Checksum::parse(Algorithm::Md5, text).ok_or_else(|| {
        S3Error::refused("InvalidDigest", 400, "The Content-MD5 you specified was invalid.")
            .with("Content-MD5", text)
    })?;
    Ok(Some(parsed))
}

/// # Errors
/// `BadDigest`
pub fn check_md5(declared: Option<&Checksum>, computed: &Checksum) -> Result<(), S3Error> {
    match declared {
        Some(declared) if declared != computed => Err(S3Error::refused(
            "BadDigest",
            400,
            "The Content-MD5 you specified did not match what we received.",
        )
        .with("ExpectedDigest", declared.base64())
        .with("CalculatedDigest", computed.base64())),
        _ => Ok(()),
    }
}

impl StoredChecksum {
    pub fn full(checksum: &Checksum) -> StoredChecksum {
        StoredChecksum {
            algorithm: checksum.algorithm.name().to_owned(),
            value: checksum.base64(),
            is_composite: false,
        }
    }
}

/// Sets the member of an answer that the checksum belongs to, and its type.
macro_rules! answer {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            $crate::checksum::answer_value!($output, checksum);
            $output.checksum_type = Some(checksum.kind().to_owned());
        }
    };
}
pub(crate) use answer;

/// As `answer`, of answers without a type.
macro_rules! answer_value {
    ($output:expr, $checksum:expr) => {{
        let value = Some($checksum.value.clone());
        match $checksum.algorithm.as_str() {
            "CRC32" => $output.checksum_crc32 = value,
            "CRC32C" => $output.checksum_crc32c = value,
            "CRC64NVME" => $output.checksum_crc64nvme = value,
            "SHA1" => $output.checksum_sha1 = value,
            "SHA256" => $output.checksum_sha256 = value,
            _ => {}
        }
    }};
}
pub(crate) use answer_value;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_checksum_is_read_from_the_headers() {
        let none = Headers::default();
        let read = |headers: Headers<'_>| {
            let wanted = headers.wanted().map_err(|error| error.code().to_owned());
            wanted.map(|wanted| wanted.map(|wanted| (wanted.algorithm.name(), wanted.declared.is_some())))
        };
        let invalid = || Err("InvalidRequest".to_owned());
        assert_eq!(read(none), Ok(None));
        assert_eq!(read(Headers { algorithm: Some("sha256"), ..none }), Ok(Some(("SHA256", false))));
        assert_eq!(read(Headers { crc32: Some("NhCmhg=="), ..none }), Ok(Some(("CRC32", true))));
        assert_eq!(read(Headers { crc32: Some("NhCm"), ..none }), invalid());
        assert_eq!(read(Headers { crc32: Some("NhCmhg=="), crc32c: Some("NhCmhg=="), ..none }), invalid());
        assert_eq!(read(Headers { crc32: Some("NhCmhg=="), algorithm: Some("SHA1"), ..none }), invalid());
        assert_eq!(read(Headers { algorithm: Some("CRC16"), ..none }), invalid());
        assert_eq!(read(Headers { algorithm: Some("XXHASH3"), ..none }), Err("NotImplemented".to_owned()));
    }
}
