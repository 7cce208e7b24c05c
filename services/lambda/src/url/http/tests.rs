use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn request<'a>(headers: &'a HeaderMap, query: &'a str, body: &'a [u8]) -> Request<'a> {
    Request {
        method: &Method::POST,
        path: "/a%20b",
        query,
        headers,
        body,
        source_ip: "10.0.0.1".into(),
        is_secure: true,
        url_id: "id",
        domain: "id.lambda-url.us-east-1.localhost",
        port: "443".into(),
        request_id: "request",
        trace_id: "1-2-3",
        at: Timestamp::from_secs(1_440_938_160),
        signer: None,
    }
}

#[test]
fn a_request_becomes_an_event_of_format_two() {
    let given =
        headers(&[("x-a", "1"), ("x-a", "2"), ("cookie", "c=1; d=2"), ("content-type", "text/plain")]);
    let event = event(&request(&given, "q=1&q=2&name=a+b%21", b"hello"));
    assert_eq!(event["rawPath"], "/a b");
    assert_eq!(event["rawQueryString"], "q=1&q=2&name=a+b%21");
    assert_eq!(event["queryStringParameters"], json!({"q": "1,2", "name": "a b!"}));
    assert_eq!(event["cookies"], json!(["c=1", "d=2"]));
    assert_eq!(event["headers"]["x-a"], "1,2");
    assert_eq!(event["headers"].get("cookie"), None);
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("hello"), &json!(false)));
    let context = &event["requestContext"];
    assert_eq!(context["http"]["method"], "POST");
    assert_eq!(context["time"], "30/Aug/2015:12:36:00 +0000");
    assert_eq!(context["accountId"], "anonymous");
    assert_eq!(context.get("authorizer"), None);
}

#[test]
fn a_body_that_is_no_text_comes_in_base64_and_none_at_all_is_left_out() {
    let binary = headers(&[("content-type", "application/octet-stream")]);
    let shown = event(&request(&binary, "", b"hello"));
    assert_eq!((&shown["body"], &shown["isBase64Encoded"]), (&json!("aGVsbG8="), &json!(true)));
    let not_utf8 = event(&request(&headers(&[("content-type", "text/plain")]), "", b"\xff"));
    assert_eq!(not_utf8["isBase64Encoded"], true);
    let empty = event(&request(&binary, "", b""));
    assert_eq!((empty.get("body"), empty.get("queryStringParameters")), (None, None));
}

#[test]
fn an_answer_becomes_a_response() {
    let cases: [(Value, u16, &str, &str); 5] = [
        (
            json!({"statusCode": 201, "body": "x", "headers": {"Content-Type": "text/plain"}}),
            201,
            "text/plain",
            "x",
        ),
        (json!({"statusCode": 200, "body": "aGk=", "isBase64Encoded": true}), 200, "application/json", "hi"),
        (json!({"message": "hi"}), 200, "application/json", "{\"message\":\"hi\"}"),
        (json!("text"), 200, "application/json", "\"text\""),
        (json!({"statusCode": "many"}), 502, "application/json", "Internal Server Error"),
    ];
    for (answer, status, content_type, body) in cases {
        let got = reply(answer.to_string().as_bytes());
        let kind = got.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        assert_eq!((got.status.as_u16(), kind, &got.body[..]), (status, Some(content_type), body.as_bytes()));
    }
    let cookies = reply(br#"{"statusCode": 200, "cookies": ["a=1", "b=2"]}"#);
    assert_eq!(cookies.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(reply(b"not json").status, 502);
}

#[test]
fn an_origin_is_let_in_by_the_configuration_alone() {
    let cors = Cors {
        origins: Some(vec!["https://*.example.com".into()]),
        methods: Some(vec!["GET".into(), "PUT".into()]),
        expose: Some(vec!["x-a".into()]),
        max_age: Some(60),
        ..Cors::default()
    };
    let seen = |cors: &Cors, origin: &'static str, is_preflight: bool| {
        let mut out = headers(&[("access-control-allow-origin", "https://function.says")]);
        add_cors(cors, &headers(&[("origin", origin)]), is_preflight, &mut out);
        let text = |name: &str| out.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        (
            text("access-control-allow-origin"),
            text("access-control-allow-methods"),
            text("access-control-expose-headers"),
        )
    };
    let own = Some("https://a.example.com".to_owned());
    assert_eq!(seen(&cors, "https://a.example.com", true), (own.clone(), Some("GET,PUT".to_owned()), None));
    assert_eq!(seen(&cors, "https://a.example.com", false), (own, None, Some("x-a".to_owned())));
    assert_eq!(seen(&cors, "https://evil.com", true).0.as_deref(), Some("https://function.says"));
    let all = Cors { origins: Some(vec!["*".into()]), ..Cors::default() };
    assert_eq!(seen(&all, "https://evil.com", false).0.as_deref(), Some("*"));
    let with_credentials = Cors { credentials: Some(true), ..all };
    assert_eq!(seen(&with_credentials, "https://b.com", false).0.as_deref(), Some("https://b.com"));
}
