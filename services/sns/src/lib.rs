//! Amazon SNS.
//!
//! | File                             | Holds                                                                     |
//! |----------------------------------|---------------------------------------------------------------------------|
//! | `topic.rs`                       | `CreateTopic`, `DeleteTopic`, `ListTopics`                                |
//! | `topic/settings.rs`              | `GetTopicAttributes`, `SetTopicAttributes`, data protection policies      |
//! | `topic/attributes.rs`            | attributes of a topic: pure                                               |
//! | `topic/delivery_policy.rs`       | how often a delivery is tried again: pure                                 |
//! | `topic/permission.rs`            | `AddPermission`, `RemovePermission`                                       |
//! | `topic/tags.rs`                  | `TagResource`, `UntagResource`, `ListTagsForResource`                     |
//! | `subscription.rs`                | `Subscribe`                                                               |
//! | `subscription/confirm.rs`        | `ConfirmSubscription`, `Unsubscribe`                                      |
//! | `subscription/list.rs`           | `ListSubscriptions`, `ListSubscriptionsByTopic`                           |
//! | `subscription/attributes.rs`     | `GetSubscriptionAttributes`, `SetSubscriptionAttributes`                  |
//! | `subscription/endpoint.rs`       | protocols and their endpoints: pure                                       |
//! | `filter.rs`, `filter/parse.rs`   | filter policies: pure                                                     |
//! | `publish.rs`                     | `Publish`, `PublishBatch`                                                 |
//! | `message.rs`                     | a message and the rules that it keeps: pure                               |
//! | `envelope.rs`                    | what subscribers are sent: pure                                           |
//! | `signature.rs`                   | signatures, and the certificate that proves them                          |
//! | `work.rs`                        | what is to be done, as due rows, and who does it                          |
//! | `deliver.rs`, `deliver/*.rs`     | from a message to its subscribers                                         |
//! | `replay.rs`                      | archives, brought to a subscriber again                                   |
//! | `mobile.rs`                      | platform applications and their endpoints                                 |
//! | `sms.rs`                         | text messages                                                             |
//! | `access.rs`                      | what a caller must be allowed to do                                       |
//! | `state.rs`                       | what a node keeps in memory                                               |
//! | `page.rs`, `keys.rs`, `error.rs` | pages; every key we write; every error a caller can see                   |
//!
//! Where we differ from AWS, and why: `docs/services/sns.md`.

mod access;
mod deliver;
mod envelope;
mod error;
mod filter;
mod keys;
mod message;
mod mobile;
mod page;
mod publish;
mod replay;
mod signature;
mod sms;
mod state;
mod subscription;
mod topic;
mod work;

use pileus_api_sns as api;
use pileus_platform::{Access, Service};

use crate::access::{named, of_subscription, owned, topic as on_topic};
use crate::topic::{permission, settings, tags};

pub use crate::error::SnsError;
pub use crate::sms::opt_out;

pub(crate) const PRINCIPAL: &str = "sns.amazonaws.com";

/// SNS as this node answers it.
pub fn service() -> Service {
    let service = Service::new(api::SERVICE)
        .state(state::Sns::default())
        .resource_policy(topic::policy)
        .data_plane(|_| false, signature::serve)
        .claims(|_, _, path| path.starts_with(signature::PATH_START))
        .worker("fan-out", work::run)
        .worker("deliveries", work::run_deliveries);
    texts(mobiles(subscriptions(topics(service))))
}

