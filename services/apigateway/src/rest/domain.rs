//! Custom domain names and base path mappings as version 1 of the API shows them: `CreateDomainName`, `CreateBasePathMapping` and their
//! sisters. The rows are those of version 2 (the crate's `domain.rs`); requests find them by their host.
//!
//! Source: API Gateway API Reference, "CreateDomainName", "DomainName", "CreateBasePathMapping". Recorded: the sentences.

use pileus_api_apigateway as api;
use pileus_platform::Cx;
use pileus_store::{Reader, Txn};
use pileus_wire::value::{Map, Unit};

use super::keys::STAGES;
use super::{api as rest_api, tags};
use crate::domain::{DomainConfiguration, DomainRow, MappingRow, Names};
use crate::error::GatewayError;
use crate::http::domain_name::{domain_exists, no_domain};
use crate::keys::{DOMAINS, DOMAINS_TOPIC, MAPPINGS};

/// The whole domain, as paths of mappings are written.
const ROOT: &str = "(none)";

async fn load(cx: &Cx, reader: &impl Reader, name: &str) -> Result<(String, DomainRow), GatewayError> {
    let name = name.to_ascii_lowercase();
    let found = DOMAINS.get(reader, &name).await?;
    let own = found.filter(|row| row.account == cx.account() && row.region == *cx.region());
    Ok((name, own.ok_or_else(no_domain)?))
}

/// This node knows a change at once, others by the wake-up.
async fn known(cx: &Cx, name: &str) -> Result<(), GatewayError> {
    Ok(cx.state::<Names>().reload(cx.store(), &name.to_ascii_lowercase()).await?)
}

fn shown(cx: &Cx, name: &str, row: &DomainRow) -> api::DomainName {
    let configuration = row.configurations.first().cloned().unwrap_or_default();
    let is_regional = configuration.endpoint_type != "EDGE";
    let (regional, edge) = match is_regional {
        true => (Some(configuration.clone()), None),
        false => (None, Some(configuration.clone())),
    };
    let region = cx.region();
    api::DomainName {
        domain_name: Some(name.to_owned()),
        domain_name_arn: Some(format!("arn:{}:apigateway:{region}::/domainnames/{name}", region.partition())),
        regional_domain_name: regional.as_ref().map(|kept| kept.target.clone()),
        regional_hosted_zone_id: regional.as_ref().map(|kept| kept.hosted_zone_id.clone()),
        regional_certificate_arn: regional.as_ref().and_then(|kept| kept.certificate_arn.clone()),
        regional_certificate_name: regional.as_ref().and_then(|kept| kept.certificate_name.clone()),
        distribution_domain_name: edge.as_ref().map(|kept| kept.target.clone()),
        distribution_hosted_zone_id: edge.as_ref().map(|kept| kept.hosted_zone_id.clone()),
        certificate_arn: edge.as_ref().and_then(|kept| kept.certificate_arn.clone()),
        certificate_name: edge.as_ref().and_then(|kept| kept.certificate_name.clone()),
        certificate_upload_date: configuration.certificate_uploaded,
        endpoint_configuration: Some(api::EndpointConfiguration {
            types: Some(vec![configuration.endpoint_type.clone()]),
            ip_address_type: configuration.ip_address_type.clone(),
            vpc_endpoint_ids: None,
        }),
        domain_name_status: Some("AVAILABLE".to_owned()),
        security_policy: Some(configuration.security_policy.clone()),
        ownership_verification_certificate_arn: configuration.ownership_verification_certificate_arn,
        tags: Some(row.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_>>())
            .filter(|tags| !tags.is_empty()),
        routing_mode: Some(match row.routing_mode.as_str() {
            "API_MAPPING_ONLY" => "BASE_PATH_MAPPING_ONLY".to_owned(),
            other => other.to_owned(),
        }),
        ..Default::default()
    }
}

