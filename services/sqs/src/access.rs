//! What a caller of each operation must be allowed to do.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon SQS"; Amazon SQS Developer
//! Guide, "Amazon SQS API permissions: Actions and resource reference" (a batch needs the permission of its single action),
//! "Grant cross-account permissions to a role and a username".

use pileus_core::{AccountId, Arn};
use pileus_platform::{Access, Cx, Fault};

use crate::error::SqsError;
use crate::queue::url::Address;

/// The queue that a request names.
///
/// # Errors
/// `MissingRequiredParameterException`, `InvalidAddress`
pub fn address(cx: &Cx, url: Option<&str>) -> Result<Address, SqsError> {
    let url = url.filter(|url| !url.is_empty()).ok_or(SqsError::MissingParameter("QueueUrl"))?;
    Address::parse(url, cx.region())
}

/// An action on a queue that its policy can open to other accounts.
pub fn shared(cx: &Cx, action: &'static str, url: Option<&str>) -> Result<Vec<Access>, Fault> {
    Ok(vec![Access::new(action, address(cx, url)?.arn().as_str())])
}

/// An action that only the queue's own account may take, whatever its policy says.
pub fn owned(cx: &Cx, action: &'static str, url: Option<&str>) -> Result<Vec<Access>, Fault> {
    let address = address(cx, url)?;
    if address.account != cx.account() {
        return Err(SqsError::AccessDenied(url.unwrap_or_default().to_owned()).into());
    }
    Ok(vec![Access::new(action, address.arn().as_str())])
}

/// An action on a queue of the caller's account by its name.
pub fn named(
    cx: &Cx,
    action: &'static str,
    name: Option<&str>,
    owner: Option<&str>,
) -> Result<Vec<Access>, Fault> {
    let account = owner.and_then(AccountId::parse).unwrap_or(cx.account());
    let region = cx.region();
    let name = name.unwrap_or("*");
    Ok(vec![Access::new(
        action,
        Arn::new(region.partition(), "sqs", region.as_str(), account.as_str(), name).as_str(),
    )])
}

/// The actions of a message move task: its own, and those with which it takes messages from the source.
pub fn move_task(cx: &Cx, action: &'static str, source: Option<&str>) -> Result<Vec<Access>, Fault> {
    let address = source.and_then(|arn| Arn::parse(arn).ok()).and_then(|arn| Address::from_arn(&arn));
    let Some(address) = address else { return named(cx, action, None, None) };
    if address.account != cx.account() {
        return Err(SqsError::AccessDenied(address.arn().to_string()).into());
    }
    let arn = address.arn();
    let needed = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
    Ok([action].into_iter().chain(needed).map(|action| Access::new(action, arn.as_str())).collect())
}
