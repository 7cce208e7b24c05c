//! What the models say, as a table that codecs, validation, routing and audit walk.
//!
//! A [`Service`] is built once per process from its embedded model (`model.rs`) or, for tools, at run time from a botocore
//! document (`botocore.rs`); it then lives for ever, so every reference here is `'static`. Generated structs are coupled to
//! it by member order alone: field `i` of a struct is `shape.members()[i]`.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::protocol::Protocol;
use crate::validate::Pattern;

/// One AWS API.
#[derive(Debug)]
pub struct Service {
    /// Our name for it, the model's file name: `sqs`, `apigatewayv2`.
    pub name: &'static str,
    /// AWS's service id: `SQS`, `ApiGatewayV2`.
    pub service_id: &'static str,
    /// `2012-11-05`.
    pub api_version: &'static str,
    /// Protocols the model declares, AWS's preferred one first.
    pub protocols: Vec<Protocol>,
    /// Service name in the credential scope.
    pub signing_name: &'static str,
    /// First label of the service's host names.
    pub endpoint_prefix: &'static str,
    /// `X-Amz-Target` without the operation: `AmazonSQS`. Empty if the service has none.
    pub target_prefix: &'static str,
    /// Namespace URI of XML answers; empty if none.
    pub xml_namespace: &'static str,
    /// Service part of its ARNs and prefix of its IAM actions.
    pub arn_namespace: &'static str,
    /// `sqs.amazonaws.com`.
    pub event_source: &'static str,
    pub is_query_compatible: bool,
    pub validation: ValidationRules,
    /// How JSON and CBOR bodies of wrong types are converted, or refused (overlay `coercion`; `Coercion::default()` else).
    pub coercion: Coercion,
    /// Prefix of `__type` for modelled errors, such as `com.amazonaws.sqs#`; empty: bare names.
    pub error_namespace: &'static str,
    /// Prefix of `__type` for framework errors (serialization, signature); empty: bare names.
    pub framework_namespace: &'static str,
    pub operations: Vec<Operation>,
    /// Every shape by name.
    pub shapes: HashMap<&'static str, &'static Shape>,
    /// Index into `operations`.
    pub by_name: HashMap<&'static str, usize>,
}

impl Service {
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.by_name.get(name).map(|at| &self.operations[*at])
    }

    pub fn shape(&self, name: &str) -> Option<&'static Shape> {
        self.shapes.get(name).copied()
    }

    /// The error shape whose name, or whose code on the wire, is `code`.
    pub fn error(&self, code: &str) -> Option<&'static Shape> {
        let named = self.shape(code).filter(|shape| shape.error.is_some());
        named.or_else(|| {
            self.shapes
                .values()
                .copied()
                .find(|shape| shape.error.as_ref().is_some_and(|e| e.code == Some(code)))
        })
    }
}

/// How a service words and numbers its validation errors. The overlay says where a service departs from the default.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidationRules {
    pub dialect: Dialect,
    /// `ValidationException`; `ValidationError` of query services.
    pub code: &'static str,
    /// Paths start with the input shape's name (API Gateway v1).
    pub path_has_input_shape: bool,
    /// Order of several messages: Java 8's hash spread, or Java 7's.
    pub java7_order: bool,
    /// Constraints of list elements, map keys and map values end with `Member must not be null` (Lambda, IAM).
    pub brackets_end_with_null: bool,
    /// `Member must satisfy enum value set` without the set (IAM).
    pub hides_enum_values: bool,
    pub missing: Missing,
    /// Members whose broken patterns have a sentence of their own.
    pub malformed: Vec<Malformed>,
}

impl Default for ValidationRules {
    fn default() -> ValidationRules {
        ValidationRules {
            dialect: Dialect::Classic,
            code: "ValidationException",
            path_has_input_shape: false,
            java7_order: false,
            brackets_end_with_null: false,
            hides_enum_values: false,
            missing: Missing::Constraint,
            malformed: Vec::new(),
        }
    }
}