fn check_name(name: &str) -> Result<(), GatewayError> {
    let labels: Vec<&str> = name.strip_prefix("*.").unwrap_or(name).split('.').collect();
    let is_label = |label: &&str| {
        !label.is_empty() && label.len() <= 63 && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if labels.len() >= 2 && name.len() <= 253 && labels.iter().all(is_label) {
        return Ok(());
    }
    Err(GatewayError::bad("The domain name provided is not valid"))
}

pub async fn create_domain_name(
    cx: &Cx,
    input: api::CreateDomainNameRequest,
) -> Result<api::DomainName, GatewayError> {
    let lacking = [
        ("mutualTlsAuthentication of domain names", input.mutual_tls_authentication.is_some()),
        ("endpointAccessMode of domain names", input.endpoint_access_mode.is_some()),
        ("policies of domain names", input.policy.is_some()),
        ("certificates in requests (certificateBody)", input.certificate_body.is_some()),
    ];
    if let Some((what, _)) = lacking.iter().find(|(_, is_given)| *is_given) {
        return Err(GatewayError::missing(*what));
    }
    if input.routing_mode.as_deref().is_some_and(|mode| mode != "BASE_PATH_MAPPING_ONLY") {
        return Err(GatewayError::missing("routing rules of domain names (routingMode)"));
    }
    tags::check(input.tags.as_ref())?;
    let name = input.domain_name.unwrap_or_default().to_ascii_lowercase();
    check_name(&name)?;
    let types =
        input.endpoint_configuration.as_ref().and_then(|given| given.types.clone()).unwrap_or_default();
    let kind = types.first().cloned().unwrap_or_else(|| "EDGE".to_owned());
    let (certificate_arn, certificate_name) = match kind.as_str() {
        "EDGE" => (input.certificate_arn, input.certificate_name),
        "REGIONAL" => {
            (input.regional_certificate_arn.or(input.certificate_arn), input.regional_certificate_name)
        }
        _ => return Err(GatewayError::missing("private domain names")),
    };
    let region = cx.region();
    let target = match kind.as_str() {
        "EDGE" => format!("d{}.cloudfront.net", cx.ids().lower(13)),
        _ => format!("d-{}.execute-api.{region}.amazonaws.com", cx.ids().lower(10)),
    };
    let now = super::now(cx);
    let row = &DomainRow {
        account: cx.account(),
        region: region.clone(),
        created: now,
        configurations: vec![DomainConfiguration {
            endpoint_type: kind,
            target,
            // Recorded: zones of AWS's own, of all distributions and of APIs in us-east-1.
            hosted_zone_id: if types.first().is_some_and(|kind| kind == "REGIONAL") {
                "Z1UJRXOUMOOFQ8"
            } else {
                "Z2FDTNDATAQYW2"
            }
            .to_owned(),
            certificate_arn,
            certificate_name,
            certificate_uploaded: Some(now),
            security_policy: input.security_policy.unwrap_or_else(|| "TLS_1_2".to_owned()),
            ip_address_type: Some("ipv4".to_owned()),
            ownership_verification_certificate_arn: input.ownership_verification_certificate_arn,
        }],
        tags: input
            .tags
            .unwrap_or_default()
            .iter()
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect(),
        routing_mode: "API_MAPPING_ONLY".to_owned(),
    };
    let domain = name.as_str();
    cx.transact(|txn| async move {
        if !DOMAINS.put_if_absent(&txn, &domain.to_owned(), row).await? {
            return Err(domain_exists());
        }
        txn.notify(DOMAINS_TOPIC);
        Ok(())
    })
    .await?;
    known(cx, &name).await?;
    Ok(shown(cx, &name, row))
}

pub async fn get_domain_name(
    cx: &Cx,
    input: api::GetDomainNameRequest,
) -> Result<api::DomainName, GatewayError> {
    let (name, row) = load(cx, cx.store(), input.domain_name.as_deref().unwrap_or_default()).await?;
    Ok(shown(cx, &name, &row))
}

pub async fn get_domain_names(
    cx: &Cx,
    input: api::GetDomainNamesRequest,
) -> Result<api::DomainNames, GatewayError> {
    if input.resource_owner.as_deref() == Some("OTHER_ACCOUNTS") {
        return Err(GatewayError::missing("domain names of other accounts (resourceOwner)"));
    }
    let start = input.position.unwrap_or_default();
    let limit = usize::try_from(input.limit.unwrap_or(25).clamp(1, 500)).unwrap_or(25);
    let all = DOMAINS.scan(cx.store(), &DOMAINS.all(), 5_000).await?.rows;
    let own = |(_, row): &(String, DomainRow)| row.account == cx.account() && row.region == *cx.region();
    let mut own: Vec<_> = all.into_iter().filter(own).filter(|(name, _)| *name > start).collect();
    let position = (own.len() > limit).then(|| own[limit - 1].0.clone());
    own.truncate(limit);
    let items = own.iter().map(|(name, row)| shown(cx, name, row)).collect();
    Ok(api::DomainNames { items: Some(items), position })
}

pub async fn update_domain_name(
    cx: &Cx,
    input: api::UpdateDomainNameRequest,
) -> Result<api::DomainName, GatewayError> {
    let wanted = input.domain_name.as_deref().unwrap_or_default();
    let operations = input.patch_operations.as_ref();
    let (name, row) = cx
        .transact(|txn| async move {
            let (name, mut row) = load(cx, &txn, wanted).await?;
            let mut kept = row.configurations.first().cloned().unwrap_or_default();
            for operation in operations.into_iter().flatten() {
                let (path, value) = (operation.path.as_deref().unwrap_or_default(), operation.value.clone());
                match path {
                    "/certificateArn" | "/regionalCertificateArn" => kept.certificate_arn = value,
                    "/certificateName" | "/regionalCertificateName" => kept.certificate_name = value,
                    "/securityPolicy" => kept.security_policy = value.unwrap_or_default(),
                    "/ownershipVerificationCertificateArn" => kept.ownership_verification_certificate_arn = value,
                    other => {
                        return Err(GatewayError::bad(format!(
                            "Invalid patch path  '{other}' specified for op '{}'. Must be one of: [/certificateArn, /certificateName, /regionalCertificateArn, /regionalCertificateName, /securityPolicy, /ownershipVerificationCertificateArn]",
                            operation.op.as_deref().unwrap_or_default()
                        )));
                    }
                }
            }
            row.configurations = vec![kept];
            DOMAINS.put(&txn, &name, &row)?;
            txn.notify(DOMAINS_TOPIC);
            Ok((name, row))
        })
        .await?;
    known(cx, &name).await?;
    Ok(shown(cx, &name, &row))
}

pub async fn delete_domain_name(cx: &Cx, input: api::DeleteDomainNameRequest) -> Result<Unit, GatewayError> {
    let wanted = input.domain_name.as_deref().unwrap_or_default();
    cx.transact(|txn| async move {
        let (name, _) = load(cx, &txn, wanted).await?;
        for (key, _) in MAPPINGS.scan(&txn, &MAPPINGS.under(&(name.as_str(),)), 500).await?.rows {
            MAPPINGS.delete(&txn, &key);
        }
        DOMAINS.delete(&txn, &name);
        txn.notify(DOMAINS_TOPIC);
        Ok::<_, GatewayError>(())
    })
    .await?;
    known(cx, wanted).await?;
    Ok(Unit)
}

/// Reads a domain's tags, and changes them if `change` does.
pub async fn with_tags(
    cx: &Cx,
    txn: &Txn,
    name: &str,
    change: impl Fn(&mut Map<String>) -> bool,
) -> Result<Map<String>, GatewayError> {
    let (name, mut row) = load(cx, txn, name).await?;
    let mut tags: Map<String> = row.tags.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    if change(&mut tags) {
        row.tags = tags.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        DOMAINS.put(txn, &name, &row)?;
    }
    Ok(tags)
}

/// A mapping's path as rows have it: empty for the whole domain.
fn path_of(given: Option<&str>) -> String {
    given.filter(|path| *path != ROOT).unwrap_or_default().to_owned()
}

fn mapping(path: &str, row: &MappingRow) -> api::BasePathMapping {
    api::BasePathMapping {
        base_path: Some(if path.is_empty() { ROOT.to_owned() } else { path.to_owned() }),
        rest_api_id: Some(row.api_id.clone()),
        stage: row.stage.clone(),
    }
}

fn no_mapping() -> GatewayError {
    GatewayError::NotFound("Invalid base path mapping identifier specified".to_owned())
}

/// # Errors
/// `BadRequest` for an API or a stage that is not there.
async fn check_mapping(cx: &Cx, txn: &Txn, path: &str, row: &MappingRow) -> Result<(), GatewayError> {
    if path.contains('/') || !path.chars().all(|c| c.is_ascii_alphanumeric() || "$-_.+!*'()".contains(c)) {
        return Err(GatewayError::bad(
            "API Gateway V1 doesn't support the slash character (/) in base path mappings. To create a multi-level base path mapping, use API Gateway V2.",
        ));
    }
    if rest_api::load(cx, txn, &row.api_id).await.is_err() {
        return Err(GatewayError::bad("Invalid REST API identifier specified"));
    }
    if let Some(stage) = &row.stage
        && STAGES.get(txn, &(row.api_id.clone(), stage.clone())).await?.is_none()
    {
        return Err(GatewayError::bad("Invalid stage identifier specified"));
    }
    Ok(())
}

pub async fn create_base_path_mapping(
    cx: &Cx,
    input: api::CreateBasePathMappingRequest,
) -> Result<api::BasePathMapping, GatewayError> {
    let wanted = input.domain_name.as_deref().unwrap_or_default();
    let path = &path_of(input.base_path.as_deref());
    let row = &MappingRow {
        id: cx.ids().lower(6),
        api_id: input.rest_api_id.unwrap_or_default(),
        stage: input.stage.filter(|stage| !stage.is_empty() && stage != ROOT),
    };
    cx.transact(|txn| async move {
        let (name, _) = load(cx, &txn, wanted).await?;
        check_mapping(cx, &txn, path, row).await?;
        if !MAPPINGS.put_if_absent(&txn, &(name, path.clone()), row).await? {
            return Err(GatewayError::Conflict("Base path already exists for this domain name".to_owned()));
        }
        txn.notify(DOMAINS_TOPIC);
        Ok(())
    })
    .await?;
    known(cx, wanted).await?;
    Ok(mapping(path, row))
}

pub async fn get_base_path_mapping(
    cx: &Cx,
    input: api::GetBasePathMappingRequest,
) -> Result<api::BasePathMapping, GatewayError> {
    let (name, _) = load(cx, cx.store(), input.domain_name.as_deref().unwrap_or_default()).await?;
    let path = path_of(input.base_path.as_deref());
    let found = MAPPINGS.get(cx.store(), &(name, path.clone())).await?;
    found.map(|row| mapping(&path, &row)).ok_or_else(no_mapping)
}

pub async fn get_base_path_mappings(
    cx: &Cx,
    input: api::GetBasePathMappingsRequest,
) -> Result<api::BasePathMappings, GatewayError> {
    let (name, _) = load(cx, cx.store(), input.domain_name.as_deref().unwrap_or_default()).await?;
    let rows = MAPPINGS.scan(cx.store(), &MAPPINGS.under(&(name.as_str(),)), 1_000).await?.rows;
    let start = input.position.as_deref().map(|position| path_of(Some(position)));
    let limit = usize::try_from(input.limit.unwrap_or(25).clamp(1, 500)).unwrap_or(25);
    let rest: Vec<_> =
        rows.into_iter().filter(|((_, path), _)| start.as_ref().is_none_or(|start| path > start)).collect();
    let position =
        (rest.len() > limit).then(|| mapping(&rest[limit - 1].0.1, &rest[limit - 1].1).base_path).flatten();
    let items: Vec<_> = rest.iter().take(limit).map(|((_, path), row)| mapping(path, row)).collect();
    Ok(api::BasePathMappings { items: Some(items).filter(|items| !items.is_empty()), position })
}

pub async fn update_base_path_mapping(
    cx: &Cx,
    input: api::UpdateBasePathMappingRequest,
) -> Result<api::BasePathMapping, GatewayError> {
    let wanted = input.domain_name.as_deref().unwrap_or_default();
    let path = &path_of(input.base_path.as_deref());
    let operations = input.patch_operations.as_ref();
    let (after, row) = cx
        .transact(|txn| async move {
            let (name, _) = load(cx, &txn, wanted).await?;
            let mut row = MAPPINGS.get(&txn, &(name.clone(), path.clone())).await?.ok_or_else(no_mapping)?;
            let mut after = path.clone();
            for operation in operations.into_iter().flatten() {
                let value = operation.value.clone().unwrap_or_default();
                match operation.path.as_deref() {
                    Some("/basePath") => after = path_of(Some(&value)),
                    Some("/restapiId" | "/restApiId") => row.api_id = value,
                    Some("/stage") => row.stage = Some(value).filter(|stage| !stage.is_empty() && stage != ROOT),
                    other => {
                        return Err(GatewayError::bad(format!(
                            "Invalid patch path  '{}' specified for op '{}'. Must be one of: [/basePath, /restapiId, /stage]",
                            other.unwrap_or_default(),
                            operation.op.as_deref().unwrap_or_default()
                        )));
                    }
                }
            }
            check_mapping(cx, &txn, &after, &row).await?;
            MAPPINGS.delete(&txn, &(name.clone(), path.clone()));
            if !MAPPINGS.put_if_absent(&txn, &(name, after.clone()), &row).await? {
                return Err(GatewayError::Conflict("Base path already exists for this domain name".to_owned()));
            }
            txn.notify(DOMAINS_TOPIC);
            Ok((after, row))
        })
        .await?;
    known(cx, wanted).await?;
    Ok(mapping(&after, &row))
}

pub async fn delete_base_path_mapping(
    cx: &Cx,
    input: api::DeleteBasePathMappingRequest,
) -> Result<Unit, GatewayError> {
    let wanted = input.domain_name.as_deref().unwrap_or_default();
    let path = &path_of(input.base_path.as_deref());
    cx.transact(|txn| async move {
        let (name, _) = load(cx, &txn, wanted).await?;
        let key = (name, path.clone());
        MAPPINGS.get(&txn, &key).await?.ok_or_else(no_mapping)?;
        MAPPINGS.delete(&txn, &key);
        txn.notify(DOMAINS_TOPIC);
        Ok::<_, GatewayError>(())
    })
    .await?;
    known(cx, wanted).await?;
    Ok(Unit)
}
