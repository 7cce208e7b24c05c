//! Access points: other names of a bucket, each with a policy of its own.
//!
//! A request by an access point is judged for the access point's ARN: by its policy, and by what the bucket's own policy denies.
//!
//! Source: Amazon S3 User Guide, "Managing access to shared datasets with access points"; Amazon S3 API Reference, "CreateAccessPoint".

use pileus_api_s3control as api;
use pileus_core::{AccountId, Arn, Region, Timestamp};
use pileus_platform::{Cx, LimitsProfile};
use pileus_store::{Reader, Space, StoreError, Stored, Table};
use pileus_wire::value::{Map, Unit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::account;
use crate::bucket::{Bucket, Configured};
use crate::config::public_access::{self, Block};
use crate::config::stored;
use crate::error::S3Error;
use crate::keys::BUCKETS;
use crate::policy::document;

/// By account, region and name. Ranged over by `ListAccessPoints`.
pub const ACCESS_POINTS: Table<(AccountId, Region, String), AccessPoint> = Table::new(Space::Meta, *b"Sa");
/// Access points by their aliases, which stand for bucket names.
pub const ALIASES: Table<String, Alias> = Table::new(Space::Meta, *b"Si");

/// Source: Amazon S3 User Guide, "Access points restrictions and limitations".
const MOST: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccessPoint {
    pub bucket: String,
    pub bucket_account: AccountId,
    pub alias: String,
    pub created: Timestamp,
    pub block: Block,
    #[serde(default)]
    pub policy: Option<String>,
    #[serde(default)]
    pub tags: Vec<(String, String)>,
}

impl Stored for AccessPoint {}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    pub account: AccountId,
    pub region: Region,
    pub name: String,
}

impl Stored for Alias {}

fn no_such(name: &str) -> S3Error {
    S3Error::refused("NoSuchAccessPoint", 404, "The specified accesspoint does not exist")
        .with("AccessPointName", name)
}

/// 3 to 50 lower-case letters, digits and hyphens, with a letter or digit at either end.
fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=50).contains(&name.len())
        && name.bytes().all(|byte| is_fine(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.ends_with("-s3alias")
}

/// The name of an access point in its ARN, or the name itself.
fn short(name: &str) -> &str {
    name.rsplit_once(":accesspoint/").map_or(name, |(_, name)| name)
}

fn point_arn(account: AccountId, region: &Region, name: &str) -> String {
    Arn::new(region.partition(), "s3", region.as_str(), account.as_str(), &format!("accesspoint/{name}"))
        .to_string()
}

/// `CreateAccessPoint`
pub async fn create_access_point(
    cx: &Cx,
    input: api::CreateAccessPointRequest,
) -> Result<api::CreateAccessPointResult, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let name = input.name.as_deref().unwrap_or_default();
    if !is_name(name) {
        return Err(S3Error::invalid("Your Amazon S3 AccessPoint name is invalid"));
    }
    if input.vpc_configuration.is_some() {
        return Err(S3Error::lacking("VpcConfiguration"));
    }
    if input.scope.is_some() {
        return Err(S3Error::lacking("Scope"));
    }
    let block = match &input.public_access_block_configuration {
        None => Block::ALL,
        Some(given) => Block {
            block_public_acls: given.block_public_acls == Some(true),
            ignore_public_acls: given.ignore_public_acls == Some(true),
            block_public_policy: given.block_public_policy == Some(true),
            restrict_public_buckets: given.restrict_public_buckets == Some(true),
        },
    };
    let tags: Vec<(String, String)> = input
        .tags
        .iter()
        .flatten()
        .map(|tag| (tag.key.clone().unwrap_or_default(), tag.value.clone().unwrap_or_default()))
        .collect();
    let shown: String = name.chars().take(20).collect();
    let alias = format!("{shown}-{}-s3alias", cx.ids().lower(34));
    let (input, alias, tags) = (&input, &alias, &tags);
    cx.transact(|txn| async move {
        let bucket = Bucket::load(&txn, input.bucket.as_deref().unwrap_or_default()).await?;
        let is_own = match input.bucket_account_id.as_deref() {
            Some(owner) => owner == bucket.owner.as_str(),
            None => bucket.owner == account,
        };
        if !is_own || bucket.region != *cx.region() {
            return Err(S3Error::refused("AccessDenied", 403, "Access Denied"));
        }
        if cx.limits() == LimitsProfile::Aws {
            let all = ACCESS_POINTS.under(&(account, cx.region().clone()));
            if ACCESS_POINTS.scan(&txn.untracked(), &all, MOST).await?.rows.len() >= MOST {
                let message = "You've attempted to create more access points than allowed";
                return Err(S3Error::refused("TooManyAccessPoints", 400, message));
            }
        }
        let point = AccessPoint {
            bucket: bucket.name.clone(),
            bucket_account: bucket.owner,
            alias: alias.clone(),
            created: cx.now(),
            block,
            policy: None,
            tags: tags.clone(),
        };
        let name = input.name.clone().unwrap_or_default();
        if !ACCESS_POINTS.put_if_absent(&txn, &(account, cx.region().clone(), name.clone()), &point).await? {
            let message = "An access point with an identical name already exists in your account";
            return Err(S3Error::refused("AccessPointAlreadyOwnedByYou", 409, message));
        }
        ALIASES.put(&txn, alias, &Alias { account, region: cx.region().clone(), name })?;
        Ok(())
    })
    .await?;
    Ok(api::CreateAccessPointResult {
        access_point_arn: Some(point_arn(account, cx.region(), name)),
        alias: Some(alias.clone()),
    })
}

