use std::collections::HashSet;

use pileus_wire::model;
use pileus_wire::protocol::Protocol;
use pileus_wire::schema::{Auth, Bind, Kind, Service};
use proptest::prelude::*;

use super::*;

#[test]
fn every_api_is_there_with_all_its_operations() {
    let expected = [
        ("acm", 40),
        ("apigateway", 124),
        ("apigatewaymanagementapi", 3),
        ("apigatewayv2", 103),
        ("cloudformation", 92),
        ("cloudfront", 167),
        ("cloudtrail", 60),
        ("cloudwatch", 59),
        ("cognito-identity", 23),
        ("cognito-idp", 141),
        ("config", 102),
        ("dax", 21),
        ("dynamodb", 62),
        ("dynamodbstreams", 4),
        ("ec2", 830),
        ("ecr", 62),
        ("efs", 31),
        ("elasticache", 77),
        ("elasticbeanstalk", 47),
        ("elbv2", 51),
        ("emr", 65),
        ("events", 57),
        ("firehose", 12),
        ("iam", 180),
        ("kinesis", 57),
        ("kinesis-video-archived-media", 6),
        ("kinesis-video-media", 1),
        ("kinesisanalyticsv2", 41),
        ("kinesisvideo", 32),
        ("kms", 56),
        ("lambda", 91),
        ("logs", 118),
        ("opsworks", 74),
        ("organizations", 63),
        ("pipes", 10),
        ("rds", 168),
        ("rds-data", 6),
        ("route53", 74),
        ("s3", 117),
        ("s3control", 97),
        ("scheduler", 12),
        ("secretsmanager", 26),
        ("ses", 71),
        ("sesv2", 116),
        ("shield", 36),
        ("sns", 42),
        ("sqs", 23),
        ("ssm", 154),
        ("stepfunctions", 37),
        ("sts", 11),
        ("support", 20),
        ("swf", 39),
        ("wafv2", 59),
    ];
    let got: Vec<_> = all().iter().map(|entry| (entry.name, entry.service().operations.len())).collect();
    assert_eq!(got, expected);
}

#[test]
fn every_service_says_what_routing_and_audit_need() {
    let mut targets = HashSet::new();
    for entry in all() {
        let service = entry.service();
        assert_eq!(service.name, entry.header.name);
        assert_eq!(service.signing_name, entry.header.signing_name, "{}", entry.name);
        assert_eq!(service.validation, entry.header.validation, "{}", entry.name);
        assert!(!service.protocols.is_empty(), "{}", entry.name);
        assert!(!service.api_version.is_empty(), "{}", entry.name);
        assert!(service.event_source.ends_with(".amazonaws.com"), "{}", entry.name);
        let is_json =
            service.protocols.iter().any(|p| matches!(p, Protocol::AwsJson10 | Protocol::AwsJson11));
        assert_eq!(is_json, !service.target_prefix.is_empty(), "{}", entry.name);
        assert!(!is_json || targets.insert(service.target_prefix), "{}", service.target_prefix);
    }
}

#[test]
fn the_tables_are_as_large_as_the_published_models() {
    // service, structures (unions and event streams among them), members of structures
    let cases = [("sqs", 76, 159), ("lambda", 343, 1092), ("dynamodb", 288, 984), ("ec2", 2607, 10415)];
    for (name, structures, members) in cases {
        let service = service(name).unwrap();
        let structs: Vec<_> = service
            .shapes
            .values()
            .filter(|shape| matches!(shape.kind, Kind::Structure | Kind::Union | Kind::EventStream))
            .collect();
        // The overlays of these add nothing.
        assert_eq!(structs.len(), structures, "{name}");
        assert_eq!(structs.iter().map(|shape| shape.members().len()).sum::<usize>(), members, "{name}");
    }
}

#[test]
fn query_clients_of_sqs_get_the_names_its_json_model_lost() {
    let sqs = service("sqs").unwrap();
    let send = sqs.operation("SendMessage").unwrap();
    let (_, attributes) = send.input.member("MessageAttributes").unwrap();
    assert_eq!((attributes.query, attributes.json), ("MessageAttribute", "MessageAttributes"));
    assert!(attributes.is_flattened);
    assert_eq!(send.result_wrapper, Some("SendMessageResult"));
    let gone =
        sqs.error("AWS.SimpleQueueService.NonExistentQueue").or_else(|| sqs.error("QueueDoesNotExist"));
    let gone = gone.unwrap().error.as_ref().unwrap();
    assert_eq!(gone.query_code, Some("AWS.SimpleQueueService.NonExistentQueue"));
    assert!(sqs.is_query_compatible && sqs.protocols == [Protocol::AwsJson10, Protocol::AwsQuery]);
    assert_eq!(sqs.xml_namespace, "http://queue.amazonaws.com/doc/2012-11-05/");
}

