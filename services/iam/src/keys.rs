//! Every key that IAM writes. All are in `Space::Meta`, with tags that begin with `i`.
//!
//! Names are keys in lower case (`names::key`), because names differ by more than letter case. What belongs to a user, group or role is
//! keyed by its unique id, so that renaming one moves a single row.
//!
//! | Key                                  | Value                  | Ranged over by                                              |
//! |--------------------------------------|------------------------|-------------------------------------------------------------|
//! | `ig` account                         | generation (8 bytes)   | nobody: caches compare it                                   |
//! | `id` unique id                       | account, name          | nobody                                                      |
//! | `iu` account, name                   | user                   | `ListUsers`, authorization details, credential report       |
//! | `iG` account, name                   | group                  | `ListGroups`, authorization details                         |
//! | `ir` account, name                   | role                   | `ListRoles`, authorization details                          |
//! | `ii` account, name                   | instance profile       | `ListInstanceProfiles`                                      |
//! | `ij` role id, profile name           | empty                  | `ListInstanceProfilesForRole`, `DeleteRole`                 |
//! | `ip` account, name                   | managed policy         | `ListPolicies`, authorization details                       |
//! | `iv` account, name, number           | policy version         | `ListPolicyVersions`                                        |
//! | `in` principal id, policy name       | inline policy          | `List*Policies`, evaluation                                 |
//! | `ia` principal id, policy ARN        | when attached          | `ListAttached*Policies`, evaluation                         |
//! | `ib` account, policy ARN, use, id    | empty                  | `ListEntitiesForPolicy`, attachment counts                  |
//! | `im` group id, user id               | empty                  | `GetGroup`, `DeleteGroup`                                   |
//! | `iM` user id, group id               | empty                  | `ListGroupsForUser`, evaluation                             |
//! | `ik` access key id                   | access key             | nobody: each request's key is looked up here                |
//! | `iK` account, owner, access key id   | empty                  | `ListAccessKeys`                                            |
//! | `il` access key or role id           | last use               | nobody                                                      |
//! | `iL` user id                         | login profile          | nobody                                                      |
//! | `iA` alias                           | account                | nobody: aliases are unique among all accounts               |
//! | `iB` account                         | alias                  | nobody                                                      |
//! | `iw` account                         | password policy        | nobody                                                      |
//! | `if` account, serial number          | virtual MFA device     | `ListVirtualMFADevices`                                     |
//! | `iF` account, owner, serial number   | empty                  | `ListMFADevices`                                            |
//! | `io` account, URL                    | OIDC provider          | `ListOpenIDConnectProviders`                                |
//! | `is` account, name                   | SAML provider          | `ListSAMLProviders`                                         |
//! | `ic` account, name                   | server certificate     | `ListServerCertificates`                                    |
//! | `iC` user id, certificate id         | signing certificate    | `ListSigningCertificates`                                   |
//! | `iS` user id, key id                 | SSH public key         | `ListSSHPublicKeys`                                         |
//! | `ix` user id, credential id          | service credential     | `ListServiceSpecificCredentials`                            |
//! | `iR` account, number                 | part of a report       | `GetCredentialReport`                                       |
//! | `iD` account, task id                | deletion task          | nobody                                                      |
//! | `iJ` account, job id                 | last-accessed job      | nobody                                                      |
//! | `iP` account                         | preferences            | nobody                                                      |
//! | `ie` account                         | token issuer           | nobody                                                      |
//! | `iE` issuer's name                   | account                | nobody: its keys are published by name                      |
//! | `iz` principal id, service namespace | last access            | `GetServiceLastAccessedDetails`                             |

use pileus_core::{AccountId, Timestamp};
use pileus_store::{Reader, Space, Stored, Table, Txn};
use serde::{Deserialize, Serialize};

use crate::access_key::{AccessKeyRow, LastUse};
use crate::account::PreferencesRow;
use crate::error::IamError;
use crate::group::GroupRow;
use crate::instance_profile::ProfileRow;
use crate::issuer::{IssuerNameRow, IssuerRow};
use crate::last_accessed::JobRow;
use crate::login_profile::LoginRow;
use crate::mfa::DeviceRow;
use crate::oidc::OidcRow;
use crate::password_policy::PasswordPolicy;
use crate::policy::inline::InlineRow;
use crate::policy::{PolicyRow, VersionRow};
use crate::report::ReportRow;
use crate::role::RoleRow;
use crate::role::service_linked::DeletionRow;
use crate::saml::SamlRow;
use crate::server_certificate::CertificateRow;
use crate::service_credential::CredentialRow;
use crate::signing_certificate::SigningRow;
use crate::ssh_key::SshKeyRow;
use crate::user::UserRow;

/// Account, name in lower case.
pub type ByName = (AccountId, String);

