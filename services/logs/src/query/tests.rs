//! Queries over events in memory.

use std::sync::Arc;

use pileus_core::{AccountId, Region};
use proptest::prelude::*;

use super::parse::parse;
use super::row::{Origin, Row, Source};
use super::run::{Answer, Run};
use crate::address::Address;
use crate::error::LogsError;
use crate::event::position::Position;

const T0: i64 = 1_553_115_900_000; // 2019-03-20 21:05:00

fn rows(group: &str, messages: &[&str]) -> Vec<Row> {
    let address =
        Address { account: AccountId::DEFAULT, region: Region::us_east_1(), name: group.to_owned() };
    let source = Arc::new(Source::new(&address, 7));
    let numbered = messages.iter().enumerate().rev();
    let row = |(index, message): (usize, &&str)| {
        let index = index as u32;
        Row::new(Origin {
            source: source.clone(),
            stream_name: "s".to_owned(),
            stream: 1,
            position: Position { at: T0 + i64::from(index) * 60_000, ordinal: 1, index },
            ingested_at: T0,
            message: (*message).to_owned(),
        })
    };
    numbered.map(row).collect()
}

fn run(query: &str, rows: Vec<Row>) -> Vec<Answer> {
    let commands = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut run = Run::new(&commands, 10_000);
    for row in rows {
        run.push(row).expect("a small query");
    }
    run.finish().expect("a small query")
}

/// The values of the answer's rows, without pointers.
fn values(query: &str, group: &str, messages: &[&str]) -> Vec<Vec<String>> {
    let plain =
        |row: Answer| row.into_iter().filter(|(name, _)| name != "@ptr").map(|(_, text)| text).collect();
    run(query, rows(group, messages)).into_iter().map(plain).collect()
}

const JSON: [&str; 5] = [
    r#"{"level":"INFO","ms":10,"user":{"id":"a","tags":["x","y"]},"a.b":"dotted"}"#,
    r#"{"level":"ERROR","ms":250,"user":{"id":"b"}}"#,
    r#"{"level":"INFO","ms":30,"user":{"id":"a"},"ok":true}"#,
    r#"{"level":"WARN","ms":40.5,"user":{"id":"c"}}"#,
    "plain text with id=42, took 17 ms",
];

#[track_caller]
fn check(query: &str, expected: &[&[&str]]) {
    assert_eq!(values(query, "g", &JSON), expected, "{query}");
}

#[test]
fn rows_are_filtered_shown_and_sorted() {
    check("fields level | filter level = 'ERROR'", &[&["ERROR"]]);
    check(
        "filter ispresent(level) | display level, user.id",
        &[&["WARN", "c"], &["INFO", "a"], &["ERROR", "b"], &["INFO", "a"]],
    );
    check("fields ms | filter ms > 30 | sort ms desc", &[&["250"], &["40.5"]]);
    check("fields ms | filter ms >= 30 and level like /^(INFO|WARN)$/ | sort ms", &[&["30"], &["40.5"]]);
    check("fields level | filter level not like 'R' and ispresent(level) | limit 1", &[&["INFO"]]);
    check("fields level | filter level in [\"WARN\", \"ERROR\"]", &[&["WARN"], &["ERROR"]]);
    check("fields level | filter @message =~ /\"id\":\"b\"/", &[&["ERROR"]]);
    check("fields user.tags.1, `a.b` | filter ispresent(user.tags.0)", &[&["y", "dotted"]]);
    check("fields ok | filter ok = 1", &[&["1"]]);
    check("fields @timestamp | limit 1", &[&["2019-03-20 21:09:00.000"]]);
    check("filter level = 'ERROR'", &[&["2019-03-20 21:06:00.000", JSON[1]]]);
    check("# a comment\nfields level # and another\n| filter level = 'WARN'", &[&["WARN"]]);
    check("fields user.id | dedup user.id | filter ispresent(user.id)", &[&["c"], &["a"], &["b"]]);
    check("fields level | sort ms asc | limit 2", &[&["INFO"], &["INFO"]]);
}

