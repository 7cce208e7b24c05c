//! Delivery policies: how often and how fast a delivery is tried again. Pure.
//!
//! Source: Amazon SNS Developer Guide, "Amazon SNS message delivery retries". Chosen: the sentences, where no recording is known.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::SnsError;

/// `healthyRetryPolicy`: retries without a pause, then at the shortest, then with growing, then at the longest pause.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    pub min_delay: u64,
    pub max_delay: u64,
    pub retries: u32,
    pub no_delay: u32,
    pub min_delay_retries: u32,
    pub max_delay_retries: u32,
    pub backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    Linear,
    Arithmetic,
    Geometric,
    Exponential,
}

impl Retries {
    /// Of SQS, Lambda and Firehose: 100,015 attempts over 23 days.
    pub const MANAGED: Retries = Retries {
        min_delay: 1,
        max_delay: 20,
        retries: 100_015,
        no_delay: 3,
        min_delay_retries: 2,
        max_delay_retries: 100_000,
        backoff: Backoff::Exponential,
    };
    /// Of mail, text messages and mobile push: 50 attempts over six hours.
    pub const CUSTOMER: Retries = Retries {
        min_delay: 10,
        max_delay: 600,
        retries: 50,
        no_delay: 0,
        min_delay_retries: 2,
        max_delay_retries: 38,
        backoff: Backoff::Exponential,
    };
    /// Of HTTP and HTTPS, unless a policy says otherwise.
    pub const HTTP: Retries = Retries {
        min_delay: 20,
        max_delay: 20,
        retries: 3,
        no_delay: 0,
        min_delay_retries: 0,
        max_delay_retries: 0,
        backoff: Backoff::Linear,
    };

    /// The pause before the next attempt, after so many retries; `None` when there is no other.
    pub fn pause(&self, retried: u32) -> Option<Duration> {
        let seconds = |seconds: f64| Some(Duration::from_millis((seconds * 1_000.0).round() as u64));
        let growing =
            self.retries.saturating_sub(self.no_delay + self.min_delay_retries + self.max_delay_retries);
        let (min, max) = (self.min_delay as f64, self.max_delay as f64);
        let Some(after_none) = retried.checked_sub(self.no_delay) else { return Some(Duration::ZERO) };
        if retried >= self.retries {
            return None;
        }
        let Some(step) = after_none.checked_sub(self.min_delay_retries) else { return seconds(min) };
        if step >= growing {
            return seconds(max);
        }
        // From the shortest pause (step 0) to the longest (the last step).
        let share = if growing <= 1 { 1.0 } else { f64::from(step) / f64::from(growing - 1) };
        seconds(match self.backoff {
            Backoff::Linear => min + (max - min) * share,
            Backoff::Arithmetic => min + (max - min) * share * share,
            Backoff::Geometric => min + (max - min) * share * share * share,
            Backoff::Exponential => (min.max(1.0)) * (max / min.max(1.0)).powf(share),
        })
    }

    fn show(&self) -> Value {
        let backoff = match self.backoff {
            Backoff::Linear => "linear",
            Backoff::Arithmetic => "arithmetic",
            Backoff::Geometric => "geometric",
            Backoff::Exponential => "exponential",
        };
        json!({
            "minDelayTarget": self.min_delay,
            "maxDelayTarget": self.max_delay,
            "numRetries": self.retries,
            "numMaxDelayRetries": self.max_delay_retries,
            "numNoDelayRetries": self.no_delay,
            "numMinDelayRetries": self.min_delay_retries,
            "backoffFunction": backoff,
        })
    }
}

fn invalid(text: impl std::fmt::Display) -> SnsError {
    SnsError::invalid(format!("DeliveryPolicy: {text}"))
}

/// What one HTTP subscription is delivered by.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpPolicy {
    pub retries: Retries,
    pub max_per_second: Option<u32>,
    pub content_type: Option<String>,
}

