//! AWS Lambda.
//!
//! | File                          | Holds                                                                              |
//! |-------------------------------|------------------------------------------------------------------------------------|
//! | `function.rs`                 | how a function is kept, found and shown                                             |
//! | `function/create.rs`          | `CreateFunction`                                                                    |
//! | `function/update.rs`          | `UpdateFunctionCode`, `UpdateFunctionConfiguration`, runtime management             |
//! | `function/read.rs`            | `GetFunction`, `ListFunctions`, `DeleteFunction`, recursion                          |
//! | `function/settings.rs`        | what a configuration may say: pure                                                  |
//! | `function/runtimes.rs`        | which runtimes there are: pure                                                      |
//! | `function/zip.rs`             | zip archives: pure, and unpacking                                                   |
//! | `function/code.rs`            | packages as blobs, and unpacked                                                     |
//! | `function/unpack.rs`          | folders of packages: each made once, whole or not at all                            |
//! | `version.rs`                  | `PublishVersion`, `ListVersionsByFunction`                                          |
//! | `alias.rs`                    | `CreateAlias` and its sisters                                                       |
//! | `layer.rs`, `layer/permission.rs` | layers, their versions and permissions                                          |
//! | `permission.rs`               | `AddPermission`, `RemovePermission`, `GetPolicy`                                    |
//! | `tags.rs`                     | `TagResource`, `UntagResource`, `ListTags`                                          |
//! | `concurrency.rs`              | reserved and provisioned concurrency, `GetAccountSettings`                          |
//! | `concurrency/admission.rs`    | who may run now; `concurrency/provision.rs`: environments that are kept ready       |
//! | `event_invoke.rs`             | `PutFunctionEventInvokeConfig` and its sisters                                      |
//! | `invoke.rs`                   | `Invoke`, `InvokeAsync`; `invoke/stream.rs`: `InvokeWithResponseStream`             |
//! | `invoke/event.rs`             | asynchronous events: their queue, retries, destinations                             |
//! | `destination.rs`              | destinations and dead-letter queues                                                 |
//! | `event_source.rs`             | `CreateEventSourceMapping` and its sisters                                          |
//! | `event_source/stream.rs`      | pollers of DynamoDB streams, and below it their rules                               |
//! | `event_source/sqs.rs`         | pollers; `batch.rs`, `filter.rs`: events and filters, pure                           |
//! | `url.rs`                      | `CreateFunctionUrlConfig` and its sisters                                           |
//! | `url/serve.rs`                | requests to function URLs; `url/http.rs`: events and responses, pure                |
//! | `role.rs`                     | execution roles, really assumed                                                     |
//! | `logs.rs`, `metrics.rs`       | what functions write and what is counted                                            |
//! | `name.rs`, `page.rs`          | names of functions and layers; markers                                              |
//! | `access.rs`                   | what a caller must be allowed to do                                                 |
//! | `state.rs`                    | what a node keeps in memory                                                         |
//! | `keys.rs`, `error.rs`         | every key we write; every error a caller can see                                    |
//!
//! Where we differ from AWS, and why: `docs/services/lambda.md`.

mod access;
mod alias;
mod concurrency;
mod destination;
mod error;
mod event_invoke;
mod event_source;
mod function;
mod invoke;
mod keys;
mod layer;
mod logs;
pub mod metrics;
mod name;
mod page;
mod permission;
mod role;
mod state;
mod tags;
mod url;
mod version;

use pileus_api_lambda as api;
use pileus_platform::{Access, Cx, Fault, Service};

pub use crate::error::LambdaError;
pub use crate::state::{Setup, configure, start, stop};
pub use pileus_sandbox::{Isolation, Level, Network, PoolPolicy};

/// Operations on a function, version or alias that the request names: `access::function` judges them.
macro_rules! on_function {
    ($service:expr, $($operation:ident $input:ident $action:literal $handler:path $([$qualifier:ident])?;)*) => {{
        let service = $service;
        $(
            let service = {
                async fn access(cx: &Cx, input: &api::$input) -> Result<Vec<Access>, Fault> {
                    let qualifier: Option<&str> = None $(.or(input.$qualifier.as_deref()))?;
                    access::function(cx, $action, input.function_name.as_deref(), qualifier).await
                }
                service.op(api::$operation, $handler).access_async(api::$operation, access)
            };
        )*
        service
    }};
}

