//! `stats`: what is counted up over rows, for each group of them.

use std::collections::{HashMap, HashSet};

use super::function::evaluate;
use super::row::Row;
use super::syntax::Stats;
use super::value::Value;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Count,
    CountDistinct,
    Sum,
    Average,
    Least,
    Greatest,
    /// `pct(@duration, 95)`
    Percentile(f64),
    Median,
    Deviation,
    Earliest,
    Latest,
    SortsFirst,
    SortsLast,
}

impl Kind {
    /// By its name in any case.
    pub fn named(name: &str) -> Option<Kind> {
        Some(match name.to_ascii_lowercase().as_str() {
            "count" => Kind::Count,
            "count_distinct" => Kind::CountDistinct,
            "sum" => Kind::Sum,
            "avg" => Kind::Average,
            "min" => Kind::Least,
            "max" => Kind::Greatest,
            "pct" => Kind::Percentile(0.0),
            "median" => Kind::Median,
            "stddev" => Kind::Deviation,
            "earliest" => Kind::Earliest,
            "latest" => Kind::Latest,
            "sortsfirst" => Kind::SortsFirst,
            "sortslast" => Kind::SortsLast,
            _ => return None,
        })
    }

    fn begin(self) -> State {
        match self {
            Kind::Count => State::Count(0),
            Kind::CountDistinct => State::Distinct(HashSet::new()),
            Kind::Sum | Kind::Average | Kind::Deviation => State::Sums { count: 0, sum: 0.0, squares: 0.0 },
            Kind::Percentile(_) | Kind::Median => State::Numbers(Vec::new()),
            _ => State::Best(None),
        }
    }
}

#[derive(Debug)]
enum State {
    Count(u64),
    Distinct(HashSet<String>),
    Sums {
        count: u64,
        sum: f64,
        squares: f64,
    },
    Numbers(Vec<f64>),
    /// What it is chosen by, and what is shown.
    Best(Option<(Value, Value)>),
}

/// A query fails when it would have to remember more than this.
pub const MAX_GROUPS: usize = 100_000;
const MAX_REMEMBERED: usize = 5_000_000;

/// The running `stats` of a query.
pub struct Aggregation<'c> {
    stats: &'c Stats,
    groups: HashMap<Vec<Option<String>>, Group>,
    remembered: usize,
}

struct Group {
    /// In the order of their first rows.
    number: usize,
    by: Vec<Value>,
    states: Vec<State>,
}

/// The query needs more memory than it may have.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMuch;

impl<'c> Aggregation<'c> {
    pub fn new(stats: &'c Stats) -> Aggregation<'c> {
        Aggregation { stats, groups: HashMap::new(), remembered: 0 }
    }

    pub fn push(&mut self, row: &Row) -> Result<(), TooMuch> {
        let by: Vec<Value> =
            self.stats.by.iter().map(|named| evaluate(&named.expression, row, &[])).collect();
        let key: Vec<Option<String>> = by.iter().map(Value::text).collect();
        let number = self.groups.len();
        if number >= MAX_GROUPS && !self.groups.contains_key(&key) {
            return Err(TooMuch);
        }
        let begin = || self.stats.aggregates.iter().map(|(kind, _)| kind.begin()).collect();
        let group = self.groups.entry(key).or_insert_with(|| Group { number, by, states: begin() });
        for (state, (kind, argument)) in group.states.iter_mut().zip(&self.stats.aggregates) {
            let value = argument.as_ref().map_or(Value::Bool(true), |argument| evaluate(argument, row, &[]));
            if !value.is_null() {
                self.remembered += take(state, *kind, value, row);
            }
        }
        if self.remembered > MAX_REMEMBERED { Err(TooMuch) } else { Ok(()) }
    }

    /// One row for each group.
    pub fn finish(mut self) -> Vec<Row> {
        if self.groups.is_empty() && self.stats.by.is_empty() {
            let states = self.stats.aggregates.iter().map(|(kind, _)| kind.begin()).collect();
            self.groups.insert(Vec::new(), Group { number: 0, by: Vec::new(), states });
        }
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by_key(|group| group.number);
        let finish = |group: Group| {
            let mut row = Row::default();
            for (named, value) in self.stats.by.iter().zip(group.by) {
                row.set(&named.name, value);
            }
            let kinds = self.stats.aggregates.iter().map(|(kind, _)| *kind);
            let values: Vec<Value> = group.states.into_iter().zip(kinds).map(result).collect();
            for named in &self.stats.results {
                let value = evaluate(&named.expression, &row, &values);
                row.set(&named.name, value);
            }
            row
        };
        groups.into_iter().map(finish).collect()
    }
}

/// Adds a value; gives how many more things are remembered.
fn take(state: &mut State, kind: Kind, value: Value, row: &Row) -> usize {
    match state {
        State::Count(count) => {
            *count += 1;
            0
        }
        State::Distinct(seen) => usize::from(value.text().is_some_and(|text| seen.insert(text))),
        State::Sums { count, sum, squares } => {
            if let Some(number) = value.number() {
                *count += 1;
                *sum += number;
                *squares += number * number;
            }
            0
        }
        State::Numbers(numbers) => {
            numbers.extend(value.number());
            1
        }
        State::Best(best) => {
            let by = match kind {
                Kind::Earliest | Kind::Latest => row.get("@timestamp"),
                _ => value.clone(),
            };
            let is_text = matches!(kind, Kind::SortsFirst | Kind::SortsLast);
            let is_least = matches!(kind, Kind::Least | Kind::Earliest | Kind::SortsFirst);
            let is_better = best.as_ref().is_none_or(|(present, _)| {
                let order = if is_text { by.text().cmp(&present.text()) } else { by.order(present) };
                if is_least { order.is_lt() } else { order.is_gt() }
            });
            if is_better {
                *best = Some((by, value));
            }
            0
        }
    }
}

fn result((state, kind): (State, Kind)) -> Value {
    match (state, kind) {
        (State::Count(count), _) => Value::Number(count as f64),
        (State::Distinct(seen), _) => Value::Number(seen.len() as f64),
        (State::Sums { count: 0, .. }, _) => Value::Null,
        (State::Sums { sum, .. }, Kind::Sum) => Value::Number(sum),
        (State::Sums { count, sum, .. }, Kind::Average) => Value::Number(sum / count as f64),
        (State::Sums { count, sum, squares }, _) => {
            let mean = sum / count as f64;
            Value::Number((squares / count as f64 - mean * mean).max(0.0).sqrt())
        }
        (State::Numbers(mut numbers), kind) => {
            let percent = if let Kind::Percentile(percent) = kind { percent } else { 50.0 };
            numbers.sort_by(f64::total_cmp);
            // The least value that so many percent of the values do not exceed.
            let rank = (percent / 100.0 * numbers.len() as f64).ceil().max(1.0) as usize;
            numbers.get(rank - 1).map_or(Value::Null, |number| Value::Number(*number))
        }
        (State::Best(best), _) => best.map_or(Value::Null, |(_, value)| value),
    }
}
