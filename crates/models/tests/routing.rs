//! Whole requests over the real models: every operation is found again, and what others got wrong is right here.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pileus_models::{all, catalog};
use pileus_wire::protocol::{Protocol, Request};
use pileus_wire::route::{FormPeek, Hosts, RouteError, Routed, route, scope_of};
use pileus_wire::schema::{Bind, Operation, Service};
use proptest::prelude::*;

/// A request in the making.
#[derive(Clone)]
struct Call {
    method: Method,
    /// Path and query.
    target: String,
    headers: HeaderMap,
    form: Option<FormPeek>,
}

impl Call {
    fn new(method: &str, target: &str) -> Call {
        let method = method.parse().expect("a method");
        Call { method, target: target.to_owned(), headers: HeaderMap::new(), form: None }
            .header("host", "localhost:4566")
    }

    fn header(mut self, name: &str, value: &str) -> Call {
        let name: HeaderName = name.parse().expect("a header's name");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
        self
    }

    fn host(self, host: &str) -> Call {
        self.header("host", host)
    }

    fn signed(self, service: &str) -> Call {
        let text = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/{service}/aws4_request, Signature=0"
        );
        self.header("authorization", &text)
    }

    fn form(mut self, body: &str) -> Call {
        self.form = Some(FormPeek::read(body.as_bytes()));
        self.header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    }

    fn with<T>(&self, use_it: impl FnOnce(Result<Routed<'_>, RouteError>) -> T) -> T {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let request = Request { method: &self.method, path, query, headers: &self.headers, labels: &[] };
        use_it(route(catalog(), &Hosts::default(), &request, scope_of(&request), self.form.as_ref()))
    }

    /// `service:Operation label=value ..`, or the fault's status, code and text.
    fn answer(&self) -> String {
        self.with(|routed| match routed {
            Ok(routed) => {
                let labels = routed.labels.iter().map(|(name, value)| format!(" {name}={value}"));
                format!("{}:{}{}", routed.service.name, routed.operation.name, labels.collect::<String>())
            }
            Err(error) => match error.verbatim() {
                Some(response) => format!("{} verbatim", response.status.as_u16()),
                None => {
                    let fault = error.into_fault();
                    format!("{} {} {}", fault.status, fault.code, fault.message).trim_end().to_owned()
                }
            },
        })
    }

    fn protocol(&self) -> Option<Protocol> {
        self.with(|routed| routed.ok().map(|routed| routed.protocol))
    }
}

fn get(target: &str) -> Call {
    Call::new("GET", target)
}

fn post(target: &str) -> Call {
    Call::new("POST", target)
}

fn target(value: &str) -> Call {
    post("/").header("x-amz-target", value).header("content-type", "application/x-amz-json-1.0")
}

#[test]
fn what_others_got_wrong() {
    let cases = [
        // a host that begins like a service's name
        (get("/").host("pictures.s3.localhost.localstack.cloud"), "s3:ListObjects Bucket=pictures"),
        (get("/k").host("sqs.s3.amazonaws.com"), "s3:GetObject Bucket=sqs Key=k"),
        (
            get("/k").host("lambda.s3.us-east-1.amazonaws.com").signed("s3"),
            "s3:GetObject Bucket=lambda Key=k",
        ),
        // keys with slashes at either end, or two in a row
        (Call::new("PUT", "/u/u/").signed("s3"), "s3:PutObject Bucket=u Key=u/"),
        (
            Call::new("PUT", "/u/").host("bucket.s3.amazonaws.com").signed("s3"),
            "s3:PutObject Bucket=bucket Key=u/",
        ),
        (get("/bucket//foo").signed("s3"), "s3:GetObject Bucket=bucket Key=/foo"),
        (get("//foo").host("bucket.s3.amazonaws.com").signed("s3"), "s3:GetObject Bucket=bucket Key=/foo"),
        (get("/bucket/a//b").signed("s3"), "s3:GetObject Bucket=bucket Key=a//b"),
        (get("/bucket/a/../b/./c").signed("s3"), "s3:GetObject Bucket=bucket Key=a/../b/./c"),
        (get("/bucket/").signed("s3"), "s3:ListObjects Bucket=bucket"),
        // decoded once
        (get("/bucket/a%252Fb%2Fc+d").signed("s3"), "s3:GetObject Bucket=bucket Key=a%2Fb/c+d"),
        // unsigned, whatever the client calls itself
        (get("/"), "s3:ListBuckets"),
        (get("/bucket/key"), "s3:GetObject Bucket=bucket Key=key"),
        // paths of a service that are not another's
        (get("/2015-03-31/functions/f"), "lambda:GetFunction FunctionName=f"),
        (get("/2015-03-31/nothing"), "s3:GetObject Bucket=2015-03-31 Key=nothing"),
        (get("/2013-04-01/hostedzone/Z1").signed("route53"), "route53:GetHostedZone Id=Z1"),
        // a target that disagrees with the scope
        (target("secretsmanager.ListSecrets").signed("s3"), "secretsmanager:ListSecrets"),
        // API Gateway keeps an encoded ARN in one label
        (
            get("/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2Fa").signed("apigateway"),
            "apigateway:GetTags resource_arn=arn:aws:apigateway:us-east-1::/restapis/a",
        ),
    ];
    for (call, expected) in cases {
        assert_eq!(call.answer(), expected, "{} {:?}", call.target, call.headers);
    }
}

