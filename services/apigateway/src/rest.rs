//! REST APIs (version 1).
//!
//! | File | Holds |
//! |---|---|
//! | `api.rs` | `CreateRestApi` and its sisters |
//! | `resource.rs`, `method.rs`, `integration.rs` | resources, methods with their responses, integrations with theirs |
//! | `deployment.rs`, `snapshot.rs`, `stage.rs` | deployments, what they hold, stages |
//! | `model.rs`, `schema.rs` | models and request validators; JSON Schema draft 4: pure |
//! | `authorizer.rs`, `gateway_response.rs` | authorizers; what API Gateway answers itself |
//! | `api_key.rs`, `usage_plan.rs`, `usage.rs` | API keys, usage plans, what was used of them |
//! | `domain.rs` | custom domain names and base path mappings |
//! | `documentation.rs` | documentation parts and versions |
//! | `openapi.rs`, `openapi/*.rs`, `yaml.rs` | import and export |
//! | `sdk.rs` | `GetSdk` |
//! | `account.rs`, `tags.rs` | the account's settings; tags |
//! | `document.rs`, `patch.rs`, `page.rs` | stored resources; patch operations: pure; pages |
//! | `access.rs`, `keys.rs` | what a caller must be allowed to do; every key that REST APIs write |
//! | `execute.rs`, `execute/*.rs` | requests |

mod access;
mod account;
mod api;
mod api_key;
mod authorizer;
mod deployment;
mod document;
mod documentation;
mod domain;
pub mod execute;
mod gateway_response;
mod integration;
pub mod keys;
mod method;
mod model;
mod openapi;
mod page;
mod patch;
mod resource;
mod schema;
mod sdk;
mod snapshot;
mod stage;
mod tags;
mod usage;
mod usage_plan;
pub mod yaml;

use pileus_api_apigateway as ops;
use pileus_core::Timestamp;
use pileus_platform::{Cx, Service};

/// Moments are shown in whole seconds.
fn now(cx: &Cx) -> Timestamp {
    Timestamp::new(cx.now().as_secs(), 0)
}

/// Adds operations, each with the permission that its method and address say.
macro_rules! add {
    ($service:expr; $($operation:ident => $handler:path),* $(,)?) => {
        $service$(
            .op(ops::$operation, $handler)
            .access(ops::$operation, |cx, input| access::of(cx, ops::$operation.name, input))
        )*
    };
}

/// Adds the operations of REST APIs.
pub fn add(service: Service) -> Service {
    let service = execute::add(service).worker("deleted APIs", api::sweep_all);
    runs(plans(settings(documents(rules(stages(resources(service)))))))
}

fn resources(service: Service) -> Service {
    add! { service;
        CREATE_REST_API => api::create_rest_api,
        GET_REST_API => api::get_rest_api,
        GET_REST_APIS => api::get_rest_apis,
        UPDATE_REST_API => api::update_rest_api,
        DELETE_REST_API => api::delete_rest_api,
        CREATE_RESOURCE => resource::create_resource,
        GET_RESOURCE => resource::get_resource,
        GET_RESOURCES => resource::get_resources,
        UPDATE_RESOURCE => resource::update_resource,
        DELETE_RESOURCE => resource::delete_resource,
        PUT_METHOD => method::put_method,
        GET_METHOD => method::get_method,
        UPDATE_METHOD => method::update_method,
        DELETE_METHOD => method::delete_method,
        PUT_METHOD_RESPONSE => method::put_method_response,
        GET_METHOD_RESPONSE => method::get_method_response,
        UPDATE_METHOD_RESPONSE => method::update_method_response,
        DELETE_METHOD_RESPONSE => method::delete_method_response,
        PUT_INTEGRATION => integration::put_integration,
        GET_INTEGRATION => integration::get_integration,
        UPDATE_INTEGRATION => integration::update_integration,
        DELETE_INTEGRATION => integration::delete_integration,
        PUT_INTEGRATION_RESPONSE => integration::put_integration_response,
        GET_INTEGRATION_RESPONSE => integration::get_integration_response,
        UPDATE_INTEGRATION_RESPONSE => integration::update_integration_response,
        DELETE_INTEGRATION_RESPONSE => integration::delete_integration_response,
    }
}

fn stages(service: Service) -> Service {
    add! { service;
        CREATE_DEPLOYMENT => deployment::create_deployment,
        GET_DEPLOYMENT => deployment::get_deployment,
        GET_DEPLOYMENTS => deployment::get_deployments,
        UPDATE_DEPLOYMENT => deployment::update_deployment,
        DELETE_DEPLOYMENT => deployment::delete_deployment,
        CREATE_STAGE => stage::create_stage,
        GET_STAGE => stage::get_stage,
        GET_STAGES => stage::get_stages,
        UPDATE_STAGE => stage::update_stage,
        DELETE_STAGE => stage::delete_stage,
        FLUSH_STAGE_CACHE => stage::flush_stage_cache,
        FLUSH_STAGE_AUTHORIZERS_CACHE => stage::flush_stage_authorizers_cache,
    }
}

