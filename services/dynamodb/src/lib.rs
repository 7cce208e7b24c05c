//! Amazon DynamoDB and Amazon DynamoDB Streams.
//!
//! Where we differ from AWS, and why: `docs/services/dynamodb.md`.

use pileus_platform::Service;

/// DynamoDB as this node answers it.
pub fn service() -> Service {
    Service::new(pileus_api_dynamodb::SERVICE)
}

/// DynamoDB Streams as this node answers it.
pub fn streams() -> Service {
    Service::new(pileus_api_dynamodbstreams::SERVICE)
}