#[test]
fn names_that_several_apis_share_are_told_apart() {
    let cases = [
        (get("/restapis").signed("apigateway"), "apigateway:GetRestApis"),
        (get("/v2/apis").signed("apigateway"), "apigatewayv2:GetApis"),
        (get("/v2/apis/").signed("apigateway"), "apigatewayv2:GetApis"),
        (post("/").signed("ses").form("Action=SendEmail&Version=2010-12-01"), "ses:SendEmail"),
        (get("/v2/email/account").signed("ses"), "sesv2:GetAccount"),
        (target("DynamoDBStreams_20120810.ListStreams").signed("dynamodb"), "dynamodbstreams:ListStreams"),
        (target("DynamoDB_20120810.ListTables").signed("dynamodb"), "dynamodb:ListTables"),
        (post("/getMedia").signed("kinesisvideo"), "kinesis-video-media:GetMedia"),
        (post("/listStreams").signed("kinesisvideo"), "kinesisvideo:ListStreams"),
        (
            get("/v20180820/jobs").header("x-amz-account-id", "123456789012").signed("s3"),
            "s3control:ListJobs",
        ),
        (
            get("/v20180820/jobs").host("123456789012.s3-control.us-east-1.amazonaws.com").signed("s3"),
            "s3control:ListJobs",
        ),
        (
            Call::new("PUT", "/v20180820/bucket/b")
                .header("x-amz-outpost-id", "op-01ac5d28a6a232904")
                .signed("s3"),
            "s3control:CreateBucket name=b",
        ),
        (get("/v20180820/jobs").signed("s3"), "s3:GetObject Bucket=v20180820 Key=jobs"),
        (
            post("/prod/%40connections/abc%3D").signed("execute-api"),
            "apigatewaymanagementapi:PostToConnection connectionId=abc=",
        ),
    ];
    for (call, expected) in cases {
        assert_eq!(call.answer(), expected, "{} {:?}", call.target, call.headers);
    }
}