#[test]
fn rows_are_counted_up() {
    check("stats count(*)", &[&["5"]]);
    check(
        "stats count(level) as levels, sum(ms), avg(ms), min(ms), max(ms)",
        &[&["4", "330.5", "82.625", "10", "250"]],
    );
    check("stats count(*) as n by level | sort n desc, level | limit 2", &[&["INFO", "2"], &["ERROR", "1"]]);
    check(
        "filter ispresent(ms) | stats max(ms) - min(ms) as spread, count_distinct(user.id)",
        &[&["240", "3"]],
    );
    check(
        "stats count(*) by bin(2m) as t | sort t",
        &[
            &["2019-03-20 21:04:00.000", "1"],
            &["2019-03-20 21:06:00.000", "2"],
            &["2019-03-20 21:08:00.000", "2"],
        ],
    );
    check("stats pct(ms, 50), pct(ms, 100), median(ms)", &[&["30", "250", "30"]]);
    check("stats earliest(level), latest(level), sortsFirst(level)", &[&["INFO", "WARN", "ERROR"]]);
    check("stats count(*) as n by user.id | stats max(n)", &[&["2"]]);
    check("filter level = 'none' | stats count(*)", &[&["0"]]);
    check("filter level = 'none' | stats count(*) by level", &[]);
    check("filter ms = 10 or ms = 30 | stats stddev(ms)", &[&["10"]]);
}

#[test]
fn text_is_taken_apart() {
    check(
        "parse @message 'id=*, took * ms' as id, took | filter ispresent(id) | display id, took + 1",
        &[&["42", "18"]],
    );
    check("parse /took (?<t>\\d+)/ | filter t > 0 | display t", &[&["17"]]);
    check("parse @message /id=(\\d+)/ as n | stats sum(n)", &[&["42"]]);
    check(
        "parse '* text *' as a, b | filter ispresent(a) | display a, b",
        &[&["plain", "with id=42, took 17 ms"]],
    );
    check("parse @message 'nothing * here' as x | filter ispresent(x)", &[]);
}

#[test]
fn functions_of_values() {
    let cases = [
        ("abs(-3)", "3"),
        ("2 ^ 3 ^ 2", "512"),
        ("10 % 3 + 2 * 4 - 6 / 4", "7.5"),
        ("ceil(1.2)", "2"),
        ("floor(-1.2)", "-2"),
        ("greatest(1, 5, 3)", "5"),
        ("least(2, 1)", "1"),
        ("sqrt(16)", "4"),
        ("concat('a', 1, 'b')", "a1b"),
        ("trim('xyZfooxyZ', 'xyZ')", "foo"),
        ("ltrim('  a ')", "a "),
        ("rtrim('xyZfooxyZ', 'xyZ')", "xyZfoo"),
        ("strlen('é日')", "2"),
        ("toupper('ab')", "AB"),
        ("substr('xyZfooxyZ', 3, 3)", "foo"),
        ("substr('abc', 1)", "bc"),
        ("replace('foo', 'o', '0')", "f00"),
        ("strcontains('foo', 'o')", "1"),
        ("coalesce(nothing, 'x')", "x"),
        ("isempty(nothing)", "1"),
        ("isblank('  ')", "1"),
        ("isblank('x')", "0"),
        ("datefloor(@timestamp, 1h)", "2019-03-20 21:00:00.000"),
        ("dateceil(@timestamp, 1h)", "2019-03-20 22:00:00.000"),
        ("toMillis(@timestamp)", "1553115900000"),
        ("isValidIp('10.0.0.1')", "1"),
        ("isIpv4InSubnet('10.1.2.3', '10.1.0.0/16')", "1"),
        ("isIpv4InSubnet('10.2.2.3', '10.1.0.0/16')", "0"),
        ("isIpInSubnet('fd00::1', 'fd00::/8')", "1"),
        ("isIpInSubnet('1.2.3.4', '0.0.0.0/0')", "1"),
        ("not (1 = 2) and 3 != 4", "1"),
        ("1 in [3, 2, 1]", "1"),
        ("-(-2)", "2"),
    ];
    for (expression, expected) in cases {
        let found = values(&format!("fields {expression} as x"), "g", &["e"]);
        assert_eq!(found, [[expected]], "{expression}");
    }
    // What has no value shows none.
    assert_eq!(values("fields 1 / 0 as x, sqrt(-1) as y, log('a') as z", "g", &["e"]), [[""; 0]]);
}