impl Default for HttpPolicy {
    fn default() -> HttpPolicy {
        HttpPolicy { retries: Retries::HTTP, max_per_second: None, content_type: None }
    }
}

/// `DeliveryPolicy` of a topic.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TopicPolicy {
    pub http: HttpPolicy,
    pub disables_overrides: bool,
}

impl TopicPolicy {
    pub fn parse(text: &str) -> Result<TopicPolicy, SnsError> {
        let value: Value = serde_json::from_str(text).map_err(|_| invalid("failed to parse JSON."))?;
        let object = value.as_object().ok_or_else(|| invalid("failed to parse JSON."))?;
        let http = match object.get("http") {
            Some(http) => http.as_object().ok_or_else(|| invalid("http must be an object"))?,
            None if object.is_empty() => return Ok(TopicPolicy::default()),
            None => return Err(invalid(format!("unexpected field {}", first(object)))),
        };
        only(
            http,
            &[
                "defaultHealthyRetryPolicy",
                "disableSubscriptionOverrides",
                "defaultThrottlePolicy",
                "defaultRequestPolicy",
            ],
        )?;
        Ok(TopicPolicy {
            http: HttpPolicy {
                retries: retries(http.get("defaultHealthyRetryPolicy"))?.unwrap_or(Retries::HTTP),
                max_per_second: throttle(http.get("defaultThrottlePolicy"))?,
                content_type: content_type(http.get("defaultRequestPolicy"))?,
            },
            disables_overrides: http.get("disableSubscriptionOverrides").is_some_and(|value| value == true),
        })
    }

    /// `EffectiveDeliveryPolicy` of a topic.
    pub fn effective(text: Option<&str>) -> Value {
        let policy = text.and_then(|text| TopicPolicy::parse(text).ok()).unwrap_or_default();
        let mut http = json!({
            "defaultHealthyRetryPolicy": policy.http.retries.show(),
            "disableSubscriptionOverrides": policy.disables_overrides,
        });
        if let Some(rate) = policy.http.max_per_second {
            http["defaultThrottlePolicy"] = json!({ "maxReceivesPerSecond": rate });
        }
        let content_type = policy.http.content_type.as_deref().unwrap_or("text/plain; charset=UTF-8");
        http["defaultRequestPolicy"] = json!({ "headerContentType": content_type });
        json!({ "http": http })
    }
}

impl HttpPolicy {
    /// `DeliveryPolicy` of a subscription.
    pub fn parse(text: &str) -> Result<HttpPolicy, SnsError> {
        let value: Value = serde_json::from_str(text).map_err(|_| invalid("failed to parse JSON."))?;
        let object = value.as_object().ok_or_else(|| invalid("failed to parse JSON."))?;
        only(
            object,
            &["healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy", "guaranteed"],
        )?;
        Ok(HttpPolicy {
            retries: retries(object.get("healthyRetryPolicy"))?.unwrap_or(Retries::HTTP),
            max_per_second: throttle(object.get("throttlePolicy"))?,
            content_type: content_type(object.get("requestPolicy"))?,
        })
    }

    /// What a subscription is delivered by: its own policy, unless the topic's says that it has none.
    pub fn effective(own: Option<&str>, topic: Option<&str>) -> HttpPolicy {
        let topic = topic.and_then(|text| TopicPolicy::parse(text).ok()).unwrap_or_default();
        let own = own.filter(|_| !topic.disables_overrides).and_then(|text| HttpPolicy::parse(text).ok());
        own.unwrap_or(topic.http)
    }

    /// `EffectiveDeliveryPolicy` of a subscription.
    pub fn show(&self) -> Value {
        let throttle = self.max_per_second.map(|rate| json!({ "maxReceivesPerSecond": rate }));
        let request = self.content_type.as_ref().map(|kind| json!({ "headerContentType": kind }));
        json!({
            "healthyRetryPolicy": self.retries.show(),
            "sicklyRetryPolicy": null,
            "throttlePolicy": throttle,
            "requestPolicy": request,
            "guaranteed": false,
        })
    }
}

