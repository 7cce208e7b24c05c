//! Every key that SNS writes, and who ranges over it.
//!
//! A topic that is made anew under an old name has another id, and all that is kept of messages is kept under the id.
//!
//! | Space | Key                                          | Value             | Who ranges over it                          |
//! |-------|----------------------------------------------|-------------------|---------------------------------------------|
//! | meta  | `Nt` account region topic                    | `topic::Record`   | `ListTopics`                                |
//! | meta  | `Ns` account region topic subscription       | `subscription::Record` | `ListSubscriptionsByTopic`; deliveries |
//! | meta  | `No` owner region topic's ARN subscription   | empty             | `ListSubscriptions`                         |
//! | meta  | `Ne` topic-id protocol endpoint              | subscription      | nobody: one subscription for each endpoint  |
//! | meta  | `Np` account region platform name            | `Application`     | `ListPlatformApplications`                  |
//! | meta  | `Nd` account region application endpoint     | `Endpoint`        | `ListEndpointsByPlatformApplication`        |
//! | meta  | `Nk` account region application token        | endpoint          | nobody: one endpoint for each token         |
//! | meta  | `Nm` account region                          | `sms::Settings`   | nobody                                      |
//! | meta  | `Nn` account region number                   | `sms::Number`     | `ListSMSSandboxPhoneNumbers`                |
//! | meta  | `Nx` account region number                   | `sms::OptedOut`   | `ListPhoneNumbersOptedOut`                  |
//! | index | `Nh` topic-id scope id                       | `Duplicate`       | nobody: what a FIFO topic knows for five minutes |
//! | index | `Ng` topic-id group                          | `Group`           | nobody: the last number of a group          |
//! | queue | `Nf` topic-id group sequence                 | `Message`         | deliveries of a FIFO topic, group by group  |
//! | log   | `Na` topic-id at sequence                    | `Message`         | replays; the archive's sweep                |
//! | queue | `00 N` .., `00 n` ..                         | `WORK`, `DELIVERIES` | what is to be done: see `work.rs`        |
//! | sys   | `sns/signing`                                | sealed key        | nobody                                      |

use pileus_core::{AccountId, Region};
use pileus_store::due::Due;
use pileus_store::{Space, Stored, Table};
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::{mobile, sms, subscription, topic};

pub type TopicKey = (AccountId, Region, String);
pub type SubscriptionKey = (AccountId, Region, String, String);

pub const TOPICS: Table<TopicKey, topic::Record> = Table::new(Space::Meta, *b"Nt");
pub const SUBSCRIPTIONS: Table<SubscriptionKey, subscription::Record> = Table::new(Space::Meta, *b"Ns");
pub const OWNED: Table<(AccountId, Region, String, String), Nothing> = Table::new(Space::Meta, *b"No");
pub const ENDPOINTS: Table<(u64, String, String), Named> = Table::new(Space::Meta, *b"Ne");
pub const APPLICATIONS: Table<(AccountId, Region, String, String), mobile::Application> =
    Table::new(Space::Meta, *b"Np");
pub const DEVICES: Table<(AccountId, Region, String, String), mobile::Endpoint> =
    Table::new(Space::Meta, *b"Nd");
pub const DEVICE_TOKENS: Table<(AccountId, Region, String, String), Named> = Table::new(Space::Meta, *b"Nk");
pub const SMS: Table<(AccountId, Region), sms::Settings> = Table::new(Space::Meta, *b"Nm");
pub const NUMBERS: Table<(AccountId, Region, String), sms::Number> = Table::new(Space::Meta, *b"Nn");
pub const OPTED_OUT: Table<(AccountId, Region, String), sms::OptedOut> = Table::new(Space::Meta, *b"Nx");
pub const DUPLICATES: Table<(u64, String, String), Duplicate> = Table::new(Space::Index, *b"Nh");
pub const GROUPS: Table<(u64, String), Group> = Table::new(Space::Index, *b"Ng");
pub const FIFO: Table<(u64, String, u64), Message> = Table::new(Space::Queue, *b"Nf");
pub const ARCHIVE: Table<(u64, u64, u64), Message> = Table::new(Space::Log, *b"Na");

pub const WORK: Due = Due::new(Space::Queue, [0, b'N'], "sns");
pub const DELIVERIES: Due = Due::new(Space::Queue, [0, b'n'], "sns-deliveries");

/// Row of the store's `sys` space that holds what messages are signed with.
pub const SIGNING: &[u8] = b"sns/signing";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Nothing {}

impl Stored for Nothing {}

/// The id of what another key stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Named {
    pub id: String,
}

impl Stored for Named {}

/// What a FIFO topic was sent, for five minutes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Duplicate {
    pub message_id: String,
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub until: u64,
}

impl Stored for Duplicate {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    pub last_sequence: u64,
}

impl Stored for Group {}
