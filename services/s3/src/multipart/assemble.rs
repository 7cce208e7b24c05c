//! Which parts make the object, and what its tag and checksum are: pure.
//!
//! Source: Amazon S3 API Reference, "CompleteMultipartUpload", "Error responses"; Amazon S3 User Guide, "Checking object integrity
//! for data uploads in Amazon S3". Recorded: the sentences.

use std::collections::BTreeMap;

use pileus_api_s3::CompletedPart;
use pileus_wire::checksum::{Algorithm, Checksum, composite, full_object};

use super::part::Part;
use super::upload::UploadChecksum;
use crate::error::S3Error;
use crate::version::StoredChecksum;

/// Bytes of every part but the last.
const MIN_PART: u64 = 5 << 20;

/// The object that parts make.
#[derive(Debug)]
pub struct Assembled<'p> {
    pub parts: Vec<(u32, &'p Part)>,
    pub size: u64,
    pub etag: String,
    pub checksum: StoredChecksum,
}

/// Takes the parts that the caller lists from those that were uploaded.
///
/// # Errors
/// `MalformedXML`, `InvalidPartOrder`, `InvalidPart`, `EntityTooSmall`, `InvalidRequest`.
pub fn assemble<'p>(
    listed: &[CompletedPart],
    uploaded: &'p BTreeMap<u32, Part>,
    upload_id: &str,
    sum: &UploadChecksum,
    needs_checksums: bool,
) -> Result<Assembled<'p>, S3Error> {
    if listed.is_empty() || listed.len() > 10_000 {
        return Err(S3Error::MalformedXml);
    }
    let mut parts: Vec<(u32, &Part)> = Vec::with_capacity(listed.len());
    for part in listed {
        let number = part.part_number.ok_or(S3Error::MalformedXml)?;
        let number = match number {
            1..=10_000 => number as u32,
            _ => {
                return Err(S3Error::argument("partNumber", number.to_string(), "PartNumber must be >= 1"));
            }
        };
        if parts.last().is_some_and(|(last, _)| *last >= number) {
            return Err(S3Error::refused(
                "InvalidPartOrder",
                400,
                "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
            )
            .with("UploadId", upload_id));
        }
        let etag = part.e_tag.as_deref().ok_or(S3Error::MalformedXml)?.trim_matches('"');
        let found = uploaded.get(&number).filter(|found| found.etag == etag);
        let found = found.ok_or_else(|| invalid_part(upload_id, number, etag))?;
        check_sum(part, found, number, sum, needs_checksums, upload_id)?;
        parts.push((number, found));
    }
    let (_, all_but_last) = parts.split_last().ok_or(S3Error::MalformedXml)?;
    if let Some((number, part)) = all_but_last.iter().find(|(_, part)| part.size < MIN_PART) {
        return Err(S3Error::refused(
            "EntityTooSmall",
            400,
            "Your proposed upload is smaller than the minimum allowed size",
        )
        .with("ProposedSize", part.size.to_string())
        .with("MinSizeAllowed", MIN_PART.to_string())
        .with("PartNumber", number.to_string())
        .with("ETag", part.etag.clone()));
    }
    let size = parts.iter().map(|(_, part)| part.size).sum();
    let digests: Vec<Checksum> = parts
        .iter()
        .map(|(_, part)| {
            let bytes = hex::decode(&part.etag).unwrap_or_default();
            Checksum { algorithm: Algorithm::Md5, bytes }
        })
        .collect();
    let etag = format!("{}-{}", composite(Algorithm::Md5, &digests).hex(), parts.len());
    let checksum = checksum_of(&parts, sum)?;
    Ok(Assembled { parts, size, etag, checksum })
}

fn invalid_part(upload_id: &str, number: u32, etag: &str) -> S3Error {
    S3Error::refused(
        "InvalidPart",
        400,
        "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
    )
    .with("UploadId", upload_id)
    .with("PartNumber", number.to_string())
    .with("ETag", etag)
}

/// The checksum that the caller says a part has.
fn check_sum(
    listed: &CompletedPart,
    found: &Part,
    number: u32,
    sum: &UploadChecksum,
    is_needed: bool,
    upload_id: &str,
) -> Result<(), S3Error> {
    let declared = match sum.algorithm() {
        Algorithm::Crc32 => &listed.checksum_crc32,
        Algorithm::Crc32c => &listed.checksum_crc32c,
        Algorithm::Crc64Nvme => &listed.checksum_crc64nvme,
        Algorithm::Sha1 => &listed.checksum_sha1,
        Algorithm::Sha256 => &listed.checksum_sha256,
        Algorithm::Md5 => &None,
    };
    match declared {
        Some(declared) if *declared != found.checksum => Err(invalid_part(upload_id, number, &found.etag)),
        None if is_needed && sum.is_composite => Err(S3Error::invalid(format!(
            "The upload was created using a {} checksum. The complete request must include the checksum for each part. It was missing for part {number} in the request.",
            sum.algorithm.to_ascii_lowercase()
        ))),
        _ => Ok(()),
    }
}