fn topics(service: Service) -> Service {
    service
        .op(api::CREATE_TOPIC, topic::create_topic)
        .access(api::CREATE_TOPIC, |cx, input| {
            let has_tags = input.tags.as_ref().is_some_and(|tags| !tags.is_empty());
            access::create(cx, input.name.as_deref(), has_tags)
        })
        .op(api::DELETE_TOPIC, topic::delete_topic)
        .access(api::DELETE_TOPIC, |_, input| on_topic("SNS:DeleteTopic", input.topic_arn.as_deref()))
        .op(api::LIST_TOPICS, topic::list_topics)
        .access(api::LIST_TOPICS, |_, _| Ok(vec![Access::any("SNS:ListTopics")]))
        .op(api::GET_TOPIC_ATTRIBUTES, settings::get_topic_attributes)
        .access(api::GET_TOPIC_ATTRIBUTES, |_, input| {
            on_topic("SNS:GetTopicAttributes", input.topic_arn.as_deref())
        })
        .op(api::SET_TOPIC_ATTRIBUTES, settings::set_topic_attributes)
        .access(api::SET_TOPIC_ATTRIBUTES, |_, input| {
            on_topic("SNS:SetTopicAttributes", input.topic_arn.as_deref())
        })
        .op(api::GET_DATA_PROTECTION_POLICY, settings::get_data_protection_policy)
        .access(api::GET_DATA_PROTECTION_POLICY, |cx, input| {
            owned(cx, "SNS:GetDataProtectionPolicy", input.resource_arn.as_deref())
        })
        .op(api::PUT_DATA_PROTECTION_POLICY, settings::put_data_protection_policy)
        .access(api::PUT_DATA_PROTECTION_POLICY, |cx, input| {
            owned(cx, "SNS:PutDataProtectionPolicy", input.resource_arn.as_deref())
        })
        .op(api::ADD_PERMISSION, permission::add_permission)
        .access(api::ADD_PERMISSION, |_, input| on_topic("SNS:AddPermission", input.topic_arn.as_deref()))
        .op(api::REMOVE_PERMISSION, permission::remove_permission)
        .access(api::REMOVE_PERMISSION, |_, input| {
            on_topic("SNS:RemovePermission", input.topic_arn.as_deref())
        })
        .op(api::TAG_RESOURCE, tags::tag_resource)
        .access(api::TAG_RESOURCE, |cx, input| owned(cx, "SNS:TagResource", input.resource_arn.as_deref()))
        .op(api::UNTAG_RESOURCE, tags::untag_resource)
        .access(api::UNTAG_RESOURCE, |cx, input| {
            owned(cx, "SNS:UntagResource", input.resource_arn.as_deref())
        })
        .op(api::LIST_TAGS_FOR_RESOURCE, tags::list_tags_for_resource)
        .access(api::LIST_TAGS_FOR_RESOURCE, |cx, input| {
            owned(cx, "SNS:ListTagsForResource", input.resource_arn.as_deref())
        })
        .op(api::PUBLISH, publish::publish)
        .access(api::PUBLISH, |_, input| {
            let (topic, target) = (input.topic_arn.as_deref(), input.target_arn.as_deref());
            access::publish(topic, target, input.phone_number.as_deref())
        })
        .op(api::PUBLISH_BATCH, publish::publish_batch)
        .access(api::PUBLISH_BATCH, |_, input| on_topic("SNS:Publish", input.topic_arn.as_deref()))
}