#[test]
fn the_operations_of_s3_are_told_apart_by_query_and_headers() {
    let copy = |call: Call| call.header("x-amz-copy-source", "a/b");
    let put = |target: &str| Call::new("PUT", target);
    let cases = [
        (put("/b/k"), "PutObject"),
        (copy(put("/b/k")), "CopyObject"),
        (put("/b/k?partNumber=1&uploadId=u"), "UploadPart"),
        (copy(put("/b/k?partNumber=1&uploadId=u")), "UploadPartCopy"),
        (put("/b?lifecycle"), "PutBucketLifecycleConfiguration"),
        (put("/b?notification"), "PutBucketNotificationConfiguration"),
        (get("/b?notification"), "GetBucketNotificationConfiguration"),
        (get("/b?lifecycle="), "GetBucketLifecycleConfiguration"),
        (get("/b?analytics"), "ListBucketAnalyticsConfigurations"),
        (get("/b?analytics&id=1"), "GetBucketAnalyticsConfiguration"),
        (get("/b?list-type=2&prefix=a"), "ListObjectsV2"),
        (get("/b?list-type=1"), "ListObjects"),
        (get("/b/k?uploadId=u"), "ListParts"),
        (get("/b/k?attributes"), "GetObjectAttributes"),
        (get("/b/k?x-id=GetObject"), "GetObject"),
        (get("/b?x-id=ListObjects"), "ListObjects"),
        (Call::new("DELETE", "/b/k?uploadId=u"), "AbortMultipartUpload"),
        (Call::new("DELETE", "/b/k?versionId=1"), "DeleteObject"),
        (post("/b/k?uploads"), "CreateMultipartUpload"),
        (post("/b/k?uploadId=u"), "CompleteMultipartUpload"),
        (post("/b/k?select&select-type=2"), "SelectObjectContent"),
        (post("/WriteGetObjectResponse"), "WriteGetObjectResponse"),
        (get("/"), "ListBuckets"),
        (get("/").host("s3express-control.us-east-1.amazonaws.com"), "ListDirectoryBuckets"),
    ];
    for (call, expected) in cases {
        let answer = call.clone().signed("s3").answer();
        let name = answer.split([':', ' ']).nth(1).unwrap_or_default();
        assert_eq!(name, expected, "{} gave {answer}", call.target);
    }
}

#[test]
fn buckets_and_access_points_come_from_the_host() {
    let cases = [
        ("my.dotted.bucket.s3.us-east-1.amazonaws.com", "/k", "Bucket=my.dotted.bucket Key=k"),
        ("My-Bucket.s3.amazonaws.com", "/k", "Bucket=my-bucket Key=k"),
        ("b%41.s3.amazonaws.com", "/k", "Bucket=b%41 Key=k"),
        ("s3.us-east-1.amazonaws.com", "/b/k", "Bucket=b Key=k"),
        ("10.0.0.1:9000", "/b/k", "Bucket=b Key=k"),
        (
            "ap-1-123456789012.s3-accesspoint.eu-west-1.amazonaws.com",
            "/k",
            "Bucket=arn:aws:s3:eu-west-1:123456789012:accesspoint/ap-1 Key=k",
        ),
    ];
    for (host, path, labels) in cases {
        assert_eq!(get(path).host(host).signed("s3").answer(), format!("s3:GetObject {labels}"), "{host}");
        assert_eq!(get(path).host(host).answer(), format!("s3:GetObject {labels}"), "{host}, unsigned");
    }
}

#[test]
fn queues_are_found_by_their_urls() {
    let action = "Action=SendMessage&MessageBody=x";
    let path = "/123456789012/q";
    let expected = "sqs:SendMessage QueueUrl=/123456789012/q";
    assert_eq!(post(path).form(action).signed("sqs").answer(), expected);
    assert_eq!(post(path).form(action).answer(), expected);
    assert_eq!(get(&format!("{path}?{action}&Version=2012-11-05")).answer(), expected);
    assert_eq!(
        get(&format!("/queue/q?{action}")).signed("sqs").answer(),
        "sqs:SendMessage QueueUrl=/queue/q"
    );
    assert_eq!(post("/").form(action).host("us-east-1.queue.amazonaws.com").answer(), "sqs:SendMessage");
    assert_eq!(post(path).header("x-amz-target", "AmazonSQS.SendMessage").answer(), "sqs:SendMessage");
    let emulated = "/queue/eu-west-1/123456789012/q";
    assert_eq!(post(emulated).form(action).answer(), format!("sqs:SendMessage QueueUrl={emulated}"));
    post(emulated).form(action).with(|routed| {
        let routed = routed.expect("it is routed");
        assert_eq!((routed.account_hint, routed.region_hint), (Some("123456789012"), Some("eu-west-1")));
    });
    for other in ["/queue/", "/123/q", "/123456789012/a/b", "/queue/a/b"] {
        assert_ne!(post(other).form(action).answer(), format!("sqs:SendMessage QueueUrl={other}"));
    }
    post(path).form(action).with(|routed| {
        assert_eq!(routed.expect("it is routed").account_hint, Some("123456789012"));
    });
}

