//! Every error that a caller of EC2 can see.
//!
//! Source: Amazon EC2 API Reference, "Error codes for the Amazon EC2 API". Recorded: the sentences, from AWS's answers in public
//! reports, but for the one about too many filters, which is chosen like its sibling.

use pileus_platform::Fault;

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ec2Error {
    #[error("Invalid region: [{0}]")]
    UnknownRegion(String),
    #[error("Invalid availability zone: [{0}]")]
    UnknownZone(String),
    #[error("Invalid availability zone-id: [{0}]")]
    UnknownZoneId(String),
    /// A filter without a name is called `null`.
    #[error("The filter '{0}' is invalid")]
    UnknownFilter(String),
    #[error("The maximum number of filters specified on a single call is {0}")]
    TooManyFilters(usize),
    #[error("The maximum number of filter values specified on a single call is {0}")]
    TooManyFilterValues(usize),
    /// The caller asked only whether it may.
    #[error("Request would have succeeded, but DryRun flag is set.")]
    DryRunOperation,
}

impl From<Ec2Error> for Fault {
    fn from(error: Ec2Error) -> Fault {
        let (code, status) = match error {
            Ec2Error::UnknownRegion(_)
            | Ec2Error::UnknownZone(_)
            | Ec2Error::UnknownZoneId(_)
            | Ec2Error::UnknownFilter(_) => ("InvalidParameterValue", 400),
            Ec2Error::TooManyFilters(_) | Ec2Error::TooManyFilterValues(_) => ("FilterLimitExceeded", 400),
            Ec2Error::DryRunOperation => ("DryRunOperation", 412),
        };
        Fault::sender(code, error.to_string()).with_status(status)
    }
}
