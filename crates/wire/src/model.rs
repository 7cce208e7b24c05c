//! Models as text: `models/<svc>.model` (what AWS publishes) and `models/<svc>.overlay` (what AWS really does).
//!
//! One format, one reader. The reader borrows every name from the text, which is embedded and so `'static`; nothing but
//! tables is allocated. [`Model`] is the form in the middle: importers make it, [`write()`] prints it, [`read()`] reads it
//! back, [`build()`] turns it into a [`Service`](crate::schema::Service).
//!
//! # Grammar
//!
//! Lines; tokens apart by one space. `#` begins a comment line. The header ends at the first empty line.
//!
//! ```text
//! model sqs                                    our name: the first line
//! id SQS                                       AWS's service id: the rest of the line
//! version 2012-11-05
//! protocols json1.0 query                      json1.0 json1.1 rest-json rest-xml query ec2 cbor; the preferred one first
//! signing sqs | endpoint sqs | target AmazonSQS | xmlns http://.. | arn sqs | source sqs.amazonaws.com
//! query-compatible                             sends `x-amzn-query-error`
//! validation ValidationException classic       code, then classic | redacted | smithy, then, as `ValidationRules` has them,
//!                                              [java7] [input-path] [brackets-null] [hide-enums]
//! missing CODE The parameter {} is required.   how an absent required member of the input is refused, if in its own way
//! malformed A,B The value for {} is invalid.   how broken patterns of these members are refused once all else holds; repeatable
//! coercion coral                               coral | dynamodb | jackson
//! errors com.amazonaws.sqs#                    prefix of `__type` of modelled errors
//! framework com.amazon.coral.service#          prefix of `__type` of framework errors
//!
//! op SendMessage POST / <SendMessageRequest >SendMessageResult !QueueDoesNotExist,UnsupportedOperation
//!     further: status=N wrapper=E element=E element-ns=URI host=PREFIX auth=none|bearer actions=a,b
//!              deprecated readonly mutates checksum unwrapped
//! struct SendMessageRequest
//!  QueueUrl! String                            one space, name, `!` if required, shape
//!  MessageAttributes MessageBodyAttributeMap x=MessageAttribute flat
//!     further: j=NAME x=NAME q=NAME            name in JSON, in XML and query, in ec2Query
//!              h=HEADER hp=PREFIX l=LABEL qs=PARAMETER qs-rest status payload            where it travels in REST
//!              time=epoch|date-time|http ns=URI ns-prefix=P flat attr sensitive token stream host ev-payload ev-header json
//! error QueueDoesNotExist 400 query-code=AWS.SimpleQueueService.NonExistentQueue   also code=C receiver; members follow
//! union U | events E                           members follow; `events`: an event stream
//! list L                                       one member line follows
//! map M                                        two follow: key, value
//! str S min=1 max=80 /[\w-]+/                  the pattern is always last, up to the line's last `/`
//! str Unit = Seconds|Microseconds|None         an enum: the values are always last
//! blob B | bool | byte | short | int | long | float | double | time T time=epoch | doc
//!     further on any shape: x=NAME ns=URI ns-prefix=P sensitive sparse open flat stream min=N max=N
//!     `open`: an enum whose values the service itself judges
//! ```
//!
//! Shapes are sorted by name; members keep AWS's order, because the order is meaning: generated structs are indexed by it.
//!
//! # Overlays
//!
//! Header lines replace the model's. After the empty line, shape and operation lines as above add to the model (or replace
//! the shape or operation of that name), and
//!
//! ```text
//! set op PutBucketPolicy status=204            tokens replace those of the model's operation
//! set shape QueueName max=80 /[\w-]+/          tokens replace those of the model's shape
//!  BucketName BucketName                       member lines replace the member of that name, or are appended
//! pin Runtime = nodejs|java21                  the enum as validation prints it, in AWS's order; what is valid stays
//! kind AttributeValue struct                   the shape's kind
//! last ListObjectsV2Output Contents            the member comes after all others
//! ```

