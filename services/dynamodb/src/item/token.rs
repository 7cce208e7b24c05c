//! Client tokens: a transaction that is sent again within ten minutes is done once.
//!
//! Source: API Reference, "TransactWriteItems" (ClientRequestToken).

use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Stored, Txn};
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::keys::TOKENS;

const LIFE_MS: i64 = 10 * 60 * 1_000;

/// A transaction that was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// Of the request.
    pub digest: String,
    /// Milliseconds since 1970.
    pub at: i64,
}

impl Stored for Token {}

impl Token {
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.at + LIFE_MS <= now.as_millis()
    }
}

/// Notes a token with the changes of its transaction. True if they were made before.
///
/// # Errors
/// `IdempotentParameterMismatchException` for a token that came with another request.
pub async fn claim(cx: &Cx, txn: &Txn, token: &str, digest: &str) -> Result<bool, DynamoError> {
    let key = (cx.account(), cx.region().clone(), token.to_owned());
    if let Some(known) = TOKENS.get(txn, &key).await?.filter(|known| !known.is_over(cx.now())) {
        if known.digest == digest {
            return Ok(true);
        }
        return Err(DynamoError::modelled(
            "IdempotentParameterMismatchException",
            "DynamoDB rejected the request because you retried a request with a different payload but with an idempotent token that was already used.",
        ));
    }
    TOKENS.put(txn, &key, &Token { digest: digest.to_owned(), at: cx.now().as_millis() })?;
    Ok(false)
}
