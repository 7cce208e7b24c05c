//! Why a request was refused, as a text that only its reader's own cloud can open: what `DecodeAuthorizationMessage` decodes.
//!
//! Source: STS API Reference, "DecodeAuthorizationMessage"; AWS CLI Command Reference, "sts decode-authorization-message".

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pileus_core::Rng;
use pileus_iam::{Because, Decision, Request, Verdict};
use serde_json::{Value, json};

use crate::session::{Purpose, Sealer};

/// An encoded message may have 10,240 characters; four carry three bytes, and sealing takes some.
const MAX_PLAIN_BYTES: usize = 10_240 / 4 * 3 - 64;

/// The refusal as a sealed text. `user_id` is the principal's unique id.
pub(crate) fn encode(
    sealer: &Sealer,
    rng: &dyn Rng,
    request: &Request<'_>,
    verdict: &Verdict,
    user_id: &str,
) -> String {
    let mut conditions = conditions(request);
    let plain = loop {
        let plain = describe(request, verdict, user_id, &conditions).to_string();
        // Chosen: condition keys that do not fit are left out, from the end.
        if plain.len() <= MAX_PLAIN_BYTES || conditions.pop().is_none() {
            break plain;
        }
    };
    URL_SAFE_NO_PAD.encode(sealer.lock(Purpose::AuthorizationMessage, plain.into_bytes(), rng))
}

impl Sealer {
    /// What an encoded authorization message says: a JSON document. `None` for what this cloud did not encode.
    pub fn decode_authorization_message(&self, encoded: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(encoded.trim()).ok()?;
        String::from_utf8(self.unlock(Purpose::AuthorizationMessage, sealed)?).ok()
    }
}

fn describe(request: &Request<'_>, verdict: &Verdict, user_id: &str, conditions: &[Value]) -> Value {
    json!({
        "allowed": false,
        "explicitDeny": verdict.decision == Decision::ExplicitlyDenied,
        "matchedStatements": { "items": Vec::from_iter(matched(request, verdict, user_id)) },
        "failures": { "items": [] },
        "context": {
            "principal": { "id": user_id, "arn": request.principal.arn() },
            "action": request.action,
            "resource": request.resource,
            "conditions": { "items": conditions },
        },
    })
}

/// The statement that denies.
///
/// Chosen: it shows the action and the resource that it matched, where AWS shows the patterns that matched them.
fn matched(request: &Request<'_>, verdict: &Verdict, user_id: &str) -> Option<Value> {
    let Because::Statement(deciding) = &verdict.because else { return None };
    let one = |value: &str| json!({ "items": [{ "value": value }] });
    Some(json!({
        "statementId": deciding.sid().unwrap_or_default(),
        "effect": "DENY",
        // The id of a session ends in the session's name; statements are about the role.
        "principals": one(user_id.split(':').next().unwrap_or_default()),
        "principalGroups": { "items": [] },
        "actions": one(request.action),
        "resources": one(request.resource),
        "conditions": { "items": [] },
    }))
}

fn conditions(request: &Request<'_>) -> Vec<Value> {
    let item = |(key, values): (&str, &[String])| {
        let values: Vec<Value> = values.iter().map(|value| json!({ "value": value })).collect();
        json!({ "key": key, "values": { "items": values } })
    };
    request.context.iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use pileus_core::{AccountId, SeededRng};
    use pileus_iam::{Context, Named, Policies, Policy, Principal, Scope, evaluate};

    const USER: &str = "arn:aws:iam::000000000000:user/ann";

    fn encoded(policy: &str, context: &Context) -> (String, Value) {
        let principal = Principal::user(AccountId::DEFAULT, USER);
        let request = Request {
            principal: &principal,
            action: "ec2:RunInstances",
            resource: "*",
            resource_account: Some(AccountId::DEFAULT),
            context,
            scope: Scope::Exactly,
        };
        let identity = [Named::new("own", Arc::new(Policy::parse(policy).unwrap()))];
        let verdict = evaluate(&request, &Policies { identity: &identity, ..Policies::default() });
        let sealer = Sealer::new(&[7; 32]);
        let text = encode(&sealer, &SeededRng::new(1), &request, &verdict, "AIDAANN");
        let decoded = sealer.decode_authorization_message(&text).unwrap();
        assert_eq!(Sealer::new(&[8; 32]).decode_authorization_message(&text), None, "another cloud's");
        (text, serde_json::from_str(&decoded).unwrap())
    }

    #[test]
    fn a_refusal_tells_who_what_and_which_statement() {
        let mut context = Context::new();
        context.insert("aws:SourceIp", "10.0.0.1");
        let deny = r#"{"Statement":[{"Sid":"No","Effect":"Deny","Action":"ec2:*","Resource":"*"}]}"#;
        let (_, denied) = encoded(deny, &context);
        assert_eq!((&denied["allowed"], &denied["explicitDeny"]), (&json!(false), &json!(true)));
        assert_eq!(denied["matchedStatements"]["items"][0]["statementId"], "No");
        assert_eq!(denied["context"]["principal"], json!({ "id": "AIDAANN", "arn": USER }));
        assert_eq!(
            (&denied["context"]["action"], &denied["context"]["resource"]),
            (&json!("ec2:RunInstances"), &json!("*"))
        );
        let source_ip = json!({ "key": "aws:sourceip", "values": { "items": [{ "value": "10.0.0.1" }] } });
        assert_eq!(denied["context"]["conditions"]["items"], json!([source_ip]));

        let (_, nothing) = encoded(r#"{"Statement":[]}"#, &context);
        assert_eq!(nothing["explicitDeny"], false);
        assert_eq!(nothing["matchedStatements"]["items"], json!([]));
    }

    #[test]
    fn a_message_is_never_longer_than_can_be_decoded() {
        let mut context = Context::new();
        for tag in 0..50 {
            context.insert(&format!("aws:PrincipalTag/{tag}"), "v".repeat(256));
        }
        let (text, decoded) = encoded(r#"{"Statement":[]}"#, &context);
        assert!(text.len() <= 10_240, "{}", text.len());
        assert!(decoded["context"]["conditions"]["items"].as_array().is_some_and(|kept| kept.len() > 15));
    }
}