#[test]
fn fields_of_lambda_are_discovered() {
    let id = "0f2ab9ae-3c57-4b1a-9a35-1f8d0a4f4d11";
    let report = format!(
        "REPORT RequestId: {id}\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n"
    );
    let start = format!("START RequestId: {id} Version: $LATEST\n");
    let line = format!("2026-01-01T00:00:00.000Z\t{id}\tINFO\t{{\"order\": 7}}");
    let messages = [start.as_str(), line.as_str(), report.as_str()];
    let query = "filter @type = 'REPORT' | display @requestId, @duration, @billedDuration, @maxMemoryUsed / 1000 / 1000, @initDuration";
    assert_eq!(values(query, "/aws/lambda/f", &messages), [[id, "3.01", "4", "36", "110.1"]]);
    assert_eq!(values("filter order = 7 | display @requestId", "/aws/lambda/f", &messages), [[id]]);
    assert_eq!(values("stats count(*) by @requestId", "/aws/lambda/f", &messages), [[id, "3"]]);
    assert_eq!(values("filter @type = 'REPORT'", "other", &messages), Vec::<Vec<String>>::new());
}

#[test]
fn a_malformed_query_says_where() {
    let cases = [
        ("nonsense @message", 0, 8),
        ("fields @message | filter", 24, 24),
        ("fields a b", 9, 10),
        ("filter f(1)", 7, 9),
        ("filter abs(1, 2)", 7, 16),
        ("é | fields x", 0, 1),
    ];
    for (query, start, end) in cases {
        match parse(query) {
            Err(LogsError::MalformedQuery { start: found, end: to, .. }) => {
                assert_eq!((found, to), (start, end), "{query}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    let bad = [
        "",
        "|",
        "fields",
        "fields a,",
        "fields (a",
        "fields 'a",
        "filter a like",
        "filter a like /(/",
        "limit x",
        "limit 0",
        "parse @message 'a*b'",
        "parse @message 'a*b' as x, y",
        "parse @message /a/",
        "stats a",
        "stats count(*) by",
        "stats sum(*)",
        "stats pct(a)",
        "stats count(count(*))",
        "sort",
        "fields 5x",
        "fields `a",
        "pattern @message",
        "diff",
        "filter a in (1)",
    ];
    for query in bad {
        assert!(parse(query).is_err(), "{query}");
    }
    let deep = format!("fields {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(parse(&deep).is_err());
    assert!(parse(&format!("fields {}1", "-".repeat(5_000))).is_ok());
}

proptest! {
    #[test]
    fn no_query_panics(query in "(fields|stats|parse|filter|sort|limit|dedup)? ?[a-c@.`'\"/()*,|=<>~!0-9smh \\\\é#\\-+^%]{0,40}") {
        if let Ok(commands) = parse(&query) {
            let mut run = Run::new(&commands, 100);
            for row in rows("/aws/lambda/f", &JSON) {
                let _ = run.push(row);
            }
            let _ = run.finish();
        }
    }

    #[test]
    fn sorting_and_limiting_give_the_greatest(numbers in prop::collection::vec(0i64..1_000, 0..300), limit in 1usize..20) {
        let messages: Vec<String> = numbers.iter().map(|n| format!("{{\"n\":{n}}}")).collect();
        let messages: Vec<&str> = messages.iter().map(String::as_str).collect();
        let found = values(&format!("fields n | sort n desc | limit {limit}"), "g", &messages);
        let mut sorted = numbers;
        sorted.sort_by(|a, b| b.cmp(a));
        sorted.truncate(limit);
        let expected: Vec<Vec<String>> = sorted.iter().map(|n| vec![n.to_string()]).collect();
        prop_assert_eq!(found, expected);
    }
}
