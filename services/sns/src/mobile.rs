//! Mobile push: platform applications and their endpoints. Pushes land in the local mailbox; credentials are kept and never used.
//!
//! Source: Amazon SNS API Reference, the operations with `Platform` and `Endpoint` in their names; Amazon SNS Developer Guide, "Sending mobile
//! push notifications". Recorded: the sentences.

use std::collections::BTreeMap;

use pileus_api_sns as api;
use pileus_core::{AccountId, Arn, Region};
use pileus_platform::Cx;
use pileus_platform::mailbox::{self, Channel, Mail};
use pileus_store::Stored;
use pileus_wire::value::{Map, Unit};
use serde::{Deserialize, Serialize};

use crate::error::SnsError;
use crate::keys::{APPLICATIONS, DEVICE_TOKENS, DEVICES, Named};
use crate::message::Message;
use crate::page::Page;

const PLATFORMS: [&str; 10] =
    ["ADM", "APNS", "APNS_SANDBOX", "APNS_VOIP", "APNS_VOIP_SANDBOX", "BAIDU", "GCM", "MACOS", "MPNS", "WNS"];
/// Kept; the first two are never shown.
const APPLICATION_ATTRIBUTES: [&str; 5] =
    ["PlatformCredential", "PlatformPrincipal", "Enabled", "ApplePlatformTeamID", "ApplePlatformBundleID"];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Application {
    pub attributes: BTreeMap<String, String>,
}

impl Stored for Application {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    pub token: String,
    pub user_data: String,
    pub is_enabled: bool,
}

impl Stored for Endpoint {}

/// An application, or a device that uses one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    account: AccountId,
    region: Region,
    platform: String,
    name: String,
    device: Option<String>,
}

impl Place {
    fn parse(parameter: &str, arn: Option<&str>, kind: &str) -> Result<Place, SnsError> {
        let invalid = || SnsError::invalid(parameter);
        let arn = Arn::parse(arn.unwrap_or_default()).map_err(|_| invalid())?;
        let parts: Vec<&str> = arn.resource().split('/').collect();
        let (platform, name, device) = match (kind, parts.as_slice()) {
            ("app", ["app", platform, name]) => (*platform, *name, None),
            ("endpoint", ["endpoint", platform, name, device]) => {
                (*platform, *name, Some((*device).to_owned()))
            }
            _ => return Err(invalid()),
        };
        Ok(Place {
            account: AccountId::parse(arn.account()).ok_or_else(invalid)?,
            region: Region::parse(arn.region()).ok_or_else(invalid)?,
            platform: platform.to_owned(),
            name: name.to_owned(),
            device,
        })
    }

    fn arn(&self) -> String {
        let resource = match &self.device {
            Some(device) => format!("endpoint/{}/{}/{device}", self.platform, self.name),
            None => format!("app/{}/{}", self.platform, self.name),
        };
        let region = &self.region;
        Arn::new(region.partition(), "sns", region.as_str(), self.account.as_str(), &resource).to_string()
    }

    fn application(&self) -> (AccountId, Region, String, String) {
        (self.account, self.region.clone(), self.platform.clone(), self.name.clone())
    }

    /// Under which devices and their tokens are kept.
    fn under(&self, name: &str) -> (AccountId, Region, String, String) {
        (self.account, self.region.clone(), format!("{}/{}", self.platform, self.name), name.to_owned())
    }

    fn device(&self) -> (AccountId, Region, String, String) {
        self.under(self.device.as_deref().unwrap_or_default())
    }
}

pub fn is_endpoint_arn(arn: &str) -> bool {
    Place::parse("TargetArn", Some(arn), "endpoint").is_ok()
}

fn check_application(given: &Map<String>) -> Result<(), SnsError> {
    for (name, value) in given.iter() {
        if name.starts_with("Event") || name.contains("Feedback") {
            return Err(SnsError::missing(format!("{name} of platform applications")));
        }
        let is_known = APPLICATION_ATTRIBUTES.contains(&name);
        if !is_known
            || (name == "Enabled" && !["true", "false"].contains(&value.to_ascii_lowercase().as_str()))
        {
            return Err(SnsError::reason("Attributes", format!("Invalid attribute name or value: {name}")));
        }
    }
    Ok(())
}

