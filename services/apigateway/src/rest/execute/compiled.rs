//! A deployment ready to answer requests, and a stage that leads to it.
//!
//! Deployments never change, so they are kept by id; a stage is kept under the version of its API's row, which every change of what
//! requests depend on moves (`keys::touch`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fancy_regex::Regex;
use pileus_api_apigateway as api;
use pileus_iam::Policy;
use pileus_store::{Store, Version};
use pileus_vtl::Template;
use pileus_wire::value::Map;
use serde_json::Value as Json;

use super::route::Routes;
use crate::error::GatewayError;
use crate::http::throttle::Bucket;
use crate::rest::api::policy_of;
use crate::rest::document::Doc;
use crate::rest::keys::STAGES;
use crate::rest::schema::Schema;
use crate::rest::snapshot::Snapshot;

/// A deployment.
pub struct Deployed {
    pub id: String,
    pub api: api::RestApi,
    pub routes: Routes,
    pub resources: Vec<Resource>,
    /// Gateway responses that were changed, by type.
    pub responses: HashMap<String, api::GatewayResponse>,
    pub policy: Option<Arc<Policy>>,
    /// Lower case.
    pub binary_types: Vec<String>,
}

pub struct Resource {
    pub id: String,
    pub path: String,
    /// By verb, `ANY` among them.
    pub methods: HashMap<String, Arc<Method>>,
}

/// A method with everything that answering it needs.
pub struct Method {
    pub definition: api::Method,
    pub integration: api::Integration,
    /// The integration's templates by content type.
    pub templates: Templates,
    pub responses: Vec<Response>,
    pub authorizer: Option<Arc<api::Authorizer>>,
    /// What is validated: the body, the parameters.
    pub validates: (bool, bool),
    /// By content type.
    pub schemas: Vec<(String, Arc<Schema>)>,
    /// `~1pets~1{id}/GET`: how a stage names the method's settings.
    pub setting: String,
    pub timeout: Duration,
}

/// Templates by content type; one that cannot be read fails each request that needs it.
pub type Templates = Vec<(String, Result<Arc<Template>, String>)>;

/// An integration response.
pub struct Response {
    pub definition: api::IntegrationResponse,
    /// Whole texts are compared; none takes what no other does.
    pub pattern: Option<Regex>,
    pub templates: Templates,
}

/// A stage and where it leads.
pub struct Staged {
    pub version: Version,
    pub stage: api::Stage,
    pub deployed: Arc<Deployed>,
    pub canary: Option<Arc<Deployed>>,
    /// One for each method's settings, and for the stage as a whole.
    buckets: Mutex<HashMap<String, Arc<Bucket>>>,
}

fn templates(map: Option<&Map<String>>) -> Templates {
    let parsed = map.into_iter().flat_map(Map::iter).map(|(kind, text)| {
        let template = Template::parse(text).map(Arc::new).map_err(|error| error.to_string());
        (kind.to_owned(), template)
    });
    parsed.collect()
}

impl Method {
    fn new(
        resource: &api::Resource,
        verb: &str,
        definition: api::Method,
        snapshot: &Snapshot,
        schemas: &HashMap<String, Arc<Schema>>,
    ) -> Method {
        let integration = definition.method_integration.clone().unwrap_or_default();
        let responses = integration.integration_responses.iter().flat_map(Map::iter).map(|(_, response)| {
            let pattern = response.selection_pattern.as_deref().filter(|pattern| !pattern.is_empty());
            Response {
                pattern: pattern.and_then(|pattern| Regex::new(&format!("(?s)^(?:{pattern})$")).ok()),
                templates: templates(response.response_templates.as_ref()),
                definition: response.clone(),
            }
        });
        let validator = definition.request_validator_id.as_deref();
        let validator =
            snapshot.validators.iter().find(|Doc(row)| validator.is_some() && row.id.as_deref() == validator);
        let wanted = definition.authorizer_id.as_deref();
        let is_custom = !matches!(definition.authorization_type.as_deref(), Some("NONE" | "AWS_IAM"));
        let authorizer =
            snapshot.authorizers.iter().find(|Doc(row)| row.id.as_deref() == wanted && is_custom);
        let models = definition.request_models.iter().flat_map(Map::iter);
        let path = resource.path.as_deref().unwrap_or_default();
        Method {
            templates: templates(integration.request_templates.as_ref()),
            responses: responses.collect(),
            authorizer: authorizer.map(|Doc(row)| Arc::new(row.clone())),
            validates: validator.map_or((false, false), |Doc(row)| {
                (row.validate_request_body == Some(true), row.validate_request_parameters == Some(true))
            }),
            schemas: models
                .filter_map(|(kind, model)| Some((kind.to_ascii_lowercase(), schemas.get(model)?.clone())))
                .collect(),
            setting: format!("{}/{verb}", path.replace('~', "~0").replace('/', "~1")),
            timeout: Duration::from_millis(
                integration
                    .timeout_in_millis
                    .and_then(|timeout| u64::try_from(timeout).ok())
                    .unwrap_or(29_000),
            ),
            integration,
            definition,
        }
    }

