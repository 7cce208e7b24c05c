//! Virtual MFA devices: `CreateVirtualMFADevice`, `EnableMFADevice`, `ResyncMFADevice`, `DeactivateMFADevice`,
//! `DeleteVirtualMFADevice`, `GetMFADevice`, the lists, and tags.

pub mod qr;
pub mod totp;

use pileus_api_iam as api;
use pileus_core::{AccountId, Timestamp};
use pileus_platform::{CallerKind, Cx};
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::error::IamError;
use crate::holder::{Holder, Kind};
use crate::keys::{DEVICES, DEVICES_OF, Mark, ROOT, USERS};
use crate::names::{self, required};
use crate::page::{self, Page};
use crate::tags::{self, Case, Tags};

/// Source: IAM User Guide, "IAM and AWS STS quotas" (MFA devices of a user).
const MAX_DEVICES_OF_USER: usize = 8;
const SEED_BYTES: usize = 40;
/// Steps that a device's clock may be off when it is enabled, and when it is brought back in step.
const ENABLE_DRIFT: i64 = 5;
const RESYNC_DRIFT: i64 = 1_000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceRow {
    /// The ARN.
    pub serial_number: String,
    pub seed: Vec<u8>,
    pub created: Timestamp,
    #[serde(default)]
    pub enabled: Option<Enabled>,
    #[serde(default)]
    pub tags: Tags,
}

impl Stored for DeviceRow {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Enabled {
    /// A user's id, or `ROOT`.
    pub owner: String,
    pub at: Timestamp,
    /// How many steps the device's clock is ahead of ours: the second of the two codes was its present one.
    pub drift: i64,
    /// Codes of this step and earlier ones are used up.
    pub last_step: i64,
}

fn missing(serial: &str) -> IamError {
    IamError::NoSuchEntity(format!("MFA Device with serial number {serial} does not exist."))
}

impl DeviceRow {
    /// # Errors
    /// `NoSuchEntity`.
    pub async fn load(reader: &impl Reader, account: AccountId, serial: &str) -> Result<DeviceRow, IamError> {
        DEVICES.get(reader, &(account, serial.to_owned())).await?.ok_or_else(|| missing(serial))
    }

