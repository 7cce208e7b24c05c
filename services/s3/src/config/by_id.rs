//! Configurations of which a bucket may have many, each with an id: inventory, analytics, metrics, intelligent tiering.
//!
//! Source: Amazon S3 API Reference, "PutBucketInventoryConfiguration", "PutBucketAnalyticsConfiguration",
//! "PutBucketMetricsConfiguration", "PutBucketIntelligentTieringConfiguration" and their sisters.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as TOKEN;
use pileus_api_s3 as api;
use pileus_platform::Cx;
use pileus_wire::value::Unit;

use super::change;
use super::stored::{self, CONFIGURATIONS, Configuration};
use crate::bucket::{Bucket, Configured};
use crate::error::S3Error;
use crate::inventory;
use crate::inventory::worker::{Asked, INVENTORIES};

const PAGE: usize = 100;
const MOST: usize = 1_000;

fn no_such() -> S3Error {
    S3Error::refused("NoSuchConfiguration", 404, "The specified configuration does not exist.")
}

/// The id of a configuration, which stands in the address and in the document.
fn same_id<'a>(in_query: Option<&'a str>, in_body: Option<&str>) -> Result<&'a str, S3Error> {
    let id = in_query.unwrap_or_default();
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    {
        return Err(S3Error::argument("id", id, "Invalid configuration id."));
    }
    if in_body != Some(id) {
        return Err(S3Error::argument(
            "id",
            id,
            "The id in the query string does not match the one in the document.",
        ));
    }
    Ok(id)
}

async fn put<C: Configuration>(cx: &Cx, bucket: Option<&str>, id: &str, value: &C) -> Result<Unit, S3Error> {
    change(cx, bucket, |txn, mut bucket| async move {
        let key = (bucket.id, C::KIND as u64, id);
        if CONFIGURATIONS.get(&txn, &key).await?.is_none() {
            let all = CONFIGURATIONS.under(&(bucket.id, C::KIND as u64));
            if CONFIGURATIONS.scan(&txn, &all, MOST).await?.rows.len() >= MOST {
                let message = "You are attempting to create a new configuration but have already reached the 1,000-configuration limit.";
                return Err(S3Error::refused("TooManyConfigurations", 400, message));
            }
        }
        stored::put(&txn, &mut bucket, id, value)?;
        if C::KIND == Configured::Inventory {
            let done_day = inventory::worker::day(cx.now().as_secs());
            let asked = Asked { bucket: bucket.name.clone(), done_day };
            INVENTORIES.put(&txn, &(bucket.id, id), &asked)?;
        }
        Ok(bucket.store(&txn)?)
    })
    .await
}

async fn get<C: Configuration>(cx: &Cx, bucket: Option<&str>, id: Option<&str>) -> Result<C, S3Error> {
    let bucket = Bucket::load(cx.store(), bucket.unwrap_or_default()).await?;
    stored::find_named(cx.store(), &bucket, id.unwrap_or_default()).await?.ok_or_else(no_such)
}

async fn delete<C: Configuration>(cx: &Cx, bucket: Option<&str>, id: Option<&str>) -> Result<Unit, S3Error> {
    let id = id.unwrap_or_default();
    change(cx, bucket, |txn, mut bucket| async move {
        if stored::find_named::<C>(&txn, &bucket, id).await?.is_none() {
            return Err(no_such());
        }
        CONFIGURATIONS.delete(&txn, &(bucket.id, C::KIND as u64, id));
        if C::KIND == Configured::Inventory {
            INVENTORIES.delete(&txn, &(bucket.id, id));
        }
        let all = CONFIGURATIONS.under(&(bucket.id, C::KIND as u64));
        let is_last = CONFIGURATIONS.scan(&txn, &all, 1).await?.rows.is_empty();
        bucket.set(C::KIND, !is_last);
        Ok(bucket.store(&txn)?)
    })
    .await
}

/// A page: the configurations, whether there are more, and the token of the next page.
async fn list<C: Configuration>(
    cx: &Cx,
    bucket: Option<&str>,
    token: Option<&str>,
) -> Result<(Vec<C>, bool, Option<String>), S3Error> {
    let bucket = Bucket::load(cx.store(), bucket.unwrap_or_default()).await?;
    let invalid = |token: &str| {
        S3Error::argument("continuation-token", token, "The continuation token provided is incorrect")
    };
    let after = token
        .map(|token| {
            let text = TOKEN.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            text.ok_or_else(|| invalid(token))
        })
        .transpose()?;
    let (found, more) = stored::list::<C>(cx.store(), &bucket, after.as_deref(), PAGE).await?;
    let next = found.last().filter(|_| more).map(|(id, _)| TOKEN.encode(id));
    Ok((found.into_iter().map(|(_, value)| value).collect(), more, next))
}

