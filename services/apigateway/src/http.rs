//! HTTP APIs, and the control plane that they share with WebSocket APIs (API Gateway version 2).
//!
//! | File                     | Holds                                                                          |
//! |--------------------------|--------------------------------------------------------------------------------|
//! | `http/api.rs`            | `CreateApi` and its sisters                                                     |
//! | `http/route.rs`, `http/integration.rs` | routes and integrations, and their responses                     |
//! | `http/stage.rs`, `http/deployment.rs`, `http/authorizer.rs`, `http/model.rs` | what their names say        |
//! | `http/domain_name.rs`    | `CreateDomainName`, `CreateApiMapping` and their sisters                        |
//! | `http/openapi.rs`        | `ImportApi`, `ReimportApi`, `ExportApi`                                         |
//! | `http/tags.rs`           | `TagResource`, `UntagResource`, `GetTags`                                       |
//! | `http/parts.rs`, `http/rows.rs`, `http/keys.rs` | how all of them are found, changed and kept              |
//! | `http/execute.rs`        | requests to HTTP APIs                                                           |
//! | `http/compiled.rs`       | stages as nodes keep them in memory                                             |
//! | `http/router.rs`         | which route a request takes: pure                                               |
//! | `http/event.rs`, `http/reply.rs` | events for functions, their answers: pure                               |
//! | `http/mapping.rs`        | parameter mapping: pure                                                         |
//! | `http/services.rs`       | integrations with services (`SQS-SendMessage`, ..)                              |
//! | `http/cors.rs`, `http/throttle.rs` | what the gateway answers itself                                       |
//! | `http/authorize.rs`, `http/jwt.rs` | authorizers                                                           |
//! | `http/access_log.rs`     | access logs, and `$context`                                                     |

mod access_log;
mod api;
pub mod authorize;
mod authorizer;
pub mod compiled;
pub mod context;
mod cors;
mod deployment;
pub mod domain_name;
mod event;
pub mod execute;
mod integration;
mod jwt;
pub mod keys;
pub mod mapping;
mod model;
mod openapi;
pub mod parts;
mod reply;
mod route;
mod router;
pub mod rows;
mod services;
mod stage;
mod tags;
pub mod throttle;

use pileus_api_apigatewayv2 as v2;
use pileus_platform::{Access, Cx, Service};

/// `arn:aws:apigateway:{region}::{path}`
///
/// Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon API Gateway Management V2".
fn on(cx: &Cx, action: &'static str, path: &str) -> Access {
    let region = cx.region();
    Access::new(action, format!("arn:{}:apigateway:{region}::{path}", region.partition()))
}

macro_rules! operations {
    ($service:expr, $($operation:ident $input:ident $action:literal $path:literal [$($field:ident),*] $handler:path;)*) => {{
        let service = $service;
        $(
            let service = service.op(v2::$operation, $handler).access(v2::$operation, |cx, input: &v2::$input| {
                let _ = input;
                #[allow(unused_mut)]
                let mut path = $path.to_owned();
                $(path = path.replacen("{}", input.$field.as_deref().unwrap_or("*"), 1);)*
                Ok(vec![on(cx, concat!("apigateway:", $action), &path)])
            });
        )*
        service
    }};
}

/// Adds the operations of API Gateway version 2.
pub fn add(service: Service) -> Service {
    let service = service
        .state(compiled::Compiled::default())
        .state(jwt::IssuerKeys::default())
        .state(access_log::Lines::default());
    domains(parts_of_routes(parts_of_apis(apis(service)))).worker("access logs", access_log::write)
}

fn apis(service: Service) -> Service {
    operations! { service,
        CREATE_API CreateApiRequest "POST" "/apis" [] api::create_api;
        GET_API GetApiRequest "GET" "/apis/{}" [api_id] api::get_api;
        GET_APIS GetApisRequest "GET" "/apis" [] api::get_apis;
        UPDATE_API UpdateApiRequest "PATCH" "/apis/{}" [api_id] api::update_api;
        DELETE_API DeleteApiRequest "DELETE" "/apis/{}" [api_id] api::delete_api;
        IMPORT_API ImportApiRequest "PUT" "/apis" [] openapi::import_api;
        REIMPORT_API ReimportApiRequest "PUT" "/apis/{}" [api_id] openapi::reimport_api;
        EXPORT_API ExportApiRequest "GET" "/apis/{}/exports/{}" [api_id, specification] openapi::export_api;
        DELETE_CORS_CONFIGURATION DeleteCorsConfigurationRequest "DELETE" "/apis/{}/cors" [api_id]
            api::delete_cors_configuration;
        TAG_RESOURCE TagResourceRequest "POST" "/tags/{}" [resource_arn] tags::tag_resource;
        UNTAG_RESOURCE UntagResourceRequest "DELETE" "/tags/{}" [resource_arn] tags::untag_resource;
        GET_TAGS GetTagsRequest "GET" "/tags/{}" [resource_arn] tags::get_tags;
    }
}

