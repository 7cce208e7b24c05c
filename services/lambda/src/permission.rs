//! Resource policies: `AddPermission`, `RemovePermission`, `GetPolicy`, and what authorisation reads of them.
//!
//! Source: AWS Lambda API Reference, "AddPermission"; Lambda Developer Guide, "Working with resource-based IAM policies in Lambda".
//! Recorded: the statements' form and the sentences.

use std::sync::Arc;

use pileus_api_lambda as api;
use pileus_core::AccountId;
use pileus_iam::Policy;
use pileus_platform::{Cx, Fault, ResourcePolicy};
use pileus_store::{Reader, StoreError, Stored};
use pileus_wire::value::Unit;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::LambdaError;
use crate::function::resolve;
use crate::keys::{LAYER_VERSIONS, POLICIES, QualifiedKey, qualified};
use crate::name::{FunctionName, LATEST, LayerName, Qualifier};
use crate::{alias, state};

/// Source: "Lambda quotas" (function resource-based policy).
const MAX_POLICY: usize = 20_480;

/// A resource's policy: its statements in the order in which they were added.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PolicyRow {
    pub revision: String,
    /// Sid, and the statement as JSON.
    pub statements: Vec<(String, String)>,
}

impl Stored for PolicyRow {}

impl PolicyRow {
    pub fn document(&self) -> String {
        let statements: Vec<&str> = self.statements.iter().map(|(_, statement)| statement.as_str()).collect();
        format!(r#"{{"Version":"2012-10-17","Id":"default","Statement":[{}]}}"#, statements.join(","))
    }

    /// # Errors
    /// `ResourceConflictException` for a label that is taken; `PolicyLengthExceededException`.
    pub fn add(&mut self, sid: &str, statement: &Value) -> Result<(), LambdaError> {
        if self.statements.iter().any(|(taken, _)| taken == sid) {
            return Err(LambdaError::ResourceConflict(format!(
                "The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing statement."
            )));
        }
        self.statements.push((sid.to_owned(), statement.to_string()));
        match self.document().len() {
            size if size > MAX_POLICY => Err(LambdaError::PolicyLengthExceeded { size }),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// `ResourceNotFoundException`
    pub fn remove(&mut self, sid: &str) -> Result<(), LambdaError> {
        let before = self.statements.len();
        self.statements.retain(|(label, _)| label != sid);
        if self.statements.len() == before {
            return Err(LambdaError::ResourceNotFound(format!(
                "Statement {sid} is not found in resource policy."
            )));
        }
        Ok(())
    }

    /// # Errors
    /// `PreconditionFailedException`
    pub fn check_revision(&self, revision: Option<&str>) -> Result<(), LambdaError> {
        match revision {
            Some(revision) if revision != self.revision => Err(LambdaError::PreconditionFailed(
                "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// `Principal` of a statement.
pub fn principal(text: &str, partition: &str) -> Result<Value, LambdaError> {
    let invalid = || {
        LambdaError::invalid("The provided principal was invalid. Please check the principal and try again.")
    };
    if text == "*" {
        return Ok(json!("*"));
    }
    if let Some(account) = AccountId::parse(text) {
        return Ok(json!({ "AWS": format!("arn:{partition}:iam::{account}:root") }));
    }
    if text.starts_with("arn:") {
        return Ok(json!({ "AWS": text }));
    }
    let is_service = text.contains('.') && text.split('.').all(|label| !label.is_empty());
    if is_service { Ok(json!({ "Service": text })) } else { Err(invalid()) }
}

fn statement(
    input: &api::AddPermissionRequest,
    resource: &str,
    partition: &str,
) -> Result<Value, LambdaError> {
    let action = input.action.as_deref().unwrap_or_default();
    let is_url_action = action == "lambda:InvokeFunctionUrl";
    if input.function_url_auth_type.is_some() && !is_url_action {
        return Err(LambdaError::invalid(
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ));
    }
    let (mut equals, mut like, mut bool) = (Map::new(), Map::new(), Map::new());
    let pairs = [
        ("AWS:SourceAccount", &input.source_account),
        ("aws:PrincipalOrgID", &input.principal_org_id),
        ("lambda:EventSourceToken", &input.event_source_token),
        ("lambda:FunctionUrlAuthType", &input.function_url_auth_type),
    ];
    for (key, value) in pairs {
        if let Some(value) = value {
            equals.insert(key.to_owned(), json!(value));
        }
    }
    if let Some(arn) = &input.source_arn {
        like.insert("AWS:SourceArn".to_owned(), json!(arn));
    }
    if input.invoked_via_function_url == Some(true) {
        bool.insert("lambda:InvokedViaFunctionUrl".to_owned(), json!("true"));
    }
    let mut conditions = Map::new();
    for (operator, keys) in [("StringEquals", equals), ("ArnLike", like), ("Bool", bool)] {
        if !keys.is_empty() {
            conditions.insert(operator.to_owned(), Value::Object(keys));
        }
    }
    let mut statement = json!({
        "Sid": input.statement_id.as_deref().unwrap_or_default(),
        "Effect": "Allow",
        "Principal": principal(input.principal.as_deref().unwrap_or_default(), partition)?,
        "Action": action,
        "Resource": resource,
    });
    if !conditions.is_empty() {
        statement["Condition"] = Value::Object(conditions);
    }
    Ok(statement)
}

/// Which policy a request is about: the function's own or one of a version or an alias, which must be there.
async fn target(
    reader: &impl Reader,
    cx: &Cx,
    name: Option<&str>,
    qualifier: Option<&str>,
) -> Result<(FunctionName, QualifiedKey), LambdaError> {
    let name = FunctionName::parse(cx, name, qualifier)?;
    match Qualifier::read(name.qualifier.as_deref()) {
        Qualifier::Latest if name.qualifier.as_deref() == Some(LATEST) => {
            return Err(LambdaError::invalid("We currently do not support adding policies for $LATEST."));
        }
        Qualifier::Alias(label) => {
            alias::load(reader, &name, label).await?;
        }
        Qualifier::Latest | Qualifier::Version(_) => {
            resolve(reader, &name).await?;
        }
    }
    let key = qualified(&name.key(), name.qualifier.as_deref().unwrap_or_default());
    Ok((name, key))
}

/// `AddPermission`
///
/// # Errors
/// `InvalidParameterValueException` for a principal that is none; `ResourceConflictException`; `ResourceNotFoundException`.
pub async fn add_permission(
    cx: &Cx,
    input: api::AddPermissionRequest,
) -> Result<api::AddPermissionResponse, LambdaError> {
    let input = &input;
    let added = cx
        .transact(|txn| async move {
            let (name, key) =
                target(&txn, cx, input.function_name.as_deref(), input.qualifier.as_deref()).await?;
            let statement = statement(input, &name.qualified_arn(), name.region.partition())?;
            let mut row = POLICIES.get(&txn, &key).await?.unwrap_or_default();
            row.check_revision(input.revision_id.as_deref())?;
            row.add(input.statement_id.as_deref().unwrap_or_default(), &statement)?;
            row.revision = cx.ids().uuid();
            check_document(&row)?;
            POLICIES.put(&txn, &key, &row)?;
            Ok::<_, LambdaError>(statement)
        })
        .await?;
    Ok(api::AddPermissionResponse { statement: Some(added.to_string()) })
}

/// What authorisation could not read must not be stored.
pub fn check_document(row: &PolicyRow) -> Result<(), LambdaError> {
    Policy::parse(&row.document()).map(|_| ()).map_err(|error| LambdaError::invalid(error.to_string()))
}

/// `RemovePermission`
pub async fn remove_permission(cx: &Cx, input: api::RemovePermissionRequest) -> Result<Unit, LambdaError> {
    let input = &input;
    cx.transact(|txn| async move {
        let (_, key) = target(&txn, cx, input.function_name.as_deref(), input.qualifier.as_deref()).await?;
        let found = POLICIES.get(&txn, &key).await?;
        let mut row = found.ok_or_else(|| {
            LambdaError::ResourceNotFound("No policy is associated with the given resource.".to_owned())
        })?;
        row.check_revision(input.revision_id.as_deref())?;
        row.remove(input.statement_id.as_deref().unwrap_or_default())?;
        row.revision = cx.ids().uuid();
        match row.statements.is_empty() {
            true => POLICIES.delete(&txn, &key),
            false => POLICIES.put(&txn, &key, &row)?,
        }
        Ok::<_, LambdaError>(())
    })
    .await?;
    Ok(Unit)
}

/// `GetPolicy`
pub async fn get_policy(
    cx: &Cx,
    input: api::GetPolicyRequest,
) -> Result<api::GetPolicyResponse, LambdaError> {
    let name = input.function_name.as_deref();
    let (_, key) = target(cx.store(), cx, name, input.qualifier.as_deref()).await?;
    let row = POLICIES.get(cx.store(), &key).await?.ok_or_else(LambdaError::not_there)?;
    Ok(api::GetPolicyResponse { policy: Some(row.document()), revision_id: Some(row.revision) })
}

/// The policy of the function, version, alias or layer version with this ARN.
pub async fn resource_policy(cx: &Cx, arn: &str) -> Result<Option<ResourcePolicy>, Fault> {
    let found = find(cx, arn).await.map_err(LambdaError::from)?;
    let Some(row) = found.filter(|row| !row.statements.is_empty()) else { return Ok(None) };
    let policy = state::policy(cx, &row)?;
    Ok(Some(ResourcePolicy { name: arn.into(), policy, must_allow: false }))
}

async fn find(cx: &Cx, arn: &str) -> Result<Option<PolicyRow>, StoreError> {
    if let Some(name) = FunctionName::from_arn(arn) {
        let key = qualified(&name.key(), name.qualifier.as_deref().unwrap_or_default());
        return POLICIES.get(cx.store(), &key).await;
    }
    let Some(LayerName { account, region, name, version: Some(version) }) = LayerName::from_arn(arn) else {
        return Ok(None);
    };
    let row = LAYER_VERSIONS.get(cx.store(), &(account, region, name, version)).await?;
    Ok(row.map(|row| row.policy))
}

/// A parsed policy.
///
/// # Errors
/// A fault of ours: what is stored was checked before.
pub fn parse(row: &PolicyRow) -> Result<Arc<Policy>, LambdaError> {
    let parsed = Policy::parse(&row.document());
    parsed.map(Arc::new).map_err(|error| LambdaError::Internal(format!("a stored policy: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> api::AddPermissionRequest {
        api::AddPermissionRequest {
            statement_id: Some("s".into()),
            action: Some("lambda:InvokeFunction".into()),
            principal: Some("s3.amazonaws.com".into()),
            ..Default::default()
        }
    }

    #[test]
    fn a_statement_has_the_form_that_aws_writes() {
        let input = api::AddPermissionRequest {
            source_arn: Some("arn:aws:s3:::b".into()),
            source_account: Some("123456789012".into()),
            ..request()
        };
        let got = statement(&input, "arn:f", "aws").expect("fine").to_string();
        assert_eq!(
            got,
            r#"{"Sid":"s","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn:f","Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}}"#
        );
        let url = api::AddPermissionRequest { function_url_auth_type: Some("NONE".into()), ..request() };
        assert!(statement(&url, "arn:f", "aws").is_err(), "only for the action of URLs");
    }

    #[test]
    fn a_principal_is_everyone_an_account_an_arn_or_a_service() {
        let cases = [
            ("*", Some(json!("*"))),
            ("123456789012", Some(json!({"AWS": "arn:aws:iam::123456789012:root"}))),
            ("arn:aws:iam::123456789012:role/r", Some(json!({"AWS": "arn:aws:iam::123456789012:role/r"}))),
            ("events.amazonaws.com", Some(json!({"Service": "events.amazonaws.com"}))),
            ("nobody", None),
            ("", None),
            ("a..b", None),
        ];
        for (text, expected) in cases {
            assert_eq!(principal(text, "aws").ok(), expected, "{text}");
        }
    }

    #[test]
    fn statements_come_and_go_by_label() {
        let mut row = PolicyRow::default();
        let one = statement(&request(), "arn:f", "aws").expect("fine");
        row.add("s", &one).expect("added");
        assert!(matches!(row.add("s", &one), Err(LambdaError::ResourceConflict(_))));
        assert!(check_document(&row).is_ok());
        assert!(matches!(row.remove("t"), Err(LambdaError::ResourceNotFound(_))));
        row.remove("s").expect("removed");
        assert!(row.statements.is_empty());
    }
}