mod build;
mod overlay;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;

pub use build::build;
pub use overlay::overlay;
pub use read::{read, read_header};
pub use write::write;

use crate::protocol::Protocol;
use crate::schema::{Auth, Bind, Coercion, Dialect, ErrorTraits, Kind, TimeFormat, ValidationRules};

/// A model as text says it: names not yet resolved, defaults not yet filled in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub header: ModelHeader,
    pub operations: Vec<OperationLine>,
    /// Sorted by name.
    pub shapes: Vec<ShapeLine>,
}

impl Model {
    pub fn shape(&self, name: &str) -> Option<&ShapeLine> {
        self.shapes.binary_search_by(|shape| shape.name.cmp(name)).ok().map(|at| &self.shapes[at])
    }

    pub fn operation(&self, name: &str) -> Option<&OperationLine> {
        self.operations.iter().find(|operation| operation.name == name)
    }
}

/// What a model says before its first empty line: enough to route a request to the service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelHeader {
    /// Our name, the model's file name.
    pub name: &'static str,
    pub service_id: &'static str,
    pub api_version: &'static str,
    pub protocols: Vec<Protocol>,
    pub signing_name: &'static str,
    pub endpoint_prefix: &'static str,
    pub target_prefix: &'static str,
    pub xml_namespace: &'static str,
    pub arn_namespace: &'static str,
    pub event_source: &'static str,
    pub is_query_compatible: bool,
    pub validation: ValidationRules,
    pub coercion: Coercion,
    pub error_namespace: &'static str,
    pub framework_namespace: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OperationLine {
    pub name: &'static str,
    pub method: &'static str,
    pub uri: &'static str,
    pub status: u16,
    pub input: Option<&'static str>,
    pub output: Option<&'static str>,
    pub errors: Vec<&'static str>,
    pub result_wrapper: Option<&'static str>,
    pub input_element: Option<&'static str>,
    pub input_namespace: Option<&'static str>,
    pub host_prefix: Option<&'static str>,
    pub auth: Auth,
    pub is_deprecated: bool,
    /// `None`: judged by the operation's name.
    pub is_readonly: Option<bool>,
    pub requires_checksum: bool,
    pub has_unwrapped_output: bool,
    pub actions: Vec<&'static str>,
}

