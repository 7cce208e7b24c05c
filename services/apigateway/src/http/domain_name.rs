//! `CreateDomainName` and its sisters, `CreateApiMapping` and its sisters.
//!
//! Source: Developer Guide, "Custom domain name for HTTP APIs in API Gateway", "Use API mappings to map API stages to a custom domain
//! name for HTTP APIs"; API Reference, "DomainNames", "ApiMappings".
//!
//! AWS's sentences are not documented. Those that its users have reported name the report; the others are chosen.

use pileus_api_apigatewayv2 as api;
use pileus_platform::Cx;
use pileus_store::{Reader, StoreError, Txn};
use pileus_wire::value::Unit;

use super::keys::{APIS, Part};
use super::parts::{MOST_PARTS, page};
use super::rows::{Kept, StageRow};
use crate::domain::{DomainConfiguration, DomainRow, MappingRow, Names};
use crate::error::{GatewayError, no_such};
use crate::keys::{API_IDS, DOMAINS, DOMAINS_TOPIC, Kind, MAPPINGS};
use crate::rest::keys::STAGES;

/// Source: "[Bug]: API domain mapping failure for Private Rest APIs" (hashicorp/terraform-provider-aws 41659).
pub fn no_domain() -> GatewayError {
    GatewayError::NotFound("Invalid domain name identifier specified".to_owned())
}

/// Chosen: the sentence, in the form of its neighbours'. No report of AWS's own was found.
fn no_mapping() -> GatewayError {
    GatewayError::NotFound("Invalid API mapping identifier specified".to_owned())
}

/// Source: "Unable to map httpapi to exisiting customdomain" (aws/serverless-application-model 2208), which has the sentence and
/// status 400; version 1 of the API says the same (`BadRequestException`).
pub fn domain_exists() -> GatewayError {
    GatewayError::bad("The domain name you provided already exists.")
}

/// Source: "(AmazonApiGatewayV2): (ApiMapping key already exists for this domain name)" (aws/aws-cdk 22660).
fn mapping_exists() -> GatewayError {
    GatewayError::Conflict("ApiMapping key already exists for this domain name".to_owned())
}

async fn domain(
    reader: &impl Reader,
    cx: &Cx,
    name: Option<&str>,
) -> Result<(String, DomainRow), GatewayError> {
    let name = name.unwrap_or_default().to_ascii_lowercase();
    let row = DOMAINS.get(reader, &name).await?;
    let row = row.filter(|row| row.account == cx.account() && row.region == *cx.region());
    Ok((name, row.ok_or_else(no_domain)?))
}

/// After a change: this node knows it at once, others by the wake-up.
async fn known(cx: &Cx, name: &str) -> Result<(), StoreError> {
    cx.state::<Names>().reload(cx.store(), &name.to_ascii_lowercase()).await
}

struct Shown {
    name: String,
    arn: String,
    configurations: Vec<api::DomainNameConfiguration>,
    row: DomainRow,
}

fn shown(cx: &Cx, name: String, row: DomainRow) -> Shown {
    let configurations = row.configurations.iter().map(|kept| api::DomainNameConfiguration {
        api_gateway_domain_name: Some(kept.target.clone()),
        certificate_arn: kept.certificate_arn.clone(),
        certificate_name: kept.certificate_name.clone(),
        certificate_upload_date: kept.certificate_uploaded,
        domain_name_status: Some("AVAILABLE".to_owned()),
        domain_name_status_message: None,
        endpoint_type: Some(kept.endpoint_type.clone()),
        hosted_zone_id: Some(kept.hosted_zone_id.clone()),
        ip_address_type: kept.ip_address_type.clone(),
        security_policy: Some(kept.security_policy.clone()),
        ownership_verification_certificate_arn: kept.ownership_verification_certificate_arn.clone(),
    });
    let region = cx.region();
    let arn = format!("arn:{}:apigateway:{region}::/domainnames/{name}", region.partition());
    Shown { name, arn, configurations: configurations.collect(), row }
}

macro_rules! answer {
    ($cx:expr, $name:expr, $row:expr => $wire:ident) => {{
        let Shown { name, arn, configurations, row } = shown($cx, $name, $row);
        api::$wire {
            api_mapping_selection_expression: Some("$request.basepath".to_owned()),
            domain_name: Some(name),
            domain_name_arn: Some(arn),
            domain_name_configurations: Some(configurations),
            mutual_tls_authentication: None,
            routing_mode: Some(row.routing_mode.clone()),
            tags: Some(row.tags.wire()),
        }
    }};
}

