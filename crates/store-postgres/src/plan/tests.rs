use super::*;
use pileus_store::{Check, RangeCheck, Write};

const SPACE: Space = Space::Index;

fn put(key: &'static str, value: &'static str) -> Write {
    Write { space: SPACE, key: key.into(), change: Change::Put(value.into()) }
}

fn delete(key: &'static str) -> Write {
    Write { space: SPACE, key: key.into(), change: Change::Delete }
}

fn expect(key: &'static str, expected: Option<Version>) -> Check {
    Check { space: SPACE, key: key.into(), expected }
}

fn commit(checks: Vec<Check>, writes: Vec<Write>) -> Commit {
    Commit { checks, writes, ..Commit::default() }
}

fn plan<'a>(commits: &'a [Commit], stored: &[(&'static str, Version)]) -> Plan<'a> {
    let mut plan = Plan::new(commits.iter(), &HashSet::new());
    for run in plan.runs() {
        for key in run.keys {
            if let Some((_, version)) = stored.iter().find(|(stored, _)| stored.as_bytes() == key) {
                plan.locked(run.space, key, *version);
            }
        }
    }
    plan
}

fn outcomes(outcomes: Vec<(usize, Outcome)>) -> Vec<Option<Version>> {
    let version = |outcome| match outcome {
        Outcome::Committed(version) => Some(version),
        Outcome::Conflict => None,
    };
    outcomes.into_iter().map(|(_, outcome)| version(outcome)).collect()
}

fn names<'a>(keys: &[&'a [u8]]) -> Vec<&'a str> {
    keys.iter().map(|key| std::str::from_utf8(key).unwrap()).collect()
}

#[test]
fn each_commit_is_held_against_what_those_before_it_leave() {
    let commits = [
        commit(vec![expect("a", Some(3))], vec![put("a", "1")]),
        commit(vec![expect("a", Some(3))], vec![put("a", "2")]),
        commit(vec![expect("a", Some(100))], vec![put("a", "3")]),
        commit(vec![expect("b", None)], vec![put("b", "1")]),
        commit(vec![expect("b", None)], vec![put("b", "2")]),
        commit(vec![], vec![delete("a")]),
        commit(vec![expect("a", None)], vec![put("c", "1")]),
    ];
    let mut plan = plan(&commits, &[("a", 3)]);
    let accepted = plan.accept(100, vec![]);
    assert_eq!(outcomes(accepted), [Some(100), None, Some(101), Some(102), None, Some(103), Some(104)]);
    let changes = plan.changes();
    let [(SPACE, changes)] = &changes[..] else { panic!("one space") };
    assert_eq!(
        (names(&changes.inserts.keys), &changes.inserts.versions[..]),
        (vec!["b", "c"], &[102, 104][..])
    );
    assert_eq!(names(&changes.deletes), ["a"]);
    assert!(changes.updates.keys.is_empty());
}

#[test]
fn what_must_stay_absent_is_held_by_a_row_that_goes_again() {
    let commits = [
        commit(vec![expect("checked", None)], vec![put("other", "1")]),
        commit(vec![], vec![delete("removed")]),
        commit(vec![expect("refused", None), expect("other", Some(1))], vec![]),
    ];
    let mut plan = plan(&commits, &[]);
    assert_eq!(outcomes(plan.accept(10, vec![])), [Some(10), Some(11), None]);
    let changes = plan.changes();
    assert_eq!(names(&changes[0].1.inserts.keys), ["checked", "other", "removed"]);
    assert_eq!(names(&changes[0].1.deletes), ["checked", "removed"]);
}

#[test]
fn keys_are_locked_in_one_order_and_never_one_by_one() {
    let keys =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
    let few = [commit(vec![expect("b", None)], vec![put("a", ""), put("c", "")])];
    let runs = Plan::new(few.iter(), &HashSet::new()).runs();
    let kinds: Vec<_> = runs.iter().map(|run| (run.is_written, run.keys.len())).collect();
    assert_eq!(kinds, [(true, 1), (false, 1), (true, 1)]);
    let (checks, writes) = keys.iter().enumerate().partition::<Vec<_>, _>(|(place, _)| place % 2 == 0);
    let many = [commit(
        checks.into_iter().map(|(_, key)| expect(key, None)).collect(),
        writes.into_iter().map(|(_, key)| put(key, "")).collect(),
    )];
    let runs = Plan::new(many.iter(), &HashSet::new()).runs();
    let [run] = &runs[..] else { panic!("one run") };
    assert_eq!((run.is_written, names(&run.keys)), (true, keys.to_vec()));
}

fn range(found: &[(&'static str, Version)]) -> RangeCheck {
    RangeCheck { space: SPACE, range: KeyRange::new("k", "l"), found: rows(found) }
}

fn rows(rows: &[(&'static str, Version)]) -> RangeRows {
    rows.iter().map(|(key, version)| (Bytes::from_static(key.as_bytes()), *version)).collect()
}

#[test]
fn a_range_holds_what_was_found_and_what_the_batch_itself_changes() {
    let cases = [
        // name, found, stored before, the commit's own writes, stored after, expected: accepted, then unbroken
        ("same", vec![("k1", 1)], vec![("k1", 1)], vec![], vec![("k1", 1)], (true, true)),
        ("added before", vec![], vec![("k1", 1)], vec![], vec![("k1", 1)], (false, true)),
        ("changed before", vec![("k1", 1)], vec![("k1", 2)], vec![], vec![("k1", 2)], (false, true)),
        ("added since", vec![], vec![], vec![], vec![("k1", 90)], (true, false)),
        ("removed since", vec![("k1", 1)], vec![("k1", 1)], vec![], vec![], (true, false)),
        (
            "ours",
            vec![("k1", 1)],
            vec![("k1", 1)],
            vec![put("k1", ""), put("k2", "")],
            vec![("k1", 50), ("k2", 50)],
            (true, true),
        ),
        ("ours removed", vec![("k1", 1)], vec![("k1", 1)], vec![delete("k1")], vec![], (true, true)),
        (
            "ours and another",
            vec![],
            vec![],
            vec![put("k2", "")],
            vec![("k2", 50), ("k3", 90)],
            (true, false),
        ),
    ];
    for (name, found, before, writes, after, (accepted, unbroken)) in cases {
        let commits = [Commit { ranges: vec![range(&found)], writes, ..Commit::default() }];
        let mut plan = plan(&commits, &before);
        let outcomes = plan.accept(50, vec![rows(&before)]);
        assert_eq!(outcomes[0].1 != Outcome::Conflict, accepted, "{name}");
        assert_eq!(plan.first_broken(&outcomes, vec![rows(&after)]).is_none(), unbroken, "{name}");
    }
}

#[test]
fn a_range_that_the_batch_has_changed_already_is_refused() {
    let commits = [
        commit(vec![], vec![put("k5", "")]),
        Commit { ranges: vec![range(&[])], writes: vec![put("z", "")], ..Commit::default() },
        Commit { ranges: vec![range(&[])], ..Commit::default() },
    ];
    let mut plan = plan(&commits, &[]);
    assert_eq!(outcomes(plan.accept(50, vec![rows(&[]), rows(&[])])), [Some(50), None, None]);
}