async fn load(cx: &Cx, account: AccountId, name: &str) -> Result<AccessPoint, S3Error> {
    let found = ACCESS_POINTS.get(cx.store(), &(account, cx.region().clone(), name.to_owned())).await?;
    found.ok_or_else(|| no_such(name))
}

/// `GetAccessPoint`
pub async fn get_access_point(
    cx: &Cx,
    input: api::GetAccessPointRequest,
) -> Result<api::GetAccessPointResult, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let name = short(input.name.as_deref().unwrap_or_default());
    let point = load(cx, account, name).await?;
    let region = cx.region().as_str();
    let endpoint = |kind: &str, host: String| (kind.to_owned(), host);
    let endpoints: Map<String> = [
        endpoint("ipv4", format!("s3-accesspoint.{region}.amazonaws.com")),
        endpoint("dualstack", format!("s3-accesspoint.dualstack.{region}.amazonaws.com")),
    ]
    .into_iter()
    .collect();
    Ok(api::GetAccessPointResult {
        name: Some(name.to_owned()),
        bucket: Some(point.bucket),
        network_origin: Some("Internet".to_owned()),
        public_access_block_configuration: Some(api::PublicAccessBlockConfiguration {
            block_public_acls: Some(point.block.block_public_acls),
            ignore_public_acls: Some(point.block.ignore_public_acls),
            block_public_policy: Some(point.block.block_public_policy),
            restrict_public_buckets: Some(point.block.restrict_public_buckets),
        }),
        creation_date: Some(point.created),
        alias: Some(point.alias),
        access_point_arn: Some(point_arn(account, cx.region(), name)),
        endpoints: Some(endpoints),
        bucket_account_id: Some(point.bucket_account.to_string()),
        ..api::GetAccessPointResult::default()
    })
}

/// `ListAccessPoints`: those of the account in the region, by name, of one bucket if the request names one.
pub async fn list_access_points(
    cx: &Cx,
    input: api::ListAccessPointsRequest,
) -> Result<api::ListAccessPointsResult, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let limit = usize::try_from(input.max_results.unwrap_or(1_000).clamp(1, 1_000)).unwrap_or(1_000);
    let mut range = ACCESS_POINTS.under(&(account, cx.region().clone()));
    if let Some(after) = &input.next_token {
        range = range.after(&ACCESS_POINTS.key(&(account, cx.region().clone(), after.clone())));
    }
    let mut listed: Vec<api::AccessPoint> = vec![];
    let mut next_token = None;
    'pages: loop {
        let page = ACCESS_POINTS.scan(cx.store(), &range, 500).await?;
        for (key, point) in page.rows {
            range = range.after(&ACCESS_POINTS.key(&key));
            if input.bucket.as_deref().is_some_and(|bucket| bucket != point.bucket) {
                continue;
            }
            if listed.len() == limit {
                next_token = listed.last().and_then(|last| last.name.clone());
                break 'pages;
            }
            listed.push(api::AccessPoint {
                access_point_arn: Some(point_arn(account, cx.region(), &key.2)),
                name: Some(key.2),
                network_origin: Some("Internet".to_owned()),
                bucket: Some(point.bucket),
                alias: Some(point.alias),
                bucket_account_id: Some(point.bucket_account.to_string()),
                ..api::AccessPoint::default()
            });
        }
        if !page.more {
            break;
        }
    }
    Ok(api::ListAccessPointsResult { access_point_list: Some(listed), next_token })
}

