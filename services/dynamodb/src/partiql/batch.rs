//! Many statements in one request: `BatchExecuteStatement`, `ExecuteTransaction`.

use pileus_api_dynamodb as api;
use pileus_platform::Cx;
use pileus_store::Space;
use ring::digest::{SHA256, digest};

use super::parse::Statement;
use super::run::{self, Options};
use crate::capacity::{self, Consistency, Consumed, Side};
use crate::error::DynamoError;
use crate::item::transact::{self, Planned};
use crate::item::write::Applied;
use crate::keys;
use crate::value::{decode_item, item_into_wire, item_size, item_to_wire};

fn error_of(error: DynamoError) -> api::BatchStatementError {
    let code = match error.code() {
        "ValidationException" => "ValidationError",
        "ConditionalCheckFailedException" => "ConditionalCheckFailed",
        "ResourceNotFoundException" => "ResourceNotFound",
        "ProvisionedThroughputExceededException" => "ProvisionedThroughputExceeded",
        "ItemCollectionSizeLimitExceededException" => "ItemCollectionSizeLimitExceeded",
        "DuplicateItemException" => "DuplicateItem",
        "TransactionConflictException" => "TransactionConflict",
        "AccessDeniedException" => "AccessDenied",
        _ => "InternalServerError",
    };
    let message = error.public_message();
    let item = match error {
        DynamoError::ConditionalCheckFailed { item } => item.map(|item| item_into_wire(*item)),
        _ => None,
    };
    api::BatchStatementError { code: Some(code.to_owned()), message: Some(message), item }
}

fn no_key() -> DynamoError {
    DynamoError::validation(
        "Select statements within BatchExecuteStatement must specify the primary key in the where clause.",
    )
}

/// `BatchExecuteStatement`: each statement on its own; all read, or all write.
pub async fn batch_execute_statement(
    cx: &Cx,
    input: api::BatchExecuteStatementInput,
) -> Result<api::BatchExecuteStatementOutput, DynamoError> {
    let requests = input.statements.unwrap_or_default();
    let reads = requests
        .iter()
        .filter_map(|request| run::outline(request.statement.as_deref(), request.parameters.as_ref()))
        .map(|statement| statement.is_read());
    let reads: Vec<bool> = reads.collect();
    if reads.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(DynamoError::validation("Batch statements must all be reads or all be writes"));
    }
    let wanted = input.return_consumed_capacity.as_deref();
    let (mut responses, mut capacities) = (Vec::new(), Vec::new());
    for request in requests {
        let text = request.statement.unwrap_or_default();
        let options = Options {
            is_consistent: request.consistent_read,
            limit: None,
            start: None,
            shows_item: request.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD"),
        };
        let outline = run::outline(Some(&text), request.parameters.as_ref());
        let done = async {
            let statement = Statement::parse(&text, run::parameters(request.parameters)?)?;
            let name = statement.table().to_owned();
            if statement.is_read() {
                let table = run::load(cx, &name).await?;
                run::names_one_item(&table, &statement).ok_or_else(no_key)?;
            }
            Ok::<_, DynamoError>((name, run::execute(cx, statement, options).await?))
        };
        responses.push(match done.await {
            Ok((name, outcome)) => {
                capacities.extend(capacity::report(wanted, &outcome.table, &name, &outcome.consumed, None));
                api::BatchStatementResponse {
                    error: None,
                    table_name: Some(name),
                    item: outcome.items.first().map(item_to_wire),
                }
            }
            Err(error) => api::BatchStatementResponse {
                error: Some(error_of(error)),
                table_name: outline.map(|statement| statement.table().to_owned()),
                item: None,
            },
        });
    }
    Ok(api::BatchExecuteStatementOutput {
        responses: Some(responses),
        consumed_capacity: wanted.filter(|wanted| *wanted != "NONE").map(|_| capacities),
    })
}

