//! What a caller of each operation must be allowed to do.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon SNS". Recorded: refusals spell the actions
//! with `SNS:`.

use pileus_platform::{Access, Cx, Fault};

use crate::error::SnsError;
use crate::topic::Address;

type Needed = Result<Vec<Access>, Fault>;

/// An action on a topic, by its ARN.
pub fn topic(action: &'static str, arn: Option<&str>) -> Needed {
    let address = Address::parse(arn)?;
    Ok(vec![Access::new(action, address.arn().as_str())])
}

/// Only the topic's own account may, whatever its policy says.
pub fn owned(cx: &Cx, action: &'static str, arn: Option<&str>) -> Needed {
    let address = Address::parse(arn)?;
    if address.account != cx.account() {
        let text = format!(
            "User: {} is not authorized to perform: {action} on resource: {}",
            cx.caller().arn,
            address.arn()
        );
        return Err(SnsError::Authorization(text).into());
    }
    Ok(vec![Access::new(action, address.arn().as_str())])
}

/// An action on the topic of a subscription.
pub fn of_subscription(action: &'static str, arn: Option<&str>) -> Needed {
    let (account, region, name, _) = crate::subscription::parse_arn(arn)?;
    Ok(vec![Access::new(action, Address { account, region, name }.arn().as_str())])
}

/// Making a topic, and tagging it where tags are given.
pub fn create(cx: &Cx, name: Option<&str>, has_tags: bool) -> Needed {
    let arn = cx.arn("sns", name.unwrap_or("*"));
    let mut needed = vec![Access::new("SNS:CreateTopic", arn.as_str())];
    if has_tags {
        needed.push(Access::new("SNS:TagResource", arn.as_str()));
    }
    Ok(needed)
}

/// Who may subscribe is also a matter of what is subscribed.
pub fn subscribe(arn: Option<&str>, protocol: Option<&str>, endpoint: Option<&str>) -> Needed {
    let address = Address::parse(arn)?;
    let access = Access::new("SNS:Subscribe", address.arn().as_str())
        .with("sns:Protocol", protocol.unwrap_or_default())
        .with("sns:Endpoint", endpoint.unwrap_or_default());
    Ok(vec![access])
}

/// Publishing to a topic, to an endpoint, or to a number, which is no resource.
pub fn publish(topic: Option<&str>, target: Option<&str>, number: Option<&str>) -> Needed {
    let arn = topic.or(target).filter(|arn| !arn.is_empty());
    let resource = match (arn, number) {
        (Some(arn), _) if arn.starts_with("arn:") && arn.split(':').count() >= 6 => arn.to_owned(),
        (Some(arn), _) => Address::parse(Some(arn))?.arn().to_string(),
        (None, Some(_)) => "*".to_owned(),
        (None, None) => {
            let error = SnsError::reason("TopicArn or TargetArn", "no value for required parameter");
            return Err(error.into());
        }
    };
    Ok(vec![Access::new("SNS:Publish", resource)])
}

/// An action on an application or an endpoint, by its ARN.
pub fn named(action: &'static str, arn: Option<&str>) -> Needed {
    Ok(vec![Access::new(action, arn.filter(|arn| arn.starts_with("arn:")).unwrap_or("*"))])
}

/// Nobody signed: whoever was given the link follows it.
pub fn is_by_link(cx: &Cx) -> bool {
    cx.caller().kind == pileus_platform::CallerKind::Anonymous
}