    fn put(&self, txn: &Txn, account: AccountId) -> Result<(), IamError> {
        Ok(DEVICES.put(txn, &(account, self.serial_number.clone()), self)?)
    }
}

pub async fn create_virtual_mfa_device(
    cx: &Cx,
    input: api::CreateVirtualMFADeviceRequest,
) -> Result<api::CreateVirtualMFADeviceResponse, IamError> {
    let name = required(&input.virtual_mfa_device_name, "VirtualMFADeviceName")?;
    let path = names::path(input.path.as_deref())?;
    let mut seed = vec![0u8; SEED_BYTES];
    cx.rng().fill(&mut seed);
    let row = DeviceRow {
        serial_number: names::arn(cx.region().partition(), cx.account(), "mfa", &path, name),
        seed,
        created: change::now(cx),
        enabled: None,
        tags: Case::Kept.create(input.tags)?,
    };
    let row = &row;
    change(cx, move |txn| async move {
        if DEVICES.put_if_absent(&txn, &(cx.account(), row.serial_number.clone()), row).await? {
            return Ok(());
        }
        Err(IamError::EntityAlreadyExists("MFA device already exists.".to_owned()))
    })
    .await?;
    let secret = totp::base32(&row.seed);
    let uri = format!(
        "otpauth://totp/Amazon%20Web%20Services:{name}@{}?secret={secret}&issuer=Amazon%20Web%20Services",
        cx.account()
    );
    let device = api::VirtualMFADevice {
        serial_number: Some(row.serial_number.clone()),
        base32_string_seed: Some(secret.into()),
        qr_code_png: qr::png(&uri).map(Into::into),
        tags: tags::answer_if_any(&row.tags),
        ..api::VirtualMFADevice::default()
    };
    Ok(api::CreateVirtualMFADeviceResponse { virtual_mfa_device: Some(device) })
}

/// Takes a device for a user, who proves by two codes in a row to have its seed.
pub async fn enable_mfa_device(cx: &Cx, input: api::EnableMFADeviceRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let serial = required(&input.serial_number, "SerialNumber")?;
    let first = required(&input.authentication_code1, "AuthenticationCode1")?;
    let second = required(&input.authentication_code2, "AuthenticationCode2")?;
    change(cx, move |txn| async move {
        let account = cx.account();
        let user = Holder::load(&txn, account, Kind::User, name).await?;
        let mut row = DeviceRow::load(&txn, account, serial).await?;
        if row.enabled.is_some() {
            return Err(IamError::EntityAlreadyExists("MFA Device is already in use.".to_owned()));
        }
        let owned = DEVICES_OF.under(&(account, user.id.clone()));
        if page::all(&txn, DEVICES_OF, owned).await?.len() >= MAX_DEVICES_OF_USER {
            return Err(IamError::quota("MFADevicesPerUser", MAX_DEVICES_OF_USER));
        }
        let last_step = totp::find_pair(&row.seed, first, second, cx.now(), ENABLE_DRIFT);
        let last_step = last_step.ok_or(IamError::InvalidAuthenticationCode)?;
        let at = change::now(cx);
        let drift = last_step - totp::step(cx.now());
        row.enabled = Some(Enabled { owner: user.id.clone(), at, drift, last_step });
        DEVICES_OF.put(&txn, &(account, user.id, serial.to_owned()), &Mark { since: at })?;
        row.put(&txn, account)
    })
    .await?;
    Ok(Unit)
}

/// Loads the device that `user` has enabled.
async fn load_of(
    txn: &Txn,
    account: AccountId,
    user: &str,
    serial: &str,
) -> Result<(DeviceRow, Enabled), IamError> {
    let user = Holder::load(txn, account, Kind::User, user).await?;
    let row = DeviceRow::load(txn, account, serial).await?;
    match row.enabled.clone().filter(|enabled| enabled.owner == user.id) {
        Some(enabled) => Ok((row, enabled)),
        None => Err(missing(serial)),
    }
}

pub async fn resync_mfa_device(cx: &Cx, input: api::ResyncMFADeviceRequest) -> Result<Unit, IamError> {
    let name = required(&input.user_name, "UserName")?;
    let serial = required(&input.serial_number, "SerialNumber")?;
    let first = required(&input.authentication_code1, "AuthenticationCode1")?;
    let second = required(&input.authentication_code2, "AuthenticationCode2")?;
    change(cx, move |txn| async move {
        let (mut row, enabled) = load_of(&txn, cx.account(), name, serial).await?;
        let last_step = totp::find_pair(&row.seed, first, second, cx.now(), RESYNC_DRIFT);
        let last_step = last_step.ok_or(IamError::InvalidAuthenticationCode)?;
        let drift = last_step - totp::step(cx.now());
        row.enabled = Some(Enabled { drift, last_step, ..enabled });
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn deactivate_mfa_device(
    cx: &Cx,
    input: api::DeactivateMFADeviceRequest,
) -> Result<Unit, IamError> {
    let name = change::user_or_caller(cx, &input.user_name)?;
    let serial = required(&input.serial_number, "SerialNumber")?;
    change(cx, move |txn| async move {
        let (mut row, enabled) = load_of(&txn, cx.account(), name, serial).await?;
        DEVICES_OF.delete(&txn, &(cx.account(), enabled.owner, serial.to_owned()));
        row.enabled = None;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_virtual_mfa_device(
    cx: &Cx,
    input: api::DeleteVirtualMFADeviceRequest,
) -> Result<Unit, IamError> {
    let serial = required(&input.serial_number, "SerialNumber")?;
    change(cx, move |txn| async move {
        let row = DeviceRow::load(&txn, cx.account(), serial).await?;
        if row.enabled.is_some() {
            return Err(IamError::DeleteConflict("MFA VirtualDevice is in use. Must deactivate first."));
        }
        DEVICES.delete(&txn, &(cx.account(), serial.to_owned()));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

/// The user who has enabled a device; nobody for the root user's.
async fn user_of(reader: &impl Reader, enabled: &Enabled) -> Result<Option<Holder>, IamError> {
    Holder::find(reader, &enabled.owner).await
}

pub async fn get_mfa_device(
    cx: &Cx,
    input: api::GetMFADeviceRequest,
) -> Result<api::GetMFADeviceResponse, IamError> {
    let serial = required(&input.serial_number, "SerialNumber")?;
    let row = DeviceRow::load(cx.store(), cx.account(), serial).await?;
    let enabled = row.enabled.ok_or_else(|| missing(serial))?;
    let user = user_of(cx.store(), &enabled).await?.map(|user| user.name);
    if input.user_name.is_some() && input.user_name != user {
        return Err(missing(serial));
    }
    Ok(api::GetMFADeviceResponse {
        user_name: user,
        serial_number: Some(row.serial_number),
        enable_date: Some(enabled.at),
        ..Default::default()
    })
}

/// Without a name it is about the caller.
pub async fn list_mfa_devices(
    cx: &Cx,
    input: api::ListMFADevicesRequest,
) -> Result<api::ListMFADevicesResponse, IamError> {
    let (owner, user_name) = match (&input.user_name, &cx.caller().kind) {
        (None, CallerKind::Root) => (ROOT.to_owned(), None),
        _ => {
            let name = change::user_or_caller(cx, &input.user_name)?;
            let user = Holder::load(cx.store(), cx.account(), Kind::User, name).await?;
            (user.id, Some(user.name))
        }
    };
    let page = Page::new("mfa-devices", input.marker.as_deref(), input.max_items)?;
    let rows = page::all(cx.store(), DEVICES_OF, DEVICES_OF.under(&(cx.account(), owner))).await?;
    let device = |((_, _, serial), mark): ((AccountId, String, String), Mark)| api::MFADevice {
        user_name: user_name.clone(),
        serial_number: Some(serial),
        enable_date: Some(mark.since),
    };
    let cut =
        page.cut(rows.into_iter().map(device), |device| device.serial_number.clone().unwrap_or_default());
    Ok(api::ListMFADevicesResponse {
        mfa_devices: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn list_virtual_mfa_devices(
    cx: &Cx,
    input: api::ListVirtualMFADevicesRequest,
) -> Result<api::ListVirtualMFADevicesResponse, IamError> {
    let page = Page::new("virtual-mfa-devices", input.marker.as_deref(), input.max_items)?;
    let status = input.assignment_status.as_deref().unwrap_or("Any");
    let keep = |row: &DeviceRow| match status {
        "Assigned" => row.enabled.is_some(),
        "Unassigned" => row.enabled.is_none(),
        _ => true,
    };
    let cut = page.scan(cx.store(), DEVICES, cx.account(), keep).await?;
    let mut devices = Vec::with_capacity(cut.items.len());
    for row in cut.items {
        let user = match &row.enabled {
            Some(enabled) => user_of(cx.store(), enabled).await?,
            None => None,
        };
        let user = match user {
            Some(user) => USERS.get(cx.store(), &(cx.account(), names::key(&user.name))).await?,
            None => None,
        };
        devices.push(api::VirtualMFADevice {
            serial_number: Some(row.serial_number),
            enable_date: row.enabled.map(|enabled| enabled.at),
            user: user.map(|user| user.summary(cx, None)),
            ..api::VirtualMFADevice::default()
        });
    }
    Ok(api::ListVirtualMFADevicesResponse {
        virtual_mfa_devices: Some(devices),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

pub async fn tag_mfa_device(cx: &Cx, input: api::TagMFADeviceRequest) -> Result<Unit, IamError> {
    let serial = required(&input.serial_number, "SerialNumber")?;
    let given = &input.tags;
    change(cx, move |txn| async move {
        let mut row = DeviceRow::load(&txn, cx.account(), serial).await?;
        Case::Kept.set(&mut row.tags, given.clone())?;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn untag_mfa_device(cx: &Cx, input: api::UntagMFADeviceRequest) -> Result<Unit, IamError> {
    let serial = required(&input.serial_number, "SerialNumber")?;
    let gone = input.tag_keys.as_deref().unwrap_or_default();
    change(cx, move |txn| async move {
        let mut row = DeviceRow::load(&txn, cx.account(), serial).await?;
        Case::Kept.remove(&mut row.tags, gone);
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_mfa_device_tags(
    cx: &Cx,
    input: api::ListMFADeviceTagsRequest,
) -> Result<api::ListMFADeviceTagsResponse, IamError> {
    let serial = required(&input.serial_number, "SerialNumber")?;
    let row = DeviceRow::load(cx.store(), cx.account(), serial).await?;
    let cut = tags::page(&row.tags, input.marker.as_deref(), input.max_items)?;
    Ok(api::ListMFADeviceTagsResponse {
        tags: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}
