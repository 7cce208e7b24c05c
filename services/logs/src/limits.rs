//! AWS's numbers.
//!
//! Source: CloudWatch Logs API Reference, "PutLogEvents", "PutRetentionPolicy"; Amazon CloudWatch Logs User Guide,
//! "CloudWatch Logs quotas".

/// Bytes of a batch: its messages, and 26 for each.
pub const MAX_BATCH_BYTES: usize = 1_048_576;
pub const EVENT_OVERHEAD: usize = 26;
pub const MAX_BATCH_SPAN_MS: i64 = 24 * HOUR_MS;
pub const MAX_FUTURE_MS: i64 = 2 * HOUR_MS;
pub const MAX_PAST_MS: i64 = 14 * DAY_MS;
pub const HOUR_MS: i64 = 3_600_000;
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Events and bytes of a page of events.
pub const MAX_PAGE_EVENTS: usize = 10_000;
pub const MAX_PAGE_BYTES: usize = 1_048_576;
/// Bytes that `FilterLogEvents` reads before it answers with what it has and a token.
pub const MAX_SCAN_BYTES: usize = 64 << 20;

/// Things of a page of anything else, when the request does not say.
pub const DEFAULT_PAGE: usize = 50;

/// Characters of the name of a group or a stream.
pub const MAX_NAME: usize = 512;
pub const MAX_TAGS: usize = 50;
pub const MAX_SUBSCRIPTION_FILTERS: usize = 2;
pub const MAX_METRIC_FILTERS: u32 = 100;
pub const MAX_RESOURCE_POLICIES: usize = 10;
pub const MAX_POLICY_BYTES: usize = 5_120;
pub const MAX_QUERY_GROUPS: usize = 50;
pub const MAX_QUERY_DEFINITIONS: usize = 1_000;

/// Days that a group may keep its events.
pub const RETENTION_DAYS: [i64; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1_096, 1_827, 2_192, 2_557, 2_922, 3_288,
    3_653,
];
