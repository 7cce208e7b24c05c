//! Recorded texts, on small models; patterns against the regex engine.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::order::{Table, enum_order, lower_first};
use super::*;
use crate::dynamic::{Blobs, DynStruct, from_json};
use crate::model;

/// A service with one operation, `Do`, whose input is `In`. `text` is header lines, an empty line, and shapes.
fn service(text: &str) -> &'static Service {
    let (header, shapes) = text.split_once("\n\n").unwrap_or(("", text));
    let header = if header.is_empty() { String::new() } else { format!("{header}\n") };
    let text = format!(
        "model test\nid Test\nversion 2020-01-01\nprotocols json1.1\n{header}\nop Do POST / <In\n{shapes}\n"
    );
    let model = model::read(Box::leak(text.into_boxed_str())).expect("the test's model reads");
    model::build(model).expect("the test's model builds")
}

fn check(service: &'static Service, input: &Json) -> Result<(), Fault> {
    let operation = service.operation("Do").expect("the test's model has it");
    let mut value = DynStruct::new(operation.input);
    from_json(operation.input, input, &mut value, Blobs::Text).expect("the test's input fits its shape");
    validate(service, operation, &value)
}

fn message(text: &str, input: &Json) -> String {
    match check(service(text), input) {
        Ok(()) => String::new(),
        Err(fault) => fault.message,
    }
}

const NAMES: &str = "struct In
 Name! Name
 Tags Tags
 Weights Weights
 Deep Deep
 Limit Limit
 Data Data
 Mode Mode
struct Deep
 Key! Name
 Secret Secret
list Tags
 member Tag
struct Tag
 TagKey! Name
 Value Name
list Names
 member Name
map Weights
 key Version
 value Weight
str Name min=1 max=5 /[a-z]+/
str Version max=8 min=1 /[0-9]+/
str Mode = Active|PassThrough
str Secret max=3 sensitive
double Weight min=0 max=1
int Limit min=1 max=100
blob Data max=4";

#[test]
fn one_broken_constraint_is_told_in_awss_words() {
    let start = "1 validation error detected: ";
    let cases = [
        // name, input, the rest of the message
        ("missing", json!({}), "Value null at 'name' failed to satisfy constraint: Member must not be null"),
        (
            "too long",
            json!({"Name": "abcdef"}),
            "Value 'abcdef' at 'name' failed to satisfy constraint: Member must have length less than or equal to 5",
        ),
        (
            "pattern",
            json!({"Name": "aB"}),
            "Value 'aB' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+",
        ),
        (
            "enum",
            json!({"Name": "a", "Mode": "x"}),
            "Value 'x' at 'mode' failed to satisfy constraint: Member must satisfy enum value set: [Active, PassThrough]",
        ),
        (
            "range",
            json!({"Name": "a", "Limit": 0}),
            "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            "blob",
            json!({"Name": "a", "Data": "12345"}),
            "Value 'java.nio.HeapByteBuffer[pos=0 lim=5 cap=5]' at 'data' failed to satisfy constraint: \
             Member must have length less than or equal to 4",
        ),
        (
            "in a list of structures",
            json!({"Name": "a", "Tags": [{"TagKey": "a"}, {"Value": "b"}]}),
            "Value null at 'tags.2.member.tagKey' failed to satisfy constraint: Member must not be null",
        ),
        (
            "in a structure",
            json!({"Name": "a", "Deep": {}}),
            "Value null at 'deep.key' failed to satisfy constraint: Member must not be null",
        ),
        (
            "a map's key",
            json!({"Name": "a", "Weights": {"x": 0.5}}),
            "Value '{x=0.5}' at 'weights' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have \
             length less than or equal to 8, Member must have length greater than or equal to 1, Member must satisfy \
             regular expression pattern: [0-9]+]",
        ),
        (
            "a map's value",
            json!({"Name": "a", "Weights": {"1": 2.0}}),
            "Value '{1=2.0}' at 'weights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have \
             value less than or equal to 1.0, Member must have value greater than or equal to 0.0]",
        ),
        (
            "a sensitive value is not shown",
            json!({"Name": "a", "Deep": {"Key": "a", "Secret": "1234"}}),
            "Value at 'deep.secret' failed to satisfy constraint: Member must have length less than or equal to 3",
        ),
    ];
    for (name, input, rest) in cases {
        assert_eq!(message(NAMES, &input), format!("{start}{rest}"), "{name}");
    }
}

