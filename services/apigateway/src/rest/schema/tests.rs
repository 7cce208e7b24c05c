use super::*;

#[test]
fn values_are_valid_as_draft_4_says() {
    let cases = [
        // schema, valid, invalid
        (json!({"type": "object", "required": ["a"]}), json!({"a": 1}), json!({})),
        (json!({"type": "integer"}), json!(1.0), json!(1.5)),
        (json!({"type": ["string", "null"]}), json!(null), json!(1)),
        (json!({"enum": ["a", 1]}), json!(1.0), json!("b")),
        (json!({"properties": {"a": {"type": "string"}}}), json!({"b": 1}), json!({"a": 1})),
        (json!({"properties": {"a": {}}, "additionalProperties": false}), json!({"a": 1}), json!({"b": 1})),
        (json!({"additionalProperties": {"type": "string"}}), json!({"b": "x"}), json!({"b": 1})),
        (json!({"patternProperties": {"^x": {"type": "null"}}}), json!({"y": 1}), json!({"xa": 1})),
        (json!({"minProperties": 1, "maxProperties": 2}), json!({"a": 1}), json!({})),
        (json!({"dependencies": {"a": ["b"]}}), json!({"a": 1, "b": 1}), json!({"a": 1})),
        (json!({"items": {"type": "string"}}), json!(["a"]), json!([1])),
        (json!({"items": [{"type": "string"}], "additionalItems": false}), json!(["a"]), json!(["a", 1])),
        (json!({"minItems": 1, "maxItems": 2, "uniqueItems": true}), json!([1, 2]), json!([1, 1])),
        (json!({"minLength": 2, "maxLength": 3}), json!("äöü"), json!("abcd")),
        (json!({"pattern": "^a+$"}), json!("aa"), json!("b")),
        (json!({"format": "date-time"}), json!("2020-01-31T12:00:00.5+01:00"), json!("2020")),
        (json!({"format": "ipv4"}), json!("1.2.3.4"), json!("1.2.3")),
        (json!({"minimum": 1, "exclusiveMinimum": true}), json!(2), json!(1)),
        (json!({"maximum": 1}), json!(1), json!(1.1)),
        (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35)),
        (json!({"allOf": [{"type": "string"}, {"minLength": 2}]}), json!("ab"), json!("a")),
        (json!({"anyOf": [{"type": "string"}, {"minimum": 2}]}), json!(3), json!(1)),
        (json!({"oneOf": [{"minimum": 1}, {"minimum": 2}]}), json!(1), json!(2)),
        (json!({"not": {"type": "string"}}), json!(1), json!("x")),
        (
            json!({"definitions": {"n": {"type": "null"}}, "properties": {"a": {"$ref": "#/definitions/n"}}}),
            json!({"a": null}),
            json!({"a": 1}),
        ),
        (
            json!({"properties": {"p": {"$ref": "https://apigateway.amazonaws.com/restapis/x/models/Pet"}}}),
            json!({"p": {"name": "Bo"}}),
            json!({"p": {"name": 1}}),
        ),
    ];
    let pet = Model {
        name: Some("Pet".into()),
        schema: Some(r#"{"properties": {"name": {"type": "string"}}}"#.into()),
        ..Default::default()
    };
    for (schema, valid, invalid) in cases {
        let read = Schema::with_models(&schema, std::slice::from_ref(&pet)).unwrap();
        assert_eq!(read.errors(&valid), Vec::<String>::new(), "{schema}");
        assert!(!read.errors(&invalid).is_empty(), "{schema} takes {invalid}");
    }
}

#[test]
fn a_schema_that_is_none_is_refused_and_one_without_end_ends() {
    for bad in [json!({"type": "thing"}), json!({"pattern": "("}), json!({"properties": {"a": {"type": 1}}})]
    {
        assert!(Schema::read(&bad).is_err(), "{bad}");
    }
    let endless = Schema::read(&json!({"$ref": "#"})).unwrap();
    assert!(!endless.errors(&json!(1)).is_empty());
    let wide = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}]});
    assert!(!Schema::read(&wide).unwrap().errors(&json!(1)).is_empty());
}

#[test]
fn a_schema_becomes_a_template_and_takes_in_its_models() {
    let schema = json!({"type": "object", "properties": {
        "id": {"type": "integer"}, "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
    }});
    let text = template(&schema);
    let parsed = pileus_vtl::Template::parse(&text).expect("it is a template");
    assert!(parsed.mentions("inputRoot") && text.contains("\"name\" : \"$inputRoot.name\""), "{text}");
    let pet =
        Model { name: Some("Pet".into()), schema: Some(r#"{"type":"object"}"#.into()), ..Default::default() };
    let flat = flatten(&json!({"$ref": "https://apigateway.amazonaws.com/restapis/x/models/Pet"}), &[pet]);
    assert_eq!(flat, json!({"$ref": "#/definitions/Pet", "definitions": {"Pet": {"type": "object"}}}));
}
