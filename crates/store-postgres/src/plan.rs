//! What one batch of commits locks, accepts and writes. Pure: the database's answers are arguments.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use pileus_store::{Change, Commit, Durability, KeyRange, Outcome, Space, Version};

/// Alternations between the two kinds of lock, beyond which all is locked for writing instead.
const MAX_RUNS: usize = 16;

/// Keys and versions that a range holds, ascending.
pub type RangeRows = Vec<(Bytes, Version)>;

/// The commits of a batch that are still in it, and all keys that they check or write, in the order in which they are
/// locked: by space, then by key.
pub struct Plan<'a> {
    commits: Vec<(usize, &'a Commit)>,
    keys: BTreeMap<(Space, &'a [u8]), Slot<'a>>,
}

#[derive(Default)]
struct Slot<'a> {
    is_written: bool,
    /// Its version in the database, once it is locked. None: absent, and so not locked.
    stored: Option<Version>,
    /// What the accepted commits leave there.
    change: Option<(Version, Option<&'a Bytes>)>,
    /// An accepted commit relies on its absence.
    relies_on_absence: bool,
}

/// Consecutive keys of one space, to be locked by one statement.
pub struct Run<'a> {
    pub space: Space,
    pub is_written: bool,
    pub keys: Vec<&'a [u8]>,
}

/// What is written to one space. Rows put first are gone again if they are also in `deletes`.
#[derive(Default)]
pub struct Changes<'a> {
    pub inserts: Rows<'a>,
    pub updates: Rows<'a>,
    pub deletes: Vec<&'a [u8]>,
}

#[derive(Default)]
pub struct Rows<'a> {
    pub keys: Vec<&'a [u8]>,
    pub values: Vec<&'a [u8]>,
    pub versions: Vec<i64>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, key: &'a [u8], value: &'a [u8], version: Version) {
        self.keys.push(key);
        self.values.push(value);
        self.versions.push(version.cast_signed());
    }
}

impl<'a> Plan<'a> {
    /// Without the commits that are `refused` already.
    pub fn new(commits: impl Iterator<Item = &'a Commit>, refused: &HashSet<usize>) -> Plan<'a> {
        let commits: Vec<_> = commits.enumerate().filter(|(index, _)| !refused.contains(index)).collect();
        let mut keys: BTreeMap<_, Slot<'_>> = BTreeMap::new();
        for (_, commit) in &commits {
            for check in &commit.checks {
                keys.entry((check.space, &check.key[..])).or_default();
            }
            for write in &commit.writes {
                keys.entry((write.space, &write.key[..])).or_default().is_written = true;
            }
        }
        Plan { commits, keys }
    }

    /// All keys are locked in one order, whatever else a batch does, so that two batches never wait for each other in a
    /// circle. Checked keys are shared: every message sent checks the row of its queue.
    pub fn runs(&self) -> Vec<Run<'a>> {
        let mut runs: Vec<Run<'a>> = Vec::new();
        for ((space, key), slot) in &self.keys {
            match runs.last_mut() {
                Some(run) if run.space == *space && run.is_written == slot.is_written => run.keys.push(key),
                _ => runs.push(Run { space: *space, is_written: slot.is_written, keys: vec![key] }),
            }
        }
        if runs.len() <= MAX_RUNS {
            return runs;
        }
        let mut merged: Vec<Run<'a>> = Vec::new();
        for run in runs {
            match merged.last_mut() {
                Some(last) if last.space == run.space => last.keys.extend(run.keys),
                _ => merged.push(Run { is_written: true, ..run }),
            }
        }
        merged
    }

    /// `key` is locked, at this version.
    pub fn locked(&mut self, space: Space, key: &'a [u8], version: Version) {
        if let Some(slot) = self.keys.get_mut(&(space, key)) {
            slot.stored = Some(version);
        }
    }

    /// The greatest version among the rows that will be replaced.
    pub fn newest(&self) -> Version {
        self.keys.values().filter_map(|slot| slot.stored).max().unwrap_or(0)
    }

    /// Keys that may be written, for the guards.
    pub fn written(&self) -> impl Iterator<Item = (Space, &'a [u8])> {
        self.keys.iter().filter(|(_, slot)| slot.is_written).map(|(key, _)| *key)
    }

    /// None of them asks to be durable when it is acknowledged.
    pub fn is_relaxed(&self) -> bool {
        self.commits.iter().all(|(_, commit)| commit.durability == Durability::Relaxed)
    }