#[test]
fn calls_without_a_signature_are_found_by_what_they_name() {
    let assume = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=x";
    assert_eq!(post("/").form(assume).answer(), "sts:AssumeRoleWithWebIdentity");
    assert_eq!(get(&format!("/?{assume}")).answer(), "sts:AssumeRoleWithWebIdentity");
    let confirm = "/?Action=ConfirmSubscription&TopicArn=x&Token=y&Version=2010-03-31";
    assert_eq!(get(confirm).answer(), "sns:ConfirmSubscription");
    let sign_up = target("AWSCognitoIdentityProviderService.SignUp");
    assert_eq!(sign_up.answer(), "cognito-idp:SignUp");
    assert_eq!(
        get("/").host("apigateway.us-east-1.amazonaws.com").answer(),
        "403 MissingAuthenticationTokenException Missing Authentication Token"
    );
    assert_eq!(post("/").answer(), "403 MissingAuthenticationTokenException Missing Authentication Token");
}

#[test]
fn the_protocol_is_the_one_that_the_request_speaks() {
    let cbor = |path: &str| {
        post(path).header("smithy-protocol", "rpc-v2-cbor").header("content-type", "application/cbor")
    };
    let query = "Action=ListMetrics&Version=2010-08-01";
    let cases = [
        (cbor("/service/GraniteServiceVersion20100801/operation/ListMetrics"), Protocol::RpcV2Cbor),
        (
            cbor("/any/prefix/service/GraniteServiceVersion20100801/operation/ListMetrics"),
            Protocol::RpcV2Cbor,
        ),
        (cbor("/service/AmazonSQS/operation/ListQueues").signed("sqs"), Protocol::RpcV2Cbor),
        (post("/").form(query).signed("monitoring"), Protocol::AwsQuery),
        (target("GraniteServiceVersion20100801.ListMetrics"), Protocol::AwsJson10),
        (
            post("/")
                .header("x-amz-target", "Kinesis_20131202.ListStreams")
                .header("content-type", "application/x-amz-cbor-1.1"),
            Protocol::AmzCbor11,
        ),
        (post("/").header("x-amz-target", "Kinesis_20131202.ListStreams"), Protocol::AwsJson11),
        (post("/").form("Action=DescribeInstances&Version=2016-11-15").signed("ec2"), Protocol::Ec2Query),
        (get("/2015-03-31/functions").signed("lambda"), Protocol::RestJson1),
        (get("/b").signed("s3"), Protocol::RestXml),
    ];
    for (call, expected) in cases {
        assert_eq!(call.protocol(), Some(expected), "{} gave {}", call.target, call.answer());
    }
}

#[test]
fn the_unknown_is_refused_in_the_services_words() {
    let cases = [
        (target("DynamoDB_20120810.Nothing").signed("dynamodb"), "400 UnknownOperationException"),
        (get("/").signed("dynamodb"), "404 verbatim"),
        (
            post("/").form("Action=Nothing&Version=2010-05-08").signed("iam"),
            "400 InvalidAction Could not find operation Nothing for version 2010-05-08",
        ),
        (
            post("/").form("Action=ListUsers&Version=1999-01-01").signed("iam"),
            "400 InvalidAction Could not find operation ListUsers for version 1999-01-01",
        ),
        (
            post("/").form("Action=ListUsers").signed("iam"),
            "400 InvalidAction Could not find operation ListUsers for version NO_VERSION_SPECIFIED",
        ),
        (post("/").form("a=b").signed("sts"), "400 MissingAction Missing Action"),
        (
            get("/2015-03-31/nothing").signed("lambda"),
            "403 AccessDeniedException Unable to determine service/operation name to be authorized",
        ),
        (
            Call::new("PATCH", "/b/k").signed("s3"),
            "405 MethodNotAllowed The specified method is not allowed against this resource.",
        ),
        (get("/bucket/%FF").signed("s3"), "400 InvalidURI Couldn't parse the specified URI."),
        (get("/x").signed("nosuch"), "404 UnknownOperationException The service nosuch is not known here."),
    ];
    for (call, expected) in cases {
        assert_eq!(call.answer(), expected, "{} {:?}", call.target, call.headers);
    }
}

