//! Names and addresses of queues: every form of a queue URL that AWS has used, and names.
//!
//! Source: Amazon SQS Developer Guide, "Amazon SQS queue and message identifiers", "Amazon SQS standard queue quotas"; AWS
//! General Reference, "Amazon Simple Queue Service endpoints and quotas".

use pileus_core::{AccountId, Arn, Region};

use crate::error::SqsError;

pub const FIFO_SUFFIX: &str = ".fifo";

/// Where a queue is: the three parts of its ARN, and of its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub account: AccountId,
    pub region: Region,
    pub name: String,
}

impl Address {
    /// Reads a queue URL, or the path alone of one that a request was sent to. Only the path and a region in the host count:
    /// whatever name or port we are reached by, the URL that we gave stays good.
    ///
    /// # Errors
    /// `InvalidAddress` when it is no queue URL, or names another region than the one asked.
    pub fn parse(url: &str, asked: &Region) -> Result<Address, SqsError> {
        let invalid = || SqsError::InvalidAddress(url.chars().take(2_048).collect());
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        // A path begins with the slash, after no host.
        let rest = rest.or(url.starts_with('/').then_some(url)).ok_or_else(invalid)?;
        let (host, path) = cut(rest, b'/').ok_or_else(invalid)?;
        let path = path.trim_end_matches('/');
        let (first, rest) = cut(path, b'/').ok_or_else(invalid)?;
        let (region, account, name) = match (first, cut(rest, b'/')) {
            (account, None) => (region_in_host(host), account, rest),
            // A form that emulators use where a host name cannot carry the region.
            ("queue", Some((region, rest))) => {
                let (account, name) = cut(rest, b'/').ok_or_else(invalid)?;
                (Some(region), account, name)
            }
            _ => return Err(invalid()),
        };
        if name.contains('/') || region.is_some_and(|region| region != asked.as_str()) {
            return Err(invalid());
        }
        let account = AccountId::parse(account).ok_or_else(invalid)?;
        if !is_name(name) {
            return Err(SqsError::QueueDoesNotExist);
        }
        Ok(Address { account, region: asked.clone(), name: name.to_owned() })
    }

    /// `None` unless it is the ARN of a queue.
    pub fn from_arn(arn: &Arn) -> Option<Address> {
        let fits = arn.service() == "sqs" && is_name(arn.resource());
        let account = AccountId::parse(arn.account())?;
        let region = Region::parse(arn.region())?;
        fits.then(|| Address { account, region, name: arn.resource().to_owned() })
    }

    pub fn arn(&self) -> Arn {
        let region = &self.region;
        Arn::new(region.partition(), "sqs", region.as_str(), self.account.as_str(), &self.name)
    }

    /// `http://localhost:4566` + `/123456789012/jobs`
    pub fn url(&self, endpoint: &str) -> String {
        format!("{endpoint}/{}/{}", self.account, self.name)
    }

    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO_SUFFIX)
    }
}

