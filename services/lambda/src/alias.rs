//! Aliases: `CreateAlias`, `GetAlias`, `UpdateAlias`, `ListAliases`, `DeleteAlias`.
//!
//! Source: AWS Lambda API Reference, "CreateAlias", "UpdateAlias"; Lambda Developer Guide, "Implement Lambda canary deployments using a
//! weighted alias". Recorded: the sentences.

use std::collections::BTreeMap;

use pileus_api_lambda as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Stored, Txn};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};

use crate::error::LambdaError;
use crate::function::{FunctionRow, config_of};
use crate::keys::{ALIASES, EVENT_CONFIGS, POLICIES, PROVISIONED, URL_IDS, URLS, qualified};
use crate::name::{FunctionName, LATEST};
use crate::page::Page;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AliasRow {
    pub version: String,
    pub description: String,
    pub revision: String,
    /// Another version and the part of the invocations that it gets, 0 to 1.
    pub weights: BTreeMap<String, f64>,
}

impl Stored for AliasRow {}

impl AliasRow {
    /// The version for one invocation. `chance` is uniform in 0..1.
    pub fn pick(&self, chance: f64) -> &str {
        match self.weights.iter().next() {
            Some((version, weight)) if chance < *weight => version,
            _ => &self.version,
        }
    }

    fn show(&self, name: &FunctionName, alias: &str) -> api::AliasConfiguration {
        let weights = self.weights.iter().map(|(version, weight)| (version.clone(), *weight)).collect();
        let routing = api::AliasRoutingConfiguration { additional_version_weights: Some(weights) };
        api::AliasConfiguration {
            alias_arn: Some(name.arn_of(alias)),
            name: Some(alias.to_owned()),
            function_version: Some(self.version.clone()),
            description: Some(self.description.clone()),
            routing_config: (!self.weights.is_empty()).then_some(routing),
            revision_id: Some(self.revision.clone()),
        }
    }
}

/// # Errors
/// `ResourceNotFoundException`, with AWS's sentence about aliases.
pub async fn load(reader: &impl Reader, name: &FunctionName, alias: &str) -> Result<AliasRow, LambdaError> {
    let found = ALIASES.get(reader, &qualified(&name.key(), alias)).await?;
    found.ok_or_else(|| LambdaError::no_alias(name.arn_of(alias)))
}

/// Every alias of a function.
pub async fn all(reader: &impl Reader, name: &FunctionName) -> Result<Vec<(String, AliasRow)>, LambdaError> {
    let mut range = ALIASES.under(&(name.account, &name.region, name.name.as_str()));
    let mut found = Vec::new();
    loop {
        let rows = ALIASES.scan(reader, &range, 400).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(found) };
        range = range.after(&ALIASES.key(last));
        found.extend(rows.rows.into_iter().map(|((_, _, _, alias), row)| (alias, row)));
        if !rows.more {
            return Ok(found);
        }
    }
}

/// Weights for a main version.
fn weights(
    given: Option<api::AliasRoutingConfiguration>,
    version: &str,
) -> Result<BTreeMap<String, f64>, LambdaError> {
    let given = given.and_then(|routing| routing.additional_version_weights).unwrap_or_default();
    if given.len() > 1 {
        return Err(LambdaError::invalid(
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ));
    }
    let weights: BTreeMap<String, f64> = given.0.into_iter().collect();
    for (other, weight) in &weights {
        if other == version {
            return Err(LambdaError::invalid(format!(
                "Invalid function version {version}. Function version {version} is already included in routing configuration."
            )));
        }
        if version == LATEST || other == LATEST {
            return Err(LambdaError::invalid(
                "$LATEST is not supported for an alias pointing to more than 1 version",
            ));
        }
        if !(0.0..=1.0).contains(weight) {
            return Err(LambdaError::Validation(format!(
                "Value '{{{other}={weight}}}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
            )));
        }
    }
    Ok(weights)
}

/// The versions of an alias must be there.
async fn check_versions(
    txn: &Txn,
    name: &FunctionName,
    function: &FunctionRow,
    alias: &AliasRow,
) -> Result<(), LambdaError> {
    for version in std::iter::once(&alias.version).chain(alias.weights.keys()) {
        if config_of(txn, name, function, version).await?.is_none() {
            return Err(LambdaError::no_function(name.arn_of(version)));
        }
    }
    Ok(())
}

/// `CreateAlias`
///
/// # Errors
/// `ResourceConflictException` for a name that is taken, `ResourceNotFoundException` for a version that is not there.
pub async fn create_alias(
    cx: &Cx,
    input: api::CreateAliasRequest,
) -> Result<api::AliasConfiguration, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let alias = &input.name.unwrap_or_default();
    let version = input.function_version.unwrap_or_default();
    let row = &AliasRow {
        weights: weights(input.routing_config, &version)?,
        version,
        description: input.description.unwrap_or_default(),
        revision: cx.ids().uuid(),
    };
    cx.transact(|txn| async move {
        let function = FunctionRow::load(&txn, name).await?;
        check_versions(&txn, name, &function, row).await?;
        if !ALIASES.put_if_absent(&txn, &qualified(&name.key(), alias), row).await? {
            return Err(LambdaError::ResourceConflict(format!(
                "Alias already exists: {}",
                name.arn_of(alias)
            )));
        }
        Ok(())
    })
    .await?;
    Ok(row.show(name, alias))
}

