//! The examples of AWS's user guide, and what they leave open.

use proptest::prelude::*;

use super::Pattern;

#[track_caller]
fn check(pattern: &str, message: &str, expected: bool) {
    let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    assert_eq!(parsed.matches(message), expected, "{pattern} on {message}");
}

#[test]
fn terms_are_all_there_none_of_the_excluded_and_any_of_the_optional() {
    let cases = [
        ("", "anything", true),
        (" ", "anything", true),
        ("ERROR", "[ERROR] A fatal exception has occurred", true),
        ("ERROR", "Exiting with ERRORCODE: -1", true),
        ("ERROR", "error", false),
        ("\"ERROR\" - \"Exiting\"", "Exiting with ERRORCODE: -1", false),
        ("ERROR -Exiting", "[ERROR] A fatal exception", true),
        ("ERROR Exception", "[ERROR] Unhandled Exception", true),
        ("ERROR Exception", "[ERROR] fine", false),
        ("\"Failed to process\"", "[WARN] Failed to process the request", true),
        ("\"Failed to process\"", "[WARN] Failed: to process", false),
        ("?ERROR ?WARN", "WARN message", true),
        ("?ERROR ?WARN", "INFO message", false),
        ("?ERROR REQUEST", "REQUEST", true),
        ("\"say \\\"hi\\\"\"", "they say \"hi\" again", true),
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", true),
        ("%[Ee]rror [45]\\d{2}$%", "an error 503", true),
        ("-%[45]\\d\\d%", "status 404", false),
    ];
    for (pattern, message, expected) in cases {
        check(pattern, message, expected);
    }
}

const EVENT: &str = r#"{
  "eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111",
  "arrayKey": ["value", "another value"],
  "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
  "SomeObject": null, "ThisFlag": true, "latency": 50.5, "code": "400", "cluster.name": "c",
  "user": {"id": 1, "email": "John.Stiles@example.com"},
  "coordinates": [[0, 1, 2], [4, 5, 6]], "actions": ["GET", "PUT", "DELETE"]
}"#;

#[test]
fn conditions_on_json() {
    let cases = [
        ("{ $.eventType = \"UpdateTrail\" }", true),
        ("{$.eventType=UpdateTrail}", true),
        ("{ $.eventType = Update* }", true),
        ("{ $.eventType = \"*Trail\" }", true),
        ("{ $.eventType = Up*Trail }", false),
        ("{ $.eventType = * }", true),
        ("{ $.missing = * }", false),
        ("{ $.sourceIPAddress != 123.123.* }", true),
        ("{ $.missing != 1 }", false),
        ("{ $.arrayKey[0] = \"value\" }", true),
        ("{ $.arrayKey = \"value\" }", false),
        ("{ $.arrayKey != \"value\" }", false),
        ("{ $.objectList[1].id = 2 }", true),
        ("{ $.objectList[*].id = 2 }", true),
        ("{ $.objectList[*].id = 3 }", false),
        ("{ $.*.email = John* }", true),
        ("{ $.['cluster.name'] = c }", true),
        ("{ $.SomeObject IS NULL }", true),
        ("{ $.eventType IS NULL }", false),
        ("{ $.SomeOtherObject NOT EXISTS }", true),
        ("{ $.SomeObject NOT EXISTS }", false),
        ("{ $.ThisFlag IS TRUE }", true),
        ("{ $.ThisFlag IS FALSE }", false),
        ("{ $.latency >= 50 && $.latency < 10e3 }", true),
        ("{ $.latency > +1000 }", false),
        ("{ $.latency = 50.50 }", true),
        ("{ $.code = 400 }", true),
        ("{ $.code >= 500 }", false),
        ("{ $.eventType > 1 }", false),
        ("{ $.eventType = %Trail$% }", true),
        ("{ ($.user.id = 1) && ($.user.email = \"John.Stiles@example.com\") }", true),
        ("{ ($.user.id = 2 && $.user.id = \"nonmatch\") || $.actions[2] = \"GET\" }", false),
        ("{ $.user.id = 1 || $.coordinates[0][1] = nonmatch && $.actions[2] = nomatch }", true),
        ("{ ($.user.id = 1 || $.coordinates[0][1] = nonmatch) && $.actions[2] = nomatch }", false),
        ("{ $.coordinates[1][2] = 6 }", true),
    ];
    for (pattern, expected) in cases {
        check(pattern, EVENT, expected);
    }
    check("{ $.a NOT EXISTS }", "plain text", false);
    check("{ $.a NOT EXISTS }", "{broken", false);
}