/// As `split_once`, by a plain loop: URLs are short, and three requests of a message's life read one.
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = text.bytes().position(|byte| byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

/// The region that a host names: `sqs.us-west-2.amazonaws.com`, `us-west-2.queue.amazonaws.com`; `queue.amazonaws.com` is
/// Northern Virginia's. Other hosts name none.
fn region_in_host(host: &str) -> Option<&str> {
    let host = cut(host, b':').map_or(host, |(host, _)| host);
    cut(host, b'.')?;
    let mut labels = host.split('.');
    let mut next = || labels.next();
    match [next(), next(), next(), next()] {
        [Some("queue"), Some("amazonaws"), Some("com"), None] => Some("us-east-1"),
        [Some("sqs" | "sqs-fips"), Some(region), Some(_), _] if is_region(region) => Some(region),
        [Some(region), Some("queue"), Some(_), _] if is_region(region) => Some(region),
        _ => None,
    }
}

/// `us-east-1`, `cn-north-1`, `us-gov-west-1`: two letters, words, a number.
fn is_region(label: &str) -> bool {
    let parts: Vec<&str> = label.split('-').collect();
    let number = parts.last().is_some_and(|part| part.len() == 1 && part.as_bytes()[0].is_ascii_digit());
    number && parts.len() >= 3 && parts[0].len() == 2 && Region::parse(label).is_some()
}

/// Whether a queue can have this name: 1 to 80 letters, digits, hyphens and underscores; a FIFO queue's ends with `.fifo`.
pub fn is_name(name: &str) -> bool {
    let stem = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
    let valid = stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    valid && !stem.is_empty() && name.len() <= 80
}

/// Checks the name that a new queue asks for.
///
/// # Errors
/// `InvalidParameterValue` in the words for standard or FIFO queues.
pub fn check_new_name(name: &str, is_fifo: bool) -> Result<(), SqsError> {
    match (is_fifo, name.ends_with(FIFO_SUFFIX), is_name(name)) {
        (true, true, true) | (false, false, true) => Ok(()),
        (true, _, _) => Err(SqsError::InvalidParameterValue(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.".to_owned(),
        )),
        (false, _, _) => Err(SqsError::InvalidParameterValue(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_urls_of_all_generations_are_read() {
        let us_east = Region::us_east_1();
        let us_west = Region::parse("us-west-2").expect("a region");
        let cases = [
            ("http://localhost:4566/000000000000/jobs", &us_east, Some("000000000000/jobs")),
            ("http://127.0.0.1:4566/123456789012/jobs.fifo", &us_west, Some("123456789012/jobs.fifo")),
            ("https://sqs.us-west-2.amazonaws.com/123456789012/jobs", &us_west, Some("123456789012/jobs")),
            ("https://sqs.us-west-2.amazonaws.com/123456789012/jobs", &us_east, None),
            ("https://us-west-2.queue.amazonaws.com/123456789012/jobs", &us_west, Some("123456789012/jobs")),
            ("https://queue.amazonaws.com/123456789012/jobs", &us_east, Some("123456789012/jobs")),
            ("https://queue.amazonaws.com/123456789012/jobs", &us_west, None),
            ("http://sqs.us-west-2.localhost:4566/123456789012/jobs", &us_west, Some("123456789012/jobs")),
            ("http://sqs.localhost:4566/123456789012/jobs", &us_west, Some("123456789012/jobs")),
            ("http://localhost:4566/queue/us-west-2/123456789012/jobs", &us_west, Some("123456789012/jobs")),
            ("http://localhost:4566/queue/us-west-2/123456789012/jobs/more", &us_west, None),
            ("http://localhost:4566/queue/us-west-2/123456789012", &us_west, None),
            ("http://localhost:4566/123456789012/jobs/more", &us_west, None),
            ("/123456789012/jobs", &us_west, Some("123456789012/jobs")),
            ("jobs", &us_east, None),
            ("/jobs", &us_east, None),
            ("http://localhost:4566/jobs", &us_east, None),
            ("http://localhost:4566/12345/jobs", &us_east, None),
            ("ftp://localhost/123456789012/jobs", &us_east, None),
            ("http://localhost/123456789012/a b", &us_east, None),
            ("", &us_east, None),
        ];
        for (url, asked, expected) in cases {
            let got = Address::parse(url, asked)
                .ok()
                .map(|address| format!("{}/{}", address.account, address.name));
            assert_eq!(got.as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_name_fits_its_kind_of_queue() {
        let long = "a".repeat(81);
        let cases = [
            ("jobs", false, true),
            ("Jobs_2-b", false, true),
            ("jobs.fifo", false, false),
            ("jobs.fifo", true, true),
            ("jobs", true, false),
            (".fifo", true, false),
            ("", false, false),
            ("a/b", false, false),
            (&long[..80], false, true),
            (&long, false, false),
        ];
        for (name, is_fifo, expected) in cases {
            assert_eq!(check_new_name(name, is_fifo).is_ok(), expected, "{name}");
        }
    }

    #[test]
    fn an_address_and_its_arn_are_the_same() {
        let arn = Arn::parse("arn:aws:sqs:us-east-1:123456789012:jobs").expect("an ARN");
        let address = Address::from_arn(&arn).expect("a queue's");
        assert_eq!(address.arn(), arn);
        for other in ["arn:aws:sns:us-east-1:123456789012:jobs", "arn:aws:sqs:us-east-1::jobs"] {
            assert!(Address::from_arn(&Arn::parse(other).expect("an ARN")).is_none(), "{other}");
        }
    }
}
