//! Saved queries: `PutQueryDefinition`, `DeleteQueryDefinition`, `DescribeQueryDefinitions`.
//!
//! Source: CloudWatch Logs API Reference, "PutQueryDefinition".

use pileus_api_logs::{
    DeleteQueryDefinitionRequest, DeleteQueryDefinitionResponse, DescribeQueryDefinitionsRequest,
    DescribeQueryDefinitionsResponse, PutQueryDefinitionRequest, PutQueryDefinitionResponse, QueryDefinition,
    query_language,
};
use pileus_platform::Cx;
use pileus_store::Stored;
use serde::{Deserialize, Serialize};

use super::job::check_language;
use crate::error::LogsError;
use crate::keys::DEFINITIONS;
use crate::limits::MAX_QUERY_DEFINITIONS;
use crate::page;
use crate::state::millis;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DefinitionRecord {
    pub name: String,
    pub query: String,
    pub groups: Vec<String>,
    pub modified_at: i64,
    /// The token that made it, so that the same request makes no second one.
    #[serde(default)]
    pub client_token: Option<String>,
}

impl Stored for DefinitionRecord {}

fn missing() -> LogsError {
    LogsError::NotFound("The specified query definition does not exist.".to_owned())
}

pub async fn put_query_definition(
    cx: &Cx,
    input: PutQueryDefinitionRequest,
) -> Result<PutQueryDefinitionResponse, LogsError> {
    check_language(input.query_language.as_deref())?;
    if input.parameters.is_some_and(|parameters| !parameters.is_empty()) {
        return Err(LogsError::lacking("parameters of saved queries"));
    }
    let record = &DefinitionRecord {
        name: input.name.unwrap_or_default(),
        query: input.query_string.unwrap_or_default(),
        groups: input.log_group_names.unwrap_or_default(),
        modified_at: millis(cx.now()),
        client_token: input.client_token,
    };
    let (account, region) = (cx.account(), cx.region());
    let (given, fresh) = (&input.query_definition_id, &cx.ids().uuid());
    let id = cx
        .transact(|txn| async move {
            let rows = DEFINITIONS
                .scan(&txn, &DEFINITIONS.under(&(account, region)), MAX_QUERY_DEFINITIONS)
                .await?
                .rows;
            let id = match given {
                Some(given) if rows.iter().any(|((_, _, id), _)| id == given) => given.clone(),
                Some(_) => return Err(missing()),
                None => {
                    let token = record.client_token.as_ref();
                    let same =
                        |other: &DefinitionRecord| token.is_some() && other.client_token.as_ref() == token;
                    if let Some(((_, _, id), _)) = rows.iter().find(|(_, other)| same(other)) {
                        return Ok(id.clone());
                    }
                    if rows.len() >= MAX_QUERY_DEFINITIONS {
                        return Err(LogsError::LimitExceeded);
                    }
                    fresh.clone()
                }
            };
            DEFINITIONS.put(&txn, &(account, region, id.as_str()), record)?;
            Ok(id)
        })
        .await?;
    Ok(PutQueryDefinitionResponse { query_definition_id: Some(id) })
}

pub async fn delete_query_definition(
    cx: &Cx,
    input: DeleteQueryDefinitionRequest,
) -> Result<DeleteQueryDefinitionResponse, LogsError> {
    let id = input.query_definition_id.unwrap_or_default();
    let key = &(cx.account(), cx.region(), id.as_str());
    cx.transact(|txn| async move {
        DEFINITIONS.get(&txn, key).await?.ok_or_else(missing)?;
        DEFINITIONS.delete(&txn, key);
        Ok::<_, LogsError>(())
    })
    .await?;
    Ok(DeleteQueryDefinitionResponse { success: Some(true) })
}

pub async fn describe_query_definitions(
    cx: &Cx,
    input: DescribeQueryDefinitionsRequest,
) -> Result<DescribeQueryDefinitionsResponse, LogsError> {
    check_language(input.query_language.as_deref())?;
    let (account, region) = (cx.account(), cx.region());
    let range = DEFINITIONS.under(&(account, region));
    let rows = DEFINITIONS.scan(cx.store(), &range, MAX_QUERY_DEFINITIONS).await?.rows;
    let prefix = input.query_definition_name_prefix.unwrap_or_default();
    let mut found: Vec<(String, DefinitionRecord)> = rows
        .into_iter()
        .filter(|(_, record)| record.name.starts_with(&prefix))
        .map(|((_, _, id), record)| (id, record))
        .collect();
    let place = |(id, record): &(String, DefinitionRecord)| format!("{}\n{id}", record.name);
    found.sort_by_cached_key(place);
    if let Some(after) = page::read(input.next_token.as_deref())? {
        found.retain(|definition| place(definition) > after);
    }
    let most = input.max_results.and_then(|most| usize::try_from(most).ok()).unwrap_or(1_000);
    let more = found.len() > most;
    found.truncate(most);
    let next_token = page::next(more, found.last().map(place).as_deref());
    let definitions = found.into_iter().map(|(id, record)| QueryDefinition {
        query_language: Some(query_language::CWLI.to_owned()),
        query_definition_id: Some(id),
        name: Some(record.name),
        query_string: Some(record.query),
        last_modified: Some(record.modified_at),
        log_group_names: Some(record.groups),
        parameters: None,
    });
    Ok(DescribeQueryDefinitionsResponse { query_definitions: Some(definitions.collect()), next_token })
}