/// `ExecuteTransaction`: all or nothing; all read, or all write.
pub async fn execute_transaction(
    cx: &Cx,
    input: api::ExecuteTransactionInput,
) -> Result<api::ExecuteTransactionOutput, DynamoError> {
    let fingerprint = input
        .client_request_token
        .is_some()
        .then(|| hex::encode(digest(&SHA256, format!("{:?}", input.transact_statements).as_bytes())));
    let wanted = input.return_consumed_capacity.as_deref();
    let mut statements = Vec::new();
    for one in input.transact_statements.unwrap_or_default() {
        let text = one.statement.unwrap_or_default();
        let shows = one.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD");
        statements.push((Statement::parse(&text, run::parameters(one.parameters)?)?, shows));
    }
    let reads = statements.iter().filter(|(statement, _)| statement.is_read()).count();
    if reads == statements.len() {
        return read_transaction(
            cx,
            statements.into_iter().map(|(statement, _)| statement).collect(),
            wanted,
        )
        .await;
    }
    if reads > 0 {
        return Err(DynamoError::validation("A transaction must have only reads or only writes"));
    }
    let (mut planned, mut returnings) = (Vec::new(), Vec::new());
    for (statement, shows) in statements {
        let (name, table) = (statement.table().to_owned(), run::load(cx, statement.table()).await?);
        returnings.push(match &statement {
            Statement::Update { returning, .. } | Statement::Delete { returning, .. } => *returning,
            _ => None,
        });
        let change = run::change(&table, statement, shows)?;
        planned.push(Planned { name, table, change });
    }
    let token = input.client_request_token.as_deref().zip(fingerprint.as_deref());
    let applied: Vec<Applied> = transact::run(cx, &planned, token).await?;
    let responses = planned.iter().zip(&applied).zip(returnings).map(|((one, applied), returning)| {
        let item = run::returned(returning, &one.change, applied);
        api::ItemResponse { item: item.as_ref().map(item_to_wire) }
    });
    Ok(api::ExecuteTransactionOutput {
        responses: Some(responses.collect()),
        consumed_capacity: transact::report(wanted, &planned, &applied, Side::Write),
    })
}

/// A transaction of reads: what was there at one moment.
async fn read_transaction(
    cx: &Cx,
    statements: Vec<Statement>,
    wanted: Option<&str>,
) -> Result<api::ExecuteTransactionOutput, DynamoError> {
    let (mut rows, mut reads) = (Vec::new(), Vec::new());
    for statement in statements {
        let table = run::load(cx, statement.table()).await?;
        let key = run::names_one_item(&table, &statement).ok_or_else(|| {
            DynamoError::validation(
                "Select statements within ExecuteTransaction must specify the primary key in the where clause.",
            )
        })?;
        let place = table.schema().encode_key(&key)?;
        rows.push((Space::Items, keys::item(table.record.generation, &place)));
        reads.push((table, statement));
    }
    let (mut responses, mut consumed): (Vec<_>, Vec<(String, _, Consumed)>) = (Vec::new(), Vec::new());
    for (found, (table, statement)) in cx.store().multi_get(&rows).await?.into_iter().zip(reads) {
        let Statement::Select { table: name, projection, condition, .. } = statement else { continue };
        let item = found.map(|(bytes, _)| decode_item(&bytes)).transpose()?;
        let units = Consistency::Transactional.units(item.as_ref().map_or(0, item_size));
        let units = Consumed { table: units, ..Consumed::default() };
        match consumed.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., sum)) => sum.add(&units),
            None => consumed.push((name, table, units)),
        }
        let item = item.filter(|item| condition.as_ref().is_none_or(|condition| condition.holds(item)));
        let item = item.map(|item| match &projection {
            Some(projection) => item_into_wire(projection.apply(&item)),
            None => item_into_wire(item),
        });
        responses.push(api::ItemResponse { item });
    }
    let reports = consumed
        .iter()
        .filter_map(|(name, table, units)| capacity::report(wanted, table, name, units, Some(Side::Read)));
    Ok(api::ExecuteTransactionOutput {
        consumed_capacity: wanted.filter(|wanted| *wanted != "NONE").map(|_| reports.collect()),
        responses: Some(responses),
    })
}
