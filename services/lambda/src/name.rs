//! What requests call a function, a version, an alias, a layer: pure.
//!
//! Source: AWS Lambda API Reference, "Invoke" (name formats); Lambda Developer Guide, "Managing Lambda function versions".

use pileus_core::{AccountId, Arn, Region};
use pileus_platform::Cx;

use crate::error::LambdaError;
use crate::keys::FunctionKey;

pub const LATEST: &str = "$LATEST";
/// Of a function's own name; an ARN may be longer.
const MAX_NAME: usize = 64;

/// A function, and which version or alias of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    pub account: AccountId,
    pub region: Region,
    pub name: String,
    /// `$LATEST`, a version's number or an alias, if one is named.
    pub qualifier: Option<String>,
}

/// What a qualifier says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier<'a> {
    Latest,
    Version(u64),
    Alias(&'a str),
}

impl<'a> Qualifier<'a> {
    pub fn read(text: Option<&'a str>) -> Qualifier<'a> {
        match text {
            None | Some(LATEST) => Qualifier::Latest,
            Some(text) => match text.parse() {
                Ok(number) => Qualifier::Version(number),
                Err(_) => Qualifier::Alias(text),
            },
        }
    }
}

impl FunctionName {
    /// Reads a name, a partial or a whole ARN, with or without a qualifier, and the qualifier that a request gives beside it.
    ///
    /// # Errors
    /// `InvalidParameterValueException` for two different qualifiers; `ResourceNotFoundException` for another region.
    pub fn parse(cx: &Cx, text: Option<&str>, qualifier: Option<&str>) -> Result<FunctionName, LambdaError> {
        let mut name = FunctionName::read(text.unwrap_or_default(), cx.account(), cx.region())?;
        if name.region != *cx.region() {
            return Err(LambdaError::ResourceNotFound(format!(
                "Functions from '{}' are not reachable in this region ('{}')",
                name.region,
                cx.region()
            )));
        }
        if let Some(qualifier) = qualifier.filter(|qualifier| !qualifier.is_empty()) {
            if name.qualifier.as_deref().is_some_and(|derived| derived != qualifier) {
                return Err(LambdaError::invalid(
                    "The derived qualifier from the function name does not match the specified qualifier.",
                ));
            }
            name.qualifier = Some(qualifier.to_owned());
        }
        Ok(name)
    }

    /// A name that must be without a qualifier: `$LATEST` is let through.
    pub fn unqualified(cx: &Cx, text: Option<&str>) -> Result<FunctionName, LambdaError> {
        let mut name = FunctionName::parse(cx, text, None)?;
        match name.qualifier.take().as_deref() {
            None | Some(LATEST) => Ok(name),
            Some(_) => Err(LambdaError::invalid(format!(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN. ({})",
                name.name
            ))),
        }
    }

    pub fn read(text: &str, account: AccountId, region: &Region) -> Result<FunctionName, LambdaError> {
        let bad = || LambdaError::invalid(format!("Invalid function name: {text}"));
        let mut name = FunctionName { account, region: region.clone(), name: String::new(), qualifier: None };
        let rest = match text.strip_prefix("arn:") {
            Some(_) => {
                let arn = Arn::parse(text).map_err(|_| bad())?;
                name.region = Region::parse(arn.region()).ok_or_else(bad)?;
                name.account = AccountId::parse(arn.account()).ok_or_else(bad)?;
                arn.resource().strip_prefix("function:").ok_or_else(bad)?.to_owned()
            }
            None => text.to_owned(),
        };
        let mut parts = rest.split(':').collect::<Vec<_>>();
        if parts.len() > 1
            && parts[0].contains('-')
            && parts.get(1).is_some_and(|next| AccountId::parse(next).is_some())
            && let Some(region) = Region::parse(parts[0])
        {
            name.region = region;
            parts.remove(0);
        }
        if parts.len() > 1
            && let Some(account) = AccountId::parse(parts[0])
        {
            name.account = account;
            parts.remove(0);
        }
        if parts.len() > 1 && parts[0] == "function" {
            parts.remove(0);
        }
        let (own, qualifier) = match parts.as_slice() {
            [own] => (*own, None),
            [own, qualifier] => (*own, Some((*qualifier).to_owned())),
            _ => return Err(bad()),
        };
        if own.is_empty() {
            return Err(bad());
        }
        if own.chars().count() > MAX_NAME {
            return Err(LambdaError::Validation(format!(
                "Value '{own}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to {MAX_NAME}"
            )));
        }
        name.name = own.to_owned();
        name.qualifier = qualifier;
        Ok(name)
    }

    /// From an ARN that is stored or that another service gives.
    pub fn from_arn(arn: &str) -> Option<FunctionName> {
        let parsed = Arn::parse(arn).ok().filter(|arn| arn.service() == "lambda")?;
        let (account, region) = (AccountId::parse(parsed.account())?, Region::parse(parsed.region())?);
        FunctionName::read(arn, account, &region).ok()
    }

    pub fn key(&self) -> FunctionKey {
        (self.account, self.region.clone(), self.name.clone())
    }

    /// The function's ARN, without a qualifier.
    pub fn arn(&self) -> String {
        let (partition, region, account, name) =
            (self.region.partition(), &self.region, self.account, &self.name);
        format!("arn:{partition}:lambda:{region}:{account}:function:{name}")
    }