#[test]
fn an_enum_that_the_service_judges_is_not_enforced() {
    let name = service("sqs").unwrap().shape("QueueAttributeName").unwrap();
    assert!(name.limits.values.is_empty());
    assert!(name.limits.open_values.contains(&"VisibilityTimeout"));
}

#[test]
fn names_lead_where_each_protocol_looks() {
    let ec2 = service("ec2").unwrap();
    let request = ec2.operation("RunInstances").unwrap().input;
    assert_eq!(request.member("SecurityGroupIds").unwrap().1.ec2, "SecurityGroupId");
    assert_eq!(request.member("DryRun").unwrap().1.ec2, "DryRun");
    assert_eq!(request.member("DryRun").unwrap().1.xml, "dryRun");

    let s3 = service("s3").unwrap();
    let put = s3.operation("PutObject").unwrap();
    assert_eq!(put.input.member("Key").unwrap().1.bind, Bind::Label("Key"));
    assert_eq!(put.input.member("Metadata").unwrap().1.bind, Bind::HeaderPrefix("x-amz-meta-"));
    let body = put.input.member("Body").unwrap().1;
    assert!(body.bind == Bind::Payload && body.is_streaming);
    assert!(s3.operation("GetBucketLocation").unwrap().has_unwrapped_output);
    assert_eq!(s3.operation("PutBucketPolicy").unwrap().status, 204);
    let grantee = s3.shape("Grant").unwrap().member("Grantee").unwrap().1;
    assert_eq!(grantee.xml_namespace, Some("xsi http://www.w3.org/2001/XMLSchema-instance"));
    let last = s3.shape("ListObjectsV2Output").unwrap().members().last().unwrap();
    assert_eq!((last.name, last.is_flattened), ("Contents", true));
}

#[test]
fn calls_that_need_no_signature_say_so() {
    let sts = service("sts").unwrap();
    let open: Vec<_> = sts.operations.iter().filter(|op| op.auth == Auth::None).map(|op| op.name).collect();
    assert_eq!(open, ["AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"]);
}

#[test]
fn unions_and_streams_have_their_kinds() {
    let dynamodb = service("dynamodb").unwrap();
    assert_eq!(dynamodb.shape("AttributeValue").unwrap().kind, Kind::Structure, "its overlay wants it so");
    let stream = service("lambda").unwrap().operation("InvokeWithResponseStream").unwrap();
    let events = stream.output.member("EventStream").unwrap().1;
    assert_eq!((events.shape.kind, events.is_streaming), (Kind::EventStream, true));
    let streams = all().iter().map(|entry| streams_of(entry.service())).sum::<usize>();
    assert_eq!(streams, 5);
}

fn streams_of(service: &Service) -> usize {
    service.shapes.values().filter(|shape| shape.kind == Kind::EventStream).count()
}

#[test]
fn an_unknown_service_is_none() {
    assert!(service("sqss").is_none());
}

#[test]
fn what_is_written_is_read_back_equal() {
    for entry in all() {
        let read = model::read(entry.model).unwrap();
        let text = model::write(&read).unwrap();
        assert_eq!(text, entry.model, "{}", entry.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever a slip of the hand does to a model or an overlay, the reader answers with an error or a model.
    #[test]
    fn a_mangled_model_is_refused_or_read_but_never_a_panic(
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        inserted in "[ =!</,|a-zA-Z0-9\n\u{e4}-]{0,12}",
        as_overlay in any::<bool>(),
    ) {
        let original = entry_of("sqs").unwrap().model;
        let mut from = at.index(original.len());
        while !original.is_char_boundary(from) {
            from -= 1;
        }
        let mut to = (from + length).min(original.len());
        while !original.is_char_boundary(to) {
            to -= 1;
        }
        let mangled: &'static str = format!("{}{inserted}{}", &original[..from], &original[to..]).leak();
        if as_overlay {
            let mut base = model::read(original).unwrap();
            if model::overlay(&mut base, mangled).is_ok() {
                let _ = model::build(base);
            }
        } else if let Ok(read) = model::read(mangled) {
            let _ = model::build(read);
        }
    }
}
