//! Text messages: settings, numbers that want none, and numbers of the sandbox. Messages land in the local mailbox.
//!
//! Source: Amazon SNS API Reference, the operations with `SMS` and `PhoneNumber` in their names; Amazon SNS Developer Guide, "Setting SMS
//! messaging preferences", "SMS sandbox". Chosen: no account is in the sandbox, as nothing leaves the machine; numbers can be verified all
//! the same.

use std::collections::BTreeMap;

use pileus_api_sns as api;
use pileus_core::{AccountId, Region, Timestamp};
use pileus_platform::mailbox::{self, Channel, Mail};
use pileus_platform::{Cx, Platform};
use pileus_store::{StoreError, Stored};
use pileus_wire::value::Map;
use serde::{Deserialize, Serialize};

use crate::error::SnsError;
use crate::keys::{NUMBERS, OPTED_OUT, SMS};
use crate::message::{Attribute, Message, Value};
use crate::page::Page;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    pub attributes: BTreeMap<String, String>,
}

impl Stored for Settings {}

/// A number of the sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Number {
    pub is_verified: bool,
    pub code: String,
    pub sent_at: Timestamp,
}

impl Stored for Number {}

/// A number whose owner wants no more messages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OptedOut {
    pub at: Timestamp,
}

impl Stored for OptedOut {}

const ATTRIBUTES: [&str; 6] = [
    "MonthlySpendLimit",
    "DeliveryStatusIAMRole",
    "DeliveryStatusSuccessSamplingRate",
    "DefaultSenderID",
    "DefaultSMSType",
    "UsageReportS3Bucket",
];

/// A phone number as E.164 has it; `None` if it is none.
pub fn number(text: &str) -> Option<String> {
    let rest = text.trim().strip_prefix('+').unwrap_or(text.trim());
    let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/');
    let digits: String = rest.chars().filter(|c| !is_separator(*c)).collect();
    let is_number = (5..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("+{digits}"))
}

fn parse(parameter: &str, text: Option<&str>) -> Result<String, SnsError> {
    let text = text.unwrap_or_default();
    number(text).ok_or_else(|| SnsError::reason(parameter, "input incorrectly formatted"))
}

/// `Publish` to a number: the message's id.
pub async fn publish(cx: &Cx, to: &str, message: Message) -> Result<String, SnsError> {
    let to = number(to).filter(|_| to.trim().starts_with('+'));
    let to = to.ok_or_else(|| SnsError::reason("PhoneNumber", "the number is not valid to publish to"))?;
    send(cx, cx.account(), &to, &message.body_for("sms"), &message.attributes).await?;
    Ok(message.id)
}

/// A text message to the mailbox, unless its receiver wants none.
pub async fn send(
    cx: &Cx,
    account: AccountId,
    to: &str,
    body: &str,
    attributes: &[Attribute],
) -> Result<(), SnsError> {
    let key = &(account, cx.region().clone(), to.to_owned());
    if OPTED_OUT.get(cx.store(), key).await?.is_some() {
        tracing::info!("a text message is not sent: its receiver has opted out");
        return Ok(());
    }
    let settings = SMS.get(cx.store(), &(account, cx.region().clone())).await?.unwrap_or_default();
    let sender = attributes.iter().find(|attribute| attribute.name == "AWS.SNS.SMS.SenderID");
    let sender = sender.and_then(|attribute| match &attribute.value {
        Value::Text(text) => Some(text.clone()),
        Value::Binary(_) => None,
    });
    let sender = sender.or_else(|| settings.attributes.get("DefaultSenderID").cloned());
    let mail = &Mail {
        id: cx.ids().uuid(),
        at: cx.clock().now(),
        channel: Channel::Sms,
        account,
        from: sender.unwrap_or_else(|| "NOTICE".to_owned()),
        to: vec![to.to_owned()],
        subject: String::new(),
        body: body.to_owned(),
        source: String::new(),
    };
    cx.transact(|txn| async move { Ok::<_, SnsError>(mailbox::put(&txn, mail).await?) }).await
}

/// What a receiver's answer `STOP` does.
///
/// # Errors
/// The store's.
pub async fn opt_out(
    platform: &Platform,
    account: AccountId,
    region: Region,
    to: &str,
) -> Result<bool, StoreError> {
    let Some(to) = number(to) else { return Ok(false) };
    let (key, at) = (&(account, region, to), platform.clock().now());
    platform.store().transact(|txn| async move { OPTED_OUT.put(&txn, key, &OptedOut { at }) }).await?;
    Ok(true)
}

pub async fn set_sms_attributes(
    cx: &Cx,
    input: api::SetSMSAttributesInput,
) -> Result<api::SetSMSAttributesResponse, SnsError> {
    let given = input.attributes.unwrap_or_default();
    for (name, value) in given.iter() {
        check(name, value)?;
    }
    let (key, given) = (&(cx.account(), cx.region().clone()), &given);
    cx.transact(|txn| async move {
        let mut settings = SMS.get(&txn, key).await?.unwrap_or_default();
        for (name, value) in given.iter() {
            match value.is_empty() {
                true => settings.attributes.remove(name),
                false => settings.attributes.insert(name.to_owned(), value.clone()),
            };
        }
        Ok::<_, SnsError>(SMS.put(&txn, key, &settings)?)
    })
    .await?;
    Ok(api::SetSMSAttributesResponse {})
}

