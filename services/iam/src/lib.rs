//! AWS Identity and Access Management: its API, and the identities that the pipeline asks for.
//!
//! | File                     | Holds                                                                              |
//! |--------------------------|------------------------------------------------------------------------------------|
//! | `user.rs`                | `CreateUser`, `GetUser`, `ListUsers`, `UpdateUser`, `DeleteUser`, tags of users     |
//! | `group.rs`               | `CreateGroup` and so on, `AddUserToGroup`, `RemoveUserFromGroup`                    |
//! | `role.rs`                | `CreateRole` and so on, `UpdateAssumeRolePolicy`, tags of roles                     |
//! | `role/service_linked.rs` | `CreateServiceLinkedRole`, `DeleteServiceLinkedRole` and its task                    |
//! | `instance_profile.rs`    | instance profiles and the role in one                                              |
//! | `policy.rs`              | managed policies; `policy/version.rs`, `policy/attach.rs`, `policy/inline.rs`        |
//! | `policy/aws.rs`          | the policies that AWS manages                                                      |
//! | `boundary.rs`            | permissions boundaries                                                             |
//! | `access_key.rs`          | access keys and their last use                                                     |
//! | `login_profile.rs`       | console passwords, `ChangePassword`                                                |
//! | `password_policy.rs`     | the account's password policy: mostly pure                                         |
//! | `account.rs`             | account alias, `GetAccountSummary`                                                 |
//! | `details.rs`             | `GetAccountAuthorizationDetails`                                                   |
//! | `report.rs`              | the credential report                                                              |
//! | `simulate.rs`            | the policy simulators and `GetContextKeysFor*`                                      |
//! | `last_accessed.rs`       | `ListPoliciesGrantingServiceAccess`, `GenerateServiceLastAccessedDetails`            |
//! | `issuer.rs`              | `EnableOutboundWebIdentityFederation` and so on: the keys that sign tokens for others |
//! | `oidc.rs`, `saml.rs`     | identity providers                                                                 |
//! | `server_certificate.rs`, `signing_certificate.rs`, `ssh_key.rs`, `service_credential.rs` | what they say         |
//! | `mfa.rs`                 | virtual MFA devices; `mfa/totp.rs` and `mfa/qr.rs` are pure                          |
//! | `identities.rs`          | `IamIdentities`: keys, policies and roles for the pipeline, cached                   |
//! | `effective.rs`           | every policy that gives a principal its permissions                                 |
//! | `holder.rs`              | what policies are attached to                                                      |
//! | `operations.rs`          | every operation: its handler and what it acts on                                    |
//! | `access.rs`              | ARNs and condition keys for authorisation                                           |
//! | `bootstrap.rs`           | the first administrator of a cloud                                                 |
//! | `names.rs`, `tags.rs`, `page.rs`, `document.rs`, `x509.rs` | rules, pure for the most part                     |
//! | `keys.rs`, `error.rs`, `change.rs` | every key we write; every error; how we write                              |
//!
//! IAM is global: an account's identities are the same in every region. Where we differ from AWS, and why:
//! `docs/services/iam.md`.

mod access;
mod access_key;
mod account;
mod bootstrap;
mod boundary;
mod change;
mod details;
mod document;
mod effective;
mod error;
mod group;
mod holder;
mod identities;
mod instance_profile;
mod issuer;
mod keys;
mod last_accessed;
mod login_profile;
mod mfa;
mod names;
mod oidc;
mod operations;
mod page;
mod password_policy;
mod policy;
mod report;
mod role;
mod saml;
mod server_certificate;
mod service_credential;
mod signing_certificate;
mod simulate;
mod ssh_key;
mod tags;
mod user;
mod x509;

pub use bootstrap::{Credentials, create_administrator};
pub use identities::IamIdentities;
pub use operations::service;
