//! Who asks, and whether a `Principal` element means them.
//!
//! Source: IAM User Guide, "AWS JSON policy elements: Principal", "AWS JSON policy elements: NotPrincipal", "IAM identifiers".

use pileus_core::AccountId;

use crate::Context;
use crate::matching::split_arn;

/// The one who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    kind: PrincipalKind,
    account: Option<AccountId>,
    arn: String,
    /// The role of a session, or the user of a federated user session.
    source_arn: Option<String>,
    unique_id: Option<String>,
    canonical_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind {
    /// The account's root user.
    Root,
    User,
    /// A role itself: as a simulation names it. Requests come from sessions.
    Role,
    RoleSession,
    /// A session from `GetFederationToken`.
    FederatedUser,
    /// An identity provider's identity, which may only assume roles.
    Federated,
    /// An AWS service, such as `sns.amazonaws.com`.
    Service,
    Anonymous,
}

impl Principal {
    pub fn root(account: AccountId) -> Principal {
        Principal::new(PrincipalKind::Root, Some(account), format!("arn:aws:iam::{account}:root"))
    }

    /// `arn` with its path, as in `arn:aws:iam::123456789012:user/team/ana`.
    pub fn user(account: AccountId, arn: impl Into<String>) -> Principal {
        Principal::new(PrincipalKind::User, Some(account), arn.into())
    }

    /// A session of a role: `session_arn` is `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`, `role_arn` has the role's path.
    pub fn role_session(
        account: AccountId,
        session_arn: impl Into<String>,
        role_arn: impl Into<String>,
    ) -> Principal {
        let mut principal = Principal::new(PrincipalKind::RoleSession, Some(account), session_arn.into());
        principal.source_arn = Some(role_arn.into());
        principal
    }

    /// A session from `GetFederationToken`, called by the user (or root) `user_arn`.
    pub fn federated_user(
        account: AccountId,
        session_arn: impl Into<String>,
        user_arn: impl Into<String>,
    ) -> Principal {
        let mut principal = Principal::new(PrincipalKind::FederatedUser, Some(account), session_arn.into());
        principal.source_arn = Some(user_arn.into());
        principal
    }

    /// An identity that `provider` vouches for: a provider's ARN, or a host such as `cognito-identity.amazonaws.com`.
    pub fn federated(provider: impl Into<String>) -> Principal {
        Principal::new(PrincipalKind::Federated, None, provider.into())
    }

    pub fn service(name: impl Into<String>) -> Principal {
        Principal::new(PrincipalKind::Service, None, name.into())
    }

    pub fn anonymous() -> Principal {
        Principal::new(PrincipalKind::Anonymous, None, String::new())
    }

    /// Reads an IAM or STS principal's ARN: root, user, role, role session, federated user or identity provider. A session's role is
    /// then known by name only. `None` when it is something else.
    pub fn from_arn(arn: &str) -> Option<Principal> {
        let [_, service, _, account, resource] = split_arn(arn)?;
        let account = AccountId::parse(account)?;
        let kind = match (service, resource.split('/').next()?) {
            ("iam", "root") => PrincipalKind::Root,
            ("iam", "user") => PrincipalKind::User,
            ("iam", "role") => PrincipalKind::Role,
            ("iam", "saml-provider" | "oidc-provider") => return Some(Principal::federated(arn)),
            ("sts", "assumed-role") => PrincipalKind::RoleSession,
            ("sts", "federated-user") => PrincipalKind::FederatedUser,
            _ => return None,
        };
        Some(Principal::new(kind, Some(account), arn.to_owned()))
    }

    /// Names the principal's unique id (`AIDA...`, `AROA...`), which policies may name too.
    pub fn with_unique_id(mut self, id: impl Into<String>) -> Principal {
        self.unique_id = Some(id.into());
        self
    }

    /// Names the canonical user id of the principal's account, which bucket policies may name.
    pub fn with_canonical_id(mut self, id: impl Into<String>) -> Principal {
        self.canonical_id = Some(id.into());
        self
    }

    fn new(kind: PrincipalKind, account: Option<AccountId>, arn: String) -> Principal {
        Principal { kind, account, arn, source_arn: None, unique_id: None, canonical_id: None }
    }

    pub fn kind(&self) -> PrincipalKind {
        self.kind
    }

    /// The account that the principal belongs to; none for services, identity providers and the anonymous.
    pub fn account(&self) -> Option<AccountId> {
        self.account
    }

    /// The ARN, the service's or provider's name, or nothing for the anonymous.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// What `aws:PrincipalArn` holds: a session's role rather than the session.
    pub fn identity_arn(&self) -> &str {
        match self.kind {
            PrincipalKind::RoleSession => self.source_arn.as_deref().unwrap_or(&self.arn),
            _ => &self.arn,
        }
    }

