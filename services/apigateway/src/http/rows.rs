//! HTTP and WebSocket APIs as they are kept: the members of AWS's shapes under their own names.

use std::collections::BTreeMap;

use pileus_api_apigatewayv2 as api;
use pileus_core::Timestamp;
use pileus_wire::value::Map;
use serde::{Deserialize, Serialize};

/// A value as it is kept, and as it travels.
pub trait Kept: Sized {
    type Wire;
    fn keep(wire: Self::Wire) -> Self;
    fn wire(&self) -> Self::Wire;
}

macro_rules! same {
    ($($type:ty),*) => {
        $(
            impl Kept for $type {
                type Wire = $type;
                fn keep(wire: $type) -> $type {
                    wire
                }
                fn wire(&self) -> $type {
                    self.clone()
                }
            }
        )*
    };
}

same!(String, bool, i64, f64, Timestamp, Vec<String>);

/// In the order of their names.
impl<V: Kept> Kept for BTreeMap<String, V> {
    type Wire = Map<V::Wire>;
    fn keep(wire: Map<V::Wire>) -> Self {
        wire.0.into_iter().map(|(key, value)| (key, V::keep(value))).collect()
    }
    fn wire(&self) -> Map<V::Wire> {
        self.iter().map(|(key, value)| (key.clone(), value.wire())).collect()
    }
}

/// A shape of AWS's and its twin in the store.
macro_rules! twin {
    ($(#[$meta:meta])* $row:ident = $wire:ty { $($field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $row {
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )*
        }

        impl Kept for $row {
            type Wire = $wire;
            fn keep(wire: $wire) -> $row {
                $row { $($field: wire.$field.map(Kept::keep),)* }
            }
            fn wire(&self) -> $wire {
                #[allow(clippy::needless_update)]
                Self::Wire { $($field: self.$field.as_ref().map(Kept::wire),)* ..Default::default() }
            }
        }
    };
}

twin! { Cors = api::Cors {
    allow_credentials: bool,
    allow_headers: Vec<String>,
    allow_methods: Vec<String>,
    allow_origins: Vec<String>,
    expose_headers: Vec<String>,
    max_age: i64,
} }
twin! { RouteSettings = api::RouteSettings {
    data_trace_enabled: bool,
    detailed_metrics_enabled: bool,
    logging_level: String,
    throttling_burst_limit: i64,
    throttling_rate_limit: f64,
} }
twin! { AccessLogSettings = api::AccessLogSettings { destination_arn: String, format: String, } }
twin! { JwtConfiguration = api::JWTConfiguration { audience: Vec<String>, issuer: String, } }
twin! { ParameterConstraints = api::ParameterConstraints { required: bool, } }
twin! { TlsConfig = api::TlsConfig { server_name_to_verify: String, } }

twin! {
    ApiRow = api::Api {
        api_key_selection_expression: String,
        api_gateway_managed: bool,
        cors_configuration: Cors,
        created_date: Timestamp,
        description: String,
        disable_schema_validation: bool,
        disable_execute_api_endpoint: bool,
        import_info: Vec<String>,
        ip_address_type: String,
        name: String,
        protocol_type: String,
        route_selection_expression: String,
        tags: BTreeMap<String, String>,
        version: String,
        warnings: Vec<String>,
    }
}
twin! {
    RouteRow = api::Route {
        api_gateway_managed: bool,
        api_key_required: bool,
        authorization_scopes: Vec<String>,
        authorization_type: String,
        authorizer_id: String,
        model_selection_expression: String,
        operation_name: String,
        request_models: BTreeMap<String, String>,
        request_parameters: BTreeMap<String, ParameterConstraints>,
        route_id: String,
        route_key: String,
        route_response_selection_expression: String,
        target: String,
    }
}
twin! {
    IntegrationRow = api::Integration {
        api_gateway_managed: bool,
        connection_id: String,
        connection_type: String,
        content_handling_strategy: String,
        credentials_arn: String,
        description: String,
        integration_id: String,
        integration_method: String,
        integration_response_selection_expression: String,
        integration_subtype: String,
        integration_type: String,
        integration_uri: String,
        passthrough_behavior: String,
        payload_format_version: String,
        request_parameters: BTreeMap<String, String>,
        request_templates: BTreeMap<String, String>,
        response_parameters: BTreeMap<String, BTreeMap<String, String>>,
        template_selection_expression: String,
        timeout_in_millis: i64,
        tls_config: TlsConfig,
    }
}
twin! {
    IntegrationResponseRow = api::IntegrationResponse {
        content_handling_strategy: String,
        integration_response_id: String,
        integration_response_key: String,
        response_parameters: BTreeMap<String, String>,
        response_templates: BTreeMap<String, String>,
        template_selection_expression: String,
    }
}
twin! {
    RouteResponseRow = api::RouteResponse {
        model_selection_expression: String,
        response_models: BTreeMap<String, String>,
        response_parameters: BTreeMap<String, ParameterConstraints>,
        route_response_id: String,
        route_response_key: String,
    }
}
twin! {
    AuthorizerRow = api::Authorizer {
        authorizer_credentials_arn: String,
        authorizer_id: String,
        authorizer_payload_format_version: String,
        authorizer_result_ttl_in_seconds: i64,
        authorizer_type: String,
        authorizer_uri: String,
        enable_simple_responses: bool,
        identity_source: Vec<String>,
        identity_validation_expression: String,
        jwt_configuration: JwtConfiguration,
        name: String,
    }
}
twin! {
    ModelRow = api::Model {
        content_type: String,
        description: String,
        model_id: String,
        name: String,
        schema: String,
    }
}
twin! {
    StageRow = api::Stage {
        access_log_settings: AccessLogSettings,
        api_gateway_managed: bool,
        auto_deploy: bool,
        client_certificate_id: String,
        created_date: Timestamp,
        default_route_settings: RouteSettings,
        deployment_id: String,
        description: String,
        last_deployment_status_message: String,
        last_updated_date: Timestamp,
        route_settings: BTreeMap<String, RouteSettings>,
        stage_name: String,
        stage_variables: BTreeMap<String, String>,
        tags: BTreeMap<String, String>,
    }
}
twin! {
    DeploymentRow = api::Deployment {
        auto_deployed: bool,
        created_date: Timestamp,
        deployment_id: String,
        deployment_status: String,
        deployment_status_message: String,
        description: String,
    }
}

/// All that a stage's requests depend on, as a deployment freezes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    pub cors: Option<Cors>,
    pub route_selection_expression: Option<String>,
    pub api_key_selection_expression: Option<String>,
    pub routes: Vec<RouteRow>,
    pub integrations: Vec<IntegrationRow>,
    /// With the integration's id.
    pub integration_responses: Vec<(String, IntegrationResponseRow)>,
    /// With the route's id.
    pub route_responses: Vec<(String, RouteResponseRow)>,
    pub authorizers: Vec<AuthorizerRow>,
}

/// Takes over what a request gives: absent members stay as they are.
macro_rules! take {
    ($input:ident => $row:ident: $($field:ident),* $(,)?) => {
        $(if let Some(value) = $input.$field.take() {
            $row.$field = Some(super::rows::Kept::keep(value));
        })*
    };
}

/// An answer of the same members.
macro_rules! show {
    ($row:expr => $wire:ident: $($field:ident),* $(,)?) => {{
        let row = &$row;
        // Some shapes have members of their own beside these.
        #[allow(clippy::needless_update)]
        let shown = api::$wire {
            $($field: row.$field.as_ref().map(super::rows::Kept::wire),)*
            ..Default::default()
        };
        shown
    }};
}

pub(crate) use {show, take};
