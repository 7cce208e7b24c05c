//! Keys that REST, HTTP and WebSocket APIs share. Each kind's own are in its `keys.rs`.
//!
//! | Space | Key                        | Value        | Who ranges over it                     |
//! |-------|----------------------------|--------------|----------------------------------------|
//! | meta  | `Ai` API id                | `ApiIdRow`   | nobody: read once by every request      |
//! | meta  | `Ad` domain name           | `DomainRow`  | `domain::Names`, `GetDomainNames`       |
//! | meta  | `Am` domain name, path     | `MappingRow` | `domain::Names`, `GetApiMappings`       |

use pileus_core::{AccountId, Ids, Region};
use pileus_store::{Reader, Space, StoreError, Stored, Table, Txn, Version, table};
use serde::{Deserialize, Serialize};

use crate::domain::{DomainRow, MappingRow};

/// What an API's id stands for. The row's version is the version of all that the API's requests depend on: whoever changes that
/// (a deployment, a stage, an authorizer) calls [`touch`] in the same transaction, and what nodes have compiled is made anew.
pub const API_IDS: Table<String, ApiIdRow> = Table::new(Space::Meta, *b"Ai");
pub const DOMAINS: Table<String, DomainRow> = Table::new(Space::Meta, *b"Ad");
/// The path is empty for the whole domain.
pub const MAPPINGS: Table<(String, String), MappingRow> = Table::new(Space::Meta, *b"Am");

/// Woken when a domain name or a mapping changes.
pub const DOMAINS_TOPIC: &str = "apigateway/domains";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Rest,
    Http,
    WebSocket,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiIdRow {
    pub kind: Kind,
    pub account: AccountId,
    pub region: Region,
}

impl Stored for ApiIdRow {}

/// A new API's id: ten lower-case letters and digits, unused by any kind of API.
///
/// # Errors
/// Those of the store.
pub async fn new_api(txn: &Txn, ids: &Ids, row: &ApiIdRow) -> Result<String, StoreError> {
    loop {
        let id = ids.lower(10);
        if API_IDS.put_if_absent(txn, &id, row).await? {
            return Ok(id);
        }
    }
}

/// Makes nodes forget what they have compiled of the API, once this transaction commits.
///
/// # Errors
/// Those of the store.
pub fn touch(txn: &Txn, id: &str, row: &ApiIdRow) -> Result<(), StoreError> {
    API_IDS.put(txn, &id.to_owned(), row)
}

/// The row and its version.
///
/// # Errors
/// Those of the store.
pub async fn find_api(reader: &impl Reader, id: &str) -> Result<Option<(ApiIdRow, Version)>, StoreError> {
    let found = reader.read_row(API_IDS.space(), &API_IDS.key(&id)).await?;
    found.map(|(bytes, version)| Ok((table::decode(&bytes)?, version))).transpose()
}
