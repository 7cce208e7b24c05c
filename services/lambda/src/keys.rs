//! Every key that Lambda writes, and who ranges over it.
//!
//! | Space | Key                                          | Value            | Who ranges over it                          |
//! |-------|----------------------------------------------|------------------|---------------------------------------------|
//! | meta  | `Ff` account region function                 | `FunctionRow`    | `ListFunctions`, `GetAccountSettings`        |
//! | meta  | `Fv` account region function version         | `VersionRow`     | `ListVersionsByFunction`, `DeleteFunction`   |
//! | meta  | `Fa` account region function alias           | `AliasRow`       | `ListAliases`, `DeleteFunction`              |
//! | meta  | `Fp` account region function qualifier       | `PolicyRow`      | `DeleteFunction`                             |
//! | meta  | `Fe` account region function qualifier       | `EventInvokeRow` | `ListFunctionEventInvokeConfigs`             |
//! | meta  | `Fc` account region function qualifier       | `ProvisionedRow` | `ListProvisionedConcurrencyConfigs`          |
//! | meta  | `Fu` account region function qualifier       | `UrlRow`         | `ListFunctionUrlConfigs`                     |
//! | meta  | `Fi` url id                                  | `UrlTarget`      | nobody                                       |
//! | meta  | `Fl` account region layer                    | `LayerRow`       | `ListLayers`                                 |
//! | meta  | `Fk` account region layer version            | `LayerVersionRow`| `ListLayerVersions`                          |
//! | meta  | `Fm` account region uuid                     | `MappingRow`     | `ListEventSourceMappings`; the pollers       |
//! | meta  | `Fh` mapping shard                           | `Checkpoint`     | the pollers, `DeleteEventSourceMapping`     |
//! | meta  | `Fg` blob owner                              | empty            | the sweeper of code                          |
//! | queue | `Fq` event id part                           | bytes            | nobody: payloads of asynchronous events      |

use pileus_core::{AccountId, Region};
use pileus_store::{Space, Stored, Table};
use serde::{Deserialize, Serialize};

use crate::alias::AliasRow;
use crate::concurrency::ProvisionedRow;
use crate::event_invoke::EventInvokeRow;
use crate::event_source::MappingRow;
use crate::event_source::stream::Checkpoint;
use crate::function::{FunctionRow, VersionRow};
use crate::layer::{LayerRow, LayerVersionRow};
use crate::permission::PolicyRow;
use crate::url::{UrlRow, UrlTarget};

pub type FunctionKey = (AccountId, Region, String);
/// With a qualifier; empty for the function itself.
pub type QualifiedKey = (AccountId, Region, String, String);

pub const FUNCTIONS: Table<FunctionKey, FunctionRow> = Table::new(Space::Meta, *b"Ff");
pub const VERSIONS: Table<(AccountId, Region, String, u64), VersionRow> = Table::new(Space::Meta, *b"Fv");
pub const ALIASES: Table<QualifiedKey, AliasRow> = Table::new(Space::Meta, *b"Fa");
pub const POLICIES: Table<QualifiedKey, PolicyRow> = Table::new(Space::Meta, *b"Fp");
pub const EVENT_CONFIGS: Table<QualifiedKey, EventInvokeRow> = Table::new(Space::Meta, *b"Fe");
pub const PROVISIONED: Table<QualifiedKey, ProvisionedRow> = Table::new(Space::Meta, *b"Fc");
pub const URLS: Table<QualifiedKey, UrlRow> = Table::new(Space::Meta, *b"Fu");
pub const URL_IDS: Table<String, UrlTarget> = Table::new(Space::Meta, *b"Fi");
pub const LAYERS: Table<FunctionKey, LayerRow> = Table::new(Space::Meta, *b"Fl");
pub const LAYER_VERSIONS: Table<(AccountId, Region, String, u64), LayerVersionRow> =
    Table::new(Space::Meta, *b"Fk");
pub const MAPPINGS: Table<FunctionKey, MappingRow> = Table::new(Space::Meta, *b"Fm");
pub const CHECKPOINTS: Table<(String, String), Checkpoint> = Table::new(Space::Meta, *b"Fh");
/// Who uses a blob of code: a version of a function, or a layer version.
pub const CODE: Table<(String, String), Nothing> = Table::new(Space::Meta, *b"Fg");

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Nothing {}

impl Stored for Nothing {}

pub fn qualified(key: &FunctionKey, qualifier: &str) -> QualifiedKey {
    (key.0, key.1.clone(), key.2.clone(), qualifier.to_owned())
}