fn rules(service: Service) -> Service {
    add! { service;
        CREATE_MODEL => model::create_model,
        GET_MODEL => model::get_model,
        GET_MODELS => model::get_models,
        GET_MODEL_TEMPLATE => model::get_model_template,
        UPDATE_MODEL => model::update_model,
        DELETE_MODEL => model::delete_model,
        CREATE_REQUEST_VALIDATOR => model::create_request_validator,
        GET_REQUEST_VALIDATOR => model::get_request_validator,
        GET_REQUEST_VALIDATORS => model::get_request_validators,
        UPDATE_REQUEST_VALIDATOR => model::update_request_validator,
        DELETE_REQUEST_VALIDATOR => model::delete_request_validator,
        CREATE_AUTHORIZER => authorizer::create_authorizer,
        GET_AUTHORIZER => authorizer::get_authorizer,
        GET_AUTHORIZERS => authorizer::get_authorizers,
        UPDATE_AUTHORIZER => authorizer::update_authorizer,
        DELETE_AUTHORIZER => authorizer::delete_authorizer,
        PUT_GATEWAY_RESPONSE => gateway_response::put_gateway_response,
        GET_GATEWAY_RESPONSE => gateway_response::get_gateway_response,
        GET_GATEWAY_RESPONSES => gateway_response::get_gateway_responses,
        UPDATE_GATEWAY_RESPONSE => gateway_response::update_gateway_response,
        DELETE_GATEWAY_RESPONSE => gateway_response::delete_gateway_response,
    }
}

fn documents(service: Service) -> Service {
    add! { service;
        CREATE_DOCUMENTATION_PART => documentation::create_documentation_part,
        GET_DOCUMENTATION_PART => documentation::get_documentation_part,
        GET_DOCUMENTATION_PARTS => documentation::get_documentation_parts,
        UPDATE_DOCUMENTATION_PART => documentation::update_documentation_part,
        DELETE_DOCUMENTATION_PART => documentation::delete_documentation_part,
        CREATE_DOCUMENTATION_VERSION => documentation::create_documentation_version,
        GET_DOCUMENTATION_VERSION => documentation::get_documentation_version,
        GET_DOCUMENTATION_VERSIONS => documentation::get_documentation_versions,
        UPDATE_DOCUMENTATION_VERSION => documentation::update_documentation_version,
        DELETE_DOCUMENTATION_VERSION => documentation::delete_documentation_version,
    }
}

fn settings(service: Service) -> Service {
    let service = add! { service;
        GET_ACCOUNT => account::get_account,
        GET_TAGS => tags::get_tags,
        TAG_RESOURCE => tags::tag_resource,
        UNTAG_RESOURCE => tags::untag_resource,
        CREATE_DOMAIN_NAME => domain::create_domain_name,
        GET_DOMAIN_NAME => domain::get_domain_name,
        GET_DOMAIN_NAMES => domain::get_domain_names,
        UPDATE_DOMAIN_NAME => domain::update_domain_name,
        DELETE_DOMAIN_NAME => domain::delete_domain_name,
        CREATE_BASE_PATH_MAPPING => domain::create_base_path_mapping,
        GET_BASE_PATH_MAPPING => domain::get_base_path_mapping,
        GET_BASE_PATH_MAPPINGS => domain::get_base_path_mappings,
        UPDATE_BASE_PATH_MAPPING => domain::update_base_path_mapping,
        DELETE_BASE_PATH_MAPPING => domain::delete_base_path_mapping,
    };
    service
        .op(ops::UPDATE_ACCOUNT, account::update_account)
        .access(ops::UPDATE_ACCOUNT, account::update_access)
}

fn plans(service: Service) -> Service {
    add! { service;
        CREATE_API_KEY => api_key::create_api_key,
        IMPORT_API_KEYS => api_key::import_api_keys,
        GET_API_KEY => api_key::get_api_key,
        GET_API_KEYS => api_key::get_api_keys,
        UPDATE_API_KEY => api_key::update_api_key,
        DELETE_API_KEY => api_key::delete_api_key,
        CREATE_USAGE_PLAN => usage_plan::create_usage_plan,
        GET_USAGE_PLAN => usage_plan::get_usage_plan,
        GET_USAGE_PLANS => usage_plan::get_usage_plans,
        UPDATE_USAGE_PLAN => usage_plan::update_usage_plan,
        DELETE_USAGE_PLAN => usage_plan::delete_usage_plan,
        CREATE_USAGE_PLAN_KEY => usage_plan::create_usage_plan_key,
        GET_USAGE_PLAN_KEY => usage_plan::get_usage_plan_key,
        GET_USAGE_PLAN_KEYS => usage_plan::get_usage_plan_keys,
        DELETE_USAGE_PLAN_KEY => usage_plan::delete_usage_plan_key,
        GET_USAGE => usage::get_usage,
        UPDATE_USAGE => usage::update_usage,
    }
}

fn runs(service: Service) -> Service {
    add! { service;
        IMPORT_REST_API => openapi::import_rest_api,
        PUT_REST_API => openapi::put_rest_api,
        IMPORT_DOCUMENTATION_PARTS => openapi::import_documentation_parts,
        GET_EXPORT => openapi::get_export,
        GET_SDK => sdk::get_sdk,
        GET_SDK_TYPE => sdk::get_sdk_type,
        GET_SDK_TYPES => sdk::get_sdk_types,
        TEST_INVOKE_METHOD => execute::test::test_invoke_method,
        TEST_INVOKE_AUTHORIZER => execute::test::test_invoke_authorizer,
    }
}