fn check(name: &str, value: &str) -> Result<(), SnsError> {
    let is_valid = match name {
        "DefaultSMSType" => value.is_empty() || value == "Promotional" || value == "Transactional",
        "MonthlySpendLimit" => value.is_empty() || value.parse::<u64>().is_ok(),
        "DefaultSenderID" => {
            value.len() <= 11 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }
        "DeliveryStatusSuccessSamplingRate" => {
            value.is_empty() || value.parse().is_ok_and(|rate: u8| rate <= 100)
        }
        "DeliveryStatusIAMRole" if !value.is_empty() => {
            return Err(SnsError::missing("delivery status logs of text messages (DeliveryStatusIAMRole)"));
        }
        "UsageReportS3Bucket" if !value.is_empty() => {
            return Err(SnsError::missing("usage reports of text messages (UsageReportS3Bucket)"));
        }
        name if ATTRIBUTES.contains(&name) => true,
        _ => return Err(SnsError::invalid(format!("{name} is not a valid attribute"))),
    };
    if is_valid { Ok(()) } else { Err(SnsError::invalid(name)) }
}

pub async fn get_sms_attributes(
    cx: &Cx,
    input: api::GetSMSAttributesInput,
) -> Result<api::GetSMSAttributesResponse, SnsError> {
    let asked = input.attributes.unwrap_or_default();
    if let Some(unknown) = asked.iter().find(|name| !ATTRIBUTES.contains(&name.as_str())) {
        return Err(SnsError::invalid(format!("{unknown} is not a valid attribute")));
    }
    let mut settings = SMS.get(cx.store(), &(cx.account(), cx.region().clone())).await?.unwrap_or_default();
    settings.attributes.entry("MonthlySpendLimit".to_owned()).or_insert_with(|| "1".to_owned());
    let is_asked = |name: &String| asked.is_empty() || asked.contains(name);
    let shown: Map<String> = settings.attributes.into_iter().filter(|(name, _)| is_asked(name)).collect();
    Ok(api::GetSMSAttributesResponse { attributes: Some(shown) })
}

pub async fn check_if_phone_number_is_opted_out(
    cx: &Cx,
    input: api::CheckIfPhoneNumberIsOptedOutInput,
) -> Result<api::CheckIfPhoneNumberIsOptedOutResponse, SnsError> {
    let number = parse("PhoneNumber", input.phone_number.as_deref())?;
    let row = OPTED_OUT.get(cx.store(), &(cx.account(), cx.region().clone(), number)).await?;
    Ok(api::CheckIfPhoneNumberIsOptedOutResponse { is_opted_out: Some(row.is_some()) })
}

pub async fn list_phone_numbers_opted_out(
    cx: &Cx,
    input: api::ListPhoneNumbersOptedOutInput,
) -> Result<api::ListPhoneNumbersOptedOutResponse, SnsError> {
    let page = Page::new(input.next_token.as_deref())?;
    let mut range = OPTED_OUT.under(&(cx.account(), cx.region()));
    if let Some(after) = page.after() {
        range = range.after(&OPTED_OUT.key(&(cx.account(), cx.region(), after)));
    }
    let rows = OPTED_OUT.scan(cx.store(), &range, page.limit()).await?;
    let next_token = page.next(rows.more, rows.rows.last().map(|((_, _, number), _)| number.as_str()));
    let numbers = rows.rows.into_iter().map(|((_, _, number), _)| number).collect();
    Ok(api::ListPhoneNumbersOptedOutResponse { phone_numbers: Some(numbers), next_token })
}

pub async fn opt_in_phone_number(
    cx: &Cx,
    input: api::OptInPhoneNumberInput,
) -> Result<api::OptInPhoneNumberResponse, SnsError> {
    let key = &(cx.account(), cx.region().clone(), parse("PhoneNumber", input.phone_number.as_deref())?);
    cx.transact(|txn| async move {
        OPTED_OUT.delete(&txn, key);
        Ok::<_, SnsError>(())
    })
    .await?;
    Ok(api::OptInPhoneNumberResponse {})
}

pub async fn get_sms_sandbox_account_status(
    _: &Cx,
    _: api::GetSMSSandboxAccountStatusInput,
) -> Result<api::GetSMSSandboxAccountStatusResult, SnsError> {
    Ok(api::GetSMSSandboxAccountStatusResult { is_in_sandbox: Some(false) })
}

