//! Hosts, scopes and forms. Whole requests are routed over the real models, in the tests of `crates/models`.

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::*;

#[test]
fn hosts_are_read_label_by_label_from_the_right() {
    let hosts = Hosts::new(["cloud.example.com".to_owned()]);
    let endpoint = |prefix, region| HostKind::Endpoint { prefix, region, account: None };
    let bucket = |bucket, region| HostKind::S3Bucket { bucket, region, is_express: false };
    let east = Some("us-east-1");
    let cases = [
        ("127.0.0.1:4566", HostKind::Bare),
        ("[::1]:4566", HostKind::Bare),
        ("localhost:4566", HostKind::Bare),
        ("localhost.localstack.cloud", HostKind::Bare),
        ("us-east-1.localhost", HostKind::Bare),
        ("", HostKind::Bare),
        ("pileus.example.org", HostKind::Foreign("pileus.example.org")),
        ("notlocalhost", HostKind::Foreign("notlocalhost")),
        ("sqs.us-east-1.amazonaws.com", endpoint("sqs", east)),
        ("sqs.us-east-1.api.aws", endpoint("sqs", east)),
        ("iam.amazonaws.com", endpoint("iam", None)),
        ("api.ecr.eu-west-1.amazonaws.com", endpoint("api.ecr", Some("eu-west-1"))),
        ("sqs.cloud.example.com:443", endpoint("sqs", None)),
        ("us-east-1.queue.amazonaws.com", endpoint("queue", east)),
        (
            "123456789012.ddb.us-east-1.amazonaws.com",
            HostKind::Endpoint { prefix: "ddb", region: east, account: Some("123456789012") },
        ),
        ("s3.amazonaws.com", endpoint("s3", None)),
        ("s3.us-east-1.localhost.localstack.cloud:4566", endpoint("s3", east)),
        ("s3.dualstack.us-east-1.amazonaws.com", endpoint("s3", east)),
        ("s3-eu-west-1.amazonaws.com", endpoint("s3", Some("eu-west-1"))),
        ("pictures.s3.amazonaws.com", bucket("pictures", None)),
        ("sqs.s3.amazonaws.com", bucket("sqs", None)),
        ("s3.s3.us-east-1.amazonaws.com", bucket("s3", east)),
        ("my.dotted.bucket.s3.us-east-1.amazonaws.com", bucket("my.dotted.bucket", east)),
        ("us-east-1.s3.localhost", bucket("us-east-1", None)),
        ("b.s3.dualstack.us-east-1.amazonaws.com.", bucket("b", east)),
        ("b.s3-eu-west-1.amazonaws.com", bucket("b", Some("eu-west-1"))),
        ("b.s3.cn-north-1.amazonaws.com.cn", bucket("b", Some("cn-north-1"))),
        ("b.S3.AmazonAWS.com", bucket("b", None)),
        (
            "b--use1-az5--x-s3.s3express-use1-az5.us-east-1.amazonaws.com",
            HostKind::S3Bucket { bucket: "b--use1-az5--x-s3", region: None, is_express: true },
        ),
        (
            "ap-1-123456789012.s3-accesspoint.us-east-1.amazonaws.com",
            HostKind::S3AccessPoint {
                name: "ap-1",
                account: "123456789012",
                region: east,
                is_object_lambda: false,
            },
        ),
        (
            "123456789012.s3-control.us-east-1.amazonaws.com",
            HostKind::S3Control { account: Some("123456789012"), region: east },
        ),
        ("w.s3-website-us-east-1.amazonaws.com", HostKind::S3Website { bucket: "w", region: east }),
        ("w.x.s3-website.localhost.localstack.cloud", HostKind::S3Website { bucket: "w.x", region: None }),
        ("abc.execute-api.us-east-1.amazonaws.com", HostKind::ExecuteApi { api: "abc", region: east }),
        (
            "abc.execute-api.localhost.localstack.cloud:4566",
            HostKind::ExecuteApi { api: "abc", region: None },
        ),
        ("id.lambda-url.us-east-1.on.aws", HostKind::LambdaUrl { id: "id", region: east }),
        ("d1.cloudfront.net", HostKind::CloudFront { distribution: "d1" }),
        ("d1.cloudfront.localhost.localstack.cloud", HostKind::CloudFront { distribution: "d1" }),
        ("cloudfront.amazonaws.com", endpoint("cloudfront", None)),
        ("lb-1.us-east-1.elb.amazonaws.com", HostKind::LoadBalancer { name: "lb-1", region: east }),
        ("lb-1.elb.us-east-1.amazonaws.com", HostKind::LoadBalancer { name: "lb-1", region: east }),
        ("p.auth.us-east-1.amazoncognito.com", HostKind::CognitoDomain { prefix: "p", region: east }),
    ];
    for (host, expected) in cases {
        assert_eq!(classify_host(&hosts, host), expected, "{host}");
    }
}

#[test]
fn the_scope_is_read_from_the_header_or_the_presigned_query() {
    let header = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=00";
    let cases = [
        // authorization, query, service
        (header, "", Some("sqs")),
        ("", "X-Amz-Credential=AKID%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=x", Some("s3")),
        ("", "X-Amz-Credential=AKID/20260101/us-east-1/s3/aws4_request", Some("s3")),
        ("AWS AKID:sig", "", None),
        ("AWS4-HMAC-SHA256 Credential=", "", None),
        ("", "X-Amz-Credential=", None),
        ("", "", None),
    ];
    for (authorization, query, expected) in cases {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert("authorization", HeaderValue::from_static(authorization));
        }
        let request = Request { method: &Method::GET, path: "/", query, headers: &headers, labels: &[] };
        assert_eq!(scope_of(&request), expected, "{authorization} {query}");
    }
}

#[test]
fn a_form_says_its_action_and_version_once() {
    let peek = FormPeek::of("Action=ListUsers&Action=Other&MaxItems=1&Version=2010-05-08");
    assert_eq!(peek.action.as_deref(), Some("ListUsers"));
    assert_eq!(peek.version.as_deref(), Some("2010-05-08"));
    assert_eq!(FormPeek::of("Actions=a&xVersion=1"), FormPeek::default());
    assert_eq!(FormPeek::read(b"Action=\xff"), FormPeek::default());
    assert_eq!(FormPeek::of("Action=List%55sers").action.as_deref(), Some("ListUsers"));
}

proptest! {
    #[test]
    fn no_host_and_no_query_panics(host in "\\PC{0,40}", query in "\\PC{0,40}") {
        let _ = classify_host(&Hosts::default(), &host);
        let _ = FormPeek::of(&query);
    }
}