/// `GetAlias`
pub async fn get_alias(cx: &Cx, input: api::GetAliasRequest) -> Result<api::AliasConfiguration, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let alias = input.name.unwrap_or_default();
    Ok(load(cx.store(), &name, &alias).await?.show(&name, &alias))
}

/// `UpdateAlias`: what is not mentioned stays.
pub async fn update_alias(
    cx: &Cx,
    input: api::UpdateAliasRequest,
) -> Result<api::AliasConfiguration, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let (alias, input) = (&input.name.clone().unwrap_or_default(), &input);
    let row = cx
        .transact(|txn| async move {
            let mut row = load(&txn, name, alias).await?;
            if input.revision_id.as_ref().is_some_and(|revision| *revision != row.revision) {
                return Err(LambdaError::stale_revision());
            }
            if let Some(version) = &input.function_version {
                row.version.clone_from(version);
            }
            if let Some(description) = &input.description {
                row.description.clone_from(description);
            }
            let routing = match &input.routing_config {
                Some(routing) => Some(routing.clone()),
                None => Some(api::AliasRoutingConfiguration {
                    additional_version_weights: Some(
                        row.weights.iter().map(|(version, weight)| (version.clone(), *weight)).collect(),
                    ),
                }),
            };
            row.weights = weights(routing, &row.version)?;
            row.revision = cx.ids().uuid();
            let function = FunctionRow::load(&txn, name).await?;
            check_versions(&txn, name, &function, &row).await?;
            ALIASES.put(&txn, &qualified(&name.key(), alias), &row)?;
            Ok(row)
        })
        .await?;
    Ok(row.show(name, alias))
}

/// `ListAliases`: all, or those of one version.
pub async fn list_aliases(
    cx: &Cx,
    input: api::ListAliasesRequest,
) -> Result<api::ListAliasesResponse, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    FunctionRow::load(cx.store(), &name).await?;
    let page = Page::new(input.marker.as_deref(), input.max_items)?;
    let mut aliases = all(cx.store(), &name).await?;
    if let Some(version) = &input.function_version {
        aliases.retain(|(_, row)| row.version == *version || row.weights.contains_key(version));
    }
    let (aliases, next_marker) = page.cut(aliases, |(alias, _)| alias.clone());
    let aliases = aliases.iter().map(|(alias, row)| row.show(&name, alias)).collect();
    Ok(api::ListAliasesResponse { aliases: Some(aliases), next_marker })
}

/// `DeleteAlias`: one that is not there counts as deleted.
pub async fn delete_alias(cx: &Cx, input: api::DeleteAliasRequest) -> Result<Unit, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let alias = &input.name.unwrap_or_default();
    cx.transact(|txn| async move {
        let key = qualified(&name.key(), alias);
        ALIASES.delete(&txn, &key);
        POLICIES.delete(&txn, &key);
        EVENT_CONFIGS.delete(&txn, &key);
        PROVISIONED.delete(&txn, &key);
        if let Some(url) = URLS.get(&txn, &key).await? {
            URL_IDS.delete(&txn, &url.id);
            URLS.delete(&txn, &key);
        }
        Ok::<_, LambdaError>(())
    })
    .await?;
    Ok(Unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routing(pairs: &[(&str, f64)]) -> Option<api::AliasRoutingConfiguration> {
        let weights = pairs.iter().map(|(version, weight)| ((*version).to_owned(), *weight)).collect();
        Some(api::AliasRoutingConfiguration { additional_version_weights: Some(weights) })
    }

    #[test]
    fn an_alias_has_at_most_one_other_version_and_never_latest_beside_it() {
        assert!(weights(None, "1").expect("none").is_empty());
        assert_eq!(weights(routing(&[("2", 0.5)]), "1").expect("fine").get("2"), Some(&0.5));
        let cases = [
            (routing(&[("2", 0.1), ("3", 0.1)]), "1", "cannot be greater than 1"),
            (routing(&[("1", 0.1)]), "1", "already included"),
            (routing(&[("1", 0.1)]), "$LATEST", "$LATEST is not supported"),
            (routing(&[("2", 1.5)]), "1", "less than or equal to 1.0"),
            (routing(&[("2", f64::NAN)]), "1", "less than or equal to 1.0"),
        ];
        for (given, version, expected) in cases {
            let said = weights(given, version).expect_err(expected).to_string();
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn chance_picks_the_other_version_by_its_weight() {
        let alias = AliasRow {
            version: "1".into(),
            description: String::new(),
            revision: String::new(),
            weights: [("2".to_owned(), 0.25)].into(),
        };
        let picked: Vec<&str> = (0..8).map(|n| alias.pick(f64::from(n) / 8.0)).collect();
        assert_eq!(picked, ["2", "2", "1", "1", "1", "1", "1", "1"]);
        let alone = AliasRow { weights: BTreeMap::new(), ..alias };
        assert_eq!(alone.pick(0.0), "1");
    }
}