fn subscriptions(service: Service) -> Service {
    service
        .op(api::SUBSCRIBE, subscription::subscribe)
        .access(api::SUBSCRIBE, |_, input| {
            let (protocol, endpoint) = (input.protocol.as_deref(), input.endpoint.as_deref());
            access::subscribe(input.topic_arn.as_deref(), protocol, endpoint)
        })
        // Both are reached by links too: what a link may do, the operations say themselves.
        .op(api::CONFIRM_SUBSCRIPTION, subscription::confirm_subscription)
        .access(api::CONFIRM_SUBSCRIPTION, |cx, input| match access::is_by_link(cx) {
            true => Ok(Vec::new()),
            false => on_topic("SNS:ConfirmSubscription", input.topic_arn.as_deref()),
        })
        .op(api::UNSUBSCRIBE, subscription::unsubscribe)
        .access(api::UNSUBSCRIBE, |cx, input| match access::is_by_link(cx) {
            true => Ok(Vec::new()),
            false => {
                subscription::parse_arn(input.subscription_arn.as_deref())?;
                Ok(vec![Access::any("SNS:Unsubscribe")])
            }
        })
        .op(api::LIST_SUBSCRIPTIONS, subscription::list_subscriptions)
        .access(api::LIST_SUBSCRIPTIONS, |_, _| Ok(vec![Access::any("SNS:ListSubscriptions")]))
        .op(api::LIST_SUBSCRIPTIONS_BY_TOPIC, subscription::list_subscriptions_by_topic)
        .access(api::LIST_SUBSCRIPTIONS_BY_TOPIC, |_, input| {
            on_topic("SNS:ListSubscriptionsByTopic", input.topic_arn.as_deref())
        })
        .op(api::GET_SUBSCRIPTION_ATTRIBUTES, subscription::attributes::get_subscription_attributes)
        .access(api::GET_SUBSCRIPTION_ATTRIBUTES, |_, input| {
            of_subscription("SNS:GetSubscriptionAttributes", input.subscription_arn.as_deref())
        })
        .op(api::SET_SUBSCRIPTION_ATTRIBUTES, subscription::attributes::set_subscription_attributes)
        .access(api::SET_SUBSCRIPTION_ATTRIBUTES, |_, input| {
            of_subscription("SNS:SetSubscriptionAttributes", input.subscription_arn.as_deref())
        })
}

fn mobiles(service: Service) -> Service {
    service
        .op(api::CREATE_PLATFORM_APPLICATION, mobile::create_platform_application)
        .access(api::CREATE_PLATFORM_APPLICATION, |_, _| {
            Ok(vec![Access::any("SNS:CreatePlatformApplication")])
        })
        .op(api::DELETE_PLATFORM_APPLICATION, mobile::delete_platform_application)
        .access(api::DELETE_PLATFORM_APPLICATION, |_, input| {
            named("SNS:DeletePlatformApplication", input.platform_application_arn.as_deref())
        })
        .op(api::GET_PLATFORM_APPLICATION_ATTRIBUTES, mobile::get_platform_application_attributes)
        .access(api::GET_PLATFORM_APPLICATION_ATTRIBUTES, |_, input| {
            named("SNS:GetPlatformApplicationAttributes", input.platform_application_arn.as_deref())
        })
        .op(api::SET_PLATFORM_APPLICATION_ATTRIBUTES, mobile::set_platform_application_attributes)
        .access(api::SET_PLATFORM_APPLICATION_ATTRIBUTES, |_, input| {
            named("SNS:SetPlatformApplicationAttributes", input.platform_application_arn.as_deref())
        })
        .op(api::LIST_PLATFORM_APPLICATIONS, mobile::list_platform_applications)
        .access(api::LIST_PLATFORM_APPLICATIONS, |_, _| Ok(vec![Access::any("SNS:ListPlatformApplications")]))
        .op(api::CREATE_PLATFORM_ENDPOINT, mobile::create_platform_endpoint)
        .access(api::CREATE_PLATFORM_ENDPOINT, |_, input| {
            named("SNS:CreatePlatformEndpoint", input.platform_application_arn.as_deref())
        })
        .op(api::DELETE_ENDPOINT, mobile::delete_endpoint)
        .access(api::DELETE_ENDPOINT, |_, input| named("SNS:DeleteEndpoint", input.endpoint_arn.as_deref()))
        .op(api::GET_ENDPOINT_ATTRIBUTES, mobile::get_endpoint_attributes)
        .access(api::GET_ENDPOINT_ATTRIBUTES, |_, input| {
            named("SNS:GetEndpointAttributes", input.endpoint_arn.as_deref())
        })
        .op(api::SET_ENDPOINT_ATTRIBUTES, mobile::set_endpoint_attributes)
        .access(api::SET_ENDPOINT_ATTRIBUTES, |_, input| {
            named("SNS:SetEndpointAttributes", input.endpoint_arn.as_deref())
        })
        .op(api::LIST_ENDPOINTS_BY_PLATFORM_APPLICATION, mobile::list_endpoints_by_platform_application)
        .access(api::LIST_ENDPOINTS_BY_PLATFORM_APPLICATION, |_, input| {
            named("SNS:ListEndpointsByPlatformApplication", input.platform_application_arn.as_deref())
        })
}

