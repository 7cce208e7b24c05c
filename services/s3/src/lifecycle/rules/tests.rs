use super::*;
use pileus_api_s3::{
    AbortIncompleteMultipartUpload, LifecycleExpiration, LifecycleRuleAndOperator, LifecycleRuleFilter,
    NoncurrentVersionExpiration, Transition,
};

/// 2024-01-01T00:00:00Z
const T0: i64 = 1_704_067_200;
const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(T0 + seconds)
}

fn rule(id: &str) -> LifecycleRule {
    LifecycleRule {
        id: Some(id.into()),
        status: Some("Enabled".into()),
        filter: Some(LifecycleRuleFilter::default()),
        ..LifecycleRule::default()
    }
}

fn expire(id: &str, days: i64) -> LifecycleRule {
    LifecycleRule {
        expiration: Some(LifecycleExpiration { days: Some(days), ..LifecycleExpiration::default() }),
        ..rule(id)
    }
}

fn to(id: &str, class: &str, days: i64) -> LifecycleRule {
    let transition =
        Transition { days: Some(days), storage_class: Some(class.into()), ..Transition::default() };
    LifecycleRule { transitions: Some(vec![transition]), ..rule(id) }
}

fn subject(key: &str) -> Subject<'_> {
    Subject { key, size: 100, tags: &[], storage_class: "STANDARD", modified: at(3_600) }
}

#[test]
fn days_end_at_the_next_midnight() {
    let cases = [(0, 1, DAY), (1, 1, 2 * DAY), (3_600, 0, DAY), (DAY - 1, 3, 4 * DAY)];
    for (from, days, expected) in cases {
        assert_eq!(after_days(at(from), days), at(expected), "{from} + {days}");
    }
}

#[test]
fn a_filter_takes_what_it_names() {
    let tag = |key: &str, value: &str| Tag { key: Some(key.into()), value: Some(value.into()) };
    let with = |filter| LifecycleRule { filter: Some(filter), ..rule("r") };
    let of_prefix = with(LifecycleRuleFilter { prefix: Some("logs/".into()), ..Default::default() });
    let of_tag = with(LifecycleRuleFilter { tag: Some(tag("a", "1")), ..Default::default() });
    let of_size = with(LifecycleRuleFilter { object_size_greater_than: Some(99), ..Default::default() });
    let of_all = with(LifecycleRuleFilter {
        and: Some(LifecycleRuleAndOperator {
            prefix: Some("logs/".into()),
            tags: Some(vec![tag("a", "1"), tag("b", "2")]),
            object_size_less_than: Some(200),
            ..Default::default()
        }),
        ..Default::default()
    });
    let old = LifecycleRule { filter: None, prefix: Some("old/".into()), ..rule("r") };
    let one = [("a".to_owned(), "1".to_owned())];
    let two = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
    type Case<'a> = (&'a str, &'a LifecycleRule, &'a str, Option<u64>, &'a [(String, String)], bool);
    let all = rule("r");
    let cases: [Case<'_>; 12] = [
        ("everything", &all, "x", Some(1), &[], true),
        ("prefix", &of_prefix, "logs/x", Some(1), &[], true),
        ("another prefix", &of_prefix, "log", Some(1), &[], false),
        ("tag", &of_tag, "x", Some(1), &one, true),
        ("no tag", &of_tag, "x", Some(1), &[], false),
        ("an upload has no tags", &of_tag, "x", None, &[], false),
        ("size", &of_size, "x", Some(100), &[], true),
        ("too small", &of_size, "x", Some(99), &[], false),
        ("all of it", &of_all, "logs/x", Some(199), &two, true),
        ("a tag lacks", &of_all, "logs/x", Some(199), &one, false),
        ("too large", &of_all, "logs/x", Some(200), &two, false),
        ("the older form", &old, "old/x", Some(1), &[], true),
    ];
    for (name, rule, key, size, tags, expected) in cases {
        assert_eq!(takes(rule, key, size, tags), expected, "{name}");
    }
}

#[test]
fn the_first_step_wins_and_removal_before_moving() {
    let disabled = LifecycleRule { status: Some("Disabled".into()), ..expire("off", 1) };
    let date = LifecycleRule {
        expiration: Some(LifecycleExpiration { date: Some(at(5 * DAY)), ..Default::default() }),
        ..rule("date")
    };
    let cases = [
        ("nothing", vec![disabled], None),
        ("days", vec![expire("e", 1)], Some((2 * DAY, Action::Expire, "e"))),
        ("date", vec![date], Some((5 * DAY, Action::Expire, "date"))),
        (
            "move, then go",
            vec![expire("e", 10), to("t", "GLACIER", 3)],
            Some((4 * DAY, Action::Transition("GLACIER".into()), "t")),
        ),
        ("together", vec![to("t", "GLACIER", 3), expire("e", 3)], Some((4 * DAY, Action::Expire, "e"))),
        (
            "the colder one",
            vec![to("a", "STANDARD_IA", 3), to("b", "GLACIER", 3)],
            Some((4 * DAY, Action::Transition("GLACIER".into()), "b")),
        ),
    ];
    for (name, rules, expected) in cases {
        let got = current(&rules, subject("k")).map(|step| (step.due, step.action, step.rule_id));
        let expected = expected.map(|(due, action, id)| (at(due), action, id.to_owned()));
        assert_eq!(got, expected, "{name}");
    }
    let cold = Subject { storage_class: "GLACIER", ..subject("k") };
    assert_eq!(current(&[to("t", "STANDARD_IA", 1)], cold), None, "nothing becomes warmer");
}

#[test]
fn noncurrent_versions_go_but_for_the_newest_that_are_kept() {
    let keep = LifecycleRule {
        noncurrent_version_expiration: Some(NoncurrentVersionExpiration {
            noncurrent_days: Some(2),
            newer_noncurrent_versions: Some(2),
        }),
        ..rule("n")
    };
    for (newer, expected) in [(0, None), (1, None), (2, Some(at(3 * DAY))), (9, Some(at(3 * DAY)))] {
        let got = noncurrent(std::slice::from_ref(&keep), subject("k"), at(10), newer).map(|step| step.due);
        assert_eq!(got, expected, "{newer} newer");
    }
}

#[test]
fn markers_and_uploads_go_too() {
    let marker = LifecycleRule {
        expiration: Some(LifecycleExpiration {
            expired_object_delete_marker: Some(true),
            ..Default::default()
        }),
        ..rule("m")
    };
    assert_eq!(lone_marker(&[marker], "k", at(7)).map(|step| step.due), Some(at(7)));
    assert_eq!(lone_marker(&[expire("e", 1)], "k", at(7)).map(|step| step.due), Some(at(2 * DAY)));
    assert_eq!(lone_marker(&[rule("r")], "k", at(7)), None);
    let abort = LifecycleRule {
        abort_incomplete_multipart_upload: Some(AbortIncompleteMultipartUpload {
            days_after_initiation: Some(3),
        }),
        ..rule("a")
    };
    assert_eq!(abort_headers(&[abort], "k", at(7)), Some((at(4 * DAY), "a".to_owned())));
}

#[test]
fn the_header_tells_when_and_why() {
    let rules = [to("t", "GLACIER", 1), expire("my rule", 1)];
    let got = expiration_header(&rules, subject("k"));
    assert_eq!(got.as_deref(), Some("expiry-date=\"Wed, 03 Jan 2024 00:00:00 GMT\", rule-id=\"my%20rule\""));
    assert_eq!(expiration_header(&rules[..1], subject("k")), None);
}
