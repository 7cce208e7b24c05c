//! The form of `Resource` elements in identity policies.

use super::{LEGACY, Malformed, ensure, malformed};
use crate::document::Json;

const IAM_PATHS: [&str; 13] = [
    "user/",
    "federated-user/",
    "role/",
    "group/",
    "instance-profile/",
    "mfa/",
    "server-certificate/",
    "policy/",
    "sms-mfa/",
    "saml-provider/",
    "oidc-provider/",
    "report/",
    "access-report/",
];

/// The fault that AWS reports once statement ids and actions are present. Of a list it names the resource that sorts first.
///
/// # Errors
/// What AWS's oldest parser refuses is an error at once, unless another fault came before it.
pub(super) fn first_fault(statements: &[Json]) -> Result<Option<Malformed>, Malformed> {
    let mut first = None;
    for statement in statements {
        for name in ["Resource", "NotResource"] {
            let items = statement.get(name).map(Json::as_items).unwrap_or_default();
            let mut resources: Vec<&str> = items.iter().filter_map(Json::as_text).collect();
            resources.sort_unstable();
            let fault = resources.iter().find_map(|resource| fault_of(resource));
            first = first.or(fault);
            if first.is_none() {
                for resource in resources.into_iter().filter(|resource| *resource != "*") {
                    let mut segments = resource.split(':').skip(2);
                    let long_enough = resource.matches(':').count() >= 5 || !resource.contains("::");
                    ensure(long_enough && segments.next().is_none_or(|service| !service.is_empty()), LEGACY)?;
                }
            }
        }
    }
    Ok(first)
}

fn fault_of(resource: &str) -> Option<Malformed> {
    if resource == "*" {
        return None;
    }
    let Some((_, rest)) = resource.split_once(':') else {
        return Some(malformed(format!("Resource {resource} must be in ARN format or \"*\".")));
    };
    let (partition, rest) =
        rest.split_once(':').map_or((rest, None), |(partition, rest)| (partition, Some(rest)));
    if !matches!(partition, "aws" | "aws-cn" | "aws-us-gov" | "*") {
        return Some(malformed(partition_fault(partition, rest.unwrap_or_default())));
    }
    let Some(rest) = rest else {
        return Some(malformed("Resource vendor must be fully qualified and cannot contain regexes."));
    };
    let (service, rest) = rest.split_once(':').unwrap_or((rest, ""));
    if service.contains(['*', '?']) {
        return Some(malformed("Resource vendor must be fully qualified and cannot contain regexes."));
    }
    let (region, rest) = rest.split_once(':').unwrap_or((rest, ""));
    let (account, path) = rest.split_once(':').unwrap_or((rest, ""));
    match service {
        "iam" if !region.is_empty() => {
            Some(malformed(format!("IAM resource {resource} cannot contain region information.")))
        }
        // Access points and jobs, which have a region, have an account as well.
        "s3" if !region.is_empty() && account.is_empty() => {
            Some(malformed(format!("Resource {resource} can not contain region information.")))
        }
        // `root` is what `sts:AssumeRoot` is allowed for; AWS's own policies name it.
        "iam" if !matches!(path, "*" | "root") && !IAM_PATHS.iter().any(|start| path.starts_with(start)) => {
            let paths = IAM_PATHS.join(", ");
            Some(malformed(format!("IAM resource path must either be \"*\" or start with {paths}.")))
        }
        _ => None,
    }
}

/// AWS completes a short ARN with `*` before it complains.
fn partition_fault(partition: &str, rest: &str) -> String {
    let mut parts = rest.splitn(4, ':');
    let service = parts.next().filter(|service| !service.is_empty() || rest.contains(':')).unwrap_or("*");
    let mut next = || parts.next().unwrap_or("*");
    let (region, account, path) = (next(), next(), next());
    format!(
        "Partition \"{partition}\" is not valid for resource \"arn:{partition}:{service}:{region}:{account}:{path}\"."
    )
}
