//! How APIs and their parts are found, listed and changed.

use std::sync::Arc;

use pileus_core::{AccountId, Region, Timestamp};
use pileus_platform::Cx;
use pileus_store::{Reader, StoreError, Txn};

use super::keys::{APIS, Part, SNAPSHOTS};
use super::rows::{
    ApiRow, AuthorizerRow, Definition, DeploymentRow, IntegrationResponseRow, IntegrationRow,
    RouteResponseRow, RouteRow, StageRow,
};
use crate::error::{GatewayError, no_such};
use crate::keys::{ApiIdRow, Kind, touch};

/// More parts of one kind than an API may have.
///
/// Source: "Quotas for configuring and running an HTTP API in API Gateway" (300 routes and integrations, 10 authorizers and stages).
pub const MOST_PARTS: usize = 1_000;

/// An API that a request works on.
#[derive(Clone)]
pub struct Opened {
    pub id: String,
    pub account: AccountId,
    pub region: Region,
    pub row: ApiRow,
}

impl Opened {
    pub fn key(&self) -> (AccountId, Region, String) {
        (self.account, self.region.clone(), self.id.clone())
    }

    pub fn kind(&self) -> Kind {
        match self.row.protocol_type.as_deref() {
            Some("WEBSOCKET") => Kind::WebSocket,
            _ => Kind::Http,
        }
    }

    pub fn id_row(&self) -> ApiIdRow {
        ApiIdRow { kind: self.kind(), account: self.account, region: self.region.clone() }
    }
}

/// # Errors
/// `NotFoundException` for an API that is not there, or another account's, or in another region.
pub async fn open(reader: &impl Reader, cx: &Cx, id: Option<&str>) -> Result<Opened, GatewayError> {
    let id = id.unwrap_or_default().to_owned();
    let key = (cx.account(), cx.region().clone(), id.clone());
    let row = APIS.get(reader, &key).await?;
    let row = row.ok_or_else(|| no_such("API", &format!("{}:{id}", cx.account())))?;
    Ok(Opened { id, account: key.0, region: key.1, row })
}

/// # Errors
/// `NotFoundException`
pub async fn load<P: Part>(reader: &impl Reader, api: &Opened, id: Option<&str>) -> Result<P, GatewayError> {
    let id = id.unwrap_or_default();
    let row = P::TABLE.get(reader, &(api.id.clone(), id.to_owned())).await?;
    let own = id.rsplit_once('/').map_or(id, |(_, own)| own);
    row.ok_or_else(|| no_such(P::KIND, own))
}

/// All parts of one kind, by their ids.
///
/// # Errors
/// Those of the store.
pub async fn list<P: Part>(reader: &impl Reader, api: &str) -> Result<Vec<(String, P)>, StoreError> {
    let page = P::TABLE.scan(reader, &P::TABLE.under(&(api,)), MOST_PARTS).await?;
    Ok(page.rows.into_iter().map(|((_, id), row)| (id, row)).collect())
}

/// A page of a list that is at hand.
///
/// # Errors
/// `BadRequestException` for a token or a number that is none.
pub fn page<T>(
    items: Vec<(String, T)>,
    token: Option<&str>,
    max_results: Option<&str>,
) -> Result<(Vec<T>, Option<String>), GatewayError> {
    let most = match max_results {
        None => items.len().max(1),
        Some(text) => text
            .parse()
            .ok()
            .filter(|most| *most > 0)
            .ok_or_else(|| GatewayError::bad("Invalid value for maxResults"))?,
    };
    let start = match token {
        None => 0,
        Some(token) => items.partition_point(|(id, _)| id.as_str() <= token),
    };
    let mut kept: Vec<(String, T)> = items.into_iter().skip(start).collect();
    let more = kept.len() > most;
    kept.truncate(most);
    let next = kept.last().filter(|_| more).map(|(id, _)| id.clone());
    Ok((kept.into_iter().map(|(_, item)| item).collect(), next))
}

/// Ten parts of the API at most, or some other quota.
///
/// # Errors
/// `TooManyRequestsException`: so AWS calls a quota that is used up.
pub async fn room_for<P: Part>(txn: &Txn, api: &Opened, most: usize) -> Result<(), GatewayError> {
    match list::<P>(txn, &api.id).await?.len() < most {
        true => Ok(()),
        false => Err(GatewayError::LimitExceeded(format!(
            "Maximum number of {}s for this API has been reached. Please contact AWS if you need additional {}s.",
            P::KIND,
            P::KIND
        ))),
    }
}