impl OperationLine {
    pub fn new(name: &'static str) -> OperationLine {
        OperationLine {
            name,
            method: "POST",
            uri: "/",
            status: 200,
            input: None,
            output: None,
            errors: Vec::new(),
            result_wrapper: None,
            input_element: None,
            input_namespace: None,
            host_prefix: None,
            auth: Auth::SigV4,
            is_deprecated: false,
            is_readonly: None,
            requires_checksum: false,
            has_unwrapped_output: false,
            actions: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ShapeLine {
    pub name: &'static str,
    pub kind: Kind,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub pattern: Option<&'static str>,
    pub values: Vec<&'static str>,
    /// The enum as validation prints it, when an overlay pins it.
    pub printed_values: Vec<&'static str>,
    pub error: Option<ErrorTraits>,
    pub xml_name: Option<&'static str>,
    pub xml_namespace: Option<&'static str>,
    pub xml_prefix: Option<&'static str>,
    pub time_format: Option<TimeFormat>,
    pub is_sensitive: bool,
    pub is_sparse: bool,
    /// The enum's values are not enforced.
    pub is_open: bool,
    pub is_flattened: bool,
    pub is_streaming: bool,
    pub members: Vec<MemberLine>,
}

impl ShapeLine {
    pub fn new(name: &'static str, kind: Kind) -> ShapeLine {
        ShapeLine {
            name,
            kind,
            min: None,
            max: None,
            pattern: None,
            values: Vec::new(),
            printed_values: Vec::new(),
            error: None,
            xml_name: None,
            xml_namespace: None,
            xml_prefix: None,
            time_format: None,
            is_sensitive: false,
            is_sparse: false,
            is_open: false,
            is_flattened: false,
            is_streaming: false,
            members: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct MemberLine {
    pub name: &'static str,
    pub shape: &'static str,
    pub json: Option<&'static str>,
    /// Name in XML and in awsQuery.
    pub xml: Option<&'static str>,
    pub ec2: Option<&'static str>,
    pub bind: Bind,
    pub time_format: Option<TimeFormat>,
    pub xml_namespace: Option<&'static str>,
    pub xml_prefix: Option<&'static str>,
    pub is_required: bool,
    pub is_flattened: bool,
    pub is_xml_attribute: bool,
    pub is_sensitive: bool,
    pub is_idempotency_token: bool,
    pub is_streaming: bool,
    pub is_host_label: bool,
    pub is_event_payload: bool,
    pub is_event_header: bool,
    pub is_json_value: bool,
}

impl MemberLine {
    pub fn new(name: &'static str, shape: &'static str) -> MemberLine {
        MemberLine {
            name,
            shape,
            json: None,
            xml: None,
            ec2: None,
            bind: Bind::Body,
            time_format: None,
            xml_namespace: None,
            xml_prefix: None,
            is_required: false,
            is_flattened: false,
            is_xml_attribute: false,
            is_sensitive: false,
            is_idempotency_token: false,
            is_streaming: false,
            is_host_label: false,
            is_event_payload: false,
            is_event_header: false,
            is_json_value: false,
        }
    }
}

/// A line that does not follow the grammar, or a name that leads nowhere.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelError {
    /// From 1; zero when the fault is not of one line.
    pub line: usize,
    pub reason: String,
}

impl ModelError {
    fn whole(reason: impl Into<String>) -> ModelError {
        ModelError { line: 0, reason: reason.into() }
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.reason),
            line => write!(f, "line {line}: {}", self.reason),
        }
    }
}

impl std::error::Error for ModelError {}

/// Words of the format, each with what it stands for; both directions read these.
const KINDS: [(&str, Kind); 17] = [
    ("struct", Kind::Structure),
    ("union", Kind::Union),
    ("events", Kind::EventStream),
    ("list", Kind::List),
    ("map", Kind::Map),
    ("str", Kind::String),
    ("blob", Kind::Blob),
    ("bool", Kind::Boolean),
    ("byte", Kind::Byte),
    ("short", Kind::Short),
    ("int", Kind::Integer),
    ("long", Kind::Long),
    ("float", Kind::Float),
    ("double", Kind::Double),
    ("time", Kind::Timestamp),
    ("doc", Kind::Document),
    ("error", Kind::Structure),
];

const PROTOCOLS: [(&str, Protocol); 7] = [
    ("json1.0", Protocol::AwsJson10),
    ("json1.1", Protocol::AwsJson11),
    ("rest-json", Protocol::RestJson1),
    ("rest-xml", Protocol::RestXml),
    ("query", Protocol::AwsQuery),
    ("ec2", Protocol::Ec2Query),
    ("cbor", Protocol::RpcV2Cbor),
];

const TIME_FORMATS: [(&str, TimeFormat); 3] = [
    ("epoch", TimeFormat::EpochSeconds),
    ("date-time", TimeFormat::DateTime),
    ("http", TimeFormat::HttpDate),
];

const COERCIONS: [(&str, Coercion); 3] =
    [("coral", Coercion::Coral), ("dynamodb", Coercion::DynamoDb), ("jackson", Coercion::Jackson)];

const DIALECTS: [(&str, Dialect); 4] = [
    ("classic", Dialect::Classic),
    ("redacted", Dialect::Redacted),
    ("smithy", Dialect::Smithy),
    ("s3", Dialect::S3),
];

fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    let found = words.iter().find(|(_, of)| *of == value);
    found.expect("every value has its word in the table above").0
}

fn value_of<T: Copy>(words: &[(&'static str, T)], word: &str) -> Option<T> {
    words.iter().find(|(of, _)| *of == word).map(|(_, value)| *value)
}
