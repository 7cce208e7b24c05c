use proptest::prelude::*;

use super::*;

fn attributes_admit(policy: &str, attributes: &[(&str, &str, &str)]) -> bool {
    let policy = parse(policy, Scope::MessageAttributes).unwrap_or_else(|error| panic!("{policy}: {error}"));
    let seen: Vec<Seen<'_>> =
        attributes.iter().map(|(name, data_type, text)| Seen { name, data_type, text: Some(text) }).collect();
    policy.admits_attributes(&seen)
}

#[test]
fn each_operator_admits_what_it_says_and_nothing_else() {
    // policy, attributes, whether they pass
    let store = ("store", "String", "example_corp");
    let price = ("price", "Number", "210.75");
    let cases: &[(&str, &[(&str, &str, &str)], bool)] = &[
        (r#"{}"#, &[], true),
        (r#"{"store":["example_corp"]}"#, &[store], true),
        (r#"{"store":["example_corp"]}"#, &[], false),
        (r#"{"store":["Example_corp"]}"#, &[store], false),
        (r#"{"store":["other",{"prefix":"exa"}]}"#, &[store], true),
        (r#"{"store":[{"suffix":"corp"}]}"#, &[store], true),
        (r#"{"store":[{"suffix":"corps"}]}"#, &[store], false),
        (r#"{"store":[{"equals-ignore-case":"EXAMPLE_CORP"}]}"#, &[store], true),
        (r#"{"store":[{"wildcard":"ex*_c*p"}]}"#, &[store], true),
        (r#"{"store":[{"wildcard":"ex*_d*p"}]}"#, &[store], false),
        (r#"{"store":[{"anything-but":["a","b"]}]}"#, &[store], true),
        (r#"{"store":[{"anything-but":"example_corp"}]}"#, &[store], false),
        (r#"{"store":[{"anything-but":"example_corp"}]}"#, &[], false),
        (r#"{"store":[{"anything-but":{"prefix":"exa"}}]}"#, &[store], false),
        (r#"{"store":[{"anything-but":{"suffix":"inc"}}]}"#, &[store], true),
        (r#"{"store":[{"exists":true}]}"#, &[store], true),
        (r#"{"store":[{"exists":false}]}"#, &[store], false),
        (r#"{"store":[{"exists":false}]}"#, &[price], true),
        (r#"{"price":[210.75]}"#, &[price], true),
        (r#"{"price":["210.75"]}"#, &[price], false),
        (r#"{"price":[{"numeric":[">",100,"<=",210.75]}]}"#, &[price], true),
        (r#"{"price":[{"numeric":["<",210]}]}"#, &[price], false),
        (r#"{"price":[{"numeric":["=",210.75]}]}"#, &[("price", "String", "210.75")], false),
        (r#"{"price":[{"anything-but":[100,500]}]}"#, &[price], true),
        (r#"{"tags":["b"]}"#, &[("tags", "String.Array", r#"["a","b"]"#)], true),
        (r#"{"tags":[{"anything-but":["a"]}]}"#, &[("tags", "String.Array", r#"["a","b"]"#)], true),
        (r#"{"tags":[{"anything-but":["a"]}]}"#, &[("tags", "String.Array", r#"["a"]"#)], false),
        (r#"{"tags":[true,null]}"#, &[("tags", "String.Array", r#"[true]"#)], true),
        (r#"{"ip":[{"cidr":"10.0.0.0/24"}]}"#, &[("ip", "String", "10.0.0.255")], true),
        (r#"{"ip":[{"cidr":"10.0.0.0/24"}]}"#, &[("ip", "String", "10.0.1.0")], false),
        (r#"{"ip":[{"cidr":"2001:db8::/32"}]}"#, &[("ip", "String", "2001:db8::1")], true),
        (r#"{"ip":[{"cidr":"0.0.0.0/0"}]}"#, &[("ip", "String", "9.9.9.9")], true),
        (r#"{"store":["example_corp"],"price":[1]}"#, &[store, price], false),
        (r#"{"$or":[{"store":["x"]},{"price":[210.75]}]}"#, &[store, price], true),
        (r#"{"$or":[{"store":["x"]},{"price":[1]}]}"#, &[store, price], false),
    ];
    for (policy, attributes, expected) in cases {
        assert_eq!(attributes_admit(policy, attributes), *expected, "{policy} {attributes:?}");
    }
    let binary = Seen { name: "store", data_type: "Binary", text: None };
    assert!(!parse(r#"{"store":["x"]}"#, Scope::MessageAttributes).unwrap().admits_attributes(&[binary]));
}

#[test]
fn a_body_is_looked_into_at_every_depth() {
    let policy = r#"{"key_a":{"key_b":{"key_c":["value_one"]}},"list":{"n":[{"numeric":[">",1]}]}}"#;
    let policy = parse(policy, Scope::MessageBody).unwrap();
    let cases = [
        (r#"{"key_a":{"key_b":{"key_c":"value_one"}},"list":[{"n":1},{"n":2}]}"#, true),
        (r#"{"key_a":[{"key_b":[{"key_c":["x","value_one"]}]}],"list":{"n":[0,5]}}"#, true),
        (r#"{"key_a":{"key_b":{"key_c":"value_two"}},"list":[{"n":2}]}"#, false),
        (r#"{"list":[{"n":2}]}"#, false),
        ("not JSON", false),
        ("[1]", false),
    ];
    for (body, expected) in cases {
        assert_eq!(policy.admits_body(body), expected, "{body}");
    }
    let absent = parse(r#"{"a":{"b":[{"exists":false}]}}"#, Scope::MessageBody).unwrap();
    assert!(absent.admits_body("{}") && absent.admits_body(r#"{"a":{"c":1}}"#));
    assert!(!absent.admits_body(r#"{"a":{"b":null}}"#));
}

#[test]
fn what_is_wrong_with_a_policy_is_said() {
    let many = format!(r#"{{"a":[{0}],"b":[{0}],"c":[{0}]}}"#, r#""1","2","3","4","5","6""#);
    let cases = [
        ("{", "failed to parse JSON."),
        ("[]", "failed to parse JSON."),
        (r#"{"a":"b"}"#, "\"a\" must be an object or an array"),
        (r#"{"a":[]}"#, "Empty arrays are not allowed"),
        (r#"{"a":{"b":["c"]}}"#, "does not support nested filter policy"),
        (r#"{"a":[["b"]]}"#, "Match value must be String, number, true, false, or null"),
        (r#"{"a":[{"fits":"b"}]}"#, "Unrecognized match type fits"),
        (r#"{"a":[{"prefix":1}]}"#, "prefix match pattern must be a string"),
        (r#"{"a":[{"exists":"yes"}]}"#, "exists match pattern must be either true or false."),
        (r#"{"a":[{"numeric":">"}]}"#, "Value of numeric must be an array."),
        (r#"{"a":[{"numeric":["<","x"]}]}"#, "Value of < must be numeric"),
        (r#"{"a":[{"numeric":["=="]}]}"#, "Unrecognized numeric range operator: =="),
        (r#"{"a":[{"numeric":[">",5,"<",1]}]}"#, "Bottom must be less than top"),
        (r#"{"a":[2000000000]}"#, "must be between -1.0E9 and 1.0E9"),
        (r#"{"a":[{"cidr":"10.0.0.0"}]}"#, "Malformed CIDR"),
        (r#"{"a":["1"],"b":["1"],"c":["1"],"d":["1"],"e":["1"],"f":["1"]}"#, "can not have more than 5 keys"),
        (&many, "Filter policy is too complex"),
    ];
    for (policy, expected) in cases {
        let error = parse(policy, Scope::MessageAttributes).expect_err(policy);
        assert!(error.contains(expected), "{policy}: {error}");
    }
}

proptest! {
    #[test]
    fn a_wildcard_fits_what_its_expansion_spells(
        parts in prop::collection::vec("[ab]{0,2}", 1..4),
        fillings in prop::collection::vec("[ab]{0,3}", 3),
    ) {
        let pattern = parts.join("*");
        let mut text = parts[0].clone();
        for (part, filling) in parts[1..].iter().zip(&fillings) {
            text.push_str(filling);
            text.push_str(part);
        }
        prop_assert!(fits_wildcard(&text, &pattern), "{text} {pattern}");
        let longer = format!("{text}c");
        prop_assert_eq!(fits_wildcard(&longer, &pattern), pattern.ends_with('*'));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,60}") {
        let _ = parse(&text, Scope::MessageBody);
    }
}
