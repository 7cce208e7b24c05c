use serde_json::json;

use super::*;

fn part(value: Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn claims() -> Value {
    json!({"iss": "https://id.example.com/pool/", "sub": "ann", "aud": "app", "exp": 2_000, "iat": 1_000})
}

fn with(change: impl FnOnce(&mut Map<String, Value>)) -> Value {
    let mut claims = claims();
    change(claims.as_object_mut().unwrap());
    claims
}

fn token(claims: Value) -> String {
    format!("{}.{}.AAAA", part(json!({"alg": "ES256", "kid": "k"})), part(claims))
}

fn provider() -> OidcProvider {
    OidcProvider {
        arn: "arn:aws:iam::000000000000:oidc-provider/id.example.com/pool".into(),
        url: "id.example.com/pool".into(),
        client_ids: vec!["app".into(), "other".into()],
        thumbprints: vec![],
    }
}

#[test]
fn what_is_no_signed_token_is_refused() {
    let header = |value: Value| format!("{}.{}.AAAA", part(value), part(claims()));
    let cases = [
        ("empty", String::new()),
        ("one part", "abc".into()),
        ("two parts", format!("{}.{}", part(json!({"alg": "ES256"})), part(claims()))),
        ("not base64", "!!.!!.!!".into()),
        ("unsigned", header(json!({"alg": "none"}))),
        ("a shared secret", header(json!({"alg": "HS256"}))),
        ("an algorithm that we lack", header(json!({"alg": "ES512"}))),
        ("a rule that we do not know", header(json!({"alg": "ES256", "crit": ["exp"]}))),
        ("claims that are no object", format!("{}.{}.AAAA", part(json!({"alg": "ES256"})), part(json!([])))),
    ];
    for (name, text) in cases {
        let error = Token::parse(&text).expect_err(name).to_string();
        assert!(error.starts_with("The ID Token provided is not a valid JWT."), "{name}: {error}");
    }
}

#[test]
fn every_claim_that_counts_must_be_there() {
    for claim in ["iss", "sub", "aud", "exp", "iat"] {
        let text = token(with(|claims| drop(claims.remove(claim))));
        let error = Token::parse(&text).expect_err(claim).to_string();
        assert_eq!(error, format!("Missing a required claim: {claim}"));
    }
}

#[test]
fn claims_are_held_against_provider_and_time() {
    let cases = [
        ("as it should be", claims(), 1_500, Ok("app")),
        (
            "one of several audiences",
            with(|c| drop(c.insert("aud".into(), json!(["x", "other"])))),
            1_500,
            Ok("other"),
        ),
        (
            "the party counts before the audience",
            with(|c| drop(c.insert("azp".into(), json!("other")))),
            1_500,
            Ok("other"),
        ),
        (
            "a party that is not registered",
            with(|c| drop(c.insert("azp".into(), json!("x")))),
            1_500,
            Err("Incorrect token audience"),
        ),
        (
            "an audience that is not registered",
            with(|c| drop(c.insert("aud".into(), json!("x")))),
            1_500,
            Err("Incorrect token audience"),
        ),
        ("the last second", claims(), 1_999, Ok("app")),
        (
            "expired",
            claims(),
            2_000,
            Err("Token expired: current date/time 2000 must be before the expiration date/time2000"),
        ),
        ("the provider's clock is a little ahead", claims(), 700, Ok("app")),
        ("from the future", claims(), 699, Err("Token issued in the future")),
        (
            "not yet valid",
            with(|c| drop(c.insert("nbf".into(), json!(1_900)))),
            1_500,
            Err("Token issued in the future"),
        ),
    ];
    for (name, claims, now, expected) in cases {
        let text = token(claims);
        let token = Token::parse(&text).unwrap();
        let got =
            token.claims.check(&provider(), Timestamp::from_secs(now)).map_err(|error| error.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{name}");
    }
}

#[test]
fn an_issuer_is_the_https_address_of_a_provider() {
    let cases = [
        ("https://id.example.com/pool/", Some("id.example.com/pool")),
        ("https://id.example.com", Some("id.example.com")),
        ("http://id.example.com", None),
        ("https://", None),
        ("id.example.com", None),
    ];
    for (issuer, expected) in cases {
        let text = token(with(|claims| drop(claims.insert("iss".into(), json!(issuer)))));
        let token = Token::parse(&text).unwrap();
        assert_eq!(token.claims.provider_url().ok(), expected, "{issuer}");
    }
}

#[test]
fn session_tags_come_as_an_object_or_spelt_out() {
    let nested = with(|claims| {
        let tags = json!({"principal_tags": {"Project": ["x"]}, "transitive_tag_keys": ["Project"]});
        claims.insert("https://aws.amazon.com/tags".into(), tags);
    });
    let spelt_out = with(|claims| {
        claims.insert("https://aws.amazon.com/tags/principal_tags/Project".into(), json!("x"));
        claims.insert("https://aws.amazon.com/tags/transitive_tag_keys".into(), json!(["Project"]));
    });
    for claims in [nested, spelt_out] {
        let text = token(claims);
        let claims = Token::parse(&text).unwrap().claims;
        assert_eq!(claims.tags, [Tag { key: Some("Project".into()), value: Some("x".into()) }]);
        assert_eq!(claims.transitive_tag_keys, ["Project"]);
    }
    let several = with(|claims| {
        claims
            .insert("https://aws.amazon.com/tags".into(), json!({"principal_tags": {"Project": ["x", "y"]}}));
    });
    assert!(Token::parse(&token(several)).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[A-Za-z0-9_.=-]{0,200}", any in ".{0,100}") {
        let _ = Token::parse(&text);
        let _ = Token::parse(&any);
        let _ = Token::parse(&format!("{}.{}.{text}", part(json!({"alg": "RS256"})), part(json!({"aud": any}))));
    }
}
