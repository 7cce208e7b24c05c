//! The local mailbox: mails, text messages and pushes that this cloud sent to people. It is there whether or not anything leaves the
//! machine, so that a developer sees what their users would. `pileus mail` and `GET /_pileus/mail` show it.
//!
//! | Space | Key             | Value  | Who ranges over it                    |
//! |-------|-----------------|--------|---------------------------------------|
//! | log   | `Pm` moment id  | `Mail` | readers, newest first; the trimming   |

use pileus_core::{AccountId, Timestamp};
use pileus_store::{Direction, Reader, Space, Store, StoreError, Stored, Table, Txn};
use serde::{Deserialize, Serialize};

const MAILS: Table<(u64, String), Mail> = Table::new(Space::Log, *b"Pm");
/// Chosen: older mail is forgotten.
const KEPT_MILLIS: u64 = 30 * 86_400_000;
const TRIMMED_AT_ONCE: usize = 100;

/// How it would have reached a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Email,
    Sms,
    Push,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    pub id: String,
    pub at: Timestamp,
    pub channel: Channel,
    pub account: AccountId,
    pub from: String,
    pub to: Vec<String>,
    pub subject: String,
    pub body: String,
    /// ARN of what caused it: a topic, an endpoint.
    pub source: String,
}

impl Stored for Mail {}

/// Puts a mail in, in the transaction of what caused it.
pub async fn put(txn: &Txn, mail: &Mail) -> Result<(), StoreError> {
    let now = u64::try_from(mail.at.as_millis()).unwrap_or(0);
    MAILS.put(txn, &(now, mail.id.clone()), mail)?;
    // One in sixteen also tidies up, by its id: no run of the transaction does otherwise than another.
    if mail.id.ends_with('0') {
        let end = MAILS.key(&(now.saturating_sub(KEPT_MILLIS),));
        let old = MAILS.all().before(&end);
        let page = txn.untracked().read_page(Space::Log, &old, TRIMMED_AT_ONCE, Direction::Forward).await?;
        page.entries.into_iter().for_each(|entry| txn.delete(Space::Log, entry.key));
    }
    Ok(())
}

/// The latest mails, newest first; of one recipient, if named. Looks at ten times as many as asked for.
pub async fn list(store: &Store, to: Option<&str>, limit: usize) -> Result<Vec<Mail>, StoreError> {
    let rows = MAILS.scan_backward(store, &MAILS.all(), limit.saturating_mul(10)).await?;
    let fits = |mail: &Mail| to.is_none_or(|to| mail.to.iter().any(|own| own.eq_ignore_ascii_case(to)));
    Ok(rows.rows.into_iter().map(|(_, mail)| mail).filter(fits).take(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pileus_core::SeededRng;
    use std::sync::Arc;

    #[tokio::test]
    async fn mails_are_listed_newest_first_and_by_recipient_and_go_after_a_month() {
        let store =
            Store::memory(Arc::new(crate::MovableClock::system()), Arc::new(SeededRng::new(1))).unwrap();
        let mail = |at: i64, id: &str, to: &str| Mail {
            id: id.to_owned(),
            at: Timestamp::from_millis(at),
            channel: Channel::Email,
            account: AccountId::DEFAULT,
            from: "a@b".into(),
            to: vec![to.to_owned()],
            subject: "s".into(),
            body: "b".into(),
            source: String::new(),
        };
        let month = KEPT_MILLIS as i64;
        for mail in [mail(1, "1", "ann@x"), mail(2, "2", "bob@x"), mail(month + 2, "30", "ann@x")] {
            let mail = &mail;
            let put = store.transact(|txn| async move { put(&txn, mail).await });
            put.await.unwrap();
        }
        let ids = |mails: Vec<Mail>| mails.into_iter().map(|mail| mail.id).collect::<Vec<_>>();
        assert_eq!(ids(list(&store, None, 10).await.unwrap()), ["30", "2"]);
        assert_eq!(ids(list(&store, Some("ANN@x"), 10).await.unwrap()), ["30"]);
    }
}