fn parts_of_apis(service: Service) -> Service {
    operations! { service,
        CREATE_STAGE CreateStageRequest "POST" "/apis/{}/stages" [api_id] stage::create_stage;
        GET_STAGE GetStageRequest "GET" "/apis/{}/stages/{}" [api_id, stage_name] stage::get_stage;
        GET_STAGES GetStagesRequest "GET" "/apis/{}/stages" [api_id] stage::get_stages;
        UPDATE_STAGE UpdateStageRequest "PATCH" "/apis/{}/stages/{}" [api_id, stage_name] stage::update_stage;
        DELETE_STAGE DeleteStageRequest "DELETE" "/apis/{}/stages/{}" [api_id, stage_name] stage::delete_stage;
        DELETE_ACCESS_LOG_SETTINGS DeleteAccessLogSettingsRequest "DELETE" "/apis/{}/stages/{}/accesslogsettings"
            [api_id, stage_name] stage::delete_access_log_settings;
        DELETE_ROUTE_SETTINGS DeleteRouteSettingsRequest "DELETE" "/apis/{}/stages/{}/routesettings/{}"
            [api_id, stage_name, route_key] stage::delete_route_settings;
        CREATE_DEPLOYMENT CreateDeploymentRequest "POST" "/apis/{}/deployments" [api_id]
            deployment::create_deployment;
        GET_DEPLOYMENT GetDeploymentRequest "GET" "/apis/{}/deployments/{}" [api_id, deployment_id]
            deployment::get_deployment;
        GET_DEPLOYMENTS GetDeploymentsRequest "GET" "/apis/{}/deployments" [api_id] deployment::get_deployments;
        UPDATE_DEPLOYMENT UpdateDeploymentRequest "PATCH" "/apis/{}/deployments/{}" [api_id, deployment_id]
            deployment::update_deployment;
        DELETE_DEPLOYMENT DeleteDeploymentRequest "DELETE" "/apis/{}/deployments/{}" [api_id, deployment_id]
            deployment::delete_deployment;
        CREATE_AUTHORIZER CreateAuthorizerRequest "POST" "/apis/{}/authorizers" [api_id]
            authorizer::create_authorizer;
        GET_AUTHORIZER GetAuthorizerRequest "GET" "/apis/{}/authorizers/{}" [api_id, authorizer_id]
            authorizer::get_authorizer;
        GET_AUTHORIZERS GetAuthorizersRequest "GET" "/apis/{}/authorizers" [api_id] authorizer::get_authorizers;
        UPDATE_AUTHORIZER UpdateAuthorizerRequest "PATCH" "/apis/{}/authorizers/{}" [api_id, authorizer_id]
            authorizer::update_authorizer;
        DELETE_AUTHORIZER DeleteAuthorizerRequest "DELETE" "/apis/{}/authorizers/{}" [api_id, authorizer_id]
            authorizer::delete_authorizer;
        RESET_AUTHORIZERS_CACHE ResetAuthorizersCacheRequest "DELETE" "/apis/{}/stages/{}/cache/authorizers"
            [api_id, stage_name] authorizer::reset_authorizers_cache;
        CREATE_MODEL CreateModelRequest "POST" "/apis/{}/models" [api_id] model::create_model;
        GET_MODEL GetModelRequest "GET" "/apis/{}/models/{}" [api_id, model_id] model::get_model;
        GET_MODELS GetModelsRequest "GET" "/apis/{}/models" [api_id] model::get_models;
        UPDATE_MODEL UpdateModelRequest "PATCH" "/apis/{}/models/{}" [api_id, model_id] model::update_model;
        DELETE_MODEL DeleteModelRequest "DELETE" "/apis/{}/models/{}" [api_id, model_id] model::delete_model;
    }
}

