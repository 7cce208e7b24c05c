//! The account as a whole: its alias, `SetSecurityTokenServicePreferences` and `GetAccountSummary`.

use pileus_api_iam as api;
use pileus_core::AccountId;
use pileus_platform::Cx;
use pileus_store::{Stored, Table};
use pileus_wire::value::{Map, Unit};
use serde::{Deserialize, Serialize};

use crate::change::change;
use crate::error::IamError;
use crate::keys::{
    ALIAS_OF, ALIASES, AliasRow, CERTIFICATES, DEVICES, GROUPS, KEYS_OF, OIDC, POLICIES, PREFERENCES,
    PROFILES, ROLES, ROOT, SAML, USERS, VERSIONS,
};
use crate::names::required;
use crate::page;

/// One alias an account, unique among all accounts; a new one replaces it.
pub async fn create_account_alias(cx: &Cx, input: api::CreateAccountAliasRequest) -> Result<Unit, IamError> {
    let alias = required(&input.account_alias, "AccountAlias")?;
    if AccountId::parse(alias).is_some() {
        return Err(IamError::InvalidInput(format!("The account alias {alias} must not be twelve digits.")));
    }
    change(cx, move |txn| async move {
        let account = cx.account();
        let row = AliasRow { account, alias: alias.to_owned() };
        if ALIASES.get(&txn, &(alias.to_owned(),)).await?.is_some() {
            return Err(IamError::EntityAlreadyExists(format!("The account alias {alias} already exists.")));
        }
        if let Some(old) = ALIAS_OF.get(&txn, &(account,)).await? {
            ALIASES.delete(&txn, &(old.alias,));
        }
        ALIASES.put(&txn, &(alias.to_owned(),), &row)?;
        Ok(ALIAS_OF.put(&txn, &(account,), &row)?)
    })
    .await?;
    Ok(Unit)
}

pub async fn delete_account_alias(cx: &Cx, input: api::DeleteAccountAliasRequest) -> Result<Unit, IamError> {
    let alias = required(&input.account_alias, "AccountAlias")?;
    change(cx, move |txn| async move {
        let own = ALIAS_OF.get(&txn, &(cx.account(),)).await?.filter(|row| row.alias == alias);
        if own.is_none() {
            let text = format!("The account alias with name {alias} cannot be found.");
            return Err(IamError::NoSuchEntity(text));
        }
        ALIASES.delete(&txn, &(alias.to_owned(),));
        ALIAS_OF.delete(&txn, &(cx.account(),));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn list_account_aliases(
    cx: &Cx,
    _: api::ListAccountAliasesRequest,
) -> Result<api::ListAccountAliasesResponse, IamError> {
    let alias = ALIAS_OF.get(cx.store(), &(cx.account(),)).await?;
    Ok(api::ListAccountAliasesResponse {
        account_aliases: Some(alias.into_iter().map(|row| row.alias).collect()),
        is_truncated: Some(false),
        marker: None,
    })
}

/// What an account chose of STS.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreferencesRow {
    /// Of tokens from the global endpoint: 1 or 2. A session of this cloud holds in every region either way.
    pub token_version: i64,
}

impl Stored for PreferencesRow {}

/// Source: IAM API Reference, "SetSecurityTokenServicePreferences": `GetAccountSummary` shows the version.
pub async fn set_security_token_service_preferences(
    cx: &Cx,
    input: api::SetSecurityTokenServicePreferencesRequest,
) -> Result<Unit, IamError> {
    let version = required(&input.global_endpoint_token_version, "GlobalEndpointTokenVersion")?;
    let row = &PreferencesRow { token_version: if version == "v2Token" { 2 } else { 1 } };
    cx.transact(move |txn| async move { Ok::<(), IamError>(PREFERENCES.put(&txn, &(cx.account(),), row)?) })
        .await?;
    Ok(Unit)
}

/// Quotas as AWS reports them for a new account.
const QUOTAS: &[(&str, i64)] = &[
    ("AccessKeysPerUserQuota", 2),
    ("AccountSigningCertificatesPresent", 0),
    ("AccountPasswordPresent", 0),
    ("AssumeRolePolicySizeQuota", 2_048),
    ("AttachedPoliciesPerGroupQuota", 10),
    ("AttachedPoliciesPerRoleQuota", 10),
    ("AttachedPoliciesPerUserQuota", 10),
    ("GroupPolicySizeQuota", 5_120),
    ("GroupsPerUserQuota", 10),
    ("GroupsQuota", 300),
    ("InstanceProfilesQuota", 1_000),
    ("PoliciesQuota", 1_500),
    ("PolicySizeQuota", 6_144),
    ("PolicyVersionsInUseQuota", 10_000),
    ("RolePolicySizeQuota", 10_240),
    ("RolesQuota", 1_000),
    ("ServerCertificatesQuota", 20),
    ("SigningCertificatesPerUserQuota", 2),
    ("UserPolicySizeQuota", 2_048),
    ("UsersQuota", 5_000),
    ("VersionsPerPolicyQuota", 5),
];

pub async fn get_account_summary(cx: &Cx, _: Unit) -> Result<api::GetAccountSummaryResponse, IamError> {
    let account = cx.account();
    let devices = page::all(cx.store(), DEVICES, DEVICES.under(&(account,))).await?;
    let in_use = devices.iter().filter(|(_, device)| device.enabled.is_some()).count() as i64;
    let root_has_device = devices
        .iter()
        .any(|(_, device)| device.enabled.as_ref().is_some_and(|enabled| enabled.owner == ROOT));
    let root_keys = KEYS_OF.under(&(account, ROOT.to_owned()));
    let root_has_keys = !page::is_empty(cx.store(), KEYS_OF, root_keys).await?;
    let versions = page::all(cx.store(), VERSIONS, VERSIONS.under(&(account,))).await?.len() as i64;
    let preferences = PREFERENCES.get(cx.store(), &(account,)).await?;
    let token_version = preferences.map_or(1, |preferences| preferences.token_version);
    let counted = [
        ("AccountAccessKeysPresent", i64::from(root_has_keys)),
        ("AccountMFAEnabled", i64::from(root_has_device)),
        ("GlobalEndpointTokenVersion", token_version),
        ("Groups", count(cx, GROUPS).await?),
        ("InstanceProfiles", count(cx, PROFILES).await?),
        ("MFADevices", devices.len() as i64),
        ("MFADevicesInUse", in_use),
        ("Policies", count(cx, POLICIES).await?),
        ("PolicyVersionsInUse", versions),
        ("Providers", count(cx, OIDC).await? + count(cx, SAML).await?),
        ("Roles", count(cx, ROLES).await?),
        ("ServerCertificates", count(cx, CERTIFICATES).await?),
        ("Users", count(cx, USERS).await?),
    ];
    let mut entries: Vec<(String, i64)> =
        QUOTAS.iter().chain(&counted).map(|(name, value)| ((*name).to_owned(), *value)).collect();
    entries.sort();
    Ok(api::GetAccountSummaryResponse { summary_map: Some(Map(entries)) })
}

async fn count<V: Stored>(cx: &Cx, table: Table<(AccountId, String), V>) -> Result<i64, IamError> {
    Ok(page::all(cx.store(), table, table.under(&(cx.account(),))).await?.len() as i64)
}