macro_rules! by_id {
    ($($put:ident $put_request:ident $get:ident $get_request:ident $get_output:ident $delete:ident $delete_request:ident
        $list:ident $list_request:ident $list_output:ident $shape:ident $field:ident $list_field:ident $check:path;)*) => {
        $(
            pub async fn $put(cx: &Cx, input: api::$put_request) -> Result<Unit, S3Error> {
                let given = input.$field.ok_or(S3Error::MalformedXml)?;
                let id = same_id(input.id.as_deref(), given.id.as_deref())?;
                $check(cx, input.bucket.as_deref(), &given).await?;
                put(cx, input.bucket.as_deref(), id, &given).await
            }

            pub async fn $get(cx: &Cx, input: api::$get_request) -> Result<api::$get_output, S3Error> {
                let found = get::<api::$shape>(cx, input.bucket.as_deref(), input.id.as_deref()).await?;
                Ok(api::$get_output { $field: Some(found) })
            }

            pub async fn $delete(cx: &Cx, input: api::$delete_request) -> Result<Unit, S3Error> {
                delete::<api::$shape>(cx, input.bucket.as_deref(), input.id.as_deref()).await
            }

            pub async fn $list(cx: &Cx, input: api::$list_request) -> Result<api::$list_output, S3Error> {
                let token = input.continuation_token;
                let (found, more, next) = list::<api::$shape>(cx, input.bucket.as_deref(), token.as_deref()).await?;
                Ok(api::$list_output {
                    is_truncated: Some(more),
                    continuation_token: token,
                    next_continuation_token: next,
                    $list_field: Some(found).filter(|found| !found.is_empty()),
                })
            }
        )*
    };
}

by_id! {
    put_bucket_inventory_configuration PutBucketInventoryConfigurationRequest
    get_bucket_inventory_configuration GetBucketInventoryConfigurationRequest GetBucketInventoryConfigurationOutput
    delete_bucket_inventory_configuration DeleteBucketInventoryConfigurationRequest
    list_bucket_inventory_configurations ListBucketInventoryConfigurationsRequest
    ListBucketInventoryConfigurationsOutput
    InventoryConfiguration inventory_configuration inventory_configuration_list inventory::check;

    put_bucket_analytics_configuration PutBucketAnalyticsConfigurationRequest
    get_bucket_analytics_configuration GetBucketAnalyticsConfigurationRequest GetBucketAnalyticsConfigurationOutput
    delete_bucket_analytics_configuration DeleteBucketAnalyticsConfigurationRequest
    list_bucket_analytics_configurations ListBucketAnalyticsConfigurationsRequest
    ListBucketAnalyticsConfigurationsOutput
    AnalyticsConfiguration analytics_configuration analytics_configuration_list check_analytics;

    put_bucket_metrics_configuration PutBucketMetricsConfigurationRequest
    get_bucket_metrics_configuration GetBucketMetricsConfigurationRequest GetBucketMetricsConfigurationOutput
    delete_bucket_metrics_configuration DeleteBucketMetricsConfigurationRequest
    list_bucket_metrics_configurations ListBucketMetricsConfigurationsRequest ListBucketMetricsConfigurationsOutput
    MetricsConfiguration metrics_configuration metrics_configuration_list check_metrics;

    put_bucket_intelligent_tiering_configuration PutBucketIntelligentTieringConfigurationRequest
    get_bucket_intelligent_tiering_configuration GetBucketIntelligentTieringConfigurationRequest
    GetBucketIntelligentTieringConfigurationOutput
    delete_bucket_intelligent_tiering_configuration DeleteBucketIntelligentTieringConfigurationRequest
    list_bucket_intelligent_tiering_configurations ListBucketIntelligentTieringConfigurationsRequest
    ListBucketIntelligentTieringConfigurationsOutput
    IntelligentTieringConfiguration intelligent_tiering_configuration intelligent_tiering_configuration_list
    check_tiering;
}

async fn check_analytics(
    _: &Cx,
    _: Option<&str>,
    given: &api::AnalyticsConfiguration,
) -> Result<(), S3Error> {
    if given.storage_class_analysis.is_none() {
        return Err(S3Error::MalformedXml);
    }
    Ok(())
}

async fn check_metrics(_: &Cx, _: Option<&str>, _: &api::MetricsConfiguration) -> Result<(), S3Error> {
    Ok(())
}

/// Source: "PutBucketIntelligentTieringConfiguration": archive tiers, each once, after 90 and 180 days at least.
async fn check_tiering(
    _: &Cx,
    _: Option<&str>,
    given: &api::IntelligentTieringConfiguration,
) -> Result<(), S3Error> {
    let tierings = given.tierings.as_deref().unwrap_or_default();
    if tierings.is_empty() || !matches!(given.status.as_deref(), Some("Enabled" | "Disabled")) {
        return Err(S3Error::MalformedXml);
    }
    for (at, tiering) in tierings.iter().enumerate() {
        let (tier, days) = (tiering.access_tier.as_deref(), tiering.days.unwrap_or(0));
        let least = match tier {
            Some("ARCHIVE_ACCESS") => 90,
            Some("DEEP_ARCHIVE_ACCESS") => 180,
            _ => return Err(S3Error::MalformedXml),
        };
        let is_twice = tierings[..at].iter().any(|other| other.access_tier.as_deref() == tier);
        if is_twice || !(least..=730).contains(&days) {
            let message = "The Days of a tiering lie between its tier's least number and 730, and each tier is named once.";
            return Err(S3Error::argument("Days", days.to_string(), message));
        }
    }
    Ok(())
}