#[test]
fn a_list_of_scalars_is_reported_once_with_all_constraints_of_its_elements() {
    let model = "validation ValidationException classic brackets-null

struct In
 Methods Methods
list Methods
 member Method
str Method min=0 max=6 /.*/";
    let expected = "1 validation error detected: Value '[OPTIONS, GET, PROPFIND]' at 'methods' failed to satisfy \
        constraint: Member must satisfy constraint: [Member must have length less than or equal to 6, Member must have length \
        greater than or equal to 0, Member must satisfy regular expression pattern: .*, Member must not be null]";
    assert_eq!(message(model, &json!({"Methods": ["OPTIONS", "GET", "PROPFIND"]})), expected);
}

#[test]
fn maps_of_lists_of_structures_have_paths_with_member_after_every_key_and_index() {
    let model = "struct In
 RequestItems! Requests
map Requests
 key TableName
 value WriteRequests
list WriteRequests max=2 min=1
 member WriteRequest
struct WriteRequest
 DeleteRequest DeleteRequest
struct DeleteRequest
 Key! TableName
str TableName min=3 max=255 /[a-zA-Z0-9_.-]+/";
    let input = json!({"RequestItems": {"aa;": [{"DeleteRequest": {}}], "abc": []}});
    // Entries come in the order of a Java `HashMap`.
    let printed = "{abc=[], aa;=[WriteRequest(deleteRequest=DeleteRequest(key=null))]}";
    let keys = format!(
        "Value '{printed}' at 'requestItems' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have \
         length less than or equal to 255, Member must have length greater than or equal to 3, Member must satisfy regular \
         expression pattern: [a-zA-Z0-9_.-]+]"
    );
    let values = format!(
        "Value '{printed}' at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have \
         length less than or equal to 2, Member must have length greater than or equal to 1]"
    );
    let null = "Value null at 'requestItems.aa;.member.1.member.deleteRequest.key' failed to satisfy constraint: Member \
                must not be null";
    let expected = format!("3 validation errors detected: {keys}; {values}; {null}");
    assert_eq!(message(model, &input), expected);
}

#[test]
fn a_pattern_is_reported_before_a_length_and_errors_are_plural_from_two() {
    let expected = "2 validation errors detected: Value '' at 'name' failed to satisfy constraint: Member must satisfy \
        regular expression pattern: [a-z]+; Value '' at 'name' failed to satisfy constraint: Member must have length greater \
        than or equal to 1";
    assert_eq!(message(NAMES, &json!({"Name": ""})), expected);
}

#[test]
fn at_most_ten_violations_are_reported() {
    let tags: Vec<Json> = (0..12).map(|_| json!({})).collect();
    let text = message(NAMES, &json!({"Name": "a", "Tags": tags}));
    assert!(text.starts_with("10 validation errors detected: "), "{text}");
    assert_eq!(text.matches("must not be null").count(), 10);
}

#[test]
fn services_word_it_in_their_own_way() {
    let shapes = "struct In\n Status! Status\nstr Status = Active|Inactive";
    let cases = [
        // header lines, input, code, message
        (
            "validation ValidationError redacted hide-enums",
            json!({"Status": "x"}),
            "ValidationError",
            "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set",
        ),
        (
            "validation ValidationException classic input-path",
            json!({}),
            "ValidationException",
            "1 validation error detected: Value null at 'doInput.status' failed to satisfy constraint: Member must not be null",
        ),
        (
            "missing MissingRequiredParameterException The request must contain the parameter {}.",
            json!({}),
            "MissingRequiredParameterException",
            "The request must contain the parameter Status.",
        ),
    ];
    for (header, input, code, expected) in cases {
        let fault =
            check(service(&format!("{header}\n\n{shapes}")), &input).expect_err("the input is invalid");
        assert_eq!((fault.code.as_ref(), fault.message.as_str()), (code, expected));
        assert_eq!(fault.status, 400);
    }
}