    /// Every range checked, in the order in which `accept` wants what it holds.
    pub fn ranges(&self) -> impl Iterator<Item = &'a pileus_store::RangeCheck> {
        self.commits.iter().flat_map(|(_, commit)| &commit.ranges)
    }

    /// Validates the commits in their order, each against what is stored and what those before it leave; `ranges` holds
    /// what each range holds in the database. Versions count up from `base`. An outcome for each commit with its place.
    pub fn accept(&mut self, base: Version, ranges: Vec<RangeRows>) -> Vec<(usize, Outcome)> {
        let mut ranges = ranges.into_iter();
        let mut next = base;
        let mut outcomes = Vec::with_capacity(self.commits.len());
        for (index, commit) in self.commits.clone() {
            let held: Vec<RangeRows> = ranges.by_ref().take(commit.ranges.len()).collect();
            if !self.holds(commit, &held) {
                outcomes.push((index, Outcome::Conflict));
                continue;
            }
            for check in commit.checks.iter().filter(|check| check.expected.is_none()) {
                if let Some(slot) = self.keys.get_mut(&(check.space, &check.key[..])) {
                    slot.relies_on_absence = true;
                }
            }
            for write in &commit.writes {
                if let Some(slot) = self.keys.get_mut(&(write.space, &write.key[..])) {
                    let value = match &write.change {
                        Change::Put(value) => Some(value),
                        Change::Delete => None,
                    };
                    slot.change = Some((next, value));
                    slot.relies_on_absence |= value.is_none();
                }
            }
            outcomes.push((index, Outcome::Committed(next)));
            next += 1;
        }
        outcomes
    }

    fn holds(&self, commit: &Commit, held: &[RangeRows]) -> bool {
        let present = |space, key| {
            let slot: &Slot<'_> = self.keys.get(&(space, key))?;
            match slot.change {
                Some((version, value)) => value.map(|_| version),
                None => slot.stored,
            }
        };
        let points = commit.checks.iter().all(|check| present(check.space, &check.key[..]) == check.expected);
        points
            && commit.ranges.iter().zip(held).all(|(check, held)| {
                // Whatever this batch has accepted is newer than what the transaction read.
                let is_touched = self.changed_in(check.space, &check.range).next().is_some();
                !is_touched && check.found == *held
            })
    }

    /// Keys of the range that the accepted commits change.
    fn changed_in(&self, space: Space, range: &'a KeyRange) -> impl Iterator<Item = &'a [u8]> {
        let start = (space, &range.start[..]);
        self.keys
            .range(start..)
            .take_while(move |((of, key), _)| *of == space && range.contains(key))
            .filter(|(_, slot)| slot.change.is_some())
            .map(|((_, key), _)| *key)
    }

    /// How many rows to look at to compare a range with what was found: those, what this batch adds, and one more.
    pub fn rows_to_compare(&self, check: &'a pileus_store::RangeCheck) -> usize {
        check.found.len() + self.changed_in(check.space, &check.range).count() + 1
    }

    /// The first accepted commit whose ranges, read again after all writes, hold anything but what was found there and
    /// what this batch itself has changed.
    pub fn first_broken(&self, outcomes: &[(usize, Outcome)], ranges: Vec<RangeRows>) -> Option<usize> {
        let mut ranges = ranges.into_iter();
        for ((index, commit), (_, outcome)) in self.commits.iter().zip(outcomes) {
            for check in &commit.ranges {
                let held = ranges.next().unwrap_or_default();
                let ours: HashSet<&[u8]> = self.changed_in(check.space, &check.range).collect();
                let others = |rows: &RangeRows| -> RangeRows {
                    rows.iter().filter(|(key, _)| !ours.contains(&key[..])).cloned().collect()
                };
                if *outcome != Outcome::Conflict && others(&held) != others(&check.found) {
                    return Some(*index);
                }
            }
        }
        None
    }

    /// What is to be written, by space.
    pub fn changes(&self) -> Vec<(Space, Changes<'a>)> {
        let mut spaces: Vec<(Space, Changes<'a>)> = Vec::new();
        for ((space, key), slot) in &self.keys {
            if slot.change.is_none() && !slot.relies_on_absence {
                continue;
            }
            if spaces.last().is_none_or(|(last, _)| last != space) {
                spaces.push((*space, Changes::default()));
            }
            let Some((_, changes)) = spaces.last_mut() else { continue };
            match (slot.stored, slot.change) {
                (None, Some((version, Some(value)))) => changes.inserts.push(key, value, version),
                (Some(_), Some((version, Some(value)))) => changes.updates.push(key, value, version),
                (Some(_), Some((_, None))) => changes.deletes.push(key),
                // Nothing is there that could be locked. A row of our own keeps others from adding one until we are done.
                (None, _) if slot.relies_on_absence => {
                    changes.inserts.push(key, b"", 0);
                    changes.deletes.push(key);
                }
                (None | Some(_), _) => {}
            }
        }
        spaces
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