pub async fn create_sms_sandbox_phone_number(
    cx: &Cx,
    input: api::CreateSMSSandboxPhoneNumberInput,
) -> Result<api::CreateSMSSandboxPhoneNumberResult, SnsError> {
    let number = parse("PhoneNumber", input.phone_number.as_deref())?;
    let key = &(cx.account(), cx.region().clone(), number.clone());
    if NUMBERS.get(cx.store(), key).await?.is_some_and(|known| known.is_verified) {
        return Err(SnsError::UserError("The phone number is verified already".to_owned()));
    }
    let code = format!("{:06}", cx.rng().below(1_000_000));
    let row = &Number { is_verified: false, code: code.clone(), sent_at: cx.now() };
    cx.transact(|txn| async move { Ok::<_, SnsError>(NUMBERS.put(&txn, key, row)?) }).await?;
    let text = format!("{code} is the code that verifies this number for Amazon SNS.");
    send(cx, cx.account(), &number, &text, &[]).await?;
    Ok(api::CreateSMSSandboxPhoneNumberResult {})
}

/// Source: "VerifySMSSandboxPhoneNumber": a code is good for 24 hours.
const CODE_SECONDS: u64 = 86_400;

pub async fn verify_sms_sandbox_phone_number(
    cx: &Cx,
    input: api::VerifySMSSandboxPhoneNumberInput,
) -> Result<api::VerifySMSSandboxPhoneNumberResult, SnsError> {
    let key = &(cx.account(), cx.region().clone(), parse("PhoneNumber", input.phone_number.as_deref())?);
    let code = &input.one_time_password.unwrap_or_default();
    cx.transact(|txn| async move {
        let mut row = NUMBERS.get(&txn, key).await?.ok_or(SnsError::ResourceNotFound)?;
        let is_old = cx.now().since(row.sent_at).as_secs() > CODE_SECONDS;
        if row.code != *code || is_old {
            let message = "The one-time password is wrong or too old".to_owned();
            return Err(SnsError::Verification { message, status: "PENDING" });
        }
        row.is_verified = true;
        Ok(NUMBERS.put(&txn, key, &row)?)
    })
    .await?;
    Ok(api::VerifySMSSandboxPhoneNumberResult {})
}

pub async fn delete_sms_sandbox_phone_number(
    cx: &Cx,
    input: api::DeleteSMSSandboxPhoneNumberInput,
) -> Result<api::DeleteSMSSandboxPhoneNumberResult, SnsError> {
    let key = &(cx.account(), cx.region().clone(), parse("PhoneNumber", input.phone_number.as_deref())?);
    cx.transact(|txn| async move {
        NUMBERS.get(&txn, key).await?.ok_or(SnsError::ResourceNotFound)?;
        NUMBERS.delete(&txn, key);
        Ok::<_, SnsError>(())
    })
    .await?;
    Ok(api::DeleteSMSSandboxPhoneNumberResult {})
}

pub async fn list_sms_sandbox_phone_numbers(
    cx: &Cx,
    input: api::ListSMSSandboxPhoneNumbersInput,
) -> Result<api::ListSMSSandboxPhoneNumbersResult, SnsError> {
    let page = Page::new(input.next_token.as_deref())?.of(input.max_results, 100);
    let mut range = NUMBERS.under(&(cx.account(), cx.region()));
    if let Some(after) = page.after() {
        range = range.after(&NUMBERS.key(&(cx.account(), cx.region(), after)));
    }
    let rows = NUMBERS.scan(cx.store(), &range, page.limit()).await?;
    let next_token = page.next(rows.more, rows.rows.last().map(|((_, _, number), _)| number.as_str()));
    let numbers = rows.rows.into_iter().map(|((_, _, number), row)| api::SMSSandboxPhoneNumber {
        phone_number: Some(number),
        status: Some(if row.is_verified { "Verified" } else { "Pending" }.to_owned()),
    });
    Ok(api::ListSMSSandboxPhoneNumbersResult { phone_numbers: Some(numbers.collect()), next_token })
}

/// No numbers are rented here.
pub async fn list_origination_numbers(
    _: &Cx,
    input: api::ListOriginationNumbersRequest,
) -> Result<api::ListOriginationNumbersResult, SnsError> {
    Page::new(input.next_token.as_deref())?;
    Ok(api::ListOriginationNumbersResult { phone_numbers: Some(Vec::new()), next_token: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        let cases = [
            ("+1 (206) 555-0100", Some("+12065550100")),
            ("12065550100", Some("+12065550100")),
            ("+49.30/123", Some("+4930123")),
            ("+1", None),
            ("+1234567890123456", None),
            ("call me", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn settings_are_checked_by_name() {
        let cases = [
            ("DefaultSMSType", "Transactional", true),
            ("DefaultSMSType", "Loud", false),
            ("DefaultSenderID", "pileus", true),
            ("DefaultSenderID", "a much too long sender", false),
            ("MonthlySpendLimit", "5", true),
            ("MonthlySpendLimit", "much", false),
            ("UsageReportS3Bucket", "b", false),
            ("Colour", "red", false),
        ];
        for (name, value, is_valid) in cases {
            assert_eq!(check(name, value).is_ok(), is_valid, "{name}={value}");
        }
    }
}
