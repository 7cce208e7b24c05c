//! CloudWatch Logs Insights: a query is read, run in the background over the events of its groups, and its answer kept.
//!
//! | File | Holds |
//! |---|---|
//! | `parse.rs` | the language, as text: pure |
//! | `syntax.rs` | the language, as it is understood: pure |
//! | `value.rs` | values, and how they compare and print: pure |
//! | `row.rs` | an event and the fields that are found in it: pure |
//! | `function.rs` | functions of values: pure |
//! | `aggregate.rs` | `stats`: pure |
//! | `run.rs` | commands, one after the other over rows: pure |
//! | `job.rs` | `StartQuery`, `StopQuery`, `GetQueryResults`, `DescribeQueries`, `ListLogGroupsForQuery` |
//! | `definition.rs` | `PutQueryDefinition`, `DeleteQueryDefinition`, `DescribeQueryDefinitions` |
//!
//! Source: Amazon CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax", "Supported logs and discovered
//! fields".

mod aggregate;
pub mod definition;
mod function;
pub mod job;
mod parse;
pub mod row;
mod run;
mod syntax;
#[cfg(test)]
mod tests;
mod value;
