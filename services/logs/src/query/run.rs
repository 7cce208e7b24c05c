//! Runs a query's commands over rows: those that look at one row at a time as the rows come, the others over all that is left.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::aggregate::{Aggregation, TooMuch};
use super::function::evaluate;
use super::row::Row;
use super::syntax::{Command, Expression, Form, Named};
use super::value::Value;

/// Rows that a query may hold at a time, and the text in them.
const MAX_ROWS: usize = 100_000;
const MAX_BYTES: usize = 256 << 20;

/// A row of the answer: fields and values.
pub type Answer = Vec<(String, String)>;

/// A query on its way.
pub struct Run<'c> {
    commands: &'c [Command],
    /// How many commands look at single rows before one looks at many.
    streamed: usize,
    limit: usize,
    sink: Sink<'c>,
}

enum Sink<'c> {
    Stats(Box<Aggregation<'c>>),
    /// The best rows so far, in the order of the keys; not more than twice as many as are wanted.
    Rows {
        rows: Vec<Row>,
        keys: &'c [(Expression, bool)],
        wanted: usize,
        bytes: usize,
    },
}

impl<'c> Run<'c> {
    /// `limit` holds where the query does not say less.
    pub fn new(commands: &'c [Command], limit: usize) -> Run<'c> {
        let is_single = |command: &Command| {
            matches!(
                command,
                Command::Fields(_) | Command::Display(_) | Command::Filter(_) | Command::Parse { .. }
            )
        };
        let streamed = commands.iter().take_while(|command| is_single(command)).count();
        let rest = &commands[streamed..];
        let sink = match rest.first() {
            Some(Command::Stats(stats)) => Sink::Stats(Box::new(Aggregation::new(stats))),
            Some(Command::Sort(keys)) => Sink::rows(keys, wanted(&rest[1..], limit)),
            _ => Sink::rows(&[], wanted(rest, limit)),
        };
        Run { commands, streamed, limit, sink }
    }

    /// Takes a row, the latest event first. Whether it got past the filters.
    pub fn push(&mut self, mut row: Row) -> Result<bool, TooMuch> {
        for command in &self.commands[..self.streamed] {
            if !single(command, &mut row) {
                return Ok(false);
            }
        }
        match &mut self.sink {
            Sink::Stats(aggregation) => aggregation.push(&row)?,
            Sink::Rows { rows, keys, wanted, bytes } => {
                // Rows come in the order that is wanted when there are no keys.
                if keys.is_empty() && rows.len() >= *wanted {
                    return Ok(true);
                }
                *bytes += size(&row);
                rows.push(row);
                if rows.len() >= 2 * *wanted {
                    sort(rows, keys);
                    rows.truncate(*wanted);
                    *bytes = rows.iter().map(size).sum();
                }
                if *bytes > MAX_BYTES {
                    return Err(TooMuch);
                }
            }
        }
        Ok(true)
    }

    pub fn finish(self) -> Result<Vec<Answer>, TooMuch> {
        let mut rest = self.commands[self.streamed..].iter();
        let mut rows = match self.sink {
            Sink::Stats(aggregation) => {
                rest.next();
                aggregation.finish()
            }
            Sink::Rows { mut rows, keys, wanted, .. } => {
                if !keys.is_empty() {
                    rest.next();
                    sort(&mut rows, keys);
                }
                rows.truncate(wanted);
                rows
            }
        };
        let mut limit = self.limit;
        for command in rest {
            match command {
                Command::Stats(stats) => {
                    let mut aggregation = Aggregation::new(stats);
                    for row in &rows {
                        aggregation.push(row)?;
                    }
                    rows = aggregation.finish();
                }
                Command::Sort(keys) => sort(&mut rows, keys),
                Command::Limit(count) => {
                    limit = limit.min(*count);
                    rows.truncate(*count);
                }
                Command::Dedup(keys) => dedup(&mut rows, keys),
                single_row => rows.retain_mut(|row| single(single_row, row)),
            }
        }
        rows.truncate(limit);
        let shown = Shown::of(self.commands);
        Ok(rows.iter().map(|row| shown.answer(row)).collect())
    }
}

impl<'c> Sink<'c> {
    fn rows(keys: &'c [(Expression, bool)], wanted: usize) -> Sink<'c> {
        Sink::Rows { rows: Vec::new(), keys, wanted, bytes: 0 }
    }
}

/// How many of the rows in order the commands behind can show.
fn wanted(rest: &[Command], limit: usize) -> usize {
    for command in rest {
        match command {
            Command::Limit(count) => return (*count).min(MAX_ROWS),
            Command::Fields(_) | Command::Display(_) | Command::Parse { .. } => {}
            _ => return MAX_ROWS,
        }
    }
    limit.min(MAX_ROWS)
}

fn size(row: &Row) -> usize {
    let text = |value: &Value| if let Value::Text(text) = value { text.len() } else { 8 };
    let added: usize = row.added.iter().map(|(name, value)| name.len() + text(value)).sum();
    added + row.origin.as_ref().map_or(0, |origin| origin.message.len() + 256)
}

/// Does what a command does to one row. False: the row goes.
fn single(command: &Command, row: &mut Row) -> bool {
    match command {
        Command::Fields(fields) | Command::Display(fields) => {
            for Named { expression, name } in fields {
                let is_itself = matches!(expression, Expression::Field(field) if field == name);
                if !is_itself {
                    let value = evaluate(expression, row, &[]);
                    row.set(name, value);
                }
            }
            true
        }
        Command::Filter(condition) => evaluate(condition, row, &[]).is_true(),
        Command::Parse { source, form } => {
            if let Some(text) = evaluate(source, row, &[]).text() {
                take_apart(form, &text, row);
            }
            true
        }
        _ => true,
    }
}

fn take_apart(form: &Form, text: &str, row: &mut Row) {
    match form {
        Form::Glob { literals, names } => {
            let Some(found) = glob(literals, text) else { return };
            for (name, part) in names.iter().zip(found) {
                row.set(name, Value::Text(part.to_owned()));
            }
        }
        Form::Regex { regex, names } => {
            let Ok(Some(captures)) = regex.captures(text) else { return };
            for (at, name) in names {
                if let Some(part) = captures.get(*at) {
                    row.set(name, Value::Text(part.as_str().to_owned()));
                }
            }
        }
    }
}

/// What the asterisks between the literals stand for: as little as possible, the last one up to the end.
fn glob<'t>(literals: &[String], text: &'t str) -> Option<Vec<&'t str>> {
    let (first, others) = literals.split_first()?;
    let mut rest = &text[text.find(first.as_str())? + first.len()..];
    let mut found = Vec::with_capacity(others.len());
    for (at, literal) in others.iter().enumerate() {
        let is_last = at + 1 == others.len();
        let end = if is_last && literal.is_empty() { rest.len() } else { rest.find(literal.as_str())? };
        found.push(&rest[..end]);
        rest = &rest[end + literal.len()..];
    }
    Some(found)
}

