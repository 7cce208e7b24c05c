//! Provisioned concurrency carried out: one node at a time keeps environments ready, and writes down how many there are.

use std::collections::HashMap;
use std::time::Duration;

use pileus_platform::{Cx, Platform};
use pileus_store::Lease;

use super::{ProvisionedRow, TOPIC};
use crate::error::LambdaError;
use crate::function::resolve;
use crate::keys::{PROVISIONED, QualifiedKey};
use crate::name::FunctionName;
use crate::role;
use crate::state::Lambda;

const LEASE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(20);

/// What is kept ready: the function as the engine knows it, and how many.
type Kept = HashMap<QualifiedKey, (FunctionName, std::sync::Arc<pileus_sandbox::FunctionSpec>, u32)>;

/// Keeps the promised environments ready for as long as the node runs.
pub async fn work(platform: Platform) {
    let mut woken = platform.store().subscribe(&TOPIC.into());
    let mut kept = Kept::new();
    let mut lease: Option<Lease> = None;
    loop {
        let is_held = match &lease {
            Some(held) => matches!(held.renew().await, Ok(true)),
            None => {
                lease = platform.store().lease(TOPIC, LEASE).await.ok().flatten();
                lease.is_some()
            }
        };
        if !is_held {
            lease = None;
        } else if let Err(error) = arrange(&platform, &mut kept).await {
            tracing::warn!(%error, "provisioned environments could not be arranged, and it is tried again");
        }
        let until = platform.clock().now() + INTERVAL;
        tokio::select! {
            biased;
            () = woken.changed() => {}
            () = platform.clock().sleep_until(until) => {}
        }
    }
}

async fn arrange(platform: &Platform, kept: &mut Kept) -> Result<(), LambdaError> {
    let rows = PROVISIONED.scan(platform.store(), &PROVISIONED.all(), 1_000).await?.rows;
    let gone: Vec<QualifiedKey> =
        kept.keys().filter(|key| !rows.iter().any(|(wanted, _)| wanted == *key)).cloned().collect();
    let lambda = platform.state::<Lambda>();
    for key in gone {
        if let (Some((_, spec, _)), Ok(engine)) = (kept.remove(&key), lambda.engine(platform).await) {
            let _ = engine.provision(&spec, 0).await;
        }
    }
    for (key, row) in rows {
        let outcome = provide(platform, &key, &row, kept).await;
        let (ready, failure) = match outcome {
            Ok(Some(ready)) => (ready, None),
            Ok(None) => continue,
            Err(error) => (0, Some(error.to_string())),
        };
        if row.ready == Some(ready) && row.failure == failure {
            continue;
        }
        let (key, failure) = (&key, &failure);
        platform
            .store()
            .transact(|txn| async move {
                if let Some(now) = PROVISIONED.get(&txn, key).await?
                    && now.requested == row.requested
                {
                    let row = ProvisionedRow { ready: Some(ready), failure: failure.clone(), ..now };
                    PROVISIONED.put(&txn, key, &row)?;
                }
                Ok::<_, LambdaError>(())
            })
            .await?;
    }
    Ok(())
}

/// How many environments are ready now; `None` if nothing had to be done.
async fn provide(
    platform: &Platform,
    key: &QualifiedKey,
    row: &ProvisionedRow,
    kept: &mut Kept,
) -> Result<Option<u32>, LambdaError> {
    let (account, region, name, qualifier) = key.clone();
    let name = FunctionName { account, region, name, qualifier: Some(qualifier) };
    let cx = Cx::background(platform, role::PRINCIPAL, name.account, name.region.clone());
    let resolved = resolve(cx.store(), &name).await?;
    let lambda = platform.state::<Lambda>();
    let spec = lambda.spec(&cx, &name, &resolved.function, &resolved.version, &resolved.config).await?;
    let is_kept =
        kept.get(key).is_some_and(|(_, known, count)| known.id == spec.id && *count == row.requested);
    if is_kept && row.ready.is_some() {
        return Ok(None);
    }
    let internal = |error: pileus_sandbox::EngineError| LambdaError::Internal(error.to_string());
    let engine = lambda.engine(platform).await.map_err(internal)?;
    // An alias that leads elsewhere now gives back what it had.
    if let Some((_, before, _)) = kept.get(key)
        && before.id != spec.id
    {
        let _ = engine.provision(before, 0).await;
    }
    let ready = engine.provision(&spec, row.requested as usize).await.map_err(internal)?;
    kept.insert(key.clone(), (name, spec, row.requested));
    Ok(Some(u32::try_from(ready).unwrap_or(u32::MAX)))
}
