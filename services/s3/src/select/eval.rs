//! Queries over records, one after the other. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use pileus_core::Timestamp;
use serde_json::Value as Json;

use super::SelectError;
use super::sql::{Aggregate, Binary, Column, Expr, Function, Query, Step};
use super::value::{Value, is_like, read_time};

/// A record of the object.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Csv { fields: Vec<String>, header: Option<Arc<Vec<String>>> },
    Json(Json),
}

/// What a record becomes: values by their names.
pub type Row = Vec<(String, Value)>;

/// A query and what it has seen.
pub struct Run {
    query: Query,
    now: Timestamp,
    has_aggregates: bool,
    groups: Vec<Group>,
    answered: u64,
}

#[derive(Debug, Clone, Default)]
struct Group {
    count: u64,
    sum: Option<Value>,
    least: Option<Value>,
    most: Option<Value>,
}

impl Run {
    pub fn new(query: Query, now: Timestamp) -> Run {
        let mut count = 0;
        for column in &query.columns {
            if let Column::One { expr, .. } = column {
                count_aggregates(expr, &mut count);
            }
        }
        let groups = vec![Group::default(); count];
        Run { query, now, has_aggregates: count > 0, groups, answered: 0 }
    }

    /// No further record changes the answer.
    pub fn is_done(&self) -> bool {
        !self.has_aggregates && self.query.limit.is_some_and(|limit| self.answered >= limit)
    }

    /// The rows that a record makes: one for each thing in it that the query ranges over.
    ///
    /// # Errors
    /// What an expression cannot do with the record.
    pub fn record(&mut self, record: &Record, out: &mut Vec<Row>) -> Result<(), SelectError> {
        let steps = match self.query.from.split_first() {
            Some((Step::Every, rest)) => rest.to_vec(),
            _ => self.query.from.clone(),
        };
        if steps.is_empty() {
            return self.one(record, out);
        }
        let Record::Json(json) = record else {
            return Err(SelectError::new("UnsupportedSqlStructure", "Paths after S3Object need JSON."));
        };
        let mut found = vec![];
        walk(json, &steps, &mut found);
        for json in found {
            self.one(&Record::Json(json.clone()), out)?;
        }
        Ok(())
    }

    fn one(&mut self, record: &Record, out: &mut Vec<Row>) -> Result<(), SelectError> {
        if self.is_done() {
            return Ok(());
        }
        let scope = Scope { record, alias: self.query.alias.as_deref(), now: self.now, groups: None };
        if let Some(filter) = &self.query.filter
            && !scope.is_true(filter)?
        {
            return Ok(());
        }
        if self.has_aggregates {
            for column in &self.query.columns {
                if let Column::One { expr, .. } = column {
                    gather(expr, &scope, &mut self.groups)?;
                }
            }
            return Ok(());
        }
        let mut row = vec![];
        for (at, column) in self.query.columns.iter().enumerate() {
            match column {
                Column::All => row.extend(all(record)),
                Column::One { expr, name } => {
                    let name = name.clone().unwrap_or_else(|| column_name(expr, at));
                    row.push((name, scope.value(expr)?));
                }
            }
        }
        self.answered += 1;
        out.push(row);
        Ok(())
    }

    /// The row of a query of aggregates, after the last record.
    ///
    /// # Errors
    /// As `record`.
    pub fn finish(&mut self, out: &mut Vec<Row>) -> Result<(), SelectError> {
        if !self.has_aggregates || self.query.limit == Some(0) {
            return Ok(());
        }
        let nothing = Record::Json(Json::Null);
        let scope = Scope { record: &nothing, alias: None, now: self.now, groups: Some(&self.groups) };
        let mut row = vec![];
        for (at, column) in self.query.columns.iter().enumerate() {
            if let Column::One { expr, name } = column {
                let name = name.clone().unwrap_or_else(|| column_name(expr, at));
                row.push((name, scope.value(expr)?));
            }
        }
        out.push(row);
        Ok(())
    }
}

