//! What a node keeps in memory for DynamoDB: decoded rows of tables, counts, token buckets, numbers of records that are
//! being written. Nothing that another node would need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use pileus_iam::Policy;
use pileus_store::{Reader, Space, Store, StoreError, Txn, Version, table as rows};

use crate::error::DynamoError;
use crate::item::collection::Collections;
use crate::keys::TABLES;
use crate::stream::order::{Order, Ticket};
use crate::stream::watermark::Watermarks;
use crate::table::count::Counts;
use crate::table::{Address, Record, Table, transition};
use crate::throttle::Buckets;

/// Tables whose rows are kept decoded, before all are forgotten.
const MAX_KNOWN: usize = 10_000;

#[derive(Default)]
pub struct Dynamo {
    /// Decoded rows, each beside its version: a row that changed is decoded again.
    tables: RwLock<HashMap<Bytes, Known>>,
    pub counts: Mutex<HashMap<u64, Counts>>,
    pub buckets: Buckets,
    pub order: Order,
    pub watermarks: Watermarks,
    pub readers: crate::stream::readers::Readers,
    pub collections: Collections,
}

#[derive(Clone)]
struct Known {
    version: Version,
    table: Arc<Table>,
    /// The store's stamp before the row was read last: while it is the same, so is the row.
    stamp: Option<u64>,
}

impl Dynamo {
    /// The table at `address`; in a transaction, tracked.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub async fn load(&self, reader: &impl Reader, address: &Address) -> Result<Arc<Table>, DynamoError> {
        self.find(reader, address).await?.ok_or_else(DynamoError::no_resource)
    }

    /// `load`, whose error names the table.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub async fn load_named(
        &self,
        reader: &impl Reader,
        address: &Address,
    ) -> Result<Arc<Table>, DynamoError> {
        self.find(reader, address).await?.ok_or_else(|| DynamoError::no_table(&address.name))
    }

    /// `load`, for a request that has only just been authorised: that read the table's row.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub async fn load_authorised(&self, store: &Store, address: &Address) -> Result<Arc<Table>, DynamoError> {
        let table = match self.known(&row_key(address)) {
            Some(known) => known.table,
            None => self.load(store, address).await?,
        };
        match transition::is_being_created(&table, store.clock().now()) {
            true => Err(DynamoError::no_resource()),
            false => ready(table),
        }
    }

    /// `load`, for a transaction: the table as this node saw it last, which is when the request was authorised. The commit
    /// checks that it is still so, and the transaction's next run reads.
    ///
    /// # Errors
    /// `ResourceNotFoundException`
    pub async fn load_known(&self, txn: &Txn, address: &Address) -> Result<Arc<Table>, DynamoError> {
        let key = row_key(address);
        if let Some(known) = self.known(&key)
            && txn.assume(Space::Meta, &key, known.version)
        {
            return ready(known.table);
        }
        ready(self.find_row(txn, address, key, None).await?.ok_or_else(DynamoError::no_resource)?)
    }

    /// `find`, assuming what this node saw last, as `load_known` does; a table that is being filled counts.
    ///
    /// # Errors
    /// Of the store.
    pub async fn find_known(&self, txn: &Txn, address: &Address) -> Result<Option<Arc<Table>>, DynamoError> {
        let key = row_key(address);
        match self.known(&key) {
            Some(known) if txn.assume(Space::Meta, &key, known.version) => Ok(Some(known.table)),
            _ => self.find_row(txn, address, key, None).await,
        }
    }

    pub async fn find(
        &self,
        reader: &impl Reader,
        address: &Address,
    ) -> Result<Option<Arc<Table>>, DynamoError> {
        self.find_row(reader, address, row_key(address), None).await
    }

    /// `find`, of this moment: without reading where the store knows that nothing has changed.
    ///
    /// # Errors
    /// Of the store.
    pub async fn find_now(
        &self,
        store: &Store,
        address: &Address,
    ) -> Result<Option<Arc<Table>>, DynamoError> {
        let (key, stamp) = (row_key(address), store.stamp(Space::Meta));
        match self.known(&key) {
            Some(known) if stamp.is_some() && known.stamp == stamp => Ok(Some(known.table)),
            _ => self.find_row(store, address, key, stamp).await,
        }
    }

    /// The request of a ticket has ended.
    pub fn finish(&self, ticket: Ticket<'_>, has_committed: bool) {
        if has_committed {
            self.collections.grow(&ticket.grown());
        }
        ticket.finish();
    }

    fn known(&self, key: &Bytes) -> Option<Known> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn find_row(
        &self,
        reader: &impl Reader,
        address: &Address,
        key: Bytes,
        stamp: Option<u64>,
    ) -> Result<Option<Arc<Table>>, DynamoError> {
        let Some((bytes, version)) = reader.read_row(Space::Meta, &key).await? else {
            if self.known(&key).is_some() {
                self.tables.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
            return Ok(None);
        };
        if let Some(known) = self.known(&key).filter(|known| known.version == version) {
            if stamp.is_some() {
                self.remember(key, Known { stamp, ..known.clone() });
            }
            return Ok(Some(known.table));
        }
        let record: Record = rows::decode(&bytes)?;
        let policy = record.policy.as_ref().map(|policy| Policy::parse(&policy.text)).transpose();
        let policy = policy.map_err(|error| StoreError::corrupt(format!("a table's policy: {error}")))?;
        let table = Arc::new(Table { address: address.clone(), record, policy: policy.map(Arc::new) });
        // What the transaction itself has written has no version yet.
        if version != 0 {
            self.remember(key, Known { version, table: table.clone(), stamp });
        }
        Ok(Some(table))
    }

    fn remember(&self, key: Bytes, known: Known) {
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if tables.len() >= MAX_KNOWN {
            tables.clear();
        }
        tables.insert(key, known);
    }
}

/// Items of a table that is being restored are not there yet.
fn ready(table: Arc<Table>) -> Result<Arc<Table>, DynamoError> {
    if table.is_restoring() { Err(DynamoError::no_resource()) } else { Ok(table) }
}

fn row_key(address: &Address) -> Bytes {
    TABLES.key(&(address.account, &address.region, address.name.as_str()))
}
