//! Policy documents on their way in.

use pileus_core::Arn;
use pileus_iam::DocumentKind;
use pileus_store::Txn;
use serde_json::Value;

use crate::error::IamError;
use crate::holder::Kind;
use crate::keys::{ROLES, USERS};
use crate::names;

/// # Errors
/// `MalformedPolicyDocument`, in the engine's words, which are AWS's.
pub fn check(kind: DocumentKind, document: &str) -> Result<(), IamError> {
    pileus_iam::validate(document, kind).map_err(|error| IamError::MalformedPolicyDocument(error.to_string()))
}

/// A trust policy may name only users and roles that there are.
///
/// # Errors
/// `MalformedPolicyDocument`, naming the first principal that does not exist.
pub async fn check_principals(txn: &Txn, document: &str) -> Result<(), IamError> {
    for principal in named_principals(document) {
        if !exists(txn, &principal).await? {
            let text = format!("Invalid principal in policy: \"AWS\":\"{principal}\"");
            return Err(IamError::MalformedPolicyDocument(text));
        }
    }
    Ok(())
}

async fn exists(txn: &Txn, principal: &str) -> Result<bool, IamError> {
    let Some(named) = names::parse_arn(principal) else { return Ok(true) };
    let Some(account) = named.account else { return Ok(true) };
    let key = (account, names::key(&named.name));
    let path = match named.kind.as_str() {
        kind if kind == Kind::User.word() => USERS.get(txn, &key).await?.map(|row| row.path),
        kind if kind == Kind::Role.word() => ROLES.get(txn, &key).await?.map(|row| row.path),
        _ => return Ok(true),
    };
    Ok(path.is_some_and(|path| path == named.path))
}

/// The ARNs under `Principal.AWS` of all statements.
fn named_principals(document: &str) -> Vec<String> {
    let Ok(document) = serde_json::from_str::<Value>(document) else { return Vec::new() };
    let mut found = Vec::new();
    for statement in items(&document["Statement"]) {
        for element in ["Principal", "NotPrincipal"] {
            let named = items(&statement[element]["AWS"]).filter_map(Value::as_str);
            found.extend(named.filter(|text| Arn::parse(text).is_ok()).map(str::to_owned));
        }
    }
    found
}

/// The elements of a list, or the value itself as the only one; nothing for an absent value.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(items) => items.iter(),
        Value::Null => [].iter(),
        single => std::slice::from_ref(single).iter(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_principals_of_a_document_are_its_arns() {
        let cases = [
            (r#"{"Statement":{"Principal":{"AWS":"arn:aws:iam::123456789012:role/r"}}}"#, 1),
            (
                r#"{"Statement":[{"Principal":{"AWS":["arn:aws:iam::123456789012:user/u","123456789012"]}}]}"#,
                1,
            ),
            (r#"{"Statement":[{"Principal":"*"},{"Principal":{"Service":"lambda.amazonaws.com"}}]}"#, 0),
            ("not json", 0),
        ];
        for (document, expected) in cases {
            assert_eq!(named_principals(document).len(), expected, "{document}");
        }
    }
}