/// What a path leads to.
fn walk<'j>(json: &'j Json, steps: &[Step], found: &mut Vec<&'j Json>) {
    let Some((step, rest)) = steps.split_first() else {
        found.push(json);
        return;
    };
    match (step, json) {
        (Step::Every, Json::Array(list)) => list.iter().for_each(|json| walk(json, rest, found)),
        (Step::Every, json) => walk(json, rest, found),
        (Step::Index(at), Json::Array(list)) => {
            if let Some(json) = list.get(*at) {
                walk(json, rest, found);
            }
        }
        (Step::Name { text, is_quoted }, Json::Object(members)) => {
            let same = |name: &&String| {
                if *is_quoted { name.as_str() == text } else { name.eq_ignore_ascii_case(text) }
            };
            let exact = members.get(text);
            if let Some(json) = exact.or_else(|| members.keys().find(same).and_then(|name| members.get(name)))
            {
                walk(json, rest, found);
            }
        }
        _ => {}
    }
}

fn all(record: &Record) -> Row {
    match record {
        Record::Csv { fields, header } => {
            let name = |at: usize| match header.as_ref().and_then(|header| header.get(at)) {
                Some(name) => name.clone(),
                None => format!("_{}", at + 1),
            };
            fields.iter().enumerate().map(|(at, field)| (name(at), Value::Text(field.clone()))).collect()
        }
        Record::Json(Json::Object(members)) => {
            members.iter().map(|(name, json)| (name.clone(), Value::of_json(json))).collect()
        }
        Record::Json(other) => vec![("_1".to_owned(), Value::of_json(other))],
    }
}

fn column_name(expr: &Expr, at: usize) -> String {
    match expr {
        Expr::Path(steps) => match steps.last() {
            Some(Step::Name { text, .. }) => text.clone(),
            _ => format!("_{}", at + 1),
        },
        _ => format!("_{}", at + 1),
    }
}

fn inner(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Not(a) | Expr::Negate(a) | Expr::IsNull(a) | Expr::IsMissing(a) | Expr::Cast(a, _) => vec![a],
        Expr::Binary(_, a, b) => vec![a, b],
        Expr::Between(a, b, c) => vec![a, b, c],
        Expr::In(a, list) => std::iter::once(&**a).chain(list).collect(),
        Expr::Like(a, b, c) => [Some(&**a), Some(&**b), c.as_deref()].into_iter().flatten().collect(),
        Expr::Call(_, list) => list.iter().collect(),
        Expr::Case(branches, otherwise) => {
            branches.iter().flat_map(|(a, b)| [a, b]).chain(otherwise.as_deref()).collect()
        }
        _ => vec![],
    }
}

fn count_aggregates(expr: &Expr, count: &mut usize) {
    match expr {
        Expr::Aggregate(_, _, at) => *count = (*count).max(at + 1),
        other => inner(other).into_iter().for_each(|expr| count_aggregates(expr, count)),
    }
}

fn gather(expr: &Expr, scope: &Scope<'_>, groups: &mut [Group]) -> Result<(), SelectError> {
    let Expr::Aggregate(kind, of, at) = expr else {
        for expr in inner(expr) {
            gather(expr, scope, groups)?;
        }
        return Ok(());
    };
    let Some(group) = groups.get_mut(*at) else { return Ok(()) };
    let Some(of) = of else {
        group.count += 1;
        return Ok(());
    };
    let value = scope.value(of)?;
    if value.is_absent() {
        return Ok(());
    }
    group.count += 1;
    match kind {
        Aggregate::Sum | Aggregate::Average => {
            group.sum = Some(match &group.sum {
                Some(sum) => sum.calculate('+', &value)?,
                None => Value::Int(0).calculate('+', &value)?,
            });
        }
        Aggregate::Minimum | Aggregate::Maximum => {
            let value = value.number().unwrap_or(value);
            let is = |other: &Option<Value>, wanted| match other {
                Some(other) => value.compare(other) == Some(wanted),
                None => true,
            };
            if is(&group.least, Ordering::Less) {
                group.least = Some(value.clone());
            }
            if is(&group.most, Ordering::Greater) {
                group.most = Some(value);
            }
        }
        Aggregate::Count => {}
    }
    Ok(())
}