/// Chosen: the sentence.
fn check_name(name: &str) -> Result<(), GatewayError> {
    let labels: Vec<&str> = name.strip_prefix("*.").unwrap_or(name).split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match name.len() <= 253 && labels.len() >= 2 && labels.iter().all(is_label) {
        true => Ok(()),
        false => Err(GatewayError::bad(format!("Invalid domain name identifier specified: {name}"))),
    }
}

/// Checks and completes the configuration of a domain's endpoint.
///
/// Chosen: the sentences.
fn configuration(
    cx: &Cx,
    given: &api::DomainNameConfiguration,
    before: Option<&DomainConfiguration>,
) -> Result<DomainConfiguration, GatewayError> {
    let endpoint_type = given.endpoint_type.as_deref().unwrap_or("REGIONAL");
    if endpoint_type != "REGIONAL" {
        return Err(GatewayError::bad(
            "Only REGIONAL endpoints are supported for domain names of API Gateway V2",
        ));
    }
    let certificate = given.certificate_arn.clone().or_else(|| before?.certificate_arn.clone());
    let Some(arn) = &certificate else {
        return Err(GatewayError::bad("A certificate ARN is required for a domain name"));
    };
    // Source: "Custom domain name for HTTP APIs": the certificate lies in the API's region.
    match pileus_core::Arn::parse(arn) {
        Ok(parsed) if parsed.service() == "acm" && parsed.region() == cx.region().as_str() => {}
        _ => {
            return Err(GatewayError::bad(format!(
                "The specified certificate {arn} is not in this region or is no ACM certificate"
            )));
        }
    }
    let security_policy = given.security_policy.clone().unwrap_or_else(|| "TLS_1_2".to_owned());
    if security_policy != "TLS_1_2" {
        return Err(GatewayError::bad("Only security policy TLS_1_2 is supported"));
    }
    let target = match before {
        Some(before) => before.target.clone(),
        None => format!("d-{}.execute-api.{}.amazonaws.com", cx.ids().lower(10), cx.region()),
    };
    Ok(DomainConfiguration {
        endpoint_type: endpoint_type.to_owned(),
        target,
        hosted_zone_id: before
            .map_or_else(|| format!("Z{}", cx.ids().iam("", 13)), |before| before.hosted_zone_id.clone()),
        certificate_arn: certificate,
        certificate_name: given.certificate_name.clone(),
        certificate_uploaded: None,
        security_policy,
        ip_address_type: Some(given.ip_address_type.clone().unwrap_or_else(|| "ipv4".to_owned())),
        ownership_verification_certificate_arn: given.ownership_verification_certificate_arn.clone(),
    })
}

fn refuse(mutual_tls: bool, routing_mode: Option<&str>) -> Result<(), GatewayError> {
    if mutual_tls {
        return Err(GatewayError::missing("mutual TLS of domain names (MutualTlsAuthentication)"));
    }
    match routing_mode {
        None | Some("API_MAPPING_ONLY") => Ok(()),
        Some(_) => Err(GatewayError::missing("routing rules (RoutingMode)")),
    }
}

pub async fn create_domain_name(
    cx: &Cx,
    input: api::CreateDomainNameRequest,
) -> Result<api::CreateDomainNameResponse, GatewayError> {
    let name = input.domain_name.unwrap_or_default().to_ascii_lowercase();
    check_name(&name)?;
    refuse(input.mutual_tls_authentication.is_some(), input.routing_mode.as_deref())?;
    let given = input.domain_name_configurations.unwrap_or_default();
    let [given] = &given[..] else {
        // Source: "awscc_apigatewayv2_domain_name: Expected one domain name configuration" (hashicorp/terraform-provider-awscc 1667).
        return Err(GatewayError::bad("Invalid input. Expected one domain name configuration"));
    };
    let row = DomainRow {
        account: cx.account(),
        region: cx.region().clone(),
        created: cx.now(),
        configurations: vec![configuration(cx, given, None)?],
        tags: Kept::keep(input.tags.unwrap_or_default()),
        routing_mode: "API_MAPPING_ONLY".to_owned(),
    };
    cx.transact(|txn| {
        let (name, row) = (name.clone(), row.clone());
        async move {
            txn.notify(DOMAINS_TOPIC);
            match DOMAINS.put_if_absent(&txn, &name, &row).await? {
                true => Ok(()),
                false => Err(domain_exists()),
            }
        }
    })
    .await?;
    known(cx, &name).await?;
    Ok(answer!(cx, name, row => CreateDomainNameResponse))
}

pub async fn get_domain_name(
    cx: &Cx,
    input: api::GetDomainNameRequest,
) -> Result<api::GetDomainNameResponse, GatewayError> {
    let (name, row) = domain(cx.store(), cx, input.domain_name.as_deref()).await?;
    Ok(answer!(cx, name, row => GetDomainNameResponse))
}

