//! Every key that REST APIs write. What all kinds of APIs share is in the crate's `keys.rs`.
//!
//! | Table | Key | Value | Ranged over by |
//! |---|---|---|---|
//! | `APIS` | account, region, API | the API | `GetRestApis` |
//! | `RESOURCES` | API, resource | the resource with its methods and their integrations | `GetResources`, `CreateDeployment` |
//! | `DEPLOYMENTS` | API, deployment | the deployment | `GetDeployments` |
//! | `SNAPSHOTS` | API, deployment, part | what was deployed, compressed (`snapshot.rs`) | nodes that compile it |
//! | `STAGES` | API, stage | the stage | `GetStages` |
//! | `MODELS`, `VALIDATORS`, `AUTHORIZERS`, `RESPONSES` | API, name or id | the resource | their lists, `CreateDeployment` |
//! | `PARTS`, `VERSIONS` | API, id or version | documentation | their lists |
//! | `API_KEYS` | account, region, key | the API key | `GetApiKeys` |
//! | `KEY_VALUES` | account, region, value | the key's id | nobody: read by requests with a key |
//! | `PLANS` | account, region, plan | the usage plan | `GetUsagePlans` |
//! | `PLAN_KEYS` | account, region, plan, key | nothing more | `GetUsagePlanKeys` |
//! | `KEY_PLANS` | account, region, key, plan | nothing | requests with a key |
//! | `USAGE` | plan, key, day | how much was used | `GetUsage`, quotas |
//! | `ACCOUNTS` | account, region | the account's settings | |
//! | `TRASH` | API | nothing: an API that is deleted, whose rows are not yet | the sweeper |

use pileus_core::{AccountId, Region};
use pileus_store::{Space, Stored, Table};
use serde::{Deserialize, Serialize};

use pileus_api_apigateway as api;

use super::document::Doc;
use super::documentation::VersionRow;
use super::snapshot::Part;
use super::usage::UsageRow;

/// Of an account in a region.
pub type Owned = (AccountId, Region, String);
/// Of an API.
pub type OfApi = (String, String);

pub const APIS: Table<Owned, Doc<api::RestApi>> = Table::new(Space::Meta, *b"Ra");
pub const RESOURCES: Table<OfApi, Doc<api::Resource>> = Table::new(Space::Meta, *b"Ro");
pub const DEPLOYMENTS: Table<OfApi, Doc<api::Deployment>> = Table::new(Space::Meta, *b"Rd");
pub const SNAPSHOTS: Table<(String, String, u32), Part> = Table::new(Space::Items, *b"Rn");
pub const STAGES: Table<OfApi, Doc<api::Stage>> = Table::new(Space::Meta, *b"Rs");
pub const MODELS: Table<OfApi, Doc<api::Model>> = Table::new(Space::Meta, *b"Rm");
pub const VALIDATORS: Table<OfApi, Doc<api::RequestValidator>> = Table::new(Space::Meta, *b"Rv");
pub const AUTHORIZERS: Table<OfApi, Doc<api::Authorizer>> = Table::new(Space::Meta, *b"Rz");
pub const RESPONSES: Table<OfApi, Doc<api::GatewayResponse>> = Table::new(Space::Meta, *b"Rg");
pub const PARTS: Table<OfApi, Doc<api::DocumentationPart>> = Table::new(Space::Meta, *b"Rp");
pub const VERSIONS: Table<OfApi, VersionRow> = Table::new(Space::Meta, *b"Rw");
pub const API_KEYS: Table<Owned, Doc<api::ApiKey>> = Table::new(Space::Meta, *b"Rk");
pub const KEY_VALUES: Table<Owned, Name> = Table::new(Space::Meta, *b"Rx");
pub const PLANS: Table<Owned, Doc<api::UsagePlan>> = Table::new(Space::Meta, *b"Ru");
pub const PLAN_KEYS: Table<(AccountId, Region, String, String), Doc<api::UsagePlanKey>> =
    Table::new(Space::Meta, *b"Rl");
pub const KEY_PLANS: Table<(AccountId, Region, String, String), Nothing> = Table::new(Space::Meta, *b"Rq");
pub const USAGE: Table<(String, String, u64), UsageRow> = Table::new(Space::Items, *b"Ru");
pub const ACCOUNTS: Table<(AccountId, Region), Doc<api::Account>> = Table::new(Space::Meta, *b"Rc");
pub const TRASH: Table<String, Nothing> = Table::new(Space::Meta, *b"R0");

/// An id that another row names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Name {
    pub id: String,
}

impl Stored for Name {}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Nothing {}

impl Stored for Nothing {}