/// How values that break their pattern are refused, once all other constraints hold (IAM).
#[derive(Debug, Clone, PartialEq)]
pub struct Malformed {
    /// Members of these names, at any depth.
    pub members: Vec<&'static str>,
    /// `The specified value for `, ` is invalid.`; between them stands the member's name.
    pub before: &'static str,
    pub after: &'static str,
}

/// How a service answers a required top-level member that is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// As any other constraint: `Value null at 'path' failed to satisfy constraint: Member must not be null`.
    Constraint,
    /// With a code and a sentence of its own, for the first one that is missing, before all other constraints. SQS:
    /// `MissingRequiredParameterException`, `The request must contain the parameter `, `.`
    Named { code: &'static str, before: &'static str, after: &'static str },
}

/// What a service's decoder does with a value of another type than the model's, and how it words a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coercion {
    /// Kinesis, API Gateway and most others: `class java.lang.Boolean can not be converted to an String`.
    #[default]
    Coral,
    /// DynamoDB: `NUMBER_VALUE cannot be converted to String`.
    DynamoDb,
    /// Lambda and its like: scalars convert freely, refusals have no text of the framework's.
    Jackson,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `1 validation error detected: Value 'v' at 'path' failed to satisfy constraint: Member must ..`
    Classic,
    /// As `Classic`, with the value left out.
    Redacted,
    /// The newer framework's: `1 validation error detected. Value at '/pointer' failed ..` with a `fieldList`.
    Smithy,
    /// S3's: a document that does not fit is `MalformedXML`; all else is the service's to judge.
    S3,
}

#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    pub method: &'static str,
    /// URI template with literal query: `/2015-03-31/functions/{FunctionName}`, `/{Bucket}?acl`.
    pub uri: &'static str,
    /// Status of a successful answer.
    pub status: u16,
    /// A structure; [`Shape::is_unit`] when the operation takes none.
    pub input: &'static Shape,
    /// A structure; [`Shape::is_unit`] when the operation gives none.
    pub output: &'static Shape,
    pub errors: Vec<&'static Shape>,
    /// Element that wraps the output in query protocols: `SendMessageResult`. `None` where the service's model speaks no
    /// query protocol (then it is the operation's name and `Result`), or the operation gives nothing.
    pub result_wrapper: Option<&'static str>,
    /// Root element of a restXml request whose input has no payload member.
    pub input_element: Option<&'static str>,
    pub input_namespace: Option<&'static str>,
    pub host_prefix: Option<&'static str>,
    pub auth: Auth,
    pub is_deprecated: bool,
    /// Says so in the model, or its name starts with `Get`, `List`, `Describe`, ..
    pub is_readonly: bool,
    pub requires_checksum: bool,
    /// S3's `GetBucketLocation`: the output's only member is the root element.
    pub has_unwrapped_output: bool,
    /// Actions to authorise, from the overlay; empty: `<arn_namespace>:<name>`.
    pub actions: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    SigV4,
    /// Signed if the caller has credentials (`cognito-idp`, `sts:AssumeRoleWithWebIdentity`): no signature needed.
    None,
    Bearer,
}

#[derive(Debug)]
pub struct Shape {
    pub name: &'static str,
    pub kind: Kind,
    pub limits: Limits,
    /// Present on error structures.
    pub error: Option<ErrorTraits>,
    /// Element name when this shape is a payload or a root; `None`: the shape's name.
    pub xml_name: Option<&'static str>,
    /// `uri`, or `prefix uri` when the declaration is prefixed.
    pub xml_namespace: Option<&'static str>,
    pub is_sensitive: bool,
    /// Nulls are kept in this list or map.
    pub is_sparse: bool,
    /// Structure, union: its members in declaration order. List: its element. Map: its key and its value.
    pub(crate) members: OnceLock<&'static [Member]>,
}

impl Shape {
    /// The empty structure that stands for "no input" and "no output".
    pub fn is_unit(&self) -> bool {
        self.name.is_empty()
    }