/// Operations on an event source mapping.
macro_rules! on_mapping {
    ($service:expr, $($operation:ident $input:ident $action:literal $handler:path;)*) => {{
        let service = $service;
        $(
            let service = {
                async fn access(cx: &Cx, input: &api::$input) -> Result<Vec<Access>, Fault> {
                    access::mapping(cx, $action, input.uuid.as_deref()).await
                }
                service.op(api::$operation, $handler).access_async(api::$operation, access)
            };
        )*
        service
    }};
}

/// Lambda as this node answers it. Functions run once [`configure`] has said where.
pub fn service() -> Service {
    let service = Service::new(api::SERVICE)
        .state(state::Lambda::default())
        .resource_policy(permission::resource_policy)
        .data_plane(url::serve::owns, url::serve::answer)
        .worker("logs", logs::run)
        .worker("events", invoke::event::work)
        .worker("event sources", event_source::sqs::work)
        .worker("provisioned", concurrency::provision::work)
        .worker("sweeper", function::code::sweep);
    mappings(layers(configuration(invocations(functions(service)))))
}

fn functions(service: Service) -> Service {
    use function::{create, read, update};
    let service = service
        .op(api::CREATE_FUNCTION, create::create_function)
        .access_async(api::CREATE_FUNCTION, access::create_function)
        .op(api::UPDATE_FUNCTION_CONFIGURATION, update::update_function_configuration)
        .access_async(api::UPDATE_FUNCTION_CONFIGURATION, access::update_configuration)
        .op(api::LIST_FUNCTIONS, read::list_functions)
        .op(api::GET_ACCOUNT_SETTINGS, concurrency::get_account_settings);
    on_function! { service,
        GET_FUNCTION GetFunctionRequest "lambda:GetFunction" read::get_function [qualifier];
        GET_FUNCTION_CONFIGURATION GetFunctionConfigurationRequest "lambda:GetFunctionConfiguration"
            read::get_function_configuration [qualifier];
        DELETE_FUNCTION DeleteFunctionRequest "lambda:DeleteFunction" read::delete_function [qualifier];
        UPDATE_FUNCTION_CODE UpdateFunctionCodeRequest "lambda:UpdateFunctionCode" update::update_function_code;
        PUT_RUNTIME_MANAGEMENT_CONFIG PutRuntimeManagementConfigRequest "lambda:PutRuntimeManagementConfig"
            update::put_runtime_management_config [qualifier];
        GET_RUNTIME_MANAGEMENT_CONFIG GetRuntimeManagementConfigRequest "lambda:GetRuntimeManagementConfig"
            update::get_runtime_management_config [qualifier];
        PUT_FUNCTION_RECURSION_CONFIG PutFunctionRecursionConfigRequest "lambda:PutFunctionRecursionConfig"
            read::put_function_recursion_config;
        GET_FUNCTION_RECURSION_CONFIG GetFunctionRecursionConfigRequest "lambda:GetFunctionRecursionConfig"
            read::get_function_recursion_config;
        GET_FUNCTION_CODE_SIGNING_CONFIG GetFunctionCodeSigningConfigRequest "lambda:GetFunctionCodeSigningConfig"
            read::get_function_code_signing_config;
        PUBLISH_VERSION PublishVersionRequest "lambda:PublishVersion" version::publish_version;
        LIST_VERSIONS_BY_FUNCTION ListVersionsByFunctionRequest "lambda:ListVersionsByFunction"
            version::list_versions_by_function;
        CREATE_ALIAS CreateAliasRequest "lambda:CreateAlias" alias::create_alias;
        GET_ALIAS GetAliasRequest "lambda:GetAlias" alias::get_alias;
        UPDATE_ALIAS UpdateAliasRequest "lambda:UpdateAlias" alias::update_alias;
        LIST_ALIASES ListAliasesRequest "lambda:ListAliases" alias::list_aliases;
        DELETE_ALIAS DeleteAliasRequest "lambda:DeleteAlias" alias::delete_alias;
    }
}

