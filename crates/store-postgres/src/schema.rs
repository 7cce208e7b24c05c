//! The tables, made and migrated by the node that first opens the database.
//!
//! One table per space, because a space is an access pattern: queues churn and are vacuumed hard, items are large and
//! rest. Keys are `bytea`, which compares byte by byte whatever the collation of the database. They are not partitioned
//! by hash: a scan would descend into every partition for each page (measured on 200,000 rows: pages of 10 from 16
//! partitions come at 5,200 a second, from one table at 30,000; point reads are equal), and scans are what queues live on.
//! Vacuum keeps up because the tables that churn have settings of their own.
//!
//! | Table             | Holds                                                                                   |
//! |-------------------|-----------------------------------------------------------------------------------------|
//! | `pileus_<space>`  | key, value, version                                                                     |
//! | `pileus_guard`    | rows that are only locked: see `guard.rs`                                                |
//! | `pileus_committer`| for each committer the first version of its last batch: whether a commit took effect     |
//! | `pileus_schema`   | one row: the version of all this                                                        |
//! | `pileus_version`  | a sequence: versions in blocks of `BLOCK`                                                |
//! | `pileus_party`    | a sequence: numbers for committers and nodes                                            |

use std::time::Duration;

use pileus_store::{Space, StoreError};
use tokio_postgres::Client;

use crate::error::{Kind, kind, unavailable};
use crate::{guard, pool};

/// Versions that one batch may give out; the step of the sequence. Part of the format.
pub const BLOCK: u64 = 256;

/// The schema that this release writes.
const VERSION: i32 = 1;
const OLDEST_SERVER: i32 = 120_000;
const ATTEMPTS: u32 = 10;

/// Makes or migrates the schema; safe to be called by many nodes at once.
///
/// # Errors
/// `Unavailable`, in words: the server is too old, its schema is of a newer release, or it refuses.
pub async fn prepare(client: &mut Client) -> Result<(), StoreError> {
    check_server(client).await?;
    for _ in 0..ATTEMPTS {
        match migrate(client).await {
            Ok(version) if version > VERSION => {
                return Err(StoreError::unavailable(format!(
                    "the database holds schema {version}, of a newer release; this one knows {VERSION}"
                )));
            }
            Ok(_) => return Ok(()),
            // Another node makes the same tables at this moment: its are as good.
            Err(error) if is_race(&error) => pool::rest(Duration::from_millis(50)).await,
            Err(error) => return Err(unavailable(&error)),
        }
    }
    Err(StoreError::unavailable("the database's schema is being changed by others, again and again"))
}

fn is_race(error: &tokio_postgres::Error) -> bool {
    use tokio_postgres::error::SqlState;
    kind(error) == Kind::Contention
        || matches!(
            error.code(),
            Some(
                &SqlState::DUPLICATE_TABLE
                    | &SqlState::DUPLICATE_OBJECT
                    | &SqlState::T_R_SERIALIZATION_FAILURE
            )
        )
}

async fn check_server(client: &Client) -> Result<(), StoreError> {
    let show = async |name: &str| -> Result<String, StoreError> {
        let row =
            client.query_one(&format!("SHOW {name}"), &[]).await.map_err(|error| unavailable(&error))?;
        Ok(row.get(0))
    };
    check_version(&show("server_version_num").await?)?;
    for setting in ["fsync", "synchronous_commit"] {
        if matches!(show(setting).await.as_deref(), Ok("off")) {
            tracing::warn!(
                setting,
                "is off in the database: a crash of its server can lose acknowledged writes"
            );
        }
    }
    Ok(())
}

/// `number`: as the server's setting says it, `150006` for 15.6 and `90624` for 9.6.24.
fn check_version(number: &str) -> Result<(), StoreError> {
    let parsed: Option<i32> = number.parse().ok();
    match parsed {
        Some(number) if number >= OLDEST_SERVER => Ok(()),
        Some(number) => Err(StoreError::unavailable(format!(
            "the database's server is version {}; {} is the oldest that is supported",
            if number >= 100_000 {
                format!("{}.{}", number / 10_000, number % 10_000)
            } else {
                format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100)
            },
            OLDEST_SERVER / 10_000
        ))),
        None => Err(StoreError::unavailable(format!(
            "the database's server does not tell its version in a known way: {number:?}"
        ))),
    }
}

async fn migrate(client: &mut Client) -> Result<i32, tokio_postgres::Error> {
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS pileus_schema (one smallint PRIMARY KEY, version integer NOT NULL);
             INSERT INTO pileus_schema VALUES (1, 0) ON CONFLICT DO NOTHING",
        )
        .await?;
    let transaction = client.transaction().await?;
    let row =
        transaction.query_one("SELECT version FROM pileus_schema WHERE one = 1 FOR UPDATE", &[]).await?;
    let found: i32 = row.get(0);
    if found >= VERSION {
        return Ok(found);
    }
    if found < 1 {
        transaction.batch_execute(&first()).await?;
    }
    transaction.execute("UPDATE pileus_schema SET version = $1 WHERE one = 1", &[&VERSION]).await?;
    transaction.commit().await?;
    tracing::info!(from = found, to = VERSION, "the database's schema is made");
    Ok(VERSION)
}

fn first() -> String {
    let mut sql = String::new();
    for space in Space::ALL {
        // Short-lived rows: room on each page, and the vacuum never far away.
        let storage = match space {
            Space::Queue | Space::Index | Space::Meta | Space::Sys => {
                "fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, \
                 autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_scale_factor = 0.2"
            }
            Space::Items | Space::Log | Space::Object => {
                "fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05"
            }
        };
        sql.push_str(&format!(
            "CREATE TABLE pileus_{} (k bytea PRIMARY KEY, v bytea NOT NULL, ver bigint NOT NULL) WITH ({storage});\n",
            space.name()
        ));
    }
    sql.push_str(&format!(
        "CREATE TABLE pileus_guard (id smallint PRIMARY KEY);
         INSERT INTO pileus_guard SELECT generate_series(0, {});
         CREATE TABLE pileus_committer (id bigint PRIMARY KEY, last bigint NOT NULL, at timestamptz NOT NULL)
             WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
         CREATE SEQUENCE pileus_version INCREMENT BY {BLOCK} START WITH {BLOCK} CACHE 1;
         CREATE SEQUENCE pileus_party CACHE 1;",
        guard::SLOTS - 1
    ));
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_refused_by_its_version() {
        let cases = [
            ("120000", None),
            ("150006", None),
            ("180001", None),
            ("110022", Some("version 11.22; 12 is the oldest")),
            ("90624", Some("version 9.6.24; 12 is the oldest")),
            ("", Some("in a known way")),
            ("15devel", Some("in a known way")),
        ];
        for (number, expected) in cases {
            let refusal = check_version(number).err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(refusal, None, "{number}"),
                Some(part) => {
                    let refusal = refusal.unwrap_or_default();
                    assert!(refusal.contains(part) && !refusal.contains('\n'), "{number}: {refusal}");
                }
            }
        }
    }
}