pub async fn create_platform_application(
    cx: &Cx,
    input: api::CreatePlatformApplicationInput,
) -> Result<api::CreatePlatformApplicationResponse, SnsError> {
    let (name, platform) = (input.name.unwrap_or_default(), input.platform.unwrap_or_default());
    let given = input.attributes.unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.len() > 256 || !name.bytes().all(is_plain) {
        return Err(SnsError::reason(
            "Name",
            "must be made up of letters, numbers, underscores, hyphens and periods",
        ));
    }
    if !PLATFORMS.contains(&platform.as_str()) {
        return Err(SnsError::reason("Platform", format!("{platform} is not supported")));
    }
    check_application(&given)?;
    if given.get("PlatformCredential").is_none_or(|credential| credential.is_empty()) {
        return Err(SnsError::reason("Attributes", "PlatformCredential is required"));
    }
    let place = &Place { account: cx.account(), region: cx.region().clone(), platform, name, device: None };
    let mut attributes: BTreeMap<String, String> = given.0.into_iter().collect();
    attributes.entry("Enabled".to_owned()).or_insert_with(|| "true".to_owned());
    let row = &Application { attributes };
    cx.transact(|txn| async move {
        if let Some(known) = APPLICATIONS.get(&txn, &place.application()).await?
            && known.attributes != row.attributes
        {
            let reason = "An application with the same name but different properties already exists";
            return Err(SnsError::reason("Attributes", reason));
        }
        Ok(APPLICATIONS.put(&txn, &place.application(), row)?)
    })
    .await?;
    Ok(api::CreatePlatformApplicationResponse { platform_application_arn: Some(place.arn()) })
}

fn show(row: &Application) -> Map<String> {
    let is_secret = |name: &str| name == "PlatformCredential" || name == "PlatformPrincipal";
    let shown = row.attributes.iter().filter(|(name, _)| !is_secret(name));
    shown.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub async fn get_platform_application_attributes(
    cx: &Cx,
    input: api::GetPlatformApplicationAttributesInput,
) -> Result<api::GetPlatformApplicationAttributesResponse, SnsError> {
    let place = Place::parse("PlatformApplicationArn", input.platform_application_arn.as_deref(), "app")?;
    let row = APPLICATIONS.get(cx.store(), &place.application()).await?.ok_or(SnsError::NO_APPLICATION)?;
    Ok(api::GetPlatformApplicationAttributesResponse { attributes: Some(show(&row)) })
}

pub async fn set_platform_application_attributes(
    cx: &Cx,
    input: api::SetPlatformApplicationAttributesInput,
) -> Result<Unit, SnsError> {
    let place = &Place::parse("PlatformApplicationArn", input.platform_application_arn.as_deref(), "app")?;
    let given = &input.attributes.unwrap_or_default();
    check_application(given)?;
    cx.transact(|txn| async move {
        let row = APPLICATIONS.get(&txn, &place.application()).await?;
        let mut row = row.ok_or(SnsError::NO_APPLICATION)?;
        row.attributes.extend(given.iter().map(|(name, value)| (name.to_owned(), value.clone())));
        Ok::<_, SnsError>(APPLICATIONS.put(&txn, &place.application(), &row)?)
    })
    .await?;
    Ok(Unit)
}

/// `DeletePlatformApplication`: with its endpoints; of what is not there as well.
pub async fn delete_platform_application(
    cx: &Cx,
    input: api::DeletePlatformApplicationInput,
) -> Result<Unit, SnsError> {
    let place = &Place::parse("PlatformApplicationArn", input.platform_application_arn.as_deref(), "app")?;
    let (account, region, application, _) = place.under("");
    let range = DEVICES.under(&(account, &region, application.as_str()));
    loop {
        let rows = DEVICES.scan(cx.store(), &range, 400).await?;
        let (devices, more) = (&rows.rows, rows.more);
        cx.transact(|txn| async move {
            for (key, device) in devices {
                DEVICES.delete(&txn, key);
                DEVICE_TOKENS.delete(&txn, &place.under(&device.token));
            }
            if !more {
                APPLICATIONS.delete(&txn, &place.application());
            }
            Ok::<_, SnsError>(())
        })
        .await?;
        if !more {
            return Ok(Unit);
        }
    }
}

pub async fn list_platform_applications(
    cx: &Cx,
    input: api::ListPlatformApplicationsInput,
) -> Result<api::ListPlatformApplicationsResponse, SnsError> {
    let page = Page::new(input.next_token.as_deref())?;
    let mut range = APPLICATIONS.under(&(cx.account(), cx.region()));
    if let Some((platform, name)) = page.after().and_then(|after| after.split_once('/')) {
        range = range.after(&APPLICATIONS.key(&(cx.account(), cx.region(), platform, name)));
    }
    let rows = APPLICATIONS.scan(cx.store(), &range, page.limit()).await?;
    let last = rows.rows.last().map(|((_, _, platform, name), _)| format!("{platform}/{name}"));
    let next_token = page.next(rows.more, last.as_deref());
    let applications = rows.rows.into_iter().map(|((account, region, platform, name), row)| {
        let place = Place { account, region, platform, name, device: None };
        api::PlatformApplication { platform_application_arn: Some(place.arn()), attributes: Some(show(&row)) }
    });
    Ok(api::ListPlatformApplicationsResponse {
        platform_applications: Some(applications.collect()),
        next_token,
    })
}

fn truth(value: &str) -> Result<bool, SnsError> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => {
            Err(SnsError::reason("Attributes", "Invalid value for attribute: Enabled: must be true or false"))
        }
    }
}