pub async fn get_domain_names(
    cx: &Cx,
    input: api::GetDomainNamesRequest,
) -> Result<api::GetDomainNamesResponse, GatewayError> {
    let rows = DOMAINS.scan(cx.store(), &DOMAINS.all(), MOST_PARTS).await?.rows;
    let own = rows.into_iter().filter(|(_, row)| row.account == cx.account() && row.region == *cx.region());
    let items = own.map(|(name, row)| (name.clone(), answer!(cx, name, row => DomainName)));
    let (items, next_token) =
        page(items.collect(), input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetDomainNamesResponse { items: Some(items), next_token })
}

pub async fn update_domain_name(
    cx: &Cx,
    input: api::UpdateDomainNameRequest,
) -> Result<api::UpdateDomainNameResponse, GatewayError> {
    refuse(input.mutual_tls_authentication.is_some(), input.routing_mode.as_deref())?;
    let (name, row) = cx
        .transact(|txn| {
            let input = input.clone();
            async move {
                let (name, mut row) = domain(&txn, cx, input.domain_name.as_deref()).await?;
                if let Some([given, ..]) = input.domain_name_configurations.as_deref() {
                    row.configurations = vec![configuration(cx, given, row.configurations.first())?];
                }
                DOMAINS.put(&txn, &name, &row)?;
                txn.notify(DOMAINS_TOPIC);
                Ok::<_, GatewayError>((name, row))
            }
        })
        .await?;
    known(cx, &name).await?;
    Ok(answer!(cx, name, row => UpdateDomainNameResponse))
}

pub async fn delete_domain_name(cx: &Cx, input: api::DeleteDomainNameRequest) -> Result<Unit, GatewayError> {
    let name = cx
        .transact(|txn| {
            let input = input.clone();
            async move {
                let (name, _) = domain(&txn, cx, input.domain_name.as_deref()).await?;
                for (path, _) in mappings(&txn, &name).await? {
                    MAPPINGS.delete(&txn, &(name.clone(), path));
                }
                DOMAINS.delete(&txn, &name);
                txn.notify(DOMAINS_TOPIC);
                Ok::<_, GatewayError>(name)
            }
        })
        .await?;
    known(cx, &name).await?;
    Ok(Unit)
}

async fn mappings(reader: &impl Reader, name: &str) -> Result<Vec<(String, MappingRow)>, StoreError> {
    let page = MAPPINGS.scan(reader, &MAPPINGS.under(&(name,)), MOST_PARTS).await?;
    Ok(page.rows.into_iter().map(|((_, path), row)| (path, row)).collect())
}

/// `orders/v1`: no slash at the ends, none twice.
///
/// Source: "Use API mappings to map API stages to a custom domain name for HTTP APIs" (characters, 300 of them at most);
/// "[@aws-cdk/aws-apigatewayv2] Httpapi not deploying when new stack created when using custom domain" (aws/aws-cdk 8983), the first
/// sentence. Chosen: the second, which is younger than any report that was found.
fn check_path(path: &str) -> Result<(), GatewayError> {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"$-_.+!*'()/".contains(&byte);
    if path.len() > 300 || !path.bytes().all(is_known) {
        return Err(GatewayError::bad(
            "An ApiMapping key may contain only letters, numbers and one of $-_.+!*'(),",
        ));
    }
    match path.is_empty() || path.split('/').all(|part| !part.is_empty()) {
        true => Ok(()),
        false => {
            Err(GatewayError::bad("API mapping key should not start with a '/' or have consecutive '/'s."))
        }
    }
}

/// The API and the stage must be there, in the domain's account.
async fn check_target(txn: &Txn, cx: &Cx, row: &MappingRow) -> Result<(), GatewayError> {
    let stage = row.stage.clone().unwrap_or_default();
    let found = API_IDS.get(txn, &row.api_id).await?;
    let found = found.filter(|api| api.account == cx.account() && api.region == *cx.region());
    let Some(found) = found else {
        return Err(no_such("API", &format!("{}:{}", cx.account(), row.api_id)));
    };
    let key = (found.account, found.region, row.api_id.clone());
    let is_there = match found.kind {
        Kind::Rest => STAGES.get(txn, &(row.api_id.clone(), stage)).await?.is_some(),
        Kind::Http | Kind::WebSocket => {
            APIS.get(txn, &key).await?.is_some()
                && StageRow::TABLE.get(txn, &(row.api_id.clone(), stage)).await?.is_some()
        }
    };
    match is_there {
        true => Ok(()),
        // Source: "[apigatewayv2] Custom Domain example for using default stage results in 400" (aws/aws-cdk 9078).
        false => Err(GatewayError::bad("Invalid stage identifier specified")),
    }
}