/// A request that means `operation`, with a plain value for each label and for all that is required.
fn synthesised(service: &Service, operation: &Operation) -> Call {
    let (path, literal) = operation.uri.split_once('?').unwrap_or((operation.uri, ""));
    let mut query: Vec<String> =
        literal.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    let path: Vec<String> = path
        .split('/')
        .enumerate()
        .map(|(at, segment)| match segment.strip_prefix('{') {
            Some(name) if name.ends_with("+}") => "deep/er".to_owned(),
            Some(_) => format!("label{at}%2Fx"),
            None => segment.to_owned(),
        })
        .collect();
    let mut headers = Vec::new();
    for member in operation.input.members().iter().filter(|member| member.is_required) {
        match member.bind {
            Bind::Query(name) => query.push(format!("{name}=1")),
            Bind::Header(name) => headers.push(name),
            _ => {}
        }
    }
    let target = format!("{}?{}", path.join("/"), query.join("&"));
    let mut call = Call::new(operation.method, &target).signed(service.signing_name);
    for name in headers {
        call = call.header(name, "1");
    }
    match (service.name, operation.name) {
        (_, "ListDirectoryBuckets") => call.signed("s3express"),
        ("s3control", _) => call.host("s3-control.us-east-1.amazonaws.com"),
        _ => call,
    }
}

#[test]
fn every_rest_operation_routes_back_to_itself() {
    let mut lost = Vec::new();
    let mut count = 0;
    for service in all().iter().map(|entry| entry.service()) {
        if !service.protocols.iter().any(|protocol| protocol.is_rest()) {
            continue;
        }
        for operation in service.operations.iter().filter(|operation| !operation.is_deprecated) {
            count += 1;
            let call = synthesised(service, operation);
            let expected = format!("{}:{}", service.name, operation.name);
            let answer = call.answer();
            if answer.split(' ').next() != Some(&expected) {
                lost.push(format!("{expected} at {} {} became {answer}", call.method, call.target));
            }
        }
    }
    assert!(count > 900, "only {count} operations");
    assert!(lost.is_empty(), "{} of {count}:\n{}", lost.len(), lost.join("\n"));
}

#[test]
fn every_rpc_operation_routes_back_to_itself_in_every_protocol() {
    for service in all().iter().map(|entry| entry.service()) {
        for operation in service.operations.iter() {
            let expected = format!("{}:{}", service.name, operation.name);
            if !service.target_prefix.is_empty() {
                let call = target(&format!("{}.{}", service.target_prefix, operation.name));
                assert_eq!(call.answer(), expected);
                let path = format!("/service/{}/operation/{}", service.target_prefix, operation.name);
                let call = post(&path).header("smithy-protocol", "rpc-v2-cbor");
                assert_eq!(call.answer(), expected);
            }
            let is_query = |p: &Protocol| matches!(p, Protocol::AwsQuery | Protocol::Ec2Query);
            if service.protocols.iter().any(is_query) {
                let body = format!("Action={}&Version={}", operation.name, service.api_version);
                assert_eq!(post("/").form(&body).answer(), expected, "unsigned");
                assert_eq!(post("/").form(&body).signed(service.signing_name).answer(), expected);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_request_panics(
        method in "GET|PUT|POST|DELETE|OPTIONS|PATCH",
        path in "(/[-a-z0-9%.@]{0,6}){0,6}|[ -~]{0,20}",
        query in "([a-zA-Z-]{0,9}(=[ -~]{0,4})?&?){0,3}",
        host in "([a-z0-9-]{0,8}\\.?){0,4}(localhost|amazonaws\\.com)?(:[0-9]{0,5})?",
        scope in "s3|sqs|lambda|apigateway|ses|ec2|execute-api|kinesisvideo|[a-z]{0,3}",
        amz_target in "([A-Za-z_0-9.]{0,12})?",
        is_signed: bool,
    ) {
        let mut call = Call::new(&method, &format!("/{path}?{query}")).host(&host).header("x-amz-target", &amz_target);
        if is_signed {
            call = call.signed(&scope);
        }
        let _ = call.answer();
        call.headers.remove("x-amz-target");
        let _ = call.answer();
    }
}