impl Endpoint {
    fn set(&mut self, name: &str, value: &str) -> Result<(), SnsError> {
        match name {
            "Enabled" => self.is_enabled = truth(value)?,
            "Token" if value.is_empty() || value.len() > 2_048 => {
                return Err(SnsError::reason("Attributes", "Invalid value for attribute: Token"));
            }
            "Token" => self.token = value.to_owned(),
            "CustomUserData" if value.len() > 2_048 => {
                let reason = "Invalid value for attribute: CustomUserData: must be at most 2048 bytes long in UTF-8 encoding";
                return Err(SnsError::reason("Attributes", reason));
            }
            "CustomUserData" => self.user_data = value.to_owned(),
            _ => return Err(SnsError::reason("Attributes", format!("Invalid attribute name: {name}"))),
        }
        Ok(())
    }

    fn show(&self) -> Map<String> {
        let mut shown: Map<String> = Map::default();
        shown.insert("Enabled", self.is_enabled.to_string());
        shown.insert("Token", self.token.clone());
        if !self.user_data.is_empty() {
            shown.insert("CustomUserData", self.user_data.clone());
        }
        shown
    }
}

/// `CreatePlatformEndpoint`: a token that is known with the same attributes is answered as if it were new.
pub async fn create_platform_endpoint(
    cx: &Cx,
    input: api::CreatePlatformEndpointInput,
) -> Result<api::CreateEndpointResponse, SnsError> {
    let application =
        Place::parse("PlatformApplicationArn", input.platform_application_arn.as_deref(), "app")?;
    let mut endpoint = Endpoint {
        token: String::new(),
        user_data: input.custom_user_data.unwrap_or_default(),
        is_enabled: true,
    };
    endpoint.set("Token", input.token.as_deref().unwrap_or_default())?;
    for (name, value) in input.attributes.iter().flat_map(|given| given.iter()) {
        endpoint.set(name, value)?;
    }
    let place = &Place { device: Some(cx.ids().uuid()), ..application };
    let endpoint = &endpoint;
    let arn = cx
        .transact(|txn| async move {
            APPLICATIONS.get(&txn, &place.application()).await?.ok_or(SnsError::NO_APPLICATION)?;
            let token = place.under(&endpoint.token);
            if let Some(Named { id }) = DEVICE_TOKENS.get(&txn, &token).await? {
                let known = Place { device: Some(id), ..place.clone() };
                let row = DEVICES.get(&txn, &known.device()).await?;
                if row.is_some_and(|row| {
                    row.is_enabled == endpoint.is_enabled && row.user_data == endpoint.user_data
                }) {
                    return Ok(known.arn());
                }
                let reason = format!(
                    "Endpoint {} already exists with the same Token, but different attributes.",
                    known.arn()
                );
                return Err(SnsError::reason("Token", reason));
            }
            let id = place.device.clone().unwrap_or_default();
            DEVICE_TOKENS.put(&txn, &token, &Named { id })?;
            DEVICES.put(&txn, &place.device(), endpoint)?;
            Ok(place.arn())
        })
        .await?;
    Ok(api::CreateEndpointResponse { endpoint_arn: Some(arn) })
}

pub async fn get_endpoint_attributes(
    cx: &Cx,
    input: api::GetEndpointAttributesInput,
) -> Result<api::GetEndpointAttributesResponse, SnsError> {
    let place = Place::parse("EndpointArn", input.endpoint_arn.as_deref(), "endpoint")?;
    let row = DEVICES.get(cx.store(), &place.device()).await?.ok_or(SnsError::NO_ENDPOINT)?;
    Ok(api::GetEndpointAttributesResponse { attributes: Some(row.show()) })
}

pub async fn set_endpoint_attributes(
    cx: &Cx,
    input: api::SetEndpointAttributesInput,
) -> Result<Unit, SnsError> {
    let place = &Place::parse("EndpointArn", input.endpoint_arn.as_deref(), "endpoint")?;
    let given = &input.attributes.unwrap_or_default();
    cx.transact(|txn| async move {
        let mut row = DEVICES.get(&txn, &place.device()).await?.ok_or(SnsError::NO_ENDPOINT)?;
        DEVICE_TOKENS.delete(&txn, &place.under(&row.token));
        given.iter().try_for_each(|(name, value)| row.set(name, value))?;
        let id = place.device.clone().unwrap_or_default();
        DEVICE_TOKENS.put(&txn, &place.under(&row.token), &Named { id })?;
        Ok::<_, SnsError>(DEVICES.put(&txn, &place.device(), &row)?)
    })
    .await?;
    Ok(Unit)
}