fn sort(rows: &mut Vec<Row>, keys: &[(Expression, bool)]) {
    if keys.is_empty() {
        return;
    }
    let key = |row: &Row| -> Vec<Value> { keys.iter().map(|(key, _)| evaluate(key, row, &[])).collect() };
    let mut keyed: Vec<(Vec<Value>, Row)> = rows.drain(..).map(|row| (key(&row), row)).collect();
    keyed.sort_by(|(a, _), (b, _)| {
        let orders = a.iter().zip(b).zip(keys).map(|((a, b), (_, descending))| {
            // What is not there comes last either way.
            if *descending && !a.is_null() && !b.is_null() { b.order(a) } else { a.order(b) }
        });
        orders.fold(Ordering::Equal, Ordering::then)
    });
    rows.extend(keyed.into_iter().map(|(_, row)| row));
}

/// Keeps the first row of each combination of values. Rows that have none of the fields all stay.
fn dedup(rows: &mut Vec<Row>, keys: &[Expression]) {
    let mut seen = HashSet::new();
    rows.retain(|row| {
        let key: Vec<Option<String>> = keys.iter().map(|key| evaluate(key, row, &[]).text()).collect();
        key.iter().all(Option::is_none) || seen.insert(key)
    });
}

/// Which fields an answer shows.
struct Shown {
    names: Vec<String>,
    has_pointer: bool,
}

impl Shown {
    /// The last `display`, else all `fields`, else the time and the message; behind `stats`, what it makes.
    fn of(commands: &[Command]) -> Shown {
        let names = |fields: &[Named]| fields.iter().map(|named| named.name.clone()).collect::<Vec<_>>();
        let mut shown = Shown { names: Vec::new(), has_pointer: true };
        let mut is_display = false;
        for command in commands {
            match command {
                Command::Fields(fields) if !is_display => {
                    for name in names(fields) {
                        if !shown.names.contains(&name) {
                            shown.names.push(name);
                        }
                    }
                }
                Command::Display(fields) => {
                    shown.names = names(fields);
                    is_display = true;
                }
                Command::Stats(stats) => {
                    shown.names = names(&stats.by);
                    shown.names.extend(names(&stats.results));
                    shown.has_pointer = false;
                    is_display = false;
                }
                _ => {}
            }
        }
        if shown.names.is_empty() {
            shown.names = vec!["@timestamp".to_owned(), "@message".to_owned()];
        }
        if shown.has_pointer && !shown.names.iter().any(|name| name == "@ptr") {
            shown.names.push("@ptr".to_owned());
        }
        shown
    }

    fn answer(&self, row: &Row) -> Answer {
        self.names.iter().filter_map(|name| Some((name.clone(), row.get(name).text()?))).collect()
    }
}