/// `DeleteAccessPoint`
pub async fn delete_access_point(cx: &Cx, input: api::DeleteAccessPointRequest) -> Result<Unit, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let name = short(input.name.as_deref().unwrap_or_default());
    cx.transact(|txn| async move {
        let key = (account, cx.region().clone(), name.to_owned());
        let point = ACCESS_POINTS.get(&txn, &key).await?.ok_or_else(|| no_such(name))?;
        ACCESS_POINTS.delete(&txn, &key);
        ALIASES.delete(&txn, &point.alias);
        Ok::<_, S3Error>(())
    })
    .await?;
    Ok(Unit)
}

/// Changes an access point in a transaction.
pub async fn change(
    cx: &Cx,
    account: AccountId,
    name: &str,
    body: impl Fn(&mut AccessPoint) + Send + Sync,
) -> Result<(), S3Error> {
    let body = &body;
    cx.transact(|txn| async move {
        let key = (account, cx.region().clone(), name.to_owned());
        let mut point = ACCESS_POINTS.get(&txn, &key).await?.ok_or_else(|| no_such(name))?;
        body(&mut point);
        Ok(ACCESS_POINTS.put(&txn, &key, &point)?)
    })
    .await
}

/// `PutAccessPointPolicy`
pub async fn put_access_point_policy(
    cx: &Cx,
    input: api::PutAccessPointPolicyRequest,
) -> Result<Unit, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let name = short(input.name.as_deref().unwrap_or_default());
    let text = input.policy.as_deref().unwrap_or_default();
    let arn = point_arn(account, cx.region(), name);
    let is_public = document::check_for_access_point(text, &arn)
        .map_err(|message| S3Error::refused("MalformedPolicy", 400, message))?;
    let point = load(cx, account, name).await?;
    let of_account = public_access::of_account(cx.store(), account).await?;
    if is_public && (point.block.block_public_policy || of_account.block_public_policy) {
        return Err(S3Error::AccessDenied);
    }
    change(cx, account, name, |point| point.policy = Some(text.to_owned())).await?;
    Ok(Unit)
}

fn no_policy() -> S3Error {
    S3Error::refused("NoSuchAccessPointPolicy", 404, "The specified accesspoint policy does not exist")
}

/// `GetAccessPointPolicy`
pub async fn get_access_point_policy(
    cx: &Cx,
    input: api::GetAccessPointPolicyRequest,
) -> Result<api::GetAccessPointPolicyResult, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let point = load(cx, account, short(input.name.as_deref().unwrap_or_default())).await?;
    Ok(api::GetAccessPointPolicyResult { policy: Some(point.policy.ok_or_else(no_policy)?) })
}

/// `GetAccessPointPolicyStatus`
pub async fn get_access_point_policy_status(
    cx: &Cx,
    input: api::GetAccessPointPolicyStatusRequest,
) -> Result<api::GetAccessPointPolicyStatusResult, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let point = load(cx, account, short(input.name.as_deref().unwrap_or_default())).await?;
    let is_public = document::is_public(&point.policy.ok_or_else(no_policy)?);
    let status = api::PolicyStatus { is_public: Some(is_public) };
    Ok(api::GetAccessPointPolicyStatusResult { policy_status: Some(status) })
}

/// `DeleteAccessPointPolicy`
pub async fn delete_access_point_policy(
    cx: &Cx,
    input: api::DeleteAccessPointPolicyRequest,
) -> Result<Unit, S3Error> {
    let account = account(cx, input.account_id.as_deref())?;
    let name = short(input.name.as_deref().unwrap_or_default());
    change(cx, account, name, |point| point.policy = None).await?;
    Ok(Unit)
}

/// Whether a name that is no bucket's may be an access point's: its ARN (which also its host stands for) or its alias.
pub fn may_be(name: &str) -> bool {
    name.starts_with("arn:") || name.ends_with("-s3alias")
}

/// The bucket behind an access point that stands where a bucket's name is expected.
pub async fn bucket(reader: &impl Reader, name: &str) -> Result<Option<Bucket>, StoreError> {
    let named = if name.starts_with("arn:") {
        let Ok(arn) = Arn::parse(name) else { return Ok(None) };
        let point = arn.resource().strip_prefix("accesspoint/").map(str::to_owned);
        match (AccountId::parse(arn.account()), Region::parse(arn.region()), point) {
            (Some(account), Some(region), Some(name)) => Alias { account, region, name },
            _ => return Ok(None),
        }
    } else {
        match ALIASES.get(reader, &name).await? {
            Some(alias) => alias,
            None => return Ok(None),
        }
    };
    let key = (named.account, named.region.clone(), named.name.clone());
    let Some(point) = ACCESS_POINTS.get(reader, &key).await? else { return Ok(None) };
    let found = BUCKETS.get(reader, &point.bucket).await?;
    let arn = point_arn(named.account, &named.region, &named.name);
    Ok(found.map(|bucket| Bucket { via: Some(arn), ..bucket }))
}