fn texts(service: Service) -> Service {
    service
        .op(api::SET_SMS_ATTRIBUTES, sms::set_sms_attributes)
        .access(api::SET_SMS_ATTRIBUTES, |_, _| Ok(vec![Access::any("SNS:SetSMSAttributes")]))
        .op(api::GET_SMS_ATTRIBUTES, sms::get_sms_attributes)
        .access(api::GET_SMS_ATTRIBUTES, |_, _| Ok(vec![Access::any("SNS:GetSMSAttributes")]))
        .op(api::CHECK_IF_PHONE_NUMBER_IS_OPTED_OUT, sms::check_if_phone_number_is_opted_out)
        .access(api::CHECK_IF_PHONE_NUMBER_IS_OPTED_OUT, |_, _| {
            Ok(vec![Access::any("SNS:CheckIfPhoneNumberIsOptedOut")])
        })
        .op(api::LIST_PHONE_NUMBERS_OPTED_OUT, sms::list_phone_numbers_opted_out)
        .access(api::LIST_PHONE_NUMBERS_OPTED_OUT, |_, _| {
            Ok(vec![Access::any("SNS:ListPhoneNumbersOptedOut")])
        })
        .op(api::OPT_IN_PHONE_NUMBER, sms::opt_in_phone_number)
        .access(api::OPT_IN_PHONE_NUMBER, |_, _| Ok(vec![Access::any("SNS:OptInPhoneNumber")]))
        .op(api::GET_SMS_SANDBOX_ACCOUNT_STATUS, sms::get_sms_sandbox_account_status)
        .access(api::GET_SMS_SANDBOX_ACCOUNT_STATUS, |_, _| {
            Ok(vec![Access::any("SNS:GetSMSSandboxAccountStatus")])
        })
        .op(api::CREATE_SMS_SANDBOX_PHONE_NUMBER, sms::create_sms_sandbox_phone_number)
        .access(api::CREATE_SMS_SANDBOX_PHONE_NUMBER, |_, _| {
            Ok(vec![Access::any("SNS:CreateSMSSandboxPhoneNumber")])
        })
        .op(api::VERIFY_SMS_SANDBOX_PHONE_NUMBER, sms::verify_sms_sandbox_phone_number)
        .access(api::VERIFY_SMS_SANDBOX_PHONE_NUMBER, |_, _| {
            Ok(vec![Access::any("SNS:VerifySMSSandboxPhoneNumber")])
        })
        .op(api::DELETE_SMS_SANDBOX_PHONE_NUMBER, sms::delete_sms_sandbox_phone_number)
        .access(api::DELETE_SMS_SANDBOX_PHONE_NUMBER, |_, _| {
            Ok(vec![Access::any("SNS:DeleteSMSSandboxPhoneNumber")])
        })
        .op(api::LIST_SMS_SANDBOX_PHONE_NUMBERS, sms::list_sms_sandbox_phone_numbers)
        .access(api::LIST_SMS_SANDBOX_PHONE_NUMBERS, |_, _| {
            Ok(vec![Access::any("SNS:ListSMSSandboxPhoneNumbers")])
        })
        .op(api::LIST_ORIGINATION_NUMBERS, sms::list_origination_numbers)
        .access(api::LIST_ORIGINATION_NUMBERS, |_, _| Ok(vec![Access::any("SNS:ListOriginationNumbers")]))
}
