//! What a request consumes, and how the answer tells.
//!
//! Source: Developer Guide, "DynamoDB read and write operations"; API Reference, "ConsumedCapacity".

use std::collections::BTreeMap;

use pileus_api_dynamodb as api;
use pileus_wire::value::Map;

use crate::table::Table;

/// Bytes of one read unit and of one write unit.
const READ_UNIT: usize = 4_096;
const WRITE_UNIT: usize = 1_024;

/// How sure a read is, which is what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    Eventual,
    Strong,
    Transactional,
}

impl Consistency {
    pub fn of(is_consistent: Option<bool>) -> Consistency {
        if is_consistent == Some(true) { Consistency::Strong } else { Consistency::Eventual }
    }

    /// Units for reading so many bytes.
    pub fn units(self, bytes: usize) -> f64 {
        let units = bytes.div_ceil(READ_UNIT).max(1) as f64;
        match self {
            Consistency::Eventual => units / 2.0,
            Consistency::Strong => units,
            Consistency::Transactional => units * 2.0,
        }
    }
}

/// Units for writing so many bytes.
pub fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(WRITE_UNIT).max(1) as f64
}

/// Units of one table and its indexes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Consumed {
    pub table: f64,
    /// By the names of indexes.
    pub indexes: BTreeMap<String, f64>,
}

impl Consumed {
    pub fn total(&self) -> f64 {
        self.table + self.indexes.values().sum::<f64>()
    }

    pub fn add_index(&mut self, name: &str, units: f64) {
        if units > 0.0 {
            *self.indexes.entry(name.to_owned()).or_default() += units;
        }
    }

    pub fn add(&mut self, other: &Consumed) {
        self.table += other.table;
        for (name, units) in &other.indexes {
            self.add_index(name, *units);
        }
    }

    pub fn times(mut self, factor: f64) -> Consumed {
        self.table *= factor;
        self.indexes.values_mut().for_each(|units| *units *= factor);
        self
    }
}

/// Which side of a table's capacity was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Read,
    Write,
}

/// What `ReturnConsumedCapacity` asks for; `split`: the answer tells reads and writes apart, as transactions' do.
pub fn report(
    wanted: Option<&str>,
    table: &Table,
    name: &str,
    consumed: &Consumed,
    split: Option<Side>,
) -> Option<api::ConsumedCapacity> {
    let with_indexes = match wanted {
        Some("INDEXES") => true,
        Some("TOTAL") => false,
        _ => return None,
    };
    let sides = |units: f64| match split {
        Some(Side::Read) => (Some(units), None),
        Some(Side::Write) => (None, Some(units)),
        None => (None, None),
    };
    let capacity = |units: f64| {
        let (read, write) = sides(units);
        api::Capacity { read_capacity_units: read, write_capacity_units: write, capacity_units: Some(units) }
    };
    let of = |is_global: bool| -> Option<Map<api::Capacity>> {
        let map: Map<_> = consumed
            .indexes
            .iter()
            .filter(|(name, _)| table.index(name).is_some_and(|index| index.is_global == is_global))
            .map(|(name, units)| (name.clone(), capacity(*units)))
            .collect();
        (with_indexes && !map.is_empty()).then_some(map)
    };
    let (read, write) = sides(consumed.total());
    Some(api::ConsumedCapacity {
        table_name: Some(name.to_owned()),
        capacity_units: Some(consumed.total()),
        read_capacity_units: read,
        write_capacity_units: write,
        table: with_indexes.then(|| capacity(consumed.table)),
        local_secondary_indexes: of(false),
        global_secondary_indexes: of(true),
        ..api::ConsumedCapacity::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_unit_is_four_kilobytes_and_a_write_unit_one() {
        let cases = [(0, 0.5, 1.0), (1, 0.5, 1.0), (4_096, 0.5, 1.0), (4_097, 1.0, 2.0), (8_192, 1.0, 2.0)];
        for (bytes, eventual, strong) in cases {
            assert_eq!(Consistency::Eventual.units(bytes), eventual, "{bytes}");
            assert_eq!(Consistency::Strong.units(bytes), strong, "{bytes}");
            assert_eq!(Consistency::Transactional.units(bytes), strong * 2.0, "{bytes}");
        }
        for (bytes, units) in [(0, 1.0), (1_024, 1.0), (1_025, 2.0)] {
            assert_eq!(write_units(bytes), units, "{bytes}");
        }
    }
}
