//! `AddPermission`, `RemovePermission`: statements of the topic's policy by label.
//!
//! Source: Amazon SNS API Reference, the two operations. Recorded: the form of the statements and the sentences.

use pileus_api_sns as api;
use pileus_core::AccountId;
use pileus_platform::Cx;
use pileus_wire::value::Unit;
use serde_json::{Value, json};

use super::attributes::{default_policy, statements};
use super::{Address, change};
use crate::error::SnsError;

const ACTIONS: [&str; 9] = [
    "GetTopicAttributes",
    "SetTopicAttributes",
    "AddPermission",
    "RemovePermission",
    "DeleteTopic",
    "Subscribe",
    "ListSubscriptionsByTopic",
    "Publish",
    "Receive",
];

pub async fn add_permission(cx: &Cx, input: api::AddPermissionInput) -> Result<Unit, SnsError> {
    let address = &Address::parse(input.topic_arn.as_deref())?;
    let label = input.label.unwrap_or_default();
    let accounts = input.aws_account_id.unwrap_or_default();
    let actions = input.action_name.unwrap_or_default();
    let statement = &statement(address, &label, &accounts, &actions)?;
    change(cx, address, |_, record| {
        let policy = record.attributes.policy.clone().unwrap_or_else(|| default_policy(address));
        record.attributes.policy = Some(add(&policy, &label, statement)?);
        Ok(())
    })
    .await?;
    Ok(Unit)
}

pub async fn remove_permission(cx: &Cx, input: api::RemovePermissionInput) -> Result<Unit, SnsError> {
    let address = &Address::parse(input.topic_arn.as_deref())?;
    let label = input.label.unwrap_or_default();
    change(cx, address, |_, record| {
        let policy = record.attributes.policy.clone().unwrap_or_else(|| default_policy(address));
        record.attributes.policy =
            Some(remove(&policy, &label)?).filter(|policy| *policy != default_policy(address));
        Ok(())
    })
    .await?;
    Ok(Unit)
}

fn one_or_many(mut values: Vec<String>) -> Value {
    if values.len() == 1 { Value::String(values.remove(0)) } else { values.into() }
}

fn statement(
    address: &Address,
    label: &str,
    accounts: &[String],
    actions: &[String],
) -> Result<Value, SnsError> {
    if label.is_empty() || accounts.is_empty() || actions.is_empty() {
        return Err(SnsError::invalid("Policy statement must have a label, accounts and actions"));
    }
    let partition = address.region.partition();
    let mut principals = Vec::new();
    for account in accounts {
        let account = AccountId::parse(account)
            .ok_or_else(|| SnsError::reason("AWSAccountId", format!("{account} is not an account")))?;
        principals.push(format!("arn:{partition}:iam::{account}:root"));
    }
    let mut names = Vec::new();
    for action in actions {
        if !ACTIONS.contains(&action.as_str()) {
            return Err(SnsError::invalid("Policy statement action out of service scope!"));
        }
        names.push(format!("SNS:{action}"));
    }
    Ok(json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": { "AWS": one_or_many(principals) },
        "Action": one_or_many(names),
        "Resource": address.arn().as_str(),
    }))
}

fn add(policy: &str, label: &str, statement: &Value) -> Result<String, SnsError> {
    let mut policy: Value = serde_json::from_str(policy).unwrap_or_else(|_| json!({}));
    let mut statements = statements(&policy);
    if statements.iter().any(|statement| statement.get("Sid").is_some_and(|sid| sid == label)) {
        return Err(SnsError::invalid("Statement already exists"));
    }
    statements.push(statement.clone());
    policy["Statement"] = statements.into();
    Ok(policy.to_string())
}

/// What is not there is removed as well.
fn remove(policy: &str, label: &str) -> Result<String, SnsError> {
    let mut policy: Value = serde_json::from_str(policy).unwrap_or_else(|_| json!({}));
    let mut statements = statements(&policy);
    statements.retain(|statement| statement.get("Sid").is_none_or(|sid| sid != label));
    policy["Statement"] = statements.into();
    Ok(policy.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_come_and_go_by_label() {
        let address = Address::from_arn("arn:aws:sns:us-east-1:123456789012:t").unwrap();
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let one = statement(&address, "one", &texts(&["210987654321"]), &texts(&["Publish"])).unwrap();
        assert_eq!(one["Principal"]["AWS"], "arn:aws:iam::210987654321:root");
        assert_eq!(one["Action"], "SNS:Publish");
        let policy = add(&default_policy(&address), "one", &one).unwrap();
        assert!(pileus_iam::Policy::parse(&policy).is_ok());
        assert!(add(&policy, "one", &one).is_err());
        assert_eq!(remove(&policy, "one").unwrap(), default_policy(&address));
        for (accounts, actions) in
            [(vec!["x"], vec!["Publish"]), (vec!["210987654321"], vec!["Fly"]), (vec![], vec!["Publish"])]
        {
            assert!(statement(&address, "l", &texts(&accounts), &texts(&actions)).is_err());
        }
    }
}
