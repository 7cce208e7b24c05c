//! An authenticated principal.
//!
//! Source: IAM User Guide, "IAM identifiers" and "AWS STS condition context keys"; STS API Reference, "GetCallerIdentity".

use std::sync::Arc;

use pileus_core::AccountId;

use crate::session::Session;

/// Who makes a request. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller {
    pub kind: CallerKind,
    /// The account that the principal belongs to; for a service or an anonymous caller, the account acted in.
    pub account: AccountId,
    /// `arn:aws:iam::123456789012:user/ann`, `arn:aws:sts::123456789012:assumed-role/app/session`, ..
    pub arn: Arc<str>,
    /// What `GetCallerIdentity` calls `UserId`.
    pub user_id: Arc<str>,
    /// The key that signed the request; empty for internal calls and anonymous callers.
    pub access_key_id: Arc<str>,
    /// Set when temporary credentials were used.
    pub session: Option<Arc<Session>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerKind {
    Root,
    User {
        path: Arc<str>,
        name: Arc<str>,
    },
    AssumedRole {
        role_arn: Arc<str>,
        role_name: Arc<str>,
        role_id: Arc<str>,
        session_name: Arc<str>,
    },
    FederatedUser {
        name: Arc<str>,
    },
    /// A service principal such as `lambda.amazonaws.com`, in a call from one service to another.
    Service {
        principal: &'static str,
    },
    Anonymous,
}

impl Caller {
    pub fn root(account: AccountId) -> Caller {
        Caller {
            kind: CallerKind::Root,
            account,
            arn: format!("arn:aws:iam::{account}:root").into(),
            user_id: account.as_str().into(),
            access_key_id: "".into(),
            session: None,
        }
    }

    /// # Arguments
    /// `path` begins and ends with `/`.
    pub fn user(account: AccountId, path: &str, name: &str, id: &str) -> Caller {
        Caller {
            kind: CallerKind::User { path: path.into(), name: name.into() },
            arn: format!("arn:aws:iam::{account}:user{path}{name}").into(),
            user_id: id.into(),
            ..Caller::root(account)
        }
    }

    pub fn assumed_role(
        account: AccountId,
        role_arn: &str,
        role_name: &str,
        role_id: &str,
        session_name: &str,
    ) -> Caller {
        Caller {
            kind: CallerKind::AssumedRole {
                role_arn: role_arn.into(),
                role_name: role_name.into(),
                role_id: role_id.into(),
                session_name: session_name.into(),
            },
            arn: format!("arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}").into(),
            user_id: format!("{role_id}:{session_name}").into(),
            ..Caller::root(account)
        }
    }

    pub fn federated_user(account: AccountId, name: &str) -> Caller {
        Caller {
            kind: CallerKind::FederatedUser { name: name.into() },
            arn: format!("arn:aws:sts::{account}:federated-user/{name}").into(),
            user_id: format!("{account}:{name}").into(),
            ..Caller::root(account)
        }
    }

    /// A service that acts in `account`.
    pub fn service(principal: &'static str, account: AccountId) -> Caller {
        Caller {
            kind: CallerKind::Service { principal },
            arn: principal.into(),
            user_id: principal.into(),
            ..Caller::root(account)
        }
    }

    pub fn anonymous(account: AccountId) -> Caller {
        Caller {
            kind: CallerKind::Anonymous,
            arn: "anonymous".into(),
            user_id: "anonymous".into(),
            ..Caller::root(account)
        }
    }

    pub fn is_root(&self) -> bool {
        self.kind == CallerKind::Root
    }

    pub fn with_access_key(mut self, access_key_id: &str) -> Caller {
        self.access_key_id = access_key_id.into();
        self
    }
}