fn checksum_of(parts: &[(u32, &Part)], sum: &UploadChecksum) -> Result<StoredChecksum, S3Error> {
    let algorithm = sum.algorithm();
    let sums: Vec<(Checksum, u64)> = parts
        .iter()
        .filter_map(|(_, part)| Some((Checksum::parse(algorithm, &part.checksum)?, part.size)))
        .collect();
    let whole = match sum.is_composite {
        true => {
            let digests: Vec<Checksum> = sums.iter().map(|(sum, _)| sum.clone()).collect();
            let value = format!("{}-{}", composite(algorithm, &digests).base64(), parts.len());
            return Ok(StoredChecksum { algorithm: sum.algorithm.clone(), value, is_composite: true });
        }
        false => full_object(&sums),
    };
    let whole = whole.filter(|_| sums.len() == parts.len());
    let whole = whole.ok_or_else(|| S3Error::Internal("the checksums of parts do not combine".to_owned()))?;
    Ok(StoredChecksum::full(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Place;
    use pileus_platform::Timestamp;

    fn part(algorithm: Algorithm, size: u64, data: &[u8]) -> Part {
        Part {
            size,
            etag: Checksum::of(Algorithm::Md5, data).hex(),
            checksum: Checksum::of(algorithm, data).base64(),
            modified: Timestamp::from_secs(0),
            place: Place::Nothing,
        }
    }

    fn listed(number: i64, part: &Part) -> CompletedPart {
        CompletedPart {
            part_number: Some(number),
            e_tag: Some(format!("\"{}\"", part.etag)),
            ..CompletedPart::default()
        }
    }

    #[test]
    fn parts_make_an_object_or_are_refused() {
        let sum = UploadChecksum { algorithm: "CRC32".into(), is_composite: true };
        let big = |data| part(Algorithm::Crc32, MIN_PART, data);
        let uploaded: BTreeMap<u32, Part> =
            [(1, big(b"a")), (2, part(Algorithm::Crc32, 3, b"b")), (7, big(b"c"))].into();
        let of = |number: u32| listed(i64::from(number), &uploaded[&number]);
        let wrong_tag = CompletedPart { e_tag: Some("x".into()), ..of(1) };
        let unnumbered = CompletedPart { part_number: None, ..of(1) };
        let wrong_sum = CompletedPart { checksum_crc32: Some("AAAAAA==".into()), ..of(1) };
        let cases = [
            ("in order", vec![of(1), of(7)], false, Ok(2)),
            ("one small", vec![of(2)], false, Ok(1)),
            ("last small", vec![of(1), of(2)], false, Ok(2)),
            ("small before the last", vec![of(2), of(7)], false, Err("EntityTooSmall")),
            ("out of order", vec![of(7), of(1)], false, Err("InvalidPartOrder")),
            ("twice", vec![of(1), of(1)], false, Err("InvalidPartOrder")),
            ("none", vec![], false, Err("MalformedXML")),
            ("unnumbered", vec![unnumbered], false, Err("MalformedXML")),
            ("wrong tag", vec![wrong_tag], false, Err("InvalidPart")),
            ("wrong checksum", vec![wrong_sum], false, Err("InvalidPart")),
            ("missing", vec![listed(9, &uploaded[&1])], false, Err("InvalidPart")),
            ("checksum needed", vec![of(1)], true, Err("InvalidRequest")),
        ];
        for (name, list, needed, expected) in cases {
            let got = assemble(&list, &uploaded, "u", &sum, needed);
            let got = got.as_ref().map(|it| it.parts.len()).map_err(|error| error.code());
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn tags_and_checksums_are_those_of_aws() {
        let data: [&[u8]; 2] = [b"hello ", b"world"];
        for algorithm in [Algorithm::Crc64Nvme, Algorithm::Crc32] {
            let parts = [part(algorithm, 6, data[0]), part(algorithm, 5, data[1])];
            let numbered = [(1, &parts[0]), (2, &parts[1])];
            let full = UploadChecksum { algorithm: algorithm.name().into(), is_composite: false };
            let whole = Checksum::of(algorithm, b"hello world").base64();
            assert_eq!(checksum_of(&numbered, &full).unwrap().value, whole);
            let of_parts = UploadChecksum { is_composite: true, ..full };
            assert!(
                checksum_of(&numbered, &of_parts).unwrap().value.ends_with("==-2")
                    || algorithm.digest_len() != 4
            );
        }
    }
}