    pub fn arn_of(&self, qualifier: &str) -> String {
        format!("{}:{qualifier}", self.arn())
    }

    /// The ARN as it was named: with the qualifier, if there is one.
    pub fn qualified_arn(&self) -> String {
        match &self.qualifier {
            Some(qualifier) => self.arn_of(qualifier),
            None => self.arn(),
        }
    }

    pub fn with(&self, qualifier: Option<&str>) -> FunctionName {
        FunctionName { qualifier: qualifier.map(str::to_owned), ..self.clone() }
    }
}

/// A layer, and perhaps a version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerName {
    pub account: AccountId,
    pub region: Region,
    pub name: String,
    pub version: Option<u64>,
}

impl LayerName {
    /// A layer's name or ARN.
    pub fn parse(cx: &Cx, text: Option<&str>) -> Result<LayerName, LambdaError> {
        let text = text.unwrap_or_default();
        if text.starts_with("arn:") {
            return LayerName::from_arn(text)
                .ok_or_else(|| LambdaError::invalid(format!("Invalid layer arn: {text}")));
        }
        let name = text.to_owned();
        Ok(LayerName { account: cx.account(), region: cx.region().clone(), name, version: None })
    }

    pub fn from_arn(text: &str) -> Option<LayerName> {
        let arn = Arn::parse(text).ok().filter(|arn| arn.service() == "lambda")?;
        let (account, region) = (AccountId::parse(arn.account())?, Region::parse(arn.region())?);
        let rest = arn.resource().strip_prefix("layer:")?;
        let (name, version) = match rest.split_once(':') {
            Some((name, version)) => (name, Some(version.parse().ok()?)),
            None => (rest, None),
        };
        (!name.is_empty()).then(|| LayerName { account, region, name: name.to_owned(), version })
    }

    pub fn arn(&self) -> String {
        let (partition, region, account, name) =
            (self.region.partition(), &self.region, self.account, &self.name);
        format!("arn:{partition}:lambda:{region}:{account}:layer:{name}")
    }

    pub fn version_arn(&self, version: u64) -> String {
        format!("{}:{version}", self.arn())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(String, String, String, Option<String>), &'static str> {
        let region = Region::us_east_1();
        FunctionName::read(text, AccountId::DEFAULT, &region)
            .map(|name| (name.account.to_string(), name.region.to_string(), name.name, name.qualifier))
            .map_err(|_| "refused")
    }

    #[test]
    fn a_function_is_named_by_name_partial_arn_or_arn_with_or_without_a_qualifier() {
        let own = |name: &str, qualifier: Option<&str>| {
            Ok((
                "000000000000".to_owned(),
                "us-east-1".to_owned(),
                name.to_owned(),
                qualifier.map(str::to_owned),
            ))
        };
        let other = |qualifier: Option<&str>| {
            Ok((
                "123456789012".to_owned(),
                "eu-west-1".to_owned(),
                "f".to_owned(),
                qualifier.map(str::to_owned),
            ))
        };
        let here = |qualifier: Option<&str>| {
            Ok((
                "123456789012".to_owned(),
                "us-east-1".to_owned(),
                "f".to_owned(),
                qualifier.map(str::to_owned),
            ))
        };
        let cases = [
            ("f", own("f", None)),
            ("f:1", own("f", Some("1"))),
            ("f:$LATEST", own("f", Some("$LATEST"))),
            ("function:f:prod", own("f", Some("prod"))),
            ("123456789012:function:f", here(None)),
            ("123456789012:f:2", here(Some("2"))),
            ("eu-west-1:123456789012:function:f", other(None)),
            ("arn:aws:lambda:eu-west-1:123456789012:function:f", other(None)),
            ("arn:aws:lambda:eu-west-1:123456789012:function:f:prod", other(Some("prod"))),
            ("arn:aws:lambda:eu-west-1:123456789012:layer:f", Err("refused")),
            ("arn:aws:lambda", Err("refused")),
            ("a:b:c", Err("refused")),
            ("", Err("refused")),
            (&"f".repeat(65), Err("refused")),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_qualifier_is_latest_a_number_or_an_alias() {
        assert_eq!(Qualifier::read(None), Qualifier::Latest);
        assert_eq!(Qualifier::read(Some("$LATEST")), Qualifier::Latest);
        assert_eq!(Qualifier::read(Some("12")), Qualifier::Version(12));
        assert_eq!(Qualifier::read(Some("prod")), Qualifier::Alias("prod"));
    }

    #[test]
    fn a_layer_is_named_by_its_arn() {
        let layer = LayerName::from_arn("arn:aws:lambda:us-east-1:123456789012:layer:l:3").expect("a layer");
        assert_eq!((layer.name.as_str(), layer.version), ("l", Some(3)));
        assert_eq!(layer.version_arn(3), "arn:aws:lambda:us-east-1:123456789012:layer:l:3");
        for bad in
            ["arn:aws:lambda:us-east-1:1:layer:l", "arn:aws:lambda:us-east-1:123456789012:layer:l:x", "l"]
        {
            assert_eq!(LayerName::from_arn(bad), None, "{bad}");
        }
    }
}