fn parts_of_routes(service: Service) -> Service {
    operations! { service,
        CREATE_ROUTE CreateRouteRequest "POST" "/apis/{}/routes" [api_id] route::create_route;
        GET_ROUTE GetRouteRequest "GET" "/apis/{}/routes/{}" [api_id, route_id] route::get_route;
        GET_ROUTES GetRoutesRequest "GET" "/apis/{}/routes" [api_id] route::get_routes;
        UPDATE_ROUTE UpdateRouteRequest "PATCH" "/apis/{}/routes/{}" [api_id, route_id] route::update_route;
        DELETE_ROUTE DeleteRouteRequest "DELETE" "/apis/{}/routes/{}" [api_id, route_id] route::delete_route;
        DELETE_ROUTE_REQUEST_PARAMETER DeleteRouteRequestParameterRequest "DELETE"
            "/apis/{}/routes/{}/requestparameters/{}" [api_id, route_id, request_parameter_key]
            route::delete_route_request_parameter;
        CREATE_ROUTE_RESPONSE CreateRouteResponseRequest "POST" "/apis/{}/routes/{}/routeresponses"
            [api_id, route_id] route::create_route_response;
        GET_ROUTE_RESPONSE GetRouteResponseRequest "GET" "/apis/{}/routes/{}/routeresponses/{}"
            [api_id, route_id, route_response_id] route::get_route_response;
        GET_ROUTE_RESPONSES GetRouteResponsesRequest "GET" "/apis/{}/routes/{}/routeresponses" [api_id, route_id]
            route::get_route_responses;
        UPDATE_ROUTE_RESPONSE UpdateRouteResponseRequest "PATCH" "/apis/{}/routes/{}/routeresponses/{}"
            [api_id, route_id, route_response_id] route::update_route_response;
        DELETE_ROUTE_RESPONSE DeleteRouteResponseRequest "DELETE" "/apis/{}/routes/{}/routeresponses/{}"
            [api_id, route_id, route_response_id] route::delete_route_response;
        CREATE_INTEGRATION CreateIntegrationRequest "POST" "/apis/{}/integrations" [api_id]
            integration::create_integration;
        GET_INTEGRATION GetIntegrationRequest "GET" "/apis/{}/integrations/{}" [api_id, integration_id]
            integration::get_integration;
        GET_INTEGRATIONS GetIntegrationsRequest "GET" "/apis/{}/integrations" [api_id]
            integration::get_integrations;
        UPDATE_INTEGRATION UpdateIntegrationRequest "PATCH" "/apis/{}/integrations/{}" [api_id, integration_id]
            integration::update_integration;
        DELETE_INTEGRATION DeleteIntegrationRequest "DELETE" "/apis/{}/integrations/{}" [api_id, integration_id]
            integration::delete_integration;
        CREATE_INTEGRATION_RESPONSE CreateIntegrationResponseRequest "POST"
            "/apis/{}/integrations/{}/integrationresponses" [api_id, integration_id]
            integration::create_integration_response;
        GET_INTEGRATION_RESPONSE GetIntegrationResponseRequest "GET"
            "/apis/{}/integrations/{}/integrationresponses/{}" [api_id, integration_id, integration_response_id]
            integration::get_integration_response;
        GET_INTEGRATION_RESPONSES GetIntegrationResponsesRequest "GET"
            "/apis/{}/integrations/{}/integrationresponses" [api_id, integration_id]
            integration::get_integration_responses;
        UPDATE_INTEGRATION_RESPONSE UpdateIntegrationResponseRequest "PATCH"
            "/apis/{}/integrations/{}/integrationresponses/{}" [api_id, integration_id, integration_response_id]
            integration::update_integration_response;
        DELETE_INTEGRATION_RESPONSE DeleteIntegrationResponseRequest "DELETE"
            "/apis/{}/integrations/{}/integrationresponses/{}" [api_id, integration_id, integration_response_id]
            integration::delete_integration_response;
    }
}

fn domains(service: Service) -> Service {
    operations! { service,
        CREATE_DOMAIN_NAME CreateDomainNameRequest "POST" "/domainnames" [] domain_name::create_domain_name;
        GET_DOMAIN_NAME GetDomainNameRequest "GET" "/domainnames/{}" [domain_name] domain_name::get_domain_name;
        GET_DOMAIN_NAMES GetDomainNamesRequest "GET" "/domainnames" [] domain_name::get_domain_names;
        UPDATE_DOMAIN_NAME UpdateDomainNameRequest "PATCH" "/domainnames/{}" [domain_name]
            domain_name::update_domain_name;
        DELETE_DOMAIN_NAME DeleteDomainNameRequest "DELETE" "/domainnames/{}" [domain_name]
            domain_name::delete_domain_name;
        CREATE_API_MAPPING CreateApiMappingRequest "POST" "/domainnames/{}/apimappings" [domain_name]
            domain_name::create_api_mapping;
        GET_API_MAPPING GetApiMappingRequest "GET" "/domainnames/{}/apimappings/{}" [domain_name, api_mapping_id]
            domain_name::get_api_mapping;
        GET_API_MAPPINGS GetApiMappingsRequest "GET" "/domainnames/{}/apimappings" [domain_name]
            domain_name::get_api_mappings;
        UPDATE_API_MAPPING UpdateApiMappingRequest "PATCH" "/domainnames/{}/apimappings/{}"
            [domain_name, api_mapping_id] domain_name::update_api_mapping;
        DELETE_API_MAPPING DeleteApiMappingRequest "DELETE" "/domainnames/{}/apimappings/{}"
            [domain_name, api_mapping_id] domain_name::delete_api_mapping;
    }
}