fn invocations(service: Service) -> Service {
    on_function! { service,
        INVOKE InvocationRequest "lambda:InvokeFunction" invoke::invoke [qualifier];
        INVOKE_ASYNC InvokeAsyncRequest "lambda:InvokeFunction" invoke::invoke_async;
        INVOKE_WITH_RESPONSE_STREAM InvokeWithResponseStreamRequest "lambda:InvokeFunction"
            invoke::stream::invoke_with_response_stream [qualifier];
    }
}

fn configuration(service: Service) -> Service {
    let service = service
        .op(api::ADD_PERMISSION, permission::add_permission)
        .access_async(api::ADD_PERMISSION, access::add_permission)
        .op(api::TAG_RESOURCE, tags::tag_resource)
        .access_async(api::TAG_RESOURCE, access::tag_resource)
        .op(api::UNTAG_RESOURCE, tags::untag_resource)
        .access_async(api::UNTAG_RESOURCE, access::untag_resource)
        .op(api::LIST_TAGS, tags::list_tags)
        .access_async(api::LIST_TAGS, access::list_tags);
    on_function! { service,
        REMOVE_PERMISSION RemovePermissionRequest "lambda:RemovePermission"
            permission::remove_permission [qualifier];
        GET_POLICY GetPolicyRequest "lambda:GetPolicy" permission::get_policy [qualifier];
        PUT_FUNCTION_CONCURRENCY PutFunctionConcurrencyRequest "lambda:PutFunctionConcurrency"
            concurrency::put_function_concurrency;
        GET_FUNCTION_CONCURRENCY GetFunctionConcurrencyRequest "lambda:GetFunctionConcurrency"
            concurrency::get_function_concurrency;
        DELETE_FUNCTION_CONCURRENCY DeleteFunctionConcurrencyRequest "lambda:DeleteFunctionConcurrency"
            concurrency::delete_function_concurrency;
        PUT_PROVISIONED_CONCURRENCY_CONFIG PutProvisionedConcurrencyConfigRequest
            "lambda:PutProvisionedConcurrencyConfig" concurrency::put_provisioned_concurrency_config [qualifier];
        GET_PROVISIONED_CONCURRENCY_CONFIG GetProvisionedConcurrencyConfigRequest
            "lambda:GetProvisionedConcurrencyConfig" concurrency::get_provisioned_concurrency_config [qualifier];
        LIST_PROVISIONED_CONCURRENCY_CONFIGS ListProvisionedConcurrencyConfigsRequest
            "lambda:ListProvisionedConcurrencyConfigs" concurrency::list_provisioned_concurrency_configs;
        DELETE_PROVISIONED_CONCURRENCY_CONFIG DeleteProvisionedConcurrencyConfigRequest
            "lambda:DeleteProvisionedConcurrencyConfig" concurrency::delete_provisioned_concurrency_config
            [qualifier];
        PUT_FUNCTION_EVENT_INVOKE_CONFIG PutFunctionEventInvokeConfigRequest "lambda:PutFunctionEventInvokeConfig"
            event_invoke::put_function_event_invoke_config [qualifier];
        UPDATE_FUNCTION_EVENT_INVOKE_CONFIG UpdateFunctionEventInvokeConfigRequest
            "lambda:UpdateFunctionEventInvokeConfig" event_invoke::update_function_event_invoke_config [qualifier];
        GET_FUNCTION_EVENT_INVOKE_CONFIG GetFunctionEventInvokeConfigRequest "lambda:GetFunctionEventInvokeConfig"
            event_invoke::get_function_event_invoke_config [qualifier];
        DELETE_FUNCTION_EVENT_INVOKE_CONFIG DeleteFunctionEventInvokeConfigRequest
            "lambda:DeleteFunctionEventInvokeConfig" event_invoke::delete_function_event_invoke_config [qualifier];
        LIST_FUNCTION_EVENT_INVOKE_CONFIGS ListFunctionEventInvokeConfigsRequest
            "lambda:ListFunctionEventInvokeConfigs" event_invoke::list_function_event_invoke_configs;
        CREATE_FUNCTION_URL_CONFIG CreateFunctionUrlConfigRequest "lambda:CreateFunctionUrlConfig"
            url::create_function_url_config [qualifier];
        GET_FUNCTION_URL_CONFIG GetFunctionUrlConfigRequest "lambda:GetFunctionUrlConfig"
            url::get_function_url_config [qualifier];
        UPDATE_FUNCTION_URL_CONFIG UpdateFunctionUrlConfigRequest "lambda:UpdateFunctionUrlConfig"
            url::update_function_url_config [qualifier];
        DELETE_FUNCTION_URL_CONFIG DeleteFunctionUrlConfigRequest "lambda:DeleteFunctionUrlConfig"
            url::delete_function_url_config [qualifier];
        LIST_FUNCTION_URL_CONFIGS ListFunctionUrlConfigsRequest "lambda:ListFunctionUrlConfigs"
            url::list_function_url_configs;
    }
}

