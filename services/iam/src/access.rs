//! What each operation acts on, and with which condition keys: what authorisation asks.
//!
//! A resource's ARN holds its path, and its tags are condition keys, so most of this is read from the store. A resource that does not
//! exist is judged by the ARN that it would have without a path.
//!
//! Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS Identity and Access Management (IAM)".

use pileus_api_iam::Tag;
use pileus_platform::{Access, CallerKind, Cx, Fault};

use crate::error::IamError;
use crate::holder::Kind;
use crate::keys::{ACCESS_KEYS, CERTIFICATES, DEVICES, GROUPS, IDS, PROFILES, ROLES, USERS};
use crate::names;
use crate::policy::PolicyRow;
use crate::role::{RoleRow, SERVICE_LINKED_PATH};
use crate::tags::Tags;
use crate::user::UserRow;

pub const BOUNDARY: &str = "iam:PermissionsBoundary";

/// A resource as a request names it: condition keys that the request sets, and what else the caller must be allowed to do.
///
/// `look_up` completes it by what is stored.
pub struct Resource {
    arn: String,
    /// Whose path and tags are to be read.
    named: Option<Named>,
    context: Vec<(String, Vec<String>)>,
    /// Actions on the same resource.
    also: Vec<&'static str>,
    /// A role that is handed to a service.
    passed: Option<(Box<Resource>, &'static str)>,
}

/// Something that may be there, by what a request calls it.
enum Named {
    User(String),
    Group(String),
    Role(String),
    Profile(String),
    Policy,
    Device,
    Certificate(String),
    OwnerOfKey(String),
}

/// What is stored of a resource, as far as policies see it.
struct Found {
    arn: String,
    tags: Tags,
    boundary: Option<String>,
}

impl Found {
    fn new(arn: impl Into<String>, tags: Tags) -> Found {
        Found { arn: arn.into(), tags, boundary: None }
    }

    fn user(cx: &Cx, row: UserRow) -> Found {
        Found { arn: row.arn(cx), tags: row.tags, boundary: row.boundary }
    }

    fn role(cx: &Cx, row: RoleRow) -> Found {
        Found { arn: row.arn(cx), tags: row.tags, boundary: row.boundary }
    }
}

impl Resource {
    pub fn new(arn: impl Into<String>) -> Resource {
        Resource { arn: arn.into(), named: None, context: Vec::new(), also: Vec::new(), passed: None }
    }

    fn named(arn: impl Into<String>, named: Named) -> Resource {
        Resource { named: Some(named), ..Resource::new(arn) }
    }

    pub fn with(mut self, key: &str, value: Option<&str>) -> Resource {
        self.context.extend(value.map(|value| (key.to_owned(), vec![value.to_owned()])));
        self
    }

    pub fn with_policy(self, arn: &Option<String>) -> Resource {
        self.with("iam:PolicyARN", arn.as_deref())
    }

    /// The tags that the request gives.
    pub fn giving(mut self, tags: &Option<Vec<Tag>>) -> Resource {
        let Some(tags) = tags.as_ref().filter(|tags| !tags.is_empty()) else { return self };
        let key = |tag: &Tag| tag.key.clone().unwrap_or_default();
        for tag in tags {
            self.context
                .push((format!("aws:RequestTag/{}", key(tag)), vec![tag.value.clone().unwrap_or_default()]));
        }
        self.context.push(("aws:TagKeys".to_owned(), tags.iter().map(key).collect()));
        self
    }

    /// The keys of the tags that the request takes away.
    pub fn taking(mut self, keys: &Option<Vec<String>>) -> Resource {
        self.context.push(("aws:TagKeys".to_owned(), keys.clone().unwrap_or_default()));
        self
    }

    /// Creating with tags takes the permission to tag as well.
    pub fn giving_new(self, tags: &Option<Vec<Tag>>, action: &'static str) -> Resource {
        let has_tags = tags.as_ref().is_some_and(|tags| !tags.is_empty());
        let mut resource = self.giving(tags);
        resource.also.extend(has_tags.then_some(action));
        resource
    }

    pub fn passing(mut self, role: Resource, service: &'static str) -> Resource {
        self.passed = Some((Box::new(role), service));
        self
    }

    fn access(&self, action: String) -> Access {
        let access = Access::new(action, self.arn.as_str());
        self.context
            .iter()
            .fold(access, |access, (key, values)| access.with_many(key.clone(), values.clone()))
    }

    /// The permissions that `operation` on this resource takes.
    ///
    /// # Errors
    /// The store's.
    pub async fn accesses(mut self, cx: &Cx, operation: &str) -> Result<Vec<Access>, IamError> {
        self.look_up(cx).await?;
        let mut accesses = vec![self.access(format!("iam:{operation}"))];
        accesses.extend(self.also.iter().map(|action| self.access((*action).to_owned())));
        if let Some((mut role, service)) = self.passed.take() {
            role.look_up(cx).await?;
            accesses.push(Access::pass_role(&role.arn, service));
        }
        Ok(accesses)
    }

    /// Takes path and tags from what is stored. A condition key that the request sets is left as the request says.
    async fn look_up(&mut self, cx: &Cx) -> Result<(), IamError> {
        let Some(found) = self.find(cx).await? else { return Ok(()) };
        self.arn = found.arn;
        let tags = found.tags.iter().flat_map(|(key, value)| {
            ["aws:ResourceTag", "iam:ResourceTag"].map(|prefix| (format!("{prefix}/{key}"), value.clone()))
        });
        let boundary = found.boundary.map(|arn| (BOUNDARY.to_owned(), arn));
        for (key, value) in tags.chain(boundary) {
            if self.context.iter().all(|(other, _)| *other != key) {
                self.context.push((key, vec![value]));
            }
        }
        Ok(())
    }

