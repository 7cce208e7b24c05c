//! `AddPermission`, `RemovePermission`: statements of the queue's policy by label.
//!
//! Source: API Reference, "AddPermission". Recorded: the statements' form and the sentences.

use pileus_api_sqs::{AddPermissionRequest, RemovePermissionRequest};
use pileus_core::AccountId;
use pileus_platform::Cx;
use pileus_wire::value::Unit;
use serde_json::{Value, json};

use crate::access;
use crate::error::SqsError;
use crate::limits;
use crate::queue::url::Address;
use crate::queue::{self, Record};
use crate::state::Sqs;

/// Actions that one account may let another take.
const ACTIONS: [&str; 23] = [
    "*",
    "AddPermission",
    "CancelMessageMoveTask",
    "ChangeMessageVisibility",
    "CreateQueue",
    "DeleteMessage",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "ListMessageMoveTasks",
    "ListQueueTags",
    "ListQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "RemovePermission",
    "SendMessage",
    "SetQueueAttributes",
    "StartMessageMoveTask",
    "TagQueue",
    "UntagQueue",
    "SendMessageBatch",
    "DeleteMessageBatch",
];

pub async fn add_permission(cx: &Cx, input: AddPermissionRequest) -> Result<Unit, SqsError> {
    let address = access::address(cx, input.queue_url.as_deref())?;
    let label = input.label.unwrap_or_default();
    let accounts = input.aws_account_ids.unwrap_or_default();
    let actions = input.actions.unwrap_or_default();
    check_label(&label)?;
    let statement = statement(&address, &label, &accounts, &actions)?;
    change(cx, &address, |policy| add(policy, &address, &label, &statement)).await
}

pub async fn remove_permission(cx: &Cx, input: RemovePermissionRequest) -> Result<Unit, SqsError> {
    let address = access::address(cx, input.queue_url.as_deref())?;
    let label = input.label.unwrap_or_default();
    change(cx, &address, |policy| remove(policy, &label)).await
}

async fn change(
    cx: &Cx,
    address: &Address,
    change: impl Fn(Option<&str>) -> Result<Option<String>, SqsError> + Sync,
) -> Result<Unit, SqsError> {
    let (sqs, change) = (cx.state::<Sqs>(), &change);
    cx.transact(|txn| async move {
        let queue = sqs.load(&txn, address).await?;
        let mut record = Record { modified_at: cx.now().as_secs(), ..queue.record.clone() };
        record.attributes.policy = change(record.attributes.policy.as_deref())?;
        queue::store(&txn, address, &record)
    })
    .await?;
    Ok(Unit)
}

fn check_label(label: &str) -> Result<(), SqsError> {
    let valid = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if valid && (1..=80).contains(&label.len()) {
        return Ok(());
    }
    let reason = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
    Err(SqsError::value(label, "Label", reason))
}

/// One value stands alone, several in a list.
fn one_or_many(mut values: Vec<String>) -> Value {
    if values.len() == 1 { Value::String(values.remove(0)) } else { values.into() }
}

fn statement(
    address: &Address,
    label: &str,
    accounts: &[String],
    actions: &[String],
) -> Result<Value, SqsError> {
    if actions.is_empty() {
        return Err(SqsError::MissingParameter("Actions"));
    }
    if accounts.is_empty() {
        return Err(SqsError::MissingParameter("AWSAccountIds"));
    }
    if actions.len() > limits::MAX_POLICY_ACTIONS {
        return Err(SqsError::OverLimit { limit: limits::MAX_POLICY_ACTIONS as u64 });
    }
    let partition = address.region.partition();
    let mut principals = Vec::new();
    for account in accounts {
        let account = AccountId::parse(account)
            .ok_or_else(|| SqsError::value(format!("[{account}]"), "PrincipalId", "Unable to verify."))?;
        principals.push(format!("arn:{partition}:iam::{account}:root"));
    }
    let mut names = Vec::new();
    for action in actions {
        if !ACTIONS.contains(&action.as_str()) {
            let reason = "Please refer to the appropriate WSDL for a list of valid actions. ";
            return Err(SqsError::value(format!("SQS:{action}"), "ActionName", reason));
        }
        names.push(format!("SQS:{action}"));
    }
    Ok(json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": { "AWS": one_or_many(principals) },
        "Action": one_or_many(names),
        "Resource": address.arn().as_str(),
    }))
}

