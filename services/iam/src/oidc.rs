//! OpenID Connect providers.
//!
//! Chosen: where AWS would fetch a provider's certificate to fill in a thumbprint, nothing is fetched and the list stays as given.
//!
//! Source: IAM API Reference, "CreateOpenIDConnectProvider".

use pileus_api_iam as api;
use pileus_core::{AccountId, Arn, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::change::{self, change};
use crate::error::IamError;
use crate::keys::OIDC;
use crate::names::required;
use crate::page;
use crate::tags::{self, Case, Tags};

const MAX_PROVIDERS: usize = 100;
const MAX_CLIENT_IDS: usize = 100;
const MAX_THUMBPRINTS: usize = 5;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OidcRow {
    /// Without `https://`; what the ARN ends with.
    pub url: String,
    pub client_ids: Vec<String>,
    pub thumbprints: Vec<String>,
    pub created: Timestamp,
    #[serde(default)]
    pub tags: Tags,
}

impl Stored for OidcRow {}

impl OidcRow {
    pub fn arn(&self, partition: &str, account: AccountId) -> String {
        format!("arn:{partition}:iam::{account}:oidc-provider/{}", self.url)
    }

    fn put(&self, txn: &Txn, account: AccountId) -> Result<(), IamError> {
        Ok(OIDC.put(txn, &(account, self.url.clone()), self)?)
    }
}

/// The URL in a provider's ARN.
fn url_of(arn: &str, account: AccountId) -> Result<String, IamError> {
    let parsed = Arn::parse(arn).map_err(|_| IamError::invalid_arn(arn))?;
    let url = parsed.resource().strip_prefix("oidc-provider/").filter(|_| parsed.service() == "iam");
    let url = url.ok_or_else(|| IamError::invalid_arn(arn))?;
    if parsed.account() == account.as_str() { Ok(url.to_owned()) } else { Err(missing(arn)) }
}

fn missing(arn: &str) -> IamError {
    IamError::NoSuchEntity(format!("OpenIDConnect Provider not found for arn {arn}"))
}

async fn load(reader: &impl Reader, account: AccountId, arn: &str) -> Result<OidcRow, IamError> {
    let url = url_of(arn, account)?;
    OIDC.get(reader, &(account, url)).await?.ok_or_else(|| missing(arn))
}

/// # Errors
/// `ValidationError` unless it is an `https` URL of a host, without query and fragment.
fn host_and_path(url: &str) -> Result<String, IamError> {
    let rest = url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    let valid = |rest: &&str| {
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        let named =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
        named && rest.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
    };
    let invalid = || IamError::ValidationError("Invalid Open ID Connect Provider URL".to_owned());
    rest.filter(valid).map(str::to_owned).ok_or_else(invalid)
}

fn check_thumbprints(thumbprints: &[String]) -> Result<(), IamError> {
    if thumbprints.len() > MAX_THUMBPRINTS {
        let text = "Thumbprint list must contain fewer than 5 entries.";
        return Err(IamError::InvalidInput(text.to_owned()));
    }
    Ok(())
}

pub async fn create_open_id_connect_provider(
    cx: &Cx,
    input: api::CreateOpenIDConnectProviderRequest,
) -> Result<api::CreateOpenIDConnectProviderResponse, IamError> {
    let given = required(&input.url, "Url")?;
    let row = OidcRow {
        url: host_and_path(given)?,
        client_ids: input.client_id_list.unwrap_or_default(),
        thumbprints: input.thumbprint_list.unwrap_or_default(),
        created: change::now(cx),
        tags: Case::Kept.create(input.tags)?,
    };
    check_thumbprints(&row.thumbprints)?;
    if row.client_ids.len() > MAX_CLIENT_IDS {
        return Err(IamError::quota("ClientIdsPerOpenIdConnectProvider", MAX_CLIENT_IDS));
    }
    let row = &row;
    change(cx, move |txn| async move {
        let quota = "OpenIdConnectProvidersPerAccount";
        change::check_account_quota(cx, &txn, OIDC, quota, MAX_PROVIDERS).await?;
        if OIDC.put_if_absent(&txn, &(cx.account(), row.url.clone()), row).await? {
            return Ok(());
        }
        Err(IamError::EntityAlreadyExists(format!("Provider with url {given} already exists.")))
    })
    .await?;
    Ok(api::CreateOpenIDConnectProviderResponse {
        open_id_connect_provider_arn: Some(row.arn(cx.region().partition(), cx.account())),
        tags: tags::answer_if_any(&row.tags),
    })
}

pub async fn get_open_id_connect_provider(
    cx: &Cx,
    input: api::GetOpenIDConnectProviderRequest,
) -> Result<api::GetOpenIDConnectProviderResponse, IamError> {
    let arn = required(&input.open_id_connect_provider_arn, "OpenIDConnectProviderArn")?;
    let row = load(cx.store(), cx.account(), arn).await?;
    Ok(api::GetOpenIDConnectProviderResponse {
        tags: Some(tags::answer(&row.tags)),
        url: Some(row.url),
        client_id_list: Some(row.client_ids),
        thumbprint_list: Some(row.thumbprints),
        create_date: Some(row.created),
    })
}

pub async fn list_open_id_connect_providers(
    cx: &Cx,
    _: api::ListOpenIDConnectProvidersRequest,
) -> Result<api::ListOpenIDConnectProvidersResponse, IamError> {
    let rows = page::all(cx.store(), OIDC, OIDC.under(&(cx.account(),))).await?;
    let entry = |row: &OidcRow| api::OpenIDConnectProviderListEntry {
        arn: Some(row.arn(cx.region().partition(), cx.account())),
    };
    Ok(api::ListOpenIDConnectProvidersResponse {
        open_id_connect_provider_list: Some(rows.iter().map(|(_, row)| entry(row)).collect()),
    })
}

pub async fn delete_open_id_connect_provider(
    cx: &Cx,
    input: api::DeleteOpenIDConnectProviderRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.open_id_connect_provider_arn, "OpenIDConnectProviderArn")?;
    change(cx, move |txn| async move {
        let key = (cx.account(), url_of(arn, cx.account())?);
        if OIDC.get(&txn, &key).await?.is_none() {
            let text = format!("OpenId connect Provider {arn} cannot be found.");
            return Err(IamError::NoSuchEntity(text));
        }
        OIDC.delete(&txn, &key);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

/// Changes one provider's row.
async fn edit(
    cx: &Cx,
    arn: &str,
    edit: impl Fn(&mut OidcRow) -> Result<(), IamError> + Send + Sync,
) -> Result<Unit, IamError> {
    let edit = &edit;
    change(cx, move |txn| async move {
        let mut row = load(&txn, cx.account(), arn).await?;
        edit(&mut row)?;
        row.put(&txn, cx.account())
    })
    .await?;
    Ok(Unit)
}

/// Adding an id again changes nothing.
pub async fn add_client_id_to_open_id_connect_provider(
    cx: &Cx,
    input: api::AddClientIDToOpenIDConnectProviderRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.open_id_connect_provider_arn, "OpenIDConnectProviderArn")?;
    let id = required(&input.client_id, "ClientID")?;
    edit(cx, arn, |row| {
        if row.client_ids.iter().any(|other| other == id) {
            return Ok(());
        }
        if row.client_ids.len() >= MAX_CLIENT_IDS {
            return Err(IamError::quota("ClientIdsPerOpenIdConnectProvider", MAX_CLIENT_IDS));
        }
        row.client_ids.push(id.to_owned());
        Ok(())
    })
    .await
}

/// Removing an absent id changes nothing.
pub async fn remove_client_id_from_open_id_connect_provider(
    cx: &Cx,
    input: api::RemoveClientIDFromOpenIDConnectProviderRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.open_id_connect_provider_arn, "OpenIDConnectProviderArn")?;
    let id = required(&input.client_id, "ClientID")?;
    edit(cx, arn, |row| {
        row.client_ids.retain(|other| other != id);
        Ok(())
    })
    .await
}

pub async fn update_open_id_connect_provider_thumbprint(
    cx: &Cx,
    input: api::UpdateOpenIDConnectProviderThumbprintRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.open_id_connect_provider_arn, "OpenIDConnectProviderArn")?;
    let thumbprints = input.thumbprint_list.as_deref().unwrap_or_default();
    check_thumbprints(thumbprints)?;
    edit(cx, arn, |row| {
        row.thumbprints = thumbprints.to_vec();
        Ok(())
    })
    .await
}