const LINE: &str = r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;

#[test]
fn conditions_on_fields() {
    let cases = [
        ("[ip, user, username, timestamp, request, status_code, bytes]", true),
        ("[ip, user, username, timestamp, request, status_code]", false),
        ("[ip, user, username, timestamp, request, status_code, bytes > 1000]", true),
        ("[ip, user, username, timestamp, request, status_code = 200, bytes]", false),
        ("[..., status_code = 4*, bytes]", true),
        ("[ip, user, ..., status_code, bytes]", true),
        ("[ip, user, ...]", true),
        ("[..., request = *html*, status_code = 4*, bytes]", true),
        ("[..., status_code = 4* && bytes > 1000, bytes]", true),
        ("[..., status_code = 4* && status_code != 404, bytes]", false),
        ("[..., status_code = 500 || status_code = 404, bytes]", true),
        ("[..., timestamp = \"10/Oct*\", request, status_code, bytes]", true),
        ("[ip = %^127\\.%, ...]", true),
        ("[a, b, c, d, e, f, g, h, ...]", false),
        ("[]", true),
    ];
    for (pattern, expected) in cases {
        check(pattern, LINE, expected);
    }
    check("[w1=ERROR || w1=WARN, w2]", "WARN message", true);
    check("[w1=!ERROR&&w1=!WARN, w2]", "INFO message", true);
    check("[w1=!ERROR&&w1=!WARN, w2]", "WARN message", false);
}

#[test]
fn what_a_pattern_names_is_extracted() {
    let extract = |pattern: &str, message: &str| {
        let mut values = Pattern::parse(pattern).expect(pattern).extract(message);
        values.sort();
        values
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(
        extract("[..., request=*.html*, status_code=4*,]", LINE),
        pairs(&[
            ("$1", "127.0.0.1"),
            ("$2", "-"),
            ("$3", "frank"),
            ("$4", "10/Oct/2000:13:25:15 -0700"),
            ("$7", "1534"),
            ("$request", "GET /index.html HTTP/1.0"),
            ("$status_code", "404"),
        ])
    );
    assert_eq!(
        extract("{ $.eventType = * && $.user.id > 0 && $.x NOT EXISTS }", EVENT),
        pairs(&[("$.eventType", "UpdateTrail"), ("$.user.id", "1")])
    );
    assert_eq!(extract("frank", LINE), []);
}

#[test]
fn malformed_patterns_are_refused() {
    let bad = [
        "foo.bar",
        "\"open",
        "%open",
        "%(group)%",
        "-",
        "?",
        "{",
        "{}",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = 1",
        "{ a = 1 }",
        "{ $.a = 1 } x",
        "{ $.a < text }",
        "{ $.a IS 1 }",
        "{ $.a NOT 1 }",
        "{ $. = 1 }",
        "{ ($.a = 1 }",
        "{ $.a[x] = 1 }",
        "[",
        "[a",
        "[a] b",
        "[..., ...]",
        "[a = ]",
        "[a > text]",
        "[a b]",
        "%[%",
    ];
    for pattern in bad {
        assert!(Pattern::parse(pattern).is_err(), "{pattern}");
    }
    let deep = format!("{{ {}$.a = 1{} }}", "(".repeat(500), ")".repeat(500));
    assert!(Pattern::parse(&deep).is_err());
}

proptest! {
    #[test]
    fn no_pattern_and_no_message_panic(
        pattern in r#"[\[\]{}()$.a=!<>&|"%*?, \-é1]{0,40}"#,
        message in r#"[\[\]{}"a:1, é]{0,40}"#,
    ) {
        if let Ok(pattern) = Pattern::parse(&pattern) {
            pattern.matches(&message);
            pattern.extract(&message);
        }
    }

    #[test]
    fn a_quoted_text_is_found_where_it_stands(text in "[a-z \"\\\\%*]{1,12}", around in "[a-z]{0,5}") {
        let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
        let pattern = Pattern::parse(&format!("\"{quoted}\"")).unwrap();
        let message = format!("{around}{text}{around}");
        prop_assert!(pattern.matches(&message));
    }
}
