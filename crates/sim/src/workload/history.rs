//! What clients saw of a table, and whether one order of all their operations explains it.
//!
//! Every write appends a name that nobody else uses to the list of a key, so a list tells the order of all writes of its key,
//! and a read tells which of them it saw. From that follow edges between operations: a write comes after the one before it in
//! the list, a read after the last write that it saw and before the first that it did not see, and whatever began after
//! another had ended comes after it. The history is strictly serializable if and only if nothing comes before itself.
//!
//! Source: Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020 (list-append).

use std::collections::BTreeMap;
use std::time::Duration;

pub type Key = String;

/// One operation, on one key or on several at once.
#[derive(Debug, Clone, Default)]
pub struct Operation {
    /// Unique; what its writes append.
    pub name: String,
    pub began: Duration,
    /// `None`: nobody knows whether it was done, or is still to be.
    pub ended: Option<Duration>,
    pub appends: Vec<Key>,
    pub reads: Vec<(Key, Vec<String>)>,
    /// A write that was made only if the list had this length.
    pub expected: Option<usize>,
}

#[derive(Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    /// Names of operations that did nothing.
    refused: Vec<String>,
}

impl History {
    pub fn add(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// An operation that was answered with a refusal.
    pub fn refuse(&mut self, name: String) {
        self.refused.push(name);
    }

    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// `last`: the list of every key at the end.
    pub fn check(&self, last: &BTreeMap<Key, Vec<String>>) -> Result<(), String> {
        let by_name: BTreeMap<&str, usize> =
            self.operations.iter().enumerate().map(|(at, operation)| (operation.name.as_str(), at)).collect();
        self.check_lists(last, &by_name)?;
        let is_done = |operation: &Operation| {
            operation.ended.is_some()
                || operation.appends.iter().any(|key| contains(last, key, &operation.name))
        };
        let mut edges: Vec<Vec<usize>> = vec![Vec::new(); self.operations.len()];
        let empty = Vec::new();
        for list in last.values() {
            for pair in list.windows(2) {
                let (before, after) = (by_name[pair[0].as_str()], by_name[pair[1].as_str()]);
                edges[before].push(after);
            }
        }
        for (at, operation) in self.operations.iter().enumerate() {
            for (key, seen) in &operation.reads {
                let list = last.get(key).unwrap_or(&empty);
                if !list.starts_with(seen) {
                    return Err(format!(
                        "{} read {seen:?} of {key}, which came to be {list:?}",
                        operation.name
                    ));
                }
                if let Some(name) = seen.last() {
                    edges[by_name[name.as_str()]].push(at);
                }
                if let Some(name) = list.get(seen.len()) {
                    edges[at].push(by_name[name.as_str()]);
                }
            }
            if let (Some(expected), Some(key)) = (operation.expected, operation.appends.first()) {
                let list = last.get(key).unwrap_or(&empty);
                let place = list.iter().position(|name| *name == operation.name);
                if place.is_some_and(|place| place != expected) {
                    return Err(format!(
                        "{} was to be the number {expected} of {key}, and is the number {place:?}",
                        operation.name
                    ));
                }
            }
            for (other, earlier) in self.operations.iter().enumerate() {
                if is_done(operation) && earlier.ended.is_some_and(|ended| ended < operation.began) {
                    edges[other].push(at);
                }
            }
        }
        match cycle(&edges) {
            None => Ok(()),
            Some(at) => {
                let names: Vec<&str> = at.iter().map(|at| self.operations[*at].name.as_str()).collect();
                Err(format!(
                    "no order explains what was seen: each of these comes before the next: {names:?}"
                ))
            }
        }
    }

    /// Acknowledged writes are there once, refused ones are not, and a transaction is there whole or not at all.
    fn check_lists(
        &self,
        last: &BTreeMap<Key, Vec<String>>,
        by_name: &BTreeMap<&str, usize>,
    ) -> Result<(), String> {
        for (key, list) in last {
            for (at, name) in list.iter().enumerate() {
                if list[..at].contains(name) {
                    return Err(format!("{name} was appended to {key} twice"));
                }
                match by_name.get(name.as_str()) {
                    Some(at) if self.operations[*at].appends.contains(key) => {}
                    _ if self.refused.contains(name) => {
                        return Err(format!("{name} was refused, and is in {key}"));
                    }
                    _ => return Err(format!("{name} is in {key}, where nobody appended it")),
                }
            }
        }
        for operation in &self.operations {
            let there = operation.appends.iter().filter(|key| contains(last, key, &operation.name)).count();
            if operation.ended.is_some() && there < operation.appends.len() {
                return Err(format!("{} was acknowledged, and is lost", operation.name));
            }
            if there != 0 && there != operation.appends.len() {
                return Err(format!("of {} only a part was done", operation.name));
            }
        }
        Ok(())
    }
}

fn contains(last: &BTreeMap<Key, Vec<String>>, key: &str, name: &str) -> bool {
    last.get(key).is_some_and(|list| list.iter().any(|other| other == name))
}

/// A way from a node back to itself, if there is one.
fn cycle(edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Colour {
        New,
        Open,
        Closed,
    }
    let mut colours = vec![Colour::New; edges.len()];
    for start in 0..edges.len() {
        if colours[start] != Colour::New {
            continue;
        }
        colours[start] = Colour::Open;
        let mut path = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            match edges[*node].get(*next).copied() {
                Some(target) => {
                    *next += 1;
                    match colours[target] {
                        Colour::New => {
                            colours[target] = Colour::Open;
                            path.push((target, 0));
                        }
                        Colour::Open => {
                            let way: Vec<usize> = path.iter().map(|(node, _)| *node).collect();
                            let begin = way.iter().position(|node| *node == target).unwrap_or(0);
                            return Some(way[begin..].to_vec());
                        }
                        Colour::Closed => {}
                    }
                }
                None => {
                    colours[*node] = Colour::Closed;
                    path.pop();
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str, began: u64, ended: Option<u64>) -> Operation {
        Operation {
            name: name.to_owned(),
            began: Duration::from_secs(began),
            ended: ended.map(Duration::from_secs),
            ..Operation::default()
        }
    }

    fn append(name: &str, began: u64, ended: Option<u64>, keys: &[&str]) -> Operation {
        let appends = keys.iter().map(|key| (*key).to_owned()).collect();
        Operation { appends, ..operation(name, began, ended) }
    }

    fn read(name: &str, began: u64, ended: u64, seen: &[(&str, &[&str])]) -> Operation {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let reads = seen.iter().map(|(key, names)| ((*key).to_owned(), list(names))).collect();
        Operation { reads, ..operation(name, began, Some(ended)) }
    }

    #[test]
    fn only_what_one_order_explains_is_accepted() {
        let both = &["x", "y"][..];
        type Lists = &'static [(&'static str, &'static [&'static str])];
        let cases: Vec<(&str, Vec<Operation>, Lists, bool)> = vec![
            (
                "one after the other",
                vec![append("a", 0, Some(1), &["x"]), append("b", 2, Some(3), &["x"])],
                &[("x", &["a", "b"])],
                true,
            ),
            (
                "against real time",
                vec![append("a", 0, Some(1), &["x"]), append("b", 2, Some(3), &["x"])],
                &[("x", &["b", "a"])],
                false,
            ),
            ("lost", vec![append("a", 0, Some(1), &["x"])], &[("x", &[])], false),
            ("unknown and not done", vec![append("a", 0, None, &["x"])], &[("x", &[])], true),
            ("twice", vec![append("a", 0, Some(1), &["x"])], &[("x", &["a", "a"])], false),
            ("half a transaction", vec![append("a", 0, None, both)], &[("x", &["a"]), ("y", &[])], false),
            (
                "a stale read",
                vec![append("a", 0, Some(1), &["x"]), read("r", 2, 3, &[("x", &[])])],
                &[("x", &["a"])],
                false,
            ),
            (
                "a read at the same time",
                vec![append("a", 0, Some(3), &["x"]), read("r", 2, 3, &[("x", &[])])],
                &[("x", &["a"])],
                true,
            ),
            (
                "a read that saw half a transaction",
                vec![append("a", 0, Some(9), both), read("r", 2, 3, &[("x", &["a"]), ("y", &[])])],
                &[("x", &["a"]), ("y", &["a"])],
                false,
            ),
            (
                "two reads that saw two writes in opposite orders",
                vec![
                    append("a", 0, Some(9), &["x"]),
                    append("b", 0, Some(9), &["y"]),
                    read("r", 2, 3, &[("x", &["a"]), ("y", &[])]),
                    read("q", 2, 3, &[("x", &[]), ("y", &["b"])]),
                ],
                &[("x", &["a"]), ("y", &["b"])],
                false,
            ),
            (
                "a read of what never was",
                vec![
                    append("a", 0, Some(1), &["x"]),
                    append("b", 0, Some(1), &["x"]),
                    read("r", 0, 3, &[("x", &["b"])]),
                ],
                &[("x", &["a", "b"])],
                false,
            ),
        ];
        for (name, operations, lists, is_fine) in cases {
            let mut history = History::default();
            operations.into_iter().for_each(|operation| history.add(operation));
            let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let last = lists.iter().map(|(key, names)| ((*key).to_owned(), list(names))).collect();
            let held = history.check(&last);
            assert_eq!(held.is_ok(), is_fine, "{name}: {held:?}");
        }
        let mut history = History::default();
        history.refuse("a".to_owned());
        assert!(history.check(&BTreeMap::from([("x".to_owned(), vec!["a".to_owned()])])).is_err());
    }
}