    pub fn members(&self) -> &'static [Member] {
        self.members.get().copied().unwrap_or(&[])
    }

    /// The element of a list.
    pub fn element(&self) -> &'static Member {
        self.members().first().expect("a list shape has an element: the model reader refuses others")
    }

    /// Key and value of a map.
    pub fn entry(&self) -> (&'static Member, &'static Member) {
        match self.members() {
            [key, value] => (key, value),
            _ => unreachable!("a map shape has a key and a value: the model reader refuses others"),
        }
    }

    pub fn member(&self, name: &str) -> Option<(usize, &'static Member)> {
        self.members().iter().enumerate().find(|(_, member)| member.name == name)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Structure,
    /// A structure with exactly one member set.
    Union,
    List,
    Map,
    String,
    Blob,
    Boolean,
    Byte,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Timestamp,
    Document,
    /// A union sent as an event stream: each member is one event type.
    EventStream,
}

impl Kind {
    pub fn is_integer(self) -> bool {
        matches!(self, Kind::Byte | Kind::Short | Kind::Integer | Kind::Long)
    }

    /// Inclusive range of an integer kind.
    pub fn integer_range(self) -> (i64, i64) {
        match self {
            Kind::Byte => (i64::from(i8::MIN), i64::from(i8::MAX)),
            Kind::Short => (i64::from(i16::MIN), i64::from(i16::MAX)),
            Kind::Integer => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => (i64::MIN, i64::MAX),
        }
    }
}

/// Constraints of a shape. For strings, blobs, lists and maps `min`/`max` bound the length; for numbers the value.
#[derive(Debug, Default)]
pub struct Limits {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub pattern: Option<&'static str>,
    /// Enum values in declaration order; empty: not an enum.
    pub values: Vec<&'static str>,
    /// Values of an enum that is the service's own to judge: validation enforces none of them.
    pub open_values: Vec<&'static str>,
    /// The enum as validation prints it, in AWS's order; empty: computed from `values`.
    pub printed_values: Vec<&'static str>,
    /// The pattern compiled on first use; `None` inside: it does not compile, and is not enforced.
    pub(crate) regex: OnceLock<Option<Pattern>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ErrorTraits {
    /// Code on the wire when it is not the shape's name.
    pub code: Option<&'static str>,
    /// Code for query clients of a service that is `is_query_compatible`.
    pub query_code: Option<&'static str>,
    /// Zero: 400 for a sender's fault, 500 else.
    pub status: u16,
    pub is_sender_fault: bool,
}

/// A slot in a structure, a list or a map.
#[derive(Debug)]
pub struct Member {
    pub name: &'static str,
    /// Name in JSON and CBOR bodies.
    pub json: &'static str,
    /// Element or attribute name in XML (`ns:name` kept).
    pub xml: &'static str,
    /// Parameter name in awsQuery requests.
    pub query: &'static str,
    /// Parameter name in ec2Query requests (upper-cased first letter).
    pub ec2: &'static str,
    pub bind: Bind,
    pub shape: &'static Shape,
    pub time_format: Option<TimeFormat>,
    /// `uri`, or `prefix uri` when the declaration is prefixed (`xsi http://www.w3.org/2001/XMLSchema-instance`).
    pub xml_namespace: Option<&'static str>,
    pub is_required: bool,
    pub is_flattened: bool,
    pub is_xml_attribute: bool,
    pub is_sensitive: bool,
    pub is_idempotency_token: bool,
    pub is_streaming: bool,
    pub is_host_label: bool,
    pub is_event_payload: bool,
    pub is_event_header: bool,
    /// A string that carries JSON, base64 in a header (`mediaType: application/json`).
    pub is_json_value: bool,
}

impl Member {
    /// The query parameter that this member travels in.
    pub fn bind_query(&self) -> Option<&'static str> {
        match self.bind {
            Bind::Query(name) => Some(name),
            _ => None,
        }
    }
}

/// Where a member travels in REST protocols. RPC protocols put everything in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    Body,
    Header(&'static str),
    /// All headers that start with this, lower case: a map.
    HeaderPrefix(&'static str),
    Label(&'static str),
    Query(&'static str),
    /// All query parameters: a map.
    QueryMap,
    Status,
    /// The whole body.
    Payload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    EpochSeconds,
    /// RFC 3339.
    DateTime,
    HttpDate,
}