fn first(object: &Map<String, Value>) -> &str {
    object.keys().next().map_or("", String::as_str)
}

fn only(object: &Map<String, Value>, names: &[&str]) -> Result<(), SnsError> {
    match object.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(invalid(format!("unexpected field {name}"))),
        None => Ok(()),
    }
}

fn retries(value: Option<&Value>) -> Result<Option<Retries>, SnsError> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    let object = value.as_object().ok_or_else(|| invalid("healthyRetryPolicy must be an object"))?;
    let number =
        |name: &str, default: Option<u64>, max: u64| match object.get(name).filter(|v| !v.is_null()) {
            Some(value) => value.as_u64().filter(|number| *number <= max).ok_or_else(|| {
                invalid(format!("healthyRetryPolicy.{name} must be an integer of at most {max}"))
            }),
            None => default.ok_or_else(|| invalid(format!("healthyRetryPolicy.{name} must be specified"))),
        };
    let min_delay = number("minDelayTarget", None, 3_600)?;
    let max_delay = number("maxDelayTarget", None, 3_600)?;
    let retries = number("numRetries", None, 100)?;
    let counts = ["numNoDelayRetries", "numMinDelayRetries", "numMaxDelayRetries"];
    let [no_delay, min_count, max_count] = counts.map(|name| number(name, Some(0), 100));
    let (no_delay, min_count, max_count) = (no_delay?, min_count?, max_count?);
    if min_delay == 0 {
        return Err(invalid("healthyRetryPolicy.minDelayTarget must be at least 1"));
    }
    if min_delay > max_delay {
        return Err(invalid(
            "healthyRetryPolicy.minDelayTarget must be less than or equal to maxDelayTarget",
        ));
    }
    if no_delay + min_count + max_count > retries {
        return Err(invalid(
            "healthyRetryPolicy.numRetries must be greater than or equal to total of numMinDelayRetries, numNoDelayRetries and numMaxDelayRetries",
        ));
    }
    let backoff = match object.get("backoffFunction").map_or(Some("linear"), Value::as_str) {
        Some("linear") => Backoff::Linear,
        Some("arithmetic") => Backoff::Arithmetic,
        Some("geometric") => Backoff::Geometric,
        Some("exponential") => Backoff::Exponential,
        _ => return Err(invalid("healthyRetryPolicy.backoffFunction is not a known function")),
    };
    let policy = Retries {
        min_delay,
        max_delay,
        retries: retries as u32,
        no_delay: no_delay as u32,
        min_delay_retries: min_count as u32,
        max_delay_retries: max_count as u32,
        backoff,
    };
    let total: Duration = (0..policy.retries).filter_map(|retried| policy.pause(retried)).sum();
    if total > Duration::from_secs(3_600) {
        return Err(invalid(
            "healthyRetryPolicy: the total retry time must not be greater than 3600 seconds",
        ));
    }
    Ok(Some(policy))
}

fn throttle(value: Option<&Value>) -> Result<Option<u32>, SnsError> {
    let Some(rate) = value.and_then(|value| value.get("maxReceivesPerSecond")).filter(|v| !v.is_null())
    else {
        return Ok(None);
    };
    let rate = rate.as_u64().and_then(|rate| u32::try_from(rate).ok()).filter(|rate| *rate >= 1);
    rate.map(Some)
        .ok_or_else(|| invalid("throttlePolicy.maxReceivesPerSecond must be an integer of at least 1"))
}