/// What expressions see.
struct Scope<'a> {
    record: &'a Record,
    alias: Option<&'a str>,
    now: Timestamp,
    groups: Option<&'a [Group]>,
}

impl Scope<'_> {
    fn is_true(&self, expr: &Expr) -> Result<bool, SelectError> {
        Ok(match self.value(expr)? {
            Value::Bool(value) => value,
            Value::Text(text) => text.eq_ignore_ascii_case("true"),
            _ => false,
        })
    }

    fn value(&self, expr: &Expr) -> Result<Value, SelectError> {
        Ok(match expr {
            Expr::Null => Value::Null,
            Expr::Missing => Value::Missing,
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Int(number) => Value::Int(*number),
            Expr::Float(number) => Value::Float(*number),
            Expr::Text(text) => Value::Text(text.clone()),
            Expr::Path(steps) => self.path(steps)?,
            Expr::Not(inner) => match self.value(inner)? {
                Value::Bool(value) => Value::Bool(!value),
                _ => Value::Null,
            },
            Expr::Negate(inner) => Value::Int(0).calculate('-', &self.value(inner)?)?,
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Expr::Between(value, low, high) => {
                let value = self.value(value)?;
                let (low, high) = (value.compare(&self.value(low)?), value.compare(&self.value(high)?));
                match (low, high) {
                    (Some(low), Some(high)) => Value::Bool(low.is_ge() && high.is_le()),
                    _ => Value::Null,
                }
            }
            Expr::In(value, list) => {
                let value = self.value(value)?;
                let mut found = false;
                for other in list {
                    found |= value.compare(&self.value(other)?) == Some(Ordering::Equal);
                }
                Value::Bool(found)
            }
            Expr::Like(value, pattern, escape) => self.like(value, pattern, escape.as_deref())?,
            Expr::IsNull(inner) => Value::Bool(self.value(inner)?.is_absent()),
            Expr::IsMissing(inner) => Value::Bool(self.value(inner)? == Value::Missing),
            Expr::Cast(inner, to) => self.value(inner)?.cast(*to)?,
            Expr::Call(function, arguments) => self.call(function, arguments)?,
            Expr::Case(branches, otherwise) => {
                for (condition, value) in branches {
                    if self.is_true(condition)? {
                        return self.value(value);
                    }
                }
                match otherwise {
                    Some(value) => self.value(value)?,
                    None => Value::Null,
                }
            }
            Expr::Aggregate(kind, _, at) => self.aggregate(*kind, *at)?,
        })
    }

    fn aggregate(&self, kind: Aggregate, at: usize) -> Result<Value, SelectError> {
        let Some(group) = self.groups.and_then(|groups| groups.get(at)) else {
            return Err(SelectError::new("UnsupportedSyntax", "Aggregates stand only in the SELECT list."));
        };
        let count = Value::Int(i64::try_from(group.count).unwrap_or(i64::MAX));
        Ok(match kind {
            Aggregate::Count => count,
            Aggregate::Sum => group.sum.clone().unwrap_or(Value::Null),
            Aggregate::Average => match &group.sum {
                Some(sum) => sum.clone().cast(super::sql::Type::Float)?.calculate('/', &count)?,
                None => Value::Null,
            },
            Aggregate::Minimum => group.least.clone().unwrap_or(Value::Null),
            Aggregate::Maximum => group.most.clone().unwrap_or(Value::Null),
        })
    }

    fn path(&self, steps: &[Step]) -> Result<Value, SelectError> {
        let is_alias = |step: &Step| match step {
            Step::Name { text, .. } => {
                self.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(text))
                    || text.eq_ignore_ascii_case("S3Object")
            }
            _ => false,
        };
        let steps = match steps.split_first() {
            Some((first, rest)) if is_alias(first) && !rest.is_empty() => rest,
            _ => steps,
        };
        match self.record {
            Record::Json(json) => {
                if let [only] = steps
                    && is_alias(only)
                {
                    return Ok(Value::of_json(json));
                }
                let mut found = vec![];
                walk(json, steps, &mut found);
                Ok(match found.as_slice() {
                    [] => Value::Missing,
                    [one] => Value::of_json(one),
                    many => Value::Json(Json::Array(many.iter().map(|json| (*json).clone()).collect())),
                })
            }
            Record::Csv { fields, header } => {
                let [Step::Name { text, is_quoted }] = steps else {
                    return Err(SelectError::new(
                        "InvalidKeyPath",
                        "Key path in the SQL expression is invalid.",
                    ));
                };
                let by_name = header.as_ref().and_then(|header| {
                    let same = |name: &String| {
                        if *is_quoted { name == text } else { name.eq_ignore_ascii_case(text) }
                    };
                    header.iter().position(same)
                });
                let by_number =
                    || text.strip_prefix('_').and_then(|n| n.parse::<usize>().ok()?.checked_sub(1));
                match by_name.or_else(by_number) {
                    Some(at) => Ok(fields.get(at).map_or(Value::Missing, |field| Value::Text(field.clone()))),
                    None if header.is_some() => Err(SelectError::new(
                        "InvalidColumnIndex",
                        format!(
                            "The column {text} in the SQL expression is not found. Check the file and try again."
                        ),
                    )),
                    None => Ok(Value::Missing),
                }
            }
        }
    }

    fn binary(&self, operator: Binary, left: &Expr, right: &Expr) -> Result<Value, SelectError> {
        if matches!(operator, Binary::And | Binary::Or) {
            let decides = operator == Binary::Or;
            let left = self.value(left)?;
            if left == Value::Bool(decides) {
                return Ok(left);
            }
            return Ok(match (left, self.value(right)?) {
                (_, Value::Bool(value)) if value == decides => Value::Bool(decides),
                (Value::Bool(_), Value::Bool(value)) => Value::Bool(value),
                _ => Value::Null,
            });
        }
        let (left, right) = (self.value(left)?, self.value(right)?);
        let compared = |test: fn(Ordering) -> bool| match left.compare(&right) {
            Some(ordering) => Value::Bool(test(ordering)),
            None if left.is_absent() || right.is_absent() => Value::Null,
            None => Value::Bool(false),
        };
        Ok(match operator {
            Binary::Equal => compared(Ordering::is_eq),
            Binary::NotEqual if left.compare(&right).is_none() && !left.is_absent() && !right.is_absent() => {
                Value::Bool(true)
            }
            Binary::NotEqual => compared(Ordering::is_ne),
            Binary::Less => compared(Ordering::is_lt),
            Binary::LessOrEqual => compared(Ordering::is_le),
            Binary::Greater => compared(Ordering::is_gt),
            Binary::GreaterOrEqual => compared(Ordering::is_ge),
            Binary::Add => left.calculate('+', &right)?,
            Binary::Subtract => left.calculate('-', &right)?,
            Binary::Multiply => left.calculate('*', &right)?,
            Binary::Divide => left.calculate('/', &right)?,
            Binary::Remainder => left.calculate('%', &right)?,
            _ if left.is_absent() || right.is_absent() => Value::Null,
            _ => Value::Text(left.to_text() + &right.to_text()),
        })
    }

    fn like(&self, value: &Expr, pattern: &Expr, escape: Option<&Expr>) -> Result<Value, SelectError> {
        let escape = match escape {
            Some(escape) => {
                let text = self.value(escape)?.to_text();
                let mut chars = text.chars();
                let (Some(c), None) = (chars.next(), chars.next()) else {
                    return Err(SelectError::new(
                        "LikeInvalidInputs",
                        "Invalid argument given to the LIKE clause in the SQL expression.",
                    ));
                };
                Some(c)
            }
            None => None,
        };
        match (self.value(value)?, self.value(pattern)?) {
            (Value::Text(text), Value::Text(pattern)) => Ok(Value::Bool(is_like(&text, &pattern, escape))),
            (value, pattern) if value.is_absent() || pattern.is_absent() => Ok(Value::Null),
            _ => Err(SelectError::new(
                "LikeInvalidInputs",
                "Invalid argument given to the LIKE clause in the SQL expression.",
            )),
        }
    }

    fn call(&self, function: &Function, arguments: &[Expr]) -> Result<Value, SelectError> {
        if *function == Function::Coalesce {
            for argument in arguments {
                let value = self.value(argument)?;
                if !value.is_absent() {
                    return Ok(value);
                }
            }
            return Ok(Value::Null);
        }
        let values: Vec<Value> =
            arguments.iter().map(|argument| self.value(argument)).collect::<Result<_, _>>()?;
        let first = values.first().cloned().unwrap_or(Value::Null);
        if *function == Function::NullIf {
            let same = values.get(1).and_then(|other| first.compare(other)) == Some(Ordering::Equal);
            return Ok(if same { Value::Null } else { first });
        }
        if *function == Function::Now {
            return Ok(Value::Time(self.now));
        }
        if values.iter().any(Value::is_absent) {
            return Ok(Value::Null);
        }
        let second = values.get(1);
        let int = |value: Option<&Value>| match value.and_then(Value::number) {
            Some(Value::Int(number)) => Ok(number),
            Some(Value::Float(number)) => Ok(number as i64),
            _ => Err(SelectError::new(
                "EvaluatorInvalidArguments",
                "An argument in the SQL expression is no number.",
            )),
        };
        Ok(match function {
            Function::Lower => Value::Text(first.to_text().to_lowercase()),
            Function::Upper => Value::Text(first.to_text().to_uppercase()),
            Function::Length => Value::Int(first.to_text().chars().count() as i64),
            Function::Size => match first {
                Value::Json(Json::Array(list)) => Value::Int(list.len() as i64),
                Value::Json(Json::Object(members)) => Value::Int(members.len() as i64),
                _ => {
                    return Err(SelectError::new(
                        "EvaluatorInvalidArguments",
                        "SIZE takes a list or a structure.",
                    ));
                }
            },
            Function::Substring => {
                let text: Vec<char> = first.to_text().chars().collect();
                let start = match second {
                    Some(_) => int(second)?,
                    None => 1,
                };
                let end = match values.get(2) {
                    Some(length) => start.saturating_add(int(Some(length))?.max(0)),
                    None => i64::MAX,
                };
                let at = |position: i64| {
                    usize::try_from(position.max(1) - 1).unwrap_or(usize::MAX).min(text.len())
                };
                let (from, to) = (at(start), at(end));
                Value::Text(text[from.min(to)..to].iter().collect())
            }
            Function::Trim { leading, trailing } => {
                let unwanted = second.map_or_else(|| " ".to_owned(), Value::to_text);
                let text = first.to_text();
                let mut rest = text.as_str();
                if *leading {
                    rest = rest.trim_start_matches(|c| unwanted.contains(c));
                }
                if *trailing {
                    rest = rest.trim_end_matches(|c| unwanted.contains(c));
                }
                Value::Text(rest.to_owned())
            }
            Function::ToTime => Value::Time(moment(&first)?),
            Function::ToText => Value::Text(super::moments::show(
                moment(&first)?,
                &second.map(Value::to_text).unwrap_or_default(),
            )),
            Function::Extract(part) => Value::Int(super::moments::part(moment(&first)?, part)),
            Function::DateAdd(part) => {
                let moved =
                    super::moments::add(moment(second.unwrap_or(&Value::Null))?, part, int(Some(&first))?);
                Value::Time(moved)
            }
            Function::DateDiff(part) => {
                let (from, to) = (moment(&first)?, moment(second.unwrap_or(&Value::Null))?);
                Value::Int(super::moments::between(from, to, part))
            }
            Function::Coalesce | Function::NullIf | Function::Now => Value::Null,
        })
    }
}

fn moment(value: &Value) -> Result<Timestamp, SelectError> {
    let found = match value {
        Value::Time(moment) => Some(*moment),
        Value::Text(text) => read_time(text),
        _ => None,
    };
    found.ok_or_else(|| {
        SelectError::new(
            "EvaluatorInvalidTimestampFormatPattern",
            "A value in the SQL expression is no timestamp.",
        )
    })
}

#[cfg(test)]
mod tests;
