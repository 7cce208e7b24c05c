use super::*;
use crate::value::tests::{item, n, s};
use proptest::prelude::*;

#[test]
fn statements_become_the_expressions_that_they_mean() {
    let present = item(&[("pk", s("a")), ("v", n("5")), ("tags", Value::L(vec![s("x")]))]);
    let cases = [
        ("v = 5", true),
        ("v != 5", false),
        ("v >= 5 AND pk = 'a'", true),
        ("v IN [1, 5]", true),
        ("gone IS MISSING", true),
        ("v IS NOT MISSING AND NOT v IS NULL", true),
        ("begins_with(pk, 'a')", true),
        ("size(tags) = 1", true),
        ("v BETWEEN -1 AND 4 OR contains(tags, 'x')", true),
        ("\"pk\" = ? AND tags[0] = 'x'", true),
        ("(v < 1)", false),
    ];
    for (text, expected) in cases {
        let parameters = if text.contains('?') { vec![s("a")] } else { Vec::new() };
        let statement = Statement::parse(&format!("SELECT * FROM \"t-1\" WHERE {text};"), parameters);
        let Ok(Statement::Select { condition: Some(condition), table, .. }) = statement else {
            panic!("{text}: {statement:?}")
        };
        assert_eq!((table.as_str(), condition.holds(&present)), ("t-1", expected), "{text}");
    }
}

#[test]
fn values_are_read_with_all_their_types() {
    let text = "INSERT INTO t VALUE {'pk': 'it''s', 'n': -1.5e2, 'l': [1, TRUE, NULL], 'm': {'k': ?}, 's': <<'a', 'b'>>}";
    let statement = Statement::parse(text, vec![n("7")]).unwrap();
    let strings = Value::Ss(["a".to_owned(), "b".to_owned()].into());
    let expected = item(&[
        ("pk", s("it's")),
        ("n", n("-150")),
        ("l", Value::L(vec![n("1"), Value::Bool(true), Value::Null])),
        ("m", Value::M(item(&[("k", n("7"))]))),
        ("s", strings),
    ]);
    assert_eq!(statement, Statement::Insert { table: "t".to_owned(), item: expected });
}

#[test]
fn what_is_no_statement_is_refused() {
    for text in [
        "",
        "SELECT",
        "SELECT * FROM",
        "DROP TABLE t",
        "SELECT * FROM t WHERE a",
        "INSERT INTO t VALUE 5",
        "SELECT * FROM t extra words",
        "DELETE FROM t",
        "SELECT * FROM t WHERE a = ?",
        "SELECT * FROM t WHERE a = 'open",
        "UPDATE t SET a = <<1, 'b'>> WHERE pk = 'a'",
    ] {
        assert!(Statement::parse(text, Vec::new()).is_err(), "{text}");
    }
    assert!(Statement::parse("SELECT * FROM t", vec![n("1")]).is_err());
    let deep = format!("SELECT * FROM t WHERE {}a = 1", "(".repeat(10_000));
    assert!(Statement::parse(&deep, Vec::new()).is_err());
}

proptest! {
    #[test]
    fn no_text_is_a_panic(text in "(SELECT|UPDATE t SET|INSERT INTO t VALUE|DELETE FROM)[a-z *'\"?<>={}\\[\\],.0-9eé+-]{0,40}") {
        let _ = Statement::parse(&text, Vec::new());
    }
}
