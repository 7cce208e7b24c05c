//! `ConfirmSubscription`, `Unsubscribe`: by their callers, and by links that anyone may follow who was given them.
//!
//! Source: Amazon SNS API Reference, the two operations. Recorded: the sentences.

use pileus_api_sns as api;
use pileus_platform::{CallerKind, Cx};
use pileus_wire::value::Unit;

use super::{Record, parse_arn, remove};
use crate::error::SnsError;
use crate::keys::{SUBSCRIPTIONS, TOPICS};
use crate::state::Sns;
use crate::topic::{self, Address};
use crate::work;

const TOKEN_START: &str = "2336412f37";

/// A token holds the id of its subscription, so that it is found, and chance, so that it is not guessed.
pub fn new_token(id: &str, chance: &str) -> String {
    format!("{TOKEN_START}{}{chance}", id.replace('-', ""))
}

/// The id of the subscription that a token would confirm.
fn token_id(token: &str) -> Option<String> {
    let id =
        token.strip_prefix(TOKEN_START)?.get(..32).filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some(format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]))
}

fn is_anonymous(cx: &Cx) -> bool {
    cx.caller().kind == CallerKind::Anonymous
}

/// `ConfirmSubscription`: a token that was used is good again.
pub async fn confirm_subscription(
    cx: &Cx,
    input: api::ConfirmSubscriptionInput,
) -> Result<api::ConfirmSubscriptionResponse, SnsError> {
    let address = &Address::parse(input.topic_arn.as_deref())?;
    let token = &input.token.unwrap_or_default();
    let is_guarded = match input.authenticate_on_unsubscribe.as_deref() {
        None | Some("" | "false") => false,
        Some("true") if is_anonymous(cx) => {
            return Err(SnsError::Authorization(
                "AuthenticateOnUnsubscribe needs a signed request".to_owned(),
            ));
        }
        Some("true") => true,
        Some(_) => return Err(SnsError::invalid("AuthenticateOnUnsubscribe")),
    };
    cx.state::<Sns>().load(cx.store(), address).await?;
    let id = token_id(token).ok_or_else(|| SnsError::invalid("Token"))?;
    let key = &(address.account, address.region.clone(), address.name.clone(), id);
    let arn = cx
        .transact(|txn| async move {
            let gone = || SnsError::invalid("Token");
            let found = SUBSCRIPTIONS.get(&txn, key).await?;
            let mut record = found.filter(|found| found.token.as_ref() == Some(token)).ok_or_else(gone)?;
            if record.is_confirmed {
                return Ok(record.arn());
            }
            let mut topic = TOPICS.get(&txn, &address.key()).await?.ok_or(SnsError::NO_TOPIC)?;
            topic.pending = topic.pending.saturating_sub(1);
            topic.confirmed += 1;
            record.is_confirmed = true;
            record.was_authenticated = !is_anonymous(cx);
            record.is_guarded = is_guarded;
            SUBSCRIPTIONS.put(&txn, key, &record)?;
            topic::store(&txn, address, &topic)?;
            Ok::<_, SnsError>(record.arn())
        })
        .await?;
    Ok(api::ConfirmSubscriptionResponse { subscription_arn: Some(arn) })
}

/// `Unsubscribe`: of what is not there as well.
///
/// # Errors
/// `AuthorizationError` when only the owner may end the subscription.
pub async fn unsubscribe(cx: &Cx, input: api::UnsubscribeInput) -> Result<Unit, SnsError> {
    let key = &parse_arn(input.subscription_arn.as_deref())?;
    cx.transact(|txn| async move {
        let Some(record) = SUBSCRIPTIONS.get(&txn, key).await? else { return Ok(()) };
        if !may_end(cx, &record) {
            let text = format!(
                "User: {} is not authorized to perform: SNS:Unsubscribe on resource: {}",
                cx.caller().arn,
                record.arn()
            );
            return Err(SnsError::Authorization(text));
        }
        if record.is_confirmed && !record.is_guarded && is_anonymous(cx) {
            work::tell_unsubscribed(&txn, &record, cx)?;
        }
        remove(&txn, &record).await
    })
    .await?;
    Ok(Unit)
}

/// The owner of the topic or of the subscription; for one that is not guarded, who has the link.
fn may_end(cx: &Cx, record: &Record) -> bool {
    if is_anonymous(cx) {
        return !record.is_guarded;
    }
    cx.account() == record.owner || cx.account() == record.topic.account
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_to_its_subscription() {
        let id = "6b0e71bd-7e97-4d97-80ce-4a0994e55286";
        let token = new_token(id, "00ff");
        assert_eq!(token_id(&token).as_deref(), Some(id));
        for bad in [
            "",
            "2336412f37",
            "x",
            "2336412f37zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "2336412f37äääääääääääääääääääääääääääääääää",
        ] {
            assert_eq!(token_id(bad), None, "{bad}");
        }
    }
}
