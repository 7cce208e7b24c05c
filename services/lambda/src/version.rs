//! Versions: `PublishVersion`, `ListVersionsByFunction`.
//!
//! Source: AWS Lambda API Reference, "PublishVersion"; Lambda Developer Guide, "Manage Lambda function versions". Recorded: the
//! sentences.

use pileus_api_lambda as api;
use pileus_core::Timestamp;
use pileus_platform::Cx;
use pileus_store::{Reader, Txn};

use crate::error::LambdaError;
use crate::function::image::Image;
use crate::function::{Config, FunctionRow, VersionRow, code, show};
use crate::keys::VERSIONS;
use crate::name::{FunctionName, LATEST};
use crate::page::Page;
use crate::state::Lambda;

/// `PublishVersion`: a version of `$LATEST` as it is now; the last one again if nothing has changed since.
pub async fn publish_version(
    cx: &Cx,
    input: api::PublishVersionRequest,
) -> Result<api::FunctionConfiguration, LambdaError> {
    let name = &FunctionName::unqualified(cx, input.function_name.as_deref())?;
    if input.publish_to.is_some() {
        return Err(LambdaError::missing("PublishTo of Lambda functions"));
    }
    let input = &input;
    let (number, config) = cx
        .transact(|txn| async move {
            let mut row = FunctionRow::load(&txn, name).await?;
            if input.revision_id.as_ref().is_some_and(|revision| *revision != row.latest.revision) {
                return Err(LambdaError::stale_revision());
            }
            let current = row.latest.sha256();
            if let Some(wanted) = input.code_sha256.as_ref().filter(|wanted| **wanted != current) {
                return Err(LambdaError::invalid(format!(
                    "CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({current}). Please try again with the CodeSHA256 in $LATEST."
                )));
            }
            let number = publish(cx, &txn, name, &mut row, input.description.as_deref()).await?;
            row.put(&txn, name)?;
            let published = crate::function::version(&txn, name, number).await?;
            Ok((number, published.unwrap_or(row.latest)))
        })
        .await?;
    let number = number.to_string();
    prepare(cx, name, &number);
    Ok(show(&name.with(Some(&number)), &number, &config))
}

/// Begins the init of a version with SnapStart, so that it is over when the first invocation comes.
///
/// Chosen: it is begun on the node that published the version, and on others when they first run it. What fails then fails again in
/// the first invocation, which tells.
pub fn prepare(cx: &Cx, name: &FunctionName, number: &str) {
    let (cx, name) = (cx.clone(), name.with(Some(number)));
    tokio::spawn(async move {
        let Ok(resolved) = crate::function::resolve(cx.store(), &name).await else { return };
        if !resolved.config.is_prepared(&resolved.version) {
            return;
        }
        let lambda = cx.state::<Lambda>();
        let spec = lambda.spec(&cx, &name, &resolved.function, &resolved.version, &resolved.config).await;
        let (Ok(spec), Ok(engine)) = (spec, lambda.engine(cx.platform()).await) else { return };
        if let Err(error) = engine.prepare(&spec).await {
            tracing::warn!(function = name.name, version = resolved.version, %error, "a version could not be initialised ahead");
        }
    });
}

/// Publishes in the caller's transaction, which then stores `row`. Returns the number.
pub async fn publish(
    cx: &Cx,
    txn: &Txn,
    name: &FunctionName,
    row: &mut FunctionRow,
    description: Option<&str>,
) -> Result<u64, LambdaError> {
    if row.next_version > 1 {
        let last = row.next_version - 1;
        let published = crate::function::version(txn, name, last).await?;
        if published.is_some_and(|published| is_same(&published, &row.latest)) {
            return Ok(last);
        }
    }
    let number = row.next_version;
    row.next_version += 1;
    let mut config = row.latest.clone();
    config.revision = cx.ids().uuid();
    if let Some(description) = description {
        description.clone_into(&mut config.description);
    }
    code::hold_all(txn, &config, &format!("{}:{number}", row.id))?;
    let key = (name.account, name.region.clone(), name.name.clone(), number);
    VERSIONS.put(txn, &key, &VersionRow { config })?;
    Ok(number)
}

/// Whether publishing would make nothing new: what tells versions apart but not what they do is left out, and the same package
/// uploaded again is the same code.
fn is_same(published: &Config, latest: &Config) -> bool {
    let bare = |config: &Config| Config {
        revision: String::new(),
        description: String::new(),
        modified: Timestamp::EPOCH,
        code: latest.code.clone(),
        image: config.image.clone().map(|image| Image { layers: Vec::new(), ..image }),
        ..config.clone()
    };
    published.sha256() == latest.sha256() && bare(published) == bare(latest)
}

/// Every published version, oldest first.
pub async fn all(reader: &impl Reader, name: &FunctionName) -> Result<Vec<(u64, Config)>, LambdaError> {
    let mut range = VERSIONS.under(&(name.account, &name.region, name.name.as_str()));
    let mut found = Vec::new();
    loop {
        let rows = VERSIONS.scan(reader, &range, 400).await?;
        let Some((last, _)) = rows.rows.last() else { return Ok(found) };
        range = range.after(&VERSIONS.key(last));
        found.extend(rows.rows.into_iter().map(|((_, _, _, number), row)| (number, row.config)));
        if !rows.more {
            return Ok(found);
        }
    }
}

/// `ListVersionsByFunction`: `$LATEST`, then the published ones.
pub async fn list_versions_by_function(
    cx: &Cx,
    input: api::ListVersionsByFunctionRequest,
) -> Result<api::ListVersionsByFunctionResponse, LambdaError> {
    let name = FunctionName::unqualified(cx, input.function_name.as_deref())?;
    let row = FunctionRow::load(cx.store(), &name).await?;
    let page = Page::new(input.marker.as_deref(), input.max_items)?;
    let mut versions = vec![(0, show(&name.with(Some(LATEST)), LATEST, &row.latest))];
    for (number, config) in all(cx.store(), &name).await? {
        let text = number.to_string();
        versions.push((number, show(&name.with(Some(&text)), &text, &config)));
    }
    let (versions, next_marker) = page.cut(versions, |(number, _)| format!("{number:020}"));
    let versions = versions.into_iter().map(|(_, shown)| shown).collect();
    Ok(api::ListVersionsByFunctionResponse { versions: Some(versions), next_marker })
}