    /// Whether this is a role that a service made for itself, or a session of one: organisation policies do not reach it.
    ///
    /// Source: AWS Organizations User Guide, "Service control policies (SCPs)", "Resource control policies (RCPs)".
    pub fn is_service_linked(&self) -> bool {
        let role = matches!(self.kind, PrincipalKind::Role | PrincipalKind::RoleSession);
        role && split_arn(self.identity_arn())
            .is_some_and(|parts| parts[4].starts_with("role/aws-service-role/"))
    }

    /// Writes the condition keys that follow from the principal alone.
    ///
    /// Source: IAM User Guide, "AWS global condition context keys", "Properties of the principal".
    pub fn describe(&self, context: &mut Context) {
        let kind = match self.kind {
            PrincipalKind::Root => "Account",
            PrincipalKind::User => "User",
            PrincipalKind::Role | PrincipalKind::RoleSession => "AssumedRole",
            PrincipalKind::FederatedUser => "FederatedUser",
            PrincipalKind::Federated | PrincipalKind::Service | PrincipalKind::Anonymous => "Anonymous",
        };
        context.insert("aws:PrincipalType", kind);
        context.insert("aws:PrincipalIsAWSService", (self.kind == PrincipalKind::Service).to_string());
        if let Some(account) = self.account {
            context.insert("aws:PrincipalAccount", account.as_str());
            context.insert("aws:PrincipalArn", self.identity_arn());
        }
        if self.kind == PrincipalKind::Service {
            context.insert("aws:PrincipalServiceName", self.arn.as_str());
        }
        if self.kind == PrincipalKind::User {
            let name = self.arn.rsplit('/').next().unwrap_or_default();
            context.insert("aws:username", name);
        }
    }
}

/// How closely a policy names a principal. Greater is closer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Closeness {
    /// By its account: its own policies must allow too.
    Account,
    /// By its role, or by the user who federated: boundaries and session policies still limit.
    Source,
    /// By itself, or everyone.
    Itself,
}

/// One entry of a `Principal` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Everyone,
    Account(AccountId),
    /// A user, role, session or federated user.
    Arn(Box<str>),
    UniqueId(Box<str>),
    Service(Box<str>),
    Federated(Box<str>),
    CanonicalUser(Box<str>),
    /// A text that names nobody.
    Nobody,
}

impl Named {
    pub(crate) fn aws(text: &str) -> Named {
        if text == "*" {
            return Named::Everyone;
        }
        if let Some(account) = AccountId::parse(text) {
            return Named::Account(account);
        }
        match split_arn(text) {
            Some([_, "iam", _, account, "root"]) => {
                AccountId::parse(account).map_or(Named::Nobody, Named::Account)
            }
            Some([_, "iam" | "sts", ..]) => Named::Arn(text.into()),
            Some(_) => Named::Nobody,
            None => Named::UniqueId(text.into()),
        }
    }

    fn closeness(&self, principal: &Principal) -> Option<Closeness> {
        use PrincipalKind::{Federated, RoleSession, Service};
        let itself = |is: bool| is.then_some(Closeness::Itself);
        match self {
            Named::Everyone => Some(Closeness::Itself),
            Named::Account(account) => (principal.account == Some(*account)).then_some(Closeness::Account),
            Named::Arn(arn) if **arn == *principal.arn => itself(principal.account.is_some()).map(|itself| {
                // A role named by its ARN is limited like a session of it.
                if principal.kind == PrincipalKind::Role { Closeness::Source } else { itself }
            }),
            Named::Arn(arn) => {
                let is_source = match &principal.source_arn {
                    Some(source) => **source == **arn,
                    None => principal.kind == RoleSession && is_role_of(arn, &principal.arn),
                };
                is_source.then_some(Closeness::Source)
            }
            Named::UniqueId(id) => {
                let is = principal.unique_id.as_deref() == Some(id);
                let role = matches!(principal.kind, PrincipalKind::Role | RoleSession);
                is.then_some(if role { Closeness::Source } else { Closeness::Itself })
            }
            Named::Service(name) => itself(principal.kind == Service && **name == *principal.arn),
            Named::Federated(name) => itself(principal.kind == Federated && **name == *principal.arn),
            Named::CanonicalUser(id) => {
                (principal.canonical_id.as_deref() == Some(id)).then_some(Closeness::Account)
            }
            Named::Nobody => None,
        }
    }
}