fn layers(service: Service) -> Service {
    use layer::permission as allow;
    service
        .op(api::PUBLISH_LAYER_VERSION, layer::publish_layer_version)
        .access(api::PUBLISH_LAYER_VERSION, |cx, input| {
            access::layer(cx, "lambda:PublishLayerVersion", input.layer_name.as_deref())
        })
        .op(api::GET_LAYER_VERSION, layer::get_layer_version)
        .access(api::GET_LAYER_VERSION, |cx, input| {
            let name = input.layer_name.as_deref();
            access::layer_version(cx, "lambda:GetLayerVersion", name, input.version_number)
        })
        .op(api::GET_LAYER_VERSION_BY_ARN, layer::get_layer_version_by_arn)
        .access(api::GET_LAYER_VERSION_BY_ARN, |cx, input| {
            access::layer_version(cx, "lambda:GetLayerVersion", input.arn.as_deref(), None)
        })
        .op(api::LIST_LAYERS, layer::list_layers)
        .op(api::LIST_LAYER_VERSIONS, layer::list_layer_versions)
        .op(api::DELETE_LAYER_VERSION, layer::delete_layer_version)
        .access(api::DELETE_LAYER_VERSION, |cx, input| {
            let name = input.layer_name.as_deref();
            access::layer_version(cx, "lambda:DeleteLayerVersion", name, input.version_number)
        })
        .op(api::ADD_LAYER_VERSION_PERMISSION, allow::add_layer_version_permission)
        .access(api::ADD_LAYER_VERSION_PERMISSION, |cx, input| {
            let name = input.layer_name.as_deref();
            access::layer_version(cx, "lambda:AddLayerVersionPermission", name, input.version_number)
        })
        .op(api::REMOVE_LAYER_VERSION_PERMISSION, allow::remove_layer_version_permission)
        .access(api::REMOVE_LAYER_VERSION_PERMISSION, |cx, input| {
            let name = input.layer_name.as_deref();
            access::layer_version(cx, "lambda:RemoveLayerVersionPermission", name, input.version_number)
        })
        .op(api::GET_LAYER_VERSION_POLICY, allow::get_layer_version_policy)
        .access(api::GET_LAYER_VERSION_POLICY, |cx, input| {
            let name = input.layer_name.as_deref();
            access::layer_version(cx, "lambda:GetLayerVersionPolicy", name, input.version_number)
        })
}

fn mappings(service: Service) -> Service {
    let service = service
        .op(api::CREATE_EVENT_SOURCE_MAPPING, event_source::create_event_source_mapping)
        .access_async(api::CREATE_EVENT_SOURCE_MAPPING, access::create_mapping)
        .op(api::LIST_EVENT_SOURCE_MAPPINGS, event_source::list_event_source_mappings);
    on_mapping! { service,
        GET_EVENT_SOURCE_MAPPING GetEventSourceMappingRequest "lambda:GetEventSourceMapping"
            event_source::get_event_source_mapping;
        UPDATE_EVENT_SOURCE_MAPPING UpdateEventSourceMappingRequest "lambda:UpdateEventSourceMapping"
            event_source::update_event_source_mapping;
        DELETE_EVENT_SOURCE_MAPPING DeleteEventSourceMappingRequest "lambda:DeleteEventSourceMapping"
            event_source::delete_event_source_mapping;
    }
}