/// All that requests depend on, as it stands.
///
/// # Errors
/// Those of the store.
pub async fn definition(reader: &impl Reader, id: &str, api: &ApiRow) -> Result<Definition, StoreError> {
    fn rows<P>(parts: Vec<(String, P)>) -> Vec<P> {
        parts.into_iter().map(|(_, row)| row).collect()
    }
    fn with_parent<P>(parts: Vec<(String, P)>) -> Vec<(String, P)> {
        let split = |(id, row): (String, P)| {
            (id.split_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default(), row)
        };
        parts.into_iter().map(split).collect()
    }
    let is_websocket = api.protocol_type.as_deref() == Some("WEBSOCKET");
    let (mut integration_responses, mut route_responses) = (Vec::new(), Vec::new());
    if is_websocket {
        integration_responses = with_parent(list::<IntegrationResponseRow>(reader, id).await?);
        route_responses = with_parent(list::<RouteResponseRow>(reader, id).await?);
    }
    Ok(Definition {
        cors: api.cors_configuration.clone(),
        route_selection_expression: api.route_selection_expression.clone(),
        api_key_selection_expression: api.api_key_selection_expression.clone(),
        routes: rows(list::<RouteRow>(reader, id).await?),
        integrations: rows(list::<IntegrationRow>(reader, id).await?),
        integration_responses,
        route_responses,
        authorizers: rows(list::<AuthorizerRow>(reader, id).await?),
    })
}

/// After a change of the API: nodes compile it anew, and stages that deploy themselves have a new deployment. A deployment of
/// theirs has no snapshot: such a stage always answers by what is there.
///
/// # Errors
/// Those of the store.
pub async fn changed(txn: &Txn, cx: &Cx, api: &Opened) -> Result<(), GatewayError> {
    touch(txn, &api.id, &api.id_row())?;
    let stages = list::<StageRow>(txn, &api.id).await?;
    let followers: Vec<_> = stages.iter().filter(|(_, stage)| stage.auto_deploy == Some(true)).collect();
    if followers.is_empty() {
        return Ok(());
    }
    let id = cx.ids().lower(6);
    let status = format!("Successfully deployed stage with deployment ID '{id}'");
    for (name, stage) in followers {
        let mut stage: StageRow = stage.clone();
        if let Some(before) = stage.deployment_id.replace(id.clone()) {
            let key = (api.id.clone(), before.clone());
            let others = stages.iter().filter(|(other, row)| {
                other != name && row.auto_deploy != Some(true) && row.deployment_id.as_ref() == Some(&before)
            });
            let is_auto = DeploymentRow::TABLE.get(txn, &key).await?.and_then(|row| row.auto_deployed);
            if is_auto == Some(true) && others.count() == 0 {
                DeploymentRow::TABLE.delete(txn, &key);
            }
        }
        stage.last_deployment_status_message = Some(status.clone());
        stage.last_updated_date = Some(cx.now());
        StageRow::TABLE.put(txn, &(api.id.clone(), name.clone()), &stage)?;
    }
    let deployment = DeploymentRow {
        auto_deployed: Some(true),
        description: Some("Automatic deployment triggered by changes to the Api configuration".to_owned()),
        ..new_deployment(&id, cx.now())
    };
    DeploymentRow::TABLE.put(txn, &(api.id.clone(), id), &deployment)?;
    Ok(())
}

pub fn new_deployment(id: &str, now: Timestamp) -> DeploymentRow {
    DeploymentRow {
        auto_deployed: Some(false),
        created_date: Some(now),
        deployment_id: Some(id.to_owned()),
        deployment_status: Some("DEPLOYED".to_owned()),
        ..DeploymentRow::default()
    }
}

/// Freezes the API as it stands under a deployment's id.
///
/// # Errors
/// `BadRequestException` for an API that is too large to be kept as one value.
pub async fn freeze(txn: &Txn, api: &Opened, deployment: &str) -> Result<(), GatewayError> {
    let definition = definition(txn, &api.id, &api.row).await?;
    let size = pileus_store::table::encode(&definition)?.len();
    if size > 1_000_000 {
        return Err(GatewayError::bad("The API's definition is larger than 1 MB and cannot be deployed."));
    }
    SNAPSHOTS.put(txn, &(api.id.clone(), deployment.to_owned()), &definition)?;
    Ok(())
}

/// What a stage answers by.
///
/// # Errors
/// Those of the store.
pub async fn deployed(
    reader: &impl Reader,
    id: &str,
    api: &ApiRow,
    stage: &StageRow,
) -> Result<Option<Arc<Definition>>, StoreError> {
    if stage.auto_deploy == Some(true) {
        return Ok(Some(Arc::new(definition(reader, id, api).await?)));
    }
    let Some(deployment) = &stage.deployment_id else { return Ok(None) };
    Ok(SNAPSHOTS.get(reader, &(id.to_owned(), deployment.clone())).await?.map(Arc::new))
}
