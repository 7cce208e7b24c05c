//! Stages as nodes keep them in memory: made when a request first needs them, made anew when the API's row has another version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use pileus_platform::Platform;
use pileus_store::{StoreError, Version};

use super::authorize::Remembered;
use super::keys::APIS;
use super::parts::{deployed, list};
use super::router::Router;
use super::rows::{ApiRow, AuthorizerRow, Definition, IntegrationRow, RouteRow, RouteSettings, StageRow};
use super::throttle::Bucket;
use crate::front::Target;

/// APIs that a node keeps.
const MOST_APIS: usize = 1_000;

/// What a node has compiled.
#[derive(Default)]
pub struct Compiled(RwLock<HashMap<String, Arc<CompiledApi>>>);

pub struct CompiledApi {
    pub version: Version,
    pub row: ApiRow,
    pub stages: HashMap<String, Arc<Stage>>,
}

pub struct Stage {
    pub row: StageRow,
    pub definition: Arc<Definition>,
    pub router: Router,
    /// By their ids: places in the definition.
    integrations: HashMap<String, usize>,
    authorizers: HashMap<String, usize>,
    /// For the routes in the definition's order; they share the stage's where they have none of their own.
    buckets: Vec<Option<Arc<Bucket>>>,
    pub remembered: Mutex<Remembered>,
}

impl Stage {
    fn new(row: StageRow, definition: Arc<Definition>, now: Duration) -> Stage {
        let keys = definition.routes.iter().map(|route| route.route_key.as_deref().unwrap_or_default());
        let router = Router::new(keys);
        let by_id = |ids: &mut dyn Iterator<Item = &Option<String>>| -> HashMap<String, usize> {
            ids.enumerate().filter_map(|(at, id)| Some((id.clone()?, at))).collect()
        };
        let integrations = by_id(&mut definition.integrations.iter().map(|row| &row.integration_id));
        let authorizers = by_id(&mut definition.authorizers.iter().map(|row| &row.authorizer_id));
        let of_stage = row.default_route_settings.as_ref().and_then(|settings| bucket(settings, now));
        let buckets = definition.routes.iter().map(|route| {
            let own =
                row.route_settings.iter().flatten().find(|(key, _)| Some(*key) == route.route_key.as_ref());
            own.and_then(|(_, settings)| bucket(settings, now)).or_else(|| of_stage.clone())
        });
        let buckets = buckets.collect();
        Stage { router, integrations, authorizers, buckets, remembered: Mutex::default(), row, definition }
    }

    pub fn route(&self, at: usize) -> Option<&RouteRow> {
        self.definition.routes.get(at)
    }

    /// The integration that a route leads to.
    pub fn integration(&self, route: &RouteRow) -> Option<&IntegrationRow> {
        let id = route.target.as_deref()?.strip_prefix("integrations/")?;
        self.definition.integrations.get(*self.integrations.get(id)?)
    }

    pub fn authorizer(&self, route: &RouteRow) -> Option<&AuthorizerRow> {
        self.definition.authorizers.get(*self.authorizers.get(route.authorizer_id.as_deref()?)?)
    }

    /// Whether the limits let one more request to the route through.
    pub fn admits(&self, route: usize, now: Duration) -> bool {
        self.buckets.get(route).and_then(Option::as_ref).is_none_or(|bucket| bucket.take(now))
    }
}

/// Source: API Gateway quotas: 10,000 requests a second, 5,000 at once, where only one of the two is given.
fn bucket(settings: &RouteSettings, now: Duration) -> Option<Arc<Bucket>> {
    let (rate, burst) = (settings.throttling_rate_limit, settings.throttling_burst_limit);
    if rate.is_none() && burst.is_none() {
        return None;
    }
    let burst = burst.map_or(5_000.0, |burst| u32::try_from(burst).map_or(0.0, f64::from));
    Some(Arc::new(Bucket::new(rate.unwrap_or(10_000.0), burst, now)))
}

/// The API as it is answered now; `None` when it is gone. Reads nothing while its row has the same version.
///
/// # Errors
/// Those of the store.
pub async fn find(platform: &Platform, target: &Target) -> Result<Option<Arc<CompiledApi>>, StoreError> {
    let compiled = platform.state::<Compiled>();
    let known = compiled.0.read().unwrap_or_else(PoisonError::into_inner).get(&target.id).cloned();
    if let Some(known) = known.filter(|known| known.version == target.version) {
        return Ok(Some(known));
    }
    let store = platform.store();
    let key = (target.account, target.region.clone(), target.id.clone());
    let Some(row) = APIS.get(store, &key).await? else { return Ok(None) };
    let now = platform.clock().monotonic();
    let mut stages = HashMap::new();
    for (name, stage) in list::<StageRow>(store, &target.id).await? {
        if let Some(definition) = deployed(store, &target.id, &row, &stage).await? {
            stages.insert(name, Arc::new(Stage::new(stage, definition, now)));
        }
    }
    let api = Arc::new(CompiledApi { version: target.version, row, stages });
    let mut all = compiled.0.write().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= MOST_APIS
        && !all.contains_key(&target.id)
        && let Some(one) = all.keys().next().cloned()
    {
        all.remove(&one);
    }
    all.insert(target.id.clone(), api.clone());
    Ok(Some(api))
}