/// Whether `session` (`arn:aws:sts::1:assumed-role/name/session`) is a session of `role` (`arn:aws:iam::1:role/path/name`).
fn is_role_of(role: &str, session: &str) -> bool {
    let (Some(role), Some(session)) = (split_arn(role), split_arn(session)) else { return false };
    let name = role[4].strip_prefix("role/").and_then(|path| path.rsplit('/').next());
    let session_role = session[4].strip_prefix("assumed-role/").and_then(|rest| rest.split('/').next());
    role[0] == session[0]
        && role[1] == "iam"
        && role[3] == session[3]
        && name.is_some()
        && name == session_role
}

/// A `Principal` or `NotPrincipal` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principals {
    pub(crate) not: bool,
    pub(crate) named: Vec<Named>,
}

impl Principals {
    /// How closely the element means `principal`; `None` when it does not.
    pub(crate) fn closeness(&self, principal: &Principal) -> Option<Closeness> {
        let closest = self.named.iter().filter_map(|named| named.closeness(principal)).max();
        match self.not {
            false => closest,
            // Chosen: whoever is not excepted is meant in person, but a role itself only within its limits.
            true if closest.is_none() && principal.kind == PrincipalKind::Role => Some(Closeness::Source),
            true if closest.is_none() => Some(Closeness::Itself),
            true => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "arn:aws:iam::123456789012:user/team/ana";
    const ROLE: &str = "arn:aws:iam::123456789012:role/app/worker";
    const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/worker/s1";

    fn account() -> AccountId {
        AccountId::parse("123456789012").unwrap()
    }

    #[test]
    fn a_principal_element_means_its_principals_more_or_less_closely() {
        let user = Principal::user(account(), USER).with_unique_id("AIDAEXAMPLE");
        let session = Principal::role_session(account(), SESSION, ROLE);
        let by_name = Principal::from_arn(SESSION).unwrap();
        let federated =
            Principal::federated_user(account(), "arn:aws:sts::123456789012:federated-user/f", USER);
        let cases = [
            (&user, "*", Some(Closeness::Itself)),
            (&user, USER, Some(Closeness::Itself)),
            (&user, "123456789012", Some(Closeness::Account)),
            (&user, "arn:aws:iam::123456789012:root", Some(Closeness::Account)),
            (&user, "999999999999", None),
            (&user, "AIDAEXAMPLE", Some(Closeness::Itself)),
            (&user, "arn:aws:iam::123456789012:user/team/*", None),
            (&user, "arn:aws:iam::123456789012:user/team/Ana", None),
            (&session, SESSION, Some(Closeness::Itself)),
            (&session, ROLE, Some(Closeness::Source)),
            (&session, "arn:aws:iam::123456789012:role/worker", None),
            (&by_name, ROLE, Some(Closeness::Source)),
            (&by_name, "arn:aws:iam::999999999999:role/app/worker", None),
            (&federated, USER, Some(Closeness::Source)),
        ];
        for (principal, text, expected) in cases {
            assert_eq!(Named::aws(text).closeness(principal), expected, "{} as {text}", principal.arn());
        }
    }

    #[test]
    fn services_and_providers_are_named_by_their_own_kind() {
        let service = Principal::service("sns.amazonaws.com");
        assert_eq!(Named::Service("sns.amazonaws.com".into()).closeness(&service), Some(Closeness::Itself));
        assert_eq!(Named::Federated("sns.amazonaws.com".into()).closeness(&service), None);
        assert_eq!(Named::Account(account()).closeness(&service), None);
        assert_eq!(Named::Everyone.closeness(&Principal::anonymous()), Some(Closeness::Itself));
        assert_eq!(Named::Arn("".into()).closeness(&Principal::anonymous()), None);
    }

    #[test]
    fn service_linked_roles_are_known_by_their_path() {
        let role = "arn:aws:iam::123456789012:role/aws-service-role/x.amazonaws.com/AWSServiceRoleForX";
        assert!(Principal::role_session(account(), SESSION, role).is_service_linked());
        assert!(!Principal::role_session(account(), SESSION, ROLE).is_service_linked());
    }

    #[test]
    fn a_principal_describes_itself_in_condition_keys() {
        let mut context = Context::new();
        Principal::role_session(account(), SESSION, ROLE).describe(&mut context);
        assert_eq!(context.single_lower("aws:principalarn"), Some(ROLE));
        assert_eq!(context.single_lower("aws:principaltype"), Some("AssumedRole"));
        assert_eq!(context.single_lower("aws:username"), None);
        let mut context = Context::new();
        Principal::user(account(), USER).describe(&mut context);
        assert_eq!(context.single_lower("aws:username"), Some("ana"));
    }
}
