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

/// ARN and unique id of the users and roles that a trust policy names: it may name only such as there are.
///
/// # Errors
/// `MalformedPolicyDocument`, naming the first principal that does not exist.
pub async fn principals(txn: &Txn, document: &str) -> Result<Vec<(String, String)>, IamError> {
    let mut known = Vec::new();
    for principal in named_principals(document) {
        let Some(named) = names::parse_arn(&principal) else { continue };
        let Some(account) = named.account else { continue };
        let key = (account, names::key(&named.name));
        let found = match named.kind.as_str() {
            kind if kind == Kind::User.word() => USERS.get(txn, &key).await?.map(|row| (row.path, row.id)),
            kind if kind == Kind::Role.word() => ROLES.get(txn, &key).await?.map(|row| (row.path, row.id)),
            _ => continue,
        };
        match found {
            Some((path, id)) if path == named.path => known.push((principal, id)),
            _ => {
                let text = format!("Invalid principal in policy: \"AWS\":\"{principal}\"");
                return Err(IamError::MalformedPolicyDocument(text));
            }
        }
    }
    Ok(known)
}

/// The document with some of its principals said in another way: `(as written, instead)`.
pub fn with_principals(document: &str, instead: &[(String, String)]) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(document) else { return document.to_owned() };
    let statements = value.get_mut("Statement").into_iter().flat_map(items_mut);
    let elements = statements.flat_map(|statement| {
        let object = statement.as_object_mut().into_iter().flat_map(|object| object.iter_mut());
        object.filter(|(name, _)| matches!(name.as_str(), "Principal" | "NotPrincipal"))
    });
    for principal in elements.filter_map(|(_, value)| value.get_mut("AWS")).flat_map(items_mut) {
        if let Some((_, other)) = instead.iter().find(|(written, _)| principal.as_str() == Some(written)) {
            *principal = Value::String(other.clone());
        }
    }
    value.to_string()
}

fn items_mut(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    match value {
        Value::Array(items) => items.iter_mut(),
        single => std::slice::from_mut(single).iter_mut(),
    }
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
    fn principals_are_replaced_where_they_are_principals_and_nowhere_else() {
        let of = |principal: &str| {
            format!(
                r#"{{"Statement":[{{"Principal":{{"AWS":{principal}}},"Condition":{{"StringEquals":{{"a":"x"}}}}}}]}}"#
            )
        };
        let instead = [("x".to_owned(), "y".to_owned())];
        for (before, after) in [(r#""x""#, r#""y""#), (r#"["x","z"]"#, r#"["y","z"]"#), (r#""z""#, r#""z""#)]
        {
            assert_eq!(with_principals(&of(before), &instead), of(after));
        }
        let single = r#"{"Statement":{"NotPrincipal":{"AWS":"x"},"Resource":"x"}}"#;
        assert_eq!(
            with_principals(single, &instead),
            r#"{"Statement":{"NotPrincipal":{"AWS":"y"},"Resource":"x"}}"#
        );
        assert_eq!(with_principals("no document", &instead), "no document");
    }

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