pub async fn tag_open_id_connect_provider(
    cx: &Cx,
    input: api::TagOpenIDConnectProviderRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.open_id_connect_provider_arn, "OpenIDConnectProviderArn")?;
    edit(cx, arn, |row| Case::Kept.set(&mut row.tags, input.tags.clone())).await
}

pub async fn untag_open_id_connect_provider(
    cx: &Cx,
    input: api::UntagOpenIDConnectProviderRequest,
) -> Result<Unit, IamError> {
    let arn = required(&input.open_id_connect_provider_arn, "OpenIDConnectProviderArn")?;
    let gone = input.tag_keys.as_deref().unwrap_or_default();
    edit(cx, arn, |row| {
        Case::Kept.remove(&mut row.tags, gone);
        Ok(())
    })
    .await
}

pub async fn list_open_id_connect_provider_tags(
    cx: &Cx,
    input: api::ListOpenIDConnectProviderTagsRequest,
) -> Result<api::ListOpenIDConnectProviderTagsResponse, IamError> {
    let arn = required(&input.open_id_connect_provider_arn, "OpenIDConnectProviderArn")?;
    let row = load(cx.store(), cx.account(), arn).await?;
    let cut = tags::page(&row.tags, input.marker.as_deref(), input.max_items)?;
    Ok(api::ListOpenIDConnectProviderTagsResponse {
        tags: Some(cut.items),
        is_truncated: Some(cut.is_truncated),
        marker: cut.marker,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_an_https_host() {
        let cases = [
            ("https://token.actions.githubusercontent.com", Some("token.actions.githubusercontent.com")),
            (
                "https://oidc.eks.us-east-1.amazonaws.com/id/ABC/",
                Some("oidc.eks.us-east-1.amazonaws.com/id/ABC"),
            ),
            ("http://example.com", None),
            ("example.com", None),
            ("https://", None),
            ("https://exa mple.com", None),
            ("https://example.com/?a=b", None),
        ];
        for (url, expected) in cases {
            assert_eq!(host_and_path(url).ok().as_deref(), expected, "{url}");
        }
    }
}
