//! What a table or a global index can serve at once without warming up. It never goes down: it is what was asked for, and what was
//! provisioned at any time. Pure.
//!
//! Source: Developer Guide, "Understanding DynamoDB warm throughput", "Increase the warm throughput of your existing DynamoDB
//! table". Recorded: the sentences.

use pileus_api_dynamodb as api;
use serde::{Deserialize, Serialize};

use crate::error::DynamoError;
use crate::table::{Index, Record, Throughput};

/// Units a second; zero for what was never asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    pub read: i64,
    pub write: i64,
}

/// Of every on-demand table.
const ON_DEMAND: Warm = Warm { read: 12_000, write: 4_000 };

impl Warm {
    fn most(self, other: Warm) -> Warm {
        Warm { read: self.read.max(other.read), write: self.write.max(other.write) }
    }

    /// What there is, with what was kept.
    pub fn of(kept: Warm, is_on_demand: bool, throughput: &Throughput) -> Warm {
        let provisioned = Warm { read: throughput.read as i64, write: throughput.write as i64 };
        kept.most(if is_on_demand { ON_DEMAND } else { provisioned })
    }

    /// What a request asks for, over what there is.
    ///
    /// `of`: `table`, or `index` and its name; `present`: how AWS calls what there is.
    ///
    /// # Errors
    /// `ValidationException` for less than there is.
    fn raised(
        self,
        input: Option<&api::WarmThroughput>,
        of: &str,
        present: &str,
    ) -> Result<Warm, DynamoError> {
        let Some(input) = input else { return Ok(self) };
        let wanted = [
            ("ReadUnitsPerSecond", input.read_units_per_second, self.read),
            ("WriteUnitsPerSecond", input.write_units_per_second, self.write),
        ];
        if wanted.iter().all(|(_, wanted, _)| wanted.is_none()) {
            return Err(DynamoError::parameter(
                "ReadUnitsPerSecond or WriteUnitsPerSecond must be specified for WarmThroughput",
            ));
        }
        for (name, wanted, least) in wanted {
            if wanted.is_some_and(|wanted| wanted < least) {
                return Err(DynamoError::parameter(format_args!(
                    "Requested {name} for WarmThroughput for {of} is lower than {present}"
                )));
            }
        }
        Ok(Warm {
            read: input.read_units_per_second.unwrap_or(self.read),
            write: input.write_units_per_second.unwrap_or(self.write),
        })
    }
}

const INITIAL: &str = "initial throughput";
const CURRENT: &str = "current WarmThroughput, decreasing WarmThroughput is not supported";

/// Of a new table, or a new index.
///
/// # Errors
/// As [`Warm::raised`]
pub fn initial(
    input: Option<&api::WarmThroughput>,
    is_on_demand: bool,
    throughput: &Throughput,
    index: Option<&str>,
) -> Result<Warm, DynamoError> {
    let of = index.map_or_else(|| "table".to_owned(), |name| format!("index {name}"));
    Warm::of(Warm::default(), is_on_demand, throughput).raised(input, &of, INITIAL)
}

/// Before anything else is changed: what there was stays.
pub fn keep(record: &mut Record) {
    record.warm = Warm::of(record.warm, record.is_on_demand, &record.throughput);
    for index in record.indexes.iter_mut().filter(|index| index.is_global) {
        index.warm = Warm::of(index.warm, record.is_on_demand, &index.throughput);
    }
}

/// `UpdateTable` of the table's own.
///
/// # Errors
/// As [`Warm::raised`]
pub fn raise(record: &mut Record, input: &api::WarmThroughput) -> Result<(), DynamoError> {
    let present = Warm::of(record.warm, record.is_on_demand, &record.throughput);
    record.warm = present.raised(Some(input), "table", CURRENT)?;
    Ok(())
}

/// `UpdateTable` of an index's.
///
/// # Errors
/// As [`Warm::raised`]
pub fn raise_index(
    index: &mut Index,
    is_on_demand: bool,
    input: &api::WarmThroughput,
) -> Result<(), DynamoError> {
    let present = Warm::of(index.warm, is_on_demand, &index.throughput);
    index.warm = present.raised(Some(input), &format!("index {}", index.name), CURRENT)?;
    Ok(())
}