fn content_type(value: Option<&Value>) -> Result<Option<String>, SnsError> {
    let Some(kind) = value.and_then(|value| value.get("headerContentType")).filter(|v| !v.is_null()) else {
        return Ok(None);
    };
    let allowed = ["text/", "application/", "multipart/", "image/", "audio/", "video/"];
    match kind.as_str() {
        Some(text)
            if allowed.iter().any(|start| text.starts_with(start))
                && text.bytes().all(|b| (32..127).contains(&b)) =>
        {
            Ok(Some(text.to_owned()))
        }
        _ => Err(invalid("requestPolicy.headerContentType is not a media type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(policy: &Retries, of: impl Iterator<Item = u32>) -> Vec<Option<u64>> {
        of.map(|retried| policy.pause(retried).map(|pause| pause.as_millis() as u64)).collect()
    }

    #[test]
    fn pauses_grow_phase_by_phase() {
        let http = pauses(&Retries::HTTP, 0..4);
        assert_eq!(http, [Some(20_000), Some(20_000), Some(20_000), None]);
        let managed = pauses(&Retries::MANAGED, [0, 2, 3, 4, 5, 14, 15, 100_014, 100_015].into_iter());
        let expected = [0, 0, 1_000, 1_000, 1_000, 20_000, 20_000, 20_000].map(Some);
        assert_eq!(managed[..8], expected);
        assert_eq!(managed[8], None);
        let linear = Retries { min_delay: 1, max_delay: 5, retries: 5, ..Retries::HTTP };
        assert_eq!(
            pauses(&linear, 0..6),
            [Some(1_000), Some(2_000), Some(3_000), Some(4_000), Some(5_000), None]
        );
    }

    #[test]
    fn policies_are_read_and_checked() {
        let own = |text: &str| {
            HttpPolicy::parse(text).map(|policy| policy.retries.retries).map_err(|e| e.to_string())
        };
        let cases = [
            (r#"{"healthyRetryPolicy":{"minDelayTarget":1,"maxDelayTarget":2,"numRetries":5}}"#, Ok(5)),
            (r#"{"throttlePolicy":{"maxReceivesPerSecond":7}}"#, Ok(3)),
            (
                r#"{"healthyRetryPolicy":{"minDelayTarget":9,"maxDelayTarget":2,"numRetries":5}}"#,
                Err("minDelayTarget"),
            ),
            (
                r#"{"healthyRetryPolicy":{"maxDelayTarget":2,"numRetries":5}}"#,
                Err("minDelayTarget must be specified"),
            ),
            (
                r#"{"healthyRetryPolicy":{"minDelayTarget":1,"maxDelayTarget":2,"numRetries":1,"numNoDelayRetries":2}}"#,
                Err("numRetries must be"),
            ),
            (
                r#"{"healthyRetryPolicy":{"minDelayTarget":3600,"maxDelayTarget":3600,"numRetries":2}}"#,
                Err("total retry time"),
            ),
            (r#"{"throttlePolicy":{"maxReceivesPerSecond":0}}"#, Err("maxReceivesPerSecond")),
            (r#"{"http":{}}"#, Err("unexpected field http")),
            ("[]", Err("failed to parse JSON.")),
        ];
        for (text, expected) in cases {
            match (own(text), expected) {
                (Ok(got), Ok(wanted)) => assert_eq!(got, wanted, "{text}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_subscriptions_policy_counts_unless_the_topic_forbids_it() {
        let own = r#"{"healthyRetryPolicy":{"minDelayTarget":1,"maxDelayTarget":2,"numRetries":9}}"#;
        let topic = |disable| {
            format!(
                r#"{{"http":{{"disableSubscriptionOverrides":{disable},"defaultHealthyRetryPolicy":{{"minDelayTarget":3,"maxDelayTarget":4,"numRetries":5}}}}}}"#
            )
        };
        let retries =
            |own: Option<&str>, topic: &str| HttpPolicy::effective(own, Some(topic)).retries.retries;
        assert_eq!(retries(Some(own), &topic(false)), 9);
        assert_eq!(retries(Some(own), &topic(true)), 5);
        assert_eq!(retries(None, &topic(false)), 5);
        assert_eq!(HttpPolicy::effective(None, None), HttpPolicy::default());
    }
}