pub const IDS: Table<(String,), Owner> = Table::new(Space::Meta, *b"id");
pub const USERS: Table<ByName, UserRow> = Table::new(Space::Meta, *b"iu");
pub const GROUPS: Table<ByName, GroupRow> = Table::new(Space::Meta, *b"iG");
pub const ROLES: Table<ByName, RoleRow> = Table::new(Space::Meta, *b"ir");
pub const PROFILES: Table<ByName, ProfileRow> = Table::new(Space::Meta, *b"ii");
pub const ROLE_PROFILES: Table<(String, String), Mark> = Table::new(Space::Meta, *b"ij");
pub const POLICIES: Table<ByName, PolicyRow> = Table::new(Space::Meta, *b"ip");
pub const VERSIONS: Table<(AccountId, String, u32), VersionRow> = Table::new(Space::Meta, *b"iv");
pub const INLINE: Table<(String, String), InlineRow> = Table::new(Space::Meta, *b"in");
pub const ATTACHED: Table<(String, String), Mark> = Table::new(Space::Meta, *b"ia");
/// The third part is `USE_PERMISSIONS` or `USE_BOUNDARY`.
pub const USERS_OF_POLICY: Table<(AccountId, String, u8, String), Mark> = Table::new(Space::Meta, *b"ib");
pub const MEMBERS: Table<(String, String), Mark> = Table::new(Space::Meta, *b"im");
pub const MEMBERSHIPS: Table<(String, String), Mark> = Table::new(Space::Meta, *b"iM");
pub const ACCESS_KEYS: Table<(String,), AccessKeyRow> = Table::new(Space::Meta, *b"ik");
/// The owner is a user's id, or `ROOT`.
pub const KEYS_OF: Table<(AccountId, String, String), Mark> = Table::new(Space::Meta, *b"iK");
pub const LAST_USE: Table<(String,), LastUse> = Table::new(Space::Meta, *b"il");
pub const LOGINS: Table<(String,), LoginRow> = Table::new(Space::Meta, *b"iL");
pub const ALIASES: Table<(String,), AliasRow> = Table::new(Space::Meta, *b"iA");
pub const ALIAS_OF: Table<(AccountId,), AliasRow> = Table::new(Space::Meta, *b"iB");
pub const PASSWORD_POLICIES: Table<(AccountId,), PasswordPolicy> = Table::new(Space::Meta, *b"iw");
pub const DEVICES: Table<ByName, DeviceRow> = Table::new(Space::Meta, *b"if");
/// The owner is a user's id, or `ROOT`.
pub const DEVICES_OF: Table<(AccountId, String, String), Mark> = Table::new(Space::Meta, *b"iF");
pub const OIDC: Table<ByName, OidcRow> = Table::new(Space::Meta, *b"io");
pub const SAML: Table<ByName, SamlRow> = Table::new(Space::Meta, *b"is");
pub const CERTIFICATES: Table<ByName, CertificateRow> = Table::new(Space::Meta, *b"ic");
pub const SIGNING: Table<(String, String), SigningRow> = Table::new(Space::Meta, *b"iC");
pub const SSH_KEYS: Table<(String, String), SshKeyRow> = Table::new(Space::Meta, *b"iS");
pub const CREDENTIALS: Table<(String, String), CredentialRow> = Table::new(Space::Meta, *b"ix");
pub const REPORTS: Table<(AccountId, u32), ReportRow> = Table::new(Space::Meta, *b"iR");
pub const DELETIONS: Table<ByName, DeletionRow> = Table::new(Space::Meta, *b"iD");
pub const JOBS: Table<ByName, JobRow> = Table::new(Space::Meta, *b"iJ");
pub const PREFERENCES: Table<(AccountId,), PreferencesRow> = Table::new(Space::Meta, *b"iP");
pub const ISSUERS: Table<(AccountId,), IssuerRow> = Table::new(Space::Meta, *b"ie");
pub const ISSUER_NAMES: Table<(String,), IssuerNameRow> = Table::new(Space::Meta, *b"iE");
pub const ACCESSED: Table<(String, String), LastUse> = Table::new(Space::Meta, *b"iz");

pub const USE_PERMISSIONS: u8 = 0;
pub const USE_BOUNDARY: u8 = 1;
/// Stands for the account's root user where others have a unique id.
pub const ROOT: &str = "root";

/// A row whose key says everything but when it was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mark {
    pub since: Timestamp,
}

impl Stored for Mark {}

/// Whose a unique id is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Owner {
    pub account: AccountId,
    /// Key of the name in `USERS`, `GROUPS` or `ROLES`: the id's prefix tells which.
    pub key: String,
}

impl Stored for Owner {}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AliasRow {
    pub account: AccountId,
    pub alias: String,
}

impl Stored for AliasRow {}

/// Makes every cached view of the account's identities stale, on all nodes. `token` is a random number: writing one needs no reading,
/// so changes in one account do not meet on this row.
pub fn renew_generation(txn: &Txn, account: AccountId, token: u64) {
    txn.put(Space::Meta, generation_key(account), token.to_be_bytes().to_vec());
}

/// Zero before the first change in the account.
pub async fn generation(reader: &impl Reader, account: AccountId) -> Result<u64, IamError> {
    let found = reader.read_key(Space::Meta, &generation_key(account)).await?;
    Ok(found.and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_be_bytes))
}

fn generation_key(account: AccountId) -> bytes::Bytes {
    pileus_store::KeyBuilder::new().raw(b"ig").key(&account).build()
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_tables_share_a_tag() {
        let source = include_str!("keys.rs");
        let mut seen = std::collections::HashSet::new();
        for line in source.lines().filter(|line| line.contains("Table::new(Space::Meta, *b\"")) {
            let tag = line.split("*b\"").nth(1).and_then(|rest| rest.get(..2)).unwrap_or_default();
            if tag.len() == 2 && !tag.contains('"') {
                assert!(seen.insert(tag.to_owned()), "{tag}");
                assert!(source.contains(&format!("//! | `{tag}` ")), "{tag} is not in the table above");
            }
        }
        assert!(seen.len() > 25, "{}", seen.len());
    }
}