/// The policy that holds for an access point's ARN (or that of an object by it): its own, and what the bucket's denies. The outer
/// `None` says that the ARN is no access point's.
pub async fn policy_of(cx: &Cx, arn: &str) -> Result<Option<Option<String>>, S3Error> {
    let mut parts = arn.splitn(6, ':').skip(3);
    let (Some(region), Some(account), Some(resource)) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(None);
    };
    let Some(rest) = resource.strip_prefix("accesspoint/") else { return Ok(None) };
    let name = rest.split('/').next().unwrap_or_default();
    let (Some(region), Some(account)) = (Region::parse(region), AccountId::parse(account)) else {
        return Ok(None);
    };
    let key = (account, region.clone(), name.to_owned());
    let Some(point) = ACCESS_POINTS.get(cx.store(), &key).await? else { return Ok(Some(None)) };
    let own = point_arn(account, &region, name);
    let mut policy = point.policy;
    if policy.as_deref().is_some_and(document::is_public)
        && crate::policy::is_stranger(cx, point.bucket_account)
    {
        let of_account = public_access::of_account(cx.store(), account).await?;
        if point.block.restrict_public_buckets || of_account.restrict_public_buckets {
            policy = None;
        }
    }
    let mut denies = vec![];
    if let Some(bucket) = Bucket::find(cx.store(), &point.bucket).await?
        && let Some(text) = stored::find_text(cx.store(), &bucket, Configured::Policy).await?
    {
        denies = denied(&text, &bucket.arn(), &own);
    }
    if denies.is_empty() {
        return Ok(Some(policy));
    }
    Ok(Some(Some(crate::policy::merged(policy.as_deref(), denies))))
}

/// What a bucket's policy denies, said of the bucket's access point.
fn denied(policy: &str, bucket_arn: &str, point_arn: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(policy).unwrap_or_default();
    let statements = match document.get("Statement") {
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
        None => vec![],
    };
    let said = |resource: &Value| match resource.as_str() {
        Some(text) => match text.strip_prefix(bucket_arn) {
            Some(key) if key.starts_with('/') => Value::from(format!("{point_arn}/object{key}")),
            Some(rest) if rest.starts_with('*') => Value::from(format!("{point_arn}*")),
            Some(_) => Value::from(point_arn),
            // A pattern for the bucket's name: what follows it counts.
            None => match text.split_once('/') {
                Some((_, key)) => Value::from(format!("{point_arn}/object/{key}")),
                None => Value::from("*"),
            },
        },
        None => resource.clone(),
    };
    let denies = statements.into_iter().filter(|statement| statement["Effect"] == "Deny");
    denies
        .map(|mut statement| {
            for element in ["Resource", "NotResource"] {
                if let Some(resources) = statement.get_mut(element) {
                    *resources = match resources.take() {
                        Value::Array(list) => Value::Array(list.iter().map(said).collect()),
                        one => said(&one),
                    };
                }
            }
            statement
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_access_points_are_plain() {
        for good in ["abc", "my-point-1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "ab", "-abc", "abc-", "Abc", "a.b.c", "x-s3alias", &"a".repeat(51)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn what_a_bucket_denies_its_access_points_deny() {
        let policy = r#"{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::b/x/*","arn:aws:s3:::b","arn:aws:s3:::*/y/*","arn:aws:s3:::*"]},{"Effect":"Allow"}]}"#;
        let got = denied(policy, "arn:aws:s3:::b", "arn:aws:s3:r:1:accesspoint/p");
        assert_eq!(got.len(), 1);
        assert_eq!(got[0]["Resource"][0], "arn:aws:s3:r:1:accesspoint/p/object/x/*");
        assert_eq!(got[0]["Resource"][1], "arn:aws:s3:r:1:accesspoint/p");
        assert_eq!(got[0]["Resource"][2], "arn:aws:s3:r:1:accesspoint/p/object/y/*");
        assert_eq!(got[0]["Resource"][3], "*");
    }
}
