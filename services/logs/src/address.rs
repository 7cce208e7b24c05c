//! Names and ARNs of log groups.

use pileus_core::{AccountId, Arn, Region};
use pileus_platform::Cx;

use crate::error::LogsError;
use crate::keys::Named;

/// Where a group is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    pub account: AccountId,
    pub region: Region,
    pub name: String,
}

impl Address {
    /// A group of the caller's own account and region.
    pub fn named(cx: &Cx, name: &str) -> Address {
        Address { account: cx.account(), region: cx.region().clone(), name: name.to_owned() }
    }

    /// A group by its name or its ARN, with or without `:*` at the end.
    ///
    /// # Errors
    /// `InvalidParameterException` for an ARN that is no log group's.
    pub fn identified(cx: &Cx, identifier: &str) -> Result<Address, LogsError> {
        if !identifier.starts_with("arn:") {
            return Ok(Address::named(cx, identifier));
        }
        Address::from_arn(identifier).ok_or_else(|| LogsError::invalid(format!("Invalid ARN: {identifier}")))
    }

    pub fn from_arn(arn: &str) -> Option<Address> {
        let arn = Arn::parse(arn).ok().filter(|arn| arn.service() == "logs")?;
        let name = arn.resource().strip_prefix("log-group:")?;
        let name = name.split(':').next().unwrap_or_default();
        if name.is_empty() {
            return None;
        }
        let account = AccountId::parse(arn.account())?;
        Some(Address { account, region: Region::parse(arn.region())?, name: name.to_owned() })
    }

    /// The group that a request names: by `name` or by `identifier`, and not by both.
    ///
    /// # Errors
    /// `ValidationException` (recorded), `InvalidParameterException`.
    pub fn either(cx: &Cx, name: Option<&str>, identifier: Option<&str>) -> Result<Address, LogsError> {
        match (name, identifier) {
            (Some(_), Some(_)) => Err(LogsError::Validation(
                "LogGroup name and LogGroup ARN are mutually exclusive parameters.".to_owned(),
            )),
            (Some(name), None) => Ok(Address::named(cx, name)),
            (None, Some(identifier)) => Address::identified(cx, identifier),
            (None, None) => {
                Err(LogsError::invalid("Either logGroupName or logGroupIdentifier must be specified."))
            }
        }
    }

    pub fn key(&self) -> Named {
        (self.account, self.region.clone(), self.name.clone())
    }

    /// `arn:aws:logs:us-east-1:000000000000:log-group:name`
    pub fn arn(&self) -> String {
        let (region, account) = (self.region.as_str(), self.account.as_str());
        format!("arn:{}:logs:{region}:{account}:log-group:{}", self.region.partition(), self.name)
    }

    pub fn stream_arn(&self, stream: &str) -> String {
        format!("{}:log-stream:{stream}", self.arn())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_from_every_form_of_its_arn() {
        let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f";
        for end in ["", ":*", ":log-stream:s"] {
            let address = Address::from_arn(&format!("{arn}{end}")).expect("an ARN of a group");
            assert_eq!((address.name.as_str(), address.arn().as_str()), ("/aws/lambda/f", arn), "{end}");
        }
        for bad in
            ["arn:aws:logs:us-east-1:000000000000:destination:d", "arn:aws:sqs:us-east-1:000000000000:q"]
        {
            assert_eq!(Address::from_arn(bad), None, "{bad}");
        }
    }
}