/// `DeleteEndpoint`: of what is not there as well.
pub async fn delete_endpoint(cx: &Cx, input: api::DeleteEndpointInput) -> Result<Unit, SnsError> {
    let place = &Place::parse("EndpointArn", input.endpoint_arn.as_deref(), "endpoint")?;
    cx.transact(|txn| async move {
        if let Some(row) = DEVICES.get(&txn, &place.device()).await? {
            DEVICE_TOKENS.delete(&txn, &place.under(&row.token));
            DEVICES.delete(&txn, &place.device());
        }
        Ok::<_, SnsError>(())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_endpoints_by_platform_application(
    cx: &Cx,
    input: api::ListEndpointsByPlatformApplicationInput,
) -> Result<api::ListEndpointsByPlatformApplicationResponse, SnsError> {
    let place = Place::parse("PlatformApplicationArn", input.platform_application_arn.as_deref(), "app")?;
    APPLICATIONS.get(cx.store(), &place.application()).await?.ok_or(SnsError::NO_APPLICATION)?;
    let page = Page::new(input.next_token.as_deref())?;
    let (account, region, application, _) = place.under("");
    let mut range = DEVICES.under(&(account, &region, application.as_str()));
    if let Some(after) = page.after() {
        range = range.after(&DEVICES.key(&place.under(after)));
    }
    let rows = DEVICES.scan(cx.store(), &range, page.limit()).await?;
    let next_token = page.next(rows.more, rows.rows.last().map(|((_, _, _, id), _)| id.as_str()));
    let endpoints = rows.rows.into_iter().map(|((_, _, _, id), row)| api::Endpoint {
        endpoint_arn: Some(Place { device: Some(id), ..place.clone() }.arn()),
        attributes: Some(row.show()),
    });
    Ok(api::ListEndpointsByPlatformApplicationResponse { endpoints: Some(endpoints.collect()), next_token })
}

/// `Publish` to an endpoint: the message's id.
pub async fn publish(cx: &Cx, arn: &str, message: Message) -> Result<String, SnsError> {
    push(cx, arn, &message).await
}

/// A push to the mailbox.
///
/// # Errors
/// `EndpointDisabled`, `PlatformApplicationDisabled`, `NotFound`
pub async fn push(cx: &Cx, arn: &str, message: &Message) -> Result<String, SnsError> {
    let place = Place::parse("TargetArn", Some(arn), "endpoint")?;
    let application = APPLICATIONS.get(cx.store(), &place.application()).await?;
    let application = application
        .ok_or_else(|| SnsError::reason("TargetArn", "No endpoint found for the target arn specified"))?;
    let endpoint = DEVICES.get(cx.store(), &place.device()).await?;
    let endpoint = endpoint
        .ok_or_else(|| SnsError::reason("TargetArn", "No endpoint found for the target arn specified"))?;
    if application.attributes.get("Enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("false")) {
        return Err(SnsError::PlatformApplicationDisabled);
    }
    if !endpoint.is_enabled {
        return Err(SnsError::EndpointDisabled);
    }
    let mail = &Mail {
        id: cx.ids().uuid(),
        at: cx.clock().now(),
        channel: Channel::Push,
        account: place.account,
        from: place.name.clone(),
        to: vec![endpoint.token.clone()],
        subject: message.subject.clone().unwrap_or_default(),
        body: message.body_for(&place.platform),
        source: arn.to_owned(),
    };
    cx.transact(|txn| async move { Ok::<_, SnsError>(mailbox::put(&txn, mail).await?) }).await?;
    Ok(message.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_their_arns() {
        let app = "arn:aws:sns:us-east-1:123456789012:app/GCM/shop";
        let device = "arn:aws:sns:us-east-1:123456789012:endpoint/GCM/shop/1-2";
        assert_eq!(Place::parse("A", Some(app), "app").unwrap().arn(), app);
        assert_eq!(Place::parse("A", Some(device), "endpoint").unwrap().arn(), device);
        assert!(is_endpoint_arn(device) && !is_endpoint_arn(app));
        for bad in ["", "x", "arn:aws:sns:us-east-1:123456789012:t", device] {
            assert!(Place::parse("A", Some(bad), "app").is_err(), "{bad}");
        }
    }
}