#[test]
fn a_service_has_a_sentence_of_its_own_for_malformed_names_once_all_else_holds() {
    let model = "validation ValidationError redacted
malformed RoleName,UserName The value for {} is invalid. Use letters.
malformed Path The path in {} is invalid.

struct In
 RoleName Name
 Path Name
 Other Name
 Inner Inner
struct Inner
 UserName Name
str Name min=1 max=3 /[a-z]+/";
    let letters = "The value for roleName is invalid. Use letters.";
    let path = "The path in path is invalid.";
    let classic = "1 validation error detected: Value at";
    let too_long = "Member must have length less than or equal to 3";
    let cases = [
        (json!({"RoleName": "a b"}), letters.to_owned()),
        (json!({"RoleName": "abc"}), String::new()),
        (json!({"Path": "A"}), path.to_owned()),
        (json!({"Inner": {"UserName": "A"}}), "The value for userName is invalid. Use letters.".to_owned()),
        (
            json!({"RoleName": "A", "Path": "abcd"}),
            format!("{classic} 'path' failed to satisfy constraint: {too_long}"),
        ),
        (
            json!({"RoleName": "A BC"}),
            format!("{classic} 'roleName' failed to satisfy constraint: {too_long}"),
        ),
        (
            json!({"Other": "A", "RoleName": "A"}),
            format!(
                "{classic} 'other' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+"
            ),
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(message(model, &input), expected, "{input}");
    }
    let fault = check(service(model), &json!({"RoleName": "A"})).expect_err("the name is malformed");
    assert_eq!((fault.code.as_ref(), fault.status), ("ValidationError", 400));
}

#[test]
fn the_newer_framework_points_with_json_pointers_and_lists_the_fields() {
    let model = "validation ValidationException smithy

error ValidationException 400
 message Text
 fieldList Fields
list Fields
 member Field
struct Field
 path Text
 message Text
struct In
 Names! Names
list Names
 member Name
str Name min=1 max=3
str Text";
    let fault =
        check(service(model), &json!({"Names": ["a", "abcd"]})).expect_err("the second name is too long");
    let sentence = "Value with length 4 at '/Names/1' failed to satisfy constraint: Member must have length between 1 and 3, \
                    inclusive";
    assert_eq!(fault.message, format!("1 validation error detected. {sentence}"));
    let members = fault.members.expect("the fault carries its fields");
    let View::List(list) = members.get(1).view() else { panic!("the second member is the list") };
    let View::Struct(field) = list.get(0).view() else { panic!("its element is a structure") };
    assert!(matches!(field.get(0).view(), View::Str("/Names/1")));
    assert!(matches!(field.get(1).view(), View::Str(text) if text == sentence));
}

#[test]
fn enum_values_are_listed_in_the_order_of_javas_table() {
    let cases = [
        (vec!["INDEXES", "TOTAL", "NONE"], "INDEXES, TOTAL, NONE"),
        (vec!["SIZE", "NONE"], "SIZE, NONE"),
        (vec!["x86_64", "arm64"], "x86_64, arm64"),
        (
            vec!["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST"],
            "AFTER_SEQUENCE_NUMBER, LATEST, AT_SEQUENCE_NUMBER, TRIM_HORIZON",
        ),
        (
            vec!["ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "COUNT"],
            "SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES",
        ),
        (
            vec![
                "EQ",
                "NE",
                "IN",
                "LE",
                "LT",
                "GE",
                "GT",
                "BETWEEN",
                "NOT_NULL",
                "NULL",
                "CONTAINS",
                "NOT_CONTAINS",
                "BEGINS_WITH",
            ],
            "IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS",
        ),
    ];
    for (declared, printed) in cases {
        assert_eq!(enum_order(&declared).join(", "), printed);
    }
}

/// Sorts `members` as a table of `count` entries would.
fn sorted(members: &[&'static str], count: usize, java7: bool) -> Vec<&'static str> {
    let table = Table::with_entries(count, java7);
    let mut members = members.to_vec();
    members.sort_by_key(|name| table.slot(&lower_first(name)));
    members
}

#[test]
fn several_messages_come_in_the_order_of_javas_table() {
    // Firehose, Java 8.
    let schema = ["RoleARN", "CatalogId", "DatabaseName", "TableName", "Region", "VersionId"];
    let expected = ["VersionId", "CatalogId", "DatabaseName", "RoleARN", "Region", "TableName"];
    assert_eq!(sorted(&schema, 6, false), expected);

    // DynamoDB's Query has more than twelve members, so the table has grown: Java 7.
    let query =
        ["TableName", "IndexName", "AttributesToGet", "Limit", "KeyConditions", "QueryFilter", "Select"];
    let expected =
        ["Limit", "AttributesToGet", "QueryFilter", "Select", "KeyConditions", "TableName", "IndexName"];
    assert_eq!(sorted(&query, 17, true), expected);
}

#[test]
fn doubles_print_as_java_prints_them() {
    let cases = [
        (0.0, "0.0"),
        (1.0, "1.0"),
        (-2.5, "-2.5"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (1.25e21, "1.25E21"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (f64::NAN, "NaN"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    for (value, printed) in cases {
        assert_eq!(print::java_double(value), printed);
    }
}

#[test]
fn patterns_match_whole_values_with_javas_meaning() {
    let cases = [
        // pattern, value, matches
        ("[a-z]+", "abc", true),
        ("[a-z]+", "abc1", false),
        ("^[a-z]+$", "abc", true),
        ("a|b", "ab", false),
        (r"\w+", "é", false),
        (r"\d", "٣", false),
        (r"[\w-.]+", "a-b.c_d", true),
        (r"[\w+=,.@-]+", "a+b@c-d", true),
        (r".*", "line\nline", false),
        (r"[\s\S]*", "line\nline", true),
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+", "héllo wörld-1", true),
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+", "tab\there", false),
        (r"(?!aws:).+", "aws:x", false),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*", "plain", true),
        (
            r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
            "arn:aws:iam::123456789012:role/x",
            true,
        ),
        (r"[\u0020-\uD7FF\uD800\uDBFF-\uDC00\uDFFF]*", "a😀", true),
        (r"(\/(?!\.)+[a-z.]+)+", "/a/b", true),
        (r"(\/(?!\.)+[a-z.]+)+", "/a/.b", false),
        (r"^.{1,100000}$", "é", true),
        (r"[^a-z]*", "É\n", true),
        (r"[a-zà-ü]*", "é", true),
        (r"[a-zà-ü]*", "É", false),
        ("", "", true),
        ("", "a", false),
    ];
    for (source, text, expected) in cases {
        let pattern = Pattern::compile(source).expect("the pattern compiles");
        assert_eq!(pattern.matches(text), expected, "{source} on {text:?}");
    }
}

#[test]
fn a_pattern_that_backtracks_without_end_gives_up_and_does_not_match() {
    let pattern = Pattern::compile(r"(?=(a+)+$)(a|a)*b").expect("the pattern compiles");
    assert!(!pattern.matches(&"a".repeat(5_000)));
}

proptest! {
    /// The table and the regex engine agree.
    #[test]
    fn simple_patterns_mean_what_the_engine_says(at in 0..SIMPLE.len(), text in "[ -~\t\né\u{2028}😀]{0,8}") {
        let pattern = Pattern::compile(SIMPLE[at]).expect("the pattern compiles");
        prop_assert!(pattern.is_simple());
        prop_assert_eq!(pattern.matches(&text), pattern.matches_slowly(&text));
    }
}

const SIMPLE: [&str; 14] = [
    "[a-zA-Z0-9_.-]+",
    "[a-z][a-z0-9-]{0,3}",
    r"\d{2}",
    r"\S+",
    r"[^\s]{1,4}",
    ".*",
    r"[\w-]{2,}",
    r"[\p{L}\p{N}\p{P}]*",
    r"[\p{S}\p{Z}]*",
    r"^[\x20-\x7E]*$",
    r"[^/]+",
    r"[\w\-\.]?",
    "[!-~]{3}",
    r"[\P{L}]+",
];