/// The policy with the statement added.
fn add(
    policy: Option<&str>,
    address: &Address,
    label: &str,
    statement: &Value,
) -> Result<Option<String>, SqsError> {
    let empty = || json!({ "Version": "2008-10-17", "Id": format!("{}/SQSDefaultPolicy", address.arn()), "Statement": [] });
    let mut policy = policy.map_or_else(empty, |text| serde_json::from_str(text).unwrap_or_else(|_| empty()));
    let mut statements = statements(&policy);
    if statements.iter().any(|statement| statement.get("Sid").is_some_and(|sid| sid == label)) {
        return Err(SqsError::value(label, "Label", "Already exists."));
    }
    if statements.len() >= limits::MAX_POLICY_STATEMENTS {
        return Err(SqsError::OverLimit { limit: limits::MAX_POLICY_STATEMENTS as u64 });
    }
    statements.push(statement.clone());
    policy["Statement"] = statements.into();
    Ok(Some(policy.to_string()))
}

/// The policy without the statement; none when it was the last.
fn remove(policy: Option<&str>, label: &str) -> Result<Option<String>, SqsError> {
    let mut policy: Value =
        policy.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| json!({}));
    let mut statements = statements(&policy);
    let before = statements.len();
    statements.retain(|statement| statement.get("Sid").is_none_or(|sid| sid != label));
    if statements.len() == before {
        return Err(SqsError::value(label, "Label", "can't find label."));
    }
    if statements.is_empty() {
        return Ok(None);
    }
    policy["Statement"] = statements.into();
    Ok(Some(policy.to_string()))
}

fn statements(policy: &Value) -> Vec<Value> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(statement @ Value::Object(_)) => vec![statement.clone()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::Arn;

    fn queue() -> Address {
        let arn = Arn::parse("arn:aws:sqs:us-east-1:123456789012:jobs").expect("an ARN");
        Address::from_arn(&arn).expect("a queue's")
    }

    fn texts(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn statements_come_and_go_by_label() {
        let one =
            statement(&queue(), "one", &texts(&["210987654321"]), &texts(&["SendMessage"])).expect("valid");
        assert_eq!(one["Principal"]["AWS"], "arn:aws:iam::210987654321:root");
        assert_eq!(one["Action"], "SQS:SendMessage");
        let policy = add(None, &queue(), "one", &one).expect("added");
        let parsed: Value = serde_json::from_str(policy.as_deref().expect("a policy")).expect("JSON");
        assert_eq!(parsed["Version"], "2008-10-17");
        assert_eq!(parsed["Id"], "arn:aws:sqs:us-east-1:123456789012:jobs/SQSDefaultPolicy");
        let again = add(policy.as_deref(), &queue(), "one", &one).expect_err("taken").to_string();
        assert_eq!(again, "Value one for parameter Label is invalid. Reason: Already exists.");
        let two = statement(&queue(), "two", &texts(&["210987654321", "123456789012"]), &texts(&["*"]))
            .expect("valid");
        let policy = add(policy.as_deref(), &queue(), "two", &two).expect("added");
        assert!(pileus_iam::Policy::parse(policy.as_deref().expect("a policy")).is_ok());
        let policy = remove(policy.as_deref(), "one").expect("removed");
        let missing = remove(policy.as_deref(), "one").expect_err("gone").to_string();
        assert_eq!(missing, "Value one for parameter Label is invalid. Reason: can't find label.");
        assert_eq!(remove(policy.as_deref(), "two").expect("removed"), None);
    }

    #[test]
    fn accounts_actions_and_labels_are_checked() {
        let cases = [
            (
                vec!["x"],
                vec!["SendMessage"],
                "Value [x] for parameter PrincipalId is invalid. Reason: Unable to verify.",
            ),
            (vec!["123456789012"], vec!["Fly"], "Value SQS:Fly for parameter ActionName is invalid."),
            (vec!["123456789012"], vec![], "parameter Actions"),
            (vec![], vec!["SendMessage"], "parameter AWSAccountIds"),
        ];
        for (accounts, actions, expected) in cases {
            let error = statement(&queue(), "l", &texts(&accounts), &texts(&actions))
                .expect_err(expected)
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(check_label("a-b_1").is_ok() && check_label("").is_err() && check_label("a b").is_err());
    }
}