macro_rules! mapping {
    ($path:expr, $row:expr => $wire:ident) => {{
        let row = $row;
        api::$wire {
            api_id: Some(row.api_id),
            api_mapping_id: Some(row.id),
            api_mapping_key: Some($path),
            stage: row.stage,
        }
    }};
}

pub async fn create_api_mapping(
    cx: &Cx,
    input: api::CreateApiMappingRequest,
) -> Result<api::CreateApiMappingResponse, GatewayError> {
    let path = input.api_mapping_key.clone().unwrap_or_default();
    check_path(&path)?;
    let made = MappingRow {
        id: cx.ids().lower(6),
        api_id: input.api_id.clone().unwrap_or_default(),
        stage: input.stage.clone(),
    };
    let name = cx
        .transact(|txn| {
            let (path, made, name) = (path.clone(), made.clone(), input.domain_name.clone());
            async move {
                let (name, _) = domain(&txn, cx, name.as_deref()).await?;
                check_target(&txn, cx, &made).await?;
                txn.notify(DOMAINS_TOPIC);
                match MAPPINGS.put_if_absent(&txn, &(name.clone(), path), &made).await? {
                    true => Ok(name),
                    false => Err(mapping_exists()),
                }
            }
        })
        .await?;
    known(cx, &name).await?;
    Ok(mapping!(path, made => CreateApiMappingResponse))
}

async fn find(
    reader: &impl Reader,
    name: &str,
    id: Option<&str>,
) -> Result<(String, MappingRow), GatewayError> {
    let all = mappings(reader, name).await?;
    all.into_iter().find(|(_, row)| Some(row.id.as_str()) == id).ok_or_else(no_mapping)
}

pub async fn get_api_mapping(
    cx: &Cx,
    input: api::GetApiMappingRequest,
) -> Result<api::GetApiMappingResponse, GatewayError> {
    let (name, _) = domain(cx.store(), cx, input.domain_name.as_deref()).await?;
    let (path, row) = find(cx.store(), &name, input.api_mapping_id.as_deref()).await?;
    Ok(mapping!(path, row => GetApiMappingResponse))
}

pub async fn get_api_mappings(
    cx: &Cx,
    input: api::GetApiMappingsRequest,
) -> Result<api::GetApiMappingsResponse, GatewayError> {
    let (name, _) = domain(cx.store(), cx, input.domain_name.as_deref()).await?;
    let mut rows = mappings(cx.store(), &name).await?;
    rows.sort_by(|a, b| a.1.id.cmp(&b.1.id));
    let items = rows.into_iter().map(|(path, row)| (row.id.clone(), mapping!(path, row => ApiMapping)));
    let (items, next_token) =
        page(items.collect(), input.next_token.as_deref(), input.max_results.as_deref())?;
    Ok(api::GetApiMappingsResponse { items: Some(items), next_token })
}

pub async fn update_api_mapping(
    cx: &Cx,
    input: api::UpdateApiMappingRequest,
) -> Result<api::UpdateApiMappingResponse, GatewayError> {
    let (name, path, row) = cx
        .transact(|txn| {
            let input = input.clone();
            async move {
                let (name, _) = domain(&txn, cx, input.domain_name.as_deref()).await?;
                let (before, mut row) = find(&txn, &name, input.api_mapping_id.as_deref()).await?;
                let path = input.api_mapping_key.clone().unwrap_or_else(|| before.clone());
                check_path(&path)?;
                row.api_id = input.api_id.clone().unwrap_or(row.api_id);
                row.stage = input.stage.clone().or(row.stage);
                check_target(&txn, cx, &row).await?;
                if path != before {
                    MAPPINGS.delete(&txn, &(name.clone(), before));
                    if MAPPINGS.get(&txn, &(name.clone(), path.clone())).await?.is_some() {
                        return Err(mapping_exists());
                    }
                }
                MAPPINGS.put(&txn, &(name.clone(), path.clone()), &row)?;
                txn.notify(DOMAINS_TOPIC);
                Ok((name, path, row))
            }
        })
        .await?;
    known(cx, &name).await?;
    Ok(mapping!(path, row => UpdateApiMappingResponse))
}

pub async fn delete_api_mapping(cx: &Cx, input: api::DeleteApiMappingRequest) -> Result<Unit, GatewayError> {
    let name = cx
        .transact(|txn| {
            let input = input.clone();
            async move {
                let (name, _) = domain(&txn, cx, input.domain_name.as_deref()).await?;
                let (path, _) = find(&txn, &name, input.api_mapping_id.as_deref()).await?;
                MAPPINGS.delete(&txn, &(name.clone(), path));
                txn.notify(DOMAINS_TOPIC);
                Ok::<_, GatewayError>(name)
            }
        })
        .await?;
    known(cx, &name).await?;
    Ok(Unit)
}
