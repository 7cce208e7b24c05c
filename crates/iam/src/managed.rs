//! AWS-managed policies by ARN.
