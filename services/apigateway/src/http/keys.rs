//! Every key of HTTP and WebSocket APIs, and who ranges over it.
//!
//! | Space | Key                                        | Value                    | Who ranges over it                  |
//! |-------|--------------------------------------------|--------------------------|-------------------------------------|
//! | meta  | `Aa` account region API id                 | `ApiRow`                 | `GetApis`                           |
//! | meta  | `Ar` API id, route id                      | `RouteRow`               | `GetRoutes`, compilation            |
//! | meta  | `Ag` API id, integration id                | `IntegrationRow`         | `GetIntegrations`, compilation      |
//! | meta  | `Ae` API id, `{integration}/{response}`    | `IntegrationResponseRow` | `GetIntegrationResponses`, compilation |
//! | meta  | `Ao` API id, `{route}/{response}`          | `RouteResponseRow`       | `GetRouteResponses`, compilation    |
//! | meta  | `Au` API id, authorizer id                 | `AuthorizerRow`          | `GetAuthorizers`, compilation       |
//! | meta  | `Al` API id, model id                      | `ModelRow`               | `GetModels`                         |
//! | meta  | `As` API id, stage name                    | `StageRow`               | `GetStages`, compilation            |
//! | meta  | `Ay` API id, deployment id                 | `DeploymentRow`          | `GetDeployments`                    |
//! | meta  | `Az` API id, deployment id                 | `Definition`             | nobody: what a deployment froze      |

use pileus_core::{AccountId, Region};
use pileus_store::{Space, Stored, Table};

use super::rows::{
    ApiRow, AuthorizerRow, Definition, DeploymentRow, IntegrationResponseRow, IntegrationRow, ModelRow,
    RouteResponseRow, RouteRow, StageRow,
};

pub const APIS: Table<(AccountId, Region, String), ApiRow> = Table::new(Space::Meta, *b"Aa");
pub const SNAPSHOTS: Table<(String, String), Definition> = Table::new(Space::Meta, *b"Az");

/// A part of an API, kept by the API's id and its own.
pub trait Part: Stored + Clone + Send + Sync {
    const TABLE: Table<(String, String), Self>;
    /// As AWS's sentences call it.
    const KIND: &'static str;
}

macro_rules! parts {
    ($($row:ty, $tag:literal, $kind:literal;)*) => {
        $(
            impl Stored for $row {}

            impl Part for $row {
                const TABLE: Table<(String, String), $row> = Table::new(Space::Meta, *$tag);
                const KIND: &'static str = $kind;
            }
        )*
    };
}

parts! {
    RouteRow, b"Ar", "Route";
    IntegrationRow, b"Ag", "Integration";
    IntegrationResponseRow, b"Ae", "IntegrationResponse";
    RouteResponseRow, b"Ao", "RouteResponse";
    AuthorizerRow, b"Au", "Authorizer";
    ModelRow, b"Al", "Model";
    StageRow, b"As", "Stage";
    DeploymentRow, b"Ay", "Deployment";
}

impl Stored for ApiRow {}
impl Stored for Definition {}