    pub fn kind(&self) -> &str {
        self.integration.r#type.as_deref().unwrap_or_default()
    }
}

impl Deployed {
    pub fn new(id: &str, snapshot: &Snapshot) -> Deployed {
        let Doc(rest_api) = &snapshot.api;
        let models: Vec<api::Model> = snapshot.models.iter().map(|Doc(model)| model.clone()).collect();
        let schemas = models.iter().filter_map(|model| {
            let schema: Json = serde_json::from_str(model.schema.as_deref()?).ok()?;
            Some((model.name.clone()?, Arc::new(Schema::with_models(&schema, &models).ok()?)))
        });
        let schemas: HashMap<String, Arc<Schema>> = schemas.collect();
        let mut routes = Routes::default();
        let mut resources = Vec::new();
        for Doc(resource) in &snapshot.resources {
            let methods: HashMap<String, Arc<Method>> = resource
                .resource_methods
                .iter()
                .flat_map(Map::iter)
                .map(|(verb, method)| {
                    let method = Method::new(resource, verb, method.clone(), snapshot, &schemas);
                    (verb.to_owned(), Arc::new(method))
                })
                .collect();
            if methods.is_empty() {
                continue;
            }
            let path = resource.path.clone().unwrap_or_default();
            routes.add(&path, resources.len());
            resources.push(Resource { id: resource.id.clone().unwrap_or_default(), path, methods });
        }
        let changed =
            snapshot.responses.iter().filter_map(|Doc(row)| Some((row.response_type.clone()?, row.clone())));
        let types = rest_api.binary_media_types.iter().flatten();
        Deployed {
            id: id.to_owned(),
            routes,
            resources,
            responses: changed.collect(),
            policy: rest_api.policy.as_deref().and_then(|text| policy_of(text).map(Arc::new)),
            binary_types: types.map(|kind| kind.replace("~1", "/").to_ascii_lowercase()).collect(),
            api: rest_api.clone(),
        }
    }

    /// Whether the API takes a content type for binary.
    pub fn is_binary(&self, content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.binary_types.iter().any(|known| {
            *known == "*/*"
                || *known == kind
                || known
                    .strip_suffix("/*")
                    .is_some_and(|start| kind.strip_prefix(start).is_some_and(|rest| rest.starts_with('/')))
        })
    }
}

impl Staged {
    /// The settings of a method: its own, else those of all.
    pub fn setting(&self, method: &Method) -> Option<&api::MethodSetting> {
        let settings = self.stage.method_settings.as_ref()?;
        settings.get(&method.setting).or_else(|| settings.get("*/*"))
    }

    /// The bucket of this name, made when it is first asked for.
    pub fn bucket(&self, name: &str, rate: f64, burst: f64, now: Duration) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(name) {
            return bucket.clone();
        }
        let bucket = Arc::new(Bucket::new(rate, burst, now));
        buckets.insert(name.to_owned(), bucket.clone());
        bucket
    }
}

/// What a node has compiled.
#[derive(Default)]
pub struct Compiled {
    deployments: Mutex<HashMap<(String, String), Arc<Deployed>>>,
    stages: Mutex<HashMap<(String, String), Arc<Staged>>>,
}

/// Deployments and stages kept at a time: beyond, all are forgotten and made again as they are asked for.
const MOST: usize = 500;

impl Compiled {
    /// The stage as it is at `version`; `None` if there is none.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn stage(
        &self,
        store: &Store,
        api: &str,
        name: &str,
        version: Version,
    ) -> Result<Option<Arc<Staged>>, GatewayError> {
        let key = (api.to_owned(), name.to_owned());
        let known = self.stages.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.version == version) {
            return Ok(Some(known.clone()));
        }
        let Some(Doc(stage)) = STAGES.get(store, &key).await? else { return Ok(None) };
        let Some(deployed) =
            self.deployed(store, api, stage.deployment_id.as_deref().unwrap_or_default()).await?
        else {
            return Ok(None);
        };
        let canary = match stage.canary_settings.as_ref().and_then(|canary| canary.deployment_id.as_deref()) {
            Some(id) => self.deployed(store, api, id).await?,
            None => None,
        };
        let buckets = Mutex::default();
        let staged = Arc::new(Staged { version, stage, deployed, canary, buckets });
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if stages.len() >= MOST {
            stages.clear();
        }
        stages.insert(key, staged.clone());
        Ok(Some(staged))
    }

    async fn deployed(
        &self,
        store: &Store,
        api: &str,
        id: &str,
    ) -> Result<Option<Arc<Deployed>>, GatewayError> {
        let key = (api.to_owned(), id.to_owned());
        let known = self.deployments.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(snapshot) = Snapshot::load(store, api, id).await? else { return Ok(None) };
        let deployed = Arc::new(Deployed::new(id, &snapshot));
        let mut deployments = self.deployments.lock().unwrap_or_else(PoisonError::into_inner);
        if deployments.len() >= MOST {
            deployments.clear();
        }
        deployments.insert(key, deployed.clone());
        Ok(Some(deployed))
    }
}
