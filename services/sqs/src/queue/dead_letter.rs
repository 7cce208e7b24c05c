//! `ListDeadLetterSourceQueues`.

use pileus_api_sqs::{ListDeadLetterSourceQueuesRequest, ListDeadLetterSourceQueuesResult};
use pileus_platform::Cx;

use crate::access;
use crate::error::SqsError;
use crate::keys::SOURCES;
use crate::limits;
use crate::queue::url::Address;
use crate::queue::{read_token, write_token};
use crate::state::Sqs;

/// Queues whose redrive policy names this one.
pub async fn list_dead_letter_source_queues(
    cx: &Cx,
    input: ListDeadLetterSourceQueuesRequest,
) -> Result<ListDeadLetterSourceQueuesResult, SqsError> {
    let address = access::address(cx, input.queue_url.as_deref())?;
    let limit = limits::max_results(input.max_results)?;
    cx.state::<Sqs>().load(cx.store(), &address).await?;
    let parts = (address.account, address.region.clone(), address.name.clone());
    let mut range = SOURCES.under(&parts);
    if let Some(token) = input.next_token.filter(|token| !token.is_empty()) {
        let (account, region, target) = parts;
        range = range.after(&SOURCES.key(&(account, region, target, read_token(&token)?)));
    }
    let rows = SOURCES.scan(cx.store(), &range, limit).await?;
    let sources: Vec<String> = rows.rows.into_iter().map(|((_, _, _, source), _)| source).collect();
    let next_token =
        sources.last().filter(|_| rows.more && input.max_results.is_some()).map(|last| write_token(last));
    let endpoint = cx.endpoint();
    let urls = sources.into_iter().map(|name| Address { name, ..address.clone() }.url(&endpoint));
    Ok(ListDeadLetterSourceQueuesResult { queue_urls: Some(urls.collect()), next_token })
}