    async fn find(&self, cx: &Cx) -> Result<Option<Found>, IamError> {
        let Some(named) = &self.named else { return Ok(None) };
        let (store, account) = (cx.store(), cx.account());
        let key = |name: &String| (account, names::key(name));
        Ok(match named {
            Named::User(name) => USERS.get(store, &key(name)).await?.map(|row| Found::user(cx, row)),
            Named::Role(name) => ROLES.get(store, &key(name)).await?.map(|row| Found::role(cx, row)),
            Named::Group(name) => {
                let row = GROUPS.get(store, &key(name)).await?;
                row.map(|row| Found::new(row.arn(cx), Tags::default()))
            }
            Named::Profile(name) => {
                let row = PROFILES.get(store, &key(name)).await?;
                row.map(|row| Found::new(row.arn(cx), row.tags))
            }
            Named::Policy => {
                let row = PolicyRow::find(store, account, &self.arn).await?;
                row.map(|row| Found::new(self.arn.as_str(), row.tags))
            }
            Named::Device => {
                let row = DEVICES.get(store, &(account, self.arn.clone())).await?;
                row.map(|row| Found::new(self.arn.as_str(), row.tags))
            }
            Named::Certificate(name) => {
                let row = CERTIFICATES.get(store, &key(name)).await?;
                row.map(|row| Found::new(arn(cx, "server-certificate", &row.path, &row.name), row.tags))
            }
            Named::OwnerOfKey(id) => {
                let Some(row) = ACCESS_KEYS.get(store, &(id.clone(),)).await? else { return Ok(None) };
                let Some(owner) = IDS.get(store, &(row.owner,)).await? else { return Ok(None) };
                if owner.account != account {
                    return Ok(None);
                }
                let user = USERS.get(store, &(account, owner.key)).await?;
                user.map(|row| Found::user(cx, row))
            }
        })
    }
}

fn arn(cx: &Cx, kind: &str, path: &str, name: &str) -> String {
    names::arn(cx.region().partition(), cx.account(), kind, path, name)
}

/// What a new thing's ARN will be.
pub fn new(cx: &Cx, kind: &str, path: &Option<String>, name: &Option<String>) -> Result<Resource, Fault> {
    Ok(Resource::new(arn(cx, kind, path.as_deref().unwrap_or("/"), name.as_deref().unwrap_or_default())))
}

/// The named user, or the caller when no name is given.
pub fn user(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = match (name, &cx.caller().kind) {
        (Some(name), _) => name,
        (None, CallerKind::User { name, .. }) => &**name,
        (None, _) => return Ok(Resource::new("*")),
    };
    Ok(Resource::named(arn(cx, Kind::User.word(), "/", name), Named::User(name.to_owned())))
}

pub fn group(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = name.as_deref().unwrap_or_default();
    Ok(Resource::named(arn(cx, Kind::Group.word(), "/", name), Named::Group(name.to_owned())))
}

pub fn role(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = name.as_deref().unwrap_or_default();
    Ok(Resource::named(arn(cx, Kind::Role.word(), "/", name), Named::Role(name.to_owned())))
}

pub fn profile(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = name.as_deref().unwrap_or_default();
    Ok(Resource::named(arn(cx, "instance-profile", "/", name), Named::Profile(name.to_owned())))
}

/// A managed policy by its ARN, which names its path itself.
pub fn policy(_: &Cx, policy_arn: &Option<String>) -> Result<Resource, Fault> {
    let policy_arn = policy_arn.as_deref().unwrap_or_default();
    Ok(match names::parse_arn(policy_arn) {
        Some(named) if named.kind == "policy" => Resource::named(policy_arn, Named::Policy),
        _ => Resource::new(policy_arn),
    })
}

/// Whatever an ARN names: providers, and the sources of simulations.
pub fn by_arn(_: &Cx, arn: &Option<String>) -> Result<Resource, Fault> {
    Ok(Resource::new(arn.clone().unwrap_or_default()))
}

pub fn device(_: &Cx, serial: &Option<String>) -> Result<Resource, Fault> {
    Ok(Resource::named(serial.as_deref().unwrap_or_default(), Named::Device))
}

pub fn certificate(cx: &Cx, name: &Option<String>) -> Result<Resource, Fault> {
    let name = name.as_deref().unwrap_or_default();
    Ok(Resource::named(arn(cx, "server-certificate", "/", name), Named::Certificate(name.to_owned())))
}

/// The user that an access key belongs to.
pub fn owner_of_key(_: &Cx, id: &Option<String>) -> Result<Resource, Fault> {
    Ok(Resource::named("*", Named::OwnerOfKey(id.clone().unwrap_or_default())))
}

/// The roles that a service may make for itself.
pub fn service_linked(cx: &Cx, service: &Option<String>) -> Result<Resource, Fault> {
    let service = service.as_deref().unwrap_or_default();
    let resource =
        Resource::new(arn(cx, Kind::Role.word(), &format!("{SERVICE_LINKED_PATH}{service}/"), "*"));
    Ok(resource.with("iam:AWSServiceName", Some(service)))
}

/// What a new OIDC provider's ARN will be.
pub fn new_oidc(cx: &Cx, url: &Option<String>) -> Result<Resource, Fault> {
    let url = url.as_deref().unwrap_or_default();
    let url = url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/');
    Ok(Resource::new(arn(cx, "oidc-provider", "/", url)))
}
